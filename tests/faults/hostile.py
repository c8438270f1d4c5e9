"""A server that answers every request with the same bytes, and the answers of broken and malicious ones."""

from __future__ import annotations

import base64
import contextlib
import functools
import resource
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["ANSWERS", "GOOD_INITIATE", "ID", "SECRET", "TOKEN", "Answer", "HostileServer", "Peak", "plain"]

ID = b"x-oss-request-id: 5F2A\r\n"
GOOD_INITIATE = b"<InitiateMultipartUploadResult><UploadId>ABC</UploadId></InitiateMultipartUploadResult>"
SECRET = "canary-secret-0451"
TOKEN = "canary-token-0451"

Answer = Callable[[], Iterator[bytes]]


def plain(body: bytes, status: bytes = b"200 OK", headers: bytes = ID) -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, len(body), body)


@functools.cache
def _bomb() -> bytes:
    """60 MiB in 60 KiB; made piece by piece, so that only the client's memory is measured."""
    press = zlib.compressobj(wbits=31)
    return b"".join(press.compress(b"<A>" * 65536) for _ in range(320)) + press.flush()


def _endless(head: bytes, piece: bytes, total: int) -> Iterator[bytes]:
    yield head
    for _ in range(total // len(piece)):
        yield piece


def _many(first: bytes, piece: bytes, last: bytes) -> Iterator[bytes]:
    """A document of nearly 10 MB, which is how much is read; made in pieces, as :func:`_bomb`."""
    some = piece * (100_000 // len(piece))
    yield plain(first)[: -len(first)].replace(
        b": %d" % len(first), b": %d" % (len(first + last) + 100 * len(some))
    )
    yield first
    for _ in range(100):
        yield some
    yield last


_BOMB = (
    b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">%s]><Error><Code>&j;</Code></Error>"""
    % b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
)
_FILE = b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + GOOD_INITIATE.replace(b"ABC", b"&f;")
_GZIP = b"Content-Encoding: gzip\r\n"
_HTML = b"Content-Type: text/html\r\n"
_DIGITS = b"9" * 6000
_MIB = b"<A>" + b"x" * ((1 << 20) - 7) + b"</A>"

ANSWERS: dict[str, Answer] = {
    "not-xml": lambda: iter([plain(b"hello")]),
    "empty": lambda: iter([plain(b"")]),
    "other-document": lambda: iter([plain(b"<ListBucketResult/>")]),
    "no-upload-id": lambda: iter([plain(b"<InitiateMultipartUploadResult/>")]),
    "upload-id-of-1-mb": lambda: iter([plain(GOOD_INITIATE.replace(b"ABC", b"A" * 1_000_000))]),
    "etag-of-1-mb": lambda: iter(
        [plain(b"<CopyPartResult><ETag>%s</ETag></CopyPartResult>" % (b"A" * 1_000_000))]
    ),
    "broken-xml": lambda: iter([plain(GOOD_INITIATE[:-9])]),
    "binary": lambda: iter([plain(bytes(range(256)))]),
    "wrong-encoding": lambda: iter([plain(b'<?xml version="1.0" encoding="no-such"?>' + GOOD_INITIATE)]),
    "entity-bomb": lambda: iter([plain(_BOMB)]),
    "entity-bomb-as-error": lambda: iter([plain(_BOMB, b"400 Bad Request")]),
    "external-entity": lambda: iter([plain(_FILE)]),
    "deep-nesting": lambda: iter([plain(b"<a>" * 200_000)]),
    "deep-nesting-closed": lambda: iter([plain(b"<a>" * 200_000 + b"</a>" * 200_000)]),
    "elements-without-number": lambda: _many(b"<a>", b"<b/>", b"</a>"),
    "attributes-without-number": lambda: _many(b"<a", b' b=""', b"/>"),
    "elements-in-another-encoding": lambda: _many(
        b'<?xml version="1.0" encoding="cp037"?>' + "<a>".encode("cp037"), "<b/>".encode("cp037"), b""
    ),
    "values-without-number": lambda: _many(b"[", b"[],", b"0]"),
    "json-nesting": lambda: iter([plain(b"[" * 1_000_000)]),
    "100-mb-of-xml": lambda: _endless(
        b"HTTP/1.1 200 OK\r\n" + ID + b"Content-Length: 104857600\r\n\r\n<A>", _MIB, 100 << 20
    ),
    "endless-chunks": lambda: _endless(
        b"HTTP/1.1 200 OK\r\n" + ID + b"Transfer-Encoding: chunked\r\n\r\n",
        b"10000\r\n" + b"y" * 65536 + b"\r\n",
        100 << 20,
    ),
    "100-mb-of-error": lambda: _endless(
        b"HTTP/1.1 400 Bad Request\r\n" + ID + b"Content-Length: 104857600\r\n\r\n", _MIB, 100 << 20
    ),
    "endless-headers": lambda: _endless(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"b" * 1000 + b"\r\n", 50 << 20),
    "endless-header-line": lambda: _endless(b"HTTP/1.1 200 OK\r\nX-A: ", b"b" * 65536, 50 << 20),
    "endless-status-line": lambda: _endless(b"HTTP/1.1 200 ", b"O" * 65536, 50 << 20),
    "endless-interim-answers": lambda: _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 20 << 20),
    "length-too-large": lambda: iter(
        [b"HTTP/1.1 200 OK\r\n" + ID + b"Content-Length: 5000\r\n\r\n" + GOOD_INITIATE]
    ),
    "length-too-small": lambda: iter(
        [b"HTTP/1.1 200 OK\r\n" + ID + b"Content-Length: 20\r\n\r\n" + GOOD_INITIATE]
    ),
    "length-negative": lambda: iter([b"HTTP/1.1 200 OK\r\n" + ID + b"Content-Length: -1\r\n\r\n"]),
    "length-twice": lambda: iter(
        [b"HTTP/1.1 200 OK\r\n" + ID + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"]
    ),
    "crc-of-digits": lambda: iter([plain(b"", headers=ID + b"x-oss-hash-crc64ecma: %s\r\n" % _DIGITS)]),
    "range-of-digits": lambda: iter([plain(b"", headers=ID + b"Content-Range: bytes */%s\r\n" % _DIGITS)]),
    "retry-after-of-digits": lambda: iter(
        [plain(b"", b"503 Later", ID + b"Retry-After: " + _DIGITS + b"\r\n")]
    ),
    "delay-of-digits": lambda: iter(
        [plain(b"", b"503 Later", ID + b"x-oss-qos-delay-time: " + _DIGITS + b"\r\n")]
    ),
    "etag-of-50-kb": lambda: iter([plain(b"", headers=ID + b"ETag: %s\r\n" % (b"A" * 50_000))]),
    "error-in-a-header": lambda: iter(
        [plain(b"", b"400 Bad Request", b"x-oss-err: " + base64.b64encode(_BOMB) + b"\r\n")]
    ),
    "101": lambda: iter([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"]),
    "continue-and-no-more": lambda: iter([b"HTTP/1.1 100 Continue\r\n\r\n"]),
    "status-of-five-digits": lambda: iter([plain(b"", b"20000 OK")]),
    "HTTP/9": lambda: iter([plain(b"").replace(b"HTTP/1.1", b"HTTP/9.9")]),
    "bad-chunk": lambda: iter([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]),
    "not-http": lambda: iter([b"SSH-2.0-OpenSSH_9.2\r\n"]),
    "nothing": lambda: iter([b""]),
    "html": lambda: iter([plain(b"<html>log in</html>", headers=_HTML)]),
    "html-401": lambda: iter([plain(b"<html>log in</html>", b"401 Unauthorized", _HTML)]),
    "gzip-bomb": lambda: iter([plain(_bomb(), headers=ID + _GZIP)]),
    "gzip-garbage": lambda: iter([plain(b"no gzip at all", headers=ID + _GZIP)]),
    "brotli": lambda: iter([plain(b"\x0b\x02\x80hello\x03", headers=ID + b"Content-Encoding: br\r\n")]),
    "204": lambda: iter([b"HTTP/1.1 204 No Content\r\n" + ID + b"\r\n"]),
    "999": lambda: iter([plain(b"", b"999 Whatever")]),
    "error-with-control-characters": lambda: iter(
        [plain(b"<Error><Code>A\x1b[31mB</Code><Message>x\ny\x07</Message></Error>", b"400 Bad Request")]
    ),
    "error-that-echoes-secrets": lambda: iter(
        [plain(f"<Error><Code>{SECRET}</Code><Message>{TOKEN}</Message></Error>".encode(), b"400 No")]
    ),
}  # fmt: skip


class HostileServer:
    """Answers every request with the same bytes and keeps what it was sent."""

    def __init__(self, answer: Answer) -> None:
        self.received = bytearray()
        self.connections = 0
        self.sent = 0
        """Bytes that the last client took, or that lie in buffers on the way to it."""
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            sock.settimeout(10)
            head = b""
            while b"\r\n\r\n" not in head:
                data = sock.recv(65536)
                if not data:
                    return
                head += data
            self.received += head
            self.sent = 0
            for piece in self._answer():
                sock.sendall(piece)
                self.sent += len(piece)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass

    def close(self) -> None:
        # shutdown wakes the thread that waits in accept
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(10)  # else it could accept from the next listener that gets this file number
        self._listening.close()


class Peak:
    """How much more memory a process, or this one, took since the beginning, at its highest, in bytes."""

    def __init__(self, pid: int | None = None) -> None:
        self._folder = Path("/proc") / str(pid or "self")
        with contextlib.suppress(OSError):
            (self._folder / "clear_refs").write_text("5")  # forget the highest so far
        self._before = self._highest()

    def _highest(self) -> int:
        with contextlib.suppress(OSError):
            status = (self._folder / "status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) * 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def grown(self) -> int:
        return self._highest() - self._before
