"""OSSClient: every method, over real HTTP."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from ossmp_jupyter.errors import InputError, NoSuchBucket, NoSuchKey, NoSuchUpload, ServerError
from ossmp_jupyter.oss.checksum import crc64
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.client import OSSClient
from tests.transfer.support import PART, Bucket

DATA = os.urandom(3 * PART)


async def test_multipart_upload_with_all_its_options(oss: Bucket, file: Path) -> None:
    fractions: list[float] = []

    async def progress(fraction: float, checkpoint: object, response: object) -> None:
        fractions.append(fraction)

    async with OSSClient(oss.connection) as client:
        result = await client.multipart_upload(
            "folder/", file, part_size="100KiB", parallel=3, progress=progress, meta={"a": "1"},
            mime="text/x", headers={"Cache-Control": "no-store"},
            timeout=20, tags={"k": "v"}, storage_class="IA",
        )  # fmt: skip
        head = await client.head("folder/data.bin")
    assert (result.key, result.verified, result.parts) == ("folder/data.bin", True, 6)
    assert (head.meta, head.content_type, head.storage_class) == ({"a": "1"}, "text/x", "IA")
    assert fractions[-1] == 1.0


async def test_put(oss: Bucket) -> None:
    async with OSSClient(oss.connection) as client:
        result = await client.put("small.txt", b"hello", meta={"n": "1"}, headers={"Content-Language": "de"})
        head = await client.head("small.txt")
    assert (result.parts, result.verified, result.upload_id) == (1, True, None)
    assert (head.size, head.crc64, head.meta) == (5, crc64(b"hello"), {"n": "1"})
    assert (head.content_type or "").startswith("text/plain")


async def test_a_multipart_upload_call_by_call(oss: Bucket) -> None:
    async with OSSClient(oss.connection) as client:
        begun = await client.init_multipart_upload("k", meta={"a": "b"}, mime="text/x")
        assert (begun.bucket, begun.key) == (oss.name, "k")
        first = await client.upload_part("k", begun.upload_id, 1, DATA[:PART])
        assert first.crc64 == crc64(DATA[:PART])
        await client.put("source", DATA)
        second = await client.upload_part_copy(
            "k", begun.upload_id, 2, "source", byte_range=(PART, 3 * PART - 1)
        )
        page = await client.list_parts("k", begun.upload_id)
        assert [(part.part_number, part.etag, part.size) for part in page.parts] == [
            (1, first.etag, PART), (2, second.etag, 2 * PART)
        ]  # fmt: skip
        assert [part async for part in client.iter_parts("k", begun.upload_id)] == list(page.parts)
        done = await client.complete_multipart_upload(
            "k", begun.upload_id, [(1, first.etag), (2, second.etag)]
        )
        assert done.crc64 == crc64(DATA)
        assert await client.get("k") == DATA
        head = await client.head(f"oss://{oss.name}/k")
        assert (head.etag, head.meta, head.content_type) == (done.etag, {"a": "b"}, "text/x")
        with pytest.raises(NoSuchUpload):
            await client.complete_multipart_upload("k", begun.upload_id, [(1, first.etag)])


async def test_abort_and_list_uploads(oss: Bucket) -> None:
    async with OSSClient(oss.connection) as client:
        begun = [await client.init_multipart_upload(key) for key in ("a/1", "a/1", "a/2", "b/1")]
        page = await client.list_uploads()
        assert {(one.key, one.upload_id) for one in page.uploads} == {
            (one.key, one.upload_id) for one in begun
        }
        assert [one.key async for one in client.iter_uploads(prefix="a/")] == ["a/1", "a/1", "a/2"]
        page = await client.list_uploads(delimiter="/")
        assert page.common_prefixes == ("a/", "b/")
        page = await client.list_uploads(max_uploads=2)
        assert page.is_truncated
        rest = await client.list_uploads(
            key_marker=page.next_key_marker, upload_id_marker=page.next_upload_id_marker
        )
        assert len(page.uploads) + len(rest.uploads) == 4
        for one in begun:
            await client.abort_multipart_upload(one.key, one.upload_id)
        assert [one async for one in client.iter_uploads()] == []
        with pytest.raises(NoSuchUpload):
            await client.abort_multipart_upload("a/1", begun[0].upload_id)
        with pytest.raises(NoSuchUpload):
            await client.list_parts("a/1", begun[0].upload_id)


async def test_list_parts_in_pages(oss: Bucket) -> None:
    async with OSSClient(oss.connection) as client:
        begun = await client.init_multipart_upload("k")
        for number in (7, 3, 5):
            await client.upload_part("k", begun.upload_id, number, b"x" * number)
        page = await client.list_parts("k", begun.upload_id, max_parts=2)
        assert ([part.part_number for part in page.parts], page.is_truncated) == ([3, 5], True)
        page = await client.list_parts("k", begun.upload_id, part_number_marker=page.next_part_number_marker)
        assert ([part.part_number for part in page.parts], page.is_truncated) == ([7], False)


async def test_get_stream_and_delete(oss: Bucket) -> None:
    async with OSSClient(oss.connection) as client:
        await client.put("k", DATA)
        assert await client.get("k", byte_range=(10, 19)) == DATA[10:20]
        async with client.stream("k") as stream:
            assert stream.head.size == len(DATA)
            assert b"".join([piece async for piece in stream]) == DATA
        await client.delete("k")
        await client.delete("k")
        for call in (client.get("k"), client.head("k")):
            with pytest.raises(NoSuchKey):
                await call


async def test_list_objects(oss: Bucket) -> None:
    async with OSSClient(oss.connection) as client:
        for key in ("a/1", "a/2", "b/1", "c"):
            await client.put(key, b"x")
        page = await client.list_objects()
        assert [one.key for one in page.objects] == ["a/1", "a/2", "b/1", "c"]
        page = await client.list_objects(delimiter="/")
        assert ([one.key for one in page.objects], page.common_prefixes) == (["c"], ("a/", "b/"))
        page = await client.list_objects(max_keys=3)
        rest = await client.list_objects(continuation_token=page.next_continuation_token)
        assert (page.is_truncated, [one.key for one in rest.objects]) == (True, ["c"])
        assert [one.key for one in (await client.list_objects(prefix="a/", bucket=oss.name)).objects] == [
            "a/1",
            "a/2",
        ]


async def test_buckets(oss: Bucket) -> None:
    async with OSSClient(oss.connection) as client:
        name = f"{oss.name}-more"
        await client.put_bucket(name)
        await client.put(f"oss://{name}/k", b"x")
        with pytest.raises(ServerError):
            await client.delete_bucket(name)
        await client.delete(f"oss://{name}/k")
        await client.delete_bucket(name)
        with pytest.raises(NoSuchBucket):
            await client.list_objects(bucket=name)


@pytest.mark.parametrize("signature", ["v4", "v1"])
async def test_presigned_links_work_without_keys(oss: Bucket, signature: Any) -> None:
    async with OSSClient(oss.with_(signature=signature).connection) as client, httpx.AsyncClient() as plain:
        await client.put("k", b"hello")
        link = await client.presign("k", expires=60)
        assert oss.server.access_key_secret not in link
        assert (await plain.get(link)).content == b"hello"
        assert (await plain.put(link, content=b"x")).status_code == 403
        put = await client.presign("new", method="PUT", expires=60)
        assert (await plain.put(put, content=b"new")).status_code == 200
        assert await client.get("new") == b"new"


async def test_a_client_of_its_own_settings_and_of_the_default(oss: Bucket) -> None:
    server = oss.server
    settings = {
        "endpoint": server.endpoint, "region": server.region, "bucket": oss.name,
        "access_key_id": server.access_key_id, "access_key_secret": server.access_key_secret,
    }  # fmt: skip
    async with OSSClient(**settings) as client:
        await client.put("k", b"x")
        assert server.access_key_secret not in repr(client)
    manager.set_default_connection(oss.connection)
    async with OSSClient() as client:
        assert await client.get("k") == b"x"


async def test_a_client_of_the_environment(oss: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in oss.server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OSS_BUCKET", oss.name)
    async with OSSClient() as client:
        await client.put("k", b"x")
    assert oss.keys() == ["k"]


async def test_a_key_without_a_bucket_anywhere(oss: Bucket) -> None:
    async with OSSClient(oss.with_(bucket=None).connection) as client:
        with pytest.raises(InputError, match="names no bucket"):
            await client.head("k")
        with pytest.raises(InputError, match="names no object"):
            await client.head(f"oss://{oss.name}/")


async def test_many_uploads_of_one_client_at_a_time(oss: Bucket) -> None:
    async with OSSClient(oss.connection) as client:
        results = await asyncio.gather(
            *(client.multipart_upload(f"k{n}", os.urandom(2 * PART), part_size=PART) for n in range(10))
        )
    assert all(result.verified for result in results)
    assert len(oss.keys()) == 10


def test_any_call_on_the_engines_loop(oss: Bucket) -> None:
    manager.set_default_connection(oss.connection)
    assert manager.call(lambda client: client.put("k", b"x")).result(30).verified
    with pytest.raises(NoSuchKey):
        manager.call(lambda client: client.get("none")).result(30)
