"""alibabacloud-oss-v2, the newer official Python SDK, as a client of the embedded OSS."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path

import alibabacloud_oss_v2 as sdk
import pytest
from alibabacloud_oss_v2.exceptions import OperationError, ServiceError

from ossmp_jupyter.localoss import LocalOSS


def client_of(oss: LocalOSS, version: str, secret: str | None = None) -> sdk.Client:
    config = sdk.config.load_default()
    config.credentials_provider = sdk.credentials.StaticCredentialsProvider(
        oss.access_key_id, secret or oss.access_key_secret, oss.security_token
    )
    config.region, config.endpoint, config.signature_version = oss.region, oss.endpoint, version
    config.retry_max_attempts = 1
    return sdk.Client(config)


@pytest.fixture(params=["v1", "v4"])
def client(oss: LocalOSS, request: pytest.FixtureRequest) -> sdk.Client:
    return client_of(oss, request.param)


def code_of(error: OperationError) -> str:
    inner = error.unwrap()
    assert isinstance(inner, ServiceError)
    return str(inner.code)


def test_put_head_get_delete(client: sdk.Client) -> None:
    where = {"bucket": "demo", "key": "dir/ü a+b//c?&=%.txt"}
    put = client.put_object(sdk.PutObjectRequest(**where, body=b"hello", metadata={"name": "value"}))
    assert (put.etag, put.hash_crc64) == ('"5D41402ABC4B2A76B9719D911017C592"', "11177612005948864433")
    head = client.head_object(sdk.HeadObjectRequest(**where))
    assert (head.content_length, dict(head.metadata or {})) == (5, {"name": "value"})
    assert client.get_object(sdk.GetObjectRequest(**where)).body.read() == b"hello"
    ranged = client.get_object(sdk.GetObjectRequest(**where, range_header="bytes=1-3"))
    assert (ranged.status_code, ranged.body.read()) == (206, b"ell")
    assert client.is_object_exist("demo", where["key"])
    assert client.delete_object(sdk.DeleteObjectRequest(**where)).status_code == 204
    assert not client.is_object_exist("demo", where["key"])
    with pytest.raises(OperationError) as caught:
        client.get_object(sdk.GetObjectRequest(**where))
    assert code_of(caught.value) == "NoSuchKey"


def test_multipart_calls(client: sdk.Client) -> None:
    data = os.urandom(250_000)
    where = {"bucket": "demo", "key": "steps/ü"}
    begun = client.initiate_multipart_upload(sdk.InitiateMultipartUploadRequest(**where, storage_class="IA"))
    assert begun.key == where["key"]
    upload_id = begun.upload_id
    parts = []
    for number, start in enumerate(range(0, len(data), 102_400), 1):
        piece = data[start : start + 102_400]
        done = client.upload_part(
            sdk.UploadPartRequest(**where, upload_id=upload_id, part_number=number, body=piece)
        )
        parts.append(sdk.UploadPart(part_number=number, etag=done.etag))
    uploads = client.list_multipart_uploads(sdk.ListMultipartUploadsRequest(bucket="demo", prefix="steps/"))
    assert [(u.key, u.upload_id) for u in uploads.uploads or []] == [("steps/ü", upload_id)]
    page = client.list_parts(sdk.ListPartsRequest(**where, upload_id=upload_id, max_parts=2))
    assert ([p.part_number for p in page.parts or []], page.is_truncated) == ([1, 2], True)
    page = client.list_parts(
        sdk.ListPartsRequest(**where, upload_id=upload_id, part_number_marker=page.next_part_number_marker)
    )
    assert [(p.part_number, p.etag) for p in page.parts or []] == [(3, parts[2].etag)]
    done = client.complete_multipart_upload(
        sdk.CompleteMultipartUploadRequest(
            **where, upload_id=upload_id,
            complete_multipart_upload=sdk.CompleteMultipartUpload(parts=parts),
        )
    )  # fmt: skip
    assert (done.bucket, done.key) == ("demo", "steps/ü")
    assert (done.etag or "").endswith('-3"')
    assert client.get_object(sdk.GetObjectRequest(**where)).body.read() == data


def test_abort(client: sdk.Client) -> None:
    where = {"bucket": "demo", "key": "aborted"}
    upload_id = client.initiate_multipart_upload(sdk.InitiateMultipartUploadRequest(**where)).upload_id
    client.upload_part(sdk.UploadPartRequest(**where, upload_id=upload_id, part_number=1, body=b"x"))
    aborted = client.abort_multipart_upload(sdk.AbortMultipartUploadRequest(**where, upload_id=upload_id))
    assert aborted.status_code == 204
    with pytest.raises(OperationError) as caught:
        client.list_parts(sdk.ListPartsRequest(**where, upload_id=upload_id))
    assert code_of(caught.value) == "NoSuchUpload"


def test_uploader_compares_the_combined_crc(client: sdk.Client, tmp_path: Path) -> None:
    data = os.urandom(1_000_000)
    (tmp_path / "source").write_bytes(data)
    done = client.uploader().upload_file(
        sdk.PutObjectRequest(bucket="demo", key="uploader"), str(tmp_path / "source"), part_size=110_000,
        parallel_num=3,
    )  # fmt: skip
    assert done.upload_id
    assert client.get_object(sdk.GetObjectRequest(bucket="demo", key="uploader")).body.read() == data


def test_uploader_resumes_from_its_checkpoint(oss: LocalOSS, tmp_path: Path) -> None:
    """The SDK believes ListParts about what is there, HashCrc64ecma included."""
    client = client_of(oss, "v4")
    data = os.urandom(1_000_000)
    (tmp_path / "source").write_bytes(data)
    request = sdk.PutObjectRequest(bucket="demo", key="checkpoint")
    options = {
        "part_size": 110_000, "parallel_num": 1, "enable_checkpoint": True, "checkpoint_dir": str(tmp_path),
        "verify_data": True,
    }  # fmt: skip
    oss.set_faults([{"operation": "UploadPart", "part_number": 5, "kind": "error", "times": None}])
    with pytest.raises(Exception, match="InternalError"):
        client.uploader(**options).upload_file(request, str(tmp_path / "source"))
    oss.set_faults([])
    oss.journal(clear=True)
    client.uploader(**options).upload_file(request, str(tmp_path / "source"))
    sent = [entry["part_number"] for entry in oss.journal() if entry["operation"] == "UploadPart"]
    assert sent == [5, 6, 7, 8, 9, 10]
    assert client.get_object(sdk.GetObjectRequest(bucket="demo", key="checkpoint")).body.read() == data


def test_part_copy(client: sdk.Client) -> None:
    data = os.urandom(300_000)
    client.put_object(sdk.PutObjectRequest(bucket="demo", key="source ü", body=data))
    where = {"bucket": "demo", "key": "copied"}
    upload_id = client.initiate_multipart_upload(sdk.InitiateMultipartUploadRequest(**where)).upload_id
    copied = client.upload_part_copy(
        sdk.UploadPartCopyRequest(
            **where, upload_id=upload_id, part_number=1, source_bucket="demo", source_key="source ü",
            source_range="bytes=0-199999",
        )
    )  # fmt: skip
    client.complete_multipart_upload(
        sdk.CompleteMultipartUploadRequest(
            **where, upload_id=upload_id,
            complete_multipart_upload=sdk.CompleteMultipartUpload(
                parts=[sdk.UploadPart(part_number=1, etag=copied.etag)]
            ),
        )
    )  # fmt: skip
    assert client.get_object(sdk.GetObjectRequest(**where)).body.read() == data[:200_000]


def test_listings_and_buckets(client: sdk.Client) -> None:
    for name in ("list/a b", "list/c/1", "list/c/2", "list/d"):
        client.put_object(sdk.PutObjectRequest(bucket="demo", key=name, body=b""))
    pages = client.list_objects_v2_paginator().iter_page(
        sdk.ListObjectsV2Request(bucket="demo", prefix="list/", delimiter="/", max_keys=1)
    )
    seen = [[o.key for o in p.contents or []] + [c.prefix for c in p.common_prefixes or []] for p in pages]
    assert seen == [["list/a b"], ["list/c/"], ["list/d"]]
    assert client.get_bucket_info(sdk.GetBucketInfoRequest(bucket="demo")).bucket_info.name == "demo"
    location = client.get_bucket_location(sdk.GetBucketLocationRequest(bucket="demo"))
    assert location.location == "oss-cn-hangzhou"
    client.put_bucket(sdk.PutBucketRequest(bucket="demo-2"))
    all_pages = client.list_buckets_paginator().iter_page(sdk.ListBucketsRequest(prefix="demo", max_keys=1))
    assert [[bucket.name for bucket in page.buckets or []] for page in all_pages] == [["demo"], ["demo-2"]]


def test_presigned_url(client: sdk.Client) -> None:
    client.put_object(sdk.PutObjectRequest(bucket="demo", key="signed ü", body=b"hello"))
    signed = client.presign(sdk.GetObjectRequest(bucket="demo", key="signed ü"))
    with urllib.request.urlopen(signed.url) as answer:
        assert answer.read() == b"hello"


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_wrong_keys_and_tokens(oss: LocalOSS, version: str) -> None:
    request = sdk.PutObjectRequest(bucket="demo", key="k", body=b"")
    with pytest.raises(OperationError) as caught:
        client_of(oss, version, secret="wrong").put_object(request)
    assert code_of(caught.value) == "SignatureDoesNotMatch"
    with LocalOSS(security_token="the token") as guarded:
        assert client_of(guarded, version).put_object(request).status_code == 200
        guarded.security_token = "another"
        with pytest.raises(OperationError) as caught:
            client_of(guarded, version).put_object(request)
        assert code_of(caught.value) == "InvalidSecurityToken"
