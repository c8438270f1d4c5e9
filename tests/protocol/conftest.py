from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.connection import connect
from ossmp_jupyter.oss.rest import RestClient

_COUNTER = itertools.count(1)
Opener = Callable[..., AbstractAsyncContextManager[RestClient]]


class ToLoopback(httpx.AsyncHTTPTransport):
    """Connects to the loopback address whatever the host name; names below localhost need no resolver."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        wanted = request.url.raw_path
        request.url = request.url.copy_with(host="127.0.0.1")
        assert request.url.raw_path == wanted
        return await super().handle_async_request(request)


@pytest.fixture(scope="session")
def local() -> Iterator[LocalOSS]:
    with LocalOSS(buckets=("demo",), arguments=("--allow-private-callback",)) as oss:
        yield oss


@pytest.fixture
def bucket() -> str:
    """A bucket name that no other test of this server uses."""
    return f"test-{next(_COUNTER)}"


@pytest.fixture
def opened(local: LocalOSS) -> Opener:
    """Open a client to the embedded OSS, in any style: ``async with opened("virtual", signature="v1")``."""

    @asynccontextmanager
    async def opening(style: str = "path", bucket: str = "demo", **options: Any) -> AsyncIterator[RestClient]:
        port = urlsplit(local.endpoint).port
        endpoint, more = {
            "path": (local.endpoint, {}),
            "virtual": (f"http://localhost:{port}", {"path_style": False}),
            "cname": (f"http://{bucket}.localhost:{port}", {"cname": True}),
        }[style]
        given: dict[str, Any] = {
            "endpoint": endpoint,
            "region": local.region,
            "access_key_id": local.access_key_id,
            "access_key_secret": local.access_key_secret,
            "environ": {},
            **more,
            **options,
        }
        if "credentials" in options:
            del given["access_key_id"], given["access_key_secret"]
        async with httpx.AsyncClient(transport=ToLoopback(), trust_env=False) as http:
            yield RestClient(connect(**given), http)

    return opening
