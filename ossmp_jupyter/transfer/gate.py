"""Pause and resume: a gate that work stands behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

__all__ = ["Gate"]

T = TypeVar("T")


class Gate:
    """Open at first. Closing it stops what runs behind it; that is cancelled *and awaited*."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._closed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether work may go on."""
        return self._open.is_set()

    def close(self) -> None:
        """Stop the work."""
        self._open.clear()
        self._closed.set()

    def open(self) -> None:
        """Let the work go on."""
        self._closed.clear()
        self._open.set()

    async def wait_open(self) -> None:
        """Return when the gate is open."""
        await self._open.wait()

    async def run(self, work: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Run the coroutines side by side until all are done or the gate closes.

        The first error ends the others and is raised when they have let go of everything.
        """
        workers: set[asyncio.Task[Any]] = {asyncio.ensure_future(one) for one in work}
        shut: asyncio.Task[Any] = asyncio.ensure_future(self._closed.wait())
        try:
            running = set(workers)
            while running:
                done, _ = await asyncio.wait({*running, shut}, return_when=asyncio.FIRST_COMPLETED)
                if shut in done:
                    return
                running -= done
                for task in done:
                    task.result()
        finally:
            for task in (*workers, shut):
                task.cancel()
            await asyncio.gather(*workers, shut, return_exceptions=True)

    async def attempt(
        self, work: Coroutine[Any, Any, T], grace: Callable[[], float] = lambda: 0.0
    ) -> tuple[T] | None:
        """Run one coroutine; None if the gate closed first, and it was cancelled and awaited.

        Parameters
        ----------
        grace : callable
            Asked when the gate closes: how many seconds the work has left.
        """
        task = asyncio.ensure_future(work)
        shut: asyncio.Task[Any] = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait({task, shut}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and (seconds := grace()) > 0:
                await asyncio.wait({task}, timeout=seconds)
        finally:
            task.cancel()
            shut.cancel()
            await asyncio.gather(task, shut, return_exceptions=True)
        return None if task.cancelled() else (task.result(),)
