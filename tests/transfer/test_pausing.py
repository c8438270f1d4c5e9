"""A pause in every phase: what is cut off, what is told, and what an abort finds afterwards."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest

from ossmp_jupyter.errors import UploadAborted
from ossmp_jupyter.transfer import core, frame, manager, resume
from ossmp_jupyter.transfer.handle import Upload
from ossmp_jupyter.transfer.progress import State
from tests.transfer.support import PART, Bucket, held_up, in_the_middle, make_file, until


@pytest.fixture(autouse=True)
def short_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "LAST_WORD", 0.5)


@pytest.fixture
def long_last_word(short_last_word: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For answers that come in time, on however slow a machine."""
    for module in (core, frame):
        monkeypatch.setattr(module, "LAST_WORD", 20.0)


def paused_in(handle: Upload, state: State) -> None:
    until(lambda: handle.state is state, state.value)
    handle.pause()
    until(lambda: handle.state is State.PAUSED, "paused")


def held(oss: Bucket) -> set[object]:
    """Connections to the server, and lanes."""
    port = int(oss.server.endpoint.rsplit(":", 1)[1])
    found = psutil.Process().net_connections(kind="tcp")
    sockets = {one.laddr for one in found if one.raddr and one.raddr.port == port}
    return sockets | {thread for thread in threading.enumerate() if thread.name.startswith("ossmp-lane")}


def test_while_the_file_is_compared(oss: Bucket, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with held_up(oss):
        first = oss.start(file)
        in_the_middle(oss, first)
        first.release()
    reads, go_on, read = [], threading.Event(), resume.crc64_of_range

    def slow(*what: object) -> int:
        reads.append(what)
        go_on.wait(20)
        return read(*what)  # type: ignore[arg-type]

    monkeypatch.setattr(resume, "crc64_of_range", slow)
    monkeypatch.setattr(resume, "_HASHERS", 1)
    handle = oss.start(file)
    until(lambda: bool(reads), "the file is being read")
    paused_in(handle, State.HASHING)
    go_on.set()
    time.sleep(0.3)
    assert len(reads) == 1, "the file is still being read"
    handle.resume()
    result = handle.wait(30)
    assert result.verified and result.parts_kept >= 5


@pytest.mark.usefixtures("long_last_word")
def test_before_the_upload_has_an_id(oss: Bucket, file: Path) -> None:
    """The answer comes when the pause has begun: it is not asked for again."""
    oss.fault("InitiateMultipartUpload", "stall", seconds=2)
    handle = oss.start(file)
    paused_in(handle, State.INITIATING)
    assert handle.upload_id is not None
    handle.resume()
    assert handle.wait(30).verified
    assert len(oss.requests("InitiateMultipartUpload")) == 1


@pytest.mark.usefixtures("long_last_word")
def test_a_complete_that_answers_in_time_ends_well(oss: Bucket, file: Path) -> None:
    oss.fault("CompleteMultipartUpload", "stall", seconds=2)
    handle = oss.start(file)
    until(lambda: handle.state is State.COMPLETING, "completing")
    handle.pause()
    assert handle.wait(30).verified
    assert handle.pause_asked


@pytest.mark.parametrize("then", ["resume", "abort"])
def test_a_complete_that_was_carried_out_unseen(oss: Bucket, file: Path, then: str) -> None:
    """Cut off by the pause, and published all the same: whoever aborts is told that it is too late."""
    with held_up(oss, operation="CompleteMultipartUpload"):
        handle = oss.start(file)
        until(lambda: oss.keys() == ["data.bin"], "published")
        paused_in(handle, State.COMPLETING)
    if then == "abort":
        assert handle.abort().result(30) is False
    else:
        handle.resume()
    assert handle.wait(30).verified
    assert oss.get() == file.read_bytes() and not oss.uploads()
    assert oss.start(file).wait(30).already_published


def test_a_complete_that_was_not_carried_out_can_be_aborted(oss: Bucket, file: Path) -> None:
    oss.fault(
        "CompleteMultipartUpload", "error", status=503, code="ServiceUnavailable", retry_after=60, times=None
    )
    handle = oss.start(file)
    paused_in(handle, State.COMPLETING)
    assert handle.abort().result(30) is True
    with pytest.raises(UploadAborted):
        handle.wait(5)
    assert oss.is_untouched()


@pytest.mark.parametrize("simple", [False, True])
def test_while_the_object_is_looked_at(oss: Bucket, file: Path, simple: bool) -> None:
    with held_up(oss, operation="HeadObject"):
        handle = oss.start(file, simple=simple)
        paused_in(handle, State.VERIFYING)
    assert handle.abort().result(30) is False, "it is published"
    assert handle.state is State.DONE and handle.wait(5).verified


def test_a_put_that_was_carried_out_unseen_is_not_in_its_own_way(oss: Bucket, file: Path) -> None:
    with held_up(oss, operation="PutObject"):
        handle = oss.start(file, simple=True, forbid_overwrite=True)
        until(lambda: oss.keys() == ["data.bin"], "published")
        paused_in(handle, State.UPLOADING)
    handle.resume()
    assert handle.wait(30).verified


def test_nobody_asks_for_credentials_meanwhile(oss: Bucket, file: Path) -> None:
    oss.fault("UploadPart", "error", status=403, code="SecurityTokenExpired", times=None)
    handle = oss.start(file)
    paused_in(handle, State.WAITING)
    steps = handle._task._steps
    assert steps._waiting is not None
    until(steps._waiting.done, "nobody waits")
    oss.server.set_faults([])
    handle.resume()
    assert handle.wait(30).verified


def test_who_rests_keeps_no_connection(oss: Bucket, file: Path, tmp_path: Path) -> None:
    others = held(oss)  # by other tests of this process
    other = make_file(tmp_path, 20 * PART, "other.bin")
    assert oss.start(other, key="other").wait(30).verified
    with held_up(oss):
        handle = oss.start(file)
        in_the_middle(oss, handle)
        assert held(oss) - others
        handle.pause()
        until(lambda: not held(oss) - others, "at rest")
    # what is being read goes on, though all uploads have ended meanwhile
    oss.server.set_bandwidth("1MB/s")

    async def read(client: object) -> int:
        size = 0
        async with client.stream(oss.address("other")) as stream:  # type: ignore[attr-defined]
            async for piece in stream:
                size += len(piece)
        return size

    reading = manager.call(read, oss.connection)  # type: ignore[arg-type]
    until(lambda: bool(oss.requests("GetObject")), "reading")
    oss.server.set_faults([])
    handle.resume()
    assert handle.wait(30).verified
    assert reading.result(30) == 20 * PART
    until(lambda: not held(oss) - others, "at rest")
