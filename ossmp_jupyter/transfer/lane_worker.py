"""A lane: one thread with one connection and one buffer, that carries one part at a time."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable

from ossmp_jupyter.transfer.exchange import Answer, Origin, PartRequest, Wire
from ossmp_jupyter.transfer.lane_body import new_buffer

__all__ = ["Lane"]


class _Job:
    """A request on its way: the thread fills ``answer`` or ``error``, the loop does the rest."""

    __slots__ = ("answer", "error", "loop", "over", "request", "waiter")

    def __init__(self, request: PartRequest, loop: asyncio.AbstractEventLoop) -> None:
        self.request = request
        self.loop = loop
        self.waiter: asyncio.Future[None] = loop.create_future()
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.over = False

    def finish(self) -> None:
        self.over = True
        if not self.waiter.done():
            self.waiter.set_result(None)


class Lane:
    """A daemon thread that sends parts one after the other over its own keep-alive connection.

    Parameters
    ----------
    chunk : int
        Size of the buffer in bytes.
    keepalive : float
        Seconds after which an idle lane closes its connection and gives its buffer back.
    name : str
        The thread's name.
    """

    def __init__(self, chunk: int, keepalive: float, name: str) -> None:
        self.origin: Origin | None = None
        self._chunk = chunk
        self._keepalive = keepalive
        self._wire = Wire()
        self._inbox: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread still takes requests."""
        return self._thread.is_alive()

    async def send(self, request: PartRequest) -> Answer:
        """Send one part and wait for its answer. One call at a time.

        A cancelled call cuts the connection and comes back only when the thread has let go of the source.
        """
        job = _Job(request, asyncio.get_running_loop())
        self.origin = request.origin
        self._wire.arm()
        self._inbox.put(job)
        try:
            await job.waiter
        except asyncio.CancelledError:
            self._wire.cut()
            while not job.over:
                job.waiter = job.loop.create_future()
                with contextlib.suppress(asyncio.CancelledError):
                    await job.waiter
            raise
        try:
            if job.error is not None:
                raise job.error
            assert job.answer is not None
            return job.answer
        finally:
            del job  # its error's traceback leads back here: a cycle that would keep the source open

    def stop(self) -> None:
        """Tell the thread to end, now, whatever it does. Returns at once."""
        self._inbox.put(None)
        self._wire.cut()

    def join(self, timeout: float) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout)

    # ---- the thread

    def _run(self) -> None:
        buffer: memoryview | None = None
        try:
            while True:
                try:
                    job = self._inbox.get(timeout=self._keepalive if buffer is not None else None)
                except queue.Empty:
                    self._wire.close()
                    buffer = None
                    continue
                if job is None:
                    return
                if buffer is None:
                    buffer = memoryview(new_buffer(self._chunk))
                try:
                    job.answer = self._wire.exchange(job.request, buffer)
                except BaseException as error:  # raised again where the caller waits
                    job.error = error
                if not _hand_over(job):
                    return
                del job
        finally:
            self._wire.close()


def _hand_over(job: _Job) -> bool:
    finish: Callable[[], None] = job.finish
    try:
        job.loop.call_soon_threadsafe(finish)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return False
    return True
