from __future__ import annotations

import asyncio
import functools
import threading
import time

import pytest

from ossmp_jupyter.transfer.callbacks import CallbackRunner, ProgressCallback


async def feed(function: ProgressCallback, count: int = 5) -> CallbackRunner:
    runner = CallbackRunner(function)
    for number in range(count):
        runner.put(number / count, None, number)
        await asyncio.sleep(0)
    await runner.close()
    return runner


async def test_a_plain_function_is_called_in_order_off_the_loop() -> None:
    seen: list[object] = []
    threads: set[int] = set()

    def progress(fraction: float, checkpoint: object, response: object) -> None:
        time.sleep(0.01 if not seen else 0)
        threads.add(threading.get_ident())
        seen.append(response)

    runner = await feed(progress, 20)
    assert seen == list(range(20))
    assert threading.get_ident() not in threads
    assert runner.error is None


async def test_a_coroutine_function_runs_on_the_loop_one_call_at_a_time() -> None:
    seen: list[object] = []
    active = 0

    async def progress(fraction: float, checkpoint: object, response: object) -> None:
        nonlocal active
        active += 1
        assert active == 1
        await asyncio.sleep(0)
        active -= 1
        seen.append((response, threading.get_ident()))

    await feed(progress)
    assert seen == [(number, threading.get_ident()) for number in range(5)]


async def test_partials_lambdas_and_objects_that_return_awaitables() -> None:
    seen: list[object] = []

    async def progress(extra: str, fraction: float, checkpoint: object, response: object) -> None:
        seen.append((extra, response))

    class Progress:
        async def __call__(self, fraction: float, checkpoint: object, response: object) -> None:
            seen.append(("object", response))

    await feed(functools.partial(progress, "partial"), 1)
    await feed(Progress(), 1)
    await feed(lambda *event: progress("lambda", *event), 1)
    assert seen == [("partial", 0), ("object", 0), ("lambda", 0)]


async def test_handing_over_never_waits_for_a_slow_function() -> None:
    release = threading.Event()
    runner = CallbackRunner(lambda *event: release.wait(10))
    started = time.perf_counter()
    for number in range(10_000):
        runner.put(0.1, None, number)
    assert time.perf_counter() - started < 5
    release.set()
    await runner.close()


class Odd(BaseException):
    pass


@pytest.mark.parametrize(
    "error",
    [
        ValueError("broken"),
        SystemExit("bye"),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        StopIteration(),
        Odd("odd"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_an_exception_of_any_kind_is_kept_and_ends_the_calls(error: BaseException, kind: str) -> None:
    calls: list[object] = []

    def sync_progress(*event: object) -> None:
        calls.append(event)
        raise error

    async def async_progress(*event: object) -> None:
        calls.append(event)
        raise error

    runner = await feed(sync_progress if kind == "sync" else async_progress)
    assert len(calls) == 1
    assert runner.error is not None
    assert "progress callback failed" in runner.error


async def test_cancelling_the_upload_while_the_last_calls_are_made_is_a_cancellation() -> None:
    async def slow(*event: object) -> None:
        await asyncio.sleep(60)

    runner = CallbackRunner(slow)
    runner.put(0.0, None, None)
    closing = asyncio.ensure_future(runner.close())
    await asyncio.sleep(0.01)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
