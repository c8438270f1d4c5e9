"""More parts at a time where it pays: lines of several kinds, in a time that passes only in sleep."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace

import pytest

from ossmp_jupyter.transfer import growth
from ossmp_jupyter.transfer.retry import AdaptiveLimit


class Line:
    """Carries ``speed(parts in flight)`` bytes a second, exactly; ``later`` is done at its time."""

    def __init__(self, limit: AdaptiveLimit, speed: Callable[[int], float], ends: float) -> None:
        self.limit, self.speed, self.ends = limit, speed, ends
        self.now = self.sent = 0.0
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.spent: dict[int, float] = defaultdict(float)
        """Seconds with so many parts in flight."""

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        while self.later and self.later[0][0] <= until:
            moment, act = self.later.pop(0)
            self._pass(moment)
            act()
        self._pass(min(until, self.ends))
        if until >= self.ends:
            raise asyncio.CancelledError

    def _pass(self, until: float) -> None:
        self.sent += (until - self.now) * self.speed(self.limit.limit)
        self.spent[self.limit.limit] += until - self.now
        self.now = until


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Line]:
    """Let a line carry ``speed(parts in flight)`` bytes a second for a while."""

    def runner(
        speed: Callable[[int], float],
        seconds: float,
        usual: int = 5,
        ceiling: int = 32,
        steady: Callable[[], bool] = lambda: True,
        throttled_at: float | None = None,
    ) -> Line:
        line = Line(AdaptiveLimit(usual, ceiling), speed, seconds)
        if throttled_at is not None:
            line.later.append((throttled_at, line.limit.throttled))
        monkeypatch.setattr(growth, "asyncio", SimpleNamespace(sleep=line.sleep))
        monkeypatch.setattr(growth, "time", SimpleNamespace(monotonic=lambda: line.now))
        with suppress(asyncio.CancelledError):
            asyncio.run(growth.Growth(line.limit, lambda: int(line.sent), steady).run())
        return line

    return runner


def test_a_long_line_gets_all_it_can_use(run: Callable[..., Line]) -> None:
    line = run(lambda parts: parts * 1e6, 20)
    assert line.limit.usual == line.limit.limit == 32


def test_it_stops_where_the_line_is_full(run: Callable[..., Line]) -> None:
    line = run(lambda parts: min(parts, 8) * 1e6, 30)
    assert line.limit.usual == 8
    assert max(line.spent) == 12


def test_a_full_line_keeps_its_five(run: Callable[..., Line]) -> None:
    line = run(lambda parts: 1e7, 300)
    assert max(line.spent) == 8
    assert line.spent[5] > 20 * line.spent[8] > 0
    assert line.limit.usual == 5


def test_a_number_that_the_user_gave_is_kept(run: Callable[..., Line]) -> None:
    line = run(lambda parts: parts * 1e6, 20, usual=7, ceiling=7)
    assert line.limit.usual == line.limit.limit == 7


def test_what_a_pause_distorts_raises_nothing(run: Callable[..., Line]) -> None:
    line = run(lambda parts: parts * 1e6, 20, steady=lambda: False)
    assert line.limit.usual == 5
    assert max(line.spent) == 8


def test_what_throttling_distorts_raises_nothing(run: Callable[..., Line]) -> None:
    line = run(lambda parts: parts * 1e9, 20, throttled_at=5.0)  # the first step is being tried
    assert max(line.spent) == 8
    assert line.limit.usual == 5
    assert line.limit.limit <= 5
