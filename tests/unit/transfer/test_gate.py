from __future__ import annotations

import asyncio

import pytest

from ossmp_jupyter.transfer.gate import Gate


async def forever(log: list[str], name: str) -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0.01)  # letting go takes a moment
        log.append(name)


async def test_work_behind_an_open_gate_runs_to_its_end() -> None:
    log: list[int] = []

    async def one(number: int) -> None:
        await asyncio.sleep(0)
        log.append(number)

    await Gate().run(one(number) for number in range(5))
    assert sorted(log) == [0, 1, 2, 3, 4]


async def test_no_work_is_done_at_once() -> None:
    await asyncio.wait_for(Gate().run([]), 20)


async def test_closing_cancels_the_work_and_waits_until_it_has_let_go() -> None:
    gate, log = Gate(), []
    run = asyncio.ensure_future(gate.run([forever(log, "a"), forever(log, "b")]))
    await asyncio.sleep(0)
    gate.close()
    await asyncio.wait_for(run, 20)
    assert sorted(log) == ["a", "b"]
    assert not gate.is_open


async def test_the_first_error_ends_the_others_and_is_raised_when_they_have_let_go() -> None:
    log: list[str] = []

    async def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        await Gate().run([forever(log, "a"), fail()])
    assert log in (["a"], [])  # a worker that had not begun has nothing to let go of
    assert len(asyncio.all_tasks()) == 1


async def test_cancelling_the_run_cancels_the_work() -> None:
    log: list[str] = []
    run = asyncio.ensure_future(Gate().run([forever(log, "a")]))
    await asyncio.sleep(0.01)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert log == ["a"]
    assert len(asyncio.all_tasks()) == 1


async def test_open_lets_waiters_go_on_and_work_begin_anew() -> None:
    gate = Gate()
    gate.close()
    waiter = asyncio.ensure_future(gate.wait_open())
    await asyncio.sleep(0)
    assert not waiter.done()
    gate.open()
    await asyncio.wait_for(waiter, 20)
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    await asyncio.wait_for(gate.run([work()]), 20)
    assert done == [1]


async def test_a_gate_that_is_closed_stops_work_before_it_goes_far() -> None:
    gate, log = Gate(), []
    gate.close()
    await asyncio.wait_for(gate.run([forever(log, "a")]), 20)
    assert len(asyncio.all_tasks()) == 1
