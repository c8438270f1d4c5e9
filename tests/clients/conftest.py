from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import pytest

from ossmp_jupyter.localoss import LocalOSS

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def oss() -> Iterator[LocalOSS]:
    with LocalOSS() as server:
        yield server


@pytest.fixture(scope="session")
def node() -> str:
    """Return Node, with the packages of package-lock.json beside the scripts (once per machine)."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail("Node.js and npm are missing; CI must have them")
        pytest.skip("Node.js and npm are not installed")
    lock, modules, mark = (
        HERE / "package-lock.json",
        HERE / "node_modules",
        HERE / "node_modules" / ".of-lock",
    )
    with filelock.FileLock(HERE / ".npm.lock", timeout=300):  # xdist: one installs, the others wait
        if not mark.is_file() or mark.read_text() != lock.read_text():
            subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True, timeout=300)
            modules.mkdir(exist_ok=True)
            mark.write_text(lock.read_text())
    return program


@pytest.fixture
def ali_oss(node: str, oss: LocalOSS) -> Callable[..., dict[str, Any]]:
    """Run the ali-oss script with the given options and return what it saw."""

    def run(key: str, server: LocalOSS = oss, **options: object) -> dict[str, Any]:
        full = {
            "endpoint": server.endpoint, "bucket": server.bucket, "region": f"oss-{server.region}",
            "accessKeyId": server.access_key_id, "accessKeySecret": server.access_key_secret,
            "stsToken": server.security_token, **options,
        }  # fmt: skip
        done = subprocess.run(
            [node, str(HERE / "ali_oss.cjs")], capture_output=True, text=True, timeout=50, check=False,
            env={**os.environ, "ALI_OSS_TEST": json.dumps({"options": full, "key": key})},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen

    return run
