"""One world per test process, and the table of what was run."""

from __future__ import annotations

import collections
from collections.abc import Generator
from typing import Any

import pytest

from tests.faults.world import World


@pytest.fixture(scope="session")
def world() -> Generator[World]:
    made = World()
    yield made
    made.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print runs per scenario and verdict."""
    table: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "fault-runs" and getattr(report, "when", "") == "call":
                    scenario, verdicts = value
                    table[scenario].update(verdicts)
    if not table:
        return
    terminalreporter.section("fault runs")
    for scenario, verdicts in sorted(table.items()):
        told = ", ".join(f"{verdict} {count}" for verdict, count in verdicts.most_common())
        terminalreporter.write_line(f"{sum(verdicts.values()):7,}  {scenario:34} {told}")
    terminalreporter.write_line(f"{sum(sum(row.values()) for row in table.values()):7,}  in all")
