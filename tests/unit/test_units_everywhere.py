"""Sizes, speeds, durations and times are written by ``units`` alone: nobody formats them by hand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ossmp_jupyter

PACKAGE = Path(ossmp_jupyter.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "units.py")
UNIT = re.compile(r" ?(?:s|ms|min|h|d|B|[KMGTkmgt]i?B|UTC)(?:/s)?(?![\w-])")
CLOCK = re.compile(r"%H:%M|%X")
DIVISORS = {1000, 1024, 1_000_000, 1 << 20, 1 << 30}
WIRE = {"localoss/call.py", "oss/_answers.py"}  # formats of the protocol, and its milliseconds


def by_hand(tree: ast.AST) -> Iterator[str]:
    """What formats a quantity without ``units``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for value, text in zip(node.values, node.values[1:], strict=False):
                follows = isinstance(text, ast.Constant) and UNIT.match(str(text.value))
                if follows and isinstance(value, ast.FormattedValue):
                    yield ast.unparse(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CLOCK.search(node.value):
            yield node.value
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            right = node.right
            number = right.value if isinstance(right, ast.Constant) else None
            name = right.id if isinstance(right, ast.Name) else None
            if number in DIVISORS or name in {"KIB", "MIB", "GIB"}:
                yield ast.unparse(node)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_quantities_are_written_by_units_alone(path: Path) -> None:
    if path.relative_to(PACKAGE).as_posix() not in WIRE:
        assert list(by_hand(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "code",
    ['f"{x:.1f} s"', 'f"{x}MiB/s"', 'f"{x / 2:g} ms left"', 'f"{t:%H:%M}"', "t.strftime('%H:%M:%S')",
     "x / 1024", "x / MIB"],
)  # fmt: skip
def test_the_hunt_finds_what_it_hunts(code: str) -> None:
    assert list(by_hand(ast.parse(code)))


def test_the_pages_scripts_format_nothing() -> None:
    """They show what the kernel says: one place that formats, not two languages of it."""
    for path in PACKAGE.rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"[KMG]i?B\b|toLocale|getHours|/\s*1024\b|/\s*1e[369]\b", text), path.name
