"""What users see of the package: few names, each explained; a cheap import; files of a readable size."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ossmp_jupyter

PACKAGE = Path(ossmp_jupyter.__file__).parent
HEAVY = ("httpx", "anyio", "ipywidgets", "anywidget", "cheroot", "tqdm", "fastcrc", "defusedxml")


def python(code: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def public_names() -> list[str]:
    return [name for name in ossmp_jupyter.__all__ if not name.startswith("__")]


def test_few_public_names() -> None:
    assert 3 <= len(public_names()) <= 16
    assert all(hasattr(ossmp_jupyter, name) for name in public_names())


@pytest.mark.parametrize("name", public_names())
def test_a_public_name_explains_itself_with_an_example_that_runs(name: str) -> None:
    text = inspect.getdoc(getattr(ossmp_jupyter, name)) or ""
    assert ">>> " in text, f"{name}: no example in the docstring"
    assert "+SKIP" not in text, f"{name}: an example that never runs proves nothing"


@pytest.mark.parametrize("name", public_names())
def test_public_methods_have_docstrings(name: str) -> None:
    thing = getattr(ossmp_jupyter, name)
    if not inspect.isclass(thing):
        return
    for member, value in vars(thing).items():
        if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{member} has no docstring"


def test_import_is_light() -> None:
    loaded = python(f"import sys, ossmp_jupyter; print([m for m in {HEAVY!r} if m in sys.modules])")
    assert loaded.strip() == "[]"


def test_load_ext_is_light() -> None:
    """Heavy imports wait for the first magic: the budget of 150 ms is one of modules, not of a busy clock."""
    loaded = python(
        "import sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "before = set(sys.modules)\n"
        "shell.run_line_magic('load_ext', 'ossmp_jupyter')\n"
        "assert 'oss_upload' in shell.magics_manager.magics['line']\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules and m not in before])"
    )
    assert loaded.strip() == "[]"


def test_help_of_the_commands() -> None:
    for module in ("ossmp_jupyter", "ossmp_jupyter.localoss"):
        done = subprocess.run(
            [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False, timeout=50
        )
        assert done.returncode == 0, done.stderr
        assert f"python -m {module}" in done.stdout


@pytest.mark.parametrize(
    "path", sorted(p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".js")), ids=lambda p: p.name
)
def test_files_stay_readable(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 420, f"{path.name} has {lines} lines; split it"


def test_versions_agree() -> None:
    declared = re.search(r'^version = "(.+)"', (PACKAGE.parent / "pyproject.toml").read_text(), re.MULTILINE)
    assert declared
    assert f"## [{declared[1]}]" in (PACKAGE.parent / "CHANGELOG.md").read_text()
