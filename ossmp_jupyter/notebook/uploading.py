"""%oss_upload, %oss_wait, %oss_resume, %oss_pause, %oss_abort."""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.notebook.engine import (
    abort_upload,
    connection_now,
    find_in_bucket,
    fitting,
    resume_upload,
)
from ossmp_jupyter.notebook.gathering import gather
from ossmp_jupyter.notebook.results import UploadResults, failed_line, total_line
from ossmp_jupyter.notebook.rows import final_line
from ossmp_jupyter.notebook.waiting import pause_uploads, wait_future, wait_uploads
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.progress import State
from ossmp_jupyter.transfer.request import UploadRequest, check_timeout, prepare_request
from ossmp_jupyter.visible import visible

if TYPE_CHECKING:
    import argparse

    from ossmp_jupyter.notebook.session import Session
    from ossmp_jupyter.oss.connection import Connection
    from ossmp_jupyter.transfer.manager import Upload

__all__ = ["abort", "locate", "pairs", "pause", "resume", "upload", "wait"]


def upload(session: Session, args: argparse.Namespace, namespace: dict[str, Any]) -> Any:
    """Start the uploads; wait for them unless ``--background``."""
    wanted = gather(args.items, recursive=args.recursive)
    if wanted.many and args.checkpoint:
        raise InputError(
            f"one checkpoint file cannot serve {len(wanted.pairs)} uploads", hint="leave out --checkpoint"
        )
    options = _options(session, args, namespace)
    if args.output is not None and not args.output.isidentifier():
        raise InputError(f"-o {args.output!r} is not a variable's name")
    mode = "none" if args.quiet else session.ui(args.ui)
    connection = connection_now()
    handles = _start(wanted.pairs, connection, options)
    if not args.quiet:
        for note in wanted.notes:
            print(f"note: {note}")
    _store(session, args.output, handles if wanted.many else handles[0])
    if args.background:
        session.background.update(handles)
        session.cell(handles, mode)
        return handles if wanted.many else handles[0]
    results = _follow(session, handles, mode, quiet=args.quiet)
    value = results if wanted.many else results[0]
    _store(session, args.output, value)
    return session.shown(value)


def _start(pairs: Sequence[tuple[str, str]], connection: Connection, options: dict[str, Any]) -> list[Upload]:
    """Check all, then start all: a bad second source must not leave the first one running."""
    timeout = options.pop("timeout", None)
    requests: list[UploadRequest] = []
    try:
        for source, target in pairs:
            requests.append(prepare_request(connection, source, target, **options))
    except BaseException:
        for request in requests:
            request.source.close()
        raise
    handles: list[Upload] = []
    with _pausing(handles):
        for request in requests:
            handles.append(manager.engine().start(request, timeout))
    return handles


@contextmanager
def _pausing(handles: Sequence[Upload]) -> Iterator[None]:
    """The stop button before anything waits: what was started is paused all the same."""
    try:
        yield
    except KeyboardInterrupt:
        pause_uploads(handles)
        raise


def wait(session: Session, args: argparse.Namespace) -> Any:
    """Wait for the named uploads, or for all live ones."""
    if args.ids:
        handles = [_live(session, text) for text in args.ids]
    else:
        handles = [*_untold(session), *(handle for handle in manager.uploads() if not handle.future.done())]
    if not handles:
        print("no upload is running")
        return None
    mode = "none" if args.quiet else session.ui(args.ui)
    return session.shown(_follow(session, handles, mode, quiet=args.quiet))


def _untold(session: Session) -> list[Upload]:
    """Uploads of the background that have ended, and nobody has been told how.

    A failure has to stop whoever waits, also if it came before. Who aborts knows it.
    """
    session.background = {handle for handle in session.background if not handle.told}
    ended = (handle for handle in session.background if handle.state in (State.DONE, State.FAILED))
    return sorted(ended, key=lambda handle: handle.started_at)


def resume(session: Session, args: argparse.Namespace) -> Any:
    """Go on with an upload and wait for it."""
    mode = "none" if args.quiet else session.ui(args.ui)
    locate(session, args.id)
    fits = wait_future(fitting(session.board, args.id, args.file), session.shell)
    handle = resume_upload(session.board, args.id, args.file, fits)
    if args.background:
        session.background.add(handle)
        session.cell([handle], mode)
        return handle
    return session.shown(_follow(session, [handle], mode, quiet=args.quiet)[0])


def pause(session: Session, args: argparse.Namespace) -> None:
    """Pause an upload of this kernel."""
    handle = _live(session, args.id)
    if handle.future.done():
        raise InputError(f"{handle.name} is {handle.state.value}", hint="there is nothing to pause")
    handle.pause()
    print(visible(f"paused {handle.name} → {handle.address}: %oss_resume {handle.id} goes on"))


def abort(session: Session, args: argparse.Namespace) -> None:
    """Abort an upload and say so once its parts are gone."""
    locate(session, args.id)
    handle = session.board.live(args.id)
    known = handle or session.board.other(args.id, connection_now())
    if not wait_future(abort_upload(session.board, args.id), session.shell, to_the_end=True):
        raise InputError(f"it is too late to abort {args.id}", hint="the object is published, or about to be")
    if known is not None:
        session.board.forget(known.upload_id or "")
        print(f"aborted the upload to {visible(known.address)}; its parts are deleted")


def locate(session: Session, text: str) -> None:
    """Make sure the board knows the upload that an ID means, asking the bucket if need be."""
    if session.board.live(text) or session.board.other(text, connection_now()):
        return
    found = wait_future(find_in_bucket(text), session.shell)
    if len(found) > 1:
        some = ", ".join(u.upload_id for u in found[:4])
        raise InputError(
            f"{text!r} is the beginning of {len(found)} uploads: {some}", hint="give more of the ID"
        )
    if not found:
        raise InputError(f"no upload {text!r} is known here", hint="%oss_uploads shows them with their IDs")
    session.board.set_unfinished([*session.board.unfinished, *found])


def _live(session: Session, text: str) -> Upload:
    handle = session.board.live(text)
    if handle is None:
        raise InputError(f"no upload {text!r} in this kernel", hint="%oss_uploads shows them with their IDs")
    return handle


def _follow(session: Session, handles: Sequence[Upload], mode: str, *, quiet: bool) -> UploadResults:
    """Show the uploads, wait for their ends, and leave a receipt of each; raises if one failed."""
    with _pausing(handles):
        cell = session.cell(handles, mode)
    try:
        wait_uploads(handles, session.shell, cell.reporter)
    finally:
        cell.settle()
        session.settle()  # %oss_wait: the cells that began these uploads
    for handle in handles:
        handle.told = True
    _warn(handles)
    results = [handle.result for handle in handles if handle.result is not None]
    if not quiet:
        for result in results:
            print(final_line(result))
    if len(handles) > 1 and (len(results) < len(handles) or not quiet):  # of one alone, all is said
        for handle in handles:
            if handle.result is None:
                print(failed_line(handle))
        print(total_line(results, started=len(handles)))
    return UploadResults(handle.wait() for handle in handles)  # all have ended: the first failure is raised


def _warn(handles: Sequence[Upload]) -> None:
    for handle in handles:
        if handle.warning:
            print(f"warning: {handle.name}: {handle.warning}", file=sys.stderr)


def _store(session: Session, name: str | None, value: object) -> None:
    if name:
        session.shell.user_ns[name] = value


def _options(session: Session, args: argparse.Namespace, namespace: Mapping[str, Any]) -> dict[str, Any]:
    settings = session.settings
    args.part_size = args.part_size or settings.part_size or None
    args.parallel = args.parallel if args.parallel is not None else settings.parallel or None
    args.timeout = args.timeout if args.timeout is not None else settings.timeout or None
    args.no_checkpoint = args.no_checkpoint or not (settings.checkpoint or args.checkpoint)
    if args.checkpoint and args.no_checkpoint:
        raise InputError("--checkpoint and --no-checkpoint exclude each other")
    options: dict[str, Any] = {
        "part_size": args.part_size,
        "parallel": args.parallel,
        "meta": pairs(args.meta, "=", "--meta", "K=V"),
        "mime": args.mime,
        "headers": pairs(args.header, ":", "--header", '"K: V"'),
        "storage_class": args.storage_class,
        "tags": pairs(args.tag, "=", "--tag", "K=V"),
        "acl": args.acl,
        "encryption": args.encryption,
        "kms_key_id": args.kms_key_id,
        "traffic_limit": int(limit) if (limit := args.traffic_limit or "").isdecimal() else limit or None,
        "callback": _named(args.callback, Mapping, "--callback", "a dict", namespace),
        "progress": _named(args.progress, object, "--progress", "a function", namespace),
        "checkpoint": False if args.no_checkpoint else args.checkpoint,
        "timeout": check_timeout(args.timeout),
    }
    if args.progress and not callable(options["progress"]):
        raise InputError(f"--progress {args.progress}: the variable is not a function")
    flags = {"fresh": args.fresh, "simple": args.simple, "forbid_overwrite": args.forbid_overwrite}
    return {name: value for name, value in {**options, **flags}.items()
            if value is not None and (value is not False or name == "checkpoint")}  # fmt: skip


def pairs(given: Sequence[str] | None, sign: str, option: str, form: str) -> dict[str, str]:
    """Read repeated options such as ``--meta K=V``."""
    out: dict[str, str] = {}
    for text in given or ():
        name, found, value = text.partition(sign)
        if not found or not name.strip():
            raise InputError(f"{option} {text!r} is not a pair", hint=f"write {option} {form}")
        out[name.strip()] = value.strip() if sign == ":" else value
    return out


def _named(name: str | None, kind: type, option: str, what: str, namespace: Mapping[str, Any]) -> Any:
    if name is None:
        return None
    if not re.fullmatch(r"[^\W\d]\w*", name):
        raise InputError(
            f"{option} {name!r} is not a variable's name", hint=f"put {what} in a variable and name it"
        )
    value = namespace[name] if name in namespace else getattr(builtins, name, None)
    if value is None:
        why = "the variable is None" if name in namespace else "there is no such variable"
        raise InputError(f"{option} {name}: {why}", hint=f"it must hold {what}")
    if not isinstance(value, kind):
        held = type(value).__name__
        raise InputError(f"{option} {name}: the variable is of type {held}", hint=f"it must hold {what}")
    return value
