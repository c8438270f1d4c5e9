"""The times of files, which some file systems count in steps of milliseconds."""

from __future__ import annotations

import time
from pathlib import Path


def wait_for_next_time(path: Path) -> None:
    """Return when a change of ``path`` gets another time than its last one."""
    probe = path.with_name(f"{path.name}.time")
    deadline = time.monotonic() + 30
    while True:
        probe.touch()
        if probe.stat().st_ctime_ns > path.stat().st_ctime_ns:
            break
        assert time.monotonic() < deadline, "the clock of the file system stands still"
        time.sleep(0.001)
    probe.unlink()
