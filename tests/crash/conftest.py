"""A server and processes to kill."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter.localoss import LocalOSS

PART = 100 * 1024
PARTS = 64
PARALLEL = 5


@dataclass
class Crashes:
    """One target on one server, uploaded by one process after the other."""

    oss: LocalOSS
    folder: Path
    key: str
    data: bytes

    @property
    def file(self) -> Path:
        return self.folder / "source.bin"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def start(self, *, key: str = "", parallel: int = PARALLEL, preexec: Callable[[], None] | None = None,
              **environment: str) -> subprocess.Popen[str]:  # fmt: skip
        """Start an uploader."""
        root = Path(__file__).parents[2]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("OSS", "ALIBABA"))}
        return subprocess.Popen(
            [sys.executable, "-m", "tests.crash.uploader", self.oss.endpoint, self.oss.bucket,
             key or self.key, str(self.file), str(parallel)],
            cwd=root, env={**clean, **self.oss.environment(), "OSSMP_STATE_DIR": str(self.state),
                                **environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=preexec,  # noqa: PLW1509 - the child sets one limit and runs on
        )  # fmt: skip

    def uploads(self) -> list[dict[str, Any]]:
        return [upload for upload in self.oss.snapshot()["uploads"] if upload["key"] == self.key]

    def stored(self) -> bytes | None:
        """The object's bytes, read over HTTP."""
        import asyncio

        from ossmp_jupyter.errors import NotFound
        from ossmp_jupyter.oss.connection import connect
        from ossmp_jupyter.transfer.client import OSSClient

        async def get() -> bytes | None:
            async with OSSClient(connect(environ=self.oss.environment())) as client:
                try:
                    return await client.get(f"oss://{self.oss.bucket}/{self.key}")
                except NotFound:
                    return None

        return asyncio.run(get())


@pytest.fixture(scope="session")
def crash_server() -> Generator[LocalOSS]:
    with LocalOSS() as oss:
        yield oss


@pytest.fixture
def crashes(crash_server: LocalOSS, tmp_path: Path, request: pytest.FixtureRequest) -> Generator[Crashes]:
    made = Crashes(
        crash_server, tmp_path, f"{request.node.name}.bin", random.Random(7).randbytes(PARTS * PART - 99)
    )
    made.file.write_bytes(made.data)
    crash_server.set_faults([])
    crash_server.journal(clear=True)
    yield made
    crash_server.set_faults([])
    crash_server.set_bandwidth(None)
