"""Take a request body to disk: received into one reusable buffer, hashed with the GIL released, written."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ossmp_jupyter.localoss.call import Call
from ossmp_jupyter.localoss.config import Checksums
from ossmp_jupyter.localoss.errors_xml import Refused, invalid_argument
from ossmp_jupyter.localoss.pace import Pace, PaceGate
from ossmp_jupyter.oss.checksum import crc64

__all__ = ["Received", "check_length", "receive"]

_LEAST_TRAFFIC, _MOST_TRAFFIC = 819_200, 838_860_800


@dataclass(frozen=True, slots=True)
class Received:
    """A body that is complete and agrees with what the client said of it."""

    file: Path
    size: int
    etag: str
    crc64: int | None
    md5: bytes | None

    @property
    def headers(self) -> dict[str, str]:
        """Return the answer headers that tell the client what arrived."""
        told = {"ETag": f'"{self.etag}"'}
        if self.crc64 is not None:
            told["x-oss-hash-crc64ecma"] = str(self.crc64)
        if self.md5 is not None:
            told["Content-MD5"] = base64.b64encode(self.md5).decode("ascii")
        return told


def check_length(call: Call, largest: int) -> None:
    """Refuse a body without a length, or one that is too large, before any of it is read."""
    if call.body.length is None and not call.body.chunked:
        raise Refused("MissingContentLength")
    if call.body.length is not None and call.body.length > largest:
        raise Refused("EntityTooLarge")


def _wanted_md5(call: Call) -> bytes | None:
    text = call.head.headers.get("content-md5")
    if text is None:
        return None
    try:
        wanted = base64.b64decode(text, validate=True)
    except binascii.Error:
        wanted = b""
    if len(wanted) != 16:
        raise Refused("InvalidDigest", ec="0017-00000502")
    return wanted


def _limit_traffic(call: Call) -> None:
    """Obey ``x-oss-traffic-limit``: bits per second, of this request alone."""
    name = "x-oss-traffic-limit"
    text = call.head.headers.get(name, call.head.parameter(name))
    if text is None:
        return
    if not re.fullmatch(r"[0-9]{1,12}", text) or not _LEAST_TRAFFIC <= int(text) <= _MOST_TRAFFIC:
        raise invalid_argument("The value of x-oss-traffic-limit is not valid.", name, text)
    call.wire.narrow()
    call.body.gates.append(PaceGate(Pace(int(text) // 8)))


@contextlib.contextmanager
def receive(call: Call, largest: int) -> Iterator[Received]:
    """Receive the body into a temporary file; whoever does not move the file away leaves nothing behind.

    Raises
    ------
    Refused
        ``MissingContentLength``, ``EntityTooLarge``, ``InvalidDigest``, ``InvalidCRC64``, ``IncompleteBody``.
    """
    check_length(call, largest)
    wanted_md5 = _wanted_md5(call)
    wanted_crc = call.head.headers.get("x-oss-hash-crc64ecma")
    if wanted_crc is not None and not wanted_crc.isdecimal():
        raise invalid_argument(
            "The x-oss-hash-crc64ecma header is not a number.", "x-oss-hash-crc64ecma", wanted_crc
        )
    _limit_traffic(call)
    file = call.store.temp_file()
    try:
        received = _receive_to(call, file, largest, with_md5=wanted_md5 is not None)
        if wanted_md5 is not None and received.md5 != wanted_md5:
            raise Refused("InvalidDigest")
        if wanted_crc is not None and received.crc64 is not None and int(wanted_crc) != received.crc64:
            raise Refused("InvalidCRC64")
        yield received
    finally:
        file.unlink(missing_ok=True)


def _receive_to(call: Call, file: Path, largest: int, *, with_md5: bool) -> Received:
    settings = call.settings
    with_md5 = with_md5 or settings.checksums is Checksums.FULL
    with_crc = settings.checksums is not Checksums.NONE
    drop = settings.discard and not with_md5 and not with_crc
    md5 = hashlib.md5(usedforsecurity=False)
    crc, size = 0, 0
    view = call.wire.buffer
    target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        while count := call.body.read_into(view, drop=drop):
            data = view[:count]
            size += count
            if size > largest:
                raise Refused("EntityTooLarge")
            if with_md5:
                md5.update(data)
            if with_crc:
                crc = crc64(data, crc)
            if not settings.discard:
                written = os.write(target, data)
                while written < count:
                    written += os.write(target, data[written:])
    finally:
        os.close(target)
    digest = md5.digest() if with_md5 else None
    etag = digest.hex().upper() if digest is not None else f"{crc:016X}{size:016X}"
    return Received(file, size, etag, crc if with_crc else None, digest)
