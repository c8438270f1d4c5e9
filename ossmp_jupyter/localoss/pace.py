"""Speed limits that let bytes through evenly, so that progress bars move like on a real line."""

from __future__ import annotations

import threading
import time

__all__ = ["Pace", "PaceGate"]

_TICK = 0.005
_BURST = 0.02


class Pace:
    """One limit for the sum of everybody who asks it; ``None`` means no limit.

    Bytes are let through in slices of about 5 ms, in the order of asking, so parallel connections
    share the line fairly.
    """

    def __init__(self, bytes_per_second: int | None = None) -> None:
        self._lock = threading.Lock()
        self._rate = bytes_per_second or None
        self._next = 0.0

    @property
    def rate(self) -> int | None:
        """Return bytes per second, or None."""
        return self._rate

    def set(self, bytes_per_second: int | None) -> None:
        """Change the limit; 0 and None lift it."""
        with self._lock:
            self._rate = bytes_per_second or None
            self._next = 0.0

    def take(self, wanted: int) -> int:
        """Wait for a turn and return how many of the ``wanted`` bytes may pass now (at least 1)."""
        with self._lock:
            rate = self._rate
            if rate is None:
                return wanted
            granted = max(1, min(wanted, max(512, int(rate * _TICK))))
            now = time.monotonic()
            self._next = max(self._next, now - _BURST) + granted / rate
            delay = self._next - now
        if delay > 0:
            time.sleep(delay)
        return granted

    def give_back(self, unused: int) -> None:
        """Return what was granted and not used: the socket often holds less than a slice."""
        with self._lock:
            if self._rate is not None:
                self._next -= unused / self._rate


class PaceGate:
    """A speed limit in the way of one body."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._granted = 0

    def before(self, position: int, wanted: int) -> int:
        """Wait for a turn."""
        self._granted = self._pace.take(wanted)
        return self._granted

    def after(self, position: int, data: memoryview) -> None:
        """Settle what was granted with what came."""
        if len(data) < self._granted:
            self._pace.give_back(self._granted - len(data))
