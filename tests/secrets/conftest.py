"""An embedded OSS whose keys are canaries, and a look at everything each test leaves behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import alibabacloud_credentials.client  # noqa: F401  # it reads variables once, when it is imported
import pytest

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.connection import Connection, connect
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.journal import journal_dir
from tests.parity.net import Authority, Proxy, Relay
from tests.secrets.canary import Canaries, leavings, new_canaries

HOST = "oss-cn-hangzhou.aliyuncs.com"
USER = "a user@work"


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

    @property
    def password(self) -> str:
        """The password of the proxy."""
        return dict(self.canaries.more)["proxy password"]

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
    manager.stop_engine(20)  # what is cut off half-way would meet the next test
    manager.set_default_connection(None)
    canaries.check(left | leavings(Path(vault.root), journal_dir()))


# ------------------------------------------------------------------ a proxy with a password
@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def proxy(world: World, authority: Authority) -> Iterator[Proxy]:
    """A proxy that wants a password, and behind it, by every name, the server of canaries."""
    behind = ("127.0.0.1", urlsplit(world.oss.endpoint).port or 0)
    relay = Relay(behind, authority.context(HOST, f"demo.{HOST}"))
    made = Proxy(behind, ("127.0.0.1", relay.port), login=f"{USER}:{world.password}")
    world.patch.setenv("NO_PROXY", "")
    world.patch.setenv("SSL_CERT_FILE", str(authority.file))
    take(world, f"{quote(USER)}:{world.password}@127.0.0.1:{made.port}")
    yield made
    made.close()
    relay.close()


def take(world: World, address: str) -> None:
    """Let the environment name this proxy, and no other."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy", "no_proxy"):
        world.patch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy"):
        world.patch.setenv(name, f"http://{address}")
