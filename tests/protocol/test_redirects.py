"""A signed request stays where it was meant to go: whoever redirects it gets nothing, nor does the target."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.server
import importlib
import json
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ossmp_jupyter.errors import CredentialsError, NotOSS, OssmpError
from ossmp_jupyter.oss.config_files import default_chain
from ossmp_jupyter.oss.connection import connect
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer.client import OSSClient
from tests.faults.auditor import check_sentence
from tests.parity.net import Web, serving
from tests.protocol.operations import LISTED, OPERATIONS

STATUSES = (301, 302, 303, 307, 308)
ID, SECRET, TOKEN = "LTAI5tCanaryKey0451", "canary-secret-0451", "canary-token-0451"


def _answer(status: int, location: str, body: bytes = b"") -> Any:
    def answer(handler: http.server.BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(status)
        handler.send_header("Location", location + urlsplit(handler.path).path)
        handler.send_header("Content-Length", str(len(body)))
        if body:
            handler.send_header("x-oss-request-id", "5F2A")
        handler.end_headers()
        handler.wfile.write(body)

    return answer


class Pair:
    """A server that redirects, and the one that it redirects to: another host, another port."""

    def __init__(self, status: int, body: bytes = b"", *, address: str = "http://localhost:{}") -> None:
        self.thief = Web(lambda handler, body: (200, b"{}"))
        self.server = Web(_answer(status, address.format(self.thief.port), body))

    @contextlib.contextmanager
    def serving(self) -> Iterator[Pair]:
        with serving(self.thief), serving(self.server):
            yield self

    def failure_of(self, name: str) -> OssmpError:
        async def scenario() -> OssmpError:
            connection = connect(
                endpoint=f"http://127.0.0.1:{self.server.port}", region="cn-hangzhou", access_key_id=ID,
                access_key_secret=SECRET, security_token=TOKEN, timeout=5.0, environ={},
            )  # fmt: skip
            async with OSSClient(connection, trust_env=False) as client:
                with pytest.raises(OssmpError) as caught:
                    await OPERATIONS[name](client._rest)
                return caught.value

        return asyncio.run(scenario())


def _check_unseen(error: BaseException) -> None:
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))
    assert ID not in shown and SECRET not in shown and TOKEN not in shown


def test_every_request_is_tried() -> None:
    methods = {name for name in vars(RestClient) if not name.startswith("_")}
    assert methods - LISTED == {"presign", "presign_part", "use"}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_no_request_is_sent_on(name: str, status: int) -> None:
    with Pair(status).serving() as pair:
        error = pair.failure_of(name)
    [asked] = pair.server.seen
    assert ID in asked["headers"]["authorization"], "it was signed for the server that was asked"
    assert pair.thief.seen == [], "a request followed the redirect"
    assert type(error) is NotOSS
    check_sentence(error)
    assert f"with a redirect (HTTP {status})" in str(
        error
    ) and "signed requests are not sent elsewhere" in str(error)
    _check_unseen(error)


@pytest.mark.parametrize("address", ["//localhost:{}", "http://user:pw@localhost:{}", "HTTP://LOCALHOST:{}"])
@pytest.mark.parametrize("name", ["init_multipart_upload", "upload_part by a lane", "stream_object"])
def test_however_the_address_is_written(name: str, address: str) -> None:
    with Pair(307, address=address).serving() as pair:
        error = pair.failure_of(name)
    assert pair.thief.seen == [] and type(error) is NotOSS
    assert "pw" not in str(error)


@pytest.mark.parametrize("name", ["upload_part by a lane", "list_parts"])
def test_a_redirect_that_oss_itself_could_send(name: str) -> None:
    """With a document of OSS's: its code and the endpoint that it names are told, nothing is followed."""
    document = b"<Error><Code>PermanentRedirect</Code><Endpoint>oss-cn-x.aliyuncs.com</Endpoint></Error>"
    with Pair(301, document).serving() as pair:
        error = pair.failure_of(name)
    assert pair.thief.seen == []
    assert error.code == "PermanentRedirect" and "connect with endpoint='oss-cn-x.aliyuncs.com'" in str(error)


# ------------------------------------------------------------------ where credentials come from


class Desk(Pair):
    """What hands out role credentials, redirecting at one of its steps."""

    def __init__(self, status: int, step: str) -> None:
        super().__init__(status)
        redirect = _answer(status, f"http://localhost:{self.thief.port}")
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        keys = {"AccessKeyId": ID, "AccessKeySecret": SECRET, "SecurityToken": TOKEN, "Expiration": expires}

        def stolen(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
            return 200, json.dumps({"Code": "Success", **keys, "Credentials": keys}).encode()

        def desk(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes] | None:
            path = handler.path.removeprefix("http://100.100.100.200")
            if step in path:
                redirect(handler, body)
                return None
            return 200, b"the-role" if path.endswith("/security-credentials/") else b"imds-token"

        self.thief = Web(stolen)
        self.server = Web(desk)
        redirect = _answer(status, f"http://localhost:{self.thief.port}")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "oidc-token").write_text("canary-oidc-token-0451")
    (tmp_path / ".aliyun").mkdir()
    return tmp_path


def _profile(home: Path, **members: object) -> dict[str, str]:
    role = {"ram_role_arn": "acs:ram::1:role/r", "ram_session_name": "s"}
    profile = {"name": "p", "access_key_id": ID, "access_key_secret": SECRET, **role, **members}
    (home / ".aliyun" / "config.json").write_text(json.dumps({"current": "p", "profiles": [profile]}))
    return {"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}


def _oidc(home: Path) -> dict[str, str]:
    return {
        "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/r",
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/p",
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(home / "oidc-token"),
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
    }


SOURCES: dict[str, tuple[str, Any]] = {
    "ECS: the token": ("/latest/api/token", lambda home, uri: {"ALIBABA_CLOUD_IMDSV1_DISABLED": "true"}),
    "ECS: the token, then without": ("/latest/", lambda home, uri: {}),
    "ECS: the role": ("/security-credentials/", lambda home, uri: {}),
    "ECS: the keys": ("/security-credentials/the-role", lambda home, uri: {}),
    "credentials URI": (
        "/credentials",
        lambda home, uri: {
            "ALIBABA_CLOUD_CREDENTIALS_URI": f"{uri}/credentials",
            "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        },
    ),
    "AssumeRoleWithOIDC (RRSA)": ("/", lambda home, uri: _oidc(home)),
    "AssumeRole of a profile": ("/", lambda home, uri: _profile(home, mode="RamRoleArn")),
    "CloudSSO of a profile": (
        "/",
        lambda home, uri: _profile(
            home, mode="CloudSSO", cloud_sso_sign_in_url=uri, cloud_sso_account_id="1",
            cloud_sso_access_config="c", access_token="canary-sso-token-0451",
            cloud_sso_access_token_expire=int(time.time()) + 3600,
        ),
    ),
    "OAuth of a profile": (
        "/",
        lambda home, uri: _profile(
            home, mode="OAuth", oauth_access_token="canary-oauth-token-0451",
            oauth_refresh_token="canary-oauth-refresh-0451", access_key_id="", access_key_secret="",
            oauth_access_token_expire=int(time.time()) + 3600,
        ),
    ),
}  # fmt: skip


_HOSTS = (
    ("provider", "OIDCRoleArn", "sts_endpoint"),
    ("provider.cli_profile", "RamRoleArn", "sts_endpoint"),
    ("provider.cli_profile", "OAuth", "sign_in_url"),
)


def _elsewhere(kind: Any, host: dict[str, str], **options: Any) -> Any:
    """Make a provider of the library that asks our server instead of Alibaba Cloud's."""
    return kind(**{**options, **host})


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("name", SOURCES)
def test_no_request_for_credentials_is_sent_on(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, status: int
) -> None:
    step, prepare = SOURCES[name]
    with Desk(status, step).serving() as desk:
        address = f"http://127.0.0.1:{desk.server.port}"
        if name.startswith("ECS"):
            monkeypatch.setenv("HTTP_PROXY", address)  # the way to 100.100.100.200, and to all others
        for module, role, host in _HOSTS:
            library = importlib.import_module(f"alibabacloud_credentials.{module}")
            kind = getattr(library, f"{role}CredentialsProvider")
            monkeypatch.setattr(library, kind.__name__, functools.partial(_elsewhere, kind, {host: address}))
        environ = prepare(home, address)
        with pytest.raises(CredentialsError) as caught:
            asyncio.run(default_chain(environ=environ).get())
    assert desk.server.seen, "the source was asked"
    elsewhere = [asked for asked in desk.server.seen if "localhost" in asked["path"]]
    assert desk.thief.seen == elsewhere == [], "a request for credentials followed the redirect"
    _check_unseen(caught.value)
    assert "canary" not in str(caught.value) and "\n" not in str(caught.value)
