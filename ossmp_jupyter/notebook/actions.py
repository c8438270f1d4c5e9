"""What the panel's buttons do: hand over to the engine, return at once, answer in the status line."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ossmp_jupyter.notebook.board import Board
from ossmp_jupyter.notebook.cleaning import Sweeper
from ossmp_jupyter.notebook.engine import (
    abort_upload,
    connection_now,
    fitting,
    list_parts,
    resume_upload,
)
from ossmp_jupyter.notebook.links import Link, make_link
from ossmp_jupyter.notebook.rows import final_line
from ossmp_jupyter.notebook.scripts import module_text
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.progress import State
from ossmp_jupyter.units import format_duration, format_size, format_speed

if TYPE_CHECKING:
    from ossmp_jupyter.notebook.panel import Panel
    from ossmp_jupyter.notebook.rows import Row
    from ossmp_jupyter.oss.messages import PartInfo

__all__ = ["PAGE", "Actions"]

PAGE = 100
"""Parts per page of the parts table."""


class Actions:
    """Clicks of the panel, as calls of the engine.

    Parameters
    ----------
    board : Board
        What there is to act on.
    box : callable
        Makes ready for files of the user's computer; returns what the page needs to show the box.
    """

    def __init__(self, board: Board, box: Callable[[], dict[str, Any]]) -> None:
        self._board, self._box = board, box
        self._sweeper = Sweeper(board.forget)
        self._listed: dict[str, list[PartInfo]] = {}

    def __call__(self, panel: Panel, verb: str, upload: str, page: int, file: str = "") -> None:
        """Carry a click out; whatever goes wrong comes back as a sentence in the panel."""
        if verb in ("pauseall", "resumeall"):
            self._all(panel, verb)
            return
        if verb == "script":
            panel.tell("script", {"text": module_text("live")})
            return
        if verb == "old":
            self._sweeper.look(panel, page)
            return
        if verb == "abortold":
            self._sweeper.abort(panel, upload)
            return
        if verb == "box":
            panel.tell("box", self._box())
            return
        row = next((row for row in self._board.rows() if row.id == upload), None)
        if row is None:
            panel.say("This upload is no longer known here; run %oss_uploads to look again.", bad=True)
            return
        if verb == "abort":
            self._abort(panel, row)
        elif verb == "parts":
            self._parts(panel, row)
        elif verb == "page":
            self._show(panel, row, self._listed.get(row.id, []), page)
        elif verb == "map":
            self._map(panel, row)
        elif verb == "link":
            self._link(panel, row, page)
        elif verb == "pause":
            self._pause(panel, row)
        elif verb == "resume":
            self._resume(panel, row, file.strip())
        else:
            panel.say(f"The panel sent an unknown action {verb!r}.", bad=True)

    def _abort(self, panel: Panel, row: Row) -> None:
        panel.say(f"Aborting {row.title}…", upload=row.id)
        future = abort_upload(self._board, row.id)

        def done(answered: Future[bool]) -> None:
            if _failed(panel, row, "could not be aborted", answered):
                return
            if not answered.result():
                panel.say(f"It was too late to abort {row.title}.", bad=True, upload=row.id)
                return
            self._board.forget(row.upload_id)
            self._listed.pop(row.id, None)
            panel.say(f"Aborted {row.title}; its parts are deleted on OSS.", upload=row.id)
            panel.start()

        future.add_done_callback(done)

    def _parts(self, panel: Panel, row: Row) -> None:
        receipt = self._receipt(row)
        if receipt is not None:
            panel.tell("parts", {**receipt, "text": f"{row.title} is published."})
            return

        def done(answered: Future[list[PartInfo]]) -> None:
            if _failed(panel, row, "has no list of parts", answered):
                return
            self._listed = {row.id: answered.result()}
            self._show(panel, row, answered.result(), 0)

        list_parts(self._board, row.id).add_done_callback(done)

    def _show(self, panel: Panel, row: Row, parts: list[PartInfo], page: int) -> None:
        pages = max(1, -(-len(parts) // PAGE))
        page = min(max(page, 0), pages - 1)
        shown = parts[page * PAGE : (page + 1) * PAGE]
        total = sum(part.size for part in parts)
        panel.tell(
            "parts",
            {
                "script": module_text("details"),
                "id": row.id,
                "name": row.title,
                "address": row.address,
                "page": page,
                "pages": pages,
                "total": len(parts),
                "text": f"OSS holds {len(parts)} part{'' if len(parts) == 1 else 's'} of {row.title}, "
                f"{format_size(total)}.",
                "parts": [[p.part_number, format_size(p.size), p.etag, _crc(p)] for p in shown],
            },
        )

    def _map(self, panel: Panel, row: Row) -> None:
        handle = self._board.live(row.id)
        if handle is None:
            return  # begun elsewhere: the list of its parts is all there is
        receipt = self._receipt(row)
        if receipt is not None:  # it was done while somebody looked
            panel.tell("map", receipt)
            return
        p, request = handle.progress, handle.request
        facts = [
            f"{format_duration(p.elapsed)} so far",
            f"{p.parts_in_flight} of at most {request.ceiling} at a time",
        ]
        if p.elapsed >= 1:
            facts.append(f"{format_speed((p.confirmed - p.kept) / p.elapsed)} on average")
        if p.kept:
            facts.append(f"{format_size(p.kept)} kept from before")
        panel.tell(
            "map",
            {
                "id": row.id,
                "map": shortened(handle.part_map()),
                "speed": round(p.speed),
                "pace": format_speed(p.speed),
                "facts": ", ".join(facts),
            },
        )

    def _receipt(self, row: Row) -> dict[str, Any] | None:
        """What the details of a published object show; None while it is none."""
        handle = self._board.live(row.id)
        if handle is None or handle.state is not State.DONE or handle.result is None:
            return None
        line = final_line(handle.result).removeprefix(handle.result.address).strip()
        shown = {"id": row.id, "name": row.name, "address": row.address, "receipt": line}
        return {**shown, "script": module_text("details")}

    def _link(self, panel: Panel, row: Row, seconds: int) -> None:
        handle = self._board.live(row.id)
        if handle is None or handle.state is not State.DONE:
            panel.tell("link", {"id": row.id, "error": f"{row.name} is not published"})
            return

        def done(answered: Future[Link]) -> None:
            error = answered.exception()
            if error is not None:
                panel.tell("link", {"id": row.id, "error": str(error)})
                return
            link = answered.result()
            panel.tell("link", {"id": row.id, "url": str(link.url), "words": link.words()})

        making = manager.call(
            lambda client: make_link(client, row.address, seconds), handle.request.connection
        )
        making.add_done_callback(done)

    def _all(self, panel: Panel, verb: str) -> None:
        letter, what = ("P", "Paused") if verb == "pauseall" else ("R", "Resumed")
        live = [(row, self._board.live(row.id)) for row in self._board.rows() if letter in row.can]
        found = [(row, handle) for row, handle in live if handle is not None and not handle.future.done()]
        for row, handle in found:
            if verb == "pauseall":
                handle.pause()
            else:
                resume_upload(self._board, row.id)
        panel.say(f"{what} {len(found)} upload{'' if len(found) == 1 else 's'}." if found else
                  f"No upload can be {what.lower()}.")  # fmt: skip
        panel.start()

    def _pause(self, panel: Panel, row: Row) -> None:
        handle = self._board.live(row.id)
        if handle is None:
            panel.say("Only an upload of this kernel can be paused.", bad=True)
            return
        handle.pause()
        panel.say(f"Paused {row.name}; everything sent is kept.", upload=row.id)

    def _resume(self, panel: Panel, row: Row, file: str) -> None:
        other = None if self._board.live(row.id) else self._board.other(row.id, connection_now())
        if other is None or other.resumable:
            resume_upload(self._board, row.id)
            panel.say(f"Resumed {row.name}; what OSS holds already is kept.", upload=row.id)
            panel.start()
        elif not file:
            command = f"%oss_resume {other.upload_id} FILE"
            panel.tell("ask", {"id": row.id, "guess": other.guess, "command": command})
        else:
            panel.say(f"Comparing {file} with what OSS holds…", upload=row.id)
            # Not on the engine's thread: to begin an upload may mean to wait for the end of another.
            threading.Thread(target=self._resume_with, args=(panel, row, file), daemon=True).start()

    def _resume_with(self, panel: Panel, row: Row, file: str) -> None:
        answered: Future[Any] = Future()
        try:
            fits = fitting(self._board, row.id, file).result()
            answered.set_result(resume_upload(self._board, row.id, file, fits))
        except Exception as error:
            answered.set_exception(error)
        if not _failed(panel, row, "cannot be resumed with this file", answered):
            panel.say(f"Resumed with {file}; what OSS holds already and fits is kept.", upload=row.id)
            panel.start()


def shortened(part_map: str) -> str:
    """Write a part map by its runs: 10,000 parts are a few letters most of the time.

    Examples
    --------
    >>> shortened("kkk.f")
    'k3.1f1'
    """
    return "".join(f"{letter}{len(list(run))}" for letter, run in groupby(part_map))


def _crc(part: PartInfo) -> str:
    return "" if part.crc64 is None else str(part.crc64)  # 64 bits: text, JavaScript would round it


def _failed(panel: Panel, row: Row, what: str, answered: Future[Any]) -> bool:
    if answered.cancelled():
        panel.say(f"{row.title} {what}: cancelled.", bad=True, upload=row.id)
        return True
    error = answered.exception()
    if error is None:
        return False
    panel.say(f"{row.title} {what}: {error}", bad=True, upload=row.id)
    return True
