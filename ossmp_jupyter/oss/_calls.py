"""The small parts that the calls of :mod:`ossmp_jupyter.oss.rest` are made of."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ossmp_jupyter.errors import InputError, NotOSS
from ossmp_jupyter.oss._exchange import Answer
from ossmp_jupyter.oss._heads import etag_of

__all__ = [
    "byte_range_header",
    "callback_answer",
    "content_md5",
    "given",
    "has_callback",
    "is_whole",
    "part_query",
    "required_etag",
]


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
    return {"partNumber": str(part_number), "uploadId": upload_id}


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


def required_etag(answer: Answer, operation: str) -> str:
    """Take the ETag of an answer that must have one."""
    etag = etag_of(answer.headers)
    if not etag:
        raise NotOSS(
            f"the answer to {operation} has no ETag",
            status=answer.status,
            request_id=answer.request_id or None,
            hint="check that the endpoint is OSS's own, and that nothing on the way removes headers",
        )
    return etag


def has_callback(headers: Mapping[str, str]) -> bool:
    """Tell whether these headers ask for a callback."""
    return any(name.lower() == "x-oss-callback" for name in headers)


def callback_answer(body: bytes) -> Any:
    """The application's JSON; its text where it is none, for the object is stored either way."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
