"""After the whole suite: no secret of an embedded OSS stands in what tests printed, logged or left behind.

A plugin of pytest, loaded by the root's ``conftest.py``. Only clear text is looked for here;
``tests/secrets`` looks for planted keys in every form and place.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter.localoss.remote import Remote

_TEXTS = {".jsonl", ".ipynb", ".log", ".html", ".txt", ".out"}
_LARGEST = 20_000_000
_SHORTEST = 16  # some tests choose a word of their own, which may stand anywhere
_secrets: set[str] = set()
_take = Remote._take


def _taken(self: Remote, told: Mapping[str, Any]) -> None:
    secret = str(told["access_key_secret"])
    if len(secret) >= _SHORTEST:
        _secrets.add(secret)
    _take(self, told)


Remote._take = _taken  # type: ignore[method-assign]


def _shown(text: str) -> bool:
    return any(secret in text for secret in _secrets)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    places = [name for name, text in report.sections if report.passed and _shown(text)]
    if places:
        report.outcome = "failed"
        report.longrepr = f"a secret of the embedded OSS stands in {', '.join(places)}"
    return report


def _left_behind(file: Path) -> str:
    """What the package may have written into a file; cells that a test wrote are the test's own."""
    text = file.read_text(encoding="utf-8", errors="replace")
    if file.suffix == ".ipynb":
        notebook = json.loads(text)
        for cell in notebook["cells"]:
            cell["source"] = ""
        text = json.dumps(notebook, ensure_ascii=False)
    return text


def _files(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        if file.suffix in _TEXTS and file.is_file() and 0 < file.stat().st_size < _LARGEST:
            yield file


@pytest.fixture(scope="session", autouse=True)
def _no_secret_is_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    yield
    places = []
    for file in _files(tmp_path_factory.getbasetemp()):
        try:
            if _shown(_left_behind(file)):
                places.append(str(file))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # gone meanwhile, or written broken by a test
    if places:
        pytest.fail(f"secrets of the embedded OSS stand in {len(places)} files: {', '.join(places[:10])}")
