"""%oss_pick, and the box for files above the panel: from chosen files to uploads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.notebook.browser_files import BrowserFiles, Missing, Pick, PickView
from ossmp_jupyter.notebook.browser_source import BrowserSource
from ossmp_jupyter.notebook.engine import connection_now
from ossmp_jupyter.notebook.looking import find_unfinished
from ossmp_jupyter.notebook.unfinished import from_journals
from ossmp_jupyter.notebook.uploading import pairs
from ossmp_jupyter.oss.headers import ObjectOptions
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.plan import MAX_PARTS, check_parallel, check_part_size
from ossmp_jupyter.transfer.progress import State
from ossmp_jupyter.transfer.request import UploadRequest, prepare_request, resolve_target
from ossmp_jupyter.units import MIB, format_size

if TYPE_CHECKING:
    import argparse

    from ossmp_jupyter.notebook.courier import Courier, PageFile
    from ossmp_jupyter.notebook.session import Session
    from ossmp_jupyter.notebook.unfinished import Unfinished
    from ossmp_jupyter.transfer.manager import Upload

__all__ = ["box", "destination", "make_files", "pick"]

_PART = 4 * MIB
_PARALLEL = 4
_MOST_MISSING = 5
_ORPHANED = 8.0
"""Seconds without a word from a page of Voilà, asked every two."""


def pick(session: Session, args: argparse.Namespace) -> None:
    """Show the box for files of this computer."""
    if session.ui(args.ui) not in ("auto", "widget"):
        raise InputError(
            "there is no page here to choose files in",
            hint="name files of this machine: %oss_upload FILE DEST",
        )
    # What is missing or cannot be is found here, not in a click.
    connection, meta = connection_now(), pairs(args.meta, "=", "--meta", "K=V")
    ObjectOptions(meta=meta)
    if args.dest:
        resolve_target(connection, args.dest, "file")
    options = {
        "part_size": args.part_size and check_part_size(args.part_size),
        "parallel": args.parallel and check_parallel(args.parallel),
        "meta": meta or None,
        "forbid_overwrite": args.forbid_overwrite or None,
    }
    given = {name: value for name, value in options.items() if value is not None}
    find_unfinished(session, connection)
    session.cell(None, "widget", box(session, args.dest, direct=args.direct, options=given))


def box(session: Session, where: str | None = None, *, direct: bool = False, options: Any = None) -> PickView:
    """Make the box and the panel below it."""
    session.panel.prepare()
    return PickView(session.panel, session.files, where or destination(), direct=direct, options=options)


def destination() -> str:
    """Where files go unless somebody says otherwise: the connected bucket."""
    current = manager.default_connection()
    return f"oss://{current.bucket}/" if current is not None and current.bucket else ""


def make_files(session: Session) -> BrowserFiles:
    """Make the kernel's end of the pages that choose files."""
    engine = manager.engine()
    files = BrowserFiles(
        engine.loop, lambda pick: _Picker(session).begin(pick), _missing, session.panel.hub.layout
    )
    if os.environ.get("SERVER_SOFTWARE", "").startswith("voila"):
        engine.run(_leave_orphans(files.courier))
    return files


class _Picker:
    """Begins the uploads of one choice."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._connection = connection_now()

    def begin(self, pick: Pick) -> str:
        """Begin or continue an upload for each file; returns a sentence."""
        continued: list[PageFile] = []
        begun: list[PageFile] = []
        wrong: list[str] = []
        for file in pick.files:
            try:
                (continued if self._one(pick, file) else begun).append(file)
            except InputError as error:
                wrong.append(f"{file.name}: {error}")
        self._session.panel.start()
        if wrong:
            raise InputError("; ".join(wrong))
        said = [
            f"{verb} {_names(files)}, {format_size(sum(file.size for file in files))}."
            for verb, files in (("Started", begun), ("Continued", continued))  # true also when it has ended
            if files
        ]
        return " ".join(said)

    def _one(self, pick: Pick, file: PageFile) -> bool:
        """Whether it was a file that something waited for."""
        waiting = [source for _, source in _waiting() if source.is_same(file)]
        if pick.again:
            waiting = [s for handle, s in _waiting() if handle.id == pick.again and s.is_same(file)]
        if waiting:
            waiting[0].bind(file)
            return True
        live = self._session.board.live(pick.again) if pick.again else None
        if live is not None:
            if live.name != file.name:
                raise InputError(f"this is another file than {live.name}", hint=f"choose {live.name}")
            # Edited since: what was sent before counts where the content is still the same.
            self._start(pick, file, live.address, live.request.journal)
            return True
        known = [u for u in _unfinished() if (u.source, u.size, u.in_use) == (file.name, file.size, False)]
        if pick.again:
            known = [u for u in known if u.upload_id == pick.again]
            if not known:
                raise InputError("this is another file", hint="choose the one with the same name and size")
        if known:
            self._start(pick, file, known[0].address, known[0].journal)
            self._session.board.forget(known[0].upload_id)
            return True
        self._start(pick, file, _target(pick, file, alone=len(pick.files) == 1), None)
        return False

    def _start(self, pick: Pick, file: PageFile, address: str, journal: object) -> Upload:
        source = BrowserSource(self._session.files.courier, file, self._connection, direct=pick.direct)
        options: dict[str, Any] = {"parallel": _PARALLEL, **pick.options}
        if file.size <= _PART * MAX_PARTS:
            options.setdefault("part_size", _PART)
        if journal is not None:
            options["checkpoint"] = str(journal)
        request: UploadRequest = prepare_request(self._connection, source, address, **options)
        return manager.engine().start(request, None)


def _target(pick: Pick, file: PageFile, *, alone: bool) -> str:
    """The object's address: a folder keeps the file's name."""
    where = pick.destination
    if not where:
        raise InputError("no destination is given", hint="write oss://bucket/folder/ beside the button")
    if where.startswith("oss://") and "/" not in where.removeprefix("oss://"):
        where += "/"
    if where.endswith("/"):
        return where + file.name
    if not alone:
        raise InputError(f"{where} is one object, and there are several files", hint="end it with /")
    return where


def _waiting() -> Iterable[tuple[Upload, BrowserSource]]:
    for handle in manager.uploads():
        source = handle.request.source
        if not handle.future.done() and isinstance(source, BrowserSource) and source.waiting:
            yield handle, source


def _unfinished() -> list[Unfinished]:
    live = {handle.upload_id for handle in manager.uploads() if handle.state is not State.FAILED}
    found = from_journals(manager.default_connection())
    return [upload for upload in found if upload.in_browser and upload.upload_id not in live]


async def _leave_orphans(courier: Courier) -> None:
    """Leave uploads whose page is gone to the kernel of the next page.

    Voilà gives each page a kernel of its own, and the kernel of a closed page may live on.
    """
    while True:
        await asyncio.sleep(_ORPHANED / 4)
        live = [
            (handle, handle.request.source)
            for handle in manager.uploads()
            if not handle.future.done() and isinstance(handle.request.source, BrowserSource)
        ]
        if live:
            courier.ping()
        for handle, source in live:
            if courier.silence(source.file) > _ORPHANED:
                await asyncio.to_thread(handle.release)


def _missing() -> list[Missing]:
    live = [Missing(handle.id, handle.name, handle.address) for handle, _ in _waiting()]
    failed = {handle.upload_id for handle in manager.uploads()}
    earlier = [
        Missing(u.upload_id, u.source or "", u.address, in_use=u.in_use)
        for u in _unfinished()
        if u.upload_id not in failed
    ]
    return (live + earlier)[:_MOST_MISSING]


def _names(files: list[PageFile]) -> str:
    return files[0].name if len(files) == 1 else f"{len(files)} files"
