"""Every call of RestClient over real HTTP, in every addressing style and signature version."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ossmp_jupyter.errors import (
    AccessDenied,
    AlreadyExists,
    CallbackFailed,
    InputError,
    IntegrityError,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    ServerError,
)
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.address import AddressStyle
from ossmp_jupyter.oss.checksum import crc64, crc64_combine, multipart_etag
from ossmp_jupyter.oss.headers import ObjectOptions
from ossmp_jupyter.oss.rest import RestClient
from tests.protocol.conftest import Opener

STYLES = pytest.mark.parametrize("style", ["path", "virtual", "cname"])
SIGNATURES = pytest.mark.parametrize("signature", ["v4", "v1"])
KEY = "dir/中 a+b/../&?%41#.bin"
FIRST, LAST = b"a" * 102400, b"b" * 1000


async def buckets(rest: RestClient, bucket: str) -> None:
    if rest.connection.endpoint.style is AddressStyle.CNAME:
        with pytest.raises(InputError, match="own domain"):
            await rest.list_buckets()
        return
    (found,) = (await rest.list_buckets(prefix=bucket)).buckets
    assert (found.name, found.region, found.storage_class) == (bucket, "cn-hangzhou", "Standard")
    assert found.created is not None
    page = await rest.list_buckets(max_keys=1)
    names = [one.name for one in page.buckets]
    while page.is_truncated:
        page = await rest.list_buckets(max_keys=1, marker=page.next_marker)
        names += [one.name for one in page.buckets]
    assert len(names) > 1
    assert names == [one.name for one in (await rest.list_buckets()).buckets] == sorted(names)


class Pieces(httpx.AsyncByteStream):
    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


@STYLES
@SIGNATURES
def test_every_call(opened: Opener, bucket: str, style: str, signature: str) -> None:
    async def scenario() -> None:
        async with opened(style, bucket, signature=signature) as rest:
            await rest.put_bucket(bucket, acl="private", storage_class="Standard")
            await multipart(rest, bucket)
            await plain_objects(rest, bucket)
            await links(rest, bucket)
            await buckets(rest, bucket)
            for entry in (await rest.list_objects(bucket)).objects:
                await rest.delete_object(bucket, entry.key)
            await rest.delete_bucket(bucket)
            with pytest.raises(NoSuchBucket) as caught:
                await rest.list_objects(bucket)
            assert (caught.value.status, caught.value.code) == (404, "NoSuchBucket")

    asyncio.run(scenario())


async def multipart(rest: RestClient, bucket: str) -> None:
    options = ObjectOptions(
        meta={"who": "数据", "year": 2020, "blank": " x ", "word": "=?utf-8?B?eA==?="},
        mime="text/csv",
        tags={"a b": "1/2"},
        headers={
            "Cache-Control": "no-cache",
            "Expires": timedelta(hours=1),
            "Content-Disposition": "数据.csv",
        },
        storage_class="IA",
        acl="public-read",
    )
    begun = await rest.init_multipart_upload(bucket, KEY, headers=options.for_initiate())
    assert (begun.bucket, begun.key) == (bucket, KEY)
    assert begun.upload_id and begun.request_id
    other = await rest.init_multipart_upload(bucket, "other/x")
    upload = begun.upload_id

    first = await rest.upload_part(bucket, KEY, upload, 1, FIRST, headers=options.for_part())
    last = await rest.upload_part(bucket, KEY, upload, 5, Pieces(b"b" * 400, b"b" * 600), length=1000)
    assert (first.part_number, first.crc64, first.etag) == (
        1,
        crc64(FIRST),
        hashlib.md5(FIRST).hexdigest().upper(),
    )
    assert last.crc64 == crc64(LAST)

    page = await rest.list_parts(bucket, KEY, upload, max_parts=1)
    assert (page.key, page.is_truncated, page.next_part_number_marker) == (KEY, True, 1)
    rest_page = await rest.list_parts(bucket, KEY, upload, part_number_marker=1)
    assert not rest_page.is_truncated
    [part] = rest_page.parts
    assert (part.part_number, part.size, part.etag, part.crc64) == (5, 1000, last.etag, last.crc64)
    assert part.last_modified is not None
    assert abs(part.last_modified - datetime.now(UTC)) < timedelta(minutes=5)

    uploads = await rest.list_uploads(bucket, max_uploads=1)
    assert [(one.key, one.upload_id) for one in uploads.uploads] == [(KEY, upload)]
    assert uploads.is_truncated
    following = await rest.list_uploads(
        bucket, key_marker=uploads.next_key_marker, upload_id_marker=uploads.next_upload_id_marker
    )
    assert [one.key for one in following.uploads] == ["other/x"]
    assert not following.is_truncated
    grouped = await rest.list_uploads(bucket, delimiter="/")
    assert (grouped.uploads, grouped.common_prefixes) == ((), ("dir/", "other/"))
    assert [one.key for one in (await rest.list_uploads(bucket, prefix="dir/")).uploads] == [KEY]

    done = await rest.complete_multipart_upload(
        bucket, KEY, upload, [(5, last.etag), (1, first.etag)], headers=options.for_complete()
    )
    assert (done.etag, done.crc64) == (
        multipart_etag([first.etag, last.etag]),
        crc64_combine(crc64(FIRST), crc64(LAST), 1000),
    )
    head = await rest.head_object(bucket, KEY)
    assert (head.size, head.etag, head.crc64, head.content_type) == (
        103400,
        done.etag,
        done.crc64,
        "text/csv",
    )
    assert (head.object_type, head.storage_class) == ("Multipart", "IA")
    assert head.meta == {"who": "数据", "year": "2020", "blank": " x ", "word": "=?utf-8?B?eA==?="}
    assert head.headers["cache-control"] == "no-cache"
    assert head.headers["content-disposition"].endswith("filename*=UTF-8''%E6%95%B0%E6%8D%AE.csv")
    with pytest.raises(NoSuchUpload) as caught:
        await rest.list_parts(bucket, KEY, upload)
    assert caught.value.ec and caught.value.request_id

    await copied(rest, bucket)
    await rest.abort_multipart_upload(bucket, "other/x", other.upload_id)
    with pytest.raises(NoSuchUpload):
        await rest.abort_multipart_upload(bucket, "other/x", other.upload_id)
    assert (await rest.list_uploads(bucket)).uploads == ()


async def copied(rest: RestClient, bucket: str) -> None:
    begun = await rest.init_multipart_upload(bucket, "copy")
    whole = await rest.upload_part_copy(bucket, "copy", begun.upload_id, 1, bucket, KEY)
    some = await rest.upload_part_copy(
        bucket, "copy", begun.upload_id, 2, bucket, KEY, byte_range=(102399, 102401)
    )
    assert some.etag == hashlib.md5(b"abb").hexdigest().upper()
    assert some.content_range == "bytes 102399-102401/103400"
    await rest.complete_multipart_upload(bucket, "copy", begun.upload_id, [(1, whole.etag), (2, some.etag)])
    assert await rest.get_object(bucket, "copy") == FIRST + LAST + b"abb"


async def plain_objects(rest: RestClient, bucket: str) -> None:
    put = await rest.put_object(bucket, "plain", b"hello world", headers={"x-oss-meta-a": "1"})
    assert (put.crc64, put.etag) == (5981764153023615706, hashlib.md5(b"hello world").hexdigest().upper())
    empty = await rest.put_object(bucket, "empty", b"")
    assert (empty.etag, empty.crc64) == ("D41D8CD98F00B204E9800998ECF8427E", 0)
    assert (await rest.head_object(bucket, "empty")).size == 0
    streamed = await rest.put_object(bucket, "streamed", Pieces(b"hello ", b"world"), length=11)
    chunked = await rest.put_object(bucket, "chunked", Pieces(b"hello ", b"world"))
    assert put.crc64 == streamed.crc64 == chunked.crc64

    assert await rest.get_object(bucket, "plain") == b"hello world"
    assert await rest.get_object(bucket, "plain", byte_range=(6, 10)) == b"world"
    async with rest.stream_object(bucket, "plain", byte_range=(0, 4)) as stream:
        assert (stream.head.size, stream.head.meta, stream.head.crc64) == (11, {"a": "1"}, put.crc64)
        assert b"".join([chunk async for chunk in stream]) == b"hello"
    with pytest.raises(ServerError) as refused:
        await rest.get_object(bucket, "plain", byte_range=(100, 200))
    assert (refused.value.status, refused.value.code) == (416, "InvalidRange")

    page = await rest.list_objects(bucket, max_keys=2)
    assert page.is_truncated
    names = [entry.key for entry in page.objects]
    while page.is_truncated:
        page = await rest.list_objects(bucket, max_keys=2, continuation_token=page.next_continuation_token)
        names += [entry.key for entry in page.objects]
    assert names == sorted([KEY, "copy", "plain", "empty", "streamed", "chunked"])
    assert (await rest.list_objects(bucket, delimiter="/", prefix="d")).common_prefixes == ("dir/",)
    assert [entry.key for entry in (await rest.list_objects(bucket, start_after="empty")).objects] == [
        "plain",
        "streamed",
    ]

    with pytest.raises(AlreadyExists) as exists:
        await rest.put_object(bucket, "plain", b"x", headers=ObjectOptions(forbid_overwrite=True).for_put())
    assert exists.value.status == 409
    await rest.delete_object(bucket, "plain")
    await rest.delete_object(bucket, "plain")
    for call in (rest.head_object, rest.get_object):
        with pytest.raises(NoSuchKey) as missing:
            await call(bucket, "plain")
        assert (missing.value.status, missing.value.retryable) == (404, False)
        assert f"oss://{bucket}/plain" in str(missing.value)


async def links(rest: RestClient, bucket: str) -> None:
    http = rest._exchange._http
    url = await rest.presign("PUT", bucket, KEY, expires=60, headers={"Content-Type": "text/plain"})
    assert (
        await http.put(url, content=b"by link", headers={"Content-Type": "text/plain"})
    ).status_code == 200
    assert (await http.put(url, content=b"x", headers={"Content-Type": "text/html"})).status_code == 403
    url = await rest.presign("get", bucket, KEY, query={"response-content-type": "a/b"})
    answer = await http.get(url)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"by link", "a/b")
    assert (await http.get(url + "x")).status_code == 403


@SIGNATURES
def test_security_token(signature: str) -> None:
    async def scenario(oss: LocalOSS) -> None:
        from ossmp_jupyter.oss.connection import connect

        connection = connect(
            endpoint=oss.endpoint,
            region=oss.region,
            access_key_id=oss.access_key_id,
            access_key_secret=oss.access_key_secret,
            security_token="the/token+=",
            signature=signature,
            environ={},
        )
        async with httpx.AsyncClient(trust_env=False) as http:
            rest = RestClient(connection, http)
            await rest.put_object("demo", "k", b"x")
            assert (await http.get(await rest.presign("GET", "demo", "k"))).content == b"x"

    with LocalOSS(security_token="the/token+=") as oss:
        asyncio.run(scenario(oss))


def test_refusals(opened: Opener, bucket: str) -> None:
    async def scenario() -> None:
        async with opened(bucket=bucket) as rest:
            await rest.put_bucket(bucket)
            upload = (await rest.init_multipart_upload(bucket, "k")).upload_id
            part = await rest.upload_part(bucket, "k", upload, 1, b"x")
            await rest.upload_part(bucket, "k", upload, 2, b"x")
            with pytest.raises(ServerError) as small:
                await rest.complete_multipart_upload(bucket, "k", upload, [(1, part.etag), (2, part.etag)])
            assert (small.value.code, small.value.ec) == ("EntityTooSmall", "0042-00000213")
            assert small.value.hint is not None and "100 KiB" in small.value.hint
            with pytest.raises(ServerError) as wrong:
                await rest.complete_multipart_upload(bucket, "k", upload, [(3, part.etag)])
            assert wrong.value.code == "InvalidPart"
            with pytest.raises(IntegrityError) as damaged:
                await rest.upload_part(
                    bucket, "k", upload, 1, b"x", headers={"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
                )
            assert damaged.value.retryable
            with pytest.raises(InputError):
                await rest.complete_multipart_upload(bucket, "k", upload, [])
            for number in (0, 10001, True):
                with pytest.raises(InputError):
                    await rest.upload_part(bucket, "k", upload, number, b"x")
            with pytest.raises(InputError):
                await rest.head_object(bucket, "/k")
            with pytest.raises(InputError):
                await rest.head_object("B", "k")
            with pytest.raises(InputError, match="not ASCII"):
                await rest.put_object(bucket, "k", b"", headers={"x-oss-meta-a": "数"})

    asyncio.run(scenario())


def test_complete_all(opened: Opener, bucket: str) -> None:
    async def scenario() -> None:
        async with opened(bucket=bucket) as rest:
            await rest.put_bucket(bucket)
            upload = (await rest.init_multipart_upload(bucket, "k")).upload_id
            await rest.upload_part(bucket, "k", upload, 2, LAST)
            await rest.upload_part(bucket, "k", upload, 1, FIRST)
            await rest.complete_multipart_upload(
                bucket, "k", upload, [], headers={"x-oss-complete-all": "yes"}
            )
            assert await rest.get_object(bucket, "k") == FIRST + LAST

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"access_key_secret": "wrong-secret"}, "SignatureDoesNotMatch", "access key secret does not belong"),
        ({"access_key_id": "LTAIwrongwrong123"}, "InvalidAccessKeyId", "LTAI…g123"),
    ],
)
@SIGNATURES
def test_wrong_keys(opened: Opener, options: dict[str, str], code: str, words: str, signature: str) -> None:
    async def scenario() -> None:
        async with opened(signature=signature, **options) as rest:
            for call in (
                rest.head_object("demo", "k"),
                rest.put_object("demo", "k", b"x"),
                rest.list_objects("demo"),
            ):
                with pytest.raises(AccessDenied) as caught:
                    await call
                assert (caught.value.code, caught.value.status) == (code, 403)
                assert words in str(caught.value)
                assert "wrong-secret" not in str(caught.value)

    asyncio.run(scenario())


def test_wrong_region(opened: Opener) -> None:
    async def scenario() -> None:
        async with opened(region="cn-beijing") as rest:
            with pytest.raises(ServerError) as caught:
                await rest.head_object("demo", "k")
            assert "cn-beijing" in str(caught.value)

    asyncio.run(scenario())


KEYS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30).filter(
    lambda k: k[0] not in "/\\"
)


@pytest.mark.parametrize("style", ["path", "virtual"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.lists(KEYS, min_size=1, max_size=4, unique=True))
@example(
    keys=[
        "a/./b/../c",
        "..",
        "../x",
        "./",
        "a//b",
        "%41",
        "a+b c",
        "?x=1&y#z",
        "\x01\n\t\x7f",
        "a\\b",
        "~!'()*",
    ]
)
def test_any_key_survives(opened: Opener, bucket: str, style: str, keys: list[str]) -> None:
    async def scenario() -> None:
        async with opened(style) as rest:
            await rest.put_bucket(bucket)
            for key in keys:
                await rest.put_object(bucket, key, key.encode())
                upload = await rest.init_multipart_upload(bucket, key)
                assert [u.key for u in (await rest.list_uploads(bucket, prefix=key)).uploads] == [key]
                assert (await rest.list_parts(bucket, key, upload.upload_id)).key == key
                await rest.abort_multipart_upload(bucket, key, upload.upload_id)
            listed = [entry.key for entry in (await rest.list_objects(bucket)).objects]
            assert listed == sorted(keys, key=str.encode)
            for key in keys:
                assert await rest.get_object(bucket, key) == key.encode()
                await rest.delete_object(bucket, key)

    asyncio.run(scenario())


class Application(BaseHTTPRequestHandler):
    """The application that OSS calls back."""

    bodies: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])).decode())
        body = b'{"Status": "OK"}'
        self.send_response(200 if self.path == "/fine" else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Be silent."""


def test_callbacks(opened: Opener, bucket: str) -> None:
    async def scenario(port: int) -> None:
        def options(path: str) -> ObjectOptions:
            callback = {
                "url": f"http://127.0.0.1:{port}/{path}",
                "body": "key=${object}&size=${size}&who=${x:who}",
                "customValue": {"who": "me"},
            }
            return ObjectOptions(callback=callback)

        async with opened(bucket=bucket) as rest:
            await rest.put_bucket(bucket)
            upload = (await rest.init_multipart_upload(bucket, "a b")).upload_id
            part = await rest.upload_part(bucket, "a b", upload, 1, b"body")
            parts = [(1, part.etag)]
            done = await rest.complete_multipart_upload(
                bucket, "a b", upload, parts, headers=options("fine").for_complete()
            )
            assert (done.callback, done.crc64, done.etag) == (
                {"Status": "OK"},
                crc64(b"body"),
                multipart_etag([part.etag]),
            )
            put = await rest.put_object(bucket, "put", b"body", headers=options("fine").for_put())
            assert put.callback == {"Status": "OK"}
            with pytest.raises(CallbackFailed) as failure:
                await rest.put_object(bucket, "failed", b"body", headers=options("broken").for_put())
            assert failure.value.status == 203
            assert await rest.get_object(bucket, "failed") == b"body", "stored nevertheless"

    with ThreadingHTTPServer(("127.0.0.1", 0), Application) as application:
        threading.Thread(target=application.serve_forever, daemon=True).start()
        asyncio.run(scenario(application.server_port))
        application.shutdown()
    assert parse_qs(Application.bodies[0]) == {"key": ["a b"], "size": ["4"], "who": ["me"]}
