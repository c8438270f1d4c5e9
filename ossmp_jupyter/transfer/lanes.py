"""The httpx transport that carries part bodies in lanes: one thread and one blocking connection per part.

Nothing that sends bodies on an event loop comes near: the loop's thread is one core and one GIL. Requests
whose stream is a :class:`PartBody` take a lane; all others, and every part that has to pass a proxy, take an
ordinary :class:`httpx.AsyncHTTPTransport`.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import os
import socket
import ssl
import time
import weakref
from typing import TYPE_CHECKING, Any

import httpx

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.transfer.exchange import Address, Origin, PartRequest, Timeouts
from ossmp_jupyter.transfer.lane_body import CHUNK, PartBody, RangeReader
from ossmp_jupyter.transfer.lane_worker import Lane
from ossmp_jupyter.transfer.proxy import ProxiedTransport, environment_proxy
from ossmp_jupyter.transfer.routes import Route

if TYPE_CHECKING:
    from ossmp_jupyter.oss.connection import Connection

__all__ = ["HttpClient", "LaneTransport", "PartBody", "RangeReader", "make_http_client"]

_ADDRESS_TTL = 30.0  # seconds that a resolved name is used by all lanes
_JOIN = 10.0  # seconds to wait for a lane's end; it needs milliseconds unless a source blocks
_serial = itertools.count(1)

_Key = tuple[str, str, int]


class LaneTransport(httpx.AsyncBaseTransport):
    """Send :class:`PartBody` requests through lanes, everything else through an ordinary transport.

    To be used from one event loop at a time. Memory: at most ``2 * chunk`` bytes per lane.

    Parameters
    ----------
    max_lanes : int
        How many parts can be on their way at once. Lanes are made when they are needed.
    chunk : int
        Bytes that a lane reads, checksums and sends at a time.
    verify : bool, str or ssl.SSLContext
        How to check the server's certificate: True for certifi and the system's authorities, a path for
        authorities of your own, False for no check, or a ready context.
    trust_env : bool
        Whether to use the proxies of the environment (never for loopback addresses).
    keepalive : float
        Seconds after which an idle lane closes its connection and gives its buffer back.

    Examples
    --------
    >>> transport = LaneTransport(max_lanes=8)
    >>> transport.lanes
    0
    """

    def __init__(
        self,
        *,
        max_lanes: int = 64,
        chunk: int = CHUNK,
        verify: bool | str | ssl.SSLContext = True,
        trust_env: bool = True,
        keepalive: float = 15.0,
    ) -> None:
        if max_lanes < 1 or chunk < 1:
            raise InputError("a lane transport needs at least one lane and a chunk of at least one byte")
        self._max_lanes, self._chunk, self._keepalive = max_lanes, chunk, keepalive
        self._verify, self._trust_env = verify, trust_env
        self._context: ssl.SSLContext | None = None
        self._lanes: list[Lane] = []
        self._idle: list[Lane] = []
        self._waiters: collections.deque[asyncio.Future[Lane | None]] = collections.deque()
        self._routes: dict[_Key, Route] = {}
        self._proxied: dict[_Key, bool] = {}
        self._addresses: dict[_Key, tuple[float, list[Address]]] = {}
        self._pid = os.getpid()
        self._closed = False
        # For a transport that is dropped without aclose(): its threads must not outlive it
        weakref.finalize(self, _stop, self._lanes).atexit = False

    @property
    def lanes(self) -> int:
        """How many lanes there are."""
        return len(self._lanes)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` by a lane if its body is a :class:`PartBody` and no proxy is in the way.

        Raises
        ------
        httpx.TransportError
            As every httpx transport does.
        SourceChanged
            If the source of a part ends early; whatever else a source raises comes through as it is.
        """
        body = request.stream
        key = _key_of(request.url)
        if not isinstance(body, PartBody):
            return await self._route(key).handle_async_request(request)
        self._route(key)
        if self._proxied[key]:
            return await self._route(key).handle_async_request(request)
        return await self._send_part(request, body, key)

    async def aclose(self) -> None:
        """End all lanes and close all connections. Requests under way fail."""
        self._closed = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        lanes = self._lanes[:]
        _stop(self._lanes)
        self._lanes.clear()
        self._idle.clear()
        routes = list(self._routes.values())
        self._routes.clear()
        for route in routes:
            await route.aclose()
        if lanes:
            await asyncio.to_thread(_join, lanes)

    async def close_idle(self) -> None:
        """End the lanes and close the connections that carry nothing now; the next request makes new ones."""
        idle, self._idle = self._idle, []
        _stop(idle)
        self._lanes[:] = [lane for lane in self._lanes if lane not in idle]
        resting = [key for key, route in self._routes.items() if route.is_idle]
        for route in [self._routes.pop(key) for key in resting]:
            await route.aclose()

    # ---- ordinary requests

    def _route(self, key: _Key) -> Route:
        if key not in self._routes:
            scheme, host, _ = key
            proxy = environment_proxy(scheme, host) if self._trust_env else None
            self._proxied[key] = proxy is not None
            verify = self._tls() if scheme == "https" or (proxy or "").startswith("https") else _no_tls()
            limits = httpx.Limits(max_connections=self._max_lanes, max_keepalive_connections=20)
            self._routes[key] = Route(
                httpx.AsyncHTTPTransport(verify=verify, limits=limits)
                if proxy is None
                else ProxiedTransport(proxy, scheme, host, verify=verify, limits=limits)
            )
        return self._routes[key]

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = _ssl_context(self._verify)
        return self._context

    # ---- parts

    async def _send_part(self, request: httpx.Request, body: PartBody, key: _Key) -> httpx.Response:
        limits = request.extensions.get("timeout", {})
        timeouts = Timeouts(limits.get("connect"), limits.get("write"), limits.get("read"))
        part = PartRequest(
            origin=self._origin(request, key),
            addresses=await self._resolve(key, timeouts.connect),
            method=request.method.encode("ascii"),
            target=request.extensions.get("target", request.url.raw_path),
            headers=_headers(request, body),
            body=body,
            timeouts=timeouts,
        )
        lane = await self._acquire(part.origin, limits.get("pool"))
        try:
            answer = await lane.send(part)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            self._addresses.pop(key, None)
            raise
        finally:
            self._release(lane)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=httpx.ByteStream(answer.content),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": answer.reason},
        )

    def _origin(self, request: httpx.Request, key: _Key) -> Origin:
        scheme, host, port = key
        name = request.extensions.get("sni_hostname") or host
        return Origin(host, port, self._tls() if scheme == "https" else None, name)

    async def _resolve(self, key: _Key, limit: float | None) -> list[Address]:
        """Resolve the name here, where waiting can be cancelled, once for all lanes."""
        until, addresses = self._addresses.get(key, (0.0, []))
        if time.monotonic() >= until:
            loop = asyncio.get_running_loop()
            _, host, port = key
            try:
                async with asyncio.timeout(limit):
                    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except TimeoutError:
                raise httpx.ConnectTimeout(f"the name {host} was not resolved in time") from None
            except OSError as error:
                raise httpx.ConnectError(f"the name {host} cannot be resolved: {error}") from error
            addresses = [(family, address) for family, _, _, _, address in found]
            self._addresses[key] = (time.monotonic() + _ADDRESS_TTL, addresses)
        return addresses

    async def _acquire(self, origin: Origin, limit: float | None) -> Lane:
        lane = self._take(origin)
        while lane is None:
            waiter: asyncio.Future[Lane | None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                async with asyncio.timeout(limit):
                    lane = await waiter
            except BaseException as error:
                if waiter.done() and not waiter.cancelled() and (given := waiter.result()) is not None:
                    self._release(given)  # the turn was ours already: pass it on
                if isinstance(error, TimeoutError):
                    raise httpx.PoolTimeout("no lane became free in time") from None
                raise
            finally:
                with contextlib.suppress(ValueError):
                    self._waiters.remove(waiter)
            if lane is None:
                lane = self._take(origin)
        return lane

    def _take(self, origin: Origin) -> Lane | None:
        if self._closed:
            raise httpx.CloseError("the transport is closed")
        if self._pid != os.getpid():  # in a forked child the threads do not exist
            self._pid = os.getpid()
            self._lanes.clear()
            self._idle.clear()
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index].origin == origin:
                return self._idle.pop(index)
        self._lanes[:] = [lane for lane in self._lanes if lane.alive]
        if len(self._lanes) < self._max_lanes:
            lane = Lane(self._chunk, self._keepalive, f"ossmp-lane-{next(_serial)}")
            self._lanes.append(lane)
            return lane
        return self._idle.pop(0) if self._idle else None

    def _release(self, lane: Lane) -> None:
        if lane not in self._lanes:  # closed meanwhile
            return
        # From hand to hand: were it put down, the upload that just used it would take it again, always.
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(lane)
                return
        self._idle.append(lane)


class HttpClient(httpx.AsyncClient):
    """The ordinary client, with a short way for parts.

    Cookies, redirects, event hooks and log lines take a third of a millisecond of Python per request, during
    which every busy lane waits for the GIL. A part needs none of them.
    """

    def __init__(self, transport: LaneTransport, timeout: httpx.Timeout) -> None:
        # No trust_env: .netrc would add an Authorization of its own, and proxies are the transport's
        super().__init__(transport=transport, timeout=timeout, follow_redirects=False, trust_env=False)
        self._lanes = transport

    async def close_idle(self) -> None:
        """Close what carries nothing now."""
        await self._lanes.close_idle()

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """Send a request; a part goes straight to its lane."""
        if not isinstance(request.stream, PartBody):
            return await super().send(request, stream=stream, **options)
        try:
            response = await self._lanes.handle_async_request(request)
            response.request = request
            if not stream:
                await response.aread()
        except httpx.RequestError as error:
            error.request = request
            raise
        return response


def make_http_client(
    connection: Connection | None = None,
    *,
    timeout: float | None = None,
    connect_timeout: float | None = None,
    max_lanes: int = 64,
    chunk: int = CHUNK,
    verify: bool | str | ssl.SSLContext = True,
    trust_env: bool = True,
) -> HttpClient:
    """Build the one HTTP client: lanes for parts, no redirects, the time-outs of ``connection``.

    Parameters
    ----------
    connection : Connection, optional
        Where ``timeout`` and ``connect_timeout`` come from when they are not given.
    timeout : float, optional
        Seconds without a byte accepted or received; 60 by default.
    connect_timeout : float, optional
        Seconds to connect; 10 by default.
    max_lanes, chunk, verify, trust_env
        See :class:`LaneTransport`.

    Examples
    --------
    >>> client = make_http_client(timeout=30)
    >>> client.timeout.write, client.follow_redirects
    (30, False)
    """
    if timeout is None:
        timeout = 60.0 if connection is None else connection.timeout
    if connect_timeout is None:
        connect_timeout = 10.0 if connection is None else connection.connect_timeout
    transport = LaneTransport(max_lanes=max_lanes, chunk=chunk, verify=verify, trust_env=trust_env)
    return HttpClient(transport, httpx.Timeout(timeout, connect=connect_timeout, pool=None))


def _key_of(url: httpx.URL) -> _Key:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _headers(request: httpx.Request, body: PartBody) -> list[tuple[bytes, bytes]]:
    headers = request.headers
    if "transfer-encoding" in headers or headers.get("content-length", str(body.length)) != str(body.length):
        raise httpx.LocalProtocolError(f"a part of {body.length} bytes needs exactly this Content-Length")
    raw = list(headers.raw)
    if "host" not in headers:
        raw.insert(0, (b"Host", request.url.netloc))
    if "content-length" not in headers:
        raw.append((b"Content-Length", str(body.length).encode()))
    return raw


def _ssl_context(verify: bool | str | ssl.SSLContext) -> ssl.SSLContext:
    if isinstance(verify, ssl.SSLContext):
        return verify
    if isinstance(verify, str):
        if not os.path.exists(verify):
            raise InputError(f"the file of certificate authorities {verify} does not exist")
        folder = os.path.isdir(verify)
        context = ssl.create_default_context(
            cafile=None if folder else verify, capath=verify if folder else None
        )
    else:
        context = httpx.create_ssl_context(verify=verify)
        if verify:
            context.load_default_certs()  # a company's own authority is in the system's store
    context.set_alpn_protocols(["http/1.1"])
    return context


def _no_tls() -> ssl.SSLContext:
    """A context that trusts nobody, for transports that never speak TLS: certifi costs 20 ms and 5 MiB."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _stop(lanes: list[Lane]) -> None:
    for lane in lanes:
        lane.stop()


def _join(lanes: list[Lane]) -> None:
    for lane in lanes:
        lane.join(_JOIN)
