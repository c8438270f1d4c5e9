"""Signatures: the sheet's rejections, one by one. That good ones pass, the SDKs of tests/clients show."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.signing import presign_v1, presign_v4, sign_v4
from tests.localoss.client import Client, Reply

VERSIONS = ["v1", "v4"]


@pytest.fixture(autouse=True)
def stored(client: Client) -> None:
    assert client.request("PUT", "dir/ü a+b", body=b"hello").status == 200


def presigned(
    client: Client,
    version: str,
    *,
    expires: int = 60,
    method: str = "GET",
    now: float | None = None,
    headers: dict[str, str] | None = None,
) -> dict[str, str]:
    moment = time.time() if now is None else now
    common = {"query": {}, "headers": headers or {}, "credentials": client.credentials}
    where = (method, "demo", "dir/ü a+b")
    if version == "v1":
        return presign_v1(*where, **common, expires_at=int(moment) + expires)  # type: ignore[arg-type]
    at = datetime.fromtimestamp(moment, UTC)
    return presign_v4(*where, **common, now=at, expires=expires, region="cn-hangzhou")  # type: ignore[arg-type]


def fetch(
    client: Client,
    query: dict[str, str],
    *,
    key: str = "dir/ü a+b",
    method: str = "GET",
    headers: dict[str, str] | None = None,
) -> Reply:
    text = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
    return client.raw(method, f"/demo/{quote(key)}?{text}", headers or {})


@pytest.mark.parametrize("version", VERSIONS)
def test_good_signatures_pass(client: Client, version: str) -> None:
    assert client.request("GET", "dir/ü a+b", version=version).body == b"hello"
    assert fetch(client, presigned(client, version)).body == b"hello"


def test_anonymous_requests_are_refused(client: Client) -> None:
    assert client.raw("GET", "/demo/dir/x", {}).error[:2] == (403, "AccessDenied")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_wrong_secret(shared: LocalOSS, version: str) -> None:
    reply = Client(shared, secret="wrong").request("GET", "k", version=version)
    assert reply.error[:2] == (403, "SignatureDoesNotMatch")
    assert (reply.tag("OSSAccessKeyId"), reply.headers["x-oss-ec"]) == (shared.access_key_id, "0002-00000040")
    text = (reply.tag("StringToSign") or "").encode()
    assert bytes.fromhex(reply.tag("StringToSignBytes") or "") == text
    assert (reply.tag("CanonicalRequest") is not None) is (version == "v4")
    assert shared.access_key_secret.encode() not in reply.body


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_that_is_signed_counts(client: Client, version: str) -> None:
    query = {"uploadId": "0" * 32, "partNumber": "1"}
    headers = {"Content-Type": "text/plain", "x-oss-meta-a": "1"}
    target, full = client.signed("PUT", "k", query, headers, version=version)

    def code(target: str = target, method: str = "PUT", **changed: str) -> str | None:
        return client.raw(method, target, {**full, **changed}, b"").code

    assert code() == "NoSuchUpload"
    assert code(target.replace("partNumber=1", "partNumber=2")) == "SignatureDoesNotMatch"
    assert code(target.replace("/k?", "/l?")) == "SignatureDoesNotMatch"
    assert code(target, "GET") == "SignatureDoesNotMatch"
    assert code(**{"Content-Type": "text/html"}) == "SignatureDoesNotMatch"
    assert code(**{"x-oss-meta-a": "2"}) == "SignatureDoesNotMatch"
    assert code(**{"x-oss-meta-b": "2"}) == "SignatureDoesNotMatch"
    assert code(**{"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}) == "SignatureDoesNotMatch"
    # what neither version signs
    assert code(**{"Cache-Control": "x"}) == "NoSuchUpload"
    unsigned = target + "&max-parts=7"
    assert code(unsigned) == ("NoSuchUpload" if version == "v1" else "SignatureDoesNotMatch")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("off", [-870, 870, -930, 930])  # 30 s on either side for slow machines
def test_the_clock_window_is_15_minutes(client: Client, version: str, off: int) -> None:
    reply = client.request("GET", "dir/ü a+b", version=version, now=time.time() + off)
    if abs(off) < 900:
        assert reply.body == b"hello"
    else:
        assert reply.error == (403, "RequestTimeTooSkewed", "0002-00000504")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"x-oss-date": None}, 403, "AccessDenied"),
        ({"x-oss-date": "yesterday"}, 400, "InvalidArgument"),
        ({"Authorization": "OSS nonsense"}, 400, "InvalidArgument"),
        ({"Authorization": "Basic eDp5"}, 400, "InvalidArgument"),
        ({"Authorization": "OSS somebody:c2ln"}, 403, "InvalidAccessKeyId"),
        ({"x-oss-security-token": "t"}, 403, "InvalidSecurityToken"),
    ],
)
def test_malformed_v1(client: Client, changes: dict[str, str | None], status: int, code: str) -> None:
    target, headers = client.signed("GET", "k", version="v1")
    full = {name: value for name, value in {**headers, **changes}.items() if value is not None}
    assert client.raw("GET", target, full).error[:2] == (status, code)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"x-oss-date": None}, (403, "AccessDenied", None)),
        ({"x-oss-date": "20231299T000000Z"}, (400, "InvalidArgument", None)),
        ({"x-oss-content-sha256": None}, (400, "InvalidArgument", None)),
        ({"x-oss-content-sha256": "e3b0"}, (400, "InvalidArgument", None)),
        ({"Authorization": "OSS4-HMAC-SHA256 Credential=x"}, (400, "InvalidArgument", None)),
        ({"x-oss-security-token": "t"}, (403, "InvalidSecurityToken", "0002-00000006")),
    ],
)
def test_malformed_v4(
    client: Client, changes: dict[str, str | None], expected: tuple[int, str, str | None]
) -> None:
    target, headers = client.signed("GET", "k")
    full = {name: value for name, value in {**headers, **changes}.items() if value is not None}
    assert client.raw("GET", target, full).error == expected


def test_v4_scope(client: Client) -> None:
    reply = client.request("GET", "k", region="cn-beijing")
    assert reply.error == (400, "InvalidArgument", "0002-00000226")
    assert reply.tag("Message") == "Invalid signing region in Authorization header."
    target, headers = client.signed("GET", "k")
    other = headers["Authorization"].replace("/oss/aliyun", "/oss-cloudbox/aliyun")
    assert client.raw("GET", target, {**headers, "Authorization": other}).code == "InvalidArgument"
    stranger = headers["Authorization"].replace(client.oss.access_key_id, "somebody")
    assert client.raw("GET", target, {**headers, "Authorization": stranger}).error == (
        403,
        "InvalidAccessKeyId",
        "0002-00000902",
    )


@pytest.mark.parametrize(
    ("listed", "ec"),
    [
        ("", "0002-00000209"),
        ("host;", "0002-00000209"),
        ("absent", "0002-00000210"),
        ("a_b", "0002-00000211"),
    ],
)
def test_v4_additional_headers(client: Client, listed: str, ec: str) -> None:
    target, headers = client.signed("GET", "k")
    changed = headers["Authorization"].replace(",Signature", f",AdditionalHeaders={listed},Signature")
    reply = client.raw("GET", target, {**headers, "Authorization": changed, "a_b": "1"})
    assert reply.error == (400, "InvalidArgument", ec)


def test_v4_signs_additional_headers_in_any_layout(client: Client) -> None:
    host = f"{client.parts.hostname}:{client.parts.port}"
    headers = {"Host": host, "ZAbc": "1", "abc": "2"}
    added = sign_v4(
        "GET",
        "demo",
        "dir/ü a+b",
        query={},
        headers=headers,
        credentials=client.credentials,
        now=datetime.now(UTC),
        region="cn-hangzhou",
        additional_headers=["host", "zabc", "abc"],
    )
    target = "/demo/" + quote("dir/ü a+b")
    assert "AdditionalHeaders=abc;host;zabc" in added["Authorization"]
    assert client.raw("GET", target, {**headers, **added}).body == b"hello"
    # oss2's layout: another order, blanks after the commas
    scheme, _, fields = added["Authorization"].partition(" ")
    credential, extra, signature = fields.split(",")
    added["Authorization"] = f"{scheme} {credential}, {signature}, {extra}"
    assert client.raw("GET", target, {**headers, **added}).body == b"hello"
    assert client.raw("GET", target, {**headers, "abc": "3", **added}).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("version", VERSIONS)
def test_presigned_urls_end(client: Client, version: str) -> None:
    reply = fetch(client, presigned(client, version, expires=10, now=time.time() - 20))
    assert (reply.status, reply.code, reply.tag("Message")) == (403, "AccessDenied", "Request has expired.")
    assert (reply.tag("Expires") or "") < (reply.tag("ServerTime") or "")
    assert reply.tag("EC") == ("0002-00000069" if version == "v1" else None)


@pytest.mark.parametrize("version", VERSIONS)
def test_presigned_urls_are_for_one_request(client: Client, version: str) -> None:
    query = presigned(client, version)
    assert fetch(client, query, key="dir/other").code == "SignatureDoesNotMatch"
    assert fetch(client, query, method="PUT").code == "SignatureDoesNotMatch"
    assert fetch(client, {**query, "uploadId": "x"}).code == "SignatureDoesNotMatch"
    signed = presigned(client, version, headers={"Content-Type": "text/plain"}, method="PUT")
    assert fetch(client, signed, method="PUT", headers={"Content-Type": "text/html"}).status == 403
    assert fetch(client, signed, method="PUT", headers={"Content-Type": "text/plain"}).status == 200
    both = fetch(client, query, headers={"Authorization": "OSS a:b"})
    assert both.error[:2] == (400, "InvalidArgument")


@pytest.mark.parametrize("missing", ["OSSAccessKeyId", "Expires", "Signature"])
def test_a_v1_url_needs_all_three(client: Client, missing: str) -> None:
    query = presigned(client, "v1")
    del query[missing]
    assert fetch(client, query).error[:2] == (403, "AccessDenied")


@pytest.mark.parametrize("expires", ["0", "604801", "x", "-1"])
def test_a_v4_url_lives_7_days_at_most(client: Client, expires: str) -> None:
    query = {**presigned(client, "v4"), "x-oss-expires": expires}
    assert fetch(client, query).error == (400, "InvalidArgument", "0002-00000232")
    del query["x-oss-expires"]
    assert fetch(client, query).error == (400, "InvalidArgument", "0002-00000215")


def test_bad_expires_of_a_v1_url(client: Client) -> None:
    query = {**presigned(client, "v1"), "Expires": "soon"}
    assert fetch(client, query).error == (403, "AccessDenied", "0002-00000070")


@pytest.mark.parametrize("version", VERSIONS)
def test_security_tokens(version: str) -> None:
    with LocalOSS(security_token="to/ken+=") as oss:
        good = Client(oss, token="to/ken+=")
        assert good.request("PUT", "dir/ü a+b", body=b"hello", version=version).status == 200
        assert fetch(good, presigned(good, version)).body == b"hello"
        assert Client(oss).request("GET", "k", version=version).code == "InvalidAccessKeyId"
        assert Client(oss, token="other").request("GET", "k", version=version).code == "InvalidSecurityToken"
        without = presigned(Client(oss), version)
        assert fetch(good, without).code == "InvalidAccessKeyId"
        if version == "v1":
            reply = fetch(good, without, headers={"x-oss-security-token": "to/ken+="})
            assert reply.error[:2] == (400, "InvalidRequest")
        assert "to/ken" not in str(oss.journal())
        good.connection.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_tokens_that_expire(version: str) -> None:
    with LocalOSS(security_token="first") as oss:
        old, new = Client(oss, token="first"), Client(oss, token="second")
        assert new.request("GET", "k", version=version).code == "InvalidSecurityToken"
        oss.expire_token("second")
        reply = old.request("GET", "k", version=version)
        assert reply.error == (403, "SecurityTokenExpired", "0002-00000007")
        assert reply.tag("SecurityToken") == "first"  # as OSS really does
        assert new.request("GET", "k", version=version).code == "NoSuchKey"
        oss.set_faults([{"operation": "GetObject", "at": 2, "kind": "expire_token", "token": "third"}])
        codes = [new.request("GET", "k", version=version).code for _ in range(3)]
        assert codes == ["NoSuchKey", "SecurityTokenExpired", "SecurityTokenExpired"]
        assert Client(oss, token="third").request("GET", "k", version=version).code == "NoSuchKey"
        for client in (old, new):
            client.connection.close()


def test_the_journal_holds_no_secret(client: Client) -> None:
    client.oss.journal(clear=True)
    client.request("GET", "k", version="v1")
    client.request("GET", "k")
    for version in VERSIONS:
        fetch(client, presigned(client, version))
    entries = client.oss.journal()
    assert len(entries) == 4
    assert entries[0]["headers"]["authorization"] == "OSS (hidden)"
    assert entries[1]["headers"]["authorization"] == "OSS4-HMAC-SHA256 (hidden)"
    assert entries[2]["query"]["Signature"] == entries[3]["query"]["x-oss-signature"] == "(hidden)"
    assert client.oss.access_key_secret not in str(entries)
