"""enable / disable: a real kernel loads the magics, and other people's settings stay as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.test_disk import without_roots_power
from tests.kernels import OUTPUT_SECONDS, own_sockets

PROBE = (
    "print('has', 'oss_upload' in get_ipython().magics_manager.magics['line'],"
    " 'theirs' in get_ipython().user_ns)"
)
THEIRS = "def load_ipython_extension(shell):\n    shell.user_ns['theirs'] = True\n"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython"), "PYTHONPATH": ""}


def run(
    home: dict[str, str], *arguments: str, preexec: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ossmp_jupyter", *arguments]
    return subprocess.run(
        command, env=home, capture_output=True, text=True, check=False, timeout=50,
        preexec_fn=preexec,
    )  # fmt: skip


def config_file(home: dict[str, str]) -> Path:
    return Path(home["IPYTHONDIR"]) / "profile_default" / "ipython_kernel_config.json"


def kernel_says(home: dict[str, str], tmp_path: Path, python: str = sys.executable) -> str:
    """Output of PROBE in a real, fresh kernel, through nbconvert."""
    notebook = {
        "cells": [
            {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [],
             "source": PROBE}
        ],
        "metadata": {}, "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip
    (tmp_path / "probe.ipynb").write_text(json.dumps(notebook))
    command = [python, "-m", "nbconvert", "--execute", "--to", "notebook", "--stdout", "probe.ipynb"]
    command.append(f"--ExecutePreprocessor.iopub_timeout={OUTPUT_SECONDS}")
    with own_sockets() as sockets:
        command += [f"--KernelManager.{name}={value}" for name, value in sockets.items()]
        done = subprocess.run(
            command, cwd=tmp_path, env=home, capture_output=True, text=True, check=True, timeout=100
        )
    (output,) = json.loads(done.stdout)["cells"][0]["outputs"]
    return "".join(output["text"]).strip()


@pytest.mark.timeout(180)
def test_enable_makes_new_kernels_load_the_magics(home: dict[str, str], tmp_path: Path) -> None:
    """And what the user's own configuration loads goes on being loaded."""
    (tmp_path / "theirs.py").write_text(THEIRS)
    home["PYTHONPATH"] = str(tmp_path)
    own = config_file(home).with_name("ipython_config.py")
    own.parent.mkdir(parents=True)
    own.write_text("c.InteractiveShellApp.extensions = ['theirs']\n")
    assert kernel_says(home, tmp_path) == "has False True"
    for _ in range(2):
        assert run(home, "enable", "--user").returncode == 0
    assert kernel_says(home, tmp_path) == "has True True"
    for _ in range(2):
        assert run(home, "disable", "--user").returncode == 0
    assert kernel_says(home, tmp_path) == "has False True"
    assert os.listdir(own.parent) == [own.name] or not config_file(home).exists()


@pytest.mark.parametrize(
    "others",
    [
        {"IPKernelApp": {"matplotlib": "inline"}},
        {"InteractiveShellApp": {"extensions": ["autoreload"], "exec_lines": ["x = 1"]}},
        {"InteractiveShellApp": {"extra_extensions": ["autoreload"]}},
        {"InteractiveShellApp": {"exec_lines": []}, "Ключ": ["ü", None, 1.5]},
    ],
)
def test_other_settings_survive_both_ways(home: dict[str, str], others: dict[str, object]) -> None:
    path = config_file(home)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(others))
    path.chmod(0o600)
    assert "Enabled" in run(home, "enable", "--user").stdout
    enabled = json.loads(path.read_text())
    assert enabled["InteractiveShellApp"]["extra_extensions"][-1] == "ossmp_jupyter"
    assert "Already enabled" in run(home, "enable", "--user").stdout
    assert json.loads(path.read_text()) == enabled
    assert path.stat().st_mode & 0o777 == 0o600
    assert "Disabled" in run(home, "disable", "--user").stdout
    assert json.loads(path.read_text()) == others
    assert "Was not enabled" in run(home, "disable", "--user").stdout


def test_a_symlinked_configuration_stays_a_symlink(home: dict[str, str], tmp_path: Path) -> None:
    path = config_file(home)
    path.parent.mkdir(parents=True)
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    path.symlink_to(real)
    assert run(home, "enable", "--user").returncode == 0
    assert path.is_symlink()
    assert "ossmp_jupyter" in real.read_text()


def test_the_entry_of_the_first_version_goes_too(home: dict[str, str]) -> None:
    path = config_file(home)
    path.parent.mkdir(parents=True)
    path.write_text('{"InteractiveShellApp": {"extensions": ["autoreload", "ossmp_jupyter"]}}')
    assert "Enabled" in run(home, "enable", "--user").stdout
    enabled = json.loads(path.read_text())
    assert enabled == {
        "InteractiveShellApp": {"extensions": ["autoreload"], "extra_extensions": ["ossmp_jupyter"]}
    }
    assert "Disabled" in run(home, "disable", "--user").stdout
    assert json.loads(path.read_text()) == {"InteractiveShellApp": {"extensions": ["autoreload"]}}


def refused(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2


@pytest.mark.parametrize("command", ["enable", "disable"])
@pytest.mark.parametrize(
    "text", ["{not json", "[1, 2]", '{"InteractiveShellApp": {"extra_extensions": "x"}}']
)
def test_a_broken_configuration_is_left_alone(home: dict[str, str], command: str, text: str) -> None:
    path = config_file(home)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    done = run(home, command, "--user")
    if command == "disable" and text.startswith('{"'):
        assert "Was not enabled" in done.stdout
    else:
        refused(done)
    assert path.read_text() == text
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("where", ["a file", "/proc/nowhere"])
def test_no_place_for_a_configuration(home: dict[str, str], tmp_path: Path, where: str) -> None:
    if where == "a file":
        (tmp_path / "ipython").write_text("stands where the folder should be")
    else:
        home["IPYTHONDIR"] = where
    refused(run(home, "enable", "--user"))
    assert "Was not enabled" in run(home, "disable", "--user").stdout


def test_a_folder_that_cannot_be_written(home: dict[str, str]) -> None:
    path = config_file(home)
    path.parent.mkdir(parents=True)
    path.write_text('{"InteractiveShellApp": {"extra_extensions": ["ossmp_jupyter"]}}')
    path.parent.chmod(0o555)
    try:
        done = run(home, "disable", "--user", preexec=without_roots_power)
        if done.returncode == 77:
            pytest.skip("root cannot give up its power here")
        refused(done)
        assert "ossmp_jupyter" in path.read_text() and os.listdir(path.parent) == [path.name]
        assert "Already enabled" in run(home, "enable", "--user", preexec=without_roots_power).stdout
    finally:
        path.parent.chmod(0o755)


def test_sys_prefix_is_the_default_in_a_virtual_environment() -> None:
    from ossmp_jupyter import _autoload

    assert _autoload.config_path(user=False) == Path(sys.prefix, "etc/ipython/ipython_kernel_config.json")


@pytest.mark.timeout(180)
def test_an_environment_wide_fragment_reaches_its_kernels(home: dict[str, str], tmp_path: Path) -> None:
    """`--sys-prefix` in a real second environment, which sees this one's packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True, timeout=50)
    python = str(tmp_path / "env" / "bin" / "python")
    # the second environment borrows the packages of the first, and the checkout or wheel under test
    paths = [path for path in sys.path if path and not path.endswith(".zip")]
    env = {**home, "PYTHONPATH": os.pathsep.join(paths)}
    command = [python, "-m", "ossmp_jupyter", "enable"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=50)
    written = tmp_path / "env" / "etc" / "ipython" / "ipython_kernel_config.json"
    assert str(written) in done.stdout
    assert kernel_says(env, tmp_path, python) == "has True False"
