"""Clients that mean harm: slow ones, requests within requests, names that are paths, uploads by thousands."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.messages import UploadInfo
from ossmp_jupyter.transfer.client import OSSClient
from tests.localoss.client import Client
from tests.localoss.quiet import wait_until_alone
from tests.localoss.test_robustness import alive, send, signed
from tests.parity.support import connection_to

MIB = 1 << 20


# ------------------------------------------------------------------ slow ones
class Drip:
    """Connections that send a beginning, and then one byte now and then, from a thread."""

    def __init__(self, client: Client, count: int, beginning: bytes) -> None:
        self.sockets = [client.socket() for _ in range(count)]
        self._stop = threading.Event()
        for sock in self.sockets:
            sock.sendall(beginning)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.3):
            for sock in self.sockets:
                with contextlib.suppress(OSError):
                    sock.send(b"x")

    def answers(self, seconds: float) -> list[bytes]:
        """What each was told at the end of its connection."""
        told = []
        for sock in self.sockets:
            sock.settimeout(seconds)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while piece := sock.recv(65536):
                    answer += piece
            told.append(answer)
        return told

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for sock in self.sockets:
            sock.close()


@pytest.fixture(scope="module")
def hasty() -> Iterator[LocalOSS]:
    """A server that waits two seconds for a head."""
    with LocalOSS(arguments=("--head-timeout", "2")) as oss:
        yield oss


def served(client: Client) -> float:
    """Do twenty honest requests; the longest took so many seconds."""
    longest = 0.0
    for number in range(20):
        began = time.monotonic()
        assert client.request("PUT", f"honest{number}", body=b"x" * 1000).status == 200
        longest = max(longest, time.monotonic() - began)
    return longest


def test_slow_loris(hasty: LocalOSS) -> None:
    """500 heads that never end: everybody else is served, and each of the 500 is told off."""
    process = psutil.Process(hasty.pid)
    before, threads = process.memory_info().rss, process.num_threads()
    client = Client(hasty)
    drip = Drip(client, 500, b"GET /demo/k HTTP/1.1\r\nHost: h\r\nX-Slow: ")
    try:
        assert served(client) < 5
        assert process.memory_info().rss - before < 64 * MIB
        told = drip.answers(30)
    finally:
        drip.close()
    assert all(answer == b"" or answer.startswith(b"HTTP/1.1 408 ") for answer in told)
    assert sum(answer != b"" for answer in told) > 250, "most read why they were sent away"
    client.connection.close()
    deadline = time.monotonic() + 20
    while process.num_threads() > threads + 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.num_threads() <= threads + 2, "a connection that has ended keeps its thread"


def test_slow_bodies(hasty: LocalOSS) -> None:
    """A slow body may be a slow line: it is let be, in little memory; broken off, it leaves nothing."""
    process = psutil.Process(hasty.pid)
    client = Client(hasty)
    served(client)
    before = process.memory_info().rss
    drip = Drip(client, 200, signed(client, "PUT", "slow", {}, f"Content-Length: {MIB}"))
    try:
        assert served(client) < 5
        assert process.memory_info().rss - before < 64 * MIB
    finally:
        drip.close()
    client.connection.close()
    wait_until_alone(hasty)
    assert not list((Path(hasty.root) / "tmp").iterdir())


# ------------------------------------------------------------------ requests hidden in requests
_HIDDEN = b"DELETE /demo/kept HTTP/1.1\r\nHost: h\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked"
HEADS = {
    "both lengths": b"Content-Length: 6\r\nTransfer-Encoding: chunked",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 60",
    "a list of lengths": b"Content-Length: 0, 60",
    "a signed length": b"Content-Length: +60",
    "a hexadecimal length": b"Content-Length: 0x3c",
    "a length with an underscore": b"Content-Length: 6_0",
    "a length in other digits": "Content-Length: ٦".encode(),
    "an empty length": b"Content-Length: ",
    "2**63": b"Content-Length: 9223372036854775808",
    "2**64": b"Content-Length: 18446744073709551616",
    "a length below 0": b"Content-Length: -9223372036854775808",
    "chunked twice": _CHUNKED + b"\r\n" + _CHUNKED,
    "chunked, and more": b"Transfer-Encoding: chunked, identity",
    "chunked, misspelt": b"Transfer-Encoding: xchunked",
    "identity": b"Transfer-Encoding: identity",
    "a vertical tab": b"Transfer-Encoding: \x0bchunked",
    "a space before the colon": b"Transfer-Encoding : chunked",
    "a folded line": b"X: y\r\n Transfer-Encoding: chunked",
    "a bare line feed": b"X: y\nTransfer-Encoding: chunked",
    "a bare carriage return": b"X: y\rTransfer-Encoding: chunked",
    "a zero byte": b"X: y\x00z",
}  # fmt: skip
BODIES = {
    "a signed chunk": b"+0\r\n\r\n", "a chunk below 0": b"-1\r\n\r\n", "a prefixed chunk": b"0x0\r\n\r\n",
    "an underscore in a chunk": b"1_0\r\n\r\n", "an empty chunk size": b"\r\n\r\n",
    "a huge chunk": b"f" * 17 + b"\r\n",
    "a chunk that goes on": b"1\r\nabc\r\n0\r\n\r\n", "endless trailers": b"0\r\n" + b"a: b\r\n" * 20_000,
    "an endless extension": b"0;" + b"x" * 20_000,
}  # fmt: skip


@pytest.mark.parametrize("name", [*HEADS, *BODIES])
def test_nothing_is_smuggled(client: Client, name: str) -> None:
    """Lengths that two servers could read in two ways are refused, and the connection ends there."""
    client.request("PUT", "kept", body=b"x")
    client.oss.journal(clear=True)
    more = HEADS.get(name, _CHUNKED)
    raw = signed(client, "PUT", "cover")[:-2] + more + b"\r\n\r\n" + BODIES.get(name, b"") + _HIDDEN
    answer = send(client, raw, half_close=True)
    codes = re.findall(rb"HTTP/1\.1 (\d+) ", answer)
    assert codes == [b"400"], answer[:300]
    assert b"Connection: close" in answer
    assert "DeleteObject" not in {entry["operation"] for entry in client.oss.journal()}
    assert client.request("GET", "kept").body == b"x"


@pytest.mark.parametrize("token", [False, True], ids=["stranger", "owner"])
@pytest.mark.parametrize(
    "body", [_HIDDEN, b"[" * 100_000, b"{" + b" " * 5_000_000], ids=["hidden", "deep", "long"]
)
def test_the_control_endpoint(client: Client, body: bytes, token: bool) -> None:
    """What its requests carry is read to its end or not at all, and never taken for a request."""
    head = f"POST /_localoss/faults HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n"
    if token:
        head += f"x-localoss-token: {client.oss._control_token!s}\r\n"
    answer = send(
        client, head.encode() + b"\r\n" + body + b"GET /_localoss/ping HTTP/1.1\r\n\r\n", half_close=True
    )
    codes = re.findall(rb"HTTP/1\.1 (\d+) ", answer)
    assert codes == ([b"400"] if token else [b"403"]) + [b"403"], answer[:300]
    assert alive(client)


# ------------------------------------------------------------------ names that are paths
@pytest.mark.parametrize(
    "path",
    ["/../../escaped", "/%2e%2e/%2e%2e/escaped", "/..%2f..%2fescaped/k", "//etc/escaped",
     "/demo/../../../escaped", "/demo/%2e%2e%2f%2e%2e%2fescaped", "/demo//etc/escaped",
     "/demo/%5c..%5c..%5cescaped", "/demo/C:%5Cescaped", "/demo/%00escaped", "/demo/%ff%fe",
     "/demo/" + "%2e%2e%2f" * 300 + "escaped", "/demo/" + "e" * 20_000, "/" + "e" * 20_000 + "/k",
     "/demo/e%0d%0aX-Split:%20escaped"],
)  # fmt: skip
def test_paths_do_not_escape(tmp_path: Path, path: str) -> None:
    """Whatever is asked, nothing appears on the disk but in the server's own folders."""
    root = tmp_path / "deep" / "root"
    with LocalOSS(root=root) as oss:
        client = Client(oss)
        for method in ("PUT", "GET", "DELETE"):
            head = f"{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
            answer = send(client, head.encode(), half_close=True)
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 ", b"HTTP/1.1 404 ")), answer[:200]
            assert b"\r\nX-Split" not in answer
        copied = client.request("PUT", "copy", {"partNumber": "1", "uploadId": client.initiate("copy")},
                                headers={"x-oss-copy-source": path})  # fmt: skip
        assert copied.status in (400, 403, 404)
        assert alive(client)
        client.connection.close()
        assert [made.name for made in tmp_path.iterdir()] == ["deep"]
        assert [made.name for made in (tmp_path / "deep").iterdir()] == ["root"]
        assert not [made for made in root.rglob("*") if "escaped" in made.name]


# ------------------------------------------------------------------ very many uploads
@pytest.mark.timeout(120)
def test_ten_thousand_open_uploads(tmp_path: Path) -> None:
    """All pages are listed, an upload goes its normal way, all are aborted, in little memory."""
    with LocalOSS(root=tmp_path) as oss:
        client = Client(oss)
        client.part("first", client.initiate("first"), 1, b"x")
        # what 10,000 Initiates leave behind, without the HTTP between
        source = next((tmp_path / "uploads").iterdir()).read_text()
        oss.stop()
        upload_id = source.partition('"upload_id": "')[2][:32]
        for number in range(10_000):
            fresh = f"{number:032X}"
            text = source.replace(upload_id, fresh).replace('"key": "first"', f'"key": "k{number % 100:02d}"')
            (tmp_path / "uploads" / f"{fresh}.json").write_text(text)
        client.connection.close()

    async def scenario(oss: LocalOSS) -> list[UploadInfo]:
        async with OSSClient(connection_to(oss)) as client:
            found = [upload async for upload in client.iter_uploads()]
            data = os.urandom(300_000)
            assert (await client.multipart_upload("k00", data, part_size="100KiB")).verified
            assert await client.get("k00") == data
            return found

    with LocalOSS(root=tmp_path) as oss:
        found = asyncio.run(scenario(oss))
        assert len({upload.upload_id for upload in found}) == len(found) == 10_001
        client = Client(oss)
        for upload in found:
            assert client.request("DELETE", upload.key, {"uploadId": upload.upload_id}).status == 204
        assert client.request("GET", "", {"uploads": ""}).tags("UploadId") == []
        client.connection.close()
        assert psutil.Process(oss.pid).memory_info().rss < 200 * MIB
        assert not list((tmp_path / "uploads").iterdir())


def test_clients_beyond_number_do_not_end_it(client: Client) -> None:
    """Connections that come and go without a word."""
    for _ in range(8):
        held = [client.socket() for _ in range(50)]
        for number, sock in enumerate(held):
            if number % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
    assert alive(client)
