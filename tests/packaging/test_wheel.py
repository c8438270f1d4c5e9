"""The wheel and the sdist hold what they need and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def build(kind: str, folder: Path) -> list[str]:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    (archive,) = folder.iterdir()
    if kind == "wheel":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.namelist()
    with tarfile.open(archive) as sdist:
        return [name.partition("/")[2] for name in sdist.getnames()]


def test_the_wheel_is_complete(tmp_path: Path) -> None:
    names = build("wheel", tmp_path)
    package = {p.relative_to(ROOT).as_posix() for p in (ROOT / "ossmp_jupyter").rglob("*") if p.is_file()}
    package = {name for name in package if "__pycache__" not in name}
    assert package <= set(names), package - set(names)
    for needed in ("py.typed", "notebook/panel.js", "notebook/panel.css", "localoss/__main__.py"):
        assert f"ossmp_jupyter/{needed}" in names
    assert "ossmp_jupyter/jupyter-config/ipython_kernel_config.json" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_holds_nothing_else(tmp_path: Path) -> None:
    names = build("wheel", tmp_path)
    assert {name.split("/")[0] for name in names} == {"ossmp_jupyter", "ossmp_jupyter-0.1.0.dist-info"}
    # a file in etc/ would switch auto-loading on for everybody
    assert not any("/data/" in name or "__pycache__" in name for name in names)


def test_the_sdist_can_test_itself(tmp_path: Path) -> None:
    names = build("sdist", tmp_path)
    for needed in (
        "Makefile",
        "conftest.py",
        "notebooks/quickstart.ipynb",
        "tests/browser/lab.py",
        "LICENSE",
    ):
        assert needed in names
    assert not [name for name in names if "node_modules" in name or name.startswith((".venv", ".git/"))]


def test_installed_metadata_names_what_it_needs() -> None:
    from importlib.metadata import metadata

    required = " ".join(metadata("ossmp-jupyter").get_all("Requires-Dist") or [])
    for name in ("httpx", "sniffio", "anywidget", "ipywidgets", "fastcrc", "defusedxml", "filelock"):
        assert name in required


pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="not in a source tree")
