"""One upload as a row for people: the values that the panel, the text table and the HTML table show."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ossmp_jupyter.notebook.unfinished import Unfinished
from ossmp_jupyter.transfer.progress import FINAL_STATES, Progress, State, UploadResult
from ossmp_jupyter.transfer.remote import RemoteSource
from ossmp_jupyter.transfer.verify import Published
from ossmp_jupyter.units import format_duration, format_exact_size, format_size, format_speed, format_time
from ossmp_jupyter.visible import visible

if TYPE_CHECKING:
    from ossmp_jupyter.transfer.manager import Upload

__all__ = [
    "Row",
    "final_line",
    "html_table",
    "read_final_line",
    "row_of",
    "row_of_unfinished",
    "text_table",
    "words",
]

_WORDS = {
    State.QUEUED: "queued",
    State.HASHING: "reading the source",
    State.INITIATING: "starting",
    State.UPLOADING: "uploading",
    State.PAUSED: "paused",
    State.WAITING: "waiting for credentials",
    State.COMPLETING: "completing",
    State.VERIFYING: "verifying",
    State.DONE: "done",
    State.FAILED: "failed",
    State.ABORTED: "aborted",
    State.SOURCE_CHANGED: "source changed, not completed",
}
_PAUSABLE = frozenset({State.QUEUED, State.HASHING, State.INITIATING, State.UPLOADING, State.WAITING})
_RESUMABLE = frozenset({State.PAUSED, State.WAITING, State.FAILED})


@dataclass(frozen=True, slots=True)
class Row:
    """What one line of the panel shows; every size and time is text already.

    ``can`` holds one letter per action that makes sense now: A(bort), L(ist parts), P(ause), R(esume),
    D(etails of what was published).
    """

    id: str
    upload_id: str
    name: str
    address: str
    state: str
    words: str
    percent: float
    size: str
    speed: str = ""
    eta: str = ""
    parts: str = ""
    retries: int = 0
    error: str = ""
    can: str = ""

    @property
    def moving(self) -> bool:
        """Whether something may change by itself."""
        return "P" in self.can or self.state in (State.COMPLETING.value, State.VERIFYING.value)

    @property
    def ended(self) -> bool:
        """Whether this kernel has nothing to do for it any more."""
        return self.state == "unfinished" or State(self.state) in FINAL_STATES

    @property
    def title(self) -> str:
        """What to call it in a sentence: its file, or its target where that is all that is known."""
        return self.address if self.state == "unfinished" else self.name

    def payload(self) -> dict[str, Any]:
        """The row as the panel's script takes it; empty values are left out."""
        return {name: value for name in _NAMES if (value := getattr(self, name))}


_NAMES = tuple(field.name for field in fields(Row))  # asdict() copies: 13 microseconds a row


def words(state: State) -> str:
    """Say a state in words.

    Examples
    --------
    >>> words(State.WAITING)
    'waiting for credentials'
    """
    return _WORDS[state]


def _can(progress: Progress, upload_id: str | None) -> str:
    state, letters = progress.state, ""
    if state not in FINAL_STATES or (state in (State.FAILED, State.SOURCE_CHANGED) and upload_id):
        letters += "A"
    if upload_id and state not in (State.DONE, State.ABORTED):
        letters += "L"
    if state is State.DONE:
        letters += "D"
    if state in _PAUSABLE:
        letters += "P"
    if state in _RESUMABLE:
        letters += "R"
    return letters


def _waits(state: State, source: object) -> str:
    """Say what a source that is elsewhere waits for; nothing while it does not."""
    if not isinstance(source, RemoteSource) or state in FINAL_STATES or state is State.PAUSED:
        return ""
    return source.waiting or ""


def _percent(fraction: float) -> float:
    """With one decimal, rounded down: what is not verified is never 100."""
    return math.floor(1000 * fraction) / 10


def row_of(handle: Upload) -> Row:
    """Take a snapshot of one upload of this kernel."""
    p = handle.progress
    waits = _waits(p.state, handle.request.source)
    active = p.state in (State.UPLOADING, State.INITIATING, State.COMPLETING, State.VERIFYING)
    running = active and not waits
    said = waits or words(p.state)
    if p.state is State.DONE and handle.result is not None:
        said = "done, verified" if handle.result.verified else "done, not verified by the server"
    elif p.state is State.FAILED and handle.upload_id:
        said = "failed, can be resumed"
    problem = p.error or (str(handle.error) if handle.error is not None else "")
    return Row(
        id=handle.id,
        upload_id=handle.upload_id or "",
        name=handle.name,
        address=handle.address,
        state=State.WAITING.value if waits else p.state.value,
        words=said,
        percent=_percent(p.fraction),
        size=f"{format_size(p.confirmed)} / {format_size(p.total)}",
        speed=format_speed(p.speed) if running and p.speed else "",
        eta=format_duration(p.eta) if running and p.eta is not None else "",
        parts=f"{p.parts_done}/{p.parts_total}" if p.parts_total else "",
        retries=p.retries,
        error="" if p.state in (State.DONE, State.ABORTED) else problem,
        can=_can(p, handle.upload_id),
    )


def row_of_unfinished(upload: Unfinished) -> Row:
    """Take a row from an upload that was begun elsewhere or earlier."""
    if upload.size:
        size = f"{format_size(upload.confirmed)} / {format_size(upload.size)}"
    else:
        size = "" if upload.stored is None else f"{format_size(upload.stored)} stored"
    return Row(
        id=upload.upload_id,
        upload_id=upload.upload_id,
        name=upload.source or "(begun elsewhere)",
        address=upload.address,
        state="unfinished",
        words=upload.words(),
        percent=_percent(min(upload.confirmed / upload.size, 0.9999)) if upload.size else 0.0,
        size=size,
        parts="" if upload.parts is None else str(upload.parts),
        can="AL" if upload.in_use or upload.in_browser else "ALR",
    )


def final_line(result: UploadResult) -> str:
    """Write the receipt that a finished upload leaves in the cell: one line, which %oss_verify can read.

    Examples
    --------
    >>> result = UploadResult("b", "k", 2 << 20, "9C-2", 7, True, 0.1, 2, bytes_sent=2 << 20, finished=86400)
    >>> final_line(result).partition("  ")[2].replace("00:00:00 UTC", "...")
    '2.0 MiB (2,097,152 bytes) in 0.1 s, 20.0 MiB/s, 2 parts, CRC-64 7 verified, ETag 9C-2, 1970-01-02 ...'
    """
    pieces = [format_exact_size(result.size)]
    if result.already_published:
        pieces[0] += " already published, nothing sent"
    else:
        pieces[0] += f" in {format_duration(result.elapsed)}"
        if result.elapsed > 0 and result.bytes_sent:
            pieces.append(format_speed(result.bytes_sent / result.elapsed))
    pieces.append(f"{result.parts} part{'' if result.parts == 1 else 's'}")
    if result.parts_kept:
        pieces[-1] += f" ({result.parts_kept} kept from before)"
    if result.retries:
        pieces.append(f"{result.retries} retr{'y' if result.retries == 1 else 'ies'}")
    pieces.append(f"CRC-64 {result.crc64} {'verified' if result.verified else 'not verified by the server'}")
    pieces.append(f"ETag {result.etag}")
    if result.finished:
        pieces.append(format_time(result.finished))
    if result.callback_error:
        pieces.append(f"but the callback failed: {' '.join(result.callback_error.split())[:300]}")
    return f"{result.address}  {', '.join(pieces)}"


_LONGEST_RECEIPT = 8192  # a key has 1,023 bytes at most; what is longer is not ours, and slow to search
_RECEIPT = re.compile(  # strict: the text of a failed callback must not pass for figures
    r"oss://(?P<bucket>[^/\s]+)/(?P<key>.+?)  \S+ \S+ \((?P<size>[\d,]{1,26}) bytes\)"
    r"(?: already published, nothing sent| in [^,]{1,40}(?:, [^,]{1,40}/s)?)"
    r", \d+ parts?(?: \(\d+ kept from before\))?(?:, \d+ retr(?:y|ies))?"
    r", CRC-64 (?P<crc>\d{1,20}) (?:verified|not verified by the server), ETag (?P<etag>[^\s,]*)"
    r"(?:, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC)?(?:, but the callback failed: .*)?"
)


def read_final_line(line: str) -> Published | None:
    """Read a receipt back, or None where the line is none.

    Examples
    --------
    >>> result = UploadResult("b", "a  b", 2 << 20, "9C-2", 7, False, 0.1, 2)
    >>> read_final_line(final_line(result)) == Published.of(result)
    True
    """
    found = _RECEIPT.fullmatch(line) if len(line) <= _LONGEST_RECEIPT else None
    if found is None:
        return None
    size = int(found["size"].replace(",", "") or 0)
    return Published(found["bucket"], found["key"], size, int(found["crc"]), found["etag"])


_HEAD = ("ID", "Upload", "Done", "Size", "Parts", "Upload ID", "State")  # the longest last: lines stay short


def _cells(row: Row) -> tuple[str, ...]:
    state = f"{row.words}: {row.error}" if row.error else row.words
    parts = ", ".join(filter(None, (row.parts, f"{row.retries} retried" if row.retries else "")))
    done = f"{int(row.percent)} %" if "/" in row.size else ""
    live = "" if row.id == row.upload_id else row.id
    cells = live, f"{row.name} → {row.address}", done, row.size, parts, row.upload_id, state
    return tuple(map(visible, cells))


def text_table(rows: Sequence[Row]) -> str:
    """Write the rows as a table in plain text, for terminals, diffs and GitHub."""
    if not rows:
        return "no uploads"
    from tqdm.utils import disp_len  # Chinese takes two columns; not imported before it is needed

    lines = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(disp_len(line[i]) for line in lines) for i in range(len(_HEAD))]
    used = [i for i in range(len(_HEAD)) if any(line[i] for line in lines[1:])]
    padded = ([line[i] + " " * (widths[i] - disp_len(line[i])) for i in used] for line in lines)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def html_table(rows: Sequence[Row]) -> str:
    """Write the rows as a small static table, for places that show HTML but run no scripts."""
    if not rows:
        return "<p>no uploads</p>"
    used = [i for i in range(len(_HEAD)) if any(_cells(row)[i] for row in rows)]
    head = "".join(f"<th>{_HEAD[i]}</th>" for i in used)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cells(row)[i])}</td>" for i in used) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
