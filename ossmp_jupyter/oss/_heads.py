"""Answers about objects: their headers, and their bytes as they come."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ossmp_jupyter.oss.headers import decode_meta_value
from ossmp_jupyter.oss.messages import HeadResult
from ossmp_jupyter.oss.xml import unquote_etag

__all__ = ["ObjectStream", "crc_of", "etag_of", "head_of"]

_META = "x-oss-meta-"
_TOTAL = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")


def etag_of(headers: Mapping[str, str]) -> str:
    """The ETag without quotes, empty where there is none."""
    return unquote_etag(headers.get("etag", ""))


def crc_of(headers: Mapping[str, str]) -> int | None:
    """The object's or part's CRC-64, None where the server sent none."""
    text = headers.get("x-oss-hash-crc64ecma", "").strip()
    return int(text) if text.isdecimal() else None


def _time_of(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def head_of(headers: Mapping[str, str]) -> HeadResult:
    """Read the headers of HeadObject or GetObject; ``headers`` must ignore case."""
    total = _TOTAL.fullmatch(headers.get("content-range", ""))
    length = headers.get("content-length", "")
    lower = {name.lower(): value for name, value in headers.items()}
    return HeadResult(
        size=int(total[1]) if total else int(length) if length.isdecimal() else 0,
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
