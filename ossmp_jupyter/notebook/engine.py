"""What the notebook asks of the engine, for uploads named by an ID. Everything returns at once."""

from __future__ import annotations

import os
import warnings
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ossmp_jupyter.errors import InputError, OssmpError
from ossmp_jupyter.notebook.board import Board
from ossmp_jupyter.notebook.unfinished import Unfinished, collect
from ossmp_jupyter.oss.connection import Connection, connect
from ossmp_jupyter.oss.messages import PartInfo
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.checkpoint import Checkpoint
from ossmp_jupyter.transfer.journal import Journal
from ossmp_jupyter.transfer.progress import State
from ossmp_jupyter.transfer.remote import RemoteSource
from ossmp_jupyter.transfer.rescue import rebuild_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from ossmp_jupyter.transfer.client import OSSClient
    from ossmp_jupyter.transfer.manager import Upload

__all__ = [
    "abort_unfinished",
    "abort_upload",
    "connect_aloud",
    "connection_now",
    "find_in_bucket",
    "fitting",
    "list_parts",
    "resume_upload",
]


def connection_now() -> Connection:
    """The connection in use; made from the environment when there is none yet.

    Raises
    ------
    InputError
        If the environment does not say where to connect to.
    """
    current = manager.default_connection()
    if current is not None:
        return current
    try:
        made = connect_aloud()
    except OssmpError as error:
        raise InputError(
            f"there is no connection ({error.message})",
            hint="run %oss_connect oss://bucket --region R, or %oss_connect --local to try things out",
        ) from None
    manager.set_default_connection(made)
    return made


def connect_aloud(**settings: Any) -> Connection:
    """Make a connection; what Python would show as a warning is printed as a line of the cell."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        made = connect(**settings)
    for one in told:
        print(f"note: {one.message}")
    return made


def find_in_bucket(text: str) -> Future[list[Unfinished]]:
    """Ask the connected bucket which unfinished uploads have an ID that begins with ``text``.

    Raises
    ------
    InputError
        If no bucket is connected, so that there is nothing to ask.
    """
    current = connection_now()
    if current.bucket is None:
        raise InputError(f"no upload {text!r} is known here", hint="%oss_uploads shows them with their IDs")

    async def find(client: OSSClient) -> list[Unfinished]:
        return [u for u in await collect(client) if u.upload_id.startswith(text)]

    return manager.call(find, current)


def abort_upload(board: Board, text: str) -> Future[bool]:
    """Abort one upload and confirm that its parts are gone; False when it was too late."""
    handle = board.live(text)
    if handle is not None and not handle.future.done():
        return handle.abort()
    if handle is not None and handle.state in (State.DONE, State.ABORTED):
        raise InputError(f"{handle.name} is {handle.state.value} already", hint="there is nothing to abort")
    return manager.call(abort_unfinished(_unfinished(board, text, handle)), connection_now())


def _unfinished(board: Board, text: str, handle: Upload | None) -> Unfinished:
    """What an ID means when no running handle owns it; a failed handle's upload is such a one."""
    upload_id = handle.upload_id if handle is not None else None
    found = board.other(upload_id or text, connection_now())
    if found is not None:
        return found
    if handle is None or upload_id is None:
        raise InputError(f"no upload {text!r} is known here", hint="%oss_uploads shows them with their IDs")
    return Unfinished(upload_id, handle.request.bucket, handle.request.key, source=handle.request.source.path)


def abort_unfinished(upload: Unfinished) -> Callable[[OSSClient], Coroutine[Any, Any, bool]]:
    """What the engine has to do to abort an upload that no running handle owns; its journal goes too."""

    async def abort(client: OSSClient) -> bool:
        journal = Journal(Path(upload.journal)) if upload.journal else None
        if journal is not None:
            journal.acquire()  # another kernel that is sending to it must abort it itself
        try:
            await client.abort_and_confirm(upload.address, upload.upload_id)
            if journal is not None:
                journal.remove()
        finally:
            if journal is not None:
                journal.close()
        return True

    return abort


def list_parts(board: Board, text: str) -> Future[list[PartInfo]]:
    """Ask OSS for all parts of one upload."""
    handle = board.live(text)
    if handle is not None and not handle.future.done():
        return handle.parts_async()
    if handle is not None and handle.state in (State.DONE, State.ABORTED):
        raise InputError(
            f"{handle.name} is {handle.state.value}, so OSS holds no parts of it any more",
            hint=f"%oss_head {handle.address} shows the object" if handle.state is State.DONE else None,
        )
    upload = _unfinished(board, text, handle)
    return manager.call(lambda client: _parts(client, upload), connection_now())


async def _parts(client: OSSClient, upload: Unfinished) -> list[PartInfo]:
    return [part async for part in client.iter_parts(upload.address, upload.upload_id)]


def resume_upload(board: Board, text: str, file: str | None = None, fits: Checkpoint | None = None) -> Upload:
    """Go on with a paused, failed or earlier upload; returns the handle that runs it.

    A ``file`` that its journal does not name comes with what :func:`fitting` says of it.

    Raises
    ------
    InputError
        If it cannot be resumed: it is done, or nothing here says which file it was.
    """
    handle = board.live(text)
    if handle is not None and not handle.future.done():
        handle.resume()
        return handle
    if handle is not None and handle.state in (State.DONE, State.ABORTED):
        raise InputError(f"{handle.name} is {handle.state.value}", hint="there is nothing to resume")
    if handle is not None and file is None:
        return _again(handle)
    upload = _unfinished(board, text, handle)
    source = file or upload.source
    if upload.in_browser and file is None:
        raise InputError(
            f"{upload.source} was chosen in a browser",
            hint=f"choose it again in the box of %oss_pick, or name a file: %oss_resume {text} FILE",
        )
    if source is None:
        raise InputError(
            f"nothing on this machine says which file upload {upload.upload_id} was made of",
            hint=f"name it: %oss_resume {upload.upload_id} FILE",
        )
    source = os.path.expanduser(source)
    connection = connection_now()
    checkpoint = upload.journal or fits or (handle.checkpoint if handle else None) or False
    started = manager.upload(source, upload.address, connection=connection, checkpoint=checkpoint)
    board.forget(upload.upload_id)
    return started


def _again(handle: Upload) -> Upload:
    """Run a failed upload of this kernel again, with the options it was begun with."""
    request = handle.request
    source = request.source.again() if isinstance(request.source, RemoteSource) else request.source.path
    if source is None:
        raise InputError(f"{handle.name} is not a file", hint="run the cell that began it again")
    options = {field.name: getattr(request.options, field.name) for field in fields(request.options)}
    return manager.upload(
        source,
        request.address,
        connection=request.connection,
        checkpoint=str(request.journal) if request.journal else handle.checkpoint or False,
        part_size=request.part_size,
        parallel=request.parallel,
        simple=request.simple,
        progress=request.progress,
        **options,
    )


def fitting(board: Board, text: str, file: str | None) -> Future[Checkpoint | None]:
    """Hold a file that the user names against what OSS holds of an earlier upload.

    Returns
    -------
    Future of Checkpoint or None
        None where there is nothing to find out: the upload is alive, or its journal names this file.

    Raises
    ------
    InputError
        From the future, if no stored part fits the file: it is not what the upload was made of.
    """
    handle = board.live(text)
    nothing: Future[Checkpoint | None] = Future()
    nothing.set_result(None)
    if file is None or (handle is not None and handle.state in (State.DONE, State.ABORTED)):
        return nothing
    if handle is not None and not handle.future.done():
        return nothing
    upload, path = _unfinished(board, text, handle), os.path.expanduser(file)
    if upload.source and not upload.in_browser and os.path.abspath(path) == os.path.abspath(upload.source):
        return nothing

    async def ask(client: OSSClient) -> Checkpoint | None:
        return await rebuild_checkpoint(client, upload.address, upload.upload_id, path)

    return manager.call(ask, connection_now())
