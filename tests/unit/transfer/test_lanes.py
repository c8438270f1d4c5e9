"""Lanes at work: bytes, checksums, reuse, the pool, the end of threads, and ordinary transports."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time

import httpx
import psutil
import pytest

from ossmp_jupyter.errors import InputError, SourceChanged
from ossmp_jupyter.oss.checksum import crc64
from ossmp_jupyter.transfer.lanes import LaneTransport, PartBody, make_http_client
from tests.unit.transfer.lanes_support import (
    OK,
    Bytes,
    Peer,
    Server,
    Zeros,
    answer_all,
    client,
    first_requests_together,
    put,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def lane_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("ossmp-lane-")}


async def test_parts_arrive_whole_over_kept_connections() -> None:
    data, got = os.urandom(3_000_017), {}

    def handler(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            got[request[0]["target"]] = (request[0]["host"], request[1])
            peer.send(OK)

    size = 300_007
    with Server(handler) as server:
        async with client(LaneTransport(max_lanes=4, chunk=65536)) as http:
            bodies = [
                PartBody(Bytes(data, limit=50_000), at, min(size, len(data) - at))
                for at in range(0, len(data), size)
            ]
            answers = await asyncio.gather(
                *(put(http, f"{server.url}/b/k?n={i}", body) for i, body in enumerate(bodies))
            )
            assert [answer.status_code for answer in answers] == [200] * len(bodies)
        assert len(server.peers) <= 4
        for i, body in enumerate(bodies):
            host, received = got[f"/b/k?n={i}"]
            assert received == data[i * size : (i + 1) * size]
            assert server.url.endswith(host)
            assert body.sent == body.length == len(received)
            assert body.crc64 == crc64(received)


async def test_a_part_of_no_bytes() -> None:
    with Server(answer_all) as server:
        async with client(LaneTransport()) as http:
            body = PartBody(Bytes(b""), 0, 0)
            assert (await put(http, server.url, body)).status_code == 200
            assert (body.sent, body.crc64) == (0, 0)


async def test_the_exact_target_and_headers_go_out() -> None:
    heads = []

    def handler(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            heads.append(request[0])
            peer.send(OK)

    with Server(handler) as server:
        async with client(LaneTransport()) as http:
            request = httpx.Request(
                "PUT", f"{server.url}/b/x", headers={"x-oss-a": "1", "Host": "b.example"},
                stream=PartBody(Zeros(), 0, 3), extensions={"target": b"/b/../%2e/k?partNumber=1"},
            )  # fmt: skip
            await http.send(request)
    assert heads[0]["target"] == "/b/../%2e/k?partNumber=1"
    assert (heads[0]["host"], heads[0]["x-oss-a"], heads[0]["content-length"]) == ("b.example", "1", "3")


@pytest.mark.parametrize("headers", [{"Content-Length": "4"}, {"Transfer-Encoding": "chunked"}])
async def test_a_length_that_differs_is_refused(headers: dict[str, str]) -> None:
    async with client(LaneTransport()) as http:
        with pytest.raises(httpx.LocalProtocolError, match="Content-Length"):
            await put(http, "http://127.0.0.1:9/", PartBody(Zeros(), 0, 5), headers)


async def test_a_header_cannot_smuggle_a_line() -> None:
    with Server(answer_all) as server:
        async with client(LaneTransport()) as http:
            with pytest.raises(httpx.LocalProtocolError):
                await put(http, server.url, PartBody(Zeros(), 0, 5), {"x-oss-meta": "a\r\nx-evil: 1"})
            assert (await put(http, server.url, PartBody(Zeros(), 0, 5))).status_code == 200


async def test_a_source_that_ends_early_is_source_changed() -> None:
    with Server(answer_all) as server:
        async with client(LaneTransport(max_lanes=1, chunk=1000)) as http:
            body = PartBody(Bytes(b"x" * 5500), 0, 9000)
            with pytest.raises(SourceChanged, match="byte 5500"):
                await put(http, server.url, body)
            assert body.crc64 is None
            assert (await put(http, server.url, PartBody(Zeros(), 0, 9000))).status_code == 200


async def test_what_a_source_raises_comes_through_as_it_is() -> None:
    class Broken:
        def read_into(self, offset: int, view: memoryview) -> int:
            raise error

    error = OSError(5, "Input/output error")
    with Server(answer_all) as server:
        async with client(LaneTransport(max_lanes=1)) as http:
            with pytest.raises(OSError, match="Input/output") as caught:
                await put(http, server.url, PartBody(Broken(), 0, 9000))
            assert caught.value is error
            assert (await put(http, server.url, PartBody(Zeros(), 0, 9))).status_code == 200


async def test_the_lane_used_last_is_used_first() -> None:
    with Server(first_requests_together(3)) as server:
        transport = LaneTransport(max_lanes=8)
        async with client(transport) as http:
            await asyncio.gather(*(put(http, server.url, PartBody(Zeros(), 0, 9)) for _ in range(3)))
            assert transport.lanes == 3
            peers = len(server.peers)
            for _ in range(10):
                await put(http, server.url, PartBody(Zeros(), 0, 9))
            assert transport.lanes == 3
            assert len(server.peers) == peers == 3


async def test_never_more_than_max_lanes_and_all_get_their_turn() -> None:
    busy, most, lock, three = 0, 0, threading.Lock(), threading.Event()

    def handler(peer: Peer) -> None:
        nonlocal busy, most
        while peer.head() is not None:
            with lock:
                busy += 1
                most = max(most, busy)
                if busy == 3:
                    three.set()
            three.wait(20)
            time.sleep(0.01)  # a fourth would come now
            peer.file.read(9)
            with lock:
                busy -= 1
            peer.send(OK)

    with Server(handler) as server:
        transport = LaneTransport(max_lanes=3)
        async with client(transport) as http:
            await asyncio.gather(*(put(http, server.url, PartBody(Zeros(), 0, 9)) for _ in range(20)))
            assert transport.lanes == 3
    assert most == 3


async def test_pool_timeout_and_a_cancelled_waiter() -> None:
    gate, begun = threading.Event(), threading.Event()

    def handler(peer: Peer) -> None:
        while peer.request() is not None:
            begun.set()
            gate.wait(20)
            peer.send(OK)

    with Server(handler) as server:
        async with client(LaneTransport(max_lanes=1)) as http:
            first = asyncio.create_task(put(http, server.url, PartBody(Zeros(), 0, 9)))
            assert await asyncio.to_thread(begun.wait, 20)
            with pytest.raises(httpx.PoolTimeout):
                await put(http, server.url, PartBody(Zeros(), 0, 9), pool=0.05)
            second = asyncio.create_task(put(http, server.url, PartBody(Zeros(), 0, 9)))
            third = asyncio.create_task(put(http, server.url, PartBody(Zeros(), 0, 9)))
            await asyncio.sleep(0.05)
            second.cancel()
            gate.set()
            assert (await first).status_code == 200
            assert (await third).status_code == 200
            with pytest.raises(asyncio.CancelledError):
                await second


async def test_one_lane_serves_two_origins() -> None:
    with Server(answer_all) as one, Server(answer_all) as two:
        async with client(LaneTransport(max_lanes=1)) as http:
            for server in (one, two, one):
                assert (await put(http, server.url, PartBody(Zeros(), 0, 9))).status_code == 200
        assert (len(one.peers), len(two.peers)) == (2, 1)


def test_a_client_outlives_its_loop() -> None:
    with Server(answer_all) as server:
        transport = LaneTransport(max_lanes=2)

        async def once() -> int:
            request = httpx.Request("PUT", server.url, stream=PartBody(Zeros(), 0, 100_000))
            return (await transport.handle_async_request(request)).status_code

        assert [asyncio.run(once()) for _ in range(3)] == [200, 200, 200]
        assert transport.lanes == 1
        asyncio.run(transport.aclose())


async def test_aclose_leaves_no_thread_and_no_socket() -> None:
    process = psutil.Process()
    with Server(first_requests_together(5)) as server:
        port = server.listener.getsockname()[1]

        def ours() -> int:
            return sum(1 for c in process.net_connections("tcp") if c.raddr and c.raddr.port == port)

        before = lane_threads()
        http = client(LaneTransport(max_lanes=5))
        await asyncio.gather(*(put(http, server.url, PartBody(Zeros(), 0, 9)) for _ in range(5)))
        assert len(lane_threads() - before) == 5
        assert ours() == 5
        await http.aclose()
        assert lane_threads() <= before
        assert ours() == 0


async def test_aclose_ends_requests_under_way_and_those_that_wait() -> None:
    def handler(peer: Peer) -> None:
        peer.head()
        threading.Event().wait(0.2)
        peer.request()

    before = lane_threads()
    with Server(handler) as server:
        http = client(LaneTransport(max_lanes=1))
        tasks = [asyncio.create_task(put(http, server.url, PartBody(Zeros(), 0, 1 << 30))) for _ in range(2)]
        await asyncio.sleep(0.1)
        await http.aclose()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, httpx.TransportError) for result in results), results
    assert lane_threads() <= before


def test_threads_of_a_forgotten_transport_end() -> None:
    before = lane_threads()
    with Server(answer_all) as server:

        async def once() -> None:
            http = client(LaneTransport())
            await put(http, server.url, PartBody(Zeros(), 0, 9))

        asyncio.run(once())
        gc.collect()
        for thread in lane_threads() - before:
            thread.join(10)
        assert lane_threads() <= before


async def test_an_idle_lane_closes_its_connection() -> None:
    closed = threading.Event()

    def handler(peer: Peer) -> None:
        answer_all(peer)
        closed.set()

    with Server(handler) as server:
        async with client(LaneTransport(keepalive=0.05)) as http:
            await put(http, server.url, PartBody(Zeros(), 0, 9))
            assert await asyncio.to_thread(closed.wait, 10)
            assert (await put(http, server.url, PartBody(Zeros(), 0, 9))).status_code == 200


async def test_other_transports_can_send_the_body_too() -> None:
    data, got = os.urandom(2_500_000), []

    def handler(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            got.append(request[1])
            peer.send(OK)

    with Server(handler) as server:
        async with httpx.AsyncClient(trust_env=False) as http:
            body = PartBody(Bytes(data), 5, 2_400_000)
            await put(http, server.url, body, {"Host": "x", "Content-Length": "2400000"})
        assert got == [data[5:2_400_005]]
        assert (body.sent, body.crc64) == (2_400_000, crc64(got[0]))
        with pytest.raises(SourceChanged):
            _ = [piece async for piece in PartBody(Bytes(b"abc"), 0, 4)]


async def test_parts_take_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    got = []

    def handler(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            got.append((request[0]["target"], len(request[1])))
            peer.send(OK)

    with Server(handler) as proxy, Server(answer_all) as local:
        for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "no_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", proxy.url)
        transport = LaneTransport()
        async with client(transport) as http:
            body = PartBody(Zeros(), 0, 1_500_000)
            answer = await put(
                http, "http://b.oss.invalid/k", body, {"Host": "b.oss.invalid", "Content-Length": "1500000"}
            )
            assert answer.status_code == 200
            assert (body.sent, transport.lanes) == (1_500_000, 0)
            await http.get("http://b.oss.invalid/other")
            assert (await put(http, local.url, PartBody(Zeros(), 0, 9))).status_code == 200
            assert transport.lanes == 1  # loopback never passes a proxy
        assert got == [("http://b.oss.invalid/k", 1_500_000), ("http://b.oss.invalid/other", 0)]
        monkeypatch.setenv("no_proxy", "oss.invalid")
        async with client(LaneTransport()) as http:
            with pytest.raises(httpx.ConnectError, match=r"b\.oss\.invalid"):
                await put(http, "http://b.oss.invalid/k", PartBody(Zeros(), 0, 9))


async def test_a_proxy_that_cannot_be_used_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "gopher://me:hunter2@proxy")
    async with client(LaneTransport()) as http:
        with pytest.raises(InputError, match="proxy") as caught:
            await put(http, "http://b.oss.invalid/k", PartBody(Zeros(), 0, 9))
        assert "hunter2" not in str(caught.value)


async def test_make_http_client() -> None:
    async with make_http_client(timeout=7, connect_timeout=3) as http:
        assert (http.timeout.connect, http.timeout.read, http.timeout.write, http.timeout.pool) == (
            3,
            7,
            7,
            None,
        )
        assert not http.follow_redirects

    def handler(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with Server(handler) as server:
        async with make_http_client(timeout=20) as http:
            for stream in (False, True):
                request = httpx.Request("PUT", server.url, stream=PartBody(Zeros(), 0, 9))
                answer = await http.send(request, stream=stream)
                assert (answer.request, await answer.aread()) == (request, b"ok")
                assert (await http.get(server.url)).text == "ok"
        request = httpx.Request("PUT", server.url, stream=PartBody(Zeros(), 0, 9))
        with pytest.raises(httpx.CloseError) as caught:
            await http.send(request)
        assert caught.value.request is request
    for wrong in ({"max_lanes": 0}, {"chunk": 0}):
        with pytest.raises(InputError):
            LaneTransport(**wrong)


SCRIPT = """
import asyncio, os, resource, socket, sys, threading
sys.path.insert(0, sys.argv[1])
from tests.unit.transfer.lanes_support import Server, Zeros, answer_all, client, put
from ossmp_jupyter.transfer.lanes import LaneTransport, PartBody
"""


def run_script(code: str, *arguments: str) -> str:
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
    command = [sys.executable, "-c", SCRIPT + code, root, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss has other units elsewhere")
def test_memory_stays_within_two_chunks_per_lane() -> None:
    discard = (
        "def handler(peer):\n"
        "    buffer = bytearray(65536)\n"
        "    while (head := peer.head()) is not None:\n"
        "        left = int(head['content-length'])\n"
        "        while left:\n"
        "            left -= peer.file.readinto(memoryview(buffer)[:min(left, 65536)])\n"
        "        peer.send(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')\n"
    )
    out = run_script(
        discard
        + """
async def main():
    with Server(handler) as server:
        async with client(LaneTransport(max_lanes=8)) as http:
            await http.get(server.url, headers={"content-length": "0"})
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            await asyncio.gather(*(put(http, server.url, PartBody(Zeros(), 0, 32 << 20)) for _ in range(8)))
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
asyncio.run(main())
"""
    )
    assert int(out) / 1024 <= 2 * 1 * 8 + 16


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_hang() -> None:
    out = run_script(
        """
with Server(answer_all) as server:
    transport = LaneTransport(max_lanes=1)
    async def once():
        import httpx
        request = httpx.Request("PUT", server.url, stream=PartBody(Zeros(), 0, 9))
        return (await asyncio.wait_for(transport.handle_async_request(request), 20)).status_code
    asyncio.run(once())
    if (pid := os.fork()) == 0:
        code = 1
        try:
            code = 0 if asyncio.run(once()) == 200 else 2
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    asyncio.run(transport.aclose())
"""
    )
    assert out.strip() == "0"
