"""Answers of a broken or malicious server: one clear error, bounded memory and time."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from ossmp_jupyter.errors import OssmpError
from ossmp_jupyter.oss.connection import connect
from ossmp_jupyter.transfer.client import OSSClient
from ossmp_jupyter.transfer.request import prepare_request
from ossmp_jupyter.transfer.retry import RetryPolicy
from ossmp_jupyter.transfer.upload import UploadTask
from tests.faults.auditor import check_sentence
from tests.faults.hostile import ANSWERS, GOOD_INITIATE, ID, SECRET, TOKEN, Answer, HostileServer, Peak, plain
from tests.faults.world import PART, VirtualClock

_MEMORY = 64 << 20


@pytest.fixture
def serve() -> Generator[Callable[[Answer], HostileServer]]:
    servers: list[HostileServer] = []

    def start(answer: Answer) -> HostileServer:
        servers.append(HostileServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def _upload(port: int, file: Path, *, timeout: float = 5.0) -> OssmpError:
    async def go() -> OssmpError:
        connection = connect(
            endpoint=f"http://127.0.0.1:{port}", region="cn-hangzhou", bucket="demo",
            access_key_id="canary-id", access_key_secret=SECRET, security_token=TOKEN, timeout=timeout,
        )  # fmt: skip
        async with OSSClient(connection) as client:
            request = prepare_request(connection, str(file), "oss://demo/k", part_size=PART, simple=False)
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


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(b"s" * 3 * PART)
    return path


@pytest.mark.parametrize("name", ANSWERS)
def test_hostile_answer(serve: Callable[[Answer], HostileServer], file: Path, name: str) -> None:
    server = serve(ANSWERS[name])
    peak = Peak()
    timeout = 0.3 if name == "endless-interim-answers" else 5.0
    error = _upload(server.port, file, timeout=timeout)
    assert peak.grown() < _MEMORY, "an answer must not fill the memory"
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
    begun = iter([plain(GOOD_INITIATE)])
    server = serve(lambda: iter([answer]) if (answer := next(begun, None)) else ANSWERS[name]())
    peak = Peak()
    error = _upload(server.port, file)
    check_sentence(error)
    assert "UploadPart" in str(error)
    assert peak.grown() < _MEMORY


def test_an_answer_that_a_proxy_has_compressed(serve: Callable[[Answer], HostileServer], file: Path) -> None:
    """Not asked for, understood nevertheless: the next request goes out."""
    compressed = plain(gzip.compress(GOOD_INITIATE), headers=ID + b"Content-Encoding: gzip\r\n")
    begun = iter([compressed])
    refusal = plain(b"<Error><Code>Enough</Code></Error>", b"400 Bad Request")
    server = serve(lambda: iter([next(begun, refusal)]))
    error = _upload(server.port, file)
    assert error.code == "Enough" and "UploadPart" in str(error)
