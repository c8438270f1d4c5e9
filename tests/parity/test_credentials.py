"""Credentials: tokens that expire at any request, the whole chain, roles through Alibaba's own library."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter import upload
from ossmp_jupyter.errors import CredentialsError
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.config_files import default_chain
from ossmp_jupyter.oss.credentials import Credentials
from ossmp_jupyter.oss.providers import CallableProvider
from ossmp_jupyter.oss.roles import AlibabaCredentialsProvider
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.client import OSSClient
from ossmp_jupyter.transfer.progress import State, UploadResult
from tests.parity.net import Cloud, serving
from tests.parity.support import PART, connection_to, payload, requests_of

SIX = payload(5 * PART + 100)
OLD, NEW = "old/token+=", "new/token+="


@pytest.fixture(scope="module")
def guarded() -> Iterator[LocalOSS]:
    """A server that demands a token, and lets tokens expire."""
    with LocalOSS(security_token=OLD) as server:
        yield server


@pytest.fixture
def sts(guarded: LocalOSS) -> Iterator[LocalOSS]:
    guarded.set_faults([])
    guarded.expire_token(OLD + str(time.monotonic_ns()))  # each test begins with a token of its own
    guarded.journal(clear=True)
    yield guarded
    guarded.set_faults([])
    manager.stop_engine()
    manager.set_default_connection(None)


class Desk:
    """Hands out the token in force, as a user's own STS service does; counts."""

    def __init__(self, oss: LocalOSS, *tokens: str) -> None:
        self.oss, self.tokens, self.calls = oss, list(tokens), 0

    def __call__(self) -> dict[str, Any]:
        token = self.tokens[min(self.calls, len(self.tokens) - 1)]
        self.calls += 1
        return {
            "accessKeyId": self.oss.access_key_id, "accessKeySecret": self.oss.access_key_secret,
            "stsToken": token,
        }  # fmt: skip


class PlainProvider:
    """A provider that knows nothing of sharing: each refresh is a request to the desk."""

    source = "a plain provider"

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.current: Credentials | None = None

    async def get(self) -> Credentials:
        return self.current or await self.refresh()

    async def refresh(self) -> Credentials:
        told = self.desk()
        await asyncio.sleep(0.05)  # long enough for every worker to be refused meanwhile
        self.current = Credentials(told["accessKeyId"], told["accessKeySecret"], told["stsToken"])
        return self.current


def wrapped(desk: Desk) -> CallableProvider:
    return CallableProvider(desk)


@pytest.mark.parametrize("provider", [wrapped, PlainProvider])
@pytest.mark.parametrize("at", range(1, 10))
def test_a_token_that_expires_at_any_request(
    sts: LocalOSS, key: str, at: int, provider: Callable[[Desk], Any]
) -> None:
    """Initiate, each of six parts, Complete, HEAD: one refresh for all workers, no part fails."""
    first, second = str(sts.security_token), f"{NEW}{time.monotonic_ns()}"
    desk = Desk(sts, first, second)
    connection = connection_to(sts, credentials=provider(desk))
    sts.set_faults([{"operation": "*", "at": at, "kind": "expire_token", "token": second}])
    sts.security_token = second

    async def scenario() -> tuple[UploadResult, bytes]:
        async with OSSClient(connection) as client:
            result = await client.multipart_upload(key, SIX, part_size=PART, parallel=3)
            return result, await client.get(key)

    result, stored = asyncio.run(scenario())
    assert stored == SIX and result.verified
    assert desk.calls == 2, "one first fetch, one refresh"
    assert (result.retries, result.parts_sent) == (0, 6)
    entries = requests_of(sts)
    refused = [entry for entry in entries if entry["code"] == "SecurityTokenExpired"]
    assert 1 <= len(refused) <= 3
    assert {entry["status"] for entry in entries} <= {200, 206, 403}
    good = [entry["part_number"] for entry in entries
            if entry["operation"] == "UploadPart" and entry["status"] == 200]  # fmt: skip
    assert sorted(good) == [1, 2, 3, 4, 5, 6]


@pytest.mark.filterwarnings("ignore:.* is waiting for credentials")
@pytest.mark.parametrize("at", range(1, 10))
def test_without_a_way_to_refresh_the_upload_waits(sts: LocalOSS, key: str, at: int) -> None:
    """waiting_for_credentials, and on it goes when new ones are set; no part is sent twice for nothing."""
    old, new = str(sts.security_token), f"{NEW}{time.monotonic_ns()}"
    connection = connection_to(sts)
    sts.set_faults([{"operation": "*", "at": at, "kind": "expire_token", "token": new}])
    handle = upload(SIX, key, connection=connection, part_size=PART, parallel=3)
    deadline = time.monotonic() + 30
    while handle.state is not State.WAITING and time.monotonic() < deadline:
        time.sleep(0.01)
    assert handle.state is State.WAITING
    assert not handle.future.done()
    assert "expired" in (handle.progress.error or "") and old not in (handle.progress.error or "")
    sts.security_token = new
    manager.set_default_connection(connection_to(sts))
    assert handle.wait(30).verified
    good = [entry["part_number"] for entry in requests_of(sts, "UploadPart") if entry["status"] == 200]
    assert sorted(good) == [1, 2, 3, 4, 5, 6]


def test_secrets_are_never_shown(sts: LocalOSS, key: str, caplog: pytest.LogCaptureFixture) -> None:
    """OSS echoes an expired token in its answer; neither it nor the secret reaches a message, repr or log."""
    caplog.set_level(logging.DEBUG)
    old, new = str(sts.security_token), f"{NEW}{time.monotonic_ns()}"
    connection = connection_to(sts)
    client = OSSClient(connection)
    sts.expire_token(new)
    handle = upload(SIX, key, connection=connection, part_size=PART)
    deadline = time.monotonic() + 30
    while handle.state is not State.WAITING and time.monotonic() < deadline:
        time.sleep(0.01)
    shown = [repr(connection), repr(client), repr(connection.credentials), str(handle.progress), repr(handle),
             repr(handle.checkpoint), str(sts.journal()), caplog.text]  # fmt: skip
    assert handle.abort().result(30) in (True, False)
    asyncio.run(client.aclose())
    for text in shown:
        for secret in (old, new, sts.access_key_secret):
            assert secret not in text


# ------------------------------------------------------------------ the chain


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def keys_as(oss: LocalOSS, form: str, home: Path) -> tuple[dict[str, str], str]:
    """Put the server's keys where one link of the chain looks; returns environment and source."""
    access, secret, token = oss.access_key_id, oss.access_key_secret, str(oss.security_token)
    if form == "OSS_ variables":
        names = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN")
        return dict(zip(names, (access, secret, token), strict=True)), "OSS_ACCESS_KEY_ID"
    if form == "ALIBABA_CLOUD_ variables":
        names = tuple(f"ALIBABA_CLOUD_{n}" for n in ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"))
        return dict(zip(names, (access, secret, token), strict=True)), "ALIBABA_CLOUD_ACCESS_KEY_ID"
    if form == "ossutil 1":
        write(
            home / ".ossutilconfig",
            f"[Credentials]\naccessKeyID = {access}\naccessKeySecret={secret}\nstsToken={token}\n",
        )
        return {}, "~/.ossutilconfig"
    if form == "ossutil 2":
        write(
            home / ".ossutilconfig",
            f'[default]\naccess-key-id = "{access}"\naccessKeySecret={secret}\n'
            f"mode=StsToken\nsts_token={token}\n",
        )
        return {}, "~/.ossutilconfig (profile default)"
    profile = {"name": "p", "mode": "StsToken", "access_key_id": access, "access_key_secret": secret,
               "sts_token": token}  # fmt: skip
    write(home / ".aliyun" / "config.json", json.dumps({"current": "p", "profiles": [profile]}))
    return {}, "~/.aliyun/config.json (profile p)"


FORMS = ["OSS_ variables", "ALIBABA_CLOUD_ variables", "ossutil 1", "ossutil 2", "aliyun"]


@pytest.mark.parametrize("form", FORMS)
def test_each_link_of_the_chain_uploads(sts: LocalOSS, home: Path, key: str, form: str) -> None:
    environ, source = keys_as(sts, form, home)
    provider = default_chain(environ=environ)
    connection = connection_to(sts, credentials=provider)
    assert upload(SIX, key, connection=connection, part_size=PART).wait(30).verified
    assert source in provider.source


def test_the_chain_has_an_order(sts: LocalOSS, home: Path) -> None:
    environ: dict[str, str] = {}
    for form in reversed(FORMS[:1] + FORMS[3:]):  # what comes later in the chain is there already
        added, source = keys_as(sts, form, home)
        environ |= added
        provider = default_chain(environ=environ)
        asyncio.run(provider.get())
        assert source in provider.source


# ------------------------------------------------------------------ roles, through the library


@pytest.fixture
def cloud(sts: LocalOSS) -> Iterator[Cloud]:
    made = Cloud(sts.access_key_id, sts.access_key_secret, str(sts.security_token))
    with serving(made.server):
        yield made


@pytest.fixture
def metadata(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The library asks 100.100.100.200 and honours HTTP_PROXY: our metadata server is the proxy."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{cloud.server.port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    cloud.server.seen.clear()
    return cloud


def paths(cloud: Cloud) -> list[tuple[str, str, bool]]:
    """Method, path and whether an IMDSv2 token came along."""
    return [
        (seen["method"], seen["path"].removeprefix("http://100.100.100.200"),
         "x-aliyun-ecs-metadata-token" in seen["headers"])
        for seen in cloud.server.seen
    ]  # fmt: skip


ROLE = "/latest/meta-data/ram/security-credentials/"


def test_ram_role_by_imds_v2(sts: LocalOSS, home: Path, metadata: Cloud, key: str) -> None:
    provider = default_chain(environ={})
    connection = connection_to(sts, credentials=provider)
    assert upload(SIX, key, connection=connection, part_size=PART).wait(30).verified
    assert provider.source == "alibabacloud-credentials (RAM role of the ECS instance)"
    assert paths(metadata) == [
        ("PUT", "/latest/api/token", False), ("GET", ROLE, True),
        ("PUT", "/latest/api/token", False), ("GET", f"{ROLE}the-role", True),
    ]  # fmt: skip
    assert metadata.handed_out == 1, "the library caches; nine requests were signed with one answer"
    found = asyncio.run(provider.get())
    assert found.expires_at is not None
    assert timedelta(minutes=55) < found.expires_at - datetime.now(UTC) <= timedelta(hours=1)


def test_ram_role_falls_back_to_imds_v1(sts: LocalOSS, home: Path, metadata: Cloud) -> None:
    metadata.v2 = False
    found = asyncio.run(AlibabaCredentialsProvider({"ALIBABA_CLOUD_ECS_METADATA": "the-role"}).get())
    assert found.security_token == sts.security_token
    assert paths(metadata) == [("PUT", "/latest/api/token", False), ("GET", f"{ROLE}the-role", False)]


def test_ram_role_without_imds_v1(home: Path, metadata: Cloud) -> None:
    metadata.v2 = False
    environ = {"ALIBABA_CLOUD_IMDSV1_DISABLED": "true"}
    with pytest.raises(CredentialsError, match="RAM role of the ECS instance: CredentialException"):
        asyncio.run(AlibabaCredentialsProvider(environ).get())
    assert {method for method, _, _ in paths(metadata)} == {"PUT"}
    environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"
    metadata.server.seen.clear()
    with pytest.raises(CredentialsError):
        asyncio.run(AlibabaCredentialsProvider(environ).get())
    assert metadata.server.seen == []


@pytest.mark.parametrize("at", [1, 4, 8])
def test_a_role_whose_token_expires_costs_one_refresh(
    sts: LocalOSS, home: Path, cloud: Cloud, key: str, at: int
) -> None:
    """By the credentials URI, through the library, with three workers."""
    environ = {
        "ALIBABA_CLOUD_CREDENTIALS_URI": f"http://127.0.0.1:{cloud.server.port}/credentials",
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
    }
    provider = default_chain(environ=environ)
    asyncio.run(provider.get())
    assert provider.source == "alibabacloud-credentials (credentials URI)"
    assert cloud.handed_out == 1
    cloud.token = f"{NEW}{time.monotonic_ns()}"
    sts.set_faults([{"operation": "*", "at": at, "kind": "expire_token", "token": cloud.token}])
    connection = connection_to(sts, credentials=provider)
    result = upload(SIX, key, connection=connection, part_size=PART, parallel=3).wait(30)
    assert result.verified and result.retries == 0
    assert cloud.handed_out == 2
    sts.security_token = cloud.token


def test_oidc(sts: LocalOSS, home: Path, cloud: Cloud, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """AssumeRoleWithOIDC, unsigned; only the library's STS host is another one here."""
    from alibabacloud_credentials import provider as library

    address = f"http://127.0.0.1:{cloud.server.port}"
    local = functools.partial(library.OIDCRoleArnCredentialsProvider, sts_endpoint=address)
    monkeypatch.setattr(library, "OIDCRoleArnCredentialsProvider", local)
    write(home / "oidc-token", "the pod's token")
    environ = {
        "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/r",
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/p",
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(home / "oidc-token"),
    }
    provider = default_chain(environ=environ)
    connection = connection_to(sts, credentials=provider)
    assert upload(SIX, key, connection=connection, part_size=PART).wait(30).verified
    assert provider.source == "alibabacloud-credentials (OIDC role)"
    [asked] = cloud.server.seen
    assert "OIDCToken=the+pod%27s+token" in asked["path"] and "RoleArn=acs" in asked["path"]


def test_a_role_in_the_aliyun_configuration(sts: LocalOSS, home: Path, metadata: Cloud, key: str) -> None:
    """Modes that are no key pair are the library's; a named profile is asked for by its name."""
    profiles = [{"name": "ecs", "mode": "EcsRamRole", "ram_role_name": "the-role"}]
    write(home / ".aliyun" / "config.json", json.dumps({"current": "other", "profiles": profiles}))
    provider = default_chain("ecs", environ={})
    found = asyncio.run(provider.get())
    assert found.security_token == sts.security_token
    assert provider.source == "alibabacloud-credentials (profile of ~/.aliyun/config.json)"


def test_the_library_says_nothing_of_its_own(home: Path, cloud: Cloud) -> None:
    """It logs answers, keys included, to standard error; not with us. In a process of its own."""
    cloud.v1 = cloud.v2 = False
    program = (
        "import asyncio\nfrom ossmp_jupyter.oss.config_files import default_chain\n"
        "try:\n    asyncio.run(default_chain(environ={}).get())\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
    )
    environ = {**os.environ, "HTTP_PROXY": f"http://127.0.0.1:{cloud.server.port}", "HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True, timeout=50
    )
    assert (done.stdout, done.stderr) == ("CredentialsError\n", "")
