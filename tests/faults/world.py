"""What all fault runs of one test process share: a server, a client, an event loop, a callback receiver."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import http.server
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.connection import connect
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer.client import OSSClient
from ossmp_jupyter.transfer.retry import Clock, RetryPolicy
from tests.localoss.quiet import wait_until_ended

T = TypeVar("T")

KIB = 1024
PART = 100 * KIB
"""The smallest part OSS takes: many requests, few bytes."""
POLICY = RetryPolicy(attempts=4)


def content(name: str, size: int) -> bytes:
    """Bytes that depend on ``name`` alone."""
    return random.Random(hashlib.sha256(name.encode()).digest()).randbytes(size)


class VirtualClock:
    """A clock that does not wait: who sleeps longest is woken last, and no second passes."""

    def __init__(self, seed: object = 0) -> None:
        self._skipped = 0.0
        self._wakes: list[float] = []
        self._chance = random.Random(str(seed))

    def now(self) -> float:
        return time.monotonic() + self._skipped

    async def sleep(self, seconds: float) -> None:
        wake = self.now() + seconds
        self._wakes.append(wake)
        try:
            while (left := wake - self.now()) > 0:
                await asyncio.sleep(0)
                if wake == min(self._wakes):
                    self._skipped += max(left, 0.0)
            await asyncio.sleep(0)
        finally:
            self._wakes.remove(wake)

    def clock(self) -> Clock:
        return Clock(now=self.now, sleep=self.sleep, random=self._chance.random)


class _Application(http.server.BaseHTTPRequestHandler):
    """The user's application that OSS calls back."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = b'{"Status":"OK"}' if "good" in self.path else b"no"
        self.send_response(200 if "good" in self.path else 500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class World:
    """One embedded OSS, one event loop, one client; made once per test process."""

    def __init__(self) -> None:
        self.oss = LocalOSS(arguments=("--allow-private-callback",)).start()
        self.folder = Path(tempfile.mkdtemp(prefix="faults-"))
        self.runner = asyncio.Runner()
        self.connection = connect(
            endpoint=self.oss.endpoint, region=self.oss.region, bucket=self.oss.bucket,
            access_key_id=self.oss.access_key_id, access_key_secret=self.oss.access_key_secret, timeout=10.0,
        )  # fmt: skip
        self.client = OSSClient(self.connection)
        self.count = 0
        self._application = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Application)
        self._application.daemon_threads = True
        threading.Thread(target=self._application.serve_forever, daemon=True).start()

    @property
    def bucket(self) -> str:
        return self.oss.bucket

    def callback(self, kind: str) -> dict[str, str]:
        port = self._application.server_address[1]
        return {"url": f"http://127.0.0.1:{port}/{kind}", "body": "bucket=${bucket}&object=${object}"}

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def rest(self, timeout: float = 10.0) -> RestClient:
        """A REST client with a clock of its own: what one run learned about skew ends with it."""
        return RestClient(dataclasses.replace(self.connection, timeout=timeout), self.client._http)

    def quiet(self) -> list[dict[str, Any]]:
        """End the faults, wait until the server is at rest, return what it was asked since the last call."""
        self.oss.set_faults([])
        wait_until_ended(self.oss)
        return self.oss.journal(clear=True)

    def fresh_folder(self) -> Path:
        """A new folder for source and journals of one run."""
        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir()
        os.environ["OSSMP_STATE_DIR"] = str(folder / "state")
        return folder

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.run(self.client.aclose())
        self.runner.close()
        self._application.shutdown()
        self._application.server_close()
        self.oss.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
