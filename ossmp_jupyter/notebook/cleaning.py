"""%oss_uploads --abort-older: first what would be aborted, then, with --yes, the aborting."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from ossmp_jupyter.errors import InputError, OssmpError
from ossmp_jupyter.notebook.engine import abort_unfinished, connection_now
from ossmp_jupyter.notebook.unfinished import Unfinished, from_journals, list_bucket, merge
from ossmp_jupyter.notebook.waiting import wait_future
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.progress import FINAL_STATES
from ossmp_jupyter.units import format_duration, format_size, format_time, parse_duration

if TYPE_CHECKING:
    import argparse

    from ossmp_jupyter.notebook.session import Session

__all__ = ["abort_older"]

_AT_A_TIME = 8
_PRINTED = 50


def abort_older(session: Session, args: argparse.Namespace) -> None:
    """Show the bucket's unfinished uploads that are older than asked, and abort them with ``--yes``.

    Uploads of this kernel that are live, and those another process is sending to, are left out.
    """
    age = parse_duration(args.abort_older, "--abort-older")
    connection = connection_now()
    if connection.bucket is None or args.local_only:
        raise InputError(
            "--abort-older needs a bucket to look at",
            hint="run %oss_connect oss://bucket first, and leave --local-only out",
        )
    journals = [u for u in from_journals(connection) if u.bucket == connection.bucket]
    listed = wait_future(list_bucket(connection, args.prefix, known=()), session.shell)
    stored = {u.upload_id: u for u in listed}
    in_use = {u.upload_id for u in journals if u.in_use} | _live()
    old = [u for u in merge(journals, listed, connection.bucket) if u.upload_id in stored and _older(u, age)]
    chosen = [u for u in old if u.upload_id not in in_use]
    _print_plan(chosen, stored, age, len(old) - len(chosen), connection.bucket)
    if not chosen:
        return
    if not args.yes:
        print("nothing was aborted: add --yes to abort exactly what is that old then")
        return
    _abort(session, chosen)


def _older(upload: Unfinished, age: float) -> bool:
    return upload.age is not None and upload.age >= age


def _live() -> set[str]:
    return {h.upload_id or "" for h in manager.uploads() if h.state not in FINAL_STATES}


def _print_plan(
    chosen: Sequence[Unfinished], stored: dict[str, Unfinished], age: float, left_out: int, bucket: str
) -> None:
    kept = f"; {left_out} in use left out" if left_out else ""
    if not chosen:
        print(f"bucket {bucket} has no unfinished upload older than {format_duration(age)}{kept}")
        return
    rows = [_cells(u, stored[u.upload_id]) for u in chosen[:_PRINTED]]
    lines = [("Begun", "Age", "Stored", "Parts", "Upload ID", "Object"), *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(6)]
    print(f"{len(chosen)} unfinished upload{'' if len(chosen) == 1 else 's'} older than "
          f"{format_duration(age)} in bucket {bucket}{kept}")  # fmt: skip
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if len(chosen) > _PRINTED:
        print(f"… and {len(chosen) - _PRINTED} more")


def _cells(upload: Unfinished, stored: Unfinished) -> tuple[str, ...]:
    assert upload.begun is not None and upload.age is not None
    return (
        format_time(upload.begun),
        format_duration(upload.age),
        "?" if stored.stored is None else format_size(stored.stored),
        "?" if stored.parts is None else str(stored.parts),
        upload.upload_id,
        upload.address,
    )


def _abort(session: Session, chosen: Sequence[Unfinished]) -> None:
    failed: list[tuple[Unfinished, OssmpError]] = []
    connection = connection_now()
    waiting: list[tuple[Unfinished, Future[bool]]] = []
    for upload in chosen:
        if len(waiting) >= _AT_A_TIME:
            _finish(session, waiting.pop(0), failed)
        waiting.append((upload, manager.call(abort_unfinished(upload), connection)))
    for one in waiting:
        _finish(session, one, failed)
    done = len(chosen) - len(failed)
    whose = ("", "its") if done == 1 else ("s", "their")
    print(f"aborted {done} upload{whose[0]}; {whose[1]} parts are deleted")
    if failed:
        upload, error = failed[0]
        raise OssmpError(
            f"{len(failed)} of {len(chosen)} uploads could not be aborted, the first is {upload.upload_id}: "
            f"{error.message}",
            hint="run it again for what is left",
        ) from error


def _finish(
    session: Session, one: tuple[Unfinished, Future[bool]], failed: list[tuple[Unfinished, OssmpError]]
) -> None:
    upload, future = one
    try:
        wait_future(future, session.shell)
    except OssmpError as error:
        failed.append((upload, error))
    else:
        session.board.forget(upload.upload_id)
