from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ossmp_jupyter.errors import CredentialsError, InputError
from ossmp_jupyter.oss.config_files import (
    AliyunConfigProvider,
    OssutilConfigProvider,
    OssutilSettings,
    default_chain,
    ossutil_settings,
)
from ossmp_jupyter.oss.connection import connect
from ossmp_jupyter.oss.credentials import Credentials, CredentialsNotFound
from tests.unit.file_times import wait_for_next_time

VERSION_1 = """
[Credentials]
language=EN
endpoint = oss-cn-hangzhou.aliyuncs.com
accessKeyID = id1
accessKeySecret = s1+/=%(x)s
mode = AK
[Bucket-Endpoint]
bucket1 = oss-cn-shanghai.aliyuncs.com
[Bucket-Cname]
bucket-two = files.example.com
[Default]
loglevel = info
"""
VERSION_2 = """
# made by ossutil config
[default]
accessKeyID = "id2"
access_key_secret = 's2'
region = cn-hangzhou
[profile Dev]
mode = StsToken
access-key-id = id3
access-key-secret = s3
sts-token = t3
region = cn-beijing
endpoint = oss-cn-beijing-internal.aliyuncs.com
[profile role]
mode = RamRoleArn
access-key-id = id4
access-key-secret = s4
[profile empty]
region = cn-beijing
[profile half]
access-key-id = id5
[buckets mybucket]
endpoint = minio.example.com
addressing-style = path
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for name in ("OSSUTIL_CONFIG_FILE", "OSSUTIL_PROFILE", "ALIBABA_CLOUD_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(home: Path, text: str) -> None:
    (home / ".ossutilconfig").write_text(text)


def keys(provider: Any) -> Credentials:
    return asyncio.run(provider.get())


def test_version_1(home: Path) -> None:
    write(home, VERSION_1)
    provider = OssutilConfigProvider()
    assert keys(provider) == Credentials("id1", "s1+/=%(x)s")
    assert provider.source == "~/.ossutilconfig"
    assert provider.settings() == OssutilSettings("oss-cn-hangzhou.aliyuncs.com")
    assert provider.settings("bucket1") == OssutilSettings("oss-cn-shanghai.aliyuncs.com")
    assert provider.settings("bucket-two") == OssutilSettings("files.example.com", None, "cname")


def test_version_2(home: Path) -> None:
    write(home, VERSION_2)
    assert keys(OssutilConfigProvider()) == Credentials("id2", "s2")
    dev = OssutilConfigProvider(profile="dev")
    assert keys(dev) == Credentials("id3", "s3", "t3")
    assert dev.source == "~/.ossutilconfig (profile dev)"
    assert dev.settings() == OssutilSettings("oss-cn-beijing-internal.aliyuncs.com", "cn-beijing")
    assert keys(OssutilConfigProvider(environ={"OSSUTIL_PROFILE": "dev"})).access_key_id == "id3"
    assert OssutilConfigProvider().settings("mybucket") == OssutilSettings(
        "minio.example.com", "cn-hangzhou", "path"
    )


@pytest.mark.parametrize(
    ("profile", "kind", "words"),
    [
        ("nobody", CredentialsNotFound, "has no profile nobody"),
        ("role", CredentialsNotFound, "mode RamRoleArn"),
        ("empty", CredentialsNotFound, "holds no access key"),
        ("half", CredentialsError, "holds no access key secret"),
    ],
)
def test_profiles_without_keys(home: Path, profile: str, kind: type[CredentialsError], words: str) -> None:
    write(home, VERSION_2)
    with pytest.raises(CredentialsError, match=words) as caught:
        keys(OssutilConfigProvider(profile=profile))
    assert type(caught.value) is kind


def test_changed_files_are_read_again(home: Path) -> None:
    provider = OssutilConfigProvider()
    with pytest.raises(CredentialsNotFound, match=r"~/\.ossutilconfig does not exist"):
        keys(provider)
    write(home, VERSION_2)
    first = keys(provider)
    assert keys(provider) == first
    wait_for_next_time(home / ".ossutilconfig")
    write(home, VERSION_2.replace('"id2"', '"idX"'))
    assert keys(provider).access_key_id == "idX", "same size, new contents"
    assert asyncio.run(provider.refresh()).access_key_id == "idX"
    (home / ".ossutilconfig").unlink()
    with pytest.raises(CredentialsNotFound):
        keys(provider)


@pytest.mark.parametrize("text", ["accessKeySecret canary-secret", "[a\ncanary-secret", "\0"])
def test_broken_files_do_not_show_their_lines(home: Path, text: str) -> None:
    write(home, text)
    with pytest.raises(CredentialsError) as caught:
        keys(OssutilConfigProvider())
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__cause__ is None


def test_unreadable_file(home: Path) -> None:
    (home / ".ossutilconfig").mkdir()
    with pytest.raises(CredentialsError, match="cannot be read"):
        keys(OssutilConfigProvider())


def aliyun(home: Path, document: object) -> None:
    (home / ".aliyun").mkdir(exist_ok=True)
    (home / ".aliyun" / "config.json").write_text(json.dumps(document))


PROFILES = {
    "current": "sts",
    "profiles": [
        {
            "name": "default",
            "mode": "AK",
            "access_key_id": "i1",
            "access_key_secret": "s1",
            "sts_token": "stale",
        },
        {
            "name": "sts",
            "mode": "StsToken",
            "access_key_id": "i2",
            "access_key_secret": "s2",
            "sts_token": "t2",
        },
        {"name": "role", "mode": "RamRoleArn"},
    ],
}


def test_aliyun_configuration(home: Path) -> None:
    aliyun(home, PROFILES)
    provider = AliyunConfigProvider()
    assert keys(provider) == Credentials("i2", "s2", "t2")
    assert provider.source == "~/.aliyun/config.json (profile sts)"
    assert keys(AliyunConfigProvider(profile="default")) == Credentials("i1", "s1"), "AK mode has no token"
    with pytest.raises(CredentialsNotFound, match="mode RamRoleArn"):
        keys(AliyunConfigProvider(profile="role"))
    with pytest.raises(CredentialsNotFound, match="no profile other"):
        keys(AliyunConfigProvider(profile="other"))


@pytest.mark.parametrize("document", [[], "x", {"profiles": "x"}, {"profiles": [7]}])
def test_aliyun_configuration_of_another_shape(home: Path, document: object) -> None:
    aliyun(home, document)
    with pytest.raises(CredentialsError, match="not a valid configuration"):
        keys(AliyunConfigProvider())


def test_order_of_the_chain(home: Path) -> None:
    environ: dict[str, str] = {}
    chain = default_chain(environ=environ)
    aliyun(home, PROFILES)
    assert keys(chain).access_key_id == "i2"
    write(home, VERSION_2)
    assert keys(chain).access_key_id == "id2"
    environ |= {"OSS_ACCESS_KEY_ID": "e", "OSS_ACCESS_KEY_SECRET": "s"}
    assert keys(chain).access_key_id == "e"
    assert keys(default_chain("dev", environ=environ)).access_key_id == "id3", "a named profile goes first"
    with pytest.raises(CredentialsError, match=r"has no profile nope.*has no profile nope"):
        keys(default_chain("nope", environ=environ))


def test_nothing_anywhere(home: Path) -> None:
    with pytest.raises(CredentialsError) as caught:
        keys(default_chain(environ={}))
    for word in (
        "OSS_ACCESS_KEY_ID",
        "~/.ossutilconfig does not exist",
        "~/.aliyun/config.json does not exist",
    ):
        assert word in str(caught.value)


class CredentialsDesk(BaseHTTPRequestHandler):
    """Serves what a credentials URI serves, with another token each time."""

    served: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        self.served.append(1)
        document = {
            "Code": "Success", "AccessKeyId": "ui", "AccessKeySecret": "us",
            "SecurityToken": f"t{len(self.served)}", "Expiration": "2099-01-01T00:00:00Z",
        }  # fmt: skip
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Be silent."""


ASK = """
import asyncio
from ossmp_jupyter.oss.config_files import AlibabaCredentialsProvider
provider = AlibabaCredentialsProvider()
for ask in (provider.get, provider.get, provider.refresh):
    try:
        credentials = asyncio.run(ask())
        print(credentials.access_key_id, credentials.security_token)
    except Exception as error:
        print(type(error).__name__)
"""


@pytest.mark.skipif(find_spec("alibabacloud_credentials") is None, reason="needs the extra 'credentials'")
@pytest.mark.parametrize(
    ("found", "said"), [(True, ["ui t1", "ui t1", "ui t2"]), (False, ["CredentialsNotFound"] * 3)]
)
def test_the_real_alibabacloud_credentials(home: Path, found: bool, said: list[str]) -> None:
    """In a process of its own, for the library reads its variables when it is imported."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ALIBABA_CLOUD_")}
    environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"
    CredentialsDesk.served.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), CredentialsDesk) as desk:
        threading.Thread(target=desk.serve_forever, daemon=True).start()
        if found:
            environ["ALIBABA_CLOUD_CREDENTIALS_URI"] = f"http://127.0.0.1:{desk.server_port}/"
        done = subprocess.run(
            [sys.executable, "-c", ASK], env=environ, capture_output=True, text=True, check=True
        )
        desk.shutdown()
    assert done.stdout.splitlines() == said


# --- connect ------------------------------------------------------------------------------------

AK = {"access_key_id": "ak", "access_key_secret": "sk"}


@pytest.mark.parametrize(
    ("config", "environ", "options", "url", "region"),
    [
        (None, {"OSS_REGION": "oss-cn-hangzhou"}, {}, "https://oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        (None, {"OSS_ENDPOINT": "http://127.0.0.1:9", "OSS_REGION": "r"}, {}, "http://127.0.0.1:9", "r"),
        (None, {"OSS_ENDPOINT": "oss-cn-beijing.aliyuncs.com"}, {"region": "cn-hangzhou"},
         "https://oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        (None, {"OSS_REGION": "cn-hangzhou"}, {"endpoint": "oss-cn-beijing.aliyuncs.com"},
         "https://oss-cn-beijing.aliyuncs.com", "cn-beijing"),
        (None, {"OSS_REGION": "cn-hangzhou"}, {"endpoint": "http://127.0.0.1:9"},
         "http://127.0.0.1:9", "cn-hangzhou"),
        (None, {"OSS_ENDPOINT": "oss-cn-beijing.aliyuncs.com"}, {"internal": True, "region": "cn-beijing"},
         "https://oss-cn-beijing-internal.aliyuncs.com", "cn-beijing"),
        (VERSION_1, {}, {}, "https://oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        (VERSION_1, {}, {"bucket": "bucket1"}, "https://oss-cn-shanghai.aliyuncs.com", "cn-shanghai"),
        (VERSION_2, {}, {}, "https://oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        (VERSION_2, {"OSS_REGION": "us-west-1"}, {}, "https://oss-us-west-1.aliyuncs.com", "us-west-1"),
        (VERSION_2, {"OSS_REGION": "us-west-1"}, {"profile": "dev"},
         "https://oss-cn-beijing-internal.aliyuncs.com", "cn-beijing"),
        (VERSION_2, {}, {"internal": True}, "https://oss-cn-hangzhou-internal.aliyuncs.com", "cn-hangzhou"),
    ],
)  # fmt: skip
def test_connect_fills_gaps(
    home: Path, config: str | None, environ: dict[str, str], options: dict[str, Any], url: str, region: str
) -> None:
    if config:
        write(home, config)
    connection = connect(**options, **AK, environ=environ)
    assert (connection.endpoint.canonical, connection.endpoint.region) == (url, region)
    assert connection.identity == url


def test_connect_takes_styles_and_buckets_from_files(home: Path) -> None:
    write(home, VERSION_2)
    connection = connect(**AK, environ={"OSS_BUCKET": "mybucket"})
    assert connection.bucket == "mybucket"
    assert connection.endpoint.url("mybucket", "k") == "https://minio.example.com/mybucket/k"
    write(home, VERSION_1.replace("endpoint = oss-cn", "region = cn-hangzhou\nendpoint = oss-cn"))
    connection = connect(**AK, bucket="bucket-two", environ={})
    assert connection.endpoint.url("bucket-two", "k") == "https://files.example.com/k"


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({}, InputError, "neither an endpoint nor a region"),
        ({"endpoint": "http://127.0.0.1:1"}, InputError, "V4 signatures need it"),
        ({"region": "cn-hangzhou", "signature": "v2"}, InputError, "no signature version 'v2'"),
        ({"region": "cn-hangzhou", "timeout": 0}, InputError, "timeout is 0"),
        ({"region": "cn-hangzhou", "connect_timeout": "5"}, InputError, "connect_timeout is '5'"),
        ({"region": "cn-hangzhou", "bucket": "B"}, InputError, "not a bucket name"),
        (
            {"region": "cn-hangzhou", "access_key_secret": None},
            CredentialsError,
            "access_key_secret is missing",
        ),
        ({"region": "cn-hangzhou", "credentials": Credentials("a", "b")}, CredentialsError, "both given"),
    ],
)
def test_connect_refuses(home: Path, options: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        connect(**{**AK, "environ": {}, **options})


def test_connection_shows_no_secret(home: Path) -> None:
    connection = connect(region="cn-hangzhou", access_key_id="ak", access_key_secret="canary", environ={})
    assert "canary" not in repr(connection)
    assert connect(endpoint="http://127.0.0.1:1", signature="v1", **AK, environ={}).signature == "v1"
    assert connection.user_agent.startswith("ossmp-jupyter/")


def test_settings_without_a_file(home: Path) -> None:
    assert ossutil_settings(environ={}) is None
