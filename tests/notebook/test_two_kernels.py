"""The same cell in two kernels, at once and in turn, by magic and by Python: bytes and objects exact."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from ossmp_jupyter.localoss import LocalOSS
from tests.localoss.quiet import wait_until_ended
from tests.notebook.test_kernel import Kernel, new_kernel, oss
from tests.notebook.test_programs import at_rest

__all__ = ["oss"]

pytestmark = pytest.mark.timeout(150)

MB = 1 << 20
PART = 256 * 1024
BACKGROUND = {
    "magic": "%oss_upload big.bin big.bin --part-size 256KiB -q -b",
    "python": "from ossmp_jupyter import upload; h = upload('big.bin', 'big.bin', part_size='256KiB')",
}
CELLS = {
    "magic": "%oss_upload big.bin big.bin --part-size 256KiB -q",
    "python": "from ossmp_jupyter import upload; upload('big.bin', 'big.bin', part_size='256KiB').wait()",
}


def sent(oss: LocalOSS) -> Counter[int]:
    """How often each part has arrived since the last look."""
    wait_until_ended(oss)
    lines = oss.journal(clear=True)
    return Counter(
        line["part_number"] for line in lines if line["operation"] == "UploadPart" and line["status"] == 200
    )


def holds(oss: LocalOSS, size: int) -> None:
    """One object of this size, and nothing half done."""
    found = oss.snapshot()
    assert [one["size"] for one in found["objects"].values()] == [size]
    assert found["uploads"] == []


def until_stored(oss: LocalOSS, parts: int, uploads: int = 1) -> None:
    """Wait for so many parts in each of so many uploads."""
    end = time.monotonic() + 30
    while [len(upload["parts"]) >= parts for upload in oss.snapshot()["uploads"]] != [True] * uploads:
        assert time.monotonic() < end, "no parts arrive"
        time.sleep(0.02)


@pytest.mark.parametrize("how", CELLS)
def test_the_idempotent_cell(oss: LocalOSS, tmp_path: Path, how: str) -> None:
    cell, source = CELLS[how], tmp_path / "big.bin"
    source.write_bytes(os.urandom(8 * MB))
    with new_kernel(oss, tmp_path) as first, new_kernel(oss, tmp_path) as second:
        # the same kernel twice: the cell waits for what runs; two kernels at once: the other says who sends
        oss.set_bandwidth("1MB/s")  # seconds to go when the other one asks, on slow machines, too
        assert first.run(BACKGROUND[how])["status"] == "ok"
        waiting = first.send(cell)
        until_stored(oss, 4)
        refused = second.run(cell)
        assert (refused["status"], refused.get("ename")) == ("error", "UploadInUse"), refused
        oss.set_bandwidth(None)
        assert first.reply(waiting)["status"] == "ok"
        holds(oss, 8 * MB)
        assert sent(oss) == dict.fromkeys(range(1, 33), 1)

        # after the success, in either kernel, and in one that was restarted: nothing travels
        for kernel in (first, second):
            assert kernel.run(cell)["status"] == "ok"
            assert sent(oss) == {}
        second.manager.restart_kernel(now=True)
        second.client.wait_for_ready(timeout=60)
        assert second.run("%load_ext ossmp_jupyter\n%oss_connect\n" + cell)["status"] == "ok"
        assert sent(oss) == {}
        holds(oss, 8 * MB)

        # after an edit: a new upload, in a kernel that dies half-way; the other one goes on with it
        data = bytearray(source.read_bytes())
        data[5 * PART] ^= 0xFF
        source.write_bytes(data)
        oss.set_bandwidth("1MB/s")
        second.send(cell)
        until_stored(oss, 6)
        os.kill(second_pid(second), signal.SIGKILL)
        oss.set_bandwidth(None)
        kept = at_rest(oss)
        assert len(kept) >= 6
        sent(oss)
        assert first.run(cell)["status"] == "ok"
        again = sent(oss)
        assert set(again) | kept == set(range(1, 33))
        assert len(set(again) & kept) <= 5, "parts were sent again although OSS holds them"
        holds(oss, 8 * MB)
        content = first.run(
            "from ossmp_jupyter.oss.checksum import crc64\n"
            f"crc = crc64(open({str(source)!r}, 'rb').read())\n"
            "head = %oss_head big.bin -q\nassert head.crc64 == crc"
        )
        assert content["status"] == "ok", json.dumps(content)[:500]


def second_pid(kernel: Kernel) -> int:
    """Of a kernel whose cell is busy: its provisioner knows."""
    provisioner = kernel.manager.provisioner
    assert provisioner is not None
    return int(provisioner.pid)  # type: ignore[attr-defined]


@pytest.mark.parametrize("same", [True, False], ids=["one file", "two files"])
def test_two_machines_on_one_target(oss: LocalOSS, tmp_path: Path, same: bool) -> None:
    """No lock is between them: both send, the last one's object stands whole, and nothing else is left."""
    folders, data = [tmp_path / "one", tmp_path / "two"], os.urandom(8 * MB)
    for folder in folders:
        folder.mkdir()
        (folder / "big.bin").write_bytes(data if same else os.urandom(8 * MB))
    with new_kernel(oss, folders[0]) as first, new_kernel(oss, folders[1]) as second:
        oss.set_bandwidth("1MB/s")  # until both are under way, however late the second one is
        both = [(kernel, kernel.send(CELLS["magic"])) for kernel in (first, second)]
        until_stored(oss, 1, uploads=2)
        oss.set_bandwidth("6MB/s")
        for kernel, cell in both:
            # who finds the other's object at the end says so; who completes last has published
            assert kernel.reply(cell).get("ename") in (None, "ObjectReplaced")
        holds(oss, 8 * MB)
        oss.set_bandwidth(None)
        oss.journal(clear=True)
        replies = [kernel.run("%oss_verify -q") for kernel, _ in both]
        truths = [kernel.run("%oss_verify big.bin oss://demo/big.bin -q") for kernel, _ in both]
        whose = [reply["status"] == "ok" for reply in truths]
        assert whose == [True, True] if same else sorted(whose) == [False, True]
        assert [reply["status"] == "ok" for reply in replies] == whose, "a receipt says other than the truth"
        # run again: whose object stands there sends nothing
        owner = both[whose.index(True)][0]
        assert owner.run(CELLS["magic"])["status"] == "ok"
        assert sent(oss) == {}
        holds(oss, 8 * MB)
