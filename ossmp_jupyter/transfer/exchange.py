"""One blocking HTTP/1.1 connection, and the exchange that sends a part over it.

h11 writes the request head and parses the answer; the body goes from the buffer to the socket with no copy
in between. Another thread may :meth:`Wire.cut` the connection at any moment.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import h11
import httpx

from ossmp_jupyter.oss._failures import PATIENCE, dripping
from ossmp_jupyter.transfer.lane_body import PartBody
from ossmp_jupyter.units import KIB, MIB, format_duration

__all__ = ["Address", "Answer", "Origin", "PartRequest", "Timeouts", "Wire"]

Address = tuple[socket.AddressFamily, tuple[Any, ...]]  # as socket.getaddrinfo gives it

_TICK = 1.0  # seconds between two looks at the clock, the counters and an early answer
_SPAN_MIN = 64 * KIB  # bytes per call into the socket, at least and at most
_SPAN_MAX = 8 * MIB
_ANSWER_MAX = MIB  # an answer to a part is empty, or a short error in XML
_INTERIM_MAX = 100  # answers of the 100s; servers send one or two
_ANSWER_GRACE = 5.0  # seconds to wait for the error answer of a server that stopped reading


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection leads. ``context`` is None for plain HTTP."""

    host: str
    port: int
    context: ssl.SSLContext | None
    server_name: str


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds, or None for no limit: to connect, without a byte accepted, without a byte of the answer."""

    connect: float | None
    write: float | None
    read: float | None


@dataclass(frozen=True, slots=True)
class PartRequest:
    """All that a lane needs to know of one request."""

    origin: Origin
    addresses: Sequence[Address]
    method: bytes
    target: bytes
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    body: PartBody
    timeouts: Timeouts


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer."""

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    content: bytes


class _AnsweredEarly(Exception):
    """The way out of the sending loop: the server answered, or hung up, before it had the whole body."""


class Wire:
    """A keep-alive connection to one origin, driven by one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._is_cut = False
        self._origin: Origin | None = None
        self._http = h11.Connection(h11.CLIENT)
        self._heard = False
        self._events: list[object] = []  # read while the body was still going out
        self._span = _SPAN_MIN

    # ---- from any thread

    def arm(self) -> None:
        """Forget an earlier cut, before the next request is handed over."""
        with self._lock:
            self._is_cut = False

    def cut(self) -> None:
        """Shut the connection down, so that a thread blocked in it comes back at once."""
        with self._lock:
            self._is_cut = True
            if self._sock is not None:
                with contextlib.suppress(OSError):
                    # not SSLSocket.shutdown: that would turn the object into a plain socket while
                    # the other thread may be about to send
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, if there is one."""
        with self._lock:
            sock, self._sock = self._sock, None
            if sock is not None:
                sock.close()
        self._origin = None

    # ---- from the lane's thread

    def exchange(self, request: PartRequest, buffer: memoryview) -> Answer:
        """Send a part and return the answer, over the open connection or a new one.

        A kept connection that turns out dead before a byte of the answer came is replaced once.

        Raises
        ------
        httpx.TransportError
            ConnectTimeout, ConnectError, WriteTimeout, WriteError, ReadTimeout, ReadError,
            RemoteProtocolError or LocalProtocolError.
        SourceChanged
            If the source ends early; whatever else the source raises comes through as it is.
        """
        reused = self._is_ready_for(request.origin)
        if not reused:
            self.close()
            self._open(request)
        try:
            return self._attempt(request, buffer)
        except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            if not reused or self._heard or self._is_cut:
                raise
            self._open(request)
            return self._attempt(request, buffer)

    def _attempt(self, request: PartRequest, buffer: memoryview) -> Answer:
        kept = False
        try:
            early = self._send(request, buffer)
            answer = self._receive(_ANSWER_GRACE if early else request.timeouts.read)
            kept = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
            if kept:
                self._http.start_next_cycle()
            return answer
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        finally:
            if not kept:
                self.close()

    def _open(self, request: PartRequest) -> None:
        origin, limit = request.origin, request.timeouts.connect
        ends = None if limit is None else time.monotonic() + limit
        failure: httpx.TransportError | None = None
        for index, (family, address) in enumerate(request.addresses):
            left = None if ends is None else max(ends - time.monotonic(), 0.001)
            share = None if left is None else left / (len(request.addresses) - index)
            try:
                self._connect(origin, family, address, share)
            except TimeoutError:
                self.close()
                failure = httpx.ConnectTimeout(f"no connection to {origin.host}:{origin.port} in time")
            except OSError as error:  # ssl.SSLError is one
                self.close()
                failure = httpx.ConnectError(str(error) or type(error).__name__)
            else:
                self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=100 * KIB)
                self._origin, self._span = origin, _SPAN_MIN
                return
        raise failure or httpx.ConnectError(f"no address for {origin.host}")

    def _connect(
        self,
        origin: Origin,
        family: socket.AddressFamily,
        address: tuple[Any, ...],
        limit: float | None,
    ) -> None:
        sock = socket.socket(family, socket.SOCK_STREAM)
        self._hold(sock)
        _tune(sock)
        sock.settimeout(limit)
        sock.connect(address)
        if origin.context is not None:
            secure = origin.context.wrap_socket(
                sock, server_hostname=origin.server_name, do_handshake_on_connect=False
            )
            self._hold(secure)
            secure.do_handshake()

    def _hold(self, sock: socket.socket) -> None:
        with self._lock:
            if self._is_cut:
                sock.close()
                raise ConnectionAbortedError("the request was cancelled")
            self._sock = sock

    def _is_ready_for(self, origin: Origin) -> bool:
        """Whether the kept connection leads there and the server has neither closed it nor said anything."""
        if self._sock is None or self._origin != origin:
            return False
        with contextlib.suppress(OSError):
            return self._glance() is None
        return False

    def _glance(self) -> bytes | None:
        """What has arrived, without waiting: None for nothing, ``b""`` for the end."""
        sock = self._socket()
        if not _is_readable(sock):
            return None
        limit = sock.gettimeout()
        sock.settimeout(0)
        try:
            return sock.recv(64 * KIB)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None  # TLS talks to itself: session tickets
        finally:
            sock.settimeout(limit)

    def _send(self, request: PartRequest, buffer: memoryview) -> bool:
        """Send head and body; True if the server did not wait for the end of it."""
        self._heard = False
        self._events.clear()
        body, stall = request.body, request.timeouts.write
        self._socket().settimeout(_TICK if stall is None else min(_TICK, max(stall, 0.001)))
        try:
            self._push(self._head(request), stall, None)  # in no variable: a reader's traceback may show it
            for block in body.blocks(buffer):
                self._http.send_with_data_passthrough(h11.Data(data=block))  # type: ignore[arg-type]
                self._push(block, stall, body)
                if body.sent < body.length:  # after that, an answer is not early
                    self._listen()
        except _AnsweredEarly:
            return True
        self._http.send(h11.EndOfMessage())
        return False

    def _head(self, request: PartRequest) -> memoryview:
        head = h11.Request(method=request.method, target=request.target, headers=list(request.headers))
        return memoryview(self._http.send(head) or b"")

    def _push(self, data: memoryview, stall: float | None, body: PartBody | None) -> None:
        """Send all of ``data`` in calls that take less than a tick, whatever the line.

        TLS reports a call as a whole, so its size follows the speed of the line; without that, a slow line
        would look like a stalled one.
        """
        sock = self._socket()
        at, quiet = 0, 0.0
        while at < len(data):
            span = data[at : at + self._span]
            began = time.monotonic()
            try:
                count = sock.send(span)
            except (TimeoutError, ssl.SSLWantWriteError):
                quiet += time.monotonic() - began
                if stall is not None and quiet >= stall:
                    raise httpx.WriteTimeout(
                        f"the server accepted no byte for {format_duration(quiet)}"
                    ) from None
                self._listen()
                continue
            except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
                if self._is_cut:
                    raise httpx.WriteError("the request was cancelled") from error
                raise _AnsweredEarly from error  # the answer that explains it may be waiting
            except OSError as error:
                raise httpx.WriteError(str(error)) from error
            took = quiet + time.monotonic() - began
            at, quiet = at + count, 0.0
            if body is not None:
                body.sent += count
            if took > _TICK / 2:
                self._span = max(self._span // 2, _SPAN_MIN)
            elif took < _TICK / 8 and count == len(span):
                self._span = min(self._span * 2, _SPAN_MAX)

    def _listen(self) -> None:
        """Leave the sending loop if the final answer has begun, or the server hung up."""
        try:
            data = self._glance()
        except OSError as error:
            raise httpx.WriteError(str(error)) from error
        if data is None:
            return
        self._feed(data)
        while isinstance(event := self._http.next_event(), h11.InformationalResponse):
            pass
        if event is h11.NEED_DATA:
            return
        self._events.append(event)
        raise _AnsweredEarly

    def _receive(self, limit: float | None) -> Answer:
        """Read the answer: ``limit`` seconds between bytes, and not for ever byte by byte."""
        self._socket().settimeout(limit)
        began = time.monotonic()
        head: h11.Response | None = None
        content = bytearray()
        interim = 0
        while True:
            event = self._next_event(limit, began)
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                content += event.data
                if len(content) > _ANSWER_MAX:
                    raise httpx.RemoteProtocolError("the answer to a part is larger than 1 MiB")
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return Answer(head.status_code, head.reason, list(head.headers.raw_items()), bytes(content))
            elif isinstance(event, h11.InformationalResponse) and interim < _INTERIM_MAX:
                interim += 1
            else:
                raise httpx.RemoteProtocolError(f"unexpected {event!r} in the answer")

    def _next_event(self, limit: float | None, began: float) -> object:
        if self._events:
            return self._events.pop(0)
        while (event := self._http.next_event()) is h11.NEED_DATA:
            try:
                data = self._socket().recv(64 * KIB)
            except TimeoutError:
                raise httpx.ReadTimeout("no answer in time") from None
            except OSError as error:
                raise httpx.ReadError(str(error)) from error
            self._feed(data)
            if limit is not None and time.monotonic() > began + PATIENCE * limit:
                host = f"{self._origin.host}:{self._origin.port}" if self._origin else "the server"
                raise dripping(host, "a part", PATIENCE * limit)
        return event

    def _feed(self, data: bytes) -> None:
        if data:
            self._heard = True
        elif self._http.their_state is h11.SEND_RESPONSE:
            raise httpx.RemoteProtocolError("the server closed the connection without an answer")
        self._http.receive_data(data)

    def _socket(self) -> socket.socket:
        if self._sock is None:
            raise httpx.WriteError("the connection is closed")
        return self._sock


def _is_readable(sock: socket.socket) -> bool:
    if hasattr(select, "poll"):  # select() refuses descriptors above 1023
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    # A little loss starves CUBIC on long lines; BBR fills them. Where there is none, the default stays.
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")
