"""When an embedded OSS has ended with its requests or its clients: what it holds then stays so."""

from __future__ import annotations

import time

import psutil

from ossmp_jupyter.localoss import LocalOSS


def wait_until_ended(oss: LocalOSS, *, seconds: float = 30.0) -> None:
    """Wait until every request that the server has read the head of has ended, what was cut off too.

    The server notes how a request ended after its answer has gone out.
    """
    deadline = time.monotonic() + seconds
    while not all("seconds" in entry for entry in oss.journal()):
        assert time.monotonic() < deadline, "a request does not end"
        time.sleep(0.002)


def wait_until_alone(oss: LocalOSS, *, mine: int = 0, seconds: float = 30.0) -> None:
    """Wait until the server has no connection but ``mine``, those that the test itself keeps open.

    A client that has gone is noticed only when its turn comes, and until then its request may begin or be
    carried out. Connections are accepted in their order: the one made here comes after all of them.
    """
    oss.journal()
    process, deadline = psutil.Process(oss.pid), time.monotonic() + seconds
    while True:
        found = [c for c in process.net_connections("tcp") if c.status != psutil.CONN_LISTEN]
        if len(found) <= mine:
            return
        assert time.monotonic() < deadline, f"{len(found)} connections are open: {found[:5]}"
        time.sleep(0.02)
