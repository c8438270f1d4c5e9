"""Loading costs next to nothing, unloading leaves nothing; Tab completes."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

from IPython.core.completer import provisionalcompleter

from ossmp_jupyter.errors import OssmpError
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
        "errors": "_render_traceback_" in vars(OssmpError),
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


def test_all_options_are_offered_and_nothing_else(shell: Shell) -> None:
    found = complete(shell, "%oss_upload a.bin k --")
    assert "--part-size" in found
    assert "--storage-class" in found
    assert all(text.startswith("--") for text in found)


def test_other_lines_are_left_alone(shell: Shell) -> None:
    assert "print" in complete(shell, "prin")
