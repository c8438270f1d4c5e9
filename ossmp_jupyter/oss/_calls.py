"""The small parts that the calls of :mod:`ossmp_jupyter.oss.rest` are made of."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.oss.signing import presign_v1, presign_v4

__all__ = [
    "MAX_BODY",
    "NONE",
    "Strings",
    "byte_range_header",
    "callback_answer",
    "check_count",
    "check_length",
    "check_parts",
    "check_upload_id",
    "content_md5",
    "given",
    "has_callback",
    "is_whole",
    "part_query",
    "presigned_url",
]

Strings = Mapping[str, str]
NONE: Strings = MappingProxyType({})
_LONGEST_CALLBACK = 3 << 20  # bytes of an application's answer; OSS passes no more on
_MOST_VALUES = 100_000  # two bytes of JSON may become a value of a hundred
MAX_BODY = 5 * 1024**3
"""Bytes: what one UploadPart or PutObject carries at most."""


def check_upload_id(upload_id: str) -> str:
    """Return the ID; InputError if it is empty: such a DELETE would mean the object itself."""
    if not upload_id or not upload_id.strip():
        raise InputError("the upload ID is empty", hint="give the ID that OSS named when the upload began")
    return upload_id


def check_count(name: str, value: object, *, most: int = 1000, least: int = 1) -> str:
    """Write a count for the query; InputError if OSS does not take it."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InputError(f"{name} is {value!r}", hint=f"give a whole number from {least} to {most}")
    return str(value)


def check_length(operation: str, body: object, length: int | None) -> None:
    """Refuse a body that one request cannot carry."""
    size = len(body) if isinstance(body, bytes) else length
    if size is not None and size > MAX_BODY:
        raise InputError(
            f"the body of {operation} has {size} bytes", hint="a request carries 5 GiB at most; use parts"
        )


def check_parts(parts: Sequence[tuple[int, str]]) -> None:
    """Refuse a list of parts that OSS would refuse: too long, a number twice, an ETag missing."""
    numbers = [number for number, _ in parts]
    if len(numbers) > 10_000:
        raise InputError(f"{len(numbers)} parts are listed", hint="an upload has at most 10,000")
    for number, etag in parts:
        if not is_whole(number) or not 1 <= number <= 10_000:
            raise InputError(f"the part number is {number!r}", hint="parts are numbered 1 to 10000")
        if not etag:
            raise InputError(f"part {number} has no ETag", hint="give the ETag that UploadPart answered with")
    if len(set(numbers)) != len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise InputError(f"part {twice} is listed twice", hint="list the one that shall count")


def given(query: dict[str, str], *always: str) -> dict[str, str]:
    """Leave out empty parameters, but for those named."""
    return {name: value for name, value in query.items() if value or name in always}


def is_whole(value: object) -> bool:
    """Tell whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def part_query(upload_id: str, part_number: int) -> dict[str, str]:
    """Make the query of a part; InputError for an impossible number."""
    if not is_whole(part_number) or not 1 <= part_number <= 10_000:
        raise InputError(f"the part number is {part_number!r}", hint="parts are numbered 1 to 10000")
    return {"partNumber": str(part_number), "uploadId": check_upload_id(upload_id)}


def byte_range_header(byte_range: tuple[int, int]) -> str:
    """Write a range of bytes, both ends included."""
    first, last = byte_range
    if not 0 <= first <= last:
        raise InputError(
            f"the byte range {first}-{last} is empty", hint="give first and last byte, both included"
        )
    return f"bytes={first}-{last}"


def content_md5(body: bytes) -> dict[str, str]:
    """Make the Content-MD5 header."""
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    return {"Content-MD5": base64.b64encode(digest).decode()}


def has_callback(headers: Mapping[str, str]) -> bool:
    """Tell whether these headers ask for a callback."""
    return any(name.lower() == "x-oss-callback" for name in headers)


def callback_answer(body: bytes) -> Any:
    """The application's JSON; its text where it is none, for the object is stored either way."""
    if sum(body.count(sign) for sign in (b"[", b"{", b",")) <= _MOST_VALUES:
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(body)
    return body[:_LONGEST_CALLBACK].decode("utf-8", "replace")


async def presigned_url(
    connection: Connection,
    now: datetime,
    method: str,
    bucket: str,
    key: str,
    *,
    expires: int,
    query: Mapping[str, str],
    headers: Mapping[str, str],
) -> str:
    """Make the URL of one request that needs no keys for ``expires`` seconds."""
    if not is_whole(expires) or expires < 1:
        raise InputError(f"a link cannot be valid for {expires!r}", hint="give whole seconds, at least 1")
    credentials, verb = await connection.credentials.get(), method.upper()
    if connection.signature == "v1":
        signed = presign_v1(
            verb,
            bucket,
            key,
            query=query,
            headers=headers,
            credentials=credentials,
            expires_at=int(now.timestamp()) + expires,
        )
    else:
        signed = presign_v4(
            verb,
            bucket,
            key,
            query=query,
            headers=headers,
            credentials=credentials,
            now=now,
            expires=expires,
            region=connection.endpoint.region or "",
        )
    return connection.endpoint.url(bucket, key, signed)
