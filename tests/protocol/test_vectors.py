"""The published and derived test vectors of V1 and V4 signatures."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote

import pytest

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss.credentials import Credentials
from ossmp_jupyter.oss.signing import (
    canonical_request_v4,
    parse_authorization_v1,
    parse_authorization_v4,
    presign_v1,
    presign_v4,
    sign_v1,
    sign_v4,
    signature_v1,
    signature_v4,
    signing_key_v4,
    string_to_sign_v1,
    string_to_sign_v4,
)

D = "Wed, 28 Dec 2022 10:27:41 GMT"
NOW_V1 = datetime(2022, 12, 28, 10, 27, 41, tzinfo=UTC)
AK = Credentials("ak", "sk")
TOKEN = Credentials("ak", "sk", "token")
KEY = "dir/中 a+b.bin"
UPLOAD = "0004B9894A22E5B1888A1E29F8236E2D"
MD5 = {"Content-MD5": "eB5eJF1ptWaXm4bijSPyxw==", "Content-Type": "text/html"}
META = {"x-oss-meta-author": "alice", "x-oss-meta-magic": "abracadabra"}

V1_HEADER = [
    pytest.param(
        "PUT",
        "nelson",
        {},
        {**MD5, **META},
        f"PUT\neB5eJF1ptWaXm4bijSPyxw==\ntext/html\n{D}\nx-oss-date:{D}\nx-oss-meta-author:alice\n"
        "x-oss-meta-magic:abracadabra\n/examplebucket/nelson",
        "kSHKmLxlyEAKtZPkJhG9bZb5k7M=",
        id="V1-1",
    ),
    pytest.param(
        "PUT",
        "nelson",
        {"acl": ""},
        {**MD5, **META},
        f"PUT\neB5eJF1ptWaXm4bijSPyxw==\ntext/html\n{D}\nx-oss-date:{D}\nx-oss-meta-author:alice\n"
        "x-oss-meta-magic:abracadabra\n/examplebucket/nelson?acl",
        "/afkugFbmWDQ967j1vr6zygBLQk=",
        id="V1-2",
    ),
    pytest.param(
        "GET",
        "",
        {"resourceGroup": "", "non-resousce": "null"},
        {},
        f"GET\n\n\n{D}\nx-oss-date:{D}\n/examplebucket/?resourceGroup",
        "vkQmfuUDyi1uDi3bKt67oemssIs=",
        id="V1-3",
    ),
    pytest.param(
        "GET",
        "",
        {"resourceGroup": "", "acl": ""},
        {},
        f"GET\n\n\n{D}\nx-oss-date:{D}\n/examplebucket/?acl&resourceGroup",
        "x3E5TgOvl/i7PN618s5mEvpJDYk=",
        id="V1-4",
    ),
    pytest.param(
        "POST",
        KEY,
        {"uploads": ""},
        {"Content-Type": "application/octet-stream"},
        f"POST\n\napplication/octet-stream\n{D}\nx-oss-date:{D}\n/examplebucket/dir/中 a+b.bin?uploads",
        "bDDVD4m2tVdzP+HvzB0Z2TfLS9o=",
        id="V1-D1",
    ),
    pytest.param(
        "PUT",
        KEY,
        {"partNumber": "1", "uploadId": UPLOAD},
        {},
        f"PUT\n\n\n{D}\nx-oss-date:{D}\n/examplebucket/dir/中 a+b.bin?partNumber=1&uploadId={UPLOAD}",
        "JNJpYSyLLnxlwPWQtgUokTPoCFo=",
        id="V1-D2",
    ),
    pytest.param(
        "GET",
        "",
        {"uploads": "", "max-uploads": "2", "prefix": "dir/", "encoding-type": "url"},
        {},
        f"GET\n\n\n{D}\nx-oss-date:{D}\n/examplebucket/?uploads",
        "GzuqwXwofEqBx6roeBU+rj3ePcg=",
        id="V1-D3",
    ),
]


@pytest.mark.parametrize(("method", "key", "query", "headers", "text", "signature"), V1_HEADER)
def test_v1_headers(
    method: str, key: str, query: dict[str, str], headers: dict[str, str], text: str, signature: str
) -> None:
    added = sign_v1(method, "examplebucket", key, query=query, headers=headers, credentials=AK, now=NOW_V1)
    assert added == {"x-oss-date": D, "Authorization": f"OSS ak:{signature}"}
    assert string_to_sign_v1(method, "examplebucket", key, query=query, headers={**headers, **added}) == text
    assert signature_v1("sk", text) == signature
    assert parse_authorization_v1(added["Authorization"]) == ("ak", signature)


@pytest.mark.parametrize(
    ("method", "bucket", "key", "query", "credentials", "expires", "text", "signature"),
    [
        pytest.param(
            "GET",
            "bucket",
            "key",
            {"versionId": "versionId"},
            AK,
            1699807420,
            "GET\n\n\n1699807420\n/bucket/key?versionId=versionId",
            "dcLTea%2BYh9ApirQ8o8dOPqtvJXQ%3D",
            id="V1-5",
        ),
        pytest.param(
            "GET",
            "bucket",
            "key+123",
            {"versionId": "versionId"},
            TOKEN,
            1699808204,
            "GET\n\n\n1699808204\n/bucket/key+123?security-token=token&versionId=versionId",
            "jzKYRrM5y6Br0dRFPaTGOsbrDhY%3D",
            id="V1-6",
        ),
        pytest.param(
            "PUT",
            "examplebucket",
            KEY,
            {"partNumber": "1", "uploadId": UPLOAD},
            AK,
            1702744257,
            f"PUT\n\n\n1702744257\n/examplebucket/dir/中 a+b.bin?partNumber=1&uploadId={UPLOAD}",
            "hTQbkpcNHLMkCCIlkF4JYe%2FeE5w%3D",
            id="V1-D4",
        ),
    ],
)
def test_v1_links(
    method: str,
    bucket: str,
    key: str,
    query: dict[str, str],
    credentials: Credentials,
    expires: int,
    text: str,
    signature: str,
) -> None:
    full = presign_v1(
        method, bucket, key, query=query, headers={}, credentials=credentials, expires_at=expires
    )
    assert quote(full["Signature"], safe="") == signature
    assert (full["OSSAccessKeyId"], full["Expires"]) == ("ak", str(expires))
    assert full.get("security-token") == credentials.security_token
    assert string_to_sign_v1(method, bucket, key, query=full, headers={}, date=str(expires)) == text


def test_v1_documentation_example() -> None:
    headers = {
        "Content-Md5": "ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM=",
        "Content-Type": "text/html",
        "Date": "Thu, 17 Nov 2005 18:49:58 GMT",
        "X-OSS-Meta-Author": "foo@bar.com",
        "X-OSS-Magic": "abracadabra",
    }
    text = string_to_sign_v1("PUT", "oss-example", "nelson", query={}, headers=headers)
    assert text == (
        "PUT\nODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM=\ntext/html\nThu, 17 Nov 2005 18:49:58 GMT\n"
        "x-oss-magic:abracadabra\nx-oss-meta-author:foo@bar.com\n/oss-example/nelson"
    )
    assert signature_v1("OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV", text) == "26NBxoKdsyly4EDv6inkoDft/yA="


QUERY = {
    "param1": "value1",
    "+param1": "value3",
    "|param1": "value4",
    "+param2": "",
    "|param2": "",
    "param2": "",
}
PLAIN = {
    "x-oss-head1": "value",
    "abc": "value",
    "ZAbc": "value",
    "XYZ": "value",
    "content-type": "text/plain",
}
LINK = {**PLAIN, "content-type": "application/octet-stream"}
CANONICAL_A = """PUT
/bucket/1234%2B-/123/1.txt
%2Bparam1=value3&%2Bparam2&%7Cparam1=value4&%7Cparam2&param1=value1&param2
content-type:text/plain
x-oss-content-sha256:UNSIGNED-PAYLOAD
x-oss-date:20231216T162057Z
x-oss-head1:value


UNSIGNED-PAYLOAD"""


def at(unix: int) -> datetime:
    return datetime.fromtimestamp(unix, UTC)


@pytest.mark.parametrize(
    ("unix", "credentials", "additional", "region", "product", "signature"),
    [
        pytest.param(
            1702743657,
            AK,
            (),
            "cn-hangzhou",
            "oss",
            "e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe",
            id="V4-a",
        ),
        pytest.param(
            1702784856,
            TOKEN,
            (),
            "cn-hangzhou",
            "oss",
            "b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea",
            id="V4-b",
        ),
        pytest.param(
            1702747512,
            AK,
            ("ZAbc", "abc"),
            "cn-hangzhou",
            "oss",
            "4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f",
            id="V4-c",
        ),
        pytest.param(
            1702743657,
            AK,
            (),
            "cb-123",
            "oss-cloudbox",
            "94ce1f12c17d148ea681030275a94449d3357f5b5b21133996eec80af3e08a43",
            id="V4-h",
        ),
    ],
)
def test_v4_headers(
    unix: int,
    credentials: Credentials,
    additional: tuple[str, ...],
    region: str,
    product: str,
    signature: str,
) -> None:
    added = sign_v4(
        "PUT",
        "bucket",
        "1234+-/123/1.txt",
        query=QUERY,
        headers=PLAIN,
        credentials=credentials,
        now=at(unix),
        region=region,
        additional_headers=additional,
        product=product,
    )
    told = parse_authorization_v4(added["Authorization"])
    assert told is not None
    assert told.signature == signature
    assert (told.access_key_id, told.region, told.product) == ("ak", region, product)
    assert told.additional_headers == ("abc;zabc" if additional else None)
    assert added.get("x-oss-security-token") == credentials.security_token
    # and as a server verifies: from what came over the wire
    request = canonical_request_v4(
        "PUT",
        "bucket",
        "1234+-/123/1.txt",
        query=QUERY,
        headers={**PLAIN, **added},
        additional_headers=told.additional_headers or "",
    )
    text = string_to_sign_v4(request, added["x-oss-date"], told.region, told.product)
    assert signature_v4("sk", text) == signature


def test_v4_intermediate_values() -> None:
    headers = {**PLAIN, "x-oss-content-sha256": "UNSIGNED-PAYLOAD", "x-oss-date": "20231216T162057Z"}
    request = canonical_request_v4("PUT", "bucket", "1234+-/123/1.txt", query=QUERY, headers=headers)
    assert request == CANONICAL_A
    digest = "f4613657f1b108998e8dbd10a1aa5da621dc2c6e02c9ddec0f163664848704c4"
    assert sha256(request.encode()).hexdigest() == digest
    assert string_to_sign_v4(request, "20231216T162057Z", "cn-hangzhou") == (
        f"OSS4-HMAC-SHA256\n20231216T162057Z\n20231216/cn-hangzhou/oss/aliyun_v4_request\n{digest}"
    )
    key = signing_key_v4("sk", "20231216", "cn-hangzhou").hex()
    assert key == "b412a03b134ebddd720f5167b5de6db66620ebb3b01cff4d49e3ccb09f8de97f"


@pytest.mark.parametrize(
    ("unix", "credentials", "additional", "expires", "signature"),
    [
        pytest.param(
            1702781677,
            AK,
            (),
            599,
            "a39966c61718be0d5b14e668088b3fa07601033f6518ac7b523100014269c0fe",
            id="V4-d",
        ),
        pytest.param(
            1702785388,
            TOKEN,
            (),
            599,
            "3817ac9d206cd6dfc90f1c09c00be45005602e55898f26f5ddb06d7892e1f8b5",
            id="V4-e",
        ),
        pytest.param(
            1702783809,
            AK,
            ("abc", "ZAbc"),
            599,
            "6bd984bfe531afb6db1f7550983a741b103a8c58e5e14f83ea474c2322dfa2b7",
            id="V4-f",
        ),
        pytest.param(
            1702781677,
            AK,
            (),
            432000,
            "31029123dc7732d2d2cfd4006ea4fdb6cf86da6478f813e2bf8f87877c7b9fec",
            id="V4-g",
        ),
    ],
)
def test_v4_links(
    unix: int, credentials: Credentials, additional: tuple[str, ...], expires: int, signature: str
) -> None:
    full = presign_v4(
        "PUT",
        "bucket",
        "1234+-/123/1.txt",
        query=QUERY,
        headers=LINK,
        credentials=credentials,
        now=at(unix),
        expires=expires,
        region="cn-hangzhou",
        additional_headers=additional,
    )
    assert full["x-oss-signature"] == signature
    assert full.get("x-oss-additional-headers") == ("abc;zabc" if additional else None)
    request = canonical_request_v4(
        "PUT",
        "bucket",
        "1234+-/123/1.txt",
        query=full,
        headers=LINK,
        additional_headers=full.get("x-oss-additional-headers", ""),
    )
    assert signature_v4("sk", string_to_sign_v4(request, full["x-oss-date"], "cn-hangzhou")) == signature


def test_v4_link_intermediate_values() -> None:
    full = presign_v4(
        "PUT",
        "bucket",
        "1234+-/123/1.txt",
        query=QUERY,
        headers=LINK,
        credentials=AK,
        now=at(1702781677),
        expires=599,
        region="cn-hangzhou",
    )
    request = canonical_request_v4("PUT", "bucket", "1234+-/123/1.txt", query=full, headers=LINK)
    digest = "48814c11f278d51662015bf2f896b66ca10b6de0187ed8d952e341bbce0aa336"
    assert sha256(request.encode()).hexdigest() == digest
    key = signing_key_v4("sk", "20231217", "cn-hangzhou").hex()
    assert key == "0e11d77e422d3484e84ee6b628fdf2a85f3788e1a597f23116b477efb407e94e"


PART = {"partNumber": "1", "uploadId": UPLOAD}


@pytest.mark.parametrize(
    ("method", "key", "query", "headers", "signature"),
    [
        pytest.param(
            "POST",
            KEY,
            {"uploads": ""},
            {"content-type": "application/octet-stream"},
            "d2a8c00a9424f594e89dc63f2744de1fcb6f8c20f8965d8000269cc3ce1f1350",
            id="V4-D1",
        ),
        pytest.param(
            "PUT",
            KEY,
            PART,
            {},
            "29c46ae9bd32785c1fd542f486763181d9f03060bd36812e07a32160f286a1ee",
            id="V4-D2",
        ),
        pytest.param(
            "GET",
            "",
            {"uploads": "", "max-uploads": "2", "prefix": "dir/", "encoding-type": "url"},
            {},
            "6b5d0a6350ec5e6bd67e7254d10e68c35927359c081a4c8161f4f09e7c6f5afc",
            id="V4-D3",
        ),
    ],
)
def test_v4_multipart(
    method: str, key: str, query: dict[str, str], headers: dict[str, str], signature: str
) -> None:
    added = sign_v4(
        method,
        "examplebucket",
        key,
        query=query,
        headers=headers,
        credentials=AK,
        now=at(1702743657),
        region="cn-hangzhou",
    )
    assert added["Authorization"] == (
        f"OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request,Signature={signature}"
    )


def test_v4_part_canonical_request_and_link() -> None:
    added = sign_v4(
        "PUT",
        "examplebucket",
        KEY,
        query=PART,
        headers={},
        credentials=AK,
        now=at(1702743657),
        region="cn-hangzhou",
    )
    request = canonical_request_v4("PUT", "examplebucket", KEY, query=PART, headers=added)
    digest = "2fabc936f65599c0a540b01b5e51f84e70befcc4e8f24423b94ed9498cf53bef"
    assert sha256(request.encode()).hexdigest() == digest
    full = presign_v4(
        "PUT",
        "examplebucket",
        KEY,
        query=PART,
        headers={},
        credentials=AK,
        now=at(1702743657),
        expires=600,
        region="cn-hangzhou",
    )
    assert full["x-oss-signature"] == "6a5f51ccb1b67bde111e81dd58e89dda839cab5ae257fb4ffcb333a02b119152"


@pytest.mark.parametrize("expires", [0, -1, 604801])
def test_v4_link_lifetime(expires: int) -> None:
    with pytest.raises(InputError, match="7 days"):
        presign_v4(
            "GET", "b", "k", query={}, headers={}, credentials=AK, now=at(0), expires=expires, region="r"
        )


def test_authorization_of_oss2_has_another_order() -> None:
    told = parse_authorization_v4(
        "OSS4-HMAC-SHA256 Credential=a/b/20231216/cn-hangzhou/oss/aliyun_v4_request, Signature=00, "
        "AdditionalHeaders=abc;host"
    )
    assert told is not None
    assert (told.access_key_id, told.additional_headers, told.signature) == ("a/b", "abc;host", "00")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "OSS ak:sig",
        "OSS4-HMAC-SHA256 Credential=a/b,Signature=1",
        "Bearer x",
        "OSS4-HMAC-SHA256 Credential=a/1/r/oss/aliyun_v4_request",
    ],
)
def test_authorizations_that_are_none(text: str) -> None:
    assert parse_authorization_v4(text) is None


@pytest.mark.parametrize("text", ["", "OSS", "OSS ak", "OSS ak:", "OSS :sig", "OSS4 ak:sig"])
def test_v1_authorizations_that_are_none(text: str) -> None:
    assert parse_authorization_v1(text) is None
