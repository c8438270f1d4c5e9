"""More parts at a time over real connections that carry little each, as on a long line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ossmp_jupyter.transfer import growth
from tests.transfer.support import Bucket, make_file

SIZE = 24 << 20
MANY = 12


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure for a fraction of a second: the lines here are short-lived."""
    for name, seconds in {"SETTLE": 0.2, "WINDOW": 0.5, "REST": 0.2}.items():
        monkeypatch.setattr(growth, name, seconds)


def most_at_a_time(oss: Bucket, source: Path, **options: object) -> int:
    handle = oss.start(source, part_size="256KiB", **options)
    most, seen = 0, False
    while not handle.future.done():
        most = max(most, handle.progress.parts_in_flight)
        if most >= MANY and not seen:
            seen = True
            oss.server.set_faults([])  # the rest may go fast
        time.sleep(0.01)
    assert handle.wait().verified
    assert oss.get() == source.read_bytes()
    return most


def test_connections_that_carry_little_become_many(oss: Bucket, tmp_path: Path) -> None:
    """Large enough to measure more than once: a moment in which the machine is busy hides what is gained."""
    oss.fault("UploadPart", "slow", bandwidth=700_000)
    assert most_at_a_time(oss, make_file(tmp_path, 3 * SIZE)) >= MANY


def test_a_number_of_ones_own_is_kept(oss: Bucket, tmp_path: Path) -> None:
    oss.fault("UploadPart", "slow", bandwidth=2_000_000)
    assert most_at_a_time(oss, make_file(tmp_path, SIZE), parallel=5) == 5
