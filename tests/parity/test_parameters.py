"""The parameters of multipartUpload: what is uploaded, in which parts, with what progress, stored how."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import tracemalloc
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ossmp_jupyter import upload
from ossmp_jupyter.errors import InputError, OssmpError
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.oss.headers import guess_mime
from ossmp_jupyter.transfer.checkpoint import Checkpoint
from ossmp_jupyter.transfer.client import OSSClient
from ossmp_jupyter.transfer.progress import UploadResult
from tests.parity.support import PART, Run, payload, requests_of

# ------------------------------------------------------------------ name and file


def test_name_is_the_one_given(run: Run, file: Path, oss: LocalOSS) -> None:
    """A trailing slash keeps the file's name; whole addresses work; the caller's options stay as they are."""
    options: dict[str, Any] = {"headers": {"cache-control": "no-cache"}, "meta": {"Year": 2020}}
    before = json.dumps(options)

    async def scenario(client: OSSClient) -> list[str]:
        one = await client.multipart_upload("dir/", file, **options)
        two = await client.multipart_upload(f"oss://{oss.bucket}/whole/key", file, **options)
        return [one.address, two.address]

    assert run(scenario) == [f"oss://{oss.bucket}/dir/source.bin", f"oss://{oss.bucket}/whole/key"]
    assert json.dumps(options) == before


def chunks(data: bytes, size: int = 7001) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def achunks(data: bytes) -> AsyncIterator[bytes]:
    for piece in chunks(data):
        await asyncio.sleep(0)
        yield piece


FILES: dict[str, Callable[[Path], Any]] = {
    "text path": str,
    "PathLike": lambda path: path,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "NumPy array": lambda path: np.frombuffer(path.read_bytes(), np.uint8),
    "open file": lambda path: path.open("rb"),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "iterator": lambda path: chunks(path.read_bytes()),
    "async iterator": lambda path: achunks(path.read_bytes()),
}


@pytest.mark.parametrize("kind", FILES)
def test_file_kinds(run: Run, file: Path, kind: str, key: str) -> None:
    source = FILES[kind](file)

    async def scenario(client: OSSClient) -> tuple[UploadResult, bytes]:
        result = await client.multipart_upload(key, source, part_size=PART)
        return result, await client.get(key)

    result, stored = run(scenario)
    assert stored == file.read_bytes()
    assert (result.parts, result.verified) == (5, True)


def test_stream_of_unknown_length_in_bounded_memory(run: Run, key: str) -> None:
    """64 MiB through parts of 1 MiB, two at a time: never more than a few parts in memory."""
    piece, count = bytes(256 * 1024), 256

    def stream() -> Iterator[bytes]:
        for _ in range(count):
            yield piece

    async def scenario(client: OSSClient) -> UploadResult:
        return await client.multipart_upload(key, stream(), part_size="1MiB", parallel=2, checkpoint=False)

    gc.collect()
    tracemalloc.start()
    try:
        result = run(scenario)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (result.size, result.parts, result.verified) == (count * len(piece), 64, True)
    assert peak < 12 * 1024 * 1024


# ------------------------------------------------------------------ parallel and part size


def test_parallel_parts(run: Run, oss: LocalOSS, file: Path, key: str) -> None:
    """No more parts at a time than asked for: the server counts those that stall at once."""
    # long enough that the second lane, however late, meets the first at one of its five
    oss.set_faults([{"operation": "UploadPart", "kind": "stall", "seconds": 0.6, "every": 1}])

    async def scenario(client: OSSClient) -> UploadResult:
        return await client.multipart_upload(key, file, part_size=PART, parallel=2)

    assert run(scenario).parts == 5
    times = [(e["time"], e["time"] + e["seconds"]) for e in requests_of(oss, "UploadPart")]
    together = [sum(a <= start < b for a, b in times) for start, _ in times]
    assert max(together) == 2


@pytest.mark.parametrize("size", [PART, "100KiB", "0.1 MiB", 150_000])
def test_part_size_in_bytes_or_units(run: Run, oss: LocalOSS, file: Path, key: str, size: int | str) -> None:
    async def scenario(client: OSSClient) -> UploadResult:
        return await client.multipart_upload(key, file, part_size=size)

    result = run(scenario)
    largest = max(e["bytes_in"] for e in requests_of(oss, "UploadPart"))
    assert largest == {PART: PART, "100KiB": PART, "0.1 MiB": 104_857, 150_000: 150_000}[size]
    assert result.parts == -(-file.stat().st_size // largest)


def test_part_size_raised_with_a_visible_word(tmp_path: Path, connection: Connection, oss: LocalOSS) -> None:
    """More than 10,000 parts would be needed: the size is raised, and that is said."""
    path = tmp_path / "large"
    with path.open("wb") as large:
        large.truncate(PART * 10_000 + 1)
    oss.set_bandwidth("200KB/s")
    handle = upload(path, "large", connection=connection, part_size="100KiB", parallel=1)
    while handle.progress.parts_total == 0:
        asyncio.run(asyncio.sleep(0.01))
    assert handle.progress.parts_total <= 10_000
    assert handle.warning == (
        "the parts are 128.0 KiB large: with those asked for, the upload would have more than 10,000"
    )
    oss.set_bandwidth(None)
    assert handle.abort().result(20)


def test_part_size_raised_is_warned_of_in_scripts(
    run: Run, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client has no handle to look at: it warns as libraries do."""
    from ossmp_jupyter.transfer import plan

    monkeypatch.setattr(plan, "MAX_PARTS", 3)

    async def scenario(client: OSSClient) -> UploadResult:
        return await client.multipart_upload(key, payload(), part_size=PART)

    with pytest.warns(UserWarning, match=r"the parts are 192\.0 KiB large"):
        assert run(scenario).parts == 3


# ------------------------------------------------------------------ progress

Events = list[tuple[float, Checkpoint | None, Any]]


def check_events(events: Events, upload_id: str | None, parts: int) -> None:
    """Start, each confirmed part, end; never back; 1 once, at the end; a checkpoint all the way."""
    fractions = [fraction for fraction, _, _ in events]
    assert len(events) == parts + 2
    assert fractions[0] == 0.0
    assert fractions == sorted(fractions)
    assert fractions.count(1.0) == 1 and fractions[-1] == 1.0
    for number, (_, checkpoint, response) in enumerate(events):
        assert checkpoint is not None and checkpoint.upload_id == upload_id
        assert len(checkpoint.parts) == min(number, parts)
        assert response is not None
    assert [type(response).__name__ for _, _, response in events] == (
        ["InitiateResult"] + ["PartResult"] * parts + ["UploadResult"]
    )


def test_progress_sync(run: Run, file: Path, key: str) -> None:
    events: Events = []

    async def scenario(client: OSSClient) -> UploadResult:
        return await client.multipart_upload(
            key, file, part_size=PART, progress=lambda *event: events.append(event)
        )

    check_events(events, run(scenario).upload_id, 5)


def test_progress_async(run: Run, file: Path, key: str) -> None:
    events: Events = []

    async def progress(fraction: float, checkpoint: Checkpoint | None, response: object) -> None:
        await asyncio.sleep(0)
        events.append((fraction, checkpoint, response))

    async def scenario(client: OSSClient) -> UploadResult:
        return await client.multipart_upload(key, file, part_size=PART, progress=progress)

    check_events(events, run(scenario).upload_id, 5)


@pytest.mark.parametrize("size", [0, 5, 50_000])
def test_progress_of_small_files(run: Run, key: str, size: int) -> None:
    """ali-oss calls once with an undefined checkpoint; here start, the one part and the end."""
    events: list[float] = []

    async def scenario(client: OSSClient) -> UploadResult:
        return await client.multipart_upload(
            key, payload(size), progress=lambda fraction, checkpoint, response: events.append(fraction)
        )

    assert run(scenario).upload_id is None
    assert (events[0], events[-1]) == (0.0, 1.0) and len(events) == 3


def test_progress_cannot_slow_or_kill_an_upload(file: Path, key: str, connection: Connection) -> None:
    """An exception is told once, in the handle's warning, and the upload goes on."""
    calls: list[float] = []

    def progress(fraction: float, checkpoint: object, response: object) -> None:
        calls.append(fraction)
        raise ZeroDivisionError("oops")

    handle = upload(file, key, connection=connection, part_size=PART, progress=progress)
    assert handle.wait(30).verified
    assert calls == [0.0]
    assert "progress callback failed" in (handle.warning or "") and "oops" in (handle.warning or "")


def test_progress_of_a_resumed_upload(oss: LocalOSS, file: Path, key: str, connection: Connection) -> None:
    """It begins with a call that shows what was kept, at once."""
    oss.set_faults([{"operation": "UploadPart", "part_number": 4, "kind": "error", "status": 403,
                     "code": "AccessDenied", "times": None}])  # fmt: skip
    with pytest.raises(OssmpError):
        upload(file, key, connection=connection, part_size=PART, parallel=1).wait(30)
    oss.set_faults([])
    events: list[tuple[float, int]] = []
    result = upload(
        file, key, connection=connection, part_size=PART,
        progress=lambda p, cp, res: events.append((round(p, 2), len(cp.parts))),
    ).wait(30)  # fmt: skip
    assert (result.parts_kept, result.parts_sent) == (3, 2)
    assert events[0] == (0.75, 3) and events[-1] == (1.0, 5)


# ------------------------------------------------------------------ meta


META = {
    "year": 2020,
    "people": "test",
    "chinese": "数据发布",
    "emoji": "🎉 ok",
    "control": "a\tb\r\nc\x00d",
    "blank": "  both ends  ",
    "empty": "",
    "word": "=?utf-8?B?eA==?=",
    "percent": "100%25 +1",
    "truth": True,
}


@pytest.mark.parametrize("size", [10, 4 * PART])
def test_meta_any_text_comes_back(run: Run, key: str, size: int) -> None:
    async def scenario(client: OSSClient) -> dict[str, str]:
        await client.multipart_upload(key, payload(size), meta=META, part_size=PART)
        return dict((await client.head(key)).meta)

    assert run(scenario) == {n: "true" if v is True else str(v) for n, v in META.items()}


def test_meta_up_to_8_kb(run: Run, oss: LocalOSS, key: str) -> None:
    full = {f"n{i}": "x" * 2000 for i in range(4)}
    room = 8192 - sum(len("x-oss-meta-") + len(n) + len(v) for n, v in full.items())
    full["rest"] = "y" * (room - len("x-oss-meta-rest"))

    async def scenario(client: OSSClient) -> dict[str, str]:
        await client.multipart_upload(key, b"x", meta=full)
        return dict((await client.head(key)).meta)

    assert run(scenario) == full
    oss.journal(clear=True)

    async def one_more(client: OSSClient) -> None:
        await client.multipart_upload(key, b"x", meta={**full, "rest": full["rest"] + "y"})

    with pytest.raises(InputError, match="8 KiB"):
        run(one_more)
    assert requests_of(oss) == []


# ------------------------------------------------------------------ mime and headers


def test_mime_of_data_formats(run: Run, tmp_path: Path) -> None:
    """What people publish has a type of its own, the same on every machine, in the stored object."""
    names = ("a.parquet", "a.arrow", "a.feather", "a.csv", "a.tsv", "a.jsonl", "a.ndjson", "a.npy", "a.npz",
             "a.h5", "a.nc", "a.zarr", "a.safetensors", "a.onnx", "a.geojson", "a.ipynb", "a.csv.gz", "a.zip",
             "a.json", "a.pdf", "a.png")  # fmt: skip

    async def scenario(client: OSSClient) -> dict[str, str | None]:
        for name in names:
            await client.multipart_upload(f"mime/{name}", b"x")
        return {name: (await client.head(f"mime/{name}")).content_type for name in names}

    types = run(scenario)
    assert "application/octet-stream" not in types.values()
    assert types["a.parquet"] == "application/vnd.apache.parquet"
    assert types["a.csv"] == "text/csv" and types["a.csv.gz"] == "application/gzip"
    assert types == {name: guess_mime(name) for name in names}


def test_mime_given_or_guessed_from_either_name(run: Run, tmp_path: Path) -> None:
    plain, table = tmp_path / "tmp123", tmp_path / "t.csv"
    for path in (plain, table):
        path.write_bytes(b"a,b")

    async def scenario(client: OSSClient) -> list[str | None]:
        await client.multipart_upload("m/one.parquet", plain)
        await client.multipart_upload("m/two", table)
        await client.multipart_upload("m/three.csv", table, mime="text/plain; charset=gbk")
        await client.multipart_upload("m/four", plain)
        return [
            (await client.head(f"m/{name}")).content_type
            for name in ("one.parquet", "two", "three.csv", "four")
        ]

    assert run(scenario) == [
        "application/vnd.apache.parquet", "text/csv", "text/plain; charset=gbk", "application/octet-stream",
    ]  # fmt: skip


MOMENT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"Cache-Control": "public, no-cache"}, {"cache-control": "public, no-cache"}),
        ({"content-disposition": "example.txt"}, {"content-disposition": "example.txt"}),
        (
            {"Content-Disposition": 'attachment; filename="数据 1.csv"'},
            {"content-disposition": "attachment; filename=\"__ 1.csv\"; "
             "filename*=UTF-8''%E6%95%B0%E6%8D%AE%201.csv"},
        ),
        ({"Content-Encoding": "gzip"}, {"content-encoding": "gzip"}),
        ({"Content-Language": "zh-CN"}, {"content-language": "zh-CN"}),
        ({"Expires": MOMENT}, {"expires": "Wed, 02 Jan 2030 03:04:05 GMT"}),
        ({"Expires": "Wed, 02 Jan 2030 03:04:05 GMT"}, {"expires": "Wed, 02 Jan 2030 03:04:05 GMT"}),
        ({"Expires": str(MOMENT)}, {"expires": "Wed, 02 Jan 2030 03:04:05 GMT"}),
    ],
)  # fmt: skip
def test_headers_are_stored(run: Run, key: str, given: dict[str, Any], stored: dict[str, str]) -> None:
    async def scenario(client: OSSClient) -> list[dict[str, str]]:
        await client.multipart_upload(key, payload(), headers=given, part_size=PART)
        await client.multipart_upload(f"{key}-small", b"x", headers=given)
        return [dict((await client.head(name)).headers) for name in (key, f"{key}-small")]

    for headers in run(scenario):
        assert {name: headers.get(name) for name in stored} == stored


def test_expires_after_a_span(run: Run, key: str) -> None:
    async def scenario(client: OSSClient) -> str:
        await client.multipart_upload(key, b"x", headers={"Expires": timedelta(hours=1)})
        return (await client.head(key)).headers["expires"]

    moment = datetime.strptime(run(scenario), "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert timedelta(minutes=55) < moment - datetime.now(UTC) <= timedelta(hours=1)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Expires": "1000"}, r"Expires 1000 is a number, .*milliseconds.*timedelta\(milliseconds=1000\)"),
        ({"Expires": 3600000}, r"timedelta\(milliseconds=3600000\)"),
        ({"Content-Encoding": "utf-8"}, r"character set.*mime='text/csv; charset=utf-8'"),
        ({"Content-Encoding": "gzip, GBK"}, r"character set.*charset=gbk"),
    ],
)
def test_the_seed_samples_that_cannot_work_are_refused_with_advice(
    run: Run, oss: LocalOSS, headers: dict[str, Any], message: str
) -> None:
    """The browser sample sends Expires: 1000 and Content-Encoding: utf-8; OSS would store the nonsense."""

    async def scenario(client: OSSClient) -> None:
        await client.multipart_upload("k", payload(), headers=headers)

    with pytest.raises(InputError, match=message):
        run(scenario)
    assert requests_of(oss) == []


# ------------------------------------------------------------------ checkpoint


@pytest.fixture
def broken(oss: LocalOSS, file: Path, key: str, connection: Connection) -> Callable[..., Checkpoint]:
    """Interrupt an upload of ``file`` after three parts; returns its checkpoint."""

    def begin(**options: Any) -> Checkpoint:
        oss.set_faults([{"operation": "UploadPart", "part_number": 4, "kind": "error", "status": 403,
                         "code": "AccessDenied", "times": None}])  # fmt: skip
        handle = upload(file, key, connection=connection, part_size=PART, parallel=1, **options)
        with pytest.raises(OssmpError):
            handle.wait(30)
        oss.set_faults([])
        oss.journal(clear=True)
        assert handle.checkpoint is not None
        return handle.checkpoint

    return begin


@pytest.mark.parametrize(
    "form", ["object", "our mapping", "ali-oss mapping", "our file", "ali-oss file", "JSON text"]
)
def test_checkpoint_forms(
    broken: Callable[..., Checkpoint], oss: LocalOSS, file: Path, key: str, connection: Connection,
    tmp_path: Path, form: str,
) -> None:  # fmt: skip
    """Given as object or file, ours or ali-oss's: only the missing parts are sent."""
    own = tmp_path / "own.jsonl"
    checkpoint = broken(checkpoint=own if form == "our file" else False)
    theirs = tmp_path / "theirs.json"
    theirs.write_text(json.dumps(checkpoint.to_ali_oss()))
    choice: Any = {
        "object": checkpoint,
        "our mapping": checkpoint.to_dict(),
        "ali-oss mapping": checkpoint.to_ali_oss(),
        "our file": own,
        "ali-oss file": theirs,
        "JSON text": json.loads(json.dumps(checkpoint.to_dict())),
    }[form]
    result = upload(file, key, connection=connection, checkpoint=choice).wait(30)
    assert (result.parts_kept, result.parts_sent, result.verified) == (3, 2, True)
    assert sorted(e["part_number"] for e in requests_of(oss, "UploadPart")) == [4, 5]
    assert oss.snapshot()["objects"][f"{oss.bucket}/{key}"]["size"] == file.stat().st_size


def test_checkpoint_of_another_object_is_refused(
    broken: Callable[..., Checkpoint], oss: LocalOSS, file: Path, connection: Connection
) -> None:
    """ali-oss goes on under the checkpoint's name, whatever name it is asked for."""
    checkpoint = broken(checkpoint=False)
    with pytest.raises(InputError, match="this checkpoint belongs to"):
        upload(file, "another", connection=connection, checkpoint=checkpoint).wait(30)


def test_checkpoint_with_an_edited_file_sends_what_changed(
    broken: Callable[..., Checkpoint], oss: LocalOSS, file: Path, key: str, connection: Connection
) -> None:
    """Same size, same time: ali-oss, oss2 and oss-v2 publish a mixture. Here the content decides."""
    checkpoint = broken(checkpoint=False)
    before = file.stat()
    data = bytearray(file.read_bytes())
    data[PART + 5] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    result = upload(file, key, connection=connection, checkpoint=checkpoint).wait(30)
    assert sorted(e["part_number"] for e in requests_of(oss, "UploadPart")) == [2, 4, 5]
    assert result.verified


def test_timeout_of_one_call(run: Run, oss: LocalOSS, file: Path, key: str) -> None:
    """The time-out counts silence on one request; the part is repeated, the upload succeeds."""
    oss.set_faults([{"operation": "UploadPart", "at": 2, "kind": "stall", "seconds": 30}])

    async def scenario(client: OSSClient) -> UploadResult:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return await client.multipart_upload(key, file, part_size=PART, timeout=4.0)

    result = run(scenario)
    assert result.verified and result.retries == 1
