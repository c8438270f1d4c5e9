"""Clients that are broken, slow or hostile; the server answers in one sentence and lives on."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from pathlib import Path

import psutil
import pytest

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.localoss.config import Limits
from ossmp_jupyter.localoss.errors_xml import Refused
from ossmp_jupyter.localoss.request import Wire, parse_head
from tests.localoss.client import Client
from tests.localoss.quiet import wait_until_alone

MIB = 1 << 20


def send(client: Client, raw: bytes, *, half_close: bool = False) -> bytes:
    """Send bytes and return everything that comes back until the server closes."""
    with client.socket() as sock:
        with contextlib.suppress(OSError):
            sock.sendall(raw)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := sock.recv(65536):
                answer += piece
        return answer


def signed(client: Client, method: str, key: str, query: dict[str, str] | None = None, *more: str) -> bytes:
    target, headers = client.signed(method, key, query)
    lines = [f"{method} {target} HTTP/1.1", "Host: h", *(f"{n}: {v}" for n, v in headers.items()), *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def alive(client: Client) -> bool:
    return client.request("PUT", "alive", body=b"x").status == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # a TLS client at the wrong port
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"G(T / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nNoColon\r\n\r\n",
        b"GET / HTTP/1.1\r\nName : x\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"PUT /demo/k HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PUT /demo/k HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"PUT /demo/k HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n",
        b"PUT /demo/k HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"PUT /demo/k HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PUT /demo/k HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
def test_what_is_not_http(client: Client, raw: bytes) -> None:
    answer = send(client, raw, half_close=True)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in answer
    assert alive(client)


def test_oversize_heads(client: Client) -> None:
    answer = send(client, b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")
    many = b"".join(b"x-%d: %s\r\n" % (n, b"v" * 100) for n in range(2000))
    assert send(client, b"GET / HTTP/1.1\r\n" + many + b"\r\n").startswith(b"HTTP/1.1 431 ")
    assert alive(client)


def test_absurd_lengths_are_refused_before_the_body(client: Client) -> None:
    upload_id = client.initiate("absurd")
    part = {"partNumber": "1", "uploadId": upload_id}
    for key, query, length, code in [
        ("absurd", {}, 6 * 1024**3, b"EntityTooLarge"),
        ("absurd", part, 10**18, b"EntityTooLarge"),
    ]:
        raw = signed(client, "PUT", key, query, f"Content-Length: {length}", "Expect: 100-continue")
        answer = send(client, raw, half_close=True)
        assert answer.startswith(b"HTTP/1.1 400 ") and code in answer
        assert b"100 Continue" not in answer
    complete = signed(client, "POST", "absurd", {"uploadId": upload_id}, f"Content-Length: {64 * MIB}")
    assert b"MalformedXML" in send(client, complete, half_close=True)
    assert alive(client)


def test_expect_100_continue(client: Client) -> None:
    raw = signed(client, "PUT", "expected", {}, "Content-Length: 5", "Expect: 100-continue")
    with client.socket() as sock:
        sock.sendall(raw)
        assert sock.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hello")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 OK")
    # refused before the body: no 100, and the connection is not left with a body nobody reads
    bad = raw.replace(b"Signature=", b"Signature=0")
    answer = send(client, bad)
    assert answer.startswith(b"HTTP/1.1 403 ") and b"Connection: close" in answer


def test_early_errors_reach_a_client_that_is_still_sending(client: Client) -> None:
    """Small bodies are drained and the connection lives; large ones end with a clean answer, not with RST."""
    query = {"partNumber": "1", "uploadId": "0" * 32}
    raw = signed(client, "PUT", "early", query, f"Content-Length: {MIB}")
    last = signed(client, "GET", "missing", {}, "Connection: close")
    answer = send(client, raw + bytes(MIB) + last)
    assert b"<Code>NoSuchUpload</Code>" in answer and b"<Code>NoSuchKey</Code>" in answer
    big = bytes(80 * MIB)
    with client.socket() as sock:
        sock.sendall(signed(client, "PUT", "early", query, f"Content-Length: {len(big)}"))
        sock.sendall(big)  # no broken pipe: most clients read an answer only after they have sent everything
        assert b"<Code>NoSuchUpload</Code>" in sock.recv(65536)


def test_pipelined_and_keep_alive_requests(client: Client) -> None:
    client.request("PUT", "pipe", body=b"hello")
    one = signed(client, "GET", "pipe")
    put = signed(client, "PUT", "pipe2", {}, "Content-Length: 3")
    last = signed(client, "GET", "pipe2", {}, "Connection: close")
    answer = send(client, one + put + b"abc" + b"\r\n" + one + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert answer.count(b"hello") == 2 and answer.endswith(b"abc")
    old = one.replace(b"HTTP/1.1", b"HTTP/1.0")
    assert b"Connection: close" in send(client, old)


def test_a_body_that_ends_early(client: Client) -> None:
    upload_id = client.initiate("short")
    raw = signed(client, "PUT", "short", {"partNumber": "1", "uploadId": upload_id}, "Content-Length: 1000")
    assert b"<Code>IncompleteBody</Code>" in send(client, raw + b"x" * 999, half_close=True)
    chunked = signed(
        client, "PUT", "short", {"partNumber": "1", "uploadId": upload_id}, "Transfer-Encoding: chunked"
    )
    assert b"<Code>IncompleteBody</Code>" in send(client, chunked + b"5\r\nabc", half_close=True)
    assert b"<Code>BadRequest</Code>" in send(client, chunked + b"zz\r\nabc", half_close=True)
    listed = client.request("GET", "short", {"uploadId": upload_id})
    assert listed.tags("PartNumber") == []
    assert not list((Path(client.oss.root) / "tmp").iterdir())


def test_clients_that_vanish_leave_nothing(client: Client) -> None:
    upload_id = client.initiate("vanish")
    raw = signed(
        client, "PUT", "vanish", {"partNumber": "1", "uploadId": upload_id}, "Content-Length: 1000000"
    )
    choice = random.Random(7)
    for _ in range(30):
        with client.socket() as sock:
            sock.sendall((raw + bytes(900_000))[: choice.randrange(1, 900_000)])
            if choice.random() < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until_alone(client.oss, mine=1)
    assert not list((Path(client.oss.root) / "tmp").iterdir())
    assert client.request("GET", "vanish", {"uploadId": upload_id}).tags("PartNumber") == []


def test_random_bytes_do_not_kill_it(client: Client) -> None:
    choice = random.Random(11)
    good = signed(client, "PUT", "fuzz", {}, "Content-Length: 4") + b"body"
    for _ in range(150):
        raw = bytearray(good)
        for _ in range(choice.randrange(1, 6)):
            raw[choice.randrange(len(raw))] = choice.randrange(256)
        send(client, bytes(raw), half_close=True)
    assert alive(client)


def wires(**limits: float) -> tuple[socket.socket, Wire]:
    mine, theirs = socket.socketpair()
    return mine, _TcpLike(theirs, Limits(**limits))  # type: ignore[arg-type]


class _TcpLike(Wire):
    """A wire over a socket pair, which knows no TCP_NODELAY."""

    def __init__(self, sock: socket.socket, limits: Limits) -> None:
        self.sock, self.limits = sock, limits
        self._ahead = bytearray()
        self._buffer = None


def test_a_head_that_trickles_in_times_out() -> None:
    mine, wire = wires(head_timeout=0.3)
    stop = threading.Event()

    def trickle() -> None:
        for byte in b"GET / HTTP/1.1\r\nHost: " + b"a" * 1000:
            if stop.wait(0.02):
                return
            mine.sendall(bytes((byte,)))

    thread = threading.Thread(target=trickle)
    thread.start()
    with pytest.raises(Refused) as caught:
        wire.read_head()
    stop.set()
    thread.join()
    assert (caught.value.status, caught.value.close) == (408, True)
    mine.close()
    wire.close()


def test_a_body_that_stops_times_out() -> None:
    mine, wire = wires(body_timeout=0.1)
    with pytest.raises(Refused) as caught:
        wire.read_into(memoryview(bytearray(10)))
    assert (caught.value.code, caught.value.status) == ("RequestTimeout", 400)
    mine.close()
    wire.close()


def test_an_idle_connection_is_closed_without_a_word() -> None:
    mine, wire = wires(idle_timeout=0.1)
    assert wire.read_head() is None
    mine.close()
    wire.close()


def test_heads_are_parsed_without_collapsing_the_path() -> None:
    head = parse_head(b"GET //a/../%2e/%2F?x=%26&y&z=a+b HTTP/1.1\r\nA: 1\r\na: 2")
    assert head.path == b"//a/.././/"
    assert head.query == (("x", "&"), ("y", ""), ("z", "a b"))
    assert head.get("a") == "1,2"


def test_memory_stays_flat_whatever_the_body() -> None:
    with LocalOSS(discard=True) as oss:
        process = psutil.Process(oss.pid)
        client = Client(oss)
        client.request("PUT", "warm", body=bytes(MIB))
        before = process.memory_info().rss
        target, headers = client.signed("PUT", "flat")
        piece = bytes(4 * MIB)
        connections = [client.connect() for _ in range(4)]
        for connection in connections:
            connection.putrequest("PUT", target)
            for name, value in {**headers, "Content-Length": str(128 * MIB)}.items():
                connection.putheader(name, value)
            connection.endheaders()
        for _ in range(32):
            for connection in connections:
                connection.send(piece)
        peak = process.memory_info().rss
        assert all(connection.getresponse().status == 200 for connection in connections)
        assert max(peak, process.memory_info().rss) - before < 24 * MIB
        for connection in [*connections, client.connection]:
            connection.close()


def test_a_folder_that_is_taken_away_is_told(tmp_path: Path) -> None:
    """Trouble with the disk is 500 in one sentence, not a lost connection."""
    with LocalOSS(root=tmp_path / "root") as oss:
        client = Client(oss)
        (tmp_path / "root" / "tmp").rmdir()
        reply = client.request("PUT", "k", body=b"x")
        assert reply.error[:2] == (500, "InternalError")
        assert reply.tag("Message") == "The embedded OSS cannot use its folder: No such file or directory."
        client.connection.close()
