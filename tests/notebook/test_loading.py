"""Loading costs next to nothing, unloading leaves nothing; Tab completes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.notebook.options import MAGICS
from tests.notebook.conftest import Shell

HEAVY = ("httpx", "anywidget", "ipywidgets", "tqdm", "ossmp_jupyter.transfer.manager")


def state(shell: Shell) -> dict[str, Any]:
    ip = shell.ip
    return {
        "magics": set(ip.magics_manager.magics["line"]),
        "registry": set(ip.magics_manager.registry),
        "configurables": [type(thing).__name__ for thing in ip.configurables],
        "matchers": len(ip.Completer.custom_matchers),
        "events": {name: list(callbacks) for name, callbacks in ip.events.callbacks.items()},
        "threads": {t.name for t in threading.enumerate() if t.name == "ossmp-panel"},
    }


def test_load_and_unload_leave_nothing_behind(bare_shell: Shell) -> None:
    bare_shell.run("%load_ext autoreload")  # IPython registers its own magics for this at first use
    before = state(bare_shell)
    for _ in range(2):
        bare_shell.run("%load_ext ossmp_jupyter")
        assert set(MAGICS) <= set(bare_shell.ip.magics_manager.magics["line"])
        bare_shell.run("%load_ext ossmp_jupyter")
        bare_shell.run("%reload_ext ossmp_jupyter")
        assert len(bare_shell.ip.Completer.custom_matchers) == before["matchers"] + 1
        bare_shell.run("%unload_ext ossmp_jupyter")
        assert state(bare_shell) == before
    assert "not found" in str(bare_shell.fails("%oss_upload a b"))


def test_loading_prints_nothing(bare_shell: Shell) -> None:
    bare_shell.run("%load_ext ossmp_jupyter")
    assert bare_shell.text() == ""


def test_config_lists_the_settings_and_no_secret(shell: Shell) -> None:
    shell.run("%config OssMagics")
    text = shell.text()
    assert "OssMagics.ui" in text
    assert "OssMagics.refresh" in text
    assert "secret" not in text.lower()


def test_loading_imports_nothing_heavy() -> None:
    code = f"""
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
shell.run_line_magic("load_ext", "ossmp_jupyter")
new = set(sys.modules) - before
print([name for name in {HEAVY!r} if name in new], len(new))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy, _, count = done.stdout.rpartition(" ")
    assert heavy == "[]"
    assert int(count) < 40


# ---------------------------------------------------------------------- Tab
def complete(shell: Shell, line: str) -> list[str]:
    with provisionalcompleter():
        return [found.text for found in shell.ip.Completer.completions(line, len(line))]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%oss_upload a.bin k --part", ["--part-size"]),
        ("%oss_upload a.bin k --ui ", ["auto", "none", "text", "widget"]),
        ("%oss_connect --signature v", ["v1", "v4"]),
        ("x = %oss_upload da", ["data.bin"]),
        ("%oss_upload my", ["my\\ file.bin"]),
        ("%oss_upload my\\ f", ["my\\ file.bin"]),
        ("%oss_upload sub", ["sub/"]),
        ("%oss_upload data.bin k --callback told", ["told_everybody"]),
        ("%oss_upload data.bin os", ["oss://"]),
    ],
)
def test_completion(shell: Shell, folder: Path, line: str, expected: list[str]) -> None:
    for name in ("data.bin", "my file.bin"):
        (folder / name).write_bytes(b"")
    (folder / "sub").mkdir()
    shell.ip.user_ns["told_everybody"] = {}
    found = complete(shell, line)
    assert sorted(text for text in found if not text.startswith(".")) == expected


def test_all_options_are_offered_and_nothing_else(shell: Shell) -> None:
    found = complete(shell, "%oss_upload a.bin k --")
    assert "--part-size" in found
    assert "--storage-class" in found
    assert all(text.startswith("--") for text in found)


def test_other_lines_are_left_alone(shell: Shell) -> None:
    assert "print" in complete(shell, "prin")


def test_addresses_and_ids(connected: Shell, oss: LocalOSS, folder: Path) -> None:
    (folder / "a.bin").write_bytes(os.urandom(120_000))
    connected.run("%oss_upload a.bin year/2026/a.bin -q")
    assert complete(connected, "%oss_head oss://d") == ["oss://demo/"]
    assert complete(connected, "%oss_head oss://demo/ye") == ["oss://demo/year/"]
    assert complete(connected, "%oss_head oss://demo/year/2026/") == ["oss://demo/year/2026/a.bin"]
    handle = connected.value("%oss_upload a.bin other -q -b")
    assert handle.id in complete(connected, "%oss_wait ")
