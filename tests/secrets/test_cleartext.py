"""Plain http to another machine is said once; https, and http to this machine, are not spoken of."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ossmp_jupyter import LocalOSS, connect
from ossmp_jupyter.oss import connection as module
from tests.notebook.conftest import Shell, bare_shell, folder, shell
from tests.parity.net import Relay

__all__ = ["bare_shell", "folder", "shell"]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_told", set())


def told(*endpoints: str) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for endpoint in endpoints:
            connect(
                endpoint=endpoint, region="cn-hangzhou", access_key_id="a", access_key_secret="b", environ={}
            )
    return [str(one.message) for one in caught]


def test_once_for_each_host() -> None:
    said = told(
        "http://oss.example.com", "http://oss.example.com:8080", "http://192.0.2.7", "http://oss.example.com"
    )
    assert [line.split(":")[1] for line in said] == ["//oss.example.com", "//192.0.2.7"]
    assert "https://" in said[0]


@pytest.mark.parametrize(
    "endpoint",
    ["https://oss.example.com", "oss-cn-hangzhou.aliyuncs.com", "http://127.0.0.1:9000", "http://localhost:9000",
     "http://[::1]:9000", "http://127.3.2.1", "http://demo.localhost:80"],
)  # fmt: skip
def test_never_where_nobody_can_listen(endpoint: str) -> None:
    assert told(endpoint) == []


def test_in_a_notebook_it_is_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "hidden-secret")
    shell.run("%oss_connect oss://b-1 --endpoint http://oss.example.com --region cn-hangzhou")
    said = shell.text().splitlines()
    assert said[0].startswith("note: http://oss.example.com: data, key ID and token travel in clear")
    assert said[1].startswith("connected to http://oss.example.com")
    shell.run("%oss_connect oss://b-2 --endpoint http://oss.example.com --region cn-hangzhou")
    assert "note" not in shell.text()


# ------------------------------------------------------------------ where it points, in a process of its own
SCRIPT = """\
from ossmp_jupyter import OSSClient, connect, upload
def attempt(act):
    try:
        return act()
    except UserWarning as error:
        print("error:", error)
for _ in range(2):
    attempt(lambda: connect(endpoint="http://oss.example.com", region="cn-x"))
    attempt(lambda: OSSClient(endpoint="http://192.0.2.7", region="cn-x"))
    handle = attempt(lambda: upload(b"0" * 250_000, "k", part_size="100KiB", fresh=True))
    print(handle and handle.wait(30).verified)
"""


@pytest.fixture
def far() -> Iterator[LocalOSS]:
    """An embedded OSS at an address of this machine that is not a loopback one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; tells which address would be used
            address = probe.getsockname()[0]
        except OSError:
            pytest.skip("this machine has no address but loopback")
    with LocalOSS(buckets=("demo",)) as oss:
        relay = Relay(("127.0.0.1", urlsplit(oss.endpoint).port or 0), host=address)
        oss.endpoint = f"http://{address}:{relay.port}"
        yield oss
        relay.close()


def run(oss: LocalOSS, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    own = {**oss.environment(), "OSS_ENDPOINT": oss.endpoint, "OSSMP_STATE_DIR": str(folder / "state")}
    done = subprocess.run(
        [sys.executable, *options, str(script)],
        env={**clean, **own},
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_it_points_to_the_users_line(far: LocalOSS, tmp_path: Path) -> None:
    """Once for each host, at the line that connects; by upload() too, which goes on."""
    done = run(far, tmp_path)
    said = re.findall(r"script\.py:(\d+): UserWarning: http://([^:]+):", done.stderr)
    assert said == [("8", "oss.example.com"), ("9", "192.0.2.7"), ("10", urlsplit(far.endpoint).hostname)]
    assert done.stdout.split() == ["True", "True"]


def test_who_makes_errors_of_warnings_gets_the_error_each_time(far: LocalOSS, tmp_path: Path) -> None:
    """Before anything is sent, in the call itself; not at the first try alone, and in no other thread."""
    done = run(far, tmp_path, "-W", "error::UserWarning")
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "error", "error", "None"] * 2
    assert far.journal() == [] and done.stderr == ""
