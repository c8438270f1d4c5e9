"""Progress callbacks of users: off the hot path, unable to slow or to kill an upload."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable

from ossmp_jupyter.transfer.checkpoint import Checkpoint

__all__ = ["CallbackRunner", "ProgressCallback"]

ProgressCallback = Callable[[float, Checkpoint | None, object], Awaitable[None] | None]
"""``progress(fraction, checkpoint, response)``, sync or async, as in ali-oss."""

_Event = tuple[float, Checkpoint | None, object]
_DRAIN = 10.0


class CallbackRunner:
    """Calls the user's function in order, one call at a time.

    A plain function runs in a thread, a coroutine function on the loop. The first exception is kept
    in ``error`` and ends the calls; the upload goes on.
    """

    def __init__(self, function: ProgressCallback) -> None:
        self._function = function
        self._queue: asyncio.Queue[_Event | None] = asyncio.Queue()
        self._task = asyncio.ensure_future(self._run())
        self.error: str | None = None

    def put(self, fraction: float, checkpoint: Checkpoint | None, response: object) -> None:
        """Hand over one event; returns at once."""
        if self.error is None:
            self._queue.put_nowait((fraction, checkpoint, response))

    async def close(self) -> None:
        """Wait for the events handed over so far, but not for ever: 10 s at most."""
        self._queue.put_nowait(None)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._task, _DRAIN)

    async def _run(self) -> None:
        while (event := await self._queue.get()) is not None:
            error = await self._call(event)
            if error is not None:
                self.error = f"the progress callback failed and is not called again: {error!r}"
                return

    async def _call(self, event: _Event) -> BaseException | None:
        """Call the user's code once; whatever it raises is returned, a ``sys.exit()`` too."""
        try:
            if inspect.iscoroutinefunction(self._function):
                await self._function(*event)
                return None
            answer, error = await asyncio.to_thread(_call_plain, self._function, event)
            if inspect.isawaitable(answer):
                await answer
            return error
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # meant for us
            return error


def _call_plain(function: ProgressCallback, event: _Event) -> tuple[object, BaseException | None]:
    """In a thread. No exception leaves it: SystemExit would end the loop, StopIteration hang the future."""
    try:
        return function(*event), None
    except BaseException as error:
        return None, error
