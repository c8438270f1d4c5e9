"""Uploads that no handle of this kernel owns: from journals of this machine, from the bucket, or both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ossmp_jupyter.errors import OssmpError
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.journal import JournalSummary, list_journals
from ossmp_jupyter.transfer.remote import RemoteSource
from ossmp_jupyter.units import format_duration

if TYPE_CHECKING:
    from ossmp_jupyter.oss.connection import Connection
    from ossmp_jupyter.oss.messages import UploadInfo
    from ossmp_jupyter.transfer.client import OSSClient

__all__ = ["Unfinished", "collect", "from_journals", "list_bucket", "merge"]

_MEASURED = 100
"""Of so many unfinished uploads OSS is asked what it holds: a request each, some at a time."""
_AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A multipart upload that no handle of this kernel owns.

    ``stored`` and ``parts`` are what OSS holds (bytes, number); None where it was not asked.
    """

    upload_id: str
    bucket: str
    key: str
    source: str | None = None
    size: int = 0
    confirmed: int = 0
    begun: datetime | None = None
    stored: int | None = None
    parts: int | None = None
    journal: str | None = None
    resumable: bool = False
    in_browser: bool = False  # the file is on somebody's computer: it has to be chosen again
    in_use: bool = False  # by another process, at the time of looking

    @property
    def address(self) -> str:
        """The target, ``oss://bucket/key``."""
        return f"oss://{self.bucket}/{self.key}"

    @property
    def age(self) -> float | None:
        """Seconds since it was begun, where that is known."""
        return None if self.begun is None else max((datetime.now(UTC) - self.begun).total_seconds(), 0.0)

    def words(self) -> str:
        """Its state and what can be done about it, for people.

        Examples
        --------
        >>> Unfinished("ID", "b", "k", source="a.bin", journal="a.jsonl").words()
        'unfinished: its file is gone; abort, or %oss_resume ID FILE'
        """
        state = "unfinished" if self.age is None else f"unfinished for {format_duration(self.age)}"
        if self.in_use:
            return f"{state}: another kernel is at it"
        if self.in_browser:
            return f"{state}: choose the file again, or abort"
        if self.resumable:
            return f"{state}: resume or abort"
        gone = "its file is gone; " if self.journal else ""
        if os.environ.get("SERVER_SOFTWARE", "").startswith("voila"):
            return f"{state}: {gone}abort, or resume with a file"  # a dashboard, for people without code
        return f"{state}: {gone}abort, or %oss_resume {self.upload_id[:8]} FILE"

    @property
    def guess(self) -> str:
        """A file here that may be its source, by name alone; what OSS holds decides. Empty where none is."""
        name = self.key.rpartition("/")[2]
        return next((one for one in (self.source, name) if one and os.path.isfile(one)), "")


def from_journals(connection: Connection | None) -> list[Unfinished]:
    """Uploads with a checkpoint on this machine; only those of the connected service, when there is one."""
    return [
        _of_journal(summary)
        for summary in list_journals()
        if connection is None or summary.endpoint == connection.identity
    ]


def _of_journal(summary: JournalSummary) -> Unfinished:
    bucket, _, key = summary.address.removeprefix("oss://").partition("/")
    is_file = summary.kind == "file"
    return Unfinished(
        upload_id=summary.upload_id,
        bucket=bucket,
        key=key,
        source=summary.source,
        size=summary.size,
        confirmed=summary.confirmed,
        begun=datetime.fromtimestamp(summary.updated_at, UTC),
        journal=str(summary.path),
        in_browser=summary.kind == RemoteSource.kind,
        in_use=summary.in_use,
        resumable=is_file and not summary.in_use and os.path.isfile(summary.source),
    )


def list_bucket(
    connection: Connection, prefix: str = "", *, known: Iterable[str] | None = None
) -> Future[list[Unfinished]]:
    """Ask the connected bucket for its unfinished multipart uploads, over all pages of the listing.

    With ``known``, also what OSS holds of the others, of the first hundred: one request each.
    """
    return manager.call(lambda client: collect(client, prefix, known=known), connection)


async def collect(
    client: OSSClient, prefix: str = "", *, known: Iterable[str] | None = None
) -> list[Unfinished]:
    """Do as :func:`list_bucket` does, on the engine's loop."""
    bucket = client.connection.bucket or ""
    found = [_of_info(bucket, info) async for info in client.iter_uploads(prefix=prefix)]
    if known is not None:
        skipped, few = set(known), asyncio.Semaphore(_AT_A_TIME)
        asked = [u for u in found if u.upload_id not in skipped][:_MEASURED]
        told = await asyncio.gather(*(_measure(client, upload, few) for upload in asked))
        by_id = {u.upload_id: u for u in told}
        found = [by_id.get(u.upload_id, u) for u in found]
    return found


async def _measure(client: OSSClient, upload: Unfinished, few: asyncio.Semaphore) -> Unfinished:
    async with few:
        try:
            sizes = [part.size async for part in client.iter_parts(upload.address, upload.upload_id)]
        except OssmpError:
            return upload  # gone meanwhile, or these credentials may not look
    return replace(upload, stored=sum(sizes), parts=len(sizes))


def _of_info(bucket: str, info: UploadInfo) -> Unfinished:
    return Unfinished(upload_id=info.upload_id, bucket=bucket, key=info.key, begun=info.initiated)


def merge(
    journals: Sequence[Unfinished], listed: Sequence[Unfinished], bucket: str | None
) -> list[Unfinished]:
    """Join both lists by upload ID; a journal whose upload its bucket no longer has is left out."""
    by_id = {u.upload_id: u for u in listed}
    out = [
        replace(u, begun=by_id[u.upload_id].begun) if u.upload_id in by_id else u
        for u in journals
        if u.bucket != bucket or u.upload_id in by_id
    ]
    known = {u.upload_id for u in out}
    return out + [u for u in listed if u.upload_id not in known]
