"""Lifecycle rules: put by the official SDKs, read by ours, kept over a restart, carried out for uploads."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import oss2
import pytest
from oss2.models import AbortMultipartUpload, BucketLifecycle, LifecycleExpiration, LifecycleRule

from ossmp_jupyter.errors import NotFound
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.connection import connect
from ossmp_jupyter.oss.lifecycle import LifecycleRule as OurRule
from ossmp_jupyter.oss.lifecycle import clears_uploads
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer.lanes import make_http_client


def sdk_bucket(oss: LocalOSS) -> oss2.Bucket:
    auth = oss2.AuthV4(str(oss.access_key_id), str(oss.access_key_secret))
    return oss2.Bucket(auth, oss.endpoint, "demo", region=oss.region, is_path_style=True)


def rule(prefix: str = "", days: int = 7) -> LifecycleRule:
    abort = AbortMultipartUpload(days=days)
    return LifecycleRule("clear", prefix, LifecycleRule.ENABLED, abort_multipart_upload=abort)


def rules_by_ours(oss: LocalOSS) -> tuple[OurRule, ...]:
    connection = connect(bucket="demo", environ=oss.environment())

    async def ask() -> tuple[OurRule, ...]:
        async with make_http_client(connection) as http:
            return await RestClient(connection, http).get_bucket_lifecycle("demo")

    return asyncio.run(ask())


def test_the_official_sdk_puts_and_gets_and_we_read(tmp_path: Path) -> None:
    with LocalOSS(["demo"], root=tmp_path) as oss:
        bucket = sdk_bucket(oss)
        with pytest.raises(oss2.exceptions.NoSuchKey.__mro__[1]) as missing:  # NotFound
            bucket.get_bucket_lifecycle()
        assert missing.value.code == "NoSuchLifecycle"
        with pytest.raises(NotFound) as ours:
            rules_by_ours(oss)
        assert ours.value.code == "NoSuchLifecycle"
        expire = LifecycleRule("old", "logs/", LifecycleRule.ENABLED, LifecycleExpiration(days=30))
        bucket.put_bucket_lifecycle(BucketLifecycle([expire, rule("tmp/", 3)]))
        assert [found.id for found in bucket.get_bucket_lifecycle().rules] == ["old", "clear"]
    with LocalOSS(["demo"], root=tmp_path) as oss:  # restarted
        rules = rules_by_ours(oss)
        assert [(r.id, r.prefix, r.abort_days, r.aborts) for r in rules] == [
            ("old", "logs/", None, False),
            ("clear", "tmp/", 3, True),
        ]
        assert clears_uploads(rules, "tmp/a")
        assert not clears_uploads(rules)
        sdk_bucket(oss).delete_bucket_lifecycle()
        with pytest.raises(NotFound):
            rules_by_ours(oss)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<LifecycleConfiguration/>",
        "<LifecycleConfiguration><Rule><Prefix/><Status>On</Status>"
        "<AbortMultipartUpload><Days>1</Days></AbortMultipartUpload></Rule></LifecycleConfiguration>",
        "<LifecycleConfiguration><Rule><Prefix/><Status>Enabled</Status>"
        "<AbortMultipartUpload></AbortMultipartUpload></Rule></LifecycleConfiguration>",
        "<LifecycleConfiguration><Rule><Prefix/><Status>Enabled</Status></Rule></LifecycleConfiguration>",
    ],
)
def test_rules_that_oss_refuses(body: str) -> None:
    with LocalOSS(["demo"]) as oss, pytest.raises(oss2.exceptions.RequestError.__mro__[1]) as refused:
        sdk_bucket(oss)._Bucket__do_bucket("PUT", data=body, params={"lifecycle": ""})
    assert refused.value.status == 400


def test_uploads_that_are_old_enough_are_gone(tmp_path: Path) -> None:
    with LocalOSS(["demo"], root=tmp_path) as oss:
        bucket = sdk_bucket(oss)
        old, kept = (bucket.init_multipart_upload(key).upload_id for key in ("tmp/old", "other/old"))
        bucket.upload_part("tmp/old", old, 1, b"x" * 1000)
    for file in (tmp_path / "uploads").glob("*.json"):  # let them be eight days old
        text = file.read_text()
        initiated = text.split('"initiated": ')[1].split(",")[0].rstrip("}")
        file.write_text(text.replace(initiated, str(time.time() - 8 * 86400)))
    with LocalOSS(["demo"], root=tmp_path) as oss:
        bucket = sdk_bucket(oss)
        young = bucket.init_multipart_upload("tmp/young").upload_id
        assert {u.upload_id for u in bucket.list_multipart_uploads().upload_list} == {old, kept, young}
        bucket.put_bucket_lifecycle(BucketLifecycle([rule("tmp/")]))
        assert {u.upload_id for u in bucket.list_multipart_uploads().upload_list} == {kept, young}
        assert not os.path.exists(tmp_path / "data" / old)
