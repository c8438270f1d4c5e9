"""One client's socket: heads in, bodies in, answers out. The path is kept raw, nothing is collapsed."""

from __future__ import annotations

import contextlib
import mmap
import re
import select
import socket
import struct
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote_plus, unquote_to_bytes

from ossmp_jupyter.localoss.config import Limits
from ossmp_jupyter.localoss.errors_xml import Refused

__all__ = ["Body", "Gate", "Head", "Wire", "parse_head"]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NO_VALUE = re.compile(rb"[\x00\r\n]")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_LONGEST_LINE = 8192
_CHUNK = 1 << 20
_PIECE = 1 << 18
_TRUNCATE = socket.MSG_TRUNC if sys.platform == "linux" else 0  # Linux drops the bytes, others copy them


class Gate(Protocol):
    """Something that stands in a body's way: a speed limit or a fault."""

    def before(self, position: int, wanted: int) -> int:
        """Return how many bytes may be read now; may wait or end the connection."""

    def after(self, position: int, data: memoryview) -> None:
        """See (and perhaps change) what was read."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of one request, decoded once; header names in lower case, values as Latin-1 text."""

    method: str
    target: str
    path: bytes
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    version: str

    def get(self, name: str, default: str = "") -> str:
        """Return one header's value."""
        return self.headers.get(name, default)

    def parameter(self, name: str) -> str | None:
        """Return one query parameter (the first of its name), or None."""
        return next((value for known, value in self.query if known == name), None)

    @property
    def keep_alive(self) -> bool:
        """Tell whether the client wants to go on with this connection."""
        wish = self.get("connection").lower()
        return "close" not in wish and (self.version == "HTTP/1.1" or "keep-alive" in wish)


def parse_head(raw: bytes) -> Head:
    """Read a request head.

    Raises
    ------
    Refused
        400 with ``close`` set when it is not HTTP/1.
    """
    lines = raw.split(b"\r\n")
    words = lines[0].split(b" ")
    bad = Refused("BadRequest", "The request is not well-formed HTTP/1.1.", close=True)
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]) or words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise bad
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name) or _NO_VALUE.search(value):
            raise bad
        known, text = sys.intern(name.decode("ascii").lower()), value.strip(b" \t").decode("latin-1")
        if known in headers:
            if known in ("content-length", "host", "authorization") and headers[known] != text:
                raise bad
            text = headers[known] if known == "content-length" else f"{headers[known]},{text}"
        headers[known] = text
    target = words[1]
    if not target.startswith((b"/", b"*")):
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    raw_path, _, raw_query = target.partition(b"?")
    query = tuple(
        (unquote_plus(name), unquote_plus(value))
        for name, _, value in (pair.partition("=") for pair in raw_query.decode("latin-1").split("&") if pair)
    )
    return Head(
        method=words[0].decode("ascii"),
        target=target.decode("latin-1"),
        path=unquote_to_bytes(raw_path),
        query=query,
        headers=headers,
        version=words[2].decode("ascii"),
    )


class Body:
    """The body of one request, read once, in pieces, into the caller's buffer."""

    def __init__(self, wire: Wire, head: Head) -> None:
        self._wire = wire
        self._chunk_left = 0
        self.position = 0
        self.gates: list[Gate] = []
        self.chunked = "chunked" in head.get("transfer-encoding").lower()
        self._expect = head.get("expect").lower() == "100-continue" and head.version == "HTTP/1.1"
        length = head.headers.get("content-length")
        bad_length = length is not None and (self.chunked or not re.fullmatch(r"[0-9]{1,19}", length))
        bad_length = bad_length or (self.chunked and head.version == "HTTP/1.0")
        if bad_length or head.get("transfer-encoding", "chunked").lower() != "chunked":
            raise Refused("BadRequest", "The length of the request body is not well-formed.", close=True)
        self.length: int | None = None if self.chunked or length is None else int(length)
        self.done = not self.chunked and not self.length

    @property
    def waiting_for_continue(self) -> bool:
        """Tell whether the client still waits for ``100 Continue``, so that no byte of the body was sent."""
        return self._expect and not self.done

    def read_into(self, view: memoryview, *, drop: bool = False) -> int:
        """Read at most ``len(view)`` bytes; 0 at the end. ``drop`` leaves the bytes in the kernel."""
        if self.done:
            return 0
        if self._expect:
            self._expect = False
            self._wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        wanted = len(view)
        if self.length is not None:
            wanted = min(wanted, self.length - self.position)
        for gate in self.gates:
            wanted = gate.before(self.position, wanted)
        count = (
            self._read_chunk(view[:wanted])
            if self.chunked
            else self._wire.read_into(view[:wanted], drop=drop)
        )
        if count == 0 and not self.chunked:
            raise Refused("IncompleteBody", close=True)
        for gate in self.gates:
            gate.after(self.position, view[:count])
        self.position += count
        if self.position == self.length:
            self.done = True
        return count

    def _read_chunk(self, view: memoryview) -> int:
        if self._chunk_left == 0:
            size = self._wire.read_line().partition(b";")[0].rstrip(b" \t")
            if not _CHUNK_SIZE.fullmatch(size):
                raise self._malformed()
            self._chunk_left = int(size, 16)
            if self._chunk_left == 0:
                self._read_trailers()
                self.done = True
                return 0
        count = self._wire.read_into(view[: self._chunk_left])
        if count == 0:
            raise Refused("IncompleteBody", close=True)
        self._chunk_left -= count
        if self._chunk_left == 0 and self._wire.read_line():
            raise self._malformed()
        return count

    def _read_trailers(self) -> None:
        left = self._wire.limits.head_bytes
        while line := self._wire.read_line():
            left -= len(line)
            if left < 0:
                raise self._malformed()

    @staticmethod
    def _malformed() -> Refused:
        return Refused("BadRequest", "The chunked body is not well-formed.", close=True)

    def read_all(self, limit: int, code: str = "EntityTooLarge") -> bytes:
        """Read the whole of a small body; more than ``limit`` bytes are refused with ``code``."""
        if self.length is not None and self.length > limit:
            raise Refused(code)
        view = self._wire.buffer
        out = bytearray()
        while count := self.read_into(view):
            out += view[:count]
            if len(out) > limit:
                raise Refused(code)
        return bytes(out)


class Wire:
    """A blocking socket with a reusable 1 MiB buffer and byte-exact framing."""

    def __init__(self, sock: socket.socket, limits: Limits) -> None:
        self.sock = sock
        self.limits = limits
        self._ahead = bytearray()  # read past the head, belongs to the body or the next head
        self._buffer: memoryview | None = None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def buffer(self) -> memoryview:
        """Return this connection's page-aligned buffer, made at first use."""
        if self._buffer is None:
            self._buffer = memoryview(mmap.mmap(-1, _CHUNK))
        return self._buffer

    def read_head(self) -> bytes | None:
        """Read up to the empty line; None when the client has gone or stays silent.

        Raises
        ------
        Refused
            When the head is too large (431) or does not arrive in time (408).
        """
        self.sock.settimeout(self.limits.idle_timeout)
        deadline = time.monotonic() + self.limits.head_timeout if self._ahead else None
        while True:
            while self._ahead[:2] == b"\r\n":  # RFC 9112 2.2: empty lines before a request are skipped
                del self._ahead[:2]
            end = self._ahead.find(b"\r\n\r\n")
            if end >= 0:
                head = bytes(self._ahead[:end])
                del self._ahead[: end + 4]
                return head
            if len(self._ahead) > self.limits.head_bytes:
                raise Refused(
                    "RequestHeaderTooLarge", "The request's headers are too large.", status=431, close=True
                )
            try:
                if deadline is not None:
                    self.sock.settimeout(max(0.001, deadline - time.monotonic()))
                data = self.sock.recv(65536)
            except TimeoutError:
                if not self._ahead:
                    return None
                raise Refused("RequestTimeout", status=408, close=True) from None
            if not data:
                return None
            self._ahead += data
            if deadline is None:
                deadline = time.monotonic() + self.limits.head_timeout

    def read_into(self, view: memoryview, *, drop: bool = False) -> int:
        """Read body bytes; 0 when the client closed its side."""
        if self._ahead:
            count = min(len(view), len(self._ahead))
            view[:count] = self._ahead[:count]
            del self._ahead[:count]
            return count
        if not view:
            return 0
        self.sock.settimeout(self.limits.body_timeout)
        try:
            return self.sock.recv_into(view, len(view), _TRUNCATE if drop else 0)
        except TimeoutError:
            raise Refused("RequestTimeout", close=True) from None

    def read_line(self) -> bytes:
        """Read one CRLF line of a chunked body's framing, without its end."""
        while (end := self._ahead.find(b"\r\n", 0, _LONGEST_LINE)) < 0:
            if len(self._ahead) >= _LONGEST_LINE:
                raise Refused("BadRequest", "The chunked body is not well-formed.", close=True)
            self.sock.settimeout(self.limits.body_timeout)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                raise Refused("RequestTimeout", close=True) from None
            if not data:
                raise Refused("IncompleteBody", close=True)
            self._ahead += data
        line = bytes(self._ahead[:end])
        del self._ahead[: end + 2]
        return line

    def send(self, data: bytes | memoryview) -> None:
        """Send all of ``data``; the time limit is for each piece, however slow the reader is."""
        self.sock.settimeout(self.limits.body_timeout)
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            self.sock.sendall(view[start : start + _PIECE])

    def narrow(self) -> None:
        """Keep the kernel from taking megabytes ahead of a limited line, so that senders feel the limit."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than the client stays."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if _gone(self.sock, min(left, 1.0)):
                return

    def drain(self, body: Body) -> None:
        """Read the rest of a refused body, so that the client reads the answer instead of a broken pipe."""
        body.gates.clear()
        deadline = time.monotonic() + self.limits.drain_seconds
        start = body.position
        with contextlib.suppress(OSError, Refused):
            while not body.done and time.monotonic() < deadline:
                if body.position - start > self.limits.drain_bytes:
                    return
                body.read_into(self.buffer)

    def linger(self) -> None:
        """Close our side and swallow what still comes, so that the last answer is not lost to a reset."""
        deadline = time.monotonic() + self.limits.drain_seconds
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(2.0)
            while time.monotonic() < deadline and self.sock.recv_into(self.buffer):
                pass

    def reset(self) -> None:
        """End the connection with RST."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close the socket and give the buffer back."""
        with contextlib.suppress(OSError):
            self.sock.close()
        self._buffer = None


def _gone(sock: socket.socket, seconds: float) -> bool:
    """Wait so long for the client to leave.

    Its leaving has to be seen past bytes that nobody reads: a peek shows those for ever, and a thousand
    stalled connections would then poll for clients that are long gone.
    """
    if not hasattr(select, "poll") or sock.fileno() < 0:
        time.sleep(seconds)
        return sock.fileno() < 0
    poll = select.poll()
    poll.register(sock, getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(seconds * 1000))


def join_headers(status: int, reason: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Write the head of an answer; line breaks in values cannot get through."""
    lines = [f"HTTP/1.1 {status} {reason}"]
    lines += [f"{name}: {value}".replace("\r", " ").replace("\n", " ") for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
