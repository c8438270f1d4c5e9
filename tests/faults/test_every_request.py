"""Each scenario × each kind of fault × once and for good × every request index, SQLite's way.

The index grows until a run ends that met no fault. ``make test`` takes a sample that is always the same;
``OSSMP_FAULT_RUNS=all`` (``make test-faults``) takes everything. Each run ends with the auditor.
"""

from __future__ import annotations

import collections
import os
import zlib
from typing import Any

import pytest

from tests.faults.auditor import audit
from tests.faults.kinds import KINDS, Fault, Kind
from tests.faults.run import Run
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.world import World

EVERYTHING = os.environ.get("OSSMP_FAULT_RUNS") == "all"
_LIMIT = 400


def _indices(scenario: Scenario, kind: Kind, for_good: bool) -> list[int]:
    if EVERYTHING:
        return list(range(1, _LIMIT))
    chance = zlib.crc32(f"{scenario.name}/{kind.name}/{for_good}".encode())
    return [1 + chance % scenario.requests]


async def one_run(world: World, scenario: Scenario, fault: Fault) -> str | None:
    """Run once with the fault; returns the verdict, None if no request met the fault."""
    run = Run(world, scenario.name)
    try:
        scenario.start(run)
        if scenario.prepare is not None:
            await scenario.prepare(run)
        world.oss.journal(clear=True)
        run.timeout = fault.kind.timeout
        world.oss.set_faults(fault.rules)
        told = await scenario.act(run)
        entries = world.quiet()
        if not any(entry["fault"] for entry in entries):
            return None
        try:
            return await audit(run, told, fault.kind)
        except AssertionError as error:
            error.add_note(f"{scenario.name}, {fault}; told: {told}; the server was asked: {_asked(entries)}")
            raise
    finally:
        await run.clear()


def _asked(entries: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{e['operation']}{e['part_number'] or ''}={e['status']}{'!' + e['fault'] if e['fault'] else ''}"
        for e in entries
    )


def series(world: World, scenario: Scenario, kind: Kind, for_good: bool) -> collections.Counter[str]:
    """All runs of one scenario with one kind of fault."""
    verdicts: collections.Counter[str] = collections.Counter()
    for at in _indices(scenario, kind, for_good):
        verdict = world.run(one_run(world, scenario, Fault(kind, at, for_good)))
        if verdict is None:
            return verdicts
        verdicts[verdict] += 1
    return verdicts


@pytest.mark.timeout(900 if EVERYTHING else 60)
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for-good"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_fault(world: World, scenario: Scenario, kind: Kind, for_good: bool, record_property: Any) -> None:
    verdicts = series(world, scenario, kind, for_good)
    record_property("fault-runs", (scenario.name, dict(verdicts)))
    assert sum(verdicts.values())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_fault(world: World, scenario: Scenario) -> None:
    """The auditor has nothing to say where nothing goes wrong."""
    never = Fault(KINDS[0], 10_000, False)

    async def go() -> None:
        run = Run(world, scenario.name)
        try:
            scenario.start(run)
            if scenario.prepare is not None:
                await scenario.prepare(run)
            world.oss.set_faults(never.rules)
            told = await scenario.act(run)
            world.quiet()
            await audit(run, told, None)
        finally:
            await run.clear()

    world.run(go())
