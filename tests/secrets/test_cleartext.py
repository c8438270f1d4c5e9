"""Plain http to another machine is said once; https, and http to this machine, are not spoken of."""

from __future__ import annotations

import warnings

import pytest

from ossmp_jupyter import connect
from ossmp_jupyter.oss import connection as module
from tests.notebook.conftest import Shell, bare_shell, folder, shell

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
