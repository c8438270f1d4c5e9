"""Speed limits: the sum of all connections, evenly."""

from __future__ import annotations

import heapq
import itertools
import socket
import threading
import time
from types import SimpleNamespace

import pytest

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.localoss import pace as pacing
from ossmp_jupyter.localoss.pace import Pace
from tests.localoss.client import Client

MIB = 1 << 20


def test_no_limit_lets_everything_through() -> None:
    assert Pace().take(10 * MIB) == 10 * MIB
    assert Pace(0).rate is None


def test_slices_are_small_and_the_sum_is_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three who ask again as soon as they may, in a time that passes only while all of them wait."""
    now, waited = 100.0, 0.0

    def sleep(seconds: float) -> None:
        nonlocal waited
        waited = seconds

    monkeypatch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    pace, begun = Pace(10_000_000), now
    taken = [0, 0, 0]
    asking = [(now, which, which) for which in range(3)]
    turns = itertools.count(3)  # who asks first is served first
    while asking[0][0] < begun + 0.5:
        now, _, which = heapq.heappop(asking)
        waited = 0.0
        granted = pace.take(MIB)
        assert 0 < granted <= 50_000
        taken[which] += granted
        heapq.heappush(asking, (now + waited, next(turns), which))
    assert 0.99 * 5_000_000 < sum(taken) <= 10_000_000 * (0.5 + 0.03) + 3 * 50_000
    assert min(taken) > 0.9 * max(taken)


def test_the_limit_holds_for_all_connections_together() -> None:
    with LocalOSS(bandwidth="8MiB/s") as oss:
        begun = time.monotonic()
        threads = [
            threading.Thread(target=lambda n=n: Client(oss).request("PUT", f"k{n}", body=bytes(MIB)))
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - begun > 0.45  # 4 MiB at 8 MiB/s
        begun = time.monotonic()
        assert len(Client(oss).request("GET", "k0").body) == MIB
        assert time.monotonic() - begun > 0.1
        oss.set_bandwidth("256KiB/s")
        oss.set_bandwidth(None)
        begun = time.monotonic()
        assert Client(oss).request("PUT", "fast", body=bytes(16 * MIB)).status == 200
        assert time.monotonic() - begun < 30  # it would take 64
        oss.set_bandwidth(4 * MIB)
        begun = time.monotonic()
        Client(oss).request("PUT", "slow", body=bytes(2 * MIB))
        assert time.monotonic() - begun > 0.45


def test_the_senders_see_the_limit_soon() -> None:
    """The kernel takes little ahead, so that bytes handed to the socket are bytes that went over the line."""
    with LocalOSS(bandwidth="1MiB/s") as oss:
        client = Client(oss)
        target, headers = client.signed("PUT", "ahead")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        raw = f"PUT {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {64 * MIB}\r\n{lines}\r\n".encode()
        with client.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
            sock.sendall(raw)
            sock.setblocking(False)
            sent = 0
            deadline = time.monotonic() + 0.5
            while time.monotonic() < deadline:
                try:
                    sent += sock.send(bytes(65536))
                except BlockingIOError:
                    time.sleep(0.005)
        assert sent < 2 * MIB


def test_the_traffic_limit_of_one_request() -> None:
    """``x-oss-traffic-limit`` counts bits, and 819,200 of them at least."""
    with LocalOSS() as oss:
        client = Client(oss)
        begun = time.monotonic()
        body = bytes(60_000)
        assert client.request("PUT", "k", body=body, headers={"x-oss-traffic-limit": "819200"}).status == 200
        assert time.monotonic() - begun > 0.5
        upload_id = client.initiate("k")
        for bad in ("819199", "838860801", "1MB", ""):
            reply = client.part("k", upload_id, 1, b"x", headers={"x-oss-traffic-limit": bad})
            assert (reply.code, reply.tag("ArgumentName")) == ("InvalidArgument", "x-oss-traffic-limit")
        client.connection.close()
