"""SIGKILL and SIGINT of a real process that uploads 64 parts, at random moments, run again each time.

What must hold: nothing is asked of the user but to run again; what was confirmed is not sent again, beyond
what the dead process had in flight; the object is the file, byte for byte; no upload is left on the server.
"""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import subprocess
import time
from typing import Any

import pytest

from tests.crash.conftest import PARALLEL, PARTS, Crashes
from tests.localoss.quiet import wait_until_ended

EVERYTHING = os.environ.get("OSSMP_FAULT_RUNS") == "all"
KILLS = 450 if EVERYTHING else 12  # a third come too late, when the upload has ended: 300 hit
UPLOADS = 90 if EVERYTHING else 4
_EACH = KILLS // UPLOADS
_START_SECONDS = 40.0


def _wait_for_requests(crashes: Crashes, process: subprocess.Popen[str], count: int) -> None:
    """Wait until the server has seen so many requests, or the process is gone."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and len(crashes.oss.journal()) < count:
        assert time.monotonic() < deadline, "the uploader does nothing"
        time.sleep(0.001)


def _at_rest(crashes: Crashes) -> list[dict[str, Any]]:
    wait_until_ended(crashes.oss)
    return crashes.oss.journal(clear=True)


def _lost_answers(crashes: Crashes) -> int:
    """How many Initiates have no answer, as the journal has it."""
    heads = [path.read_text().partition("\n")[0] for path in crashes.state.glob("journals/*.jsonl")]
    return sum(len(json.loads(head)["upload"].get("lost", ())) for head in heads)


def _sent(requests: list[dict[str, Any]]) -> collections.Counter[int]:
    return collections.Counter(e["part_number"] for e in requests if e["operation"] == "UploadPart")


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", range(UPLOADS))
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
def test_killed_and_run_again(crashes: Crashes, how: signal.Signals, seed: int, record_property: Any) -> None:
    chance = random.Random(f"{how}:{seed}")
    crashes.oss.set_bandwidth("8MB/s")  # 6.5 MB: most of a second, wide enough to be hit
    kills = 0
    kept: set[int] = set()
    for _ in range(_EACH):
        held, process = kept, crashes.start()
        # Any moment of what is left: the first request, in the middle, at Complete, or just after the end.
        left = PARTS - sum(len(upload["parts"]) for upload in crashes.uploads())
        _wait_for_requests(crashes, process, chance.randint(1, left + 4))
        time.sleep(chance.uniform(0.0, 0.02))
        if process.poll() is None:
            kills += 1
        before = {part["part_number"] for upload in crashes.uploads() for part in upload["parts"]}
        process.send_signal(how)
        out, err = process.communicate(timeout=30)
        requests = _at_rest(crashes)
        if how is signal.SIGINT and "interrupted" in out:
            assert float(out.split("interrupted ")[1].split()[0]) <= 2.0, "the prompt came back late"
            assert "Traceback" not in err, err
        uploads = crashes.uploads()
        # one more where a kill took the answer to an Initiate: noted, and cleared away at the end
        assert sum(bool(upload["parts"]) for upload in uploads) <= 1, "a second upload was begun"
        assert len(uploads) <= 1 + _lost_answers(crashes), "a second upload was begun"
        kept = {part["part_number"] for upload in uploads for part in upload["parts"]}
        assert not uploads or before <= kept, "a stored part was lost"
        sent = _sent(requests)
        assert all(count <= 2 for count in sent.values())
        assert len(set(sent) & held) <= PARALLEL, "stored parts were sent again"
    stored = {part["part_number"] for upload in crashes.uploads() for part in upload["parts"]}
    crashes.oss.set_bandwidth(None)
    process = crashes.start()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "done" in out, out + err
    again = set(_sent(_at_rest(crashes))) & stored
    assert len(again) <= PARALLEL, f"{len(again)} stored parts were sent again"
    assert crashes.stored() == crashes.data
    assert not crashes.uploads(), "an upload is left on the server"
    record_property(
        "fault-runs", (f"{how.name} of a 64-part upload", {"killed": kills, "too late": _EACH - kills})
    )


@pytest.mark.slow
def test_killed_in_initiate(crashes: Crashes) -> None:
    """The server has begun the upload, its ID never arrived: the next run clears it away."""
    crashes.oss.set_faults([{"operation": "InitiateMultipartUpload", "kind": "stall", "at": 1}])
    process = crashes.start()
    _wait_for_requests(crashes, process, 1)
    while not crashes.uploads():
        time.sleep(0.002)
    process.kill()
    process.communicate()
    lost = crashes.uploads()
    assert len(lost) == 1 and not lost[0]["parts"]
    process = crashes.start()
    out, err = process.communicate(timeout=50)
    assert "done" in out, out + err
    assert crashes.stored() == crashes.data
    assert not crashes.uploads(), "the upload of which no answer told is still there"


@pytest.mark.slow
def test_killed_in_complete(crashes: Crashes) -> None:
    """Published, and killed before the answer: the next run says so and sends nothing."""
    crashes.oss.set_faults([{"operation": "CompleteMultipartUpload", "kind": "stall", "at": 1}])
    process = crashes.start()
    deadline = time.monotonic() + _START_SECONDS
    while f"{crashes.oss.bucket}/{crashes.key}" not in crashes.oss.snapshot()["objects"]:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.communicate()
    crashes.oss.journal(clear=True)
    process = crashes.start()
    out, err = process.communicate(timeout=50)
    assert "done" in out, out + err
    assert not _sent(_at_rest(crashes)), "a published object was sent again"
    assert crashes.stored() == crashes.data and not crashes.uploads()


@pytest.mark.slow
def test_two_processes_on_one_target(crashes: Crashes) -> None:
    """One object, no orphan; the second says in one sentence that the first is at work."""
    crashes.oss.set_bandwidth("500KB/s")  # until the second has ended, on slow machines, too
    first = crashes.start()
    _wait_for_requests(crashes, first, 2)
    second = crashes.start()
    out, err = second.communicate(timeout=40)
    assert second.returncode == 1 and out.splitlines()[-1].startswith("UploadInUse: "), out + err
    assert "\n" not in out.splitlines()[-1] and "Traceback" not in err
    crashes.oss.set_bandwidth(None)
    out, err = first.communicate(timeout=40)
    assert "done" in out, out + err
    assert crashes.stored() == crashes.data and not crashes.uploads()
    assert max(_sent(_at_rest(crashes)).values()) == 1, "both sent parts"


@pytest.mark.slow
def test_two_processes_started_together(crashes: Crashes) -> None:
    crashes.oss.set_bandwidth("12MB/s")
    both = [crashes.start() for _ in range(2)]
    outs = [process.communicate(timeout=40)[0] for process in both]
    assert any("done" in out for out in outs), outs
    assert all("done" in out or "UploadInUse: " in out for out in outs), outs
    assert crashes.stored() == crashes.data and not crashes.uploads()
