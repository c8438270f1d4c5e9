"""Put, get, head, delete: headers, ranges, conditions, errors."""

from __future__ import annotations

import base64
import os
import re
import time
from urllib.parse import unquote

import pytest

from tests.localoss.client import Client

DATA = bytes(range(256)) * 1000


def test_every_answer_looks_like_oss(client: Client) -> None:
    for reply in (client.request("PUT", "looks", body=b"x"), client.request("GET", "missing")):
        assert re.fullmatch(r"[0-9A-F]{24}", reply.headers["x-oss-request-id"])
        assert reply.headers["server"] == "AliyunOSS"
        assert reply.headers["x-oss-server-time"].isdecimal()
        assert reply.headers["date"].endswith(" GMT")
    assert reply.headers["content-type"] == "application/xml"
    assert reply.tag("RequestId") == reply.headers["x-oss-request-id"]
    assert reply.tag("HostId") == f"{client.parts.hostname}:{client.parts.port}"
    assert (reply.code, reply.tag("Key"), reply.tag("EC")) == ("NoSuchKey", "missing", "0026-00000001")
    assert reply.tag("RecommendDoc") == "https://api.aliyun.com/troubleshoot?q=0026-00000001"


def test_put_tells_what_it_stored(client: Client) -> None:
    empty = client.request("PUT", "empty", body=b"")
    assert empty.headers["etag"] == '"D41D8CD98F00B204E9800998ECF8427E"'
    assert empty.headers["x-oss-hash-crc64ecma"] == "0"
    assert empty.headers["content-md5"] == "1B2M2Y8AsgTpgAmY7PhCfg=="


def test_head_and_get_tell_the_same(client: Client) -> None:
    headers = {"Content-Type": "text/plain", "Content-Language": "de", "x-oss-meta-Name": "Wert ü"}
    client.request("PUT", "same", body=DATA, headers={**headers, "x-oss-meta-Name": "Wert"})
    head, get = client.request("HEAD", "same"), client.request("GET", "same")
    assert (head.status, head.body, get.body) == (200, b"", DATA)
    changing = ("date", "x-oss-request-id", "x-oss-server-time")
    assert {n: v for n, v in head.headers.items() if n not in changing} == {
        n: v for n, v in get.headers.items() if n not in changing
    }
    assert head.headers["x-oss-meta-name"] == "Wert"
    assert (head.headers["x-oss-object-type"], head.headers["x-oss-storage-class"]) == ("Normal", "Standard")
    assert (head.headers["content-length"], head.headers["accept-ranges"]) == ("256000", "bytes")
    assert head.headers["content-language"] == "de"


def test_metadata_in_utf_8_comes_back_as_it_went(client: Client) -> None:
    value = "Grüße 中".encode()
    target, headers = client.signed("PUT", "utf8", headers={"x-oss-meta-a": value.decode()})
    with client.socket() as sock:
        lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items()).encode()
        sock.sendall(
            b"PUT " + target.encode() + b" HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n" + lines + b"\r\n"
        )
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    assert client.request("HEAD", "utf8").headers["x-oss-meta-a"].encode("latin-1") == value


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=255990-", 255990, 255999),
        ("bytes=-5", 255995, 255999),
        ("bytes=7-7", 7, 7),
    ],
)
def test_ranges(client: Client, text: str, first: int, last: int) -> None:
    client.request("PUT", "ranges", body=DATA)
    reply = client.request("GET", "ranges", headers={"Range": text})
    assert (reply.status, reply.body) == (206, DATA[first : last + 1])
    assert reply.headers["content-range"] == f"bytes {first}-{last}/{len(DATA)}"


@pytest.mark.parametrize(
    "text", ["bytes=9-1", "bytes=256000-", "bytes=0-256000", "bytes=x", "bytes=-", "lines=0-1"]
)
def test_bad_ranges_give_everything(client: Client, text: str) -> None:
    client.request("PUT", "ranges", body=DATA)
    reply = client.request("GET", "ranges", headers={"Range": text})
    assert (reply.status, reply.body) == (200, DATA)


def test_standard_range_behaviour(client: Client) -> None:
    client.request("PUT", "ranges", body=DATA)
    standard = {"x-oss-range-behavior": "standard"}
    beyond = client.request("GET", "ranges", headers={**standard, "Range": "bytes=256000-"})
    assert beyond.error[:2] == (416, "InvalidRange")
    clipped = client.request("GET", "ranges", headers={**standard, "Range": "bytes=255999-256005"})
    assert (clipped.status, clipped.body) == (206, DATA[-1:])


def test_ranges_over_the_seams_of_parts(client: Client) -> None:
    parts = [os.urandom(102_400), os.urandom(150_000), os.urandom(5)]
    client.upload("seams", *parts)
    whole = b"".join(parts)
    for first, last in [
        (0, 10),
        (102_399, 102_400),
        (0, len(whole) - 1),
        (252_390, 252_404),
        (252_400, 252_400),
    ]:
        reply = client.request("GET", "seams", headers={"Range": f"bytes={first}-{last}"})
        assert reply.body == whole[first : last + 1]


def test_conditions(client: Client) -> None:
    etag = client.request("PUT", "conditions", body=b"x").headers["etag"]
    past, future = "Mon, 01 Jan 2001 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
    expect = [
        ({"If-Match": etag}, 200),
        ({"If-Match": etag.strip('"')}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-Modified-Since": past}, 200),
        ({"If-Modified-Since": future}, 304),
        ({"If-Unmodified-Since": past}, 412),
        ({"If-Unmodified-Since": future}, 200),
        ({"If-Modified-Since": "nonsense"}, 200),
    ]
    for method in ("GET", "HEAD"):
        assert [client.request(method, "conditions", headers=h).status for h, _ in expect] == [
            s for _, s in expect
        ]
    assert client.request("GET", "conditions", headers={"If-Match": "x"}).tag("Condition") == "If-Match"


def test_errors_of_head_travel_in_headers(client: Client) -> None:
    reply = client.request("HEAD", "missing")
    assert (reply.status, reply.body, reply.headers["x-oss-ec"]) == (404, b"", "0026-00000001")
    document = base64.b64decode(reply.headers["x-oss-err"])
    assert b"<Code>NoSuchKey</Code>" in document and b"<Key>missing</Key>" in document


def test_forbid_overwrite(client: Client) -> None:
    forbid = {"x-oss-forbid-overwrite": "true"}
    assert client.request("PUT", "forbid-put", body=b"1", headers=forbid).status == 200
    assert client.request("PUT", "forbid-put", body=b"2", headers=forbid).error == (
        409,
        "FileAlreadyExists",
        "0026-00000002",
    )
    assert client.request("GET", "forbid-put").body == b"1"


def test_tags_and_acl_read_back(client: Client) -> None:
    client.request(
        "PUT", "tagged", body=b"x", headers={"x-oss-tagging": "a=1&b%20c", "x-oss-object-acl": "private"}
    )
    tags = client.request("GET", "tagged", {"tagging": ""})
    assert (tags.tags("Key"), tags.tags("Value")) == (["a", "b c"], ["1", ""])
    assert client.request("GET", "tagged", {"acl": ""}).tag("Grant") == "private"
    client.request("PUT", "untagged", body=b"x")
    assert client.request("GET", "untagged", {"acl": ""}).tag("Grant") == "default"
    assert client.request("GET", "missing", {"tagging": ""}).code == "NoSuchKey"


def test_delete_is_quiet(client: Client) -> None:
    client.request("PUT", "deleted", body=b"x")
    assert [client.request("DELETE", "deleted").status for _ in range(2)] == [204, 204]
    assert client.request("GET", "deleted").code == "NoSuchKey"


def test_response_overrides(client: Client) -> None:
    client.request("PUT", "overrides", body=b"x")
    reply = client.request(
        "GET", "overrides", {"response-content-type": "a/b", "response-cache-control": "c"}
    )
    assert (reply.headers["content-type"], reply.headers["cache-control"]) == ("a/b", "c")


@pytest.mark.parametrize(
    "key",
    [
        "a//b",
        "./a",
        "../../etc/passwd",
        "a/../b",
        "a/./b",
        "..",
        ".",
        "a b",
        "a+b",
        "a%2Fb",
        "a%b",
        "?",
        "#",
        "ü",
        "中/文",
        "\x01\x1f\x7f",
        "a\nb",
        "'\"<>&",
        "~!*'()",
        "\U0001f600",
        "a/",
        "con",
        "k" * 1023,
        "ö" * 511,
    ],
)
def test_any_key_is_one_object_and_no_path(client: Client, key: str) -> None:
    body = key.encode()
    assert client.request("PUT", key, body=body).status == 200
    assert client.request("GET", key).body == body
    listed = client.request("GET", "", {"list-type": "2", "prefix": key, "encoding-type": "url"})
    assert key in [unquote(found) for found in listed.tags("Key")]
    assert client.request("DELETE", key).status == 204
    assert client.request("HEAD", key).status == 404


def test_the_raw_path_is_decoded_once(client: Client) -> None:
    client.request("PUT", "a%2Fb", body=b"percent")
    client.request("PUT", "a/b", body=b"slash")
    assert client.request("GET", "a%2Fb").body == b"percent"
    assert client.request("GET", "a/b").body == b"slash"


@pytest.mark.parametrize("key", ["k" * 1024, "/k", "\\k", "ö" * 512])
def test_bad_keys(client: Client, key: str) -> None:
    assert client.request("PUT", key, body=b"").error[:2] == (400, "InvalidObjectName")


def test_a_path_that_is_not_utf_8(client: Client) -> None:
    assert client.raw("GET", "/demo/%FF%FE", {}).error[:2] == (400, "InvalidObjectName")


def test_buckets(client: Client) -> None:
    assert client.request("PUT", bucket="own-bucket").status == 200
    assert client.request("PUT", bucket="own-bucket").status == 200
    assert client.request("PUT", "k", body=b"x", bucket="own-bucket").status == 200
    assert client.request("DELETE", bucket="own-bucket").error == (409, "BucketNotEmpty", "0015-00000301")
    client.request("DELETE", "k", bucket="own-bucket")
    upload_id = client.initiate("k", bucket="own-bucket")
    assert client.request("DELETE", bucket="own-bucket").code == "BucketNotEmpty"
    client.request("DELETE", "k", {"uploadId": upload_id}, bucket="own-bucket")
    assert client.request("DELETE", bucket="own-bucket").status == 204
    missing = client.request("GET", "k", bucket="own-bucket")
    assert missing.error == (404, "NoSuchBucket", "0015-00000101")
    assert missing.tag("BucketName") == "own-bucket"
    assert client.request("PUT", bucket="Bad_Bucket").error[:2] == (400, "InvalidBucketName")


@pytest.mark.parametrize("method", ["PUT", "POST", "GET", "DELETE", "HEAD"])
def test_every_call_knows_missing_buckets(client: Client, method: str) -> None:
    query = {"uploads": ""} if method == "POST" else {}
    reply = client.request(method, "k", query, b"" if method in ("PUT", "POST") else None, bucket="nowhere")
    assert reply.status == 404
    assert reply.headers["x-oss-ec"] == "0015-00000101"


def test_what_the_server_does_not_have(client: Client) -> None:
    assert client.request("GET", "k", {"symlink": ""}).error[:2] == (400, "NotImplemented")
    assert client.request("GET", "", {"cors": ""}).error[:2] == (400, "NotImplemented")
    assert client.request("PUT", "k", {"tagging": ""}, b"<x/>").error[:2] == (400, "NotImplemented")
    assert client.raw("PATCH", "/demo/k", {}).error[:2] == (405, "MethodNotAllowed")


def test_reading_goes_on_while_the_object_is_replaced(client: Client) -> None:
    old = os.urandom(24 << 20)
    client.request("PUT", "replaced", body=old)
    target, headers = client.signed("GET", "replaced")
    reader = client.connect()
    reader.request("GET", target, headers=headers)
    answer = reader.getresponse()
    start = answer.read(1 << 20)
    client.request("PUT", "replaced", body=b"new")
    client.request("DELETE", "replaced")
    time.sleep(0.05)
    assert start + answer.read() == old
    reader.close()
