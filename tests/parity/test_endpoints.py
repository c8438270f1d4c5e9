"""Endpoints: every form reaches the bucket over real HTTP and TLS, through a proxy that knows all names."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ossmp_jupyter import upload
from ossmp_jupyter.errors import AccessDenied, ConnectionTimeout, InputError, ResponseTimeout, TransportError
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.connection import Connection, connect
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.client import OSSClient
from ossmp_jupyter.transfer.retry import RetryPolicy
from tests.parity.net import Authority, Proxy, Relay
from tests.parity.support import PART, connection_to, payload, requests_of

HZ = "cn-hangzhou"
FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "region with oss-": ({"region": "oss-cn-hangzhou"}, "demo.oss-cn-hangzhou.aliyuncs.com"),
    "region without": ({"region": HZ}, "demo.oss-cn-hangzhou.aliyuncs.com"),
    "internal": ({"region": HZ, "internal": True}, "demo.oss-cn-hangzhou-internal.aliyuncs.com"),
    "accelerate": ({"region": HZ, "accelerate": True}, "demo.oss-accelerate.aliyuncs.com"),
    "accelerate overseas": (
        {"region": HZ, "endpoint": "oss-accelerate-overseas.aliyuncs.com"},
        "demo.oss-accelerate-overseas.aliyuncs.com",
    ),
    "dual stack": ({"region": HZ, "dualstack": True}, "demo.cn-hangzhou.oss.aliyuncs.com"),
    "host alone": ({"endpoint": "oss-cn-hangzhou.aliyuncs.com"}, "demo.oss-cn-hangzhou.aliyuncs.com"),
    "historic": ({"endpoint": "https://oss.aliyuncs.com"}, "demo.oss.aliyuncs.com"),
    "http": ({"endpoint": "http://oss-cn-hangzhou.aliyuncs.com"}, "demo.oss-cn-hangzhou.aliyuncs.com"),
    "port": (
        {"endpoint": "http://oss-cn-hangzhou.aliyuncs.com:8080"},
        "demo.oss-cn-hangzhou.aliyuncs.com:8080",
    ),
}


@pytest.fixture
def world(oss: LocalOSS, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in the environment behind which the real service's names are the embedded OSS, TLS included."""
    behind = ("127.0.0.1", urlsplit(oss.endpoint).port or 0)
    names = {host.partition(":")[0] for _, host in FORMS.values()}
    relay = Relay(behind, authority.context(*names, "demo.oss-cn-beijing.aliyuncs.com", "demo.example.com"))
    proxy = Proxy(behind, ("127.0.0.1", relay.port))
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    yield proxy
    manager.stop_engine()
    proxy.close()
    relay.close()


def keys(oss: LocalOSS) -> dict[str, Any]:
    return {"access_key_id": oss.access_key_id, "access_key_secret": oss.access_key_secret, "environ": {}}


@pytest.mark.filterwarnings("ignore:http.*travel in clear:UserWarning")
@pytest.mark.parametrize("signature", ["v4", "v1"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_endpoint(oss: LocalOSS, world: Proxy, key: str, form: str, signature: str) -> None:
    """Virtual-host style, proxy from the environment, own authority from the environment: a whole upload."""
    settings, host = FORMS[form]
    connection = connect(bucket="demo", signature=signature, **settings, **keys(oss))
    result = upload(payload(2 * PART), key, connection=connection, part_size=PART).wait(30)
    assert result.verified and result.parts == 2
    assert {entry["headers"]["host"] for entry in requests_of(oss)} == {host}
    assert {name.partition(":")[0] for name in world.hosts} == {host.partition(":")[0]}
    scheme = "http" if "http:" in str(settings.get("endpoint")) else "https"
    assert connection.endpoint.scheme == scheme


def test_cname(oss: LocalOSS, world: Proxy, key: str) -> None:
    """A custom domain stands for the bucket: neither a label before it nor the path names it."""
    connection = connect(endpoint="demo.example.com", region=HZ, bucket="demo", cname=True, **keys(oss))
    assert upload(payload(), key, connection=connection, part_size=PART).wait(30).verified
    assert {entry["headers"]["host"] for entry in requests_of(oss)} == {"demo.example.com"}
    assert connection.endpoint.url("demo", "a/b.csv") == "https://demo.example.com/a/b.csv"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_path_style_for_addresses_and_localhost(oss: LocalOSS, key: str, host: str) -> None:
    port = urlsplit(oss.endpoint).port
    connection = connection_to(oss, endpoint=f"http://{host}:{port}")
    assert upload(payload(), key, connection=connection, part_size=PART).wait(30).verified
    assert {entry["headers"]["host"] for entry in requests_of(oss)} == {f"{host}:{port}"}
    assert connection.endpoint.url("demo", "k") == f"http://{host}:{port}/demo/k"


def test_the_wrong_region_is_answered_with_the_right_endpoint(oss: LocalOSS, world: Proxy, key: str) -> None:
    for settings in ({"signature": "v4"}, {"signature": "v1"}):
        connection = connect(region="oss-cn-beijing", bucket="demo", **settings, **keys(oss))
        with pytest.raises(AccessDenied) as refused:
            upload(payload(), key, connection=connection, part_size=PART).wait(30)
        assert "connect with endpoint='oss-cn-hangzhou.aliyuncs.com'" in str(refused.value)
    assert requests_of(oss, "UploadPart") == []


# ------------------------------------------------------------------ TLS


@pytest.fixture
def secure(oss: LocalOSS, authority: Authority) -> Iterator[str]:
    """The embedded OSS behind TLS, with a certificate that nobody else trusts."""
    relay = Relay(("127.0.0.1", urlsplit(oss.endpoint).port or 0), authority.context("127.0.0.1"))
    yield f"https://127.0.0.1:{relay.port}"
    manager.stop_engine()
    relay.close()


@pytest.mark.parametrize("way", ["ca_file", "SSL_CERT_FILE", "verify path", "verify context"])
def test_own_authority(
    oss: LocalOSS, secure: str, authority: Authority, key: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Lanes and ordinary requests alike."""
    settings: dict[str, Any] = {}
    if way == "SSL_CERT_FILE":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    elif way == "verify path":
        settings["verify"] = str(authority.file)
    elif way == "verify context":
        settings["verify"] = ssl.create_default_context(cafile=str(authority.file))
    connection = connection_to(oss, endpoint=secure, ca_file=authority.file if way == "ca_file" else None)

    async def scenario() -> bool:
        async with OSSClient(connection, **settings) as client:
            return (await client.multipart_upload(key, payload(), part_size=PART)).verified

    assert asyncio.run(scenario())
    if way in ("ca_file", "SSL_CERT_FILE"):
        assert upload(payload(), f"{key}-2", connection=connection, part_size=PART).wait(30).verified


def test_an_unknown_authority_is_refused_at_once(oss: LocalOSS, secure: str, key: str) -> None:
    with pytest.raises(TransportError, match=r"TLS certificate .* is not trusted.*ca_file"):
        upload(payload(), key, connection=connection_to(oss, endpoint=secure)).wait(30)
    assert requests_of(oss) == []
    with pytest.raises(InputError, match="there is no file"):
        connection_to(oss, endpoint=secure, ca_file="/nonexistent/ca.pem")


# ------------------------------------------------------------------ time-outs, as in the FAQ


REMEDIES = ("longer", "smaller parts (part_size)", "fewer at a time (parallel)")


def no_answer(connection: Connection, **settings: Any) -> Exception:
    from ossmp_jupyter.transfer.request import prepare_request
    from ossmp_jupyter.transfer.upload import UploadTask

    async def scenario() -> None:
        async with OSSClient(connection, **settings) as client:
            request = prepare_request(connection, payload(), "k", part_size=PART, checkpoint=False)
            await UploadTask(client.rest_with(None), request, policy=RetryPolicy(attempts=1)).run()

    with pytest.raises(TransportError) as failed:
        asyncio.run(scenario())
    return failed.value


def test_connection_timeout_is_its_own_class_and_names_the_remedies(oss: LocalOSS) -> None:
    """A listening socket whose queue is full takes no further connection: SYNs go unanswered."""
    import socket

    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(full.getsockname())
            waiting.append(one)
        endpoint = f"http://127.0.0.1:{full.getsockname()[1]}"
        error = no_answer(connection_to(oss, endpoint=endpoint, connect_timeout=0.3))
        for one in waiting:
            one.close()
    assert type(error) is ConnectionTimeout
    assert "no connection to" in str(error) and "within 0.3 s" in str(error)
    assert all(words in str(error) for words in REMEDIES)
    assert isinstance(error, TransportError) and error.retryable


def test_response_timeout_is_its_own_class_and_names_the_remedies(oss: LocalOSS) -> None:
    """ali-oss's ResponseTimeoutError has no code and is not retried."""
    oss.set_faults([{"operation": "UploadPart", "kind": "stall", "seconds": 20, "every": 1}])
    error = no_answer(connection_to(oss, timeout=4.0))  # long enough for what is answered
    assert type(error) is ResponseTimeout
    assert "did not answer UploadPart within 4.0 s" in str(error)
    assert all(words in str(error) for words in REMEDIES)
    assert error.retryable


@pytest.mark.filterwarnings("ignore:http.*travel in clear:UserWarning")
def test_an_unknown_host_is_named(oss: LocalOSS) -> None:
    error = no_answer(connection_to(oss, endpoint="http://no-such-host.invalid"))
    assert "cannot be found" in str(error) or "cannot be reached" in str(error)


def test_ca_files_are_read_from_the_home_directory(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ca.pem").write_bytes(authority.file.read_bytes())
    made = connect(region=HZ, access_key_id="a", access_key_secret="s", ca_file="~/ca.pem", environ={})
    assert made.ca_file == str(tmp_path / "ca.pem")
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(InputError, match=r"ca\.pem holds no certificate; name a PEM file"):
        connect(region=HZ, access_key_id="a", access_key_secret="s", ca_file="~/ca.pem", environ={})
