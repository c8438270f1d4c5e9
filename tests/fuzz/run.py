"""Coverage-guided fuzzing of the parsers, for a bounded time: ``make fuzz SECONDS=30``.

    python -m tests.fuzz.run SECONDS [TARGET...]

Each target runs in a process of its own. What it finds is printed; make a test of it.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path


def one(name: str, seconds: int, corpus: str) -> None:
    """Fuzz one target in this process; ends it."""
    import atheris

    with atheris.instrument_imports(include=["ossmp_jupyter"]):
        from tests.fuzz.targets import SEEDS, TARGETS
    for number, seed in enumerate(SEEDS[name]):
        Path(corpus, f"seed-{number}").write_bytes(seed)
    limits = ["-max_len=4096", "-timeout=20", "-rss_limit_mb=1024", f"-max_total_time={seconds}"]
    shown = [f"-artifact_prefix={corpus}/found-", "-verbosity=0", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], corpus, *limits, *shown], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    """Fuzz all targets, one after the other; the exit status says whether something was found."""
    if len(sys.argv) == 5 and sys.argv[1] == "--one":
        one(sys.argv[2], int(sys.argv[3]), sys.argv[4])
        return 0
    if importlib.util.find_spec("atheris") is None:
        print(
            "atheris is not installed (it has no wheel for every Python): pip install 'ossmp-jupyter[fuzz]'"
        )
        return 2
    from tests.fuzz.targets import TARGETS

    seconds, names = int(sys.argv[1]), sys.argv[2:] or list(TARGETS)
    found = 0
    for name in names:
        with tempfile.TemporaryDirectory() as corpus:
            command = [sys.executable, "-m", "tests.fuzz.run", "--one", name, str(seconds), corpus]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            counts = [line.split()[-1] for line in done.stderr.splitlines() if "executed_units" in line]
            verdict = "ok" if done.returncode == 0 else "FOUND"
            print(f"{name:16} {counts[0] if counts else '?':>9} inputs: {verdict}", flush=True)
            if done.returncode:
                found += 1
                print((done.stdout + done.stderr)[-3000:])
                for crash in sorted(Path(corpus).glob("found-*")):
                    print(crash.name, crash.read_bytes()[:500])
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
