"""oss2, the older official Python SDK, as a client of the embedded OSS."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

import oss2
import pytest
from oss2.credentials import StaticCredentialsProvider
from oss2.models import PartInfo

from ossmp_jupyter.localoss import LocalOSS

AUTHS: dict[str, Callable[[StaticCredentialsProvider], object]] = {
    "v1": oss2.ProviderAuth,
    "v4": oss2.ProviderAuthV4,
}


def bucket_of(oss: LocalOSS, version: str, secret: str | None = None) -> oss2.Bucket:
    provider = StaticCredentialsProvider(
        oss.access_key_id, secret or oss.access_key_secret, oss.security_token
    )
    return oss2.Bucket(AUTHS[version](provider), oss.endpoint, oss.bucket, region=oss.region)


@pytest.fixture(params=AUTHS)
def bucket(oss: LocalOSS, request: pytest.FixtureRequest) -> oss2.Bucket:
    oss.journal(clear=True)
    return bucket_of(oss, request.param)


def test_put_head_get_delete(bucket: oss2.Bucket) -> None:
    key = "dir/ü a+b//c?&=%.txt"
    put = bucket.put_object(key, b"hello", headers={"x-oss-meta-name": "value", "Content-Type": "text/plain"})
    assert put.etag == "5D41402ABC4B2A76B9719D911017C592"
    head = bucket.head_object(key)
    assert (head.content_length, head.headers["x-oss-meta-name"], head.content_type) == (
        5,
        "value",
        "text/plain",
    )
    assert bucket.get_object(key).read() == b"hello"
    assert bucket.get_object(key, byte_range=(1, 3)).read() == b"ell"
    assert bucket.object_exists(key)
    assert bucket.delete_object(key).status == 204
    assert not bucket.object_exists(key)
    with pytest.raises(oss2.exceptions.NoSuchKey):
        bucket.get_object(key)
    with pytest.raises(oss2.exceptions.NotFound):
        bucket.head_object(key)


def test_multipart_calls(bucket: oss2.Bucket) -> None:
    data = os.urandom(250_000)
    upload_id = bucket.init_multipart_upload("steps/ü", headers={"x-oss-storage-class": "IA"}).upload_id
    parts = []
    for number, start in enumerate(range(0, len(data), 102_400), 1):
        piece = data[start : start + 102_400]
        done = bucket.upload_part("steps/ü", upload_id, number, piece)  # oss2 checks the CRC of the answer
        parts.append(PartInfo(number, done.etag, len(piece), done.crc))
    assert [u.upload_id for u in oss2.MultipartUploadIterator(bucket, prefix="steps/")] == [upload_id]
    listed = list(oss2.PartIterator(bucket, "steps/ü", upload_id, max_parts=2))
    assert [(p.part_number, p.etag, p.size) for p in listed] == [
        (p.part_number, p.etag, p.size) for p in parts
    ]
    # with sizes and CRCs given, oss2 compares the combined CRC with the answer's
    done = bucket.complete_multipart_upload("steps/ü", upload_id, parts)
    assert done.etag.endswith("-3")
    assert bucket.get_object("steps/ü").read() == data
    assert bucket.head_object("steps/ü").headers["x-oss-storage-class"] == "IA"
    with pytest.raises(oss2.exceptions.NoSuchUpload):
        bucket.complete_multipart_upload("steps/ü", upload_id, parts)


def test_abort(bucket: oss2.Bucket) -> None:
    upload_id = bucket.init_multipart_upload("aborted").upload_id
    bucket.upload_part("aborted", upload_id, 1, b"x")
    assert bucket.abort_multipart_upload("aborted", upload_id).status == 204
    with pytest.raises(oss2.exceptions.NoSuchUpload):
        bucket.list_parts("aborted", upload_id)


def test_resumable_upload(bucket: oss2.Bucket, tmp_path: Path) -> None:
    data = os.urandom(1_000_000)
    (tmp_path / "source").write_bytes(data)
    store = oss2.ResumableStore(root=str(tmp_path))
    oss2.resumable_upload(
        bucket,
        "resumable",
        str(tmp_path / "source"),
        store=store,
        multipart_threshold=200_000,
        part_size=110_000,
        num_threads=3,
    )
    assert bucket.get_object("resumable").read() == data


def test_part_copy(bucket: oss2.Bucket) -> None:
    data = os.urandom(300_000)
    bucket.put_object("source ü", data)
    upload_id = bucket.init_multipart_upload("copied").upload_id
    one = bucket.upload_part_copy("demo", "source ü", (0, 149_999), "copied", upload_id, 1)
    two = bucket.upload_part_copy("demo", "source ü", (150_000, 299_999), "copied", upload_id, 2)
    bucket.complete_multipart_upload("copied", upload_id, [PartInfo(1, one.etag), PartInfo(2, two.etag)])
    assert bucket.get_object("copied").read() == data


def test_listings_and_buckets(bucket: oss2.Bucket) -> None:
    for name in ("list/a b", "list/c/1", "list/c/2", "list/d"):
        bucket.put_object(name, b"")
    page = bucket.list_objects_v2(prefix="list/", delimiter="/", max_keys=2)
    assert ([o.key for o in page.object_list], page.prefix_list) == (["list/a b"], ["list/c/"])
    rest = bucket.list_objects_v2(
        prefix="list/", delimiter="/", max_keys=2, continuation_token=page.next_continuation_token
    )
    assert ([o.key for o in rest.object_list], rest.prefix_list) == (["list/d"], [])
    assert [o.key for o in oss2.ObjectIterator(bucket, prefix="list/", delimiter="/", max_keys=1)] == [
        "list/a b",
        "list/c/",
        "list/d",
    ]
    assert bucket.get_bucket_info().name == "demo"
    assert bucket.get_bucket_location().location == "oss-cn-hangzhou"


def test_presigned_url(bucket: oss2.Bucket) -> None:
    bucket.put_object("signed ü", b"hello")
    url = bucket.sign_url("GET", "signed ü", 60, slash_safe=True)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"hello"


@pytest.mark.parametrize("version", AUTHS)
def test_wrong_keys_and_tokens(oss: LocalOSS, version: str) -> None:
    with pytest.raises(oss2.exceptions.SignatureDoesNotMatch):
        bucket_of(oss, version, secret="wrong").put_object("k", b"")
    with LocalOSS(security_token="the token") as guarded:
        bucket_of(guarded, version).put_object("k", b"hello")
        guarded.security_token = None
        with pytest.raises(oss2.exceptions.ServerError) as caught:
            bucket_of(guarded, version).get_object("k")
        assert caught.value.code == "InvalidAccessKeyId"
        guarded.security_token = "another"
        with pytest.raises(oss2.exceptions.ServerError) as caught:
            bucket_of(guarded, version).get_object("k")
        assert caught.value.code == "InvalidSecurityToken"
