"""Throttling as the server sees it: fewer requests at a time, none before Retry-After, then all again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.transfer.support import PART, Bucket, make_file

PARALLEL, PARTS, THROTTLED = 8, 80, (17, 18, 19)
SLOW = {"operation": "UploadPart", "kind": "slow", "bandwidth": 400_000}  # a part takes 0.25 s


def at_once(parts: Sequence[dict[str, Any]], moment: float) -> int:
    """How many parts were under way at a moment, by the server's clock."""
    return sum(part["time"] <= moment < part["time"] + part["seconds"] for part in parts)


@pytest.mark.parametrize(
    ("code", "wait"), [("SlowDown", None), ("QpsLimitExceeded", None), ("ServiceUnavailable", 1.0)]
)
def test_throttling_lowers_concurrency_which_recovers(
    oss: Bucket, tmp_path: Path, code: str, wait: float | None
) -> None:
    refusal = {"operation": "UploadPart", "kind": "error", "status": 503, "code": code}
    if wait is not None:
        refusal["retry_after"] = wait
    oss.server.set_faults([SLOW, *({**refusal, "at": number} for number in THROTTLED)])
    file = make_file(tmp_path, PARTS * PART)
    result = oss.start(file, parallel=PARALLEL).wait(60)
    assert (result.verified, oss.get()) == (True, file.read_bytes())

    parts = oss.ended("UploadPart")
    refused = [part for part in parts if part["status"] == 503]
    assert len(refused) == len(THROTTLED)
    last = max(part["time"] + part["seconds"] for part in refused)
    stored = [part for part in parts if part["status"] == 200]
    before = max(at_once(stored, part["time"]) for part in stored if part["time"] < refused[0]["time"])
    assert before >= PARALLEL  # one more where the server has not noted yet that another has ended

    # What was under way ends; of what begins after the last refusal, little is under way at first. Answers
    # that came together are heeded in any order, so some parts may begin before the refusals are heeded.
    later = sorted((part for part in stored if part["time"] > last), key=lambda part: part["time"])
    first = [at_once(later, part["time"]) for part in later[:PARALLEL]]
    assert max(first) <= PARALLEL - 2, f"{first} at a time right after {len(refused)} refusals"
    assert max(at_once(later, part["time"]) for part in later) >= PARALLEL, "it does not recover"

    if wait is not None:
        for part in refused:
            (again,) = (one for one in stored if one["part_number"] == part["part_number"])
            # from its beginning: the server notes its end some time after the answer has left
            assert again["time"] - part["time"] >= wait, "before Retry-After"
