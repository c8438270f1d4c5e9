"""Each header on the one call where it belongs; the server's journal is the witness."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ossmp_jupyter import upload
from ossmp_jupyter.errors import AlreadyExists, InputError, OssmpError
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.oss.messages import PartResult
from ossmp_jupyter.transfer.client import OSSClient
from tests.parity.net import Web
from tests.parity.support import PART, Run, connection_to, payload, requests_of

INITIATE, PARTS, COMPLETE, PUT = (
    "InitiateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject",
)  # fmt: skip
OTHERS = ("ListParts", "HeadObject")
STORED = (INITIATE, PUT)

# option, headers it makes, and the operations that carry them
ROUTES: list[tuple[dict[str, Any], dict[str, str], tuple[str, ...]]] = [
    ({"storage_class": "IA"}, {"x-oss-storage-class": "IA"}, STORED),
    ({"headers": {"x-oss-storage-class": "Archive"}}, {"x-oss-storage-class": "Archive"}, STORED),
    ({"tags": {"Tag1": "1", "a b": "1/2"}}, {"x-oss-tagging": "Tag1=1&a%20b=1%2F2"}, STORED),
    ({"headers": {"x-oss-tagging": "Tag1=1&Tag2=2"}}, {"x-oss-tagging": "Tag1=1&Tag2=2"}, STORED),
    ({"encryption": "AES256"}, {"x-oss-server-side-encryption": "AES256"}, STORED),
    ({"encryption": "SM4"}, {"x-oss-server-side-encryption": "SM4"}, STORED),
    (
        {"encryption": "KMS", "kms_key_id": "9468da86", "data_encryption": "SM4"},
        {"x-oss-server-side-encryption": "KMS", "x-oss-server-side-encryption-key-id": "9468da86",
         "x-oss-server-side-data-encryption": "SM4"},
        STORED,
    ),
    ({"meta": {"a": "b"}}, {"x-oss-meta-a": "b"}, STORED),
    ({"headers": {"Cache-Control": "no-cache"}}, {"cache-control": "no-cache"}, STORED),
    ({"headers": {"Content-Encoding": "gzip"}}, {"content-encoding": "gzip"}, STORED),
    ({"forbid_overwrite": True}, {"x-oss-forbid-overwrite": "true"}, (INITIATE, COMPLETE, PUT)),
    ({"acl": "public-read"}, {"x-oss-object-acl": "public-read"}, (COMPLETE, PUT)),
    ({"traffic_limit": 838860800}, {"x-oss-traffic-limit": "838860800"}, (PARTS, PUT)),
    ({"request_payer": "requester"}, {"x-oss-request-payer": "requester"}, (INITIATE, PARTS, COMPLETE, PUT)),
]  # fmt: skip


@pytest.mark.parametrize("simple", [False, True])
@pytest.mark.parametrize(("options", "headers", "operations"), ROUTES)
def test_each_header_on_its_one_call(
    oss: LocalOSS, connection: Connection, key: str, simple: bool, options: dict[str, Any],
    headers: dict[str, str], operations: tuple[str, ...],
) -> None:  # fmt: skip
    source = payload(10 if simple else 2 * PART)
    assert upload(source, key, connection=connection, part_size=PART, **options).wait(30).verified
    entries = requests_of(oss)
    seen = {entry["operation"] for entry in entries}
    assert seen >= ({PUT} if simple else {INITIATE, PARTS, COMPLETE})
    for entry in entries:
        carried = {name: entry["headers"].get(name) for name in headers}
        expected = headers if entry["operation"] in operations else dict.fromkeys(headers)
        assert carried == expected, entry["operation"]


def test_everything_at_once_is_stored_and_read_back(run: Run, oss: LocalOSS, key: str) -> None:
    """The strict server refuses a storage class or encryption at UploadPart and at Complete."""

    async def scenario(client: OSSClient) -> Any:
        await client.multipart_upload(
            key, payload(), part_size=PART, storage_class="ia", tags={"project": "数据"}, acl="private",
            encryption="KMS", kms_key_id="k", meta={"a": "1"}, traffic_limit=819200, forbid_overwrite=True,
        )  # fmt: skip
        return await client.head(key)

    head = run(scenario)
    assert (head.storage_class, head.headers["x-oss-tagging-count"]) == ("IA", "1")
    assert head.headers["x-oss-server-side-encryption"] == "KMS"
    assert head.headers["x-oss-server-side-encryption-key-id"] == "k"


def test_storage_class_cannot_be_misplaced(run: Run, oss: LocalOSS, key: str) -> None:
    """ "The operation is not supported for this resource" of the FAQ cannot happen, call by call either."""

    async def scenario(client: OSSClient) -> None:
        begun = await client.init_multipart_upload(key, storage_class="IA")
        part = await client.upload_part(key, begun.upload_id, 1, b"x")
        for options in (
            {"storage_class": "IA"}, {"headers": {"x-oss-storage-class": "IA"}}, {"encryption": "AES256"},
            {"meta": {"a": 1}}, {"tags": "a=b"},
        ):  # fmt: skip
            with pytest.raises(InputError, match="give it to init_multipart_upload"):
                await client.complete_multipart_upload(
                    key,
                    begun.upload_id,
                    [(1, part.etag)],
                    **options,  # type: ignore[arg-type]
                )
        assert requests_of(oss, COMPLETE) == []
        await client.complete_multipart_upload(
            key, begun.upload_id, [(1, part.etag)], acl="private", headers={"x-oss-forbid-overwrite": "true"}
        )
        assert (await client.head(key)).storage_class == "IA"

    run(scenario)


def test_forbid_overwrite_at_both_ends(run: Run, oss: LocalOSS, key: str) -> None:
    """Refused before a byte moves where the object is there; and at Complete where it came meanwhile."""

    async def scenario(client: OSSClient) -> None:
        await client.put(f"{key}-1", b"first")
        with pytest.raises(AlreadyExists) as refused:
            await client.multipart_upload(f"{key}-1", payload(), part_size=PART, forbid_overwrite=True)
        assert refused.value.code == "FileAlreadyExists"
        assert requests_of(oss, PARTS) == []
        with pytest.raises(AlreadyExists):
            await client.multipart_upload(f"{key}-1", b"small", forbid_overwrite=True)

        confirmed = asyncio.Event()

        async def note(fraction: float, checkpoint: object, response: object) -> None:
            if isinstance(response, PartResult):
                confirmed.set()

        async def source() -> AsyncIterator[bytes]:
            yield payload()[: 2 * PART]
            await confirmed.wait()
            await client.put(f"{key}-2", b"the other notebook was faster", checkpoint=False)
            yield payload()[2 * PART :]

        with pytest.raises(AlreadyExists):
            await client.multipart_upload(
                f"{key}-2", source(), part_size=PART, parallel=1, forbid_overwrite=True, progress=note
            )
        assert [entry["status"] for entry in requests_of(oss, COMPLETE)] == [409]
        assert await client.get(f"{key}-2") == b"the other notebook was faster"
        assert (await client.get(f"{key}-1")) == b"first"

    run(scenario)


def test_a_requester_who_pays_says_so_in_every_request(oss: LocalOSS, key: str) -> None:
    """ali-oss: isRequestPay."""

    async def scenario() -> None:
        async with OSSClient(connection_to(oss, request_payer=True)) as client:
            await client.multipart_upload(key, payload(), part_size=PART)
            await client.list_uploads()

    asyncio.run(scenario())
    entries = requests_of(oss)
    assert len(entries) >= 9
    assert {entry["headers"].get("x-oss-request-payer") for entry in entries} == {"requester"}


# ------------------------------------------------------------------ the upload callback


CUSTOM = {"var1": "value1", "n": 7, "text": "a b&c=数"}


def callback_to(application: Web, *paths: str, **members: Any) -> dict[str, Any]:
    urls = ";".join(f"http://127.0.0.1:{application.port}/{path}" for path in paths)
    return {"url": urls, "body": "bucket=${bucket}&object=${object}&size=${size}&var1=${x:var1}", **members}


def sizes() -> Any:
    return pytest.mark.parametrize("size", [10, 2 * PART], ids=["simple", "multipart"])


@sizes()
def test_callback_form(connection: Connection, application: Web, key: str, size: int) -> None:
    """The application's answer is in the result; values arrive URL-encoded."""
    result = upload(
        payload(size), key, connection=connection, part_size=PART,
        callback=callback_to(
            application, "done?a=1", host="app.example.com", customValue=CUSTOM,
            body="object=${object}&size=${size}&etag=${etag}&v=${x:var1}&n=${x:n}&t=${x:text}&m=${mimeType}",
        ),
    ).wait(30)  # fmt: skip
    assert result.callback == {"Status": "OK", "path": "/done?a=1"}
    assert result.callback_error is None and result.verified
    [told] = application.seen
    assert told["method"] == "POST"
    assert told["headers"]["host"] == "app.example.com"
    assert told["headers"]["content-type"] == "application/x-www-form-urlencoded"
    assert told["body"].decode() == (
        f"object={key.replace('/', '%2F')}&size={size}&etag={result.etag}&v=value1&n=7"
        "&t=a%20b%26c%3D%E6%95%B0&m=application%2Foctet-stream"
    )


@sizes()
def test_callback_json(connection: Connection, application: Web, key: str, size: int) -> None:
    body = '{"object":${object},"size":${size},"mime":${mimeType},"v":${x:var1}}'
    result = upload(
        payload(size), key, connection=connection, part_size=PART, mime="text/csv",
        callback=callback_to(
            application, "done", body=body, contentType="application/json", customValue={"var1": 'q"uote'}
        ),
    ).wait(30)  # fmt: skip
    assert result.callback == {"Status": "OK", "path": "/done"}
    [told] = application.seen
    assert told["headers"]["content-type"] == "application/json"
    assert told["body"].decode() == f'{{"object":"{key}","size":{size},"mime":"text/csv","v":"q\\"uote"}}'


def test_callback_with_several_urls(connection: Connection, application: Web, key: str) -> None:
    """Tried in order until one succeeds."""
    callback = callback_to(application, "bad", "words", "good")
    result = upload(payload(10), key, connection=connection, callback=callback).wait(30)
    assert result.callback == {"Status": "OK", "path": "/good"}
    assert [told["path"] for told in application.seen] == ["/bad", "/words", "/good"]


@pytest.mark.parametrize("sni", [True, False, None])
def test_callback_with_sni(connection: Connection, authority: Any, key: str, sni: bool | None) -> None:
    from tests.parity.net import secured, serving

    web = secured(Web(lambda handler, body: (200, b'{"tls": true}')), authority.context("localhost"))
    with serving(web):
        callback = {"url": f"https://localhost:{web.port}/done", "body": "k=${object}"}
        if sni is not None:
            callback["callbackSNI"] = sni  # type: ignore[assignment]
        result = upload(
            payload(2 * PART), key, connection=connection, part_size=PART, callback=callback
        ).wait(30)
    assert result.callback == {"tls": True}
    assert web.names == ["localhost" if sni else None]  # type: ignore[attr-defined]


@sizes()
@pytest.mark.parametrize("path", ["bad", "words"])
def test_http_203_is_stored_but_the_callback_failed(
    oss: LocalOSS, connection: Connection, application: Web, key: str, size: int, path: str
) -> None:
    """ali-oss throws, oss2 and oss-v2 see nothing; here the upload is done and says what failed."""
    handle = upload(
        payload(size), key, connection=connection, part_size=PART, callback=callback_to(application, path)
    )
    result = handle.wait(30)
    assert result.verified and result.callback is None
    assert "is stored, but the callback failed" in (result.callback_error or "")
    assert handle.error is None and handle.state.value == "done"
    codes = {entry["status"] for entry in requests_of(oss, PUT if size == 10 else COMPLETE)}
    assert codes == {203}
    assert len(application.seen) == 1, "the upload is not repeated, and neither is the callback"


def test_callback_goes_to_the_publishing_call_alone(
    oss: LocalOSS, connection: Connection, application: Web, key: str
) -> None:
    upload(
        payload(2 * PART), key, connection=connection, part_size=PART,
        callback=callback_to(application, "good", customValue=CUSTOM),
    ).wait(30)  # fmt: skip
    for entry in requests_of(oss):
        carried = {"x-oss-callback", "x-oss-callback-var"} & set(entry["headers"])
        assert len(carried) == (2 if entry["operation"] == COMPLETE else 0)


def test_callback_in_the_single_calls(run: Run, application: Web, key: str) -> None:
    async def scenario(client: OSSClient) -> tuple[Any, OssmpError]:
        ids = []
        for path in ("good", "bad"):
            begun = await client.init_multipart_upload(f"{key}-{path}")
            part = await client.upload_part(f"{key}-{path}", begun.upload_id, 1, b"x")
            ids.append((begun.upload_id, [(1, part.etag)]))
        good = await client.complete_multipart_upload(
            f"{key}-good", *ids[0], callback=callback_to(application, "good")
        )
        with pytest.raises(OssmpError) as failed:
            await client.complete_multipart_upload(
                f"{key}-bad", *ids[1], callback=callback_to(application, "bad")
            )
        assert (await client.head(f"{key}-bad")).size == 1
        return good.callback, failed.value

    answer, error = run(scenario)
    assert answer["Status"] == "OK"
    assert (type(error).__name__, error.status, error.retryable) == ("CallbackFailed", 203, False)
