"""Whether an object is still what was published: a receipt held against the bucket."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from ossmp_jupyter.errors import NotFound
from ossmp_jupyter.oss.checksum import crc64
from ossmp_jupyter.oss.messages import HeadResult
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer.journal import Record, published_records
from ossmp_jupyter.transfer.progress import UploadResult
from ossmp_jupyter.units import format_exact_size, format_time

__all__ = ["Check", "Published", "Verdict", "check_published", "known_receipts"]


class Verdict(enum.Enum):
    """What a check found."""

    SAME = "same"
    CHANGED = "changed"
    GONE = "gone"
    UNSURE = "not sure"


@dataclass(frozen=True, slots=True)
class Published:
    """What a receipt says: where, how many bytes, which checksum. ``etag`` may be unknown (empty)."""

    bucket: str
    key: str
    size: int
    crc64: int
    etag: str = ""

    @classmethod
    def of(cls, result: UploadResult) -> Published:
        """Take the receipt of an upload's result."""
        return cls(result.bucket, result.key, result.size, result.crc64, result.etag)

    @property
    def address(self) -> str:
        """``oss://bucket/key``."""
        return f"oss://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check.

    Examples
    --------
    >>> check = Check(Published("b", "k", 3, 7), Verdict.CHANGED, "it has 4 B now, 3 B were published")
    >>> print(check)
    changed   oss://b/k  it has 4 B now, 3 B were published
    """

    published: Published
    verdict: Verdict
    words: str

    @property
    def ok(self) -> bool:
        """Whether the object is what was published."""
        return self.verdict is Verdict.SAME

    def __str__(self) -> str:
        return f"{self.verdict.value:8}  {self.published.address}  {self.words}"


async def check_published(rest: RestClient, published: Published, *, deep: bool = False) -> Check:
    """Hold a receipt against the object that stands at its key now.

    Parameters
    ----------
    rest : RestClient
        The service.
    published : Published
        The receipt.
    deep : bool
        Read the whole object and compute its CRC-64, instead of asking for what the server remembers.
        Costs as much traffic as the object has bytes.

    Raises
    ------
    OssmpError
        If the server cannot be asked.
    """
    try:
        head = await rest.head_object(published.bucket, published.key)
        if head.size != published.size:
            now = f"it has {format_exact_size(head.size)} now"
            words = f"{now}, {published.size:,} bytes were published{_since(head)}"
            return Check(published, Verdict.CHANGED, words)
        crc = await _read_through(rest, published) if deep else head.crc64
    except NotFound:
        return Check(published, Verdict.GONE, "there is no such object any more")
    return Check(
        published, *_compare(published, head, crc, "read and computed" if deep else "as the server says")
    )


def _compare(published: Published, head: HeadResult, crc: int | None, how: str) -> tuple[Verdict, str]:
    size = format_exact_size(head.size)
    if crc == published.crc64:
        return Verdict.SAME, f"{size}, CRC-64 {crc} {how}"
    if crc is not None:
        return Verdict.CHANGED, f"its CRC-64 is {crc} now, {published.crc64} was published{_since(head)}"
    if not published.etag:
        return Verdict.UNSURE, f"{size}; the server has no CRC-64 of it: --deep reads it"
    if head.etag.upper() == published.etag.upper():
        return Verdict.SAME, f"{size}, ETag {head.etag} (the server has no CRC-64 of it: --deep reads it)"
    return Verdict.CHANGED, f"its ETag is {head.etag} now, {published.etag} was published{_since(head)}"


def _since(head: HeadResult) -> str:
    when = head.last_modified
    return f"; last modified {format_time(when)}" if when is not None else ""


async def _read_through(rest: RestClient, published: Published) -> int:
    crc = 0
    async with rest.stream_object(published.bucket, published.key) as pieces:
        async for piece in pieces:
            crc = crc64(piece, crc)
    return crc


def known_receipts(endpoint: str) -> Iterator[Published]:
    """Receipts in the journals of this machine, of one service; the newest comes last."""
    for record in published_records():
        if record.header.endpoint == endpoint:
            yield _published(record)


def _published(record: Record) -> Published:
    head, receipt = record.header, record.receipt
    assert receipt is not None
    return Published(head.bucket, head.key, receipt.size, receipt.crc64, receipt.etag)
