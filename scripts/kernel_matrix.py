"""The tests of real kernels on several versions of ipykernel: clicks while a cell waits, order, interrupts.

    python scripts/kernel_matrix.py [VERSION...]

Each version is put into a folder of its own and in front of the installed one; everything else is shared.
"newest" is what the index has now, pre-releases left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("6.29.5", "6.30.1", "7.0.1", "7.3.0", "7.4.0", "newest")
TESTS = tuple(f"tests/notebook/test_{name}.py" for name in ("kernel", "waiting", "lost_requests"))


def installed(version: str, folder: Path) -> str:
    """Put ipykernel into a folder; returns its version."""
    wanted = "ipykernel" if version == "newest" else f"ipykernel=={version}"
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, wanted], check=True)
    return next(folder.glob("ipykernel-*.dist-info")).name.split("-")[1].removesuffix(".dist")


def main() -> int:
    """Test each version; the exit status says whether all passed."""
    failed: list[str] = []
    seen: set[str] = set()
    with tempfile.TemporaryDirectory() as scratch:
        for version in sys.argv[1:] or VERSIONS:
            folder = Path(scratch, version)
            found = installed(version, folder)
            if found in seen:
                print(f"ipykernel {version} is {found}: tested already", flush=True)
                continue
            seen.add(found)
            began = time.monotonic()
            path = f"{folder}{os.pathsep}{ROOT}"
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pytest",
                    *TESTS,
                    "-q",
                    "-n",
                    os.environ.get("JOBS", "2"),
                    "--no-header",
                ],
                env={
                    **os.environ,
                    "PYTHONPATH": path,
                    "OSSMP_TEST_IPYKERNEL": found,
                },
                cwd=ROOT,
                check=False,
            )
            verdict = "passed" if done.returncode == 0 else "FAILED"
            print(f"ipykernel {found}: {verdict} in {time.monotonic() - began:.0f} s", flush=True)
            failed += [found] if done.returncode else []
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
