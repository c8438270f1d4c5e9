"""What finished uploads look like as values of a cell: text for terminals and diffs, a table for pages."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ossmp_jupyter.notebook.rows import words
from ossmp_jupyter.transfer.progress import UploadResult
from ossmp_jupyter.units import format_duration, format_exact_size, format_size, format_speed, format_time

if TYPE_CHECKING:
    from ossmp_jupyter.transfer.manager import Upload

__all__ = ["UploadResults", "failed_line", "result_html", "total_line"]

_HEAD = ("Object", "Size", "Time", "Speed", "State")


class UploadResults(tuple[UploadResult, ...]):
    """The results of several uploads, in the order of their sources; shown as a table with a total.

    Examples
    --------
    >>> one = UploadResult("b", "a.bin", 2 << 20, "9C-2", 7, True, 0.5, 2, bytes_sent=2 << 20)
    >>> two = UploadResult("b", "b.bin", 10, "A1-1", 8, True, 0.04, 1, bytes_sent=10)
    >>> UploadResults([one, two])
    Object         Size     Time    Speed      State
    oss://b/a.bin  2.0 MiB  0.5 s   4.0 MiB/s  verified
    oss://b/b.bin  10 B     40 ms   250 B/s    verified
    2 uploads done, 2.0 MiB in 0.5 s, 4.0 MiB/s, verified
    """

    __slots__ = ()

    def __new__(cls, results: Iterable[UploadResult] = ()) -> UploadResults:
        """Make it of results."""
        return super().__new__(cls, tuple(results))

    def __repr__(self) -> str:
        lines = [_HEAD, *(_cells(result) for result in self)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(_HEAD))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                 for line in lines]  # fmt: skip
        return "\n".join([*table, total_line(self)])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{title}</th>" for title in _HEAD)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(result)) + "</tr>"
            for result in self
        )
        foot = f'<tr><td colspan="{len(_HEAD)}"><b>{html.escape(total_line(self))}</b></td></tr>'
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}{foot}</tbody></table>"


def _state(result: UploadResult) -> str:
    state = "verified" if result.verified else "not verified by the server"
    if result.already_published:
        state += ", nothing sent"
    elif result.parts_kept:
        state += f", {result.parts_kept} of {result.parts} parts kept"
    return f"{state}, callback failed" if result.callback_error else state


def _cells(result: UploadResult) -> tuple[str, ...]:
    sent = not result.already_published
    speed = format_speed(result.bytes_sent / result.elapsed) if sent and result.elapsed > 0 else ""
    time = format_duration(result.elapsed) if sent else ""
    return result.address, format_size(result.size), time, speed, _state(result)


def total_line(results: Sequence[UploadResult], *, started: int = 0) -> str:
    """Sum several uploads up in a line.

    Parameters
    ----------
    results : sequence of UploadResult
        Of those that succeeded.
    started : int, optional
        How many were to be uploaded, where that is more.

    Examples
    --------
    >>> total_line([UploadResult("b", "k", 2 << 20, "", 7, True, 0.5, 2, bytes_sent=2 << 20)], started=2)
    '1 of 2 uploads done, 2.0 MiB in 0.5 s, 4.0 MiB/s, verified; 1 failed'
    """
    count, failed = max(started, len(results)), max(started - len(results), 0)
    said = f"{count} upload{'' if count == 1 else 's'}"
    if not results:
        return f"none of {said} done"
    said = f"{len(results)} of {said}" if failed else said
    said += f" done, {format_size(sum(r.size for r in results))}"
    sent = sum(r.bytes_sent for r in results)
    took = max(r.elapsed for r in results)  # they run at the same time: their own times do not add up
    if sent and took > 0:
        said += f" in {format_duration(took)}, {format_speed(sent / took)}"
    if known := sum(r.already_published for r in results):
        said += f", {known} published already"
    unsure = sum(not r.verified for r in results)
    said += f", {unsure} not verified by the server" if unsure else ", verified"
    return f"{said}; {failed} failed" if failed else said


def failed_line(handle: Upload) -> str:
    """Say of one of several uploads how it ended, and how to go on."""
    error = handle.error
    why = error.message if error is not None else words(handle.state)
    again = (
        f"; %oss_resume {handle.id} goes on" if handle.upload_id and handle.state.value == "failed" else ""
    )
    return f"{handle.name} → {handle.address}  {words(handle.state)}: {why}{again}"


def result_html(result: UploadResult) -> str:
    """Write one result as a small table."""
    took = "nothing sent" if result.already_published else format_duration(result.elapsed)
    if result.elapsed > 0 and result.bytes_sent:
        took += f", {format_speed(result.bytes_sent / result.elapsed)}"
    parts = f"{result.parts}" + (f", {result.parts_kept} kept from before" if result.parts_kept else "")
    facts: list[tuple[str, Any]] = [
        ("size", format_exact_size(result.size)),
        ("time", took),
        ("parts", parts),
        ("retries", result.retries or None),
        ("CRC-64", f"{result.crc64} {'verified' if result.verified else 'not verified by the server'}"),
        ("ETag", result.etag),
        ("version", result.version_id),
        ("callback", f"failed: {result.callback_error}" if result.callback_error else None),
        ("finished", format_time(result.finished) if result.finished else None),
    ]  # fmt: skip
    rows = "".join(
        f"<tr><th>{name}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in facts
        if value is not None
    )
    head = f'<thead><tr><th colspan="2">{html.escape(result.address)}</th></tr></thead>'
    return f"<table>{head}<tbody>{rows}</tbody></table>"
