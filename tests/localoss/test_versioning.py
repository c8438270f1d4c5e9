"""Versioning as far as uploads see it: set by the official SDK, told in every answer, kept over a restart."""

from __future__ import annotations

from pathlib import Path

import oss2
import pytest
from oss2.models import BucketVersioningConfig

from ossmp_jupyter.localoss import LocalOSS
from tests.localoss.test_lifecycle import sdk_bucket


def set_versioning(bucket: oss2.Bucket, status: str) -> None:
    config = BucketVersioningConfig()
    config.status = status
    bucket.put_bucket_versioning(config)


def test_version_ids_by_the_official_sdk(tmp_path: Path) -> None:
    with LocalOSS(["demo"], root=tmp_path) as oss:
        bucket = sdk_bucket(oss)
        assert bucket.get_bucket_versioning().status is None
        assert bucket.put_object("k", b"1").versionid is None
        set_versioning(bucket, "Enabled")
        first, second = (bucket.put_object("k", data).versionid for data in (b"2", b"3"))
        assert first and second and first != second
        upload_id = bucket.init_multipart_upload("big").upload_id
        etag = bucket.upload_part("big", upload_id, 1, b"x" * 1000).etag
        done = bucket.complete_multipart_upload("big", upload_id, [oss2.models.PartInfo(1, etag)])
        assert done.versionid and done.versionid == bucket.head_object("big").versionid
        # what forbids overwriting says nothing where every version is kept
        assert bucket.put_object("k", b"4", headers={"x-oss-forbid-overwrite": "true"}).versionid
    with LocalOSS(["demo"], root=tmp_path) as oss:
        bucket = sdk_bucket(oss)
        assert bucket.get_bucket_versioning().status == "Enabled"
        assert bucket.head_object("big").versionid == done.versionid
        set_versioning(bucket, "Suspended")
        assert bucket.put_object("k", b"5").versionid == "null"
        with pytest.raises(oss2.exceptions.ServerError) as refused:
            set_versioning(bucket, "Perhaps")
        assert refused.value.code == "MalformedXML"
