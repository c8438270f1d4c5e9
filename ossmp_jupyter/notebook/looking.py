"""%oss_uploads, %oss_parts, %oss_head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ossmp_jupyter.errors import InputError, NotFound, OssmpError
from ossmp_jupyter.notebook.engine import connection_now, list_parts
from ossmp_jupyter.notebook.rows import text_table
from ossmp_jupyter.notebook.unfinished import Unfinished, from_journals, list_bucket, merge
from ossmp_jupyter.notebook.uploading import locate
from ossmp_jupyter.notebook.waiting import wait_future
from ossmp_jupyter.oss.lifecycle import clears_uploads
from ossmp_jupyter.oss.messages import HeadResult, PartInfo
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.request import resolve_target
from ossmp_jupyter.units import format_exact_size, format_size, format_time
from ossmp_jupyter.visible import visible

if TYPE_CHECKING:
    import argparse

    from ossmp_jupyter.notebook.session import Session
    from ossmp_jupyter.oss.connection import Connection

__all__ = ["find_unfinished", "head_table", "parts_table", "show_head", "show_parts", "show_uploads"]

_FORGOTTEN = 86400.0  # seconds: uploads of today are at work
_MOST = 1000  # unfinished uploads in the panel
_SHOWN = 10  # parts printed from either end of a long list


def show_uploads(session: Session, args: argparse.Namespace) -> None:
    """Show all uploads: live, on this machine, in the bucket."""
    if args.abort_older is not None:
        from ossmp_jupyter.notebook.cleaning import abort_older

        return abort_older(session, args)
    if args.yes:
        raise InputError("--yes belongs to --abort-older", hint="write %oss_uploads --abort-older 7d --yes")
    mode = session.ui(args.ui)
    try:
        connection: Connection | None = connection_now()
    except InputError:
        if not args.local_only:
            raise
        connection = None
    find_unfinished(session, connection, args.prefix, ask=not args.local_only)
    if connection is not None and not args.local_only:
        _suggest_rule(session, connection, args.prefix)
    session.cell(None, mode)
    if mode == "text":
        print(text_table(session.board.rows()))


def find_unfinished(
    session: Session, connection: Connection | None, prefix: str = "", *, ask: bool = True
) -> None:
    """Look for the unfinished uploads of this machine and, with ``ask``, of the bucket."""
    journals = [u for u in from_journals(connection) if u.key.startswith(prefix)]
    listed: list[Unfinished] | None = None
    if connection is not None and connection.bucket and ask:
        try:
            known = [u.upload_id for u in journals]
            listed = wait_future(list_bucket(connection, prefix, known=known), session.shell)
        except OssmpError as error:
            print(f"bucket {connection.bucket} could not be asked for unfinished uploads: {error}")
    asked = connection.bucket if connection is not None and listed is not None else None
    found = merge(journals, listed or [], asked if not prefix else None)
    if len(found) > _MOST:
        print(f"{len(found)} unfinished uploads: the first {_MOST} are shown; --prefix P narrows the list")
    session.board.set_unfinished(found[:_MOST])


def _suggest_rule(session: Session, connection: Connection, prefix: str) -> None:
    """Say once that nothing clears forgotten uploads away, where there are some and that is so."""
    bucket = connection.bucket
    if bucket is None or bucket in session.advised:
        return
    if not any(u.bucket == bucket and u.age and u.age > _FORGOTTEN for u in session.board.unfinished):
        return
    session.advised.add(bucket)
    try:
        rules = wait_future(
            manager.call(lambda client: client.get_bucket_lifecycle(), connection), session.shell
        )
    except NotFound:
        rules = ()
    except OssmpError:
        return  # not everybody may look at a bucket's rules
    if not clears_uploads(rules, prefix):
        print(
            f"no lifecycle rule of bucket {bucket} clears forgotten uploads away, and what they hold costs "
            "storage: add a rule with AbortMultipartUpload, or run %oss_uploads --abort-older 7d"
        )


def show_parts(session: Session, args: argparse.Namespace) -> Any:
    """Print the parts of an upload and return them."""
    locate(session, args.id)
    parts = wait_future(list_parts(session.board, args.id), session.shell)
    print(parts_table(parts, everything=args.all))
    return session.shown(parts)


def show_head(session: Session, args: argparse.Namespace) -> Any:
    """Print an object's metadata and return it."""
    connection = connection_now()
    bucket, key = resolve_target(connection, args.key, None)
    result = wait_future(manager.call(lambda client: client.head(args.key), connection), session.shell)
    if args.quiet:
        return result
    print(head_table(f"oss://{bucket}/{key}", result))
    return session.shown(result)


def parts_table(parts: Sequence[PartInfo], *, everything: bool = False) -> str:
    """Write parts as a table in plain text.

    Examples
    --------
    >>> print(parts_table([PartInfo(1, "9C2D", 1 << 20, 77), PartInfo(2, "A1", 10, None)]))
    2 parts, 1.0 MiB
    Part     Size  ETag  CRC-64
       1  1.0 MiB  9C2D      77
       2     10 B  A1
    """
    total = format_size(sum(part.size for part in parts))
    summary = f"{len(parts)} part{'' if len(parts) == 1 else 's'}, {total}"
    if not parts:
        return summary
    lines = [
        (str(p.part_number), format_size(p.size), visible(p.etag), "" if p.crc64 is None else str(p.crc64))
        for p in parts
    ]
    table = [("Part", "Size", "ETag", "CRC-64"), *lines]
    widths = [max(len(line[i]) for line in table) for i in range(4)]
    text = [
        f"{a.rjust(widths[0])}  {b.rjust(widths[1])}  {c.ljust(widths[2])}  {d.rjust(widths[3])}".rstrip()
        for a, b, c, d in table
    ]
    if not everything and len(lines) > 2 * _SHOWN:
        text[1 + _SHOWN : -_SHOWN] = [f"… {len(lines) - 2 * _SHOWN} more; --all prints them"]
    return "\n".join([summary, *text])


def head_table(address: str, head: HeadResult) -> str:
    """Write an object's metadata as lines.

    Examples
    --------
    >>> print(head_table("oss://b/k", HeadResult(size=1024, etag="AB", crc64=7, meta={"owner": "me"})))
    oss://b/k
      size           1.0 KiB (1,024 bytes)
      ETag           AB
      CRC-64         7
      storage class  Standard
      meta owner     me
    """
    modified = format_time(head.last_modified) if head.last_modified else None
    facts: list[tuple[str, object]] = [
        ("size", format_exact_size(head.size)),
        ("type", head.content_type),
        ("ETag", head.etag),
        ("CRC-64", head.crc64),
        ("last modified", modified),
        ("storage class", head.storage_class),
        ("version", head.version_id),
        *((f"meta {name}", value) for name, value in sorted(head.meta.items())),
    ]
    shown = [(name, str(value)) for name, value in facts if value is not None]
    width = max(len(name) for name, _ in shown)
    lines = [address, *(f"  {name.ljust(width)}  {value}" for name, value in shown)]
    return "\n".join(map(visible, lines))
