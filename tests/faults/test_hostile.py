"""Answers of a broken or malicious server: one clear error, bounded memory and time."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import resource
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from ossmp_jupyter.errors import OssmpError
from ossmp_jupyter.oss.connection import connect
from ossmp_jupyter.transfer.client import OSSClient
from ossmp_jupyter.transfer.request import prepare_request
from ossmp_jupyter.transfer.retry import RetryPolicy
from ossmp_jupyter.transfer.upload import UploadTask
from tests.faults.auditor import check_sentence
from tests.faults.world import PART, VirtualClock

_ID = b"x-oss-request-id: 5F2A\r\n"
_GOOD_INITIATE = b"<InitiateMultipartUploadResult><UploadId>ABC</UploadId></InitiateMultipartUploadResult>"
_MEMORY = 64 << 20
SECRET = "canary-secret-0451"
TOKEN = "canary-token-0451"

Answer = Callable[[], Iterator[bytes]]


def _plain(body: bytes, status: bytes = b"200 OK", headers: bytes = _ID) -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, len(body), body)


def _endless(head: bytes, piece: bytes, total: int) -> Iterator[bytes]:
    yield head
    for _ in range(total // len(piece)):
        yield piece


_BOMB = (
    b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">%s]><Error><Code>&j;</Code></Error>"""
    % b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
)
_FILE = b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + _GOOD_INITIATE.replace(b"ABC", b"&f;")
_GZIP = b"Content-Encoding: gzip\r\n"
_HTML = b"Content-Type: text/html\r\n"
_MIB = b"<A>" + b"x" * ((1 << 20) - 7) + b"</A>"

ANSWERS: dict[str, Answer] = {
    "not-xml": lambda: iter([_plain(b"hello")]),
    "empty": lambda: iter([_plain(b"")]),
    "other-document": lambda: iter([_plain(b"<ListBucketResult/>")]),
    "no-upload-id": lambda: iter([_plain(b"<InitiateMultipartUploadResult/>")]),
    "broken-xml": lambda: iter([_plain(_GOOD_INITIATE[:-9])]),
    "binary": lambda: iter([_plain(bytes(range(256)))]),
    "wrong-encoding": lambda: iter([_plain(b'<?xml version="1.0" encoding="no-such"?>' + _GOOD_INITIATE)]),
    "entity-bomb": lambda: iter([_plain(_BOMB)]),
    "entity-bomb-as-error": lambda: iter([_plain(_BOMB, b"400 Bad Request")]),
    "external-entity": lambda: iter([_plain(_FILE)]),
    "deep-nesting": lambda: iter([_plain(b"<a>" * 200_000)]),
    "100-mb-of-xml": lambda: _endless(
        b"HTTP/1.1 200 OK\r\n" + _ID + b"Content-Length: 104857600\r\n\r\n<A>", _MIB, 100 << 20
    ),
    "endless-chunks": lambda: _endless(
        b"HTTP/1.1 200 OK\r\n" + _ID + b"Transfer-Encoding: chunked\r\n\r\n",
        b"10000\r\n" + b"y" * 65536 + b"\r\n",
        100 << 20,
    ),
    "100-mb-of-error": lambda: _endless(
        b"HTTP/1.1 400 Bad Request\r\n" + _ID + b"Content-Length: 104857600\r\n\r\n", _MIB, 100 << 20
    ),
    "endless-headers": lambda: _endless(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"b" * 1000 + b"\r\n", 50 << 20),
    "endless-header-line": lambda: _endless(b"HTTP/1.1 200 OK\r\nX-A: ", b"b" * 65536, 50 << 20),
    "endless-status-line": lambda: _endless(b"HTTP/1.1 200 ", b"O" * 65536, 50 << 20),
    "endless-interim-answers": lambda: _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 20 << 20),
    "length-too-large": lambda: iter(
        [b"HTTP/1.1 200 OK\r\n" + _ID + b"Content-Length: 5000\r\n\r\n" + _GOOD_INITIATE]
    ),
    "length-too-small": lambda: iter(
        [b"HTTP/1.1 200 OK\r\n" + _ID + b"Content-Length: 20\r\n\r\n" + _GOOD_INITIATE]
    ),
    "length-negative": lambda: iter([b"HTTP/1.1 200 OK\r\n" + _ID + b"Content-Length: -1\r\n\r\n"]),
    "length-twice": lambda: iter(
        [b"HTTP/1.1 200 OK\r\n" + _ID + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"]
    ),
    "bad-chunk": lambda: iter([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]),
    "not-http": lambda: iter([b"SSH-2.0-OpenSSH_9.2\r\n"]),
    "nothing": lambda: iter([b""]),
    "html": lambda: iter([_plain(b"<html>log in</html>", headers=_HTML)]),
    "html-401": lambda: iter([_plain(b"<html>log in</html>", b"401 Unauthorized", _HTML)]),
    "gzip-bomb": lambda: iter([_plain(gzip.compress(b"<A>" * (20 << 20)), headers=_ID + _GZIP)]),
    "204": lambda: iter([b"HTTP/1.1 204 No Content\r\n" + _ID + b"\r\n"]),
    "999": lambda: iter([_plain(b"", b"999 Whatever")]),
    "error-with-control-characters": lambda: iter(
        [_plain(b"<Error><Code>A\x1b[31mB</Code><Message>x\ny\x07</Message></Error>", b"400 Bad Request")]
    ),
    "error-that-echoes-secrets": lambda: iter(
        [_plain(f"<Error><Code>{SECRET}</Code><Message>{TOKEN}</Message></Error>".encode(), b"400 No")]
    ),
}  # fmt: skip


class HostileServer:
    """Answers every request with the same bytes and keeps what it was sent."""

    def __init__(self, answer: Answer) -> None:
        self.received = bytearray()
        self.connections = 0
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

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
            for piece in self._answer():
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass

    def close(self) -> None:
        # shutdown wakes the thread that waits in accept
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def serve() -> Generator[Callable[[Answer], HostileServer]]:
    servers: list[HostileServer] = []

    def start(answer: Answer) -> HostileServer:
        servers.append(HostileServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def _upload(port: int, file: Path, *, simple: bool = False, timeout: float = 1.0) -> OssmpError:
    async def go() -> OssmpError:
        connection = connect(
            endpoint=f"http://127.0.0.1:{port}", region="cn-hangzhou", bucket="demo",
            access_key_id="canary-id", access_key_secret=SECRET, security_token=TOKEN, timeout=timeout,
        )  # fmt: skip
        async with OSSClient(connection) as client:
            request = prepare_request(connection, str(file), "oss://demo/k", part_size=PART, simple=simple)
            task = UploadTask(
                client.rest_with(None),
                request,
                policy=RetryPolicy(attempts=3),
                clock=VirtualClock().clock(),
            )
            with pytest.raises(OssmpError) as caught:
                await task.run()
            return caught.value

    return asyncio.run(go())


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(b"s" * 3 * PART)
    return path


@pytest.mark.parametrize("simple", [False, True], ids=["initiate", "put"])
@pytest.mark.parametrize("name", ANSWERS)
def test_hostile_answer(
    serve: Callable[[Answer], HostileServer], file: Path, name: str, simple: bool
) -> None:
    server = serve(ANSWERS[name])
    before = _peak()
    timeout = 0.3 if name == "endless-interim-answers" else 1.0
    error = _upload(server.port, file, simple=simple, timeout=timeout)
    assert _peak() - before < _MEMORY, "an answer must not fill the memory"
    check_sentence(error)
    told = f"{error!r} {error} {error.__cause__!r} {error.__context__!r}"
    assert SECRET not in told and TOKEN not in told
    assert "\x1b" not in str(error) and "root:" not in told
    assert server.connections <= 30


_TO_PARTS = (
    "100-mb-of-xml", "endless-headers", "endless-header-line", "endless-chunks", "endless-interim-answers",
    "not-http", "bad-chunk", "html", "204",
)  # fmt: skip


@pytest.mark.parametrize("name", _TO_PARTS)
def test_hostile_answer_to_a_part(serve: Callable[[Answer], HostileServer], file: Path, name: str) -> None:
    """Lanes read answers by themselves: the same bounds hold there."""
    begun = iter([_plain(_GOOD_INITIATE)])
    server = serve(lambda: iter([answer]) if (answer := next(begun, None)) else ANSWERS[name]())
    before = _peak()
    error = _upload(server.port, file)
    check_sentence(error)
    assert "UploadPart" in str(error)
    assert _peak() - before < _MEMORY


def test_an_answer_that_drips(serve: Callable[[Answer], HostileServer], file: Path) -> None:
    """A byte now and then keeps every time-out between bytes quiet; the whole answer has its own."""

    def drip() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n" + _ID + b"Content-Length: 5000\r\n\r\n"
        for _ in range(200):
            time.sleep(0.2)
            yield b" "

    error = _upload(serve(drip).port, file, timeout=0.3)
    check_sentence(error)
    assert "has not finished its answer" in str(error)


def test_an_answer_that_a_proxy_has_compressed(serve: Callable[[Answer], HostileServer], file: Path) -> None:
    """Not asked for, understood nevertheless: the next request goes out."""
    compressed = _plain(gzip.compress(_GOOD_INITIATE), headers=_ID + _GZIP)
    begun = iter([compressed])
    refusal = _plain(b"<Error><Code>Enough</Code></Error>", b"400 Bad Request")
    server = serve(lambda: iter([next(begun, refusal)]))
    error = _upload(server.port, file)
    assert error.code == "Enough" and "UploadPart" in str(error)
