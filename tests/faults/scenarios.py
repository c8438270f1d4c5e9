"""What a user does: the scenarios into which faults are injected."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ossmp_jupyter.errors import OssmpError
from ossmp_jupyter.transfer.checkpoint import Checkpoint
from ossmp_jupyter.transfer.upload import UploadTask
from tests.faults.run import PART, Run, Told, content, until

__all__ = ["SCENARIOS", "Scenario"]

Prepare = Callable[[Run], Awaitable[None]]
Act = Callable[[Run], Awaitable[Told]]


async def _plainly(run: Run) -> Told:
    return await run.upload()


@dataclass(frozen=True)
class Scenario:
    """``size`` is the source's at first; ``prepare`` meets no fault, ``act`` does."""

    name: str
    size: int
    prepare: Prepare | None = None
    act: Act = _plainly
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    in_memory: bool = False
    stream: str = ""
    callback: str | None = None
    requests: int = 9
    """How many requests there are at least, up to 9: where the sample is taken from."""

    def start(self, run: Run) -> None:
        run.in_memory, run.stream = self.in_memory, self.stream
        run.options = dict(self.options)
        if self.callback:
            run.options["callback"] = run.world.callback(self.callback)
        run.write(content(self.name, self.size))


# ---------------------------------------------------------------------- before


async def _half(run: Run) -> None:
    await run.half()


async def _half_then(run: Run, change: Callable[[], None]) -> None:
    await run.half()
    change()


async def _half_edited(run: Run) -> None:
    await _half_then(run, lambda: run.edit(PART + 5))


async def _half_grown(run: Run) -> None:
    await _half_then(run, lambda: run.write(run.data + content("more", 2 * PART + 77)))


async def _half_shrunk(run: Run) -> None:
    await _half_then(run, lambda: run.write(run.data[: 2 * PART + 9]))


async def _half_shrunk_to_simple(run: Run) -> None:
    await _half_then(run, lambda: run.write(run.data[: PART // 2]))


async def _half_replaced(run: Run) -> None:
    def replace() -> None:
        new = run.path.with_name("new.bin")
        new.write_bytes(content("replacement", len(run.data)))
        run.data = new.read_bytes()
        new.replace(run.path)

    await _half_then(run, replace)


async def _published(run: Run) -> None:
    told = await run.upload()
    assert told.done, told
    run.before = run.data


async def _published_then_edited(run: Run) -> None:
    await _published(run)
    run.edit(2 * PART)


async def _older_object(run: Run) -> None:
    await run.put_before(content("older", 3 * PART))


async def _taken(run: Run) -> None:
    await _older_object(run)
    run.taken = True


# ---------------------------------------------------------------------- meanwhile


async def _without_journal(run: Run) -> Told:
    """Another machine: nothing is known but the upload ID."""
    journal = next((run.folder / "state" / "journals").glob("*.jsonl"))
    upload_id = journal.read_text().split('"upload_id":"')[1].split('"')[0]
    journal.unlink()
    known = Checkpoint(None, run.world.bucket, run.key, len(run.data), PART, upload_id)
    return await run.upload(checkpoint=known)


async def _paused(run: Run) -> Told:
    async def pause(task: UploadTask, life: asyncio.Future[Any]) -> None:
        if await until(task, life, 2):
            task.pause()
            await asyncio.sleep(0.003)
            task.resume()

    return await run.upload(pause)


async def _aborted(run: Run) -> Told:
    async def abort(task: UploadTask, life: asyncio.Future[Any]) -> None:
        if await until(task, life, 2):
            with contextlib.suppress(OssmpError):  # the upload itself tells the same
                await task.abort()

    return await run.upload(abort)


async def _aborted_early(run: Run) -> Told:
    async def abort(task: UploadTask, life: asyncio.Future[Any]) -> None:
        while not life.done() and task.state.value != "initiating":
            await asyncio.sleep(0)
        with contextlib.suppress(OssmpError):
            await task.abort()

    return await run.upload(abort)


async def _interrupted(run: Run) -> Told:
    """The kernel is restarted in the middle, and the cell run again at once."""

    async def cancel(task: UploadTask, life: asyncio.Future[Any]) -> None:
        if await until(task, life, 2):
            life.cancel()

    told = await run.upload(cancel)
    return told if told.done else await run.upload()


async def _edited_while_sent(run: Run) -> Told:
    edited = False

    def edit(offset: int) -> None:
        nonlocal edited
        if offset >= 3 * PART and not edited:
            edited = True
            run.edit(100)

    return await run.upload(hook=edit, parallel=1)


async def _put_edited_while_sent(run: Run) -> Told:
    reads = 0

    def edit(offset: int) -> None:
        nonlocal reads
        reads += 1
        if reads == 2:  # the first one is for its MD5
            run.edit(100)

    return await run.upload(hook=edit)


async def _cut_while_sent(run: Run) -> Told:
    def cut(offset: int) -> None:
        if offset == 3 * PART and len(run.data) > 3 * PART:
            run.write(run.data[: 3 * PART + 50])

    return await run.upload(hook=cut, parallel=1)


async def _grown_while_sent(run: Run) -> Told:
    grown = False

    def grow(offset: int) -> None:
        nonlocal grown
        if offset >= 3 * PART and not grown:
            grown = True
            run.write(run.data + b"more")

    return await run.upload(hook=grow, parallel=1)


async def _with_progress(run: Run) -> Told:
    async def fail(fraction: float, checkpoint: object, response: object) -> None:
        raise RuntimeError("the user's own mistake")

    return await run.upload(progress=fail)


_STORED = {
    "meta": {"year": "2026", "who": "Zoë"},
    "headers": {"Cache-Control": "no-cache", "Content-Disposition": "attachment"},
    "mime": "text/csv",
}

SCENARIOS = (
    Scenario("zero-bytes", 0, requests=2),
    Scenario("zero-bytes-in-parts", 0, requests=5, options={"simple": False}),
    Scenario("simple-put", 50_000, requests=2),
    Scenario("simple-put-of-300-kb", 300_000, requests=2, options={"simple": True}),
    Scenario("simple-put-over-an-older-object", 50_000, _older_object, requests=2),
    Scenario("1-part", PART, requests=5),
    Scenario("2-parts", 2 * PART, requests=6),
    Scenario("2-parts-and-a-byte", 2 * PART + 1, requests=7),
    Scenario("3-parts-from-memory", 2 * PART + 4_321, in_memory=True, requests=7),
    Scenario("stream-of-4-parts", 4 * PART + 77, in_memory=True, stream="plain", requests=8),
    Scenario("stream-that-ends-with-a-part", 3 * PART, in_memory=True, stream="plain", requests=7),
    Scenario("stream-of-one-byte", 1, in_memory=True, stream="plain", requests=2),
    Scenario("async-stream", 5 * PART - 1, in_memory=True, stream="async", requests=8),
    Scenario(
        "stream-over-an-older-object", 3 * PART + 1, _older_object, in_memory=True, stream="plain", requests=7
    ),
    Scenario("8-parts-one-at-a-time", 8 * PART, options={"parallel": 1}),
    Scenario("8-parts-many-at-a-time", 8 * PART - 5, options={"parallel": 16}),
    Scenario("64-parts", 64 * PART),
    Scenario("resume", 6 * PART + 3, _half, requests=8),
    Scenario("resume-without-journal", 6 * PART + 3, _half, _without_journal, requests=8),
    Scenario("resume-edited", 6 * PART + 3, _half_edited),
    Scenario("resume-grown", 6 * PART + 3, _half_grown),
    Scenario("resume-shrunk", 6 * PART + 3, _half_shrunk, requests=5),
    Scenario("resume-shrunk-to-simple", 6 * PART + 3, _half_shrunk_to_simple, requests=4),
    Scenario("resume-replaced", 6 * PART + 3, _half_replaced),
    Scenario("fresh-over-a-half-done-one", 5 * PART, _half, lambda run: run.upload(fresh=True)),
    Scenario("already-published", 5 * PART, _published, requests=1),
    Scenario("published-then-edited", 5 * PART, _published_then_edited),
    Scenario("over-an-older-object", 4 * PART, _older_object, requests=8),
    Scenario("forbid-overwrite", 3 * PART, requests=7, options={"forbid_overwrite": True}),
    Scenario("forbid-overwrite-taken", 3 * PART, _taken, requests=1, options={"forbid_overwrite": True}),
    Scenario("meta-and-headers", 3 * PART, requests=7, options=_STORED),
    Scenario("callback", 2 * PART, callback="good", requests=6),
    Scenario("callback-fails", 2 * PART, callback="bad", requests=6),
    Scenario("progress-raises", 3 * PART, act=_with_progress, requests=7),
    Scenario("no-journal", 4 * PART, requests=8, options={"checkpoint": False}),
    Scenario("pause-and-resume", 8 * PART, act=_paused),
    Scenario("abort", 8 * PART, act=_aborted, requests=5),
    Scenario("abort-early", 3 * PART, act=_aborted_early, requests=1),
    Scenario("abort-over-an-older-object", 8 * PART, _older_object, _aborted, requests=5),
    Scenario("interrupt-and-run-again", 8 * PART, act=_interrupted),
    Scenario("edited-while-sent", 6 * PART, act=_edited_while_sent, requests=7),
    Scenario("simple-put-edited-while-sent", 50_000, _older_object, _put_edited_while_sent, requests=2),
    Scenario("cut-while-sent", 6 * PART, _older_object, _cut_while_sent, requests=4),
    Scenario("grown-while-sent", 6 * PART, act=_grown_while_sent, requests=7),
)
