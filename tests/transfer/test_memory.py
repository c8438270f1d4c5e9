"""How much memory an upload takes: bounded by its lanes, whatever the size of the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.units import GIB, MIB
from tests.faults.hostile import Peak

ROOT = Path(__file__).parents[2]
LANES = 5
BOUND = 2 * MIB * LANES + 16 * MIB
SCRIPT = """
import json, sys
from ossmp_jupyter.transfer.manager import upload
target, small, big, lanes = sys.argv[1:]
upload(small, target + "small", parallel=1, simple=False).wait()  # all is imported, one lane has a buffer
print("warm", flush=True); sys.stdin.readline()
result = upload(big, target + "big", parallel=int(lanes), checkpoint=False).wait()
print(json.dumps([result.size, result.verified]), flush=True); sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[LocalOSS]:
    with LocalOSS(discard=True) as server:
        yield server


def test_a_gigabyte_takes_two_buffers_per_lane_and_a_little(sink: LocalOSS, tmp_path: Path) -> None:
    """Resident memory at its highest, by the kernel's count, above that of one which has uploaded before."""
    small, big = tmp_path / "small", tmp_path / "big"
    small.write_bytes(os.urandom(1000))
    with big.open("wb") as file:
        file.truncate(GIB)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, f"oss://{sink.bucket}/", str(small), str(big), str(LANES)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, **sink.environment()},
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "warm\n"
        peak = Peak(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        size, _verified = json.loads(process.stdout.readline())
        grown = peak.grown()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
    print(f"grew by {grown / MIB:.1f} MiB, allowed are {BOUND / MIB:.0f} MiB")
    assert size == GIB
    assert MIB * LANES // 2 < grown <= BOUND  # what takes no buffer was not measured
