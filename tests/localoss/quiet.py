"""When an embedded OSS has ended with its clients: what it holds then stays so."""

from __future__ import annotations

import time

import psutil

from ossmp_jupyter.localoss import LocalOSS


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
