"""What the notebook asks of the engine, for uploads named by an ID. Everything returns at once."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ossmp_jupyter.errors import InputError, NoSuchUpload, OssmpError
from ossmp_jupyter.notebook.board import Board, list_bucket
from ossmp_jupyter.notebook.rows import Unfinished
from ossmp_jupyter.oss.connection import Connection, connect
from ossmp_jupyter.oss.messages import PartInfo
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.checkpoint import Checkpoint
from ossmp_jupyter.transfer.journal import Journal
from ossmp_jupyter.transfer.progress import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from ossmp_jupyter.transfer.client import OSSClient
    from ossmp_jupyter.transfer.manager import Upload

__all__ = [
    "abort_upload",
    "connection_for",
    "connection_now",
    "find_in_bucket",
    "list_parts",
    "part_size_of",
    "resume_upload",
]

T = TypeVar("T")
_ABORT_ROUNDS = 3  # a part that was in flight may arrive after the first abort


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
        made = connect()
    except OssmpError as error:
        raise InputError(
            f"there is no connection ({error.message})",
            hint="run %oss_connect oss://bucket --region R, or %oss_connect --local to try things out",
        ) from None
    manager.set_default_connection(made)
    return made


def connection_for(bucket: str) -> Connection:
    """The connection in use, with ``bucket`` as its bucket."""
    current = connection_now()
    return current if current.bucket == bucket else replace(current, bucket=bucket)


def _call(factory: Callable[[OSSClient], Coroutine[Any, Any, T]], bucket: str) -> Future[T]:
    return manager.call(factory, connection_for(bucket))


def _unknown(text: str) -> InputError:
    return InputError(f"no upload {text!r} is known here", hint="%oss_uploads shows them with their IDs")


def _other(board: Board, text: str) -> Unfinished:
    found = board.other(text, connection_now())
    if found is None:
        raise _unknown(text)
    return found


def find_in_bucket(text: str) -> Future[list[Unfinished]]:
    """Ask the connected bucket which unfinished uploads have an ID that begins with ``text``.

    Raises
    ------
    InputError
        If no bucket is connected, so that there is nothing to ask.
    """
    current = connection_now()
    if current.bucket is None:
        raise _unknown(text)
    answer: Future[list[Unfinished]] = Future()

    def done(listed: Future[list[Unfinished]]) -> None:
        error = listed.exception()
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result([u for u in listed.result() if u.upload_id.startswith(text)])

    list_bucket(current).add_done_callback(done)
    return answer


def abort_upload(board: Board, text: str) -> Future[None]:
    """Abort one upload and confirm that its parts are gone; done when they are."""
    handle = board.live(text)
    if handle is not None and not (handle.future.done() and handle.upload_id):
        return handle.abort()
    if handle is not None and handle.state in (State.DONE, State.ABORTED):
        raise InputError(f"{handle.name} is {handle.state.value} already", hint="there is nothing to abort")
    if handle is not None and handle.upload_id:
        bucket, _, key = handle.address.removeprefix("oss://").partition("/")
        ended = Unfinished(handle.upload_id, bucket, key, journal=_journal_of(board, handle.upload_id))
        return _call(lambda client: _abort(client, ended), bucket)
    other = _other(board, text)
    return _call(lambda client: _abort(client, other), other.bucket)


def _journal_of(board: Board, upload_id: str) -> str | None:
    found = board.other(upload_id, None)
    return found.journal if found else None


async def _abort(client: OSSClient, upload: Unfinished) -> None:
    journal = Journal(Path(upload.journal)) if upload.journal else None
    if journal is not None:
        journal.acquire()  # another kernel that is sending to it must abort it itself
    try:
        for _ in range(_ABORT_ROUNDS):
            try:
                await client.abort_multipart_upload(upload.key, upload.upload_id)
                await client.list_parts(upload.key, upload.upload_id, max_parts=1)
            except NoSuchUpload:
                break
        if journal is not None:
            journal.remove()
    finally:
        if journal is not None:
            journal.close()


def list_parts(board: Board, text: str) -> Future[list[PartInfo]]:
    """Ask OSS for all parts of one upload."""
    handle = board.live(text)
    if handle is not None and not handle.future.done():
        return handle.parts_async()
    if handle is not None and handle.upload_id and handle.state is not State.DONE:
        bucket, _, key = handle.address.removeprefix("oss://").partition("/")
        return _call(lambda client: _parts(client, key, handle.upload_id or ""), bucket)
    if handle is not None:
        raise InputError(
            f"{handle.name} is {handle.state.value}, so OSS holds no parts of it any more",
            hint=f"%oss_head {handle.address} shows the object" if handle.state is State.DONE else None,
        )
    other = _other(board, text)
    return _call(lambda client: _parts(client, other.key, other.upload_id), other.bucket)


async def _parts(client: OSSClient, key: str, upload_id: str) -> list[PartInfo]:
    return [part async for part in client.iter_parts(key, upload_id)]


def resume_upload(board: Board, text: str, file: str | None = None, **options: Any) -> Upload:
    """Go on with a paused, failed or earlier upload; returns the handle that runs it.

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
    upload = board.other(
        handle.upload_id if handle is not None and handle.upload_id else text, connection_now()
    )
    if upload is None and handle is not None and handle.upload_id:
        bucket, _, key = handle.address.removeprefix("oss://").partition("/")
        upload = Unfinished(handle.upload_id, bucket, key)
    if upload is None:
        raise _unknown(text)
    return _restart(board, upload, file, handle, options)


def _restart(
    board: Board, upload: Unfinished, file: str | None, handle: Upload | None, options: dict[str, Any]
) -> Upload:
    source = file or upload.source or (handle.checkpoint.file if handle and handle.checkpoint else None)
    if source is None:
        raise InputError(
            f"nothing on this machine says which file upload {upload.upload_id} was made of",
            hint=f"name it: %oss_resume {upload.upload_id} FILE",
        )
    source = os.path.expanduser(source)
    connection = connection_for(upload.bucket)
    checkpoint: str | Checkpoint
    if upload.journal:
        checkpoint = upload.journal
    elif handle is not None and handle.checkpoint is not None:
        checkpoint = handle.checkpoint
    else:
        part_size = upload.part_size
        checkpoint = Checkpoint(
            source,
            upload.bucket,
            upload.key,
            upload.size,
            part_size,
            upload.upload_id,
            (),
            connection.identity,
        )
    started = manager.upload(source, upload.address, connection=connection, checkpoint=checkpoint, **options)
    board.forget(upload.upload_id)
    return started


async def part_size_of(client: OSSClient, upload: Unfinished) -> int:
    """The part size that an upload was begun with, as its stored parts show it; 0 when there are none."""
    sizes = [part.size for part in await _parts(client, upload.key, upload.upload_id)]
    return max(sizes, default=0)
