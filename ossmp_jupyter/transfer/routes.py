"""Ordinary requests: a transport of httpx that knows whether something is under way on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx

__all__ = ["Route"]


class Route(httpx.AsyncBaseTransport):
    """Hands requests on, and counts those whose answers have not been read to the end."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self._busy = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, so that it can be closed."""
        return self._busy == 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request."""
        self._busy += 1
        try:
            response = await self._transport.handle_async_request(request)
        except BaseException:
            self._busy -= 1
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Counted(response.stream, self._ended)
        return response

    async def aclose(self) -> None:
        """Close all its connections."""
        await self._transport.aclose()

    def _ended(self) -> None:
        self._busy -= 1


class _Counted(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, ended: Callable[[], None]) -> None:
        self._stream = stream
        self._ended: Callable[[], None] | None = ended

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            yield piece

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            ended, self._ended = self._ended, None
            if ended is not None:
                ended()
