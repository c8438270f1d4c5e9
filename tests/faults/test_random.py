"""One request in five fails at random; everything fails: uploads of 1 to 256 parts."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from ossmp_jupyter.errors import OssmpError
from ossmp_jupyter.transfer.retry import RetryPolicy
from tests.faults.auditor import audit, check_sentence
from tests.faults.run import PART, Run, content
from tests.faults.world import VirtualClock, World

EVERYTHING = os.environ.get("OSSMP_FAULT_RUNS") == "all"
SEEDS = 1000 if EVERYTHING else 64
BATCH = 8
# what may happen on a bad line and at a busy service
_RULES: tuple[dict[str, Any], ...] = (
    {"kind": "reset"},
    {"kind": "reset", "byte": 40_000},
    {"kind": "error", "status": 500, "code": "InternalError"},
    {"kind": "error", "status": 503, "code": "ServiceUnavailable", "retry_after": 3},
    {"kind": "error", "status": 429, "code": "QpsLimitExceeded"},
    {"kind": "cut_answer"},
    {"kind": "apply_no_answer"},
    {"kind": "corrupt_part", "where": "transit", "byte": 99},
)
SHARE = 0.2


def _parts(chance: random.Random) -> int:
    return round(2 ** chance.uniform(0, 8))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_one_request_in_five_fails(world: World, first: int, record_property: Any) -> None:
    async def one(seed: int) -> str:
        chance = random.Random(seed)
        each = SHARE / len(_RULES)
        rules = [{**rule, "probability": each, "seed": seed * 100 + n} for n, rule in enumerate(_RULES)]
        run = Run(world, f"seed-{seed}", policy=RetryPolicy())
        try:
            run.options = {"simple": False, "parallel": chance.choice((1, 3, 5, 16))}
            size = _parts(chance) * PART
            run.write(content(run.name, size - chance.choice((0, 0, 1, PART // 2))))
            world.oss.journal(clear=True)
            world.oss.set_faults(rules)
            told = await run.upload()
            struck = sum(1 for entry in world.quiet() if entry["fault"])
            assert told.done, f"seed {seed}, {struck} faults: {told}"
            await audit(run, told, None)
            return "with faults" if struck else "by chance without a fault"
        finally:
            await run.clear()

    verdicts: dict[str, int] = {}
    for seed in range(first, min(first + BATCH, SEEDS)):
        verdict = world.run(one(seed))
        verdicts[verdict] = verdicts.get(verdict, 0) + 1
    record_property("fault-runs", ("one request in five fails", verdicts))


_OUTAGES: dict[str, dict[str, Any]] = {
    "reset": {"kind": "reset"},
    "500": {"kind": "error", "status": 500, "code": "InternalError"},
    "503": {"kind": "error", "status": 503, "code": "ServiceUnavailable", "retry_after": 60},
    "429": {"kind": "error", "status": 429, "code": "QpsLimitExceeded"},
    "cut": {"kind": "cut_answer"},
}


@pytest.mark.parametrize("after", [1, 2, 20])
@pytest.mark.parametrize("outage", sorted(_OUTAGES))
def test_an_outage_ends_within_the_deadline_with_one_error(world: World, outage: str, after: int) -> None:
    """Seconds are virtual; the deadline is the retrier's 600 s.

    A pause of 60 s may lie across its end, and some across its beginning: virtual time runs on while the last
    good answers are on their way, and the deadline counts from the last of them.
    """

    async def go() -> None:
        run = Run(world, f"outage-{outage}", policy=RetryPolicy())
        try:
            run.write(content(run.name, 64 * PART))
            world.oss.journal(clear=True)
            world.oss.set_faults([{**_OUTAGES[outage], "at": after, "times": None}])
            task = run.task()
            clock = task._steps._retrier.clock
            began = clock.now()
            with pytest.raises(OssmpError) as caught:
                await task.run()
            took = clock.now() - began
            requests = world.quiet()
            check_sentence(caught.value)
            assert took <= 600.0 + 5 * 60.0 + 1.0, f"{took:.0f} virtual seconds"
            assert "attempts" in str(caught.value)
            assert any(name in str(caught.value) for name in ("Initiate", "UploadPart (part"))
            assert len(requests) <= 100 + 64, f"{len(requests)} requests into an outage"
            if outage in ("500", "503", "429"):
                assert caught.value.request_id and caught.value.code == _OUTAGES[outage]["code"]
            again = await run.upload()
            assert again.done and await run.object() == run.data
        finally:
            await run.clear()

    world.run(go())


def test_the_virtual_clock_lets_sleepers_overlap() -> None:
    import asyncio

    async def go() -> tuple[list[float], float]:
        clock = VirtualClock()
        began, order = clock.now(), []

        async def sleep(seconds: float) -> None:
            await clock.sleep(seconds)
            order.append(seconds)

        await asyncio.gather(*(sleep(s) for s in (30.0, 10.0, 20.0)))
        return order, clock.now() - began

    order, took = asyncio.run(go())
    assert order == [10.0, 20.0, 30.0]
    assert 30.0 <= took < 31.0
