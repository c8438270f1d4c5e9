"""The same call made again: it attaches, resumes or reports, and never begins a second upload by accident."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter.errors import UploadAborted, UploadInUse
from ossmp_jupyter.oss.checksum import crc64
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.journal import Journal, journal_dir, list_journals
from ossmp_jupyter.transfer.manager import Upload, call
from ossmp_jupyter.transfer.progress import State
from tests.transfer.support import PART, Bucket, in_the_middle, make_file, refused, state_files, until


def leave_in_the_middle(oss: Bucket, source: object, part: int = 2, **options: Any) -> Upload:
    """All parts but one are stored, and the process has let go."""
    with refused(oss, part):
        handle = oss.start(source, **options)
        in_the_middle(oss, handle, part)
        handle.release()
    manager.engine().forget(handle)
    oss.server.journal(clear=True)
    return handle


def edit(path: Path, offset: int, data: bytes = b"edited") -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


# ---------------------------------------------------------------- attach


def test_the_same_call_attaches_to_the_live_upload(oss: Bucket, file: Path) -> None:
    with refused(oss):
        handle = oss.start(file)
        in_the_middle(oss, handle)
        assert oss.start(file) is handle
        assert oss.start(str(file)) is handle
        handle.pause()
        until(lambda: handle.state is State.PAUSED, "paused")
    assert oss.start(file) is handle  # and goes on with it
    assert handle.wait(30).verified
    assert len(oss.requests("InitiateMultipartUpload")) == 1


def test_another_target_or_other_options_are_another_upload(oss: Bucket, file: Path) -> None:
    with refused(oss):
        one = oss.start(file)
        in_the_middle(oss, one)
        others = [oss.start(file, key="other"), oss.start(file, meta={"a": "b"})]
        assert len({one.id, *(other.id for other in others)}) == 3
        for handle in (one, *others):
            assert handle.abort().result(30)


def test_other_bytes_of_the_same_length_are_not_taken_for_the_live_ones(oss: Bucket) -> None:
    one, two = os.urandom(4 * PART), os.urandom(4 * PART)
    with refused(oss):
        first = oss.start(one)
        in_the_middle(oss, first)
    second = oss.start(two)  # none of its own parts is refused; the first waits to send its one again
    assert second is not first
    result = second.wait(30)
    assert oss.get() == two
    assert result.crc64 == crc64(two)
    assert len(oss.requests("InitiateMultipartUpload")) == 1
    with pytest.raises(UploadAborted, match="left to another run"):
        first.wait(5)


def test_equal_bytes_elsewhere_in_memory_go_on_with_what_was_sent(oss: Bucket) -> None:
    data = os.urandom(4 * PART)
    with refused(oss):
        first = oss.start(data)
        in_the_middle(oss, first)
    second = oss.start(bytearray(data))
    result = second.wait(30)
    assert (result.parts_kept, result.parts_sent, oss.get()) == (3, 1, data)


def test_another_iterator_is_not_taken_for_the_live_one(oss: Bucket) -> None:
    one, two = os.urandom(4 * PART), os.urandom(4 * PART)

    def chunks(data: bytes) -> Iterator[bytes]:
        for offset in range(0, len(data), 1000):
            yield data[offset : offset + 1000]

    with refused(oss):
        first = oss.start(chunks(one))
        in_the_middle(oss, first)
    second = oss.start(chunks(two))
    assert second is not first
    assert second.wait(30).verified
    assert oss.get() == two


def test_an_upload_of_another_process_is_left_alone(oss: Bucket, file: Path) -> None:
    script = (
        "import sys\n"
        "from ossmp_jupyter.transfer.manager import upload\n"
        "handle = upload(sys.argv[1], sys.argv[2], part_size='100KiB')\n"
        "print('begun', flush=True); sys.stdin.read()\n"
    )
    with refused(oss):
        other = subprocess.Popen(
            [sys.executable, "-c", script, str(file), oss.address()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
            env={**os.environ, **oss.server.environment()},
        )  # fmt: skip
        try:
            until(lambda: [len(one["parts"]) for one in oss.uploads()] == [5], "the other has sent its parts")
            handle = oss.start(file)
            with pytest.raises(UploadInUse, match="another process is uploading this source to this target"):
                handle.wait(20)
            assert handle.state is State.FAILED
            assert [len(one["parts"]) for one in oss.uploads()] == [5]
        finally:
            other.kill()
            other.communicate()
    assert oss.start(file).wait(30).parts_kept == 5


def test_an_edit_while_it_runs_takes_over_what_is_still_true(oss: Bucket, file: Path) -> None:
    with refused(oss):
        first = oss.start(file)
        in_the_middle(oss, first)
    edit(file, 4 * PART + 5)
    second = oss.start(file)
    assert second is not first
    result = second.wait(30)
    assert (result.parts_kept, result.parts_sent) == (4, 2)
    assert oss.get() == file.read_bytes()
    assert len(oss.requests("InitiateMultipartUpload")) == 1


def test_an_edit_before_the_upload_has_begun(oss: Bucket, file: Path) -> None:
    """The engine is busy: the first upload has not made a step when the second call comes."""
    go_on = threading.Event()
    manager.engine().loop.call_soon_threadsafe(go_on.wait, 20)
    oss.start(file)
    edit(file, 5)
    soon = threading.Timer(0.2, go_on.set)  # the second call may wait for the engine
    soon.start()
    assert oss.start(file).wait(30).verified
    soon.join()
    assert oss.get() == file.read_bytes()
    assert oss.uploads() == []


def test_fresh_is_refused_while_it_runs(oss: Bucket, file: Path) -> None:
    with refused(oss):
        handle = oss.start(file)
        in_the_middle(oss, handle)
        with pytest.raises(UploadInUse, match="is being uploaded right now; abort that upload first"):
            oss.start(file, fresh=True)
        assert handle.abort().result(30)


# ---------------------------------------------------------------- already published


def test_after_success_it_is_reported_and_nothing_travels(oss: Bucket, file: Path) -> None:
    first = oss.start(file).wait(30)
    oss.server.journal(clear=True)
    handle = oss.start(file)
    result = handle.wait(30)
    assert (result.already_published, result.bytes_sent, result.parts_sent, result.verified) == (
        True,
        0,
        0,
        True,
    )
    assert (result.etag, result.crc64, result.size) == (first.etag, first.crc64, first.size)
    assert {one["operation"] for one in oss.requests()} == {"HeadObject"}
    assert (handle.state, handle.progress.fraction, handle.part_map()) == (State.DONE, 1.0, "kkkkkk")


@pytest.mark.parametrize("size", [0, 10])
def test_after_a_simple_success(oss: Bucket, tmp_path: Path, size: int) -> None:
    path = make_file(tmp_path, size)
    oss.start(path).wait(30)
    oss.server.journal(clear=True)
    result = oss.start(path).wait(30)
    assert result.already_published and result.verified
    assert not oss.requests("PutObject")


def changed(oss: Bucket, file: Path, change: Callable[[], object]) -> Any:
    oss.start(file).wait(30)
    change()
    result = oss.start(file).wait(30)
    assert (result.already_published, result.verified) == (False, True)
    assert oss.get() == file.read_bytes()
    return result


def test_after_success_and_an_edit_it_is_uploaded_again(oss: Bucket, file: Path) -> None:
    changed(oss, file, lambda: edit(file, 10))


def test_after_success_and_an_edit_that_restores_size_and_time(oss: Bucket, file: Path) -> None:
    before = file.stat()

    def change() -> None:
        edit(file, 10)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    changed(oss, file, change)


def test_after_success_and_a_deletion_on_the_server(oss: Bucket, file: Path) -> None:
    changed(oss, file, lambda: call(lambda client: client.delete("data.bin"), oss.connection).result(10))


def test_after_success_and_another_writers_object(oss: Bucket, file: Path) -> None:
    changed(oss, file, lambda: oss.start(os.urandom(file.stat().st_size), simple=True).wait(30))


def test_fresh_uploads_once_more(oss: Bucket, file: Path) -> None:
    oss.start(file).wait(30)
    result = oss.start(file, fresh=True).wait(30)
    assert (result.already_published, result.parts_sent) == (False, 6)


def test_after_a_death_between_complete_and_its_answer(oss: Bucket, file: Path) -> None:
    oss.fault("CompleteMultipartUpload", "stall", seconds=60)  # applied, and then silence
    handle = oss.start(file)
    until(lambda: oss.keys() == ["data.bin"], "published")
    handle.release()
    oss.server.set_faults([])
    oss.server.journal(clear=True)
    result = oss.start(file).wait(30)
    assert (result.already_published, result.verified, result.bytes_sent) == (True, True, 0)
    assert not oss.requests("UploadPart") and not oss.requests("InitiateMultipartUpload")


# ---------------------------------------------------------------- resume


def test_only_the_part_that_was_missing_travels(oss: Bucket, file: Path) -> None:
    before = leave_in_the_middle(oss, file)
    handle = oss.start(file)
    result = handle.wait(30)
    assert (result.parts_kept, result.parts_sent, result.bytes_sent) == (5, 1, PART)
    assert oss.parts_sent() == [2]
    assert (result.upload_id, handle.part_map()) == (before.upload_id, "kdkkkk")
    assert (oss.get(), oss.uploads()) == (file.read_bytes(), [])


def test_an_edit_costs_only_the_part_it_is_in_even_with_the_time_set_back(oss: Bucket, file: Path) -> None:
    leave_in_the_middle(oss, file)
    before = file.stat()
    edit(file, 3 * PART + 7)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    result = oss.start(file).wait(30)
    assert (sorted(oss.parts_sent()), result.parts_kept) == ([2, 4], 4)
    assert oss.get() == file.read_bytes()


@pytest.mark.parametrize("size", [20 * PART, 6 * PART, 3 * PART + 5, 2 * PART, PART + 1])
def test_a_file_that_grew_or_shrank(oss: Bucket, file: Path, size: int) -> None:
    leave_in_the_middle(oss, file)
    data = file.read_bytes()
    file.write_bytes((data + os.urandom(size))[:size])
    result = oss.start(file).wait(30)
    assert result.verified
    assert oss.get() == file.read_bytes()
    assert result.parts_kept == len({1, 3, 4, 5} & set(range(1, size // PART + 1)))
    assert oss.uploads() == []


@pytest.mark.parametrize("options", [{}, {"simple": True}])
def test_what_goes_by_one_put_now_leaves_no_parts_of_the_earlier_run(
    oss: Bucket, file: Path, options: Any
) -> None:
    leave_in_the_middle(oss, file)
    if not options:
        os.truncate(file, 1000)
    assert oss.start(file, **options).wait(30).verified
    assert oss.get() == file.read_bytes()
    assert oss.uploads() == []


def test_fresh_drops_the_earlier_parts(oss: Bucket, file: Path) -> None:
    before = leave_in_the_middle(oss, file)
    result = oss.start(file, fresh=True).wait(30)
    assert result.parts_kept == 0
    assert result.upload_id != before.upload_id
    assert oss.uploads() == []


def test_the_part_size_of_the_earlier_run_goes_on(oss: Bucket, file: Path) -> None:
    leave_in_the_middle(oss, file)
    result = oss.start(file, part_size=3 * PART).wait(30)
    assert (result.parts, result.parts_kept) == (6, 5)


def test_an_upload_that_was_aborted_meanwhile_starts_afresh(oss: Bucket, file: Path) -> None:
    before = leave_in_the_middle(oss, file)
    upload_id = before.upload_id or ""
    call(lambda client: client.abort_multipart_upload("data.bin", upload_id), oss.connection).result(10)
    result = oss.start(file).wait(30)
    assert (result.parts_kept, result.verified) == (0, True)


def test_parts_that_another_program_replaced_are_sent_again(oss: Bucket, file: Path) -> None:
    before = leave_in_the_middle(oss, file)
    upload_id = before.upload_id or ""
    call(
        lambda client: client.upload_part("data.bin", upload_id, 3, os.urandom(PART)), oss.connection
    ).result(10)
    result = oss.start(file).wait(30)
    assert result.parts_kept == 4
    assert oss.get() == file.read_bytes()


def test_a_service_on_another_port_is_the_same_by_its_identity(oss: Bucket, file: Path) -> None:
    named = oss.with_(identity="the embedded one")
    leave_in_the_middle(named, file)
    assert list_journals()[0].endpoint == "the embedded one"
    assert oss.with_(identity="another").start(file, key="x").wait(30).parts_kept == 0
    assert named.start(file).wait(30).parts_kept == 5


def test_without_a_journal_nothing_is_kept_on_disk_and_nothing_is_resumed(oss: Bucket, file: Path) -> None:
    handle = leave_in_the_middle(oss, file, checkpoint=False)
    assert state_files() == []
    result = oss.start(file, checkpoint=False).wait(30)
    assert (result.parts_kept, result.verified) == (0, True)
    assert [one["upload_id"] for one in oss.uploads()] == [handle.upload_id]


# ---------------------------------------------------------------- damaged journals


def journal_file() -> Path:
    [path] = journal_dir().glob("*.jsonl")
    return path


@pytest.mark.parametrize("seed", range(6))
def test_no_damage_to_a_journal_can_make_a_wrong_object(oss: Bucket, file: Path, seed: int) -> None:
    import random

    leave_in_the_middle(oss, file)
    path, rng = journal_file(), random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(1 + seed):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    result = oss.start(file).wait(30)
    assert result.verified
    assert oss.get() == file.read_bytes()


@pytest.mark.parametrize("field", ["bucket", "key", "endpoint", "upload_id"])
def test_a_default_journal_whose_header_names_something_else_is_no_hindrance(
    oss: Bucket, file: Path, field: str
) -> None:
    leave_in_the_middle(oss, file)
    path = journal_file()
    lines = path.read_text().splitlines()
    header = json.loads(lines[0])
    header["upload"][field] = "x" + header["upload"][field][1:]
    path.write_text("\n".join([json.dumps(header), *lines[1:]]) + "\n")
    assert oss.start(file).wait(30).verified
    assert oss.get() == file.read_bytes()


def test_a_torn_last_line_costs_nothing(oss: Bucket, file: Path) -> None:
    """The server knows the part anyway."""
    leave_in_the_middle(oss, file)
    path = journal_file()
    path.write_bytes(path.read_bytes()[:-20])
    assert oss.start(file).wait(30).parts_kept == 5


def test_a_lost_server_list_is_not_made_up_from_the_journal(oss: Bucket, file: Path) -> None:
    leave_in_the_middle(oss, file)
    path = journal_file()
    record = Journal(path).load()
    assert record is not None
    with path.open("a") as journal:
        part = record.parts[1]
        journal.write(json.dumps({"part": [2, part.etag, PART, part.crc64]}) + "\n")
    result = oss.start(file).wait(30)
    assert (oss.parts_sent(), result.verified) == ([2], True)
    assert oss.get() == file.read_bytes()


def test_a_state_folder_that_cannot_be_written_is_a_warning(
    oss: Bucket, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").touch()
    monkeypatch.setenv("OSSMP_STATE_DIR", str(tmp_path / "state"))
    handle = oss.start(file)
    assert handle.wait(30).verified
    assert handle.warning is not None and "a crash would start from zero" in handle.warning
