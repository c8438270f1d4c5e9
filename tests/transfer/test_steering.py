"""Pause, resume and abort, in every state an upload can be in."""

from __future__ import annotations

import asyncio
import concurrent.futures as cf
import threading
import time
from pathlib import Path

import pytest

from ossmp_jupyter.errors import AccessDenied, CredentialsExpired, UploadAborted, UploadInUse
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.client import OSSClient
from ossmp_jupyter.transfer.progress import State
from tests.transfer.support import Bucket, held_up, in_the_middle, make_file, refused, state_files, until

# ---------------------------------------------------------------- pause and resume


def test_pause_keeps_everything_and_resume_sends_only_the_rest(oss: Bucket, file: Path) -> None:
    with refused(oss, part=3):
        handle = oss.start(file)
        in_the_middle(oss, handle, 3)
        handle.pause()
        until(lambda: handle.state is State.PAUSED, "paused")
        assert handle.part_map() == "dd.ddd"
        now = handle.progress
        assert (now.parts_in_flight, now.speed, now.eta) == (0, 0.0, None)
        assert [len(one["parts"]) for one in oss.uploads()] == [5]
        assert handle.checkpoint is not None and len(handle.checkpoint.parts) == 5
    handle.resume()
    result = handle.wait(30)
    assert (result.verified, oss.get()) == (True, file.read_bytes())
    assert sorted(oss.parts_sent()) == [1, 2, 3, 4, 5, 6]


def test_a_paused_upload_sends_nothing(oss: Bucket, file: Path) -> None:
    with held_up(oss, part=1):
        handle = oss.start(file, parallel=1)
        # not only in the map: the server has to have it, or it would come when the journal is empty again
        until(lambda: bool(oss.requests("UploadPart")), "part 1 under way")
        handle.pause()
        until(lambda: handle.state is State.PAUSED, "paused")
        until(lambda: all("seconds" in one for one in oss.server.journal()), "nothing is under way")
        oss.server.journal(clear=True)
        oss.server.set_faults([])
        time.sleep(0.3)
        assert oss.requests() == []
    handle.resume()
    assert handle.wait(30).verified


def test_pause_before_anything_was_sent(oss: Bucket, file: Path) -> None:
    with held_up(oss, operation="InitiateMultipartUpload"):
        handle = oss.start(file)
        until(lambda: len(oss.uploads()) == 1, "begun on the server")
        handle.pause()
        until(lambda: handle.state is State.PAUSED, "paused")
        assert handle.upload_id is None
    assert handle.abort().result(30) is True
    assert handle.state is State.ABORTED and oss.keys() == []


def test_pause_of_a_simple_upload(oss: Bucket, file: Path) -> None:
    with held_up(oss, operation="PutObject"):
        handle = oss.start(file, simple=True)
        until(lambda: handle.part_map() == "f", "under way")
        handle.pause()
        until(lambda: handle.state is State.PAUSED, "paused")
    handle.resume()
    assert (handle.wait(30).verified, oss.get()) == (True, file.read_bytes())


def test_pause_and_resume_again_and_again(oss: Bucket, tmp_path: Path) -> None:
    path = make_file(tmp_path, 60 * 102_400)
    oss.server.set_bandwidth("6MB/s")
    handle = oss.start(path, parallel=1)
    last = 0
    while not handle.future.done():
        handle.pause()
        time.sleep(0.02)
        handle.resume()
        # some parts get through before they are cut off again
        enough = min(last + 4 * 102_400, 60 * 102_400)
        until(lambda to=enough: handle.future.done() or handle.progress.confirmed >= to, "more")  # type: ignore[misc]
        assert handle.progress.confirmed >= last
        last = handle.progress.confirmed
    assert handle.wait(1).verified
    assert oss.get() == path.read_bytes()


def test_pause_of_one_leaves_another_alone(oss: Bucket, tmp_path: Path) -> None:
    with held_up(oss, part=2):
        one = oss.start(make_file(tmp_path, name="one"), key="one")
        in_the_middle(oss, one)
        one.pause()
        until(lambda: one.state is State.PAUSED, "paused")
    assert oss.start(make_file(tmp_path, name="two"), key="two").wait(30).verified
    assert one.state is State.PAUSED
    one.resume()
    assert one.wait(30).verified


def test_steering_an_ended_upload_does_nothing(oss: Bucket, file: Path) -> None:
    handle = oss.start(file)
    handle.wait(30)
    handle.pause()
    handle.resume()
    assert handle.abort().result(10) is False
    assert handle.state is State.DONE
    assert oss.keys() == ["data.bin"]
    manager.stop_engine()
    handle.pause()
    handle.resume()


# ---------------------------------------------------------------- abort


def is_aborted(oss: Bucket, handle: manager.Upload, asked: cf.Future[bool] | None = None) -> None:
    """Abort, unless it was asked for before, and look at what is left."""
    assert (asked or handle.abort()).result(30) is True
    with pytest.raises(UploadAborted, match="was aborted; its parts are deleted") as caught:
        handle.wait(10)
    assert handle.state is State.ABORTED
    assert handle.error is caught.value
    assert handle.result is None
    assert oss.is_untouched()
    assert state_files() == []
    assert handle.abort().result(10) is False


def test_abort_while_parts_are_under_way(oss: Bucket, file: Path) -> None:
    with held_up(oss):
        handle = oss.start(file)
        in_the_middle(oss, handle)
        is_aborted(oss, handle)


def test_abort_while_paused(oss: Bucket, file: Path) -> None:
    with held_up(oss):
        handle = oss.start(file)
        in_the_middle(oss, handle)
        handle.pause()
        until(lambda: handle.state is State.PAUSED, "paused")
        is_aborted(oss, handle)


@pytest.mark.parametrize("clicks", [1, 3])
def test_abort_while_initiate_is_in_flight_leaves_no_orphan(oss: Bucket, file: Path, clicks: int) -> None:
    """The server has begun the upload already, only its answer is under way."""
    oss.fault("InitiateMultipartUpload", "stall", seconds=3)
    handle = oss.start(file)
    until(lambda: len(oss.uploads()) == 1, "begun on the server")
    assert handle.state is State.INITIATING
    for _ in range(clicks - 1):
        handle.abort()
        time.sleep(0.05)
    is_aborted(oss, handle)


def test_abort_before_it_begins(oss: Bucket, file: Path) -> None:
    go_on = threading.Event()
    manager.engine().loop.call_soon_threadsafe(go_on.wait, 20)
    handle = oss.start(file)
    assert handle.state is State.QUEUED
    asked = handle.abort()
    go_on.set()
    is_aborted(oss, handle, asked)
    assert oss.requests() == []


def test_abort_while_waiting_to_try_again(oss: Bucket, file: Path) -> None:
    oss.fault("UploadPart", "error", status=503, code="ServiceUnavailable", retry_after=30, times=None)
    handle = oss.start(file)
    until(lambda: handle.progress.retries > 0, "a first retry")
    is_aborted(oss, handle)


def test_abort_while_an_earlier_run_is_looked_at(oss: Bucket, file: Path) -> None:
    """Abort means the upload, not only this run of it."""
    with held_up(oss):
        first = oss.start(file)
        in_the_middle(oss, first)
        first.release()
    oss.fault("ListParts", "stall", seconds=10, times=None)
    handle = oss.start(file)
    until(lambda: bool(oss.requests("ListParts")), "asked")
    assert handle.state is State.HASHING
    is_aborted(oss, handle)


def test_abort_while_it_is_looked_whether_an_earlier_run_was_completed(oss: Bucket, file: Path) -> None:
    oss.fault(
        "CompleteMultipartUpload", "error", status=503, code="ServiceUnavailable", retry_after=30, times=None
    )
    first = oss.start(file)
    until(lambda: bool(oss.requests("CompleteMultipartUpload")), "Complete refused")
    first.release()
    oss.server.journal(clear=True)
    oss.fault("HeadObject", "error", status=503, code="ServiceUnavailable", retry_after=30, times=None)
    handle = oss.start(file)
    until(lambda: bool(oss.requests("HeadObject")), "asked")
    assert handle.state is State.HASHING
    is_aborted(oss, handle)


def test_abort_of_a_simple_upload(oss: Bucket, file: Path) -> None:
    with held_up(oss, operation="PutObject"):
        handle = oss.start(file, simple=True)
        until(lambda: handle.part_map() == "f", "under way")
        assert handle.abort().result(30) is True
    assert state_files() == []
    with pytest.raises(UploadAborted):
        handle.wait(5)


EXPIRED = {"kind": "error", "status": 403, "code": "SecurityTokenExpired", "times": None}


def test_abort_with_expired_credentials_says_what_is_left_and_loses_nothing(oss: Bucket, file: Path) -> None:
    """Nobody waits for half an hour, and nobody is told that the parts are gone."""
    oss.server.set_faults([{"operation": "UploadPart", "part_number": 3, **EXPIRED}])
    handle = oss.start(file)
    until(lambda: handle.state is State.WAITING, "waiting for credentials")
    until(lambda: handle.part_map().count("d") == 5, "the other parts stored")
    oss.server.set_faults([{"operation": "*", **EXPIRED}])
    for _ in range(2):  # the second time, the upload has failed already
        with pytest.raises(CredentialsExpired, match="is stopped, but its parts are still in OSS") as caught:
            handle.abort().result(30)
        assert f"%oss_abort {handle.upload_id}" in str(caught.value)
        assert str(caught.value).count("is stopped") == 1
    assert handle.state is State.FAILED
    assert len(oss.uploads()) == 1 and any(name.endswith(".jsonl") for name in state_files())
    oss.server.set_faults([])
    assert oss.start(file).wait(30).parts_kept == 5


def test_abort_of_a_failed_upload_deletes_its_parts(oss: Bucket, file: Path) -> None:
    oss.fault("UploadPart", "error", part_number=3, status=403, code="AccessDenied", times=None)
    handle = oss.start(file)
    with pytest.raises(AccessDenied):
        handle.wait(30)
    oss.server.set_faults([])
    assert handle.abort().result(30) is True
    assert oss.is_untouched() and state_files() == []
    assert handle.state is State.FAILED, "why it ended stays true"


def test_a_failed_upload_that_another_run_goes_on_with_is_left_to_it(oss: Bucket, file: Path) -> None:
    oss.fault("UploadPart", "error", part_number=3, status=403, code="AccessDenied", times=None)
    handle = oss.start(file)
    with pytest.raises(AccessDenied):
        handle.wait(30)
    with held_up(oss, part=3):
        second = oss.start(file)
        until(lambda: second.part_map()[2:3] == "f", "part 3 under way")
        with pytest.raises(UploadInUse):
            handle.abort().result(30)
        second.pause()  # or the part would stay held up until its time is over
        until(lambda: second.state is State.PAUSED, "paused")
    second.resume()
    assert second.wait(30).verified


def test_it_is_too_late_to_abort_while_the_object_is_being_completed(oss: Bucket, file: Path) -> None:
    oss.fault("CompleteMultipartUpload", "stall", seconds=3)
    handle = oss.start(file)
    until(lambda: handle.state is State.COMPLETING, "completing")
    assert handle.abort().result(10) is False
    assert handle.wait(30).verified


def test_abort_of_one_leaves_others_of_the_same_key_alone(oss: Bucket, file: Path) -> None:
    rival = manager.call(lambda client: client.init_multipart_upload("data.bin"), oss.connection).result(10)
    with held_up(oss):
        handle = oss.start(file)
        in_the_middle(oss, handle)
        assert handle.abort().result(30)
    assert [one["upload_id"] for one in oss.uploads()] == [rival.upload_id]


def test_aborted_elsewhere_is_said_so(oss: Bucket, file: Path) -> None:
    with held_up(oss):
        handle = oss.start(file)
        in_the_middle(oss, handle)
        upload_id = handle.upload_id
        handle.pause()
        until(lambda: handle.state is State.PAUSED, "paused")
    assert upload_id is not None
    manager.call(lambda client: client.abort_multipart_upload("data.bin", upload_id), oss.connection).result(
        10
    )
    handle.resume()
    with pytest.raises(UploadAborted, match="aborted elsewhere"):
        handle.wait(30)
    assert handle.state is State.ABORTED
    assert state_files() == []


def test_an_aborted_upload_starts_afresh_when_run_again(oss: Bucket, file: Path) -> None:
    with held_up(oss):
        handle = oss.start(file)
        in_the_middle(oss, handle)
        handle.abort().result(30)
    again = oss.start(file)
    assert again is not handle
    result = again.wait(30)
    assert (result.parts_kept, result.verified) == (0, True)


# ---------------------------------------------------------------- looking at it meanwhile


def test_list_parts_of_a_running_upload_is_what_the_server_holds(oss: Bucket, file: Path) -> None:
    with held_up(oss):
        handle = oss.start(file)
        in_the_middle(oss, handle)
        parts = handle.parts()
        [stored] = oss.uploads()
        assert [(one.part_number, one.etag, one.size, one.crc64) for one in parts] == [
            (one["part_number"], one["etag"], one["size"], one["crc64"]) for one in stored["parts"]
        ]
        assert handle in manager.uploads()
        assert handle.abort().result(30)
    manager.engine().forget(handle)
    assert handle not in manager.uploads()


def test_list_parts_goes_over_all_pages(oss: Bucket, tmp_path: Path) -> None:
    async def twelve_hundred(client: OSSClient) -> tuple[str, int]:
        begun = await client.init_multipart_upload("many")
        limit = asyncio.Semaphore(20)

        async def send(number: int) -> None:
            async with limit:
                await client.upload_part("many", begun.upload_id, number, b"%d" % number)

        await asyncio.gather(*(send(number) for number in range(1, 1203)))
        parts = [part async for part in client.iter_parts("many", begun.upload_id)]
        assert [part.part_number for part in parts] == list(range(1, 1203))
        await client.abort_multipart_upload("many", begun.upload_id)
        return begun.upload_id, len(parts)

    assert manager.call(twelve_hundred, oss.connection).result(50)[1] == 1202


# ---------------------------------------------------------------- the end of the engine


def test_stopping_the_engine_leaves_uploads_as_after_a_pause(oss: Bucket, file: Path) -> None:
    with refused(oss):
        handle = oss.start(file)
        in_the_middle(oss, handle)
        manager.stop_engine(20)
        with pytest.raises(UploadAborted, match="left to another run"):
            handle.wait(10)
    assert handle.state is State.PAUSED
    result = oss.start(file).wait(30)
    assert (result.parts_kept, result.parts_sent) == (5, 1)
    assert oss.get() == file.read_bytes()


async def test_cancelling_the_clients_call_keeps_everything_for_the_next(oss: Bucket, file: Path) -> None:
    async with OSSClient(oss.connection) as client:
        with refused(oss):
            call = asyncio.ensure_future(client.multipart_upload("data.bin", file, part_size="100KiB"))
            while [len(one["parts"]) for one in oss.uploads()] != [5]:
                await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        result = await client.multipart_upload("data.bin", file, part_size="100KiB")
    assert (result.parts_kept, result.parts_sent, result.verified) == (5, 1, True)
