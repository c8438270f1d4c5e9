"""One exchange against servers that answer early, late, never, wrongly, or hang up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.transfer.lanes import LaneTransport, PartBody
from tests.unit.transfer.lanes_support import CERTIFICATE, OK, Peer, Server, Zeros, answer_all, client, put

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


BIG = 256 << 20  # more than all socket buffers hold
DENIED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\n<Err>"


@pytest.fixture(params=["http", "https"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "https")


def lanes(**options: object) -> LaneTransport:
    return LaneTransport(verify=str(CERTIFICATE), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc", b"abc"),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
async def test_kinds_of_answers(answer: bytes, content: bytes, tls: bool) -> None:
    stays = b"close" not in answer and b"1.0" not in answer

    def handler(peer: Peer) -> None:
        while peer.request() is not None:
            for at in range(0, len(answer), 7):  # in pieces, as a network may bring it
                peer.send(answer[at : at + 7])
            if not stays:
                return

    with Server(handler, tls=tls) as server:
        async with client(lanes()) as http:
            for _ in range(2):
                got = await put(http, server.url, PartBody(Zeros(), 0, 100_000))
                assert (got.content, got.status_code) == (content, 204 if not content else 200)
        assert len(server.peers) == (1 if stays else 2)


async def test_an_error_while_still_sending_is_returned_at_once(tls: bool) -> None:
    done = threading.Event()

    def handler(peer: Peer) -> None:
        if peer.number:
            return answer_all(peer)
        peer.head()
        peer.file.read(1000)
        peer.send(DENIED)
        done.wait(20)  # reads nothing more, and does not hang up

    with Server(handler, tls=tls) as server:
        async with client(lanes(max_lanes=1)) as http:
            body = PartBody(Zeros(), 0, BIG)
            answer = await put(http, server.url, body)
            assert (answer.status_code, answer.content) == (403, b"<Err>")
            assert body.sent < BIG
            assert (await put(http, server.url, PartBody(Zeros(), 0, 9))).status_code == 200
            done.set()
    assert len(server.peers) == 2


async def test_an_answer_behind_a_broken_pipe_is_found(tls: bool) -> None:
    def handler(peer: Peer) -> None:
        peer.head()
        peer.file.read(1000)
        peer.send(DENIED)
        peer.sock.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        # closing with unread bytes sends RST: the client's next send fails

    with Server(handler, tls=tls) as server:
        async with client(lanes()) as http:
            answer = await put(http, server.url, PartBody(Zeros(), 0, BIG))
            assert (answer.status_code, answer.content) == (403, b"<Err>")


async def test_an_answer_that_came_before_the_reset_during_a_slow_read() -> None:
    class Slow(Zeros):
        def read_into(self, offset: int, view: memoryview) -> int:
            if offset:
                hung_up.wait(20)
            return super().read_into(offset, view)

    hung_up = threading.Event()

    def handler(peer: Peer) -> None:
        peer.head()
        peer.send(DENIED)
        peer.close()
        hung_up.set()

    with Server(handler) as server:
        async with client(LaneTransport(chunk=65536)) as http:
            answer = await put(http, server.url, PartBody(Slow(), 0, BIG))
            assert answer.status_code == 403


async def test_a_connection_closed_while_idle_is_replaced(tls: bool) -> None:
    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(OK)

    with Server(handler, tls=tls) as server:
        async with client(lanes(max_lanes=1)) as http:
            for _ in range(4):
                assert (await put(http, server.url, PartBody(Zeros(), 0, 100_000))).status_code == 200
                server.threads[-1].join(10)
    assert len(server.peers) == 4


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_kept_connection_that_dies_under_the_request_is_replaced_once(how: str) -> None:
    bodies = []

    def handler(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            bodies.append(request[1])
            peer.send(OK)
            if peer.number == 0:
                peer.file.read(10)  # the next request has begun
                return peer.reset() if how == "reset" else None

    with Server(handler) as server:
        async with client(LaneTransport(max_lanes=1)) as http:
            await put(http, server.url, PartBody(Zeros(), 0, 9))
            body = PartBody(Zeros(), 0, 32 << 20)
            assert (await put(http, server.url, body)).status_code == 200
    assert [len(body) for body in bodies] == [9, 32 << 20]
    assert (body.sent, len(server.peers)) == (32 << 20, 2)


async def test_a_new_connection_that_dies_is_an_error(tls: bool) -> None:
    def handler(peer: Peer) -> None:
        peer.file.read(10)
        peer.reset()

    with Server(handler, tls=tls) as server:
        async with client(lanes()) as http:
            with pytest.raises((httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError)):
                await put(http, server.url, PartBody(Zeros(), 0, BIG))
    assert len(server.peers) == 1


async def test_no_second_try_once_the_answer_has_begun() -> None:
    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")

    with Server(handler) as server:
        async with client(LaneTransport(max_lanes=1)) as http:
            await put(http, server.url, PartBody(Zeros(), 0, 9))
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                await put(http, server.url, PartBody(Zeros(), 0, 9))
    assert len(server.peers) == 1


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", b"\x15\x03\x01"],
)
async def test_what_is_not_http_is_an_error(answer: bytes) -> None:
    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(answer)

    with Server(handler) as server:
        async with client(LaneTransport()) as http:
            with pytest.raises(httpx.RemoteProtocolError):
                await put(http, server.url, PartBody(Zeros(), 0, 9))


async def test_an_endless_answer_is_cut_off() -> None:
    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.send(b"x" * 65536)

    with Server(handler) as server:
        async with client(LaneTransport()) as http:
            with pytest.raises(httpx.RemoteProtocolError, match="1 MiB"):
                await put(http, server.url, PartBody(Zeros(), 0, 9))


# ---- time-outs


def hold(release: threading.Event, *, read: int = 0) -> object:
    def handler(peer: Peer) -> None:
        if peer.number:
            return answer_all(peer)
        peer.head()
        peer.file.read(read)
        release.wait(30)

    return handler


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def test_a_server_that_stops_reading_is_a_write_timeout(tls: bool, release: threading.Event) -> None:
    with Server(hold(release), tls=tls) as server:  # type: ignore[arg-type]
        async with client(lanes()) as http:
            body = PartBody(Zeros(), 0, BIG)
            with pytest.raises(httpx.WriteTimeout):
                await put(http, server.url, body, write=0.3)
            assert body.sent < BIG
            assert (await put(http, server.url, PartBody(Zeros(), 0, 9))).status_code == 200
            release.set()


async def test_a_slow_line_is_not_a_stall(tls: bool) -> None:
    """The whole takes longer than the stall limit, but bytes keep going."""
    size, began, took = 1 << 20, time.monotonic(), 0.0

    def handler(peer: Peer) -> None:
        nonlocal took
        peer.head()
        for _ in range(size // 32768):
            peer.file.read(32768)
            time.sleep(0.15)
        took = time.monotonic() - began
        peer.send(OK)

    with Server(handler, tls=tls, buffer=16384) as server:
        async with client(lanes()) as http:
            assert (await put(http, server.url, PartBody(Zeros(), 0, size), write=3.0)).status_code == 200
    assert took > 4.0


async def test_no_answer_is_a_read_timeout(tls: bool, release: threading.Event) -> None:
    with Server(hold(release, read=9), tls=tls) as server:  # type: ignore[arg-type]
        async with client(lanes()) as http:
            with pytest.raises(httpx.ReadTimeout):
                await put(http, server.url, PartBody(Zeros(), 0, 9), read=0.2)
            assert (await put(http, server.url, PartBody(Zeros(), 0, 9))).status_code == 200
            release.set()


@contextlib.contextmanager
def deaf_port() -> Iterator[str]:
    """An address that accepts no connection: its queue is full."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.1)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_no_connection_is_a_connect_timeout() -> None:
    with deaf_port() as url:
        async with client(LaneTransport()) as http:
            with pytest.raises(httpx.ConnectTimeout):
                await put(http, url, PartBody(Zeros(), 0, 9), connect=0.3)


async def test_a_refused_connection_and_an_unknown_name() -> None:
    async with client(LaneTransport()) as http:
        with socket.socket() as held:  # nobody listens, and nobody else can
            held.bind(("127.0.0.1", 0))
            with pytest.raises(httpx.ConnectError):
                await put(http, f"http://127.0.0.1:{held.getsockname()[1]}", PartBody(Zeros(), 0, 9))
        with pytest.raises(httpx.ConnectError, match=r"oss\.invalid"):
            await put(http, "http://oss.invalid", PartBody(Zeros(), 0, 9))


async def test_a_handshake_without_an_answer_is_a_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with client(lanes()) as http:
            with pytest.raises(httpx.ConnectTimeout):
                await put(
                    http, f"https://127.0.0.1:{silent.getsockname()[1]}", PartBody(Zeros(), 0, 9), connect=0.3
                )


# ---- cancelling


async def cancel_in_flight(http: httpx.AsyncClient, url: str, source: Zeros, size: int) -> None:
    task = asyncio.create_task(put(http, url, PartBody(source, 0, size)))
    await asyncio.sleep(0.3)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(task), 10)
    reads = source.reads
    await asyncio.sleep(0.05)
    assert source.reads == reads  # the thread has let go of the source


@pytest.mark.parametrize("size", [9, BIG], ids=["waiting for the answer", "sending"])
async def test_cancel_comes_back_at_once_and_the_lane_goes_on(
    size: int, tls: bool, release: threading.Event
) -> None:
    with Server(hold(release), tls=tls) as server:  # type: ignore[arg-type]
        transport = lanes(max_lanes=1)
        async with client(transport) as http:
            await cancel_in_flight(http, server.url, Zeros(), size)
            assert (await put(http, server.url, PartBody(Zeros(), 0, 100_000))).status_code == 200
            assert transport.lanes == 1
            release.set()


async def test_cancel_while_connecting_and_in_the_handshake() -> None:
    with Server(answer_all) as server, deaf_port() as deaf:
        async with client(lanes(max_lanes=1)) as http:
            await cancel_in_flight(http, deaf, Zeros(), 9)
            with socket.create_server(("127.0.0.1", 0)) as silent:
                await cancel_in_flight(http, f"https://127.0.0.1:{silent.getsockname()[1]}", Zeros(), 9)
            assert (await put(http, server.url, PartBody(Zeros(), 0, 9))).status_code == 200


async def test_cancelled_at_any_moment_the_lanes_stay_whole() -> None:
    with Server(answer_all) as server:
        transport = LaneTransport(max_lanes=4, chunk=65536)
        async with client(transport) as http:
            for delay in range(60):
                tasks = [
                    asyncio.create_task(put(http, server.url, PartBody(Zeros(), 0, 1 << 20)))
                    for _ in range(6)
                ]
                await asyncio.sleep(delay / 20_000)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert transport.lanes <= 4
            answers = await asyncio.gather(
                *(put(http, server.url, PartBody(Zeros(), 0, 1 << 20)) for _ in range(8))
            )
            assert {answer.status_code for answer in answers} == {200}


# ---- TLS


async def test_an_unknown_authority_and_a_wrong_name_are_refused() -> None:
    with Server(answer_all, tls=True) as server:
        async with client(LaneTransport()) as http:
            with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
                await put(http, server.url, PartBody(Zeros(), 0, 9))
        async with client(lanes()) as http:
            request = httpx.Request(
                "PUT",
                server.url,
                stream=PartBody(Zeros(), 0, 9),
                extensions={"sni_hostname": "other.example"},
            )
            with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
                await http.send(request)


@pytest.mark.parametrize(
    "verify", [str(CERTIFICATE), ssl.create_default_context(cafile=str(CERTIFICATE)), False]
)
async def test_own_authorities(verify: bool | str | ssl.SSLContext) -> None:
    with Server(answer_all, tls=True) as server:
        async with client(LaneTransport(verify=verify)) as http:
            assert (await put(http, server.url, PartBody(Zeros(), 0, 3 << 20))).status_code == 200
            assert (await http.get(server.url)).status_code == 200


async def test_a_missing_file_of_authorities_is_one_clear_sentence() -> None:
    async with client(LaneTransport(verify="/no/such.pem")) as http:
        with pytest.raises(InputError, match=r"no/such\.pem"):
            await put(http, "https://127.0.0.1:9", PartBody(Zeros(), 0, 9))
