"""What the tests of parity share: connections to the embedded OSS, bytes, and what the server was asked."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.connection import Connection, connect
from ossmp_jupyter.transfer.client import OSSClient
from tests.localoss.quiet import wait_until_ended

PART = 102_400
"""The smallest part OSS takes."""
Run = Callable[[Callable[[OSSClient], Coroutine[Any, Any, Any]]], Any]


def connection_to(oss: LocalOSS, **settings: Any) -> Connection:
    """A connection to the embedded OSS; ``settings`` as :func:`connect` takes them, over its own."""
    keys: dict[str, Any] = {
        "access_key_id": oss.access_key_id,
        "access_key_secret": oss.access_key_secret,
        "security_token": oss.security_token,
    }
    if "credentials" in settings:
        keys = {}
    base = {"endpoint": oss.endpoint, "region": oss.region, "bucket": oss.bucket, "environ": {}}
    return connect(**{**base, **keys, **settings})


def payload(size: int = 4 * PART + 17, salt: int = 0) -> bytes:
    """Bytes of which no two parts are alike."""
    words = ((n * 2654435761 + salt) & 0xFFFFFFFF for n in range(size // 4 + 1))
    return b"".join(word.to_bytes(4, "big") for word in words)[:size]


def requests_of(oss: LocalOSS, operation: str | None = None) -> list[dict[str, Any]]:
    """What the server was asked, of one operation or all."""
    wait_until_ended(oss)
    return [entry for entry in oss.journal() if operation in (None, entry["operation"])]
