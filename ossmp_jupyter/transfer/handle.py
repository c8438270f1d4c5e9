"""The handle of an upload, for any thread: what ``upload()`` and ``%oss_upload`` return."""

from __future__ import annotations

import asyncio
import concurrent.futures as cf
import contextlib
import time
import weakref
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from ossmp_jupyter.errors import InputError, OssmpError, UploadAborted
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.oss.messages import PartInfo
from ossmp_jupyter.transfer.checkpoint import Checkpoint
from ossmp_jupyter.transfer.interrupts import tell_stopped
from ossmp_jupyter.transfer.progress import Progress, State, UploadResult
from ossmp_jupyter.transfer.renewal import warn_of_waiting
from ossmp_jupyter.transfer.request import UploadRequest
from ossmp_jupyter.transfer.upload import UploadTask
from ossmp_jupyter.units import format_duration

if TYPE_CHECKING:
    from ossmp_jupyter.transfer.client import OSSClient

__all__ = ["Upload", "awaited", "serve_while_waiting"]

Service = Callable[[], AbstractContextManager[Callable[[], object]]]
"""Opens what is called on every tick of a wait; true where it has spent the tick's time itself."""


_TICK = 0.1
"""Seconds: no wait is longer, so that the stop button works (also on Windows, also in an await)."""


def _no_service() -> AbstractContextManager[Callable[[], object]]:
    return nullcontext(lambda: None)


_service: Service = _no_service
_awaiting: Service = _no_service
_awaited: weakref.WeakKeyDictionary[Upload, int] = weakref.WeakKeyDictionary()


def serve_while_waiting(service: Service | None, awaiting: Service | None = None) -> None:
    """Set what a blocking ``wait()`` and an ``await`` do on every tick; None for nothing.

    The notebook layer keeps its buttons alive so, also in a cell that calls ``upload(...).wait()``.
    """
    global _service, _awaiting
    _service, _awaiting = service or _no_service, awaiting or _no_service


def awaited() -> list[Upload]:
    """Uploads that somebody awaits, perhaps on a loop that was stopped in the middle of it."""
    return [handle for handle, count in _awaited.items() if count and not handle.future.done()]


class Upload:
    """One upload of this process. Made by :func:`ossmp_jupyter.upload`.

    Attributes
    ----------
    id : str
        Short name within the process, such as ``"u3"``.
    future : concurrent.futures.Future
        Done when the upload has ended, well or not.
    told : bool
        Whether somebody who waited has had the result, or the error.

    Examples
    --------
    >>> from ossmp_jupyter import upload
    >>> from ossmp_jupyter.localoss import LocalOSS
    >>> from ossmp_jupyter.oss.connection import connect
    >>> with LocalOSS() as server:
    ...     connection = connect(endpoint=server.endpoint, region=server.region,
    ...                          access_key_id=server.access_key_id,
    ...                          access_key_secret=server.access_key_secret)
    ...     handle = upload(b"hello", f"oss://{server.bucket}/hello.txt", connection=connection)
    ...     result = handle.wait()
    >>> handle.state, handle.progress.fraction, result.address
    (<State.DONE: 'done'>, 1.0, 'oss://demo/hello.txt')
    """

    def __init__(
        self,
        run: Callable[[Coroutine[Any, Any, Any]], cf.Future[Any]],
        client: OSSClient,
        request: UploadRequest,
        handle_id: str,
        timeout: float | None,
        at_rest: Callable[[], None] = lambda: None,
    ) -> None:
        self.id = handle_id
        self.request = request
        self.started_at = time.time()
        self.told = False
        self._run = run
        self._client = client
        self._task = UploadTask(client.rest_with(timeout), request, at_rest=at_rest)
        self.future: cf.Future[UploadResult] = run(self._task.run())

    def __repr__(self) -> str:
        state = self.state.value.replace("_", " ")
        return (
            f"<Upload {self.id} {self.name} → {self.address}: {state}, {int(self.progress.fraction * 100)} %>"
        )

    # ------------------------------------------------------------------ looking at it
    @property
    def name(self) -> str:
        """The source, for people."""
        return self.request.source.name

    @property
    def address(self) -> str:
        """``oss://bucket/key``."""
        return self.request.address

    @property
    def upload_id(self) -> str | None:
        """OSS's ID of the multipart upload; None before it is known and for simple uploads."""
        return self._task.upload_id

    @property
    def state(self) -> State:
        """Where the upload is in its life."""
        return self._task.state

    @property
    def progress(self) -> Progress:
        """A snapshot: bytes, parts, speed, state."""
        return self._task.progress()

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What could be resumed now."""
        return self._task.checkpoint

    @property
    def warning(self) -> str | None:
        """Something worth knowing that did not stop the upload."""
        return self._task.warning

    @property
    def result(self) -> UploadResult | None:
        """The result once the upload is done."""
        if self.future.done() and not self.future.cancelled() and self.future.exception() is None:
            return self.future.result()
        return None

    @property
    def error(self) -> OssmpError | None:
        """Why the upload ended otherwise than well."""
        error = self._task.error
        return error if isinstance(error, OssmpError) else None

    def part_map(self) -> str:
        """One letter per part: ``.`` to do, ``f`` in flight, ``d`` done, ``r`` retried, ``k`` kept."""
        return self._task.part_map()

    # ------------------------------------------------------------------ steering it
    def pause(self) -> None:
        """Stop and keep everything; returns at once.

        An upload that is being completed has a second and a half to end well.
        """
        self._tell(self._task.pause)

    @property
    def pause_asked(self) -> bool:
        """Whether it rests, or soon will, because somebody said so (the stop button, too)."""
        return self._task.pause_asked

    def resume(self) -> None:
        """Go on after a pause; returns at once."""
        self._tell(self._task.resume)

    def renew(self, connection: Connection) -> None:
        """Go on with the credentials of another connection to the same service; returns at once."""
        self._tell(lambda: self._task.renew(connection))

    def abort(self) -> cf.Future[bool]:
        """Stop, delete the parts on the server, confirm; returns at once.

        Returns
        -------
        concurrent.futures.Future of bool
            False when it was too late.
        """
        return self._run(self._task.abort())

    def release(self, timeout: float = 10.0) -> None:
        """Let go of the upload in this process: it can be resumed from its journal, here or elsewhere."""
        self._run(self._task.leave()).result(timeout)

    def parts_async(self) -> cf.Future[list[PartInfo]]:
        """Ask the server for the stored parts, over all pages; returns at once."""

        async def fetch() -> list[PartInfo]:
            if self.upload_id is None:
                return []
            return [part async for part in self._client.iter_parts(self.address, self.upload_id)]

        return self._run(fetch())

    def parts(self) -> list[PartInfo]:
        """Ask the server for the stored parts, over all pages. Blocks."""
        return self.parts_async().result()

    # ------------------------------------------------------------------ waiting for it
    def wait(self, timeout: float | None = None) -> UploadResult:
        """Wait for the end.

        Raises
        ------
        OssmpError
            Why the upload failed or was aborted.
        TimeoutError
            After ``timeout`` seconds; the upload goes on.
        KeyboardInterrupt
            The stop button: the upload is paused, nothing is lost; ``.resume()`` goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        tell = self._teller()
        try:
            with _service() as serve:
                while not self.future.done():
                    spent = serve()
                    if deadline is not None and time.monotonic() >= deadline:
                        raise TimeoutError(
                            f"{self.address} is still {self.state.value} "
                            f"after {format_duration(timeout or 0)}"
                        )
                    tell()
                    cf.wait([self.future], timeout=0 if spent else _TICK)
        except KeyboardInterrupt as interrupt:
            tell_stopped(self, interrupt)
            self.pause()
            raise
        return self._outcome()

    def __await__(self) -> Generator[Any, None, UploadResult]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> UploadResult:
        # Ticks, not wrap_future: cancelling the awaiting cell must not cancel the upload, and the
        # kernel's loop must wake up to see the stop button.
        tell = self._teller()
        _awaited[self] = _awaited.get(self, 0) + 1
        try:
            with _awaiting() as serve:
                while not self.future.done():
                    serve()
                    tell()
                    await asyncio.sleep(_TICK)
        except (KeyboardInterrupt, asyncio.CancelledError) as interrupt:
            tell_stopped(self, interrupt)
            self.pause()
            raise
        finally:
            _awaited[self] -= 1
        return self._outcome()

    def _teller(self) -> Callable[[], None]:
        """Make what warns, once, that only new credentials help; a program would wait in silence."""
        told = False

        def tell() -> None:
            nonlocal told
            if not told and self.state is State.WAITING:
                told = True
                warn_of_waiting(self.address, self.progress)

        return tell

    def _outcome(self) -> UploadResult:
        self.told = True
        try:
            return self.future.result()
        except cf.CancelledError:
            raise UploadAborted(
                f"the upload to {self.address} was left to another run of the cell",
                hint="look at %oss_uploads",
            ) from None

    def _tell(self, message: Callable[[], None]) -> None:
        async def deliver() -> None:
            message()

        with contextlib.suppress(InputError):  # the engine has ended: so has the upload
            self._run(deliver())
