"""The benchmark itself runs, with and without checksums at the server, and counts what it should."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("options", [[], ["--crc"]], ids=["dropping", "checksumming"])
def test_the_benchmark_runs(options: list[str], tmp_path: Path) -> None:
    runs = tmp_path / "runs.jsonl"
    command = [
        sys.executable, "-m", "benchmarks", "--size", "5MiB", "--part-size", "1MiB", "--parallel", "3",
        "--rounds", "2", "--clients", "ours,ours-lanes,httpx", "--json", str(runs), *options,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    assert [line.split("|")[1].strip() for line in lines[-3:]] == ["ours", "ours-lanes", "httpx"]
    found = [json.loads(line) for line in runs.read_text(encoding="utf-8").splitlines()]
    assert len(found) == 6
    assert all(run["bytes"] == 5 << 20 and run["wall"] > 0 and run["rss_peak"] > 1 << 20 for run in found)
    # the order turns, so that nobody always runs after the same neighbour
    assert [run["client"] for run in found[3:]] == ["ours-lanes", "httpx", "ours"]
