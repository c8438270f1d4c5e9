"""More parts at a time where it pays: lines of several kinds, simulated with exact bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from ossmp_jupyter.transfer.growth import Growth
from ossmp_jupyter.transfer.retry import AdaptiveLimit


async def _run(
    speed: Callable[[int], float],
    seconds: float,
    usual: int = 5,
    ceiling: int = 32,
    steady: Callable[[], bool] = lambda: True,
) -> AdaptiveLimit:
    """Let a line carry ``speed(parts in flight)`` bytes a second for a while."""
    limit, sent = AdaptiveLimit(usual, ceiling), 0.0
    growth = Growth(limit, lambda: int(sent), steady, settle=0.02, window=0.08, rest=0.2)
    task = asyncio.ensure_future(growth.run())
    begin = last = time.monotonic()
    while last - begin < seconds:
        await asyncio.sleep(0.002)
        now = time.monotonic()
        sent += (now - last) * speed(limit.limit)
        last = now
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return limit


async def test_a_long_line_gets_all_it_can_use() -> None:
    limit = await _run(lambda parts: parts * 1e6, 1.5)
    assert limit.usual == limit.limit == 32


async def test_it_stops_where_the_line_is_full() -> None:
    limit = await _run(lambda parts: min(parts, 8) * 1e6, 0.55)
    assert limit.usual in (8, 12)  # 12 is being tried at most
    assert limit.usual <= 12


async def test_a_full_line_keeps_its_five() -> None:
    seen: list[int] = []

    def speed(parts: int) -> float:
        seen.append(parts)
        return 1e7

    await _run(speed, 1.0)
    assert max(seen) == 8
    assert seen.count(5) > 2 * seen.count(8)


async def test_a_number_that_the_user_gave_is_kept() -> None:
    limit = await _run(lambda parts: parts * 1e6, 0.4, usual=7, ceiling=7)
    assert limit.usual == limit.limit == 7


@pytest.mark.parametrize("what", ["paused", "throttled"])
async def test_what_a_pause_or_throttling_distorts_raises_nothing(what: str) -> None:
    if what == "paused":
        limit = await _run(lambda parts: parts * 1e6, 0.6, steady=lambda: False)
        assert limit.usual in (5, 8)
        return
    limit = AdaptiveLimit(5, 32)
    growth = Growth(limit, lambda: int(time.monotonic() * 1e9) ** 2, settle=0.01, window=0.02, rest=9)
    task = asyncio.ensure_future(growth.run())
    await asyncio.sleep(0.045)  # the first step is being tried
    limit.throttled()
    await asyncio.sleep(0.1)
    task.cancel()
    assert limit.usual == 5
    assert limit.limit <= 5
