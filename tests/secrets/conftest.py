"""An embedded OSS whose keys are canaries, and a look at everything each test leaves behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import alibabacloud_credentials.client  # noqa: F401  # it reads variables once, when it is imported
import pytest

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.connection import Connection, connect
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.journal import journal_dir
from tests.secrets.canary import Canaries, leavings, new_canaries


@pytest.fixture(scope="module")
def canaries() -> Canaries:
    return new_canaries(("proxy password", "pw-5e0f3a77c1d94b62"))


@pytest.fixture(scope="module")
def vault(canaries: Canaries) -> Iterator[LocalOSS]:
    callbacks = ("--allow-private-callback",)
    with LocalOSS(buckets=("demo",), arguments=callbacks, **canaries.settings()) as server:
        yield server


@dataclass(frozen=True)
class World:
    """What a test has to do with."""

    canaries: Canaries
    oss: LocalOSS
    folder: Path
    patch: pytest.MonkeyPatch

    def connection(self, **settings: Any) -> Connection:
        """Connect to the server of canaries; ``settings`` go over its own."""
        service = {"endpoint": self.oss.endpoint, "region": self.oss.region, "bucket": "demo", "timeout": 5.0}
        keys = {} if "credentials" in settings else self.canaries.settings()
        return connect(**{**service, "environ": {}, **keys, **settings})

    def file(self, size: int = 250_000) -> Path:
        path = self.folder / "source.bin"
        path.write_bytes(b"0123456789" * (size // 10))
        return path


@pytest.fixture
def world(
    canaries: Canaries,
    vault: LocalOSS,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[World]:
    """The world of one test; at its end, nothing that was printed, logged or written holds a key."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    vault.set_faults([])
    vault.journal(clear=True)
    yield World(canaries, vault, tmp_path, monkeypatch)
    printed, errors = capfd.readouterr()
    left: dict[str, object] = {
        "standard output": printed,
        "standard error": errors,
        "the log": caplog.text,
        "the log's records": [(record.msg, record.args, record.exc_text) for record in caplog.records],
        "the server's journal": vault.journal(),
        "the server's snapshot": vault.snapshot(),
    }
    vault.set_faults([])
    vault.expire_token(canaries.security_token)
    manager.stop_engine()
    manager.set_default_connection(None)
    canaries.check(left | leavings(Path(vault.root), journal_dir()))
