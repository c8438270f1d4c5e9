"""A real IPython shell, a real engine, a real embedded OSS; each test in a folder of its own."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.transfer import manager


@pytest.fixture(scope="module")
def server() -> Iterator[LocalOSS]:
    with LocalOSS(buckets=("demo", "other")) as oss:
        yield oss


@pytest.fixture
def oss(server: LocalOSS) -> Iterator[LocalOSS]:
    """The module's server, without faults, at full speed, with an empty journal."""
    server.set_faults([])
    server.set_bandwidth(None)
    server.journal(clear=True)
    yield server
    server.set_faults([])
    server.set_bandwidth(None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the test, with ``OSSMP_STATE_DIR`` beside it."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("OSSMP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("OSS_BUCKET", "OSS_ENDPOINT", "OSS_REGION", "OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET"):
        monkeypatch.delenv(name, raising=False)
    return work


@dataclass
class Shell:
    """An IPython shell with the extension loaded."""

    ip: InteractiveShell
    capsys: pytest.CaptureFixture[str]

    def run(self, cell: str) -> Any:
        """Run a cell that must succeed; returns its last value."""
        done = self.ip.run_cell(cell)
        done.raise_error()
        return done.result

    def value(self, magic: str) -> Any:
        """Run a magic as the right side of an assignment; returns its value."""
        self.run(f"value_ = {magic}")
        return self.ip.user_ns["value_"]

    def fails(self, cell: str) -> BaseException:
        """Run a cell that must fail; returns the error."""
        done = self.ip.run_cell(cell)
        error = done.error_before_exec or done.error_in_exec
        assert error is not None, f"{cell!r} did not fail"
        return error

    def text(self) -> str:
        """What was printed since the last look, both streams."""
        captured = self.capsys.readouterr()
        return captured.out + captured.err


@pytest.fixture
def bare_shell(folder: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """A shell without the extension."""
    config = Config()
    config.HistoryManager.enabled = False
    ip = InteractiveShell(config=config)
    try:
        yield Shell(ip, capsys)
    finally:
        ip.run_line_magic("unload_ext", "ossmp_jupyter")
        for handle in manager.uploads():
            with contextlib.suppress(Exception):
                handle.abort().result(10)
                handle.future.exception(10)  # too late to abort: the server must outlive it
            manager.engine().forget(handle)
        manager.set_default_connection(None)
        ip.atexit_operations()
        atexit.unregister(ip.atexit_operations)


@pytest.fixture
def shell(bare_shell: Shell) -> Shell:
    """A shell with the extension, connected to nothing."""
    bare_shell.run("%load_ext ossmp_jupyter")
    return bare_shell


@pytest.fixture
def connected(shell: Shell, oss: LocalOSS, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell connected to the bucket ``demo`` of the embedded OSS."""
    for name, value in oss.environment().items():
        monkeypatch.setenv(name, value)
    shell.run("%oss_connect oss://demo")
    shell.text()
    return shell
