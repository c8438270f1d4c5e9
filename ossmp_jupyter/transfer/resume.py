"""Resume by content: local bytes, journal and server must agree, part by part.

Size and modification time prove nothing: all official SDKs publish a wrong object after an edit
that keeps the size. Here a part stored by the server counts as done only if the CRC-64 of the local
bytes *now* equals the server's CRC-64 of the part (where the server has none: the MD5 equals the
part's ETag), and the journal, where it knows the part, says the same. Holes are fine. The journal
may even be lost: the server's list and the local file suffice.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from ossmp_jupyter.oss.checksum import crc64_combine
from ossmp_jupyter.oss.messages import PartInfo
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer.checkpoint import CheckpointPart
from ossmp_jupyter.transfer.plan import PartRange, Plan
from ossmp_jupyter.transfer.sources import Source, crc64_of_range, read_range
from ossmp_jupyter.transfer.streams import RemoteBytes

__all__ = ["Agreement", "agree", "crc64_of_source", "fetch_parts"]

_HASHERS = 4
_STRIPE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Agreement:
    """What need not be sent again, and why the rest of what was once sent must."""

    kept: Mapping[int, CheckpointPart] = field(default_factory=dict)
    resent: Mapping[int, str] = field(default_factory=dict)


async def fetch_parts(rest: RestClient, bucket: str, key: str, upload_id: str) -> list[PartInfo]:
    """All parts the server holds, over all pages of ListParts."""
    parts: list[PartInfo] = []
    marker = 0
    while True:
        page = await rest.list_parts(bucket, key, upload_id, part_number_marker=marker)
        parts.extend(page.parts)
        if not page.is_truncated or page.next_part_number_marker <= marker:
            return parts
        marker = page.next_part_number_marker


async def agree(
    stored: list[PartInfo], source: Source, plan: Plan, journal: Mapping[int, CheckpointPart]
) -> Agreement:
    """Compare what the server stores with the local bytes and the journal.

    Parameters
    ----------
    stored : list of PartInfo
        From :func:`fetch_parts`.
    source : Source
        Open; it is read through once, in threads, or where its bytes are.
    plan : Plan
        The cut that the upload was begun with, for the source's size now.
    journal : mapping of part number to CheckpointPart
        What this machine remembers; may be empty.
    """
    hashers = asyncio.Semaphore(_HASHERS)
    kept: dict[int, CheckpointPart] = {}
    resent: dict[int, str] = {n: "not on the server" for n in journal if n <= plan.count}

    async def check(part: PartInfo, place: PartRange) -> None:
        async with hashers:
            if isinstance(source, RemoteBytes):
                reason, crc = await _ask(part, place, source)
            else:
                reason, crc = await asyncio.to_thread(_compare, part, place, source)
        known = journal.get(part.part_number)
        if reason is None and known is not None and known.crc64 is not None and known.crc64 != crc:
            reason = "the journal remembers other bytes"
        if reason is None:
            resent.pop(part.part_number, None)
            kept[part.part_number] = CheckpointPart(part.part_number, part.etag, part.size, crc)
        else:
            resent[part.part_number] = reason

    await asyncio.gather(*(check(p, plan.part(p.part_number)) for p in stored if p.part_number <= plan.count))
    return Agreement(kept, resent)


def _compare(part: PartInfo, place: PartRange, source: Source) -> tuple[str | None, int]:
    if part.size != place.length:
        return "its size differs", 0
    crc = crc64_of_range(source, place.offset, place.length)
    if part.crc64 is not None:
        return (None if part.crc64 == crc else "its content changed"), crc
    digest = hashlib.md5(usedforsecurity=False)
    for piece in read_range(source, place.offset, place.length):
        digest.update(piece)
    return (None if digest.hexdigest().upper() == part.etag.upper() else "its content changed"), crc


async def _ask(part: PartInfo, place: PartRange, source: RemoteBytes) -> tuple[str | None, int]:
    if part.size != place.length:
        return "its size differs", 0
    crc = await source.crc64(place.offset, place.length)
    return (None if part.crc64 == crc else "its content changed"), crc


async def crc64_of_source(source: Source, size: int) -> int:
    """CRC-64 of the whole source as it is now, read in stripes by several threads."""
    if isinstance(source, RemoteBytes):
        return await source.crc64(0, size)
    hashers = asyncio.Semaphore(_HASHERS)

    async def stripe(offset: int) -> tuple[int, int]:
        length = min(_STRIPE, size - offset)
        async with hashers:
            return await asyncio.to_thread(crc64_of_range, source, offset, length), length

    crc = 0
    for part, length in await asyncio.gather(*(stripe(offset) for offset in range(0, size, _STRIPE))):
        crc = crc64_combine(crc, part, length)
    return crc
