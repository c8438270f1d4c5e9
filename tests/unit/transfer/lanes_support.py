"""A server made of plain sockets, whose every byte a test decides, and sources to send to it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from ossmp_jupyter.transfer.lanes import LaneTransport, PartBody

HERE = Path(__file__).parent
CERTIFICATE = HERE / "lanes_localhost.crt"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        """``number`` counts connections in the order in which they were accepted."""
        self.sock = sock
        self.number = number
        self.file = sock.makefile("rb")

    def head(self) -> dict[str, str] | None:
        """Read a request head; None at the end of the connection."""
        line = self.file.readline()
        if not line:
            return None
        method, target, _ = line.decode().split(" ")
        fields = {"method": method, "target": target}
        while (line := self.file.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            fields[name.lower()] = value.strip()
        return fields

    def request(self) -> tuple[dict[str, str], bytes] | None:
        """Read a request with its body."""
        fields = self.head()
        if fields is None:
            return None
        return fields, self.file.read(int(fields.get("content-length", 0)))

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reset(self) -> None:
        """End the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.file.close()
        self.sock.close()


class Server:
    """Calls ``handler(peer)`` in a thread per connection; keeps what it raised."""

    def __init__(self, handler: Callable[[Peer], None], *, tls: bool = False, buffer: int = 0) -> None:
        self.handler = handler
        self.context: ssl.SSLContext | None = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(CERTIFICATE, HERE / "lanes_localhost.key")
        self.listener = socket.socket()
        if buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.peers: list[Peer] = []
        self.threads: list[threading.Thread] = []
        self.errors: list[BaseException] = []
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()

    @property
    def url(self) -> str:
        scheme = "https" if self.context else "http"
        return f"{scheme}://127.0.0.1:{self.listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            number = len(self.threads)  # here, where nobody overtakes, and before a handshake that may fail
            thread = threading.Thread(target=self._serve, args=(sock, number), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            peer = Peer(sock, number)
            self.peers.append(peer)
            try:
                self.handler(peer)
            except (OSError, ValueError):
                pass
            except BaseException as error:
                self.errors.append(error)
            finally:
                peer.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.acceptor.join(10)  # else it could accept from the next listener that gets this file number
        self.listener.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(10)
        if self.errors:
            raise self.errors[0]

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def answer_all(peer: Peer) -> None:
    """Read request after request and answer 200."""
    while peer.request() is not None:
        peer.send(OK)


def first_requests_together(count: int) -> Callable[[Peer], None]:
    """Answer all, but the first request of ``count`` connections only when each of them has one.

    So that many lanes are needed, however late one of them is.
    """
    here = threading.Barrier(count)

    def handler(peer: Peer) -> None:
        if peer.request() is not None:
            here.wait(20)
            peer.send(OK)
            answer_all(peer)

    return handler


class Bytes:
    """A source in memory. ``limit`` bytes per read at most, to see short reads."""

    def __init__(self, data: bytes, limit: int = 1 << 30) -> None:
        self.data = data
        self.limit = limit
        self.reads = 0

    def read_into(self, offset: int, view: memoryview) -> int:
        self.reads += 1
        piece = self.data[offset : offset + min(len(view), self.limit)]
        view[: len(piece)] = piece
        return len(piece)


class Zeros:
    """An endless source that costs nothing."""

    def __init__(self) -> None:
        self.reads = 0

    def read_into(self, offset: int, view: memoryview) -> int:
        self.reads += 1
        return len(view)


def client(transport: LaneTransport) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=transport, timeout=20, trust_env=False)


async def put(
    http: httpx.AsyncClient, url: str, body: PartBody, headers: dict[str, str] | None = None, **timeouts: Any
) -> httpx.Response:
    limits = {"connect": 20.0, "read": 20.0, "write": 20.0, "pool": 20.0, **timeouts}
    request = httpx.Request("PUT", url, headers=headers, stream=body, extensions={"timeout": limits})
    return await http.send(request)
