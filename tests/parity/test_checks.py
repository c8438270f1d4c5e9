# ruff: noqa: E501 - a table reads better in lines
"""What OSS would refuse is refused here, in one sentence with advice, before any byte moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter.errors import InputError, OssmpError
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.connection import connect
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer.client import OSSClient
from ossmp_jupyter.transfer.plan import make_plan
from tests.parity.support import PART, connection_to, payload, requests_of

GIB = 1024**3
Call = Callable[[OSSClient, Path], Coroutine[Any, Any, Any]]


def up(source: Any = None, name: str = "k", **options: Any) -> Call:
    return lambda client, tmp: client.multipart_upload(
        name, payload() if source is None else source, **options
    )


def sparse(size: int, **options: Any) -> Call:
    async def call(client: OSSClient, tmp: Path) -> None:
        path = tmp / "large"
        with path.open("wb") as file:
            file.truncate(size)
        await client.multipart_upload("k", path, **options)

    return call


class Huge:
    """Says that it is larger than a request can carry; nobody gets as far as to read it."""

    def __aiter__(self) -> Any:
        raise AssertionError("read")


def rest(method: str, *arguments: Any, **options: Any) -> Call:
    def call(client: OSSClient, tmp: Path) -> Coroutine[Any, Any, Any]:
        made: RestClient = client.rest_with(None)
        return getattr(made, method)(*arguments, **options)

    return call


def do(method: str, *arguments: Any, **options: Any) -> Call:
    return lambda client, tmp: getattr(client, method)(*arguments, **options)


URL = "http://app.example.com/"
CHECKS: dict[str, tuple[Call, str]] = {
    # names
    "bucket capitals": (up(name="oss://My_Bucket/k"), r"'My_Bucket' is not a bucket name; use 3 to 63"),
    "bucket short": (up(name="oss://ab/k"), r"3 to 63 lower-case letters"),
    "bucket long": (up(name=f"oss://{'b' * 64}/k"), r"3 to 63"),
    "bucket hyphen": (up(name="oss://-bucket/k"), r"a letter or digit at both ends"),
    "key slash": (up(name="/k"), r"'/k' begins with a slash; leave out the slash"),
    "key backslash": (up(name="\\k"), r"begins with a backslash"),
    "key long": (up(name="ü" * 512), r"1024 bytes in UTF-8; OSS allows 1023"),
    "key empty": (do("head", ""), r"names no object"),
    "key not Unicode": (up(name="\ud800"), r"not valid Unicode"),
    # sources
    "no such file": (up("/nonexistent/file"), r"no such file: /nonexistent/file"),
    "a directory": (lambda client, tmp: client.multipart_upload("k", tmp), r"is a directory; name the files"),
    "a device": (up("/dev/null"), r"is not a regular file"),
    "text": (up(12), r"an object of type int cannot be uploaded; give a path"),
    "an empty path": (up(""), r"the path is empty"),
    # parts
    "part small": (up(part_size=PART - 1), r"part size of 102,399 bytes is out of bounds; OSS takes parts of 100 KiB to"),
    "part large": (up(part_size=5 * GIB + 1), r"is out of bounds; .* 5 GiB"),
    "part words": (up(part_size="many"), r"the part size"),
    "parallel none": (up(parallel=0), r"parallel 0 is not a number of parts in flight"),
    "parallel too many": (up(parallel=65), r"from 1 to 64"),
    "simple large": (sparse(5 * GIB + 1, simple=True), r"PutObject takes 5 GiB at most"),
    "put large": (rest("put_object", "demo", "k", Huge(), length=5 * GIB + 1), r"PutObject has \d+ bytes; .* 5 GiB"),
    "part body large": (
        rest("upload_part", "demo", "k", "ID", 1, Huge(), length=5 * GIB + 1), r"UploadPart has \d+ bytes",
    ),
    "part number 0": (do("upload_part", "k", "ID", 0, b""), r"the part number is 0; parts are numbered 1 to 10000"),
    "part number 10001": (do("upload_part", "k", "ID", 10001, b""), r"10001; parts are numbered"),
    "no upload ID": (do("abort_multipart_upload", "k", ""), r"the upload ID is empty"),
    "no upload ID in a list": (do("list_parts", "k", " "), r"the upload ID is empty"),
    "no parts": (do("complete_multipart_upload", "k", "ID", []), r"there are no parts to complete"),
    "a part twice": (do("complete_multipart_upload", "k", "ID", [(1, "A"), (1, "B")]), r"part 1 is listed twice"),
    "a part without ETag": (do("complete_multipart_upload", "k", "ID", [(1, "")]), r"part 1 has no ETag"),
    "a wrong number": (do("complete_multipart_upload", "k", "ID", [(0, "A")]), r"the part number is 0"),
    "too many parts": (
        do("complete_multipart_upload", "k", "ID", [(n, "A") for n in range(1, 10002)]), r"10001 parts are listed",
    ),
    "range": (do("get", "k", byte_range=(5, 4)), r"the byte range 5-4 is empty"),
    # listings
    "max_uploads 0": (do("list_uploads", max_uploads=0), r"max_uploads is 0; give a whole number from 1 to 1000"),
    "max_uploads 1001": (do("list_uploads", max_uploads=1001), r"max_uploads is 1001"),
    "max_parts 1001": (do("list_parts", "k", "ID", max_parts=1001), r"max_parts is 1001"),
    "part_number_marker": (do("list_parts", "k", "ID", part_number_marker=10001), r"part_number_marker is 10001"),
    "max_keys": (do("list_objects", max_keys=0), r"max_keys is 0"),
    # what is stored
    "meta name": (up(meta={"a_b": 1}), r"the metadata name 'a_b' is not possible; use letters"),
    "meta twice": (up(meta={"A": 1, "a": 2}), r"'a' is given twice; OSS ignores upper and lower case"),
    "meta type": (up(meta={"a": [1]}), r"is a list; give text or a number"),
    "meta size": (up(meta={"a": "x" * 8193}), r"the metadata takes 8205 bytes in headers; OSS allows 8 KiB"),
    "mime": (up(mime="csv"), r"'csv' is not a media type; write it as text/csv"),
    "unknown header": (up(headers={"Cache-Contrl": "x"}), r"did you mean Cache-Control\?"),
    "our header": (up(headers={"Authorization": "x"}), r"Authorization is made by the package; leave it out"),
    "callback header": (up(headers={"x-oss-callback": "x"}), r"give callback="),
    "header line break": (up(headers={"Cache-Control": "a\r\nb: c"}), r"characters that a header cannot carry"),
    "encoding charset": (up(headers={"Content-Encoding": "utf-8"}), r"names a character set"),
    "encoding": (up(headers={"Content-Encoding": "g zip"}), r"is not a coding; write gzip"),
    "expires number": (up(headers={"Expires": 1000}), r"Expires 1000 is a number"),
    "expires words": (up(headers={"Expires": "tomorrow"}), r"'tomorrow' is not a date"),
    "disposition": (up(headers={"Content-Disposition": "a=数;b"}), r"is not understood"),
    "storage class": (up(storage_class="Glacier"), r"'Glacier' does not exist; give one of Standard, IA"),
    "acl": (up(acl="public"), r"acl 'public' does not exist; give one of private"),
    "encryption": (up(encryption="DES"), r"give one of AES256, KMS, SM4"),
    "KMS key": (up(kms_key_id="k"), r"a KMS key is named without the encryption KMS"),
    "data encryption": (up(data_encryption="SM4"), r"only together with encryption='KMS'"),
    "traffic low": (up(traffic_limit=819199), r"give 819200 to 838860800 bits per second"),
    "traffic high": (up(traffic_limit=838860801), r"the traffic limit 838860801 is not possible"),
    "payer": (up(request_payer="me"), r"only 'requester' exists"),
    "tags 11": (up(tags={f"t{n}": "" for n in range(11)}), r"11 tags are given; OSS allows 10"),
    "tag name": (up(tags={"t" * 129: ""}), r"names 1-128, values 0-256 characters"),
    "tag value": (up(tags={"t": "v" * 257}), r"values 0-256"),
    "tag twice": (up(tags="a=1&a=2"), r"the tag 'a' is given twice"),
    "options disagree": (
        up(tags={"a": "1"}, headers={"x-oss-tagging": "a=2"}), r"tags and the header x-oss-tagging disagree",
    ),
    "progress": (up(progress=1), r"progress is not a function"),
    # callbacks
    "callback type": (up(callback="x"), r"the callback is not a dict"),
    "callback url": (up(callback={"body": "b"}), r"the callback has no url"),
    "callback body": (up(callback={"url": URL}), r"the callback has no body"),
    "callback scheme": (up(callback={"url": "ftp://a/", "body": "b"}), r"not an http or https address"),
    "callback urls": (up(callback={"url": ";".join([URL] * 6), "body": "b"}), r"6 urls; OSS tries at most five"),
    "callback contentType": (
        up(callback={"url": URL, "body": "b", "contentType": "text/plain"}), r"contentType is not possible",
    ),
    "callback member": (up(callback={"url": URL, "body": "b", "x": 1}), r"no member 'x'; it has url, host"),
    "callback variable": (
        up(callback={"url": URL, "body": "b", "customValue": {"Var": 1}}), r"'Var' is not lower case",
    ),
    "callback long": (up(callback={"url": URL, "body": "b" * 5000}), r"longer than 5 KB"),
    # checkpoints
    "checkpoint": (up(checkpoint={"name": "k"}), r"this checkpoint cannot be read"),
    # links
    "link of 8 days": (do("presign", "k", expires=8 * 86400), r"for 8 d; give 1 to 604800 seconds \(7 days\)"),
    "link of a part": (do("presign_part", "k", "ID", 0), r"parts are numbered"),
    "copy part size": (do("multipart_copy", "k", "s", part_size=5), r"out of bounds"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHECKS)
def test_checks_before_any_byte_moves(oss: LocalOSS, tmp_path: Path, name: str) -> None:
    call, message = CHECKS[name]

    async def scenario() -> None:
        async with OSSClient(connection_to(oss)) as client:
            await call(client, tmp_path)

    with pytest.raises(InputError, match=message) as refused:
        asyncio.run(scenario())
    assert requests_of(oss) == []
    sentence = str(refused.value)
    assert "\n" not in sentence and len(sentence) < 300
    assert refused.value.hint, "what to do next is part of it"
    assert isinstance(refused.value, ValueError)


def test_the_largest_object() -> None:
    """10,000 parts of 5 GiB; no file system at hand holds one more byte, so the plan is asked."""
    assert make_plan(10_000 * 5 * GIB).count == 10_000
    with pytest.raises(InputError, match=r"an OSS object holds 48\.8 TiB at most"):
        make_plan(10_000 * 5 * GIB + 1)


AK = {"access_key_id": "a", "access_key_secret": "s"}
CONNECTIONS: list[tuple[dict[str, Any], str]] = [
    ({**AK}, r"neither an endpoint nor a region is known"),
    ({**AK, "region": "Hangzhou!"}, r"'Hangzhou!' is not a region; write it as cn-hangzhou"),
    ({**AK, "endpoint": "ftp://oss-cn-hangzhou.aliyuncs.com"}, r"only http and https are served"),
    ({**AK, "endpoint": "https://ak:sk@oss-cn-hangzhou.aliyuncs.com"}, r"holds a user name or password"),
    ({**AK, "endpoint": "https://oss-cn-hangzhou.aliyuncs.com/path"}, r"has a path or query"),
    ({**AK, "endpoint": "https://b.oss-cn-hangzhou.aliyuncs.com"}, r"names the bucket b; give oss-cn-hangzhou.aliyuncs.com as the endpoint"),
    ({**AK, "endpoint": "oss-cn-hangzhou.aliyuncs.com", "region": "cn-beijing"}, r"is in region cn-hangzhou, not in"),
    ({**AK, "endpoint": "http://10.0.0.1"}, r"region of 10\.0\.0\.1 is not known, and V4 signatures need it"),
    ({**AK, "region": "cn-hangzhou", "internal": True, "accelerate": True}, r"exclude each other"),
    ({**AK, "region": "cn-hangzhou", "cname": True}, r"cname needs the custom domain"),
    ({**AK, "region": "cn-hangzhou", "signature": "v2"}, r"no signature version 'v2'"),
    ({**AK, "region": "cn-hangzhou", "timeout": 0}, r"timeout is 0; give seconds, more than 0"),
    ({**AK, "region": "cn-hangzhou", "bucket": "No_Bucket"}, r"is not a bucket name"),
    ({"region": "cn-hangzhou", "access_key_id": "a"}, r"access_key_secret is missing"),
    ({**AK, "region": "cn-hangzhou", "credentials": {}}, r"keys and credentials are both given"),
    ({"region": "cn-hangzhou", "credentials": 1}, r"a int cannot provide credentials"),
    ({"region": "cn-hangzhou", "access_key_id": "a", "access_key_secret": "s\ns"}, r"control characters"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "message"), CONNECTIONS)
def test_checks_of_a_connection(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(OssmpError, match=message):
        connect(environ={}, **settings)
