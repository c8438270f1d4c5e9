"""More parts at a time where that makes the upload faster: on long lines one connection carries little.

Where the user names no number, an upload begins with 5 parts in flight. Every few seconds it tries half as
many more. If the line then carries clearly more, it goes on from there; if not, it goes back and tries again
much later. A line that is full, a speed limit or a throttling server thus keeps its 5 connections.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ossmp_jupyter.transfer.retry import AdaptiveLimit

__all__ = ["Growth"]

SETTLE, WINDOW, REST = 1.0, 2.0, 30.0
_STEP = 1.5
_GAIN = 1.15
"""Half as many connections more have to bring 15 %, else they are not worth their memory."""


@dataclass(slots=True)
class Growth:
    """Raises ``limit`` while that pays.

    Parameters
    ----------
    limit : AdaptiveLimit
        What to raise, up to its ceiling.
    sent : callable
        Bytes that have left so far, those under way included.
    steady : callable
        Whether the upload is running; a speed measured across a pause says nothing.
    settle, window : float
        Seconds that a new number of connections gets to come up to speed (they fill the buffers of their
        sockets at first, which looks like speed), and for which the speed is measured then.
    rest : float
        Seconds until a step that did not pay is tried again; doubled each time.
    """

    limit: AdaptiveLimit
    sent: Callable[[], int]
    steady: Callable[[], bool] = lambda: True
    settle: float = field(default_factory=lambda: SETTLE)
    window: float = field(default_factory=lambda: WINDOW)
    rest: float = field(default_factory=lambda: REST)

    async def run(self) -> None:
        """Measure and raise, until the ceiling is reached or it is cancelled."""
        if self.limit.usual == self.limit.ceiling:
            return
        rest, speed = self.rest, await self._measure()
        while (before := self.limit.usual) < self.limit.ceiling:
            self.limit.settle_at(round(before * _STEP))
            tried = await self._measure()
            if speed is not None and tried is not None and tried >= speed * _GAIN:
                speed = tried
                continue
            self.limit.settle_at(before)
            await asyncio.sleep(rest)
            rest *= 2
            speed = await self._measure()

    async def _measure(self) -> float | None:
        """Bytes per second; None where a pause or throttling makes it incomparable."""
        await asyncio.sleep(self.settle)
        calm, sent, since = self._calm(), self.sent(), time.monotonic()
        await asyncio.sleep(self.window)
        if not (calm and self._calm()):
            return None
        return (self.sent() - sent) / (time.monotonic() - since)

    def _calm(self) -> bool:
        return self.steady() and self.limit.limit == self.limit.usual
