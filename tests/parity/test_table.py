"""docs/parity.md: every row names tests, and every test it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_REFERENCE = re.compile(r"`((?:[\w/]+/)?test_\w+\.py)::(test_\w+)`")
ROWS = [
    line
    for line in (ROOT / "docs" / "parity.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and not re.match(r"\|(---|\s*ali-oss\s*\||\s*Feature\s*\|)", line)
]


@cache
def functions_of(file: str) -> frozenset[str]:
    path = ROOT / file if "/" in file else Path(__file__).with_name(file)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_each_row_names_tests_that_exist(row: str) -> None:
    named = _REFERENCE.findall(row)
    assert named, "a row without a test"
    for file, test in named:
        assert test in functions_of(file), f"{file}::{test}"


def test_every_test_here_has_its_row() -> None:
    """What is tested for parity is worth a line in the table."""
    named = {test for row in ROWS for _, test in _REFERENCE.findall(row)}
    small = {"test_an_unknown_host_is_named", "test_ca_files_are_read_from_the_home_directory"}
    for path in Path(__file__).parent.glob("test_*.py"):
        if path.name != Path(__file__).name:
            ours = {name for name in functions_of(path.name) if name.startswith("test_")}
            assert ours <= named | small, path.name
