"""Waiting for an upload: wait(), await, the stop button; and the progress callback meanwhile."""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures as cf
import contextlib
import threading
import time
from pathlib import Path

import pytest

from ossmp_jupyter.errors import UploadAborted
from ossmp_jupyter.transfer import handle as handles
from ossmp_jupyter.transfer.checkpoint import Checkpoint
from ossmp_jupyter.transfer.progress import State, UploadResult
from tests.transfer.support import PART, Bucket, held_up, in_the_middle, make_file, refused, until


async def test_await_inside_a_running_loop(oss: Bucket, file: Path) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    ticking = asyncio.ensure_future(tick())
    with refused(oss):
        handle = oss.start(file)
        waiting = asyncio.ensure_future(_await(handle))
        await asyncio.to_thread(in_the_middle, oss, handle)
        before = ticks
        await asyncio.sleep(0.3)
        assert not waiting.done() and ticks > before + 3  # the loop is free meanwhile
        handle.pause()
        await asyncio.to_thread(until, lambda: handle.state is State.PAUSED, "paused")
    handle.resume()
    result = await waiting
    ticking.cancel()
    assert result is handle.result and handle.wait(1).verified


async def test_many_may_await_the_same_upload(oss: Bucket, file: Path) -> None:
    handle = oss.start(file)
    results = await asyncio.gather(handle, handle, asyncio.to_thread(handle.wait))
    assert results[0] is results[1] is results[2] is handle.result
    assert await handle is results[0]


async def test_an_await_that_is_cancelled_pauses(oss: Bucket, file: Path) -> None:
    with held_up(oss):
        handle = oss.start(file)
        waiting = asyncio.ensure_future(_await(handle))
        await asyncio.to_thread(in_the_middle, oss, handle)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.to_thread(until, lambda: handle.state is State.PAUSED, "paused")
    handle.resume()
    assert (await handle).verified


async def _await(handle: object) -> object:
    return await handle  # type: ignore[misc]


def test_the_stop_button_pauses_and_nothing_is_lost(
    oss: Bucket, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = threading.Event()
    monkeypatch.setattr(handles, "_service", lambda: contextlib.nullcontext(waits.set))

    def press() -> None:
        if waits.wait(20):
            _thread.interrupt_main()

    with held_up(oss):
        handle = oss.start(file)
        in_the_middle(oss, handle)
        pressing = threading.Thread(target=press)
        pressing.start()
        with pytest.raises(KeyboardInterrupt):
            handle.wait(30)
        pressing.join()
        until(lambda: handle.state is State.PAUSED, "paused")
        assert not handle.future.done()
    assert oss.start(file) is handle  # running the cell again goes on
    assert handle.wait(30).verified


def test_a_wait_that_times_out_leaves_the_upload_alone(oss: Bucket, file: Path) -> None:
    with held_up(oss):
        handle = oss.start(file)
        in_the_middle(oss, handle)
        with pytest.raises(TimeoutError, match="still uploading after 50 ms"):
            handle.wait(0.05)
        assert handle.state is State.UPLOADING
        assert handle.abort().result(30)
    with pytest.raises(UploadAborted):
        handle.wait(5)


def test_the_future_is_done_in_every_end(oss: Bucket, file: Path) -> None:
    assert oss.start(file).future.result(30).verified
    with held_up(oss):
        aborted = oss.start(file, key="other")
        in_the_middle(oss, aborted)
        aborted.abort()
        assert isinstance(aborted.future.exception(30), UploadAborted)
        released = oss.start(make_file(file.parent, name="third"), key="third", part_size=PART)
        in_the_middle(oss, released)
        released.release()
    with pytest.raises((cf.CancelledError, UploadAborted)):
        released.future.result(30)


# ---------------------------------------------------------------- progress


class Seen:
    def __init__(self) -> None:
        self.events: list[tuple[float, Checkpoint | None, object]] = []

    def __call__(self, fraction: float, checkpoint: Checkpoint | None, response: object) -> None:
        self.events.append((fraction, checkpoint, response))


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("simple", [False, True])
def test_progress_from_0_to_1_in_order(oss: Bucket, file: Path, kind: str, simple: bool) -> None:
    seen = Seen()

    async def asynchronous(*event: object) -> None:
        await asyncio.sleep(0.001)
        seen(*event)  # type: ignore[arg-type]

    result = oss.start(file, simple=simple, progress=seen if kind == "sync" else asynchronous).wait(30)
    fractions = [fraction for fraction, _, _ in seen.events]
    assert fractions[0] == 0.0
    assert fractions == sorted(fractions)
    assert all(0.0 <= fraction < 1.0 for fraction in fractions[:-1])
    assert fractions[-1] == 1.0
    assert isinstance(seen.events[-1][2], UploadResult) and seen.events[-1][2] == result
    assert len(fractions) == (3 if simple else 8)
    if not simple:
        counts = [len(checkpoint.parts) for _, checkpoint, _ in seen.events if checkpoint is not None]
        assert counts == [0, 1, 2, 3, 4, 5, 6, 6]


def test_all_events_are_made_before_the_upload_is_said_to_be_done(oss: Bucket, file: Path) -> None:
    seen = Seen()

    def slow(*event: object) -> None:
        time.sleep(0.03)
        seen(*event)  # type: ignore[arg-type]

    oss.start(file, progress=slow).wait(30)
    assert seen.events[-1][0] == 1.0


def test_a_slow_callback_does_not_slow_the_upload(oss: Bucket, file: Path) -> None:
    go_on = threading.Event()
    handle = oss.start(file, progress=lambda *event: go_on.wait(20))
    until(lambda: oss.keys() == ["data.bin"] and handle.state is State.DONE, "published")
    go_on.set()
    assert handle.wait(30).verified


@pytest.mark.parametrize(
    "error", [ValueError("broken"), SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr
)
@pytest.mark.parametrize("at", ["first", "last"])
def test_a_callback_that_raises_is_reported_once_and_kills_nothing(
    oss: Bucket, file: Path, error: BaseException, at: str
) -> None:
    calls: list[float] = []

    def progress(fraction: float, checkpoint: object, response: object) -> None:
        calls.append(fraction)
        if at == "first" or fraction == 1.0:
            raise error

    handle = oss.start(file, progress=progress)
    assert handle.wait(30).verified
    assert len(calls) == (1 if at == "first" else 8)
    assert handle.warning is not None
    assert handle.warning.startswith("the progress callback failed and is not called again: ")
    assert repr(error) in handle.warning
    assert oss.start(b"x" * 10, key="next", part_size=None).wait(30).verified  # the engine lives


def test_a_resumed_upload_begins_with_what_is_there(oss: Bucket, file: Path) -> None:
    with held_up(oss):
        first = oss.start(file)
        in_the_middle(oss, first)
        first.release()
    seen = Seen()
    oss.start(file, progress=seen).wait(30)
    assert seen.events[0][0] > 0.7
    assert [event[0] for event in seen.events] == sorted(event[0] for event in seen.events)


def test_what_was_published_before_is_told_as_done(oss: Bucket, file: Path) -> None:
    oss.start(file).wait(30)
    seen = Seen()
    oss.start(file, progress=seen).wait(30)
    fractions = [event[0] for event in seen.events]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0


def test_snapshots_of_a_whole_life(oss: Bucket, tmp_path: Path) -> None:
    path = make_file(tmp_path, 40 * PART)
    oss.server.set_bandwidth("1MB/s")  # until it was seen to move
    handle = oss.start(path)
    states, last, seen = [], None, False
    while not handle.future.done():
        now = handle.progress
        if last is not None:
            assert now.confirmed >= last.confirmed
        assert 0 <= now.confirmed <= now.total == 40 * PART
        assert 0 <= now.sent <= now.total
        if not states or states[-1] is not now.state:
            states.append(now.state)
        if now.state is State.UPLOADING and now.sent and not seen:
            seen = True
            oss.server.set_bandwidth("10MB/s")
        last = now
        time.sleep(0.001)
    handle.wait(5)
    order = [State.QUEUED, State.INITIATING, State.UPLOADING, State.COMPLETING, State.VERIFYING, State.DONE]
    assert states == [state for state in order if state in states]
    assert State.UPLOADING in states and seen
    final = handle.progress
    assert (final.confirmed, final.parts_done, final.parts_in_flight, final.error) == (40 * PART, 40, 0, None)
    assert final.elapsed == handle.progress.elapsed  # stands still
