"""One piece of work at a time, whichever event loop asks for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

__all__ = ["SingleFlight"]

_T = TypeVar("_T")


class SingleFlight(Generic[_T]):
    """Runs one call at a time, whichever event loop asks; all who ask meanwhile get its outcome."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flight: Future[_T] | None = None

    async def run(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Join the call under way, or make it."""
        while True:
            with self._lock:
                flight, leading = self._flight, self._flight is None
                if flight is None:
                    flight = self._flight = Future()
            if leading:
                return await self._lead(flight, work)
            outcome = await asyncio.wrap_future(_without_cancel(flight))
            if outcome is not None:
                return outcome

    async def _lead(self, flight: Future[_T], work: Callable[[], Awaitable[_T]]) -> _T:
        try:
            outcome = await work()
        except BaseException as error:
            self._land()
            if isinstance(error, Exception):
                flight.set_exception(error)
            else:  # the leader was cancelled or its loop is ending: the followers elect another
                flight.cancel()
            raise
        self._land()
        flight.set_result(outcome)
        return outcome

    def _land(self) -> None:
        with self._lock:
            self._flight = None


def _without_cancel(flight: Future[_T]) -> Future[_T | None]:
    """Follow ``flight`` with a future of one's own; None if ``flight`` was cancelled.

    A follower that is cancelled thus leaves the others alone, and can tell the leader's end from its own.
    """
    follower: Future[_T | None] = Future()

    def land(done: Future[_T]) -> None:
        if not follower.set_running_or_notify_cancel():
            return
        if done.cancelled():
            follower.set_result(None)
        elif (error := done.exception()) is not None:
            follower.set_exception(error)
        else:
            follower.set_result(done.result())

    flight.add_done_callback(land)
    return follower
