"""The proxy that the environment names: which one it is, and what it says about itself when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import httpx

from ossmp_jupyter.errors import InputError, TransportError
from ossmp_jupyter.oss._failures import PATIENCE, dripping
from ossmp_jupyter.oss.veil import veil_address
from ossmp_jupyter.transfer.lane_body import PartBody

__all__ = ["ProxiedTransport", "environment_proxy"]


def environment_proxy(scheme: str, host: str) -> str | None:
    """Return the proxy that the environment names for this host; loopback never goes through one."""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return None
    if host == "localhost" or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return veil_address(proxy)


class ProxiedTransport(httpx.AsyncBaseTransport):
    """Requests by way of a proxy. What it refuses is an error that names it, without its password.

    Parameters
    ----------
    proxy : str
        Its address, perhaps with user name and password.
    scheme, host : str
        Where the requests go.
    verify, limits
        As httpx takes them.

    Raises
    ------
    InputError
        If it is no proxy that httpx can use.
    """

    def __init__(
        self, proxy: str, scheme: str, host: str, *, verify: ssl.SSLContext, limits: httpx.Limits
    ) -> None:
        self._variable = f"{scheme.upper()}_PROXY"
        self._name, self._login = _shown(proxy)
        made = None
        # their messages may hold its password
        with contextlib.suppress(ImportError, ValueError, httpx.InvalidURL):
            made = httpx.AsyncHTTPTransport(verify=verify, limits=limits, proxy=proxy)
        if made is None:
            raise InputError(
                f"the proxy of the environment cannot be used for {scheme}://{host}",
                hint="use an http:// or https:// proxy (socks5:// needs the package socksio)",
            )
        self._inner = made

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises
        ------
        TransportError
            If the proxy cannot be reached, or refuses.
        """
        refusal: TransportError | None = None
        try:
            response = await self._send(request)
        except httpx.ProxyError as error:
            refusal = self._refusal(str(error))
        except httpx.ConnectError as error:
            if _is_tls(error):
                error.__traceback__ = None
                raise
            refusal = TransportError(
                f"the proxy {self._name} cannot be reached",
                code="NotConnected",
                hint=f"check {self._variable} and NO_PROXY",
            )
        except BaseException as error:
            error.__traceback__ = None  # the frames below show headers, the proxy's password included
            raise
        else:
            if response.status_code != 407:
                return response
            await response.aclose()
            refusal = self._refusal("407")
        raise refusal

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """Send; neither the proxy's consent nor the answer to a part may come byte by byte for ever.

        Waiting for a free connection, and the part itself, take the time they take.
        """
        if not isinstance(request.stream, PartBody):
            return await self._inner.handle_async_request(request)
        limits = request.extensions.get("timeout", {})
        allowed = 0.0
        try:
            async with asyncio.timeout(None) as limit:

                def within(seconds: float | None) -> None:
                    nonlocal allowed
                    allowed = PATIENCE * (seconds or 0.0)
                    limit.reschedule(asyncio.get_running_loop().time() + allowed if seconds else None)

                async def trace(event: str, _: object) -> None:
                    if event == "connection.connect_tcp.started":
                        within(limits.get("connect"))

                request.extensions = {**request.extensions, "trace": trace}
                request.stream = _Watched(request.stream, within, limits.get("read"))
                return await self._inner.handle_async_request(request)
        except TimeoutError:
            raise dripping(f"the proxy {self._name}", "a part", allowed) from None

    def _refusal(self, said: str) -> TransportError:
        """``said`` begins with the status of the proxy's answer."""
        if said.startswith("407"):
            what = "refused the user name or password" if self._login else "asks for user name and password"
            form = "http://user:password@host:port (%40 stands for @)"
            return TransportError(
                f"the proxy {self._name} {what} (HTTP 407)",
                code="NotConnected",
                retryable=False,
                hint=f"{'correct' if self._login else 'write'} them in {self._variable}, as {form}",
            )
        status = f" (HTTP {said[:3]})" if said[:3].isdecimal() else ""
        return TransportError(
            f"the proxy {self._name} refused the way{status}",
            code="NotConnected",
            hint=f"check {self._variable} and NO_PROXY",
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


class _Watched(httpx.AsyncByteStream):
    """A part on its way: no time limit while it goes out, and then ``seconds`` for the answer."""

    def __init__(self, body: PartBody, within: Callable[[float | None], None], seconds: float | None) -> None:
        self._body, self._within, self._seconds = body, within, seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._within(None)
        async for piece in self._body:
            yield piece
        self._within(self._seconds)


def _shown(proxy: str) -> tuple[str, bool]:
    """Scheme, host and port of a proxy, and whether its address holds a user name or password."""
    try:
        parts = urlsplit(proxy)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "of the environment", "@" in proxy
    where = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{where}{f':{port}' if port else ''}", "@" in proxy


def _is_tls(error: BaseException) -> bool:
    cause: BaseException | None = error
    seen: list[BaseException] = []
    while cause is not None and cause not in seen:
        if isinstance(cause, ssl.SSLError):
            return True
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return False
