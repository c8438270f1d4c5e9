"""What an upload does when all goes well, for each kind of source."""

from __future__ import annotations

import array
import hashlib
import io
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss.checksum import crc64, multipart_etag
from ossmp_jupyter.transfer.plan import make_plan
from ossmp_jupyter.transfer.progress import State
from tests.transfer.support import PART, Bucket, make_file, open_files, state_files


def test_a_file_in_parts(oss: Bucket, file: Path) -> None:
    data = file.read_bytes()
    handle = oss.start(file)
    result = handle.wait(30)
    assert oss.get() == data
    digests = [hashlib.md5(data[i : i + PART]).hexdigest() for i in range(0, len(data), PART)]
    assert (result.size, result.crc64, result.verified) == (len(data), crc64(data), True)
    assert result.etag == multipart_etag(digests)
    assert (result.parts, result.parts_sent, result.bytes_sent, result.retries) == (6, 6, len(data), 0)
    assert (result.parts_kept, result.already_published, result.address) == (0, False, oss.address())
    assert (handle.state, handle.progress.fraction, handle.part_map()) == (State.DONE, 1.0, "dddddd")
    assert (handle.result, handle.error, handle.warning, handle.name) == (result, None, None, "data.bin")
    assert handle.upload_id == result.upload_id
    assert sorted(oss.parts_sent()) == [1, 2, 3, 4, 5, 6]
    assert oss.uploads() == []
    assert "done, 100 %" in repr(handle)


def test_the_parts_are_looked_at_before_complete_and_the_object_after_it(oss: Bucket, file: Path) -> None:
    oss.start(file).wait(30)
    operations = [one["operation"] for one in oss.requests()]
    assert operations[0] == "InitiateMultipartUpload"
    assert operations[-3:] == ["ListParts", "CompleteMultipartUpload", "HeadObject"]
    assert operations[1:-3] == ["UploadPart"] * 6


@pytest.mark.parametrize("size", [0, 1, PART - 1])
def test_a_small_source_goes_by_one_put_and_is_verified_too(oss: Bucket, tmp_path: Path, size: int) -> None:
    path = make_file(tmp_path, size)
    handle = oss.start(path, part_size=None)
    result = handle.wait(30)
    assert [one["operation"] for one in oss.requests()] == ["PutObject", "HeadObject"]
    assert oss.get() == path.read_bytes()
    assert (result.size, result.crc64, result.verified) == (size, crc64(path.read_bytes()), True)
    assert (result.upload_id, result.parts, handle.progress.fraction) == (None, 1, 1.0)
    assert handle.part_map() == "d"


def test_any_source_goes_by_one_put_on_request(oss: Bucket, file: Path) -> None:
    result = oss.start(file, simple=True).wait(30)
    assert [one["operation"] for one in oss.requests()] == ["PutObject", "HeadObject"]
    assert (oss.get(), result.verified) == (file.read_bytes(), True)


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_a_small_source_goes_in_parts_on_request(oss: Bucket, tmp_path: Path, size: int) -> None:
    path = make_file(tmp_path, size)
    result = oss.start(path, simple=False).wait(30)
    assert oss.parts_sent() == [1]
    assert (oss.get(), result.verified, result.parts) == (path.read_bytes(), True, 1)


@pytest.mark.parametrize(
    "kind", [bytes, bytearray, memoryview, io.BytesIO, lambda data: array.array("B", data)]
)
@pytest.mark.parametrize("size", [300, 3 * PART + 1])
def test_memory(oss: Bucket, kind: Any, size: int) -> None:
    data = os.urandom(size)
    result = oss.start(kind(data), part_size=None if size < PART else PART).wait(30)
    assert (oss.get(), result.verified) == (data, True)


def test_an_open_file_is_sent_whole(oss: Bucket, file: Path) -> None:
    with file.open("rb") as opened:
        opened.seek(1000)
        assert oss.start(opened).wait(30).verified
    assert oss.get() == file.read_bytes()


def test_a_folder_as_target_keeps_the_name_of_the_file(oss: Bucket, file: Path) -> None:
    assert oss.start(file, key="folder/").wait(30).key == "folder/data.bin"
    assert oss.keys() == ["folder/data.bin"]


@pytest.mark.parametrize(
    "key", ["grün & schön/ü ?#%+=.bin", "a/../b", "./c", "a//b", "雪", " lead and trail "]
)
def test_keys_that_look_odd_in_a_url(oss: Bucket, file: Path, key: str) -> None:
    assert oss.start(file, key=key).wait(30).key == key
    assert oss.keys() == [key]
    assert oss.get(key) == file.read_bytes()


def test_options_reach_the_object(oss: Bucket, file: Path) -> None:
    for simple in (True, False):
        oss.start(
            file, key=f"{simple}.csv", simple=simple, meta={"year": "2026", "who": "me"}, tags={"a": "b"},
            headers={"Cache-Control": "no-cache"}, storage_class="IA",
        ).wait(30)  # fmt: skip
        head = oss.head(f"{simple}.csv")
        assert head.meta == {"year": "2026", "who": "me"}
        assert head.storage_class == "IA"
        assert head.headers["cache-control"] == "no-cache"
    oss.start(file, key="t", mime="text/x-mine").wait(30)
    assert oss.head("t").content_type == "text/x-mine"


def test_the_content_type_is_guessed_from_the_name(oss: Bucket, tmp_path: Path) -> None:
    oss.start(make_file(tmp_path, 10, "a.csv"), key="a").wait(30)
    assert (oss.head("a").content_type or "").startswith("text/csv")


@pytest.mark.parametrize("parallel", [1, 3, 16])
def test_never_more_parts_at_a_time_than_asked_for(oss: Bucket, tmp_path: Path, parallel: int) -> None:
    path = make_file(tmp_path, 20 * PART)
    most, fast = 0, False
    oss.server.set_bandwidth("400KB/s")  # until as many as may be are seen at a time
    handle = oss.start(path, parallel=parallel)
    while not handle.future.done():
        most = max(most, handle.progress.parts_in_flight)
        if most >= parallel and not fast:
            fast = True
            oss.server.set_bandwidth("8MB/s")
        time.sleep(0.001)
    assert handle.wait(1).verified
    assert most == parallel


def test_a_part_size_that_would_need_10_001_parts_is_raised(oss: Bucket, tmp_path: Path) -> None:
    """The plan is what is sent: a gigabyte would only take longer (test_plan.py has the limits)."""
    size = 10_000 * PART + 1
    plan = make_plan(size, part_size=PART)
    assert plan.raised and plan.count <= 10_000
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(size)
    with held_until_seen(oss) as seen:
        handle = oss.start(path)
        seen(lambda: handle.progress.parts_total > 0)
        assert handle.progress.parts_total == plan.count
        assert handle.checkpoint is not None and handle.checkpoint.part_size == plan.part_size
        assert handle.abort().result(30)


class held_until_seen:
    """No part gets through meanwhile."""

    def __init__(self, oss: Bucket) -> None:
        self.oss = oss

    def __enter__(self) -> Any:
        self.oss.fault("UploadPart", "stall", seconds=60, byte=0, times=None)
        from tests.transfer.support import until

        return lambda condition: until(condition, "it is seen")

    def __exit__(self, *exc_info: object) -> None:
        self.oss.server.set_faults([])


def test_v1_signatures(oss: Bucket, file: Path) -> None:
    assert oss.with_(signature="v1").start(file).wait(30).verified
    assert oss.get() == file.read_bytes()


def test_several_uploads_side_by_side_touch_each_other_in_nothing(oss: Bucket, tmp_path: Path) -> None:
    paths = [make_file(tmp_path, 3 * PART + n, f"f{n}") for n in range(6)]
    handles = [oss.start(path, key=path.name) for path in paths]
    assert len({handle.id for handle in handles}) == 6
    for path, handle in zip(paths, handles, strict=True):
        assert handle.wait(30).verified
        assert oss.get(path.name) == path.read_bytes()


def test_uploads_started_from_many_threads(oss: Bucket, tmp_path: Path) -> None:
    results: list[bool] = []

    def one(number: int) -> None:
        results.append(oss.start(os.urandom(2 * PART), key=f"t{number}").wait(30).verified)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8
    assert len(oss.keys()) == 8


def test_a_finished_upload_leaves_a_receipt_and_no_open_file(oss: Bucket, file: Path) -> None:
    oss.start(b"warm", key="warm", part_size=None).wait(30)
    for _ in range(5):
        oss.start(file, fresh=True).wait(30)
    names = open_files()
    assert str(file) not in names
    assert not [name for name in names if name.endswith((".jsonl", ".lock"))]
    assert len([name for name in state_files() if name.endswith(".jsonl")]) == 2


def test_a_buffer_is_free_when_the_upload_has_ended(oss: Bucket) -> None:
    data = bytearray(os.urandom(3 * PART))
    handle = oss.start(data)
    assert handle.wait(30).verified
    data.extend(b"more")  # a buffer in use cannot be resized
    assert handle.progress.fraction == 1.0


def test_unknown_options_are_errors(oss: Bucket, file: Path) -> None:
    with pytest.raises((TypeError, InputError), match="colour"):
        oss.start(file, colour="red")
    assert oss.is_untouched()
