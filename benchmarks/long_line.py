"""What more parts at a time bring on a long line, where each connection carries little.

    python -m benchmarks.long_line [--size 400MB] [--connection 4MB/s] [--line 20MB/s] [--rounds 5]

Two lines of the embedded OSS: one where each request is slow and their number is not limited (the
window of a distant server), and one where all share a bandwidth (a full line). Each round sends the
file with 5 parts at a time and with the number left to the upload.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from ossmp_jupyter import OSSClient
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.units import format_size, format_speed, parse_size
from tests.transfer.support import make_connection


async def _send(oss: LocalOSS, file: Path, parallel: int | None) -> float:
    async with OSSClient(make_connection(oss, "demo")) as client:
        begin = time.monotonic()
        await client.multipart_upload("bench.bin", file, parallel=parallel, checkpoint=False)
        return time.monotonic() - begin


def main() -> int:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="400MB")
    parser.add_argument("--connection", default="4MB/s")
    parser.add_argument("--line", default="20MB/s")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    size = parse_size(args.size, "size")
    print(f"{format_size(size)}, medians of {args.rounds} interleaved rounds\n")
    print("| line | 5 at a time | left to the upload | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "data.bin")
        file.write_bytes(os.urandom(size))
        for line in (f"{args.connection} per connection", f"{args.line} in all"):
            with LocalOSS(["demo"]) as oss:
                if line.endswith("in all"):
                    oss.set_bandwidth(parse_size(args.line.removesuffix("/s"), "line"))
                else:
                    oss.set_faults(
                        [{"kind": "slow", "operation": "UploadPart", "bandwidth": args.connection}]
                    )
                times: dict[int | None, list[float]] = {5: [], None: []}
                for _ in range(args.rounds):
                    for parallel, seconds in times.items():
                        seconds.append(asyncio.run(_send(oss, file, parallel)))
            fixed, free = (statistics.median(seconds) for seconds in times.values())
            speeds = " | ".join(format_speed(size / seconds) for seconds in (fixed, free))
            print(f"| {line} | {speeds} | {fixed / free:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
