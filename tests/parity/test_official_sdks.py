"""The embedded OSS answers the official Python SDKs in every feature that the parity table names.

What npm ali-oss sees is in ``test_ali_oss.py``.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import alibabacloud_oss_v2 as sdk
import httpx
import oss2
import pytest
from alibabacloud_oss_v2.exceptions import OperationError, ServiceError
from oss2.credentials import StaticCredentialsProvider
from oss2.models import PartInfo

from ossmp_jupyter.localoss import LocalOSS
from tests.parity.net import Web
from tests.parity.support import PART, payload

AUTHS = {"v1": oss2.ProviderAuth, "v4": oss2.ProviderAuthV4}
VERSIONS = ["v1", "v4"]


@pytest.fixture(params=VERSIONS)
def bucket(oss: LocalOSS, request: pytest.FixtureRequest) -> oss2.Bucket:
    provider = StaticCredentialsProvider(oss.access_key_id, oss.access_key_secret)
    return oss2.Bucket(AUTHS[request.param](provider), oss.endpoint, oss.bucket, region=oss.region)


@pytest.fixture(params=VERSIONS)
def client(oss: LocalOSS, request: pytest.FixtureRequest) -> sdk.Client:
    config = sdk.config.load_default()
    config.credentials_provider = sdk.credentials.StaticCredentialsProvider(
        oss.access_key_id, oss.access_key_secret
    )
    config.region, config.endpoint, config.signature_version = oss.region, oss.endpoint, request.param
    config.retry_max_attempts = 1
    return sdk.Client(config)


def code_of(error: OperationError) -> tuple[str, int]:
    inner = error.unwrap()
    assert isinstance(inner, ServiceError)
    return str(inner.code), int(inner.status_code)


def encoded(document: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


# ------------------------------------------------------------------ tags, encryption, ACL


def test_oss2_tags_encryption_and_acl(bucket: oss2.Bucket, key: str) -> None:
    headers = {
        "x-oss-tagging": "Tag1=1&a%20b=%E6%95%B0", "x-oss-server-side-encryption": "KMS",
        "x-oss-server-side-encryption-key-id": "the-key", "x-oss-storage-class": "IA",
    }  # fmt: skip
    begun = bucket.init_multipart_upload(key, headers=headers)
    assert begun.headers["x-oss-server-side-encryption"] == "KMS"
    part = bucket.upload_part(key, begun.upload_id, 1, b"x")
    assert part.headers["x-oss-server-side-encryption-key-id"] == "the-key"
    done = bucket.complete_multipart_upload(
        key, begun.upload_id, [PartInfo(1, part.etag)], headers={"x-oss-object-acl": "public-read"}
    )
    assert done.headers["x-oss-server-side-encryption"] == "KMS"
    assert bucket.get_object_tagging(key).tag_set.tagging_rule == {"Tag1": "1", "a b": "数"}
    assert bucket.get_object_acl(key).acl == "public-read"
    head = bucket.head_object(key)
    assert head.headers["x-oss-tagging-count"] == "2"
    assert head.headers["x-oss-server-side-encryption"] == "KMS"


def test_v2_tags_encryption_and_acl(client: sdk.Client, key: str) -> None:
    where = {"bucket": "demo", "key": key}
    client.put_object(
        sdk.PutObjectRequest(**where, body=b"x", tagging="Tag1=1&Tag2=2", server_side_encryption="AES256",
                             acl="private")
    )  # fmt: skip
    tags = client.get_object_tagging(sdk.GetObjectTaggingRequest(**where)).tag_set.tags or []
    assert [(tag.key, tag.value) for tag in tags] == [("Tag1", "1"), ("Tag2", "2")]
    assert client.get_object_acl(sdk.GetObjectAclRequest(**where)).acl == "private"
    head = client.head_object(sdk.HeadObjectRequest(**where))
    assert (head.server_side_encryption, head.tagging_count) == ("AES256", 2)
    begun = client.initiate_multipart_upload(
        sdk.InitiateMultipartUploadRequest(**where, server_side_encryption="SM4", tagging="a=b")
    )
    part = client.upload_part(
        sdk.UploadPartRequest(**where, upload_id=begun.upload_id, part_number=1, body=b"y")
    )
    assert part.headers["x-oss-server-side-encryption"] == "SM4"


# ------------------------------------------------------------------ callbacks


def callback(application: Web, path: str) -> tuple[str, str]:
    told = {
        "callbackUrl": f"http://127.0.0.1:{application.port}/{path}",
        "callbackBody": "k=${object}&v=${x:v}",
    }
    return encoded(told), encoded({"x:v": "1"})


def test_oss2_callback(bucket: oss2.Bucket, application: Web, key: str) -> None:
    first, second = callback(application, "good")
    headers = {"x-oss-callback": first, "x-oss-callback-var": second}
    done = bucket.put_object(key, b"x", headers=headers)
    assert json.loads(done.resp.read()) == {"Status": "OK", "path": "/good"}
    assert application.seen[0]["body"].decode() == f"k={key.replace('/', '%2F')}&v=1"

    upload_id = bucket.init_multipart_upload(key).upload_id
    part = bucket.upload_part(key, upload_id, 1, b"xy")
    bad = callback(application, "bad")
    done = bucket.complete_multipart_upload(
        key, upload_id, [PartInfo(1, part.etag)],
        headers={"x-oss-callback": bad[0], "x-oss-callback-var": bad[1]},
    )  # fmt: skip
    assert done.status == 203, "oss2 takes it for a success"
    assert b"<Code>CallbackFailed</Code>" in done.resp.read()
    assert bucket.get_object(key).read() == b"xy"


def test_v2_callback(client: sdk.Client, application: Web, key: str) -> None:
    where = {"bucket": "demo", "key": key}
    first, second = callback(application, "good")
    put = client.put_object(sdk.PutObjectRequest(**where, body=b"x", callback=first, callback_var=second))
    assert json.loads(str(put.callback_result)) == {"Status": "OK", "path": "/good"}
    upload_id = client.initiate_multipart_upload(sdk.InitiateMultipartUploadRequest(**where)).upload_id
    client.upload_part(sdk.UploadPartRequest(**where, upload_id=upload_id, part_number=1, body=b"y"))
    done = client.complete_multipart_upload(
        sdk.CompleteMultipartUploadRequest(
            **where, upload_id=upload_id, complete_all="yes", callback=first, callback_var=second
        )
    )
    answer: Any = done.callback_result  # a dict in some versions, text in others
    assert (answer if isinstance(answer, dict) else json.loads(answer)) == {"Status": "OK", "path": "/good"}


# ------------------------------------------------------------------ forbid-overwrite at both ends


def test_oss2_forbid_overwrite(bucket: oss2.Bucket, key: str) -> None:
    forbid = {"x-oss-forbid-overwrite": "true"}
    upload_id = bucket.init_multipart_upload(key, headers=forbid).upload_id
    part = bucket.upload_part(key, upload_id, 1, b"x")
    bucket.put_object(key, b"meanwhile")
    for call in (
        lambda: bucket.init_multipart_upload(key, headers=forbid),
        lambda: bucket.put_object(key, b"x", headers=forbid),
        lambda: bucket.complete_multipart_upload(key, upload_id, [PartInfo(1, part.etag)], headers=forbid),
    ):
        with pytest.raises(oss2.exceptions.ServerError) as refused:
            call()
        assert (refused.value.status, refused.value.code) == (409, "FileAlreadyExists")
    assert bucket.get_object(key).read() == b"meanwhile"


def test_v2_forbid_overwrite(client: sdk.Client, key: str) -> None:
    where = {"bucket": "demo", "key": key}
    request = sdk.InitiateMultipartUploadRequest(**where, forbid_overwrite=True)
    begun = client.initiate_multipart_upload(request)
    client.upload_part(sdk.UploadPartRequest(**where, upload_id=begun.upload_id, part_number=1, body=b"x"))
    client.put_object(sdk.PutObjectRequest(**where, body=b"meanwhile"))
    with pytest.raises(OperationError) as refused:
        client.complete_multipart_upload(
            sdk.CompleteMultipartUploadRequest(
                **where, upload_id=begun.upload_id, complete_all="yes", forbid_overwrite=True
            )
        )
    assert code_of(refused.value) == ("FileAlreadyExists", 409)
    with pytest.raises(OperationError):
        client.initiate_multipart_upload(request)


# ------------------------------------------------------------------ listings


def test_oss2_common_prefixes_and_encoding(bucket: oss2.Bucket, key: str) -> None:
    names = [f"{key}/a b+c/1", f"{key}/a b+c/2", f"{key}/control\x0c\n", f"{key}/数"]
    ids = {name: bucket.init_multipart_upload(name).upload_id for name in names}
    page = bucket.list_multipart_uploads(prefix=f"{key}/", delimiter="/")
    assert page.prefix_list == [f"{key}/a b+c/"]
    assert [upload.key for upload in page.upload_list] == [f"{key}/control\x0c\n", f"{key}/数"]
    everything = list(oss2.MultipartUploadIterator(bucket, prefix=f"{key}/", max_uploads=1))
    assert {upload.key: upload.upload_id for upload in everything} == ids


def test_v2_encoding(client: sdk.Client, key: str) -> None:
    names = [f"{key}/a b+c", f"{key}/control\x0c\n", f"{key}/百分%2B号"]
    for name in names:
        client.initiate_multipart_upload(sdk.InitiateMultipartUploadRequest(bucket="demo", key=name))
    pages = client.list_multipart_uploads_paginator().iter_page(
        sdk.ListMultipartUploadsRequest(bucket="demo", prefix=f"{key}/", max_uploads=1)
    )
    assert [upload.key for page in pages for upload in page.uploads or []] == names


# ------------------------------------------------------------------ sequential, complete-all, conditions


def test_oss2_sequential(bucket: oss2.Bucket, key: str) -> None:
    upload_id = bucket.init_multipart_upload(key, params={"sequential": ""}).upload_id
    data = payload(2 * PART)
    with pytest.raises(oss2.exceptions.ServerError) as refused:
        bucket.upload_part(key, upload_id, 2, data[PART:])
    assert (refused.value.status, refused.value.code) == (400, "PartNotSequential")
    parts = [
        PartInfo(n, bucket.upload_part(key, upload_id, n, data[(n - 1) * PART : n * PART]).etag)
        for n in (1, 2)
    ]
    bucket.complete_multipart_upload(key, upload_id, parts)
    assert bucket.head_object(key).headers["Content-MD5"]


def test_complete_all(bucket: oss2.Bucket, client: sdk.Client, key: str) -> None:
    upload_id = bucket.init_multipart_upload(key).upload_id
    for number in (2, 1):
        bucket.upload_part(key, upload_id, number, payload(PART, number))
    bucket.complete_multipart_upload(key, upload_id, None, headers={"x-oss-complete-all": "yes"})
    assert bucket.get_object(key).read() == payload(PART, 1) + payload(PART, 2)


def test_conditional_head_and_get(bucket: oss2.Bucket, client: sdk.Client, key: str) -> None:
    etag = bucket.put_object(key, b"x").etag
    assert bucket.get_object(key, headers={"If-Match": f'"{etag}"'}).read() == b"x"
    for headers, error in (
        ({"If-None-Match": f'"{etag}"'}, oss2.exceptions.NotModified),
        ({"If-Match": '"0"'}, oss2.exceptions.PreconditionFailed),
        ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, oss2.exceptions.NotModified),
        ({"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, oss2.exceptions.PreconditionFailed),
    ):
        with pytest.raises(error):
            bucket.get_object(key, headers=headers)
    where = {"bucket": "demo", "key": key}
    assert client.head_object(sdk.HeadObjectRequest(**where, if_match=f'"{etag}"')).content_length == 1
    for condition, status in (({"if_none_match": f'"{etag}"'}, 304), ({"if_match": '"0"'}, 412)):
        with pytest.raises(OperationError) as refused:
            client.head_object(sdk.HeadObjectRequest(**where, **condition))
        assert code_of(refused.value)[1] == status


# ------------------------------------------------------------------ links that the SDKs make


def test_oss2_links(bucket: oss2.Bucket, key: str) -> None:
    name = f"{key} 中+b"
    assert httpx.put(bucket.sign_url("PUT", name, 60, slash_safe=True), content=b"x").status_code == 200
    assert httpx.get(bucket.sign_url("GET", name, 60)).content == b"x"
    upload_id = bucket.init_multipart_upload(name).upload_id
    url = bucket.sign_url("PUT", name, 60, params={"uploadId": upload_id, "partNumber": "1"})
    part = httpx.put(url, content=b"by link")
    bucket.complete_multipart_upload(name, upload_id, [PartInfo(1, part.headers["etag"].strip('"'))])
    assert bucket.get_object(name).read() == b"by link"
    assert httpx.put(url.replace("partNumber=1", "partNumber=2"), content=b"x").status_code == 403


def test_v2_links(client: sdk.Client, key: str) -> None:
    where = {"bucket": "demo", "key": f"{key} 中+b"}
    put = client.presign(sdk.PutObjectRequest(**where))
    assert httpx.put(put.url, content=b"x", headers=put.signed_headers).status_code == 200
    assert httpx.get(client.presign(sdk.GetObjectRequest(**where)).url).content == b"x"
    upload_id = client.initiate_multipart_upload(sdk.InitiateMultipartUploadRequest(**where)).upload_id
    part = client.presign(sdk.UploadPartRequest(**where, upload_id=upload_id, part_number=1))
    assert httpx.put(part.url, content=b"by link", headers=part.signed_headers).status_code == 200
    client.complete_multipart_upload(
        sdk.CompleteMultipartUploadRequest(**where, upload_id=upload_id, complete_all="yes")
    )
    assert client.get_object(sdk.GetObjectRequest(**where)).body.read() == b"by link"
