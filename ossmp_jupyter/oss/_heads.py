"""Answers about objects: their headers, and their bytes as they come."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from ossmp_jupyter.errors import NotOSS
from ossmp_jupyter.oss.headers import decode_meta_value
from ossmp_jupyter.oss.messages import HeadResult
from ossmp_jupyter.oss.xml import read_number, unquote_etag

__all__ = ["ObjectStream", "bytes_of", "crc_of", "etag_of", "head_of", "required_etag"]

_LONGEST_ETAG = 256
_LONGEST_UNTOLD = 64 << 20
_META = "x-oss-meta-"
_TOTAL = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")


def etag_of(headers: Mapping[str, str]) -> str:
    """The ETag without quotes, empty where there is none."""
    return unquote_etag(headers.get("etag", ""))


def required_etag(headers: Mapping[str, str], operation: str) -> str:
    """The ETag of an answer that must have one.

    Raises
    ------
    NotOSS
        If it has none, or a text of a length that no ETag has.
    """
    etag = etag_of(headers)
    if not 0 < len(etag) <= _LONGEST_ETAG:
        raise NotOSS(
            f"the answer to {operation} has no ETag",
            hint="check that the endpoint is OSS's own, and that nothing on the way removes headers",
        )
    return etag


def crc_of(headers: Mapping[str, str]) -> int | None:
    """The object's or part's CRC-64, None where the server sent none."""
    return read_number(headers.get("x-oss-hash-crc64ecma", ""))


def _time_of(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def head_of(headers: Mapping[str, str]) -> HeadResult:
    """Read the headers of HeadObject or GetObject; ``headers`` must ignore case."""
    total = _TOTAL.fullmatch(headers.get("content-range", ""))
    size = read_number(total[1] if total else headers.get("content-length", ""))
    lower = {name.lower(): value for name, value in headers.items()}
    return HeadResult(
        size=size or 0,
        etag=etag_of(headers),
        crc64=crc_of(headers),
        last_modified=_time_of(headers.get("last-modified", "")),
        content_type=headers.get("content-type"),
        meta={n.removeprefix(_META): decode_meta_value(v) for n, v in lower.items() if n.startswith(_META)},
        storage_class=headers.get("x-oss-storage-class", "Standard"),
        object_type=headers.get("x-oss-object-type", "Normal"),
        version_id=headers.get("x-oss-version-id"),
        headers=lower,
        request_id=headers.get("x-oss-request-id", ""),
    )


class ObjectStream:
    """An object while it is read.

    ``head`` is there at once; the bytes come by ``async for``, as stored (never decompressed).
    """

    def __init__(self, head: HeadResult, chunks: AsyncIterator[bytes]) -> None:
        self.head = head
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def read(self) -> bytes:
        """All of it in memory: as long as the answer says, and where it says nothing, not without end."""
        pieces, size = [], 0
        known = "content-length" in self.head.headers
        async for piece in self._chunks:
            pieces.append(piece)
            size += len(piece)
            if not known and size > _LONGEST_UNTOLD:
                raise NotOSS(
                    "the answer to GetObject does not say how long it is, and has more than 64 MiB",
                    hint="read it piece by piece: stream(...)",
                ).concerning("GetObject", request_id=self.head.request_id)
        return b"".join(pieces)


async def bytes_of(response: httpx.Response, byte_range: tuple[int, int] | None) -> AsyncIterator[bytes]:
    """The bytes of an answer to GetObject, as they come; no others than the range that was asked for.

    Raises
    ------
    NotOSS
        If the server sends more than that.
    """
    left = None if byte_range is None else byte_range[1] - byte_range[0] + 1
    async for chunk in response.aiter_raw():
        if left is not None:
            left -= len(chunk)
            if left < 0 or response.status_code != 206:
                raise NotOSS(
                    "the answer to GetObject holds more than the range that was asked for",
                    hint="check that the endpoint is an OSS endpoint",
                )
        yield chunk
