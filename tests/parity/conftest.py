"""One embedded OSS per module; an asynchronous client of it, an application that OSS calls back."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.client import OSSClient
from tests.clients.conftest import node
from tests.parity.net import Authority, Web, serving
from tests.parity.support import Run, connection_to, payload

__all__ = ["node"]

_names = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalOSS]:
    with LocalOSS(arguments=("--allow-private-callback",)) as running:
        yield running


@pytest.fixture
def oss(server: LocalOSS) -> Iterator[LocalOSS]:
    """The module's server, with an empty journal and no faults."""
    server.set_faults([])
    server.journal(clear=True)
    yield server
    server.set_faults([])
    server.set_bandwidth(None)
    manager.stop_engine()
    manager.set_default_connection(None)


@pytest.fixture
def connection(oss: LocalOSS) -> Connection:
    return connection_to(oss)


@pytest.fixture
def run(connection: Connection) -> Run:
    """Run a coroutine function of a client on a loop of its own."""

    def runner(scenario: Callable[[OSSClient], Coroutine[Any, Any, Any]]) -> Any:
        async def whole() -> Any:
            async with OSSClient(connection) as client:
                return await scenario(client)

        return asyncio.run(whole())

    return runner


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """An object name of the test's own."""
    return f"{request.function.__name__}/{next(_names)}.bin"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of five parts of the smallest size."""
    path = tmp_path / "source.bin"
    path.write_bytes(payload())
    return path


@pytest.fixture
def application() -> Iterator[Web]:
    """The user's application: answers JSON at /good, an error at /bad, no JSON at /words."""

    def answer(handler: Any, body: bytes) -> tuple[int, bytes]:
        if "bad" in handler.path:
            return 500, b"no"
        if "words" in handler.path:
            return 200, b"thank you"
        return 200, json.dumps({"Status": "OK", "path": handler.path}).encode()

    with serving(Web(answer)) as web:
        yield web


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))
