"""listUploads, listParts, head, abort, copies and links: the methods beside multipartUpload."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from ossmp_jupyter.errors import AccessDenied, InputError, NoSuchKey, NoSuchUpload, TransportError
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.transfer.client import OSSClient
from tests.parity.support import PART, Run, connection_to, payload, requests_of

ODD_KEYS = (
    "plain.bin",
    "a b/c d",
    "plus+and%2B/100%",
    "数据/发布 🎉",
    "control\x01\x0c\x0a\x0b\x7f",
    "dots/../x/./y/...",
    "..",
    "query?a=b&c#d",
    "quotes'\"!()*",
    "double//slash///",
    "back\\slash",
    "<xml>&amp;",
    "ü" * 200,
)

# ------------------------------------------------------------------ listUploads


async def begin(client: OSSClient, names: list[str]) -> dict[str, str]:
    """Begin uploads, some at a time; returns their IDs."""
    gate = asyncio.Semaphore(16)

    async def one(name: str) -> tuple[str, str]:
        async with gate:
            return name, (await client.init_multipart_upload(name)).upload_id

    return dict(await asyncio.gather(*(one(name) for name in names)))


async def emptied(client: OSSClient) -> None:
    found = [upload async for upload in client.iter_uploads()]
    gate = asyncio.Semaphore(16)

    async def one(key: str, upload_id: str) -> None:
        async with gate:
            await client.abort_multipart_upload(key, upload_id)

    await asyncio.gather(*(one(upload.key, upload.upload_id) for upload in found))


def test_list_uploads_with_every_parameter(run: Run) -> None:
    async def scenario(client: OSSClient) -> None:
        ids = await begin(client, ["a/1", "a/2", "a/b/3", "c"])
        again = (await client.init_multipart_upload("a/1")).upload_id
        both = sorted((ids["a/1"], again))
        page = await client.list_uploads()
        assert [(u.key, u.upload_id) for u in page.uploads] == [
            ("a/1", both[0]), ("a/1", both[1]), ("a/2", ids["a/2"]), ("a/b/3", ids["a/b/3"]), ("c", ids["c"]),
        ]  # fmt: skip
        assert page.is_truncated is False
        assert all(upload.initiated is not None for upload in page.uploads)
        assert [u.key for u in (await client.list_uploads(prefix="a/")).uploads] == [
            "a/1",
            "a/1",
            "a/2",
            "a/b/3",
        ]

        grouped = await client.list_uploads(delimiter="/")
        assert ([u.key for u in grouped.uploads], grouped.common_prefixes) == (["c"], ("a/",))
        grouped = await client.list_uploads(prefix="a/", delimiter="/")
        assert ([u.key for u in grouped.uploads], grouped.common_prefixes) == (
            ["a/1", "a/1", "a/2"],
            ("a/b/",),
        )

        assert [u.key for u in (await client.list_uploads(key_marker="a/1")).uploads] == ["a/2", "a/b/3", "c"]
        marked = await client.list_uploads(key_marker="a/1", upload_id_marker=both[0])
        assert [u.upload_id for u in marked.uploads][:2] == [both[1], ids["a/2"]]
        first = await client.list_uploads(max_uploads=1)
        assert (len(first.uploads), first.is_truncated) == (1, True)
        assert (first.next_key_marker, first.next_upload_id_marker) == ("a/1", both[0])
        await emptied(client)

    run(scenario)


def test_iterators_over_thousands_of_uploads(run: Run) -> None:
    """2,300 uploads in pages of 1,000 and of 7, with groups; each exactly once, in order."""

    async def scenario(client: OSSClient) -> None:
        await emptied(client)
        names = [f"k{n % 50:02d}/{n:04d}" for n in range(2300)]
        ids = await begin(client, names)
        expected = sorted(ids.items())
        assert [(u.key, u.upload_id) async for u in client.iter_uploads()] == expected
        some = [u.key async for u in client.iter_uploads(prefix="k07/", max_uploads=7)]
        assert some == sorted(name for name in names if name.startswith("k07/"))
        groups = [p async for page in client.iter_upload_pages(delimiter="/", max_uploads=7)
                  for p in page.common_prefixes]  # fmt: skip
        assert groups == [f"k{n:02d}/" for n in range(50)]
        await emptied(client)
        assert [u async for u in client.iter_uploads()] == []

    run(scenario)


def test_odd_keys_survive_every_call(run: Run, oss: LocalOSS) -> None:
    """Control characters, +, %, blanks, other letters, dot segments: encoding-type=url on both ways."""

    async def scenario(client: OSSClient) -> None:
        await emptied(client)
        ids = await begin(client, list(ODD_KEYS))
        found = {u.key: u.upload_id async for u in client.iter_uploads(max_uploads=3)}
        assert found == ids
        grouped = [p async for page in client.iter_upload_pages(delimiter="/", max_uploads=2)
                   for p in page.common_prefixes]  # fmt: skip
        assert grouped == sorted(
            {k[: k.index("/") + 1] for k in ODD_KEYS if "/" in k}, key=lambda text: text.encode()
        )
        for name, upload_id in ids.items():
            part = await client.upload_part(name, upload_id, 1, name.encode())
            page = await client.list_parts(name, upload_id)
            assert (page.key, [p.etag for p in page.parts]) == (name, [part.etag])
            done = await client.complete_multipart_upload(name, upload_id, [(1, part.etag)])
            assert done.key == name
            assert await client.get(name) == name.encode()
        listed = {o.key for o in (await client.list_objects(max_keys=1000)).objects}
        assert set(ODD_KEYS) <= listed
        for name in ODD_KEYS:
            await client.delete(name)
            with pytest.raises(NoSuchKey):
                await client.head(name)

    run(scenario)
    encoded = [e for e in requests_of(oss, "ListMultipartUploads") if "encoding-type" in str(e["query"])]
    assert encoded == requests_of(oss, "ListMultipartUploads")


@pytest.mark.parametrize("name", [name.rstrip("/") for name in ODD_KEYS])
def test_odd_keys_upload_and_resume(run: Run, name: str) -> None:
    async def scenario(client: OSSClient) -> None:
        result = await client.multipart_upload(name, payload(2 * PART), part_size=PART)
        assert result.verified and result.key == name
        assert (await client.multipart_upload(name, payload(2 * PART), part_size=PART, fresh=True)).verified
        await client.delete(name)

    run(scenario)


# ------------------------------------------------------------------ listParts


@pytest.mark.parametrize("count", [0, 1, 2, 1000, 1001])
def test_list_parts_of_any_number(run: Run, key: str, count: int) -> None:
    """One part is a list, too (ali-oss: a bare object, and its sample throws); markers are numbers."""

    async def scenario(client: OSSClient) -> None:
        upload_id = (await client.init_multipart_upload(key)).upload_id
        gate = asyncio.Semaphore(16)

        async def send(number: int) -> None:
            async with gate:
                await client.upload_part(key, upload_id, number, b"%d" % number)

        await asyncio.gather(*(send(number) for number in range(1, count + 1)))
        page = await client.list_parts(key, upload_id)
        assert isinstance(page.parts, tuple) and len(page.parts) == min(count, 1000)
        assert page.is_truncated is (count > 1000)
        parts = [part async for part in client.iter_parts(key, upload_id)]
        assert [part.part_number for part in parts] == list(range(1, count + 1))
        assert all(part.size == len(str(part.part_number)) and part.crc64 is not None for part in parts)
        await client.abort_multipart_upload(key, upload_id)

    run(scenario)


def test_list_parts_with_every_parameter(run: Run, key: str) -> None:
    async def scenario(client: OSSClient) -> None:
        upload_id = (await client.init_multipart_upload(key, storage_class="IA")).upload_id
        for number in (1, 3, 5, 9):
            await client.upload_part(key, upload_id, number, b"x")
        page = await client.list_parts(key, upload_id, max_parts=2, part_number_marker=1)
        assert [part.part_number for part in page.parts] == [3, 5]
        assert (page.is_truncated, page.next_part_number_marker, page.max_parts) == (True, 5, 2)
        assert (page.key, page.upload_id, page.storage_class) == (key, upload_id, "IA")
        assert [p.part_number async for p in client.iter_parts(key, upload_id, max_parts=1)] == [1, 3, 5, 9]
        assert [p.part_number async for p in client.iter_parts(key, upload_id, part_number_marker=3)] == [
            5,
            9,
        ]
        await client.abort_multipart_upload(key, upload_id)

    run(scenario)


def test_abort_touches_one_upload_alone(run: Run, key: str) -> None:
    """ali-oss stops every upload of the client."""

    async def scenario(client: OSSClient) -> None:
        doomed = (await client.init_multipart_upload(f"{key}-doomed")).upload_id
        await client.upload_part(f"{key}-doomed", doomed, 1, b"x")

        async def abort(fraction: float, checkpoint: object, response: object) -> None:
            if fraction == 0:
                await client.abort_multipart_upload(f"{key}-doomed", doomed)

        result = await client.multipart_upload(key, payload(), part_size=PART, progress=abort)
        assert result.verified
        for call in (client.list_parts, client.abort_multipart_upload):
            with pytest.raises(NoSuchUpload):
                await call(f"{key}-doomed", doomed)  # type: ignore[operator]

    run(scenario)


# ------------------------------------------------------------------ links


def signatures() -> Any:
    return pytest.mark.parametrize("signature", ["v1", "v4"])


@signatures()
@pytest.mark.parametrize("token", [None, "a+token/with=signs"])
def test_our_links_in_the_hands_of_plain_httpx(signature: str, token: str | None) -> None:
    """GET, PUT and parts, with nothing but the URL; a changed one is refused."""

    async def scenario(oss: LocalOSS) -> None:
        name = "dir/中 a+b/../&?%41#.bin"
        async with (
            OSSClient(connection_to(oss, signature=signature)) as client,
            httpx.AsyncClient(trust_env=False) as anyone,
        ):
            put = await client.presign(name, method="PUT", expires=60, headers={"Content-Type": "text/csv"})
            assert (
                await anyone.put(put, content=b"a,b", headers={"Content-Type": "text/csv"})
            ).status_code == 200
            assert (await anyone.put(put, content=b"a", headers={"Content-Type": "x/y"})).status_code == 403
            got = await anyone.get(await client.presign(name))
            assert (got.status_code, got.content, got.headers["content-type"]) == (200, b"a,b", "text/csv")
            named = await client.presign(name, query={"response-content-disposition": "attachment"})
            assert (await anyone.get(named)).headers["content-disposition"] == "attachment"
            assert (await anyone.get(named + "x")).status_code == 403
            assert (await anyone.delete(named)).status_code == 403

            upload_id = (await client.init_multipart_upload(name)).upload_id
            data, parts = payload(), []
            for number, start in enumerate(range(0, len(data), PART), 1):
                url = await client.presign_part(name, upload_id, number)
                answer = await anyone.put(url, content=data[start : start + PART])
                assert answer.status_code == 200
                parts.append((number, answer.headers["etag"]))
                wrong = url.replace(f"partNumber={number}", f"partNumber={number + 1}")
                assert (await anyone.put(wrong, content=b"x")).status_code == 403
            await client.complete_multipart_upload(name, upload_id, parts)
            assert await client.get(name) == data

    with LocalOSS(security_token=token) as oss:
        asyncio.run(scenario(oss))
        assert "a+token" not in str(oss.journal())


@signatures()
def test_links_end(oss: LocalOSS, signature: str) -> None:
    async def scenario() -> None:
        async with (
            OSSClient(connection_to(oss, signature=signature)) as client,
            httpx.AsyncClient(trust_env=False) as anyone,
        ):
            await client.put("k", b"x", checkpoint=False)
            url = await client.presign("k", expires=60)
            oss.set_faults([{"kind": "skew", "seconds": 120}])
            answer = await anyone.get(url)
            assert answer.status_code == 403 and "expired" in answer.text
            if signature == "v4":
                with pytest.raises(InputError, match="7 days"):
                    await client.presign("k", expires=604_801)
            for expires in (0, -1, 1.5):
                with pytest.raises(InputError):
                    await client.presign("k", expires=expires)  # type: ignore[arg-type]

    asyncio.run(scenario())


# ------------------------------------------------------------------ copies


def test_upload_part_copy(run: Run, key: str) -> None:
    async def scenario(client: OSSClient) -> None:
        await client.put(f"{key} source+ü", payload(300_000))
        upload_id = (await client.init_multipart_upload(key)).upload_id
        one = await client.upload_part_copy(key, upload_id, 1, f"{key} source+ü", byte_range=(0, 199_999))
        two = await client.upload_part_copy(
            key, upload_id, 2, f"oss://{client.connection.bucket}/{key} source+ü"
        )
        await client.complete_multipart_upload(key, upload_id, [(2, two.etag), (1, one.etag)])
        assert await client.get(key) == payload(300_000)[:200_000] + payload(300_000)

    run(scenario)


@pytest.mark.parametrize("size", [0, 1000, 4 * PART + 17])
def test_multipart_copy_between_keys(run: Run, oss: LocalOSS, key: str, size: int) -> None:
    async def scenario(client: OSSClient) -> Any:
        await client.multipart_upload(f"{key}-from", payload(size), part_size=PART)
        head = await client.multipart_copy(
            f"{key}-to", f"{key}-from", part_size="100KiB", parallel=2, meta={"a": "b"}, storage_class="IA"
        )
        assert await client.get(f"{key}-to") == payload(size)
        return head

    head = run(scenario)
    assert (head.size, head.meta, head.storage_class) == (size, {"a": "b"}, "IA")
    copied = requests_of(oss, "UploadPartCopy")
    assert len(copied) == max(1, -(-size // PART))
    assert all(entry["bytes_in"] == 0 for entry in copied)


def test_multipart_copy_leaves_nothing_behind(run: Run, oss: LocalOSS, key: str) -> None:
    async def scenario(client: OSSClient) -> None:
        await client.put(f"{key}-from", payload())
        oss.set_faults([{"operation": "UploadPartCopy", "at": 3, "kind": "error", "status": 403,
                         "code": "AccessDenied", "times": None}])  # fmt: skip
        with pytest.raises(AccessDenied):
            await client.multipart_copy(f"{key}-to", f"{key}-from", part_size=PART)
        oss.set_faults([])
        assert [u async for u in client.iter_uploads(prefix=key)] == []
        with pytest.raises(NoSuchKey):
            await client.multipart_copy(f"{key}-to", f"{key}-missing")

    run(scenario)


def test_multipart_copy_whose_last_answer_is_lost(run: Run, oss: LocalOSS, key: str) -> None:
    async def scenario(client: OSSClient) -> Any:
        await client.put(f"{key}-from", payload())
        oss.set_faults([{"operation": "CompleteMultipartUpload", "kind": "apply_no_answer"}])
        head = await client.multipart_copy(f"{key}-to", f"{key}-from", part_size=PART)
        oss.set_faults([{"operation": "CompleteMultipartUpload", "kind": "reset"}])
        with pytest.raises(TransportError):
            await client.multipart_copy(f"{key}-never", f"{key}-from", part_size=PART)
        assert [u async for u in client.iter_uploads(prefix=key)] == []
        return head

    assert run(scenario).size == len(payload())
