"""Restart and shutdown in mid-upload, by Jupyter's own clock: what is on disk, and what is sent again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.transfer.journal import Journal
from tests.notebook.test_kernel import Kernel, kernel, new_kernel, oss
from tests.notebook.test_programs import at_rest

__all__ = ["kernel", "oss"]

PARALLEL, PARTS = 4, 32
CELL = f"%oss_upload big.bin big.bin --part-size 256KiB --parallel {PARALLEL}"
DEAF = f"""
from ossmp_jupyter import upload
h = upload('big.bin', 'big.bin', part_size='256KiB', parallel={PARALLEL})
while True:
    try:
        h.wait()
    except BaseException:
        h.resume()
"""
CELLS = {"waiting": CELL, "background": CELL + " -b", "deaf": DEAF}


def until_stored(oss: LocalOSS, parts: int) -> None:
    end = time.monotonic() + 30
    while sum(len(upload["parts"]) for upload in oss.snapshot()["uploads"]) < parts:
        assert time.monotonic() < end, "no parts arrive"
        time.sleep(0.02)


def force_of(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that tells how Jupyter ended the kernel, once its patience, half of its wait, was over."""
    provisioner: Any = kernel.manager.provisioner
    used: list[str] = []

    def noted(name: str) -> Callable[..., Awaitable[None]]:
        real = getattr(provisioner, name)

        async def use(*args: Any, **options: Any) -> None:
            used.append(name)
            await real(*args, **options)

        return use

    for name in ("terminate", "kill"):
        monkeypatch.setattr(provisioner, name, noted(name))
    return used


@pytest.mark.parametrize("how", ["waiting", "background", "deaf"])
@pytest.mark.parametrize("end", ["restart", "shutdown"])
def test_the_journal_is_whole_and_little_is_sent_again(
    kernel: Kernel, oss: LocalOSS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, end: str
) -> None:
    forced = force_of(kernel, monkeypatch)
    oss.set_bandwidth("1MB/s")
    kernel.send(CELLS[how])
    until_stored(oss, 6)
    began = time.monotonic()
    if end == "restart":
        kernel.manager.restart_kernel(now=False)
    else:
        kernel.manager.shutdown_kernel(now=False)
    took = time.monotonic() - began
    if how == "deaf":  # to interrupts, and so Jupyter ends it at last
        assert forced and took < kernel.manager.shutdown_wait_time + 5
    else:
        assert not forced, "the kernel did not end within Jupyter's patience"
    kept = at_rest(oss)
    assert 6 <= len(kept) < PARTS
    (path,) = (tmp_path / "state" / "journals").glob("*.jsonl")
    record = Journal(path).load()
    (left,) = oss.snapshot()["uploads"]
    assert record is not None and record.header.upload_id == left["upload_id"]
    assert set(record.parts) <= kept
    assert len(kept - set(record.parts)) <= PARALLEL, "what was confirmed is not in the journal"

    oss.set_bandwidth(None)
    oss.journal(clear=True)
    with new_kernel(oss, tmp_path) as again:
        assert again.run(CELL)["status"] == "ok"
    sent = Counter(e["part_number"] for e in oss.journal() if e["operation"] == "UploadPart")
    assert set(sent) | kept == set(range(1, PARTS + 1))
    assert len(set(sent) & kept) <= PARALLEL, "parts were sent again although OSS holds them"
    assert oss.snapshot()["uploads"] == []
