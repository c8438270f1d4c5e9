"""The engine of this process: one thread, one event loop, all uploads.

The user's kernel owns the main thread and its loop; uploads live on a loop of their own, so that a
busy cell, a blocked cell or a restart of the front end never touches them. Only
``call_soon_threadsafe`` and ``run_coroutine_threadsafe`` go in, only snapshots come out. The engine
never prints and never displays, but for a line when a program ends before its uploads.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures as cf
import contextlib
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from ossmp_jupyter.errors import InputError, UploadInUse
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.transfer import defaults
from ossmp_jupyter.transfer.client import OSSClient
from ossmp_jupyter.transfer.defaults import current_connection, default_connection
from ossmp_jupyter.transfer.handle import Upload
from ossmp_jupyter.transfer.progress import State
from ossmp_jupyter.transfer.request import UploadRequest, check_timeout, prepare_request
from ossmp_jupyter.transfer.upload import RESTING
from ossmp_jupyter.visible import visible

__all__ = [
    "Engine",
    "Upload",
    "call",
    "default_connection",
    "engine",
    "set_default_connection",
    "upload",
    "uploads",
]

T = TypeVar("T")

_LINGER = 1.0
"""Seconds for which connections are kept when all uploads rest."""
_MOST_LINES = 5  # about uploads that the end of the program cut off
_EXIT = 1.0
"""Seconds at interpreter exit; Jupyter kills a kernel 2.5 s after it asked for its end."""


class Engine:
    """A thread with an event loop, the clients made on it, and the uploads that run there."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="ossmp-engine", daemon=True)
        self._clients: list[OSSClient] = []
        self._uploads: list[Upload] = []
        self._lock = threading.RLock()
        self._sweep: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._count = 0
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        with contextlib.suppress(RuntimeError):
            self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> cf.Future[T]:
        """Run a coroutine on the engine's loop.

        Raises
        ------
        InputError
            If the engine has ended.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except RuntimeError:  # the loop is closed
            coroutine.close()
            raise InputError(
                "what this upload ran on has ended", hint="run the upload again: it goes on where it was"
            ) from None
        future.add_done_callback(self._ended)
        return future

    def client(self, connection: Connection) -> OSSClient:
        """Return the one client for a connection."""
        with self._lock:
            for client in self._clients:
                if client.connection is connection:
                    return client
            client = OSSClient(connection)
            self._clients.append(client)
            return client

    def uploads(self) -> list[Upload]:
        """All uploads of this process, oldest first."""
        with self._lock:
            return list(self._uploads)

    def start(self, request: UploadRequest, timeout: float | None) -> Upload:
        """Start an upload, or attach to the live one of the same source and target.

        Raises
        ------
        UploadInUse
            If a fresh upload was asked for while the same one is running.
        """
        with self._lock:
            live = self._live(request)
            if live is not None and request.fresh:
                request.source.close()
                raise UploadInUse(
                    f"{request.address} is being uploaded right now",
                    hint="abort that upload first, or wait for it",
                )
            if live is not None and live.request.found == request.found:
                request.source.close()
                live.resume()
                return live
            if live is not None:
                # The source is another one than when the live upload began: what that one sent is
                # taken up by content, from its journal.
                live.release()
            self._count += 1
            client, name = self.client(request.connection), f"u{self._count}"
            handle = Upload(self.run, client, request, name, timeout, self._at_rest)
            self._uploads.append(handle)
            return handle

    def _live(self, request: UploadRequest) -> Upload | None:
        for handle in reversed(self._uploads):
            if not handle.future.done() and handle.request.fingerprint == request.fingerprint:
                return handle
        return None

    def _ended(self, future: cf.Future[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._at_rest)

    def _at_rest(self) -> None:
        if self._sweep is None:
            self._sweep = self.loop.call_later(_LINGER, self._close_idle)

    def _close_idle(self) -> None:
        """Keep no connection and no lane while no upload needs one."""
        self._sweep = None
        if all(handle.state in RESTING for handle in self.uploads()):
            for client in self._clients:
                closing = self.loop.create_task(client.close_idle())
                self._closing.add(closing)  # the loop itself holds tasks weakly
                closing.add_done_callback(self._closing.discard)

    def forget(self, handle: Upload) -> None:
        """Drop an ended upload from the list."""
        with self._lock, contextlib.suppress(ValueError):
            if handle.future.done():
                self._uploads.remove(handle)

    def stop(self, timeout: float = _EXIT) -> None:
        """Leave every upload as after a pause, close all connections, end the thread."""

        async def close() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(client.aclose() for client in self._clients), return_exceptions=True)
            self._clients.clear()

        if os.getpid() != self.pid or not self._thread.is_alive():
            return
        with contextlib.suppress(Exception):
            self.run(close()).result(timeout)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout)

    def leave(self) -> None:
        """Stop at the end of the program, and say what it cuts off: to forget the wait looks like success."""
        left = [handle for handle in self.uploads() if not handle.future.done()]
        self.stop()
        left = [handle for handle in left if handle.state is not State.DONE and not handle.pause_asked]
        # not in a kernel, whose output goes to a page that listens no more
        if os.getpid() != self.pid or not left or sys.stderr is None or sys.stderr is not sys.__stderr__:
            return
        said = [f"{h.name} → {h.address} is not published: the program ended before it" for h in left]
        if len(said) > _MOST_LINES:
            said = [f"{len(said)} uploads are not published: the program ended before them"]
        said.append("Run it again to go on, and wait for the end: upload(...).wait()")
        with contextlib.suppress(OSError, ValueError):
            print("\n".join(map(visible, said)), file=sys.stderr)


_engine: Engine | None = None
_engine_lock = threading.Lock()


def engine() -> Engine:
    """Return this process's engine; made at first use, and anew after a fork."""
    global _engine  # noqa: PLW0603 - the loop thread is the one singleton
    with _engine_lock:
        if _engine is None or _engine.pid != os.getpid():
            _engine = Engine()
            atexit.register(_engine.leave)
        return _engine


def stop_engine(timeout: float = _EXIT) -> None:
    """End the engine, if there is one; the next upload starts a new one. ``timeout`` is in seconds."""
    global _engine
    with _engine_lock:
        old, _engine = _engine, None
    if old is not None:
        old.stop(timeout)
        atexit.unregister(old.leave)


def upload(
    source: object,
    target: str,
    *,
    connection: Connection | None = None,
    timeout: float | None = None,
    **options: Any,
) -> Upload:
    """Start uploading and return a handle at once.

    Running the same call again is always safe: it attaches to the live upload, resumes the dead
    one (also of a kernel that was killed), or reports the published object.

    Parameters
    ----------
    source : path, bytes-like or open binary file
        What to upload.
    target : str
        ``oss://bucket/key``; ``oss://bucket/folder/`` keeps the file's name; a bare key where the
        connection names a bucket.
    connection : Connection, optional
        Default: what ``%oss_connect`` or :func:`set_default_connection` set, else the environment.
    timeout : float, optional
        Seconds without progress on a connection.
    **options
        As in :meth:`OSSClient.multipart_upload`: ``part_size``, ``parallel``, ``progress``,
        ``meta``, ``mime``, ``headers``, ``callback``, ``checkpoint``, ``fresh``, ``simple``,
        ``storage_class``, ``tags``, ``acl``, ``forbid_overwrite``, ...

    Returns
    -------
    Upload
        Call ``.wait()`` or await it for the result.

    Raises
    ------
    InputError
        If an argument is wrong; nothing has happened then.

    Examples
    --------
    >>> from ossmp_jupyter import upload
    >>> from ossmp_jupyter.localoss import LocalOSS
    >>> from ossmp_jupyter.oss.connection import connect
    >>> with LocalOSS() as server:
    ...     connection = connect(endpoint=server.endpoint, region=server.region,
    ...                          access_key_id=server.access_key_id,
    ...                          access_key_secret=server.access_key_secret)
    ...     result = upload(b"a,b", f"oss://{server.bucket}/t.csv", connection=connection).wait()
    >>> result.size, result.verified
    (3, True)
    """
    timeout = check_timeout(timeout)
    request = prepare_request(connection or current_connection(), source, target, **options)
    return engine().start(request, timeout)


def set_default_connection(connection: Connection | None) -> None:
    """Set what uploads and clients of this process use from now on; None forgets it.

    Live uploads to the same service go on with its credentials: an upload that waits for new ones
    continues.

    Examples
    --------
    >>> from ossmp_jupyter import connect, set_default_connection
    >>> keys = {"access_key_id": "LTAI...", "access_key_secret": "..."}
    >>> set_default_connection(connect(region="cn-hangzhou", bucket="my-bucket", **keys))
    >>> set_default_connection(None)
    """
    defaults.set_default_connection(connection)
    if connection is not None and _engine is not None:
        for handle in _engine.uploads():
            if not handle.future.done() and handle.request.connection.identity == connection.identity:
                handle.renew(connection)


def uploads() -> list[Upload]:
    """All uploads of this process, oldest first.

    Examples
    --------
    >>> from ossmp_jupyter import uploads
    >>> isinstance(uploads(), list)
    True
    """
    return engine().uploads() if _engine is not None else []


def call(factory: Callable[[OSSClient], Awaitable[T]], connection: Connection | None = None) -> cf.Future[T]:
    """Await any client call on the engine's loop; returns at once.

    Parameters
    ----------
    factory : callable
        Given the :class:`OSSClient`, returns what to await: ``lambda oss: oss.head("key")``.
    """
    owner = engine()
    client = owner.client(connection or current_connection())

    async def run() -> T:
        return await factory(client)

    return owner.run(run())
