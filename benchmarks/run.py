"""Our upload beside other clients, in turn, round after round; prints a Markdown table.

``python -m benchmarks --help`` has the options; docs/performance.md says how to read the figures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ossmp_jupyter.units import parse_size

HERE = Path(__file__).parent
ROOT = HERE.parent
MODULES = {"oss2": "oss2", "v2": "alibabacloud_oss_v2", "opendal": "opendal", "httpx": "httpx"}
SLOW = {"oss2", "oss2-defaults", "v2", "v2-defaults", "ali-oss"}  # below 1 GB/s: a quarter of the file does
DEFAULT = "ours,httpx,opendal,oss2,v2,ali-oss"

Run = dict[str, Any]


def node_modules(given: str | None) -> Path | None:
    """The folder that holds npm's ali-oss, if there is one."""
    places = [
        given,
        os.environ.get("NODE_PATH"),
        str(ROOT / "tests/clients/node_modules"),
        str(ROOT / "node_modules"),
    ]
    for place in places:
        if place and (Path(place) / "ali-oss").is_dir():
            return Path(place).resolve()
    return None


def available(names: list[str], modules: Path | None) -> Iterator[str]:
    for name in names:
        if name == "ali-oss":
            present = modules is not None and shutil.which("node") is not None
        else:
            present = find_spec(MODULES.get(name.removesuffix("-defaults"), "ossmp_jupyter")) is not None
        if present:
            yield name
        else:
            print(f"{name}: not installed here, left out", file=sys.stderr)


@contextlib.contextmanager
def sink(crc: bool = False, rate: int = 0) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.sink", "--rate", str(rate), *(["--crc"] if crc else [])]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()
            process.wait(10)


def make_file(path: Path, size: int) -> None:
    block = os.urandom(min(size, 64 << 20))
    with open(path, "wb") as file:
        while (left := size - file.tell()) > 0:
            file.write(block[:left])


def run_one(name: str, file: Path, options: argparse.Namespace, base: str, modules: Path | None) -> Run:
    part, parallel = str(options.part_size), str(options.parallel)
    if name == "ali-oss":
        command = ["node", str(HERE / "ali_oss.cjs"), str(file), part, parallel, base, str(modules)]
    else:
        command = [sys.executable, "-m", "benchmarks.client", name, str(file), part, parallel, base]
        command += ["busy"] if options.busy else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode or not done.stdout.strip():
        raise SystemExit(f"{name} failed: {done.stderr.strip()[-2000:]}")
    run: Run = json.loads(done.stdout.strip().splitlines()[-1])
    size = file.stat().st_size
    run.update(client=name, bytes=size, gbps=size / 1e9 / run["wall"], cpu_per_gb=run["cpu"] / (size / 1e9))
    return run


def processor_times() -> tuple[int, int]:
    """Idle and total time of all processors, in ticks."""
    with open("/proc/stat", encoding="ascii") as file:
        times = [int(word) for word in file.readline().split()[1:9]]
    return times[3] + times[4], sum(times)


def wait_until_idle(limit: float = 120.0) -> None:
    """Wait until others leave the processors alone: a client of five threads suffers more than one of one."""
    ends = time.monotonic() + limit
    while time.monotonic() < ends:
        idle, total = processor_times()
        time.sleep(0.4)
        idle_after, total_after = processor_times()
        if idle_after - idle > 0.85 * (total_after - total):
            return


def measure(options: argparse.Namespace) -> list[Run]:
    modules = node_modules(options.node_modules)
    names = list(available(options.clients.split(","), modules))
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder, sink(options.crc, options.rate // options.parallel) as base:
        big, small = Path(folder) / "big", Path(folder) / "small"
        make_file(big, options.size)
        make_file(small, options.slow_size or max(options.size // 4, options.part_size * options.parallel))
        for turn in range(options.rounds):
            first = turn % len(names)  # nobody always runs after the same neighbour
            for name in names[first:] + names[:first]:
                if options.wait_idle:
                    wait_until_idle()
                run = run_one(name, small if name in SLOW else big, options, base, modules)
                runs.append({**run, "round": turn})
                print(f"round {turn + 1}: {name} {run['gbps']:.2f} GB/s", file=sys.stderr)
    return runs


def spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def table(runs: list[Run], reference: str) -> str:
    """Medians with minimum and maximum, and the ratios taken round by round."""
    lines = [
        f"| client | MiB | GB/s | CPU s/GB | peak RSS MiB | upload's own MiB | GB/s: {reference} / client "
        f"| CPU: {reference} / client |",
        "|---|---|---|---|---|---|---|---|",
    ]
    busy = "gil_wait" in runs[0]
    if busy:
        lines = [lines[0] + " main thread waits for the GIL, % |", lines[1] + "---|"]
    for name in dict.fromkeys(run["client"] for run in runs):
        own = [run for run in runs if run["client"] == name]
        base = {run["round"]: run for run in runs if run["client"] == reference}
        ratios = ["", ""]
        if name != reference and base:
            speed = [base[run["round"]]["gbps"] / run["gbps"] for run in own]
            cpu = [base[run["round"]]["cpu_per_gb"] / run["cpu_per_gb"] for run in own]
            ratios = [spread(speed, ".2f"), spread(cpu, ".2f")]
        peak = statistics.median(run["rss_peak"] for run in own) / (1 << 20)
        grown = statistics.median(run["rss_peak"] - run["rss_before"] for run in own) / (1 << 20)
        lines.append(
            f"| {name} | {own[0]['bytes'] >> 20} | {spread([run['gbps'] for run in own], '.2f')} "
            f"| {spread([run['cpu_per_gb'] for run in own], '.2f')} | {peak:.0f} | {grown:.0f} "
            f"| {ratios[0]} | {ratios[1]} |"
            + (f" {spread([100 * run['gil_wait'] for run in own], '.1f')} |" if busy else "")
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--size", type=parse_size, default=1 << 30, help="size of the file; default 1GiB")
    parser.add_argument("--slow-size", type=parse_size, default=0, help="for slow clients; default a quarter")
    parser.add_argument("--part-size", type=parse_size, default=8 << 20, help="default 8MiB")
    parser.add_argument("--parallel", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--clients",
        default=DEFAULT,
        help=f"default {DEFAULT}; also ours-defaults, ours-lanes, oss2-defaults, v2-defaults",
    )
    parser.add_argument(
        "--crc", action="store_true", help="the server reads and checksums instead of dropping"
    )
    parser.add_argument("--rate", type=parse_size, default=0, help="the line's speed, such as 100MB/s")
    parser.add_argument("--busy", action="store_true", help="compute in the main thread meanwhile (Linux)")
    quiet = "before each run, wait up to two minutes for the processors to be idle (Linux)"
    parser.add_argument("--wait-idle", action="store_true", help=quiet)
    parser.add_argument("--node-modules", help="folder that holds npm's ali-oss")
    parser.add_argument("--json", help="also write every single run to this file, one JSON object per line")
    options = parser.parse_args()
    if options.busy:
        options.clients = ",".join(name for name in options.clients.split(",") if name != "ali-oss")
    runs = measure(options)
    if options.json:
        Path(options.json).write_text("".join(json.dumps(run) + "\n" for run in runs), encoding="utf-8")
    what = "checksums bodies" if options.crc else "drops bodies"
    print(f"{options.part_size >> 20} MiB x {options.parallel}, HTTP on loopback, {options.rounds} rounds, "
          f"the server {what}; median (minimum-maximum)\n")  # fmt: skip
    print(table(runs, "ours" if any(run["client"] == "ours" for run in runs) else runs[0]["client"]))
    return 0
