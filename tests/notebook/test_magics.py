"""Every magic, in a real shell, against the embedded OSS."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter.errors import InputError, NoSuchBucket, UploadAborted
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.checksum import crc64
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.manager import Upload
from ossmp_jupyter.transfer.progress import State, UploadResult
from tests.notebook.conftest import Shell

MB = 1 << 20


def until(true: Callable[[], object], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def write(folder: Path, name: str = "a.bin", size: int = 5 * MB) -> bytes:
    data = os.urandom(size)
    (folder / name).write_bytes(data)
    return data


def stored(oss: LocalOSS, key: str, bucket: str = "demo") -> dict[str, Any]:
    found: dict[str, Any] = oss.snapshot()["objects"][f"{bucket}/{key}"]
    return found


def unfinished(oss: LocalOSS) -> list[Any]:
    found: list[Any] = oss.snapshot()["uploads"]
    return found


@pytest.fixture
def slow(connected: Shell, oss: LocalOSS, folder: Path) -> Upload:
    """An upload in the background that takes long enough to look at and to act on."""
    write(folder, size=8 * MB)
    oss.set_bandwidth("2MB/s")
    handle: Upload = connected.value("%oss_upload a.bin slow.bin -b -q --part-size 256KiB")
    until(lambda: handle.progress.parts_done >= 2, "no part was confirmed")
    connected.text()
    return handle


# ---------------------------------------------------------------------- connecting
def test_connect_says_what_is_in_use_and_no_secret(
    shell: Shell, oss: LocalOSS, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in oss.environment().items():
        monkeypatch.setenv(name, value)
    shell.run("%oss_connect oss://other")
    said = shell.text()
    assert said.startswith(f"connected to {oss.endpoint}, bucket other, credentials from environment")
    assert said.count("\n") == 1
    assert oss.access_key_secret not in said
    connection = manager.default_connection()
    assert connection is not None
    assert connection.bucket == "other"
    shell.run("%oss_connect")  # without arguments: the one in use
    assert "bucket other" in shell.text()


def test_connect_with_options(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "hidden-secret")
    shell.run("%oss_connect oss://b-1 --endpoint https://files.example.com --cname --signature v1")
    assert "hidden-secret" not in shell.text()
    connection = manager.default_connection()
    assert connection is not None
    assert (connection.signature, connection.endpoint.host) == ("v1", "files.example.com")


def test_connect_local_starts_shares_and_says_so(shell: Shell, folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "objects"
    shell.run(f"%oss_connect --local --root {root} --bandwidth 50MB/s")
    said = shell.text()
    assert said.endswith("credentials from the embedded OSS\n")
    write(folder, size=300_000)
    assert shell.value("%oss_upload a.bin k -q").verified
    shell.run(f"%oss_connect oss://second --local --root {root}")  # the same server, another bucket
    assert ", bucket second," in shell.text()
    assert shell.value("%oss_upload a.bin k -q").address == "oss://second/k"
    shell.run(f"%oss_connect oss://second --local --root {root}")  # the bucket is there already


# ---------------------------------------------------------------------- uploading
def test_upload_publishes_verifies_and_ends_with_one_line(
    connected: Shell, oss: LocalOSS, folder: Path
) -> None:
    data = write(folder)
    result = connected.value("%oss_upload a.bin oss://demo/dir/")
    assert isinstance(result, UploadResult)
    assert (result.address, result.size, result.crc64) == ("oss://demo/dir/a.bin", len(data), crc64(data))
    lines = connected.text().splitlines()
    assert lines[-1].startswith("oss://demo/dir/a.bin  5.0 MiB (5,242,880 bytes) in ")
    assert f", CRC-64 {result.crc64} verified, ETag {result.etag}, 20" in lines[-1]
    assert stored(oss, "dir/a.bin")["size"] == len(data)


def test_the_result_is_displayed_neither_at_once_nor_lost(connected: Shell, folder: Path) -> None:
    write(folder)
    connected.run("%oss_upload a.bin k")
    text = connected.text()
    assert "<UploadResult " not in text
    assert "Out[" not in text
    connected.run("r = %oss_upload a.bin k\nr")
    assert "<UploadResult " in connected.text()


def test_every_option_arrives(connected: Shell, oss: LocalOSS, folder: Path) -> None:
    write(folder)
    connected.ip.user_ns["seen"] = []
    connected.run("def watch(fraction, checkpoint, response): seen.append(fraction)")
    connected.run(
        "%oss_upload a.bin k --part-size 1MiB --parallel 2 --meta owner=me --meta 'note=a b=c'"
        " --mime text/x-test --header 'Cache-Control: max-age=60' --storage-class IA"
        " --tag team=data --acl private --progress watch --timeout 30 -o out"
    )
    head = connected.value("%oss_head k -q")
    assert dict(head.meta) == {"owner": "me", "note": "a b=c"}
    assert (head.content_type, head.storage_class) == ("text/x-test", "IA")
    assert head.headers["cache-control"] == "max-age=60"
    assert connected.ip.user_ns["out"].parts == 5
    seen = connected.ip.user_ns["seen"]
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    begun = next(entry for entry in oss.journal() if entry["operation"] == "InitiateMultipartUpload")
    assert begun["headers"]["x-oss-tagging"] == "team=data"


def test_several_sources_keep_their_names(connected: Shell, oss: LocalOSS, folder: Path) -> None:
    for name in ("a.bin", "b c.bin"):
        write(folder, name, 200_000)
    results = connected.value("%oss_upload a.bin 'b c.bin' oss://demo/several/")
    assert [r.key for r in results] == ["several/a.bin", "several/b c.bin"]
    assert {"several/a.bin", "several/b c.bin"} <= {
        name.removeprefix("demo/") for name in oss.snapshot()["objects"]
    }


def test_local_names_are_filled_in(connected: Shell, oss: LocalOSS, folder: Path) -> None:
    write(folder, "my data.bin", 1000)
    connected.run(
        "def send(path, number):\n    %oss_upload {path} from/{number:03d}/ -q\nsend('my data.bin', 7)"
    )
    assert stored(oss, "from/007/my data.bin")["size"] == 1000


def test_checkpoint_file_and_none(connected: Shell, folder: Path) -> None:
    write(folder)
    connected.run("%oss_upload a.bin k1 --checkpoint here.jsonl -q")
    assert (folder / "here.jsonl").exists()
    journals = folder.parent / "state" / "journals"
    connected.run("%oss_upload a.bin k2 --no-checkpoint -q")
    assert not list(journals.glob("*.jsonl")) if journals.exists() else True


def test_simple_forbid_overwrite_and_fresh(connected: Shell, oss: LocalOSS, folder: Path) -> None:
    write(folder, size=300_000)
    assert connected.value("%oss_upload a.bin simple --simple -q").upload_id is None
    write(folder, "b.bin", 300_000)
    error = connected.fails("%oss_upload b.bin simple --forbid-overwrite -q")
    assert type(error).__name__ == "AlreadyExists"
    first = connected.value("%oss_upload a.bin twice -q")
    again = connected.value("%oss_upload a.bin twice")
    assert again.already_published
    assert "already published, nothing sent" in connected.text()
    fresh = connected.value("%oss_upload a.bin twice --fresh -q")
    assert fresh.upload_id != first.upload_id
    assert fresh.upload_id not in [upload["upload_id"] for upload in unfinished(oss)]


def test_output_variable_and_quiet(connected: Shell, folder: Path) -> None:
    write(folder)
    connected.run("%oss_upload a.bin k -o r -q")
    assert connected.text() == ""
    assert connected.ip.user_ns["r"].verified


def test_after_a_failure_the_variable_holds_the_handle(connected: Shell, folder: Path) -> None:
    write(folder)
    error = connected.fails("%oss_upload a.bin oss://no-such-bucket/k -o r")
    assert type(error).__name__ == "NoSuchBucket"
    assert connected.ip.user_ns["r"].state is State.FAILED


def test_running_the_cell_again_resumes_a_failed_upload(
    connected: Shell, oss: LocalOSS, folder: Path
) -> None:
    data = write(folder)
    cell = "%oss_upload a.bin again --part-size 1MiB --parallel 1"
    refused = {"kind": "error", "status": 403, "code": "AccessDenied", "times": None}
    oss.set_faults([{"operation": "UploadPart", "part_number": 4, **refused}])
    assert type(connected.fails(cell)).__name__ == "AccessDenied"
    oss.set_faults([])
    oss.journal(clear=True)
    result = connected.value(cell)
    assert (result.crc64, result.parts_kept) == (crc64(data), 3)
    sent = [entry["part_number"] for entry in oss.journal() if entry["operation"] == "UploadPart"]
    assert sorted(sent) == [4, 5]
    assert "3 kept from before" in connected.text()


# ---------------------------------------------------------------------- in the background
def test_background_returns_a_handle_and_wait_waits(connected: Shell, slow: Upload, oss: LocalOSS) -> None:
    assert not slow.future.done()
    oss.set_bandwidth(None)
    results = connected.value("%oss_wait")
    assert [r.key for r in results] == ["slow.bin"]
    connected.text()
    connected.run("%oss_wait")
    assert connected.text() == "no upload is running\n"


def test_wait_tells_what_has_ended_before_it(connected: Shell, oss: LocalOSS) -> None:
    """Once: a failure in the background stops the notebook, however early it came."""
    Path("a.bin").write_bytes(bytes(300_000))
    good: Upload = connected.value("%oss_upload a.bin good.bin -b -q")
    bad: Upload = connected.value("%oss_upload a.bin oss://no-such-bucket/k -b -q")
    until(lambda: good.future.done() and bad.future.done(), "they do not end")
    connected.text()
    assert isinstance(connected.fails("%oss_wait"), NoSuchBucket)
    assert "oss://demo/good.bin" in connected.text()
    connected.run("%oss_wait")
    assert connected.text() == "no upload is running\n"

    oss.set_bandwidth("1MB/s")  # the same line twice, and once more with another file behind its name
    Path("a.bin").write_bytes(bytes(3 * MB))
    twice = [connected.value("%oss_upload a.bin k -b -q --part-size 100KiB") for _ in range(2)]
    until(lambda: twice[0].upload_id, "no upload ID")
    Path("a.bin").write_bytes(bytes(3 * MB + 1))
    edited: Upload = connected.value("%oss_upload a.bin k -b -q --part-size 100KiB")
    assert connected.value("%oss_upload a.bin k -b -q --part-size 100KiB") is edited
    assert twice[0] is twice[1] is not edited
    oss.set_bandwidth(None)
    until(lambda: edited.future.done() and twice[0].future.done(), "they do not end")
    connected.text()
    connected.run("%oss_wait")
    assert connected.text().count("oss://demo/k ") == 1

    told: Upload = connected.value("%oss_upload a.bin oss://no-such-bucket/k -b -q")
    with pytest.raises(NoSuchBucket):
        told.wait(20)
    connected.text()
    connected.run("%oss_wait")
    assert connected.text() == "no upload is running\n"


def test_wait_raises_what_went_wrong(connected: Shell, slow: Upload) -> None:
    slow.abort()
    error = connected.fails(f"%oss_wait {slow.id}")
    assert isinstance(error, UploadAborted)


def test_pause_and_resume_by_id(connected: Shell, slow: Upload, oss: LocalOSS) -> None:
    connected.run(f"%oss_pause {slow.id}")
    until(lambda: slow.state is State.PAUSED, "not paused")
    assert slow.id in connected.text()
    confirmed = slow.progress.confirmed
    oss.set_bandwidth(None)
    assert slow.upload_id
    result = connected.value(f"%oss_resume {slow.upload_id[:8]}")
    assert result.verified
    assert slow.progress.confirmed >= confirmed


def test_abort_deletes_the_parts_and_touches_no_other(connected: Shell, slow: Upload, oss: LocalOSS) -> None:
    other: Upload = connected.value("%oss_upload a.bin other.bin -b -q --part-size 256KiB")
    until(lambda: other.upload_id, "no upload ID")
    connected.run(f"%oss_abort {slow.id}")
    assert connected.text() == "aborted the upload to oss://demo/slow.bin; its parts are deleted\n"
    left = [upload["upload_id"] for upload in unfinished(oss)]
    assert slow.upload_id not in left
    assert other.upload_id in left
    oss.set_bandwidth(None)
    assert other.wait(20).verified
    error = connected.fails(f"%oss_abort {slow.id}")
    assert isinstance(error, InputError)
    assert "aborted already" in str(error)


def test_parts_are_those_of_the_server(connected: Shell, slow: Upload) -> None:
    connected.run(f"%oss_pause {slow.id}")
    until(lambda: slow.state is State.PAUSED, "not paused")
    connected.text()
    parts = connected.value(f"%oss_parts {slow.id}")
    printed = connected.text()
    # a part that was cut off may still have arrived, so there may be more by now
    assert {p.etag for p in parts} <= {p.etag for p in slow.parts()}
    assert printed.startswith(f"{len(parts)} parts, ")
    assert all(p.etag in printed for p in parts)
    assert "PartInfo(" not in printed


# ---------------------------------------------------------------------- uploads begun earlier
def leave_behind(connected: Shell, slow: Upload) -> str:
    """Pause, and drop the handle, as a kernel that was restarted would."""
    upload_id = slow.upload_id
    assert upload_id
    slow.pause()
    until(lambda: slow.state is State.PAUSED, "not paused")
    slow.release()
    manager.engine().forget(slow)
    assert slow not in manager.uploads()
    connected.text()
    return upload_id


def test_uploads_shows_what_was_begun_earlier(connected: Shell, slow: Upload) -> None:
    upload_id = leave_behind(connected, slow)
    connected.run("%oss_uploads")
    text = connected.text()
    assert upload_id in text
    assert "unfinished" in text
    assert str(Path("a.bin").resolve()) in text


def test_resume_by_journal_in_a_new_kernel(connected: Shell, slow: Upload, oss: LocalOSS) -> None:
    upload_id = leave_behind(connected, slow)
    oss.set_bandwidth(None)
    result = connected.value(f"%oss_resume {upload_id[:6]}")
    assert result.upload_id == upload_id
    assert result.parts_kept >= 2
    assert stored(oss, "slow.bin")["size"] == 8 * MB


def test_resume_with_nothing_but_the_bucket_and_the_file(
    connected: Shell, slow: Upload, oss: LocalOSS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    upload_id = leave_behind(connected, slow)
    monkeypatch.setenv("OSSMP_STATE_DIR", str(tmp_path / "elsewhere"))
    oss.set_bandwidth(None)
    error = connected.fails(f"%oss_resume {upload_id[:6]}")
    assert isinstance(error, InputError)
    assert f"%oss_resume {upload_id} FILE" in str(error)
    result = connected.value(f"%oss_resume {upload_id[:6]} a.bin")
    assert (result.upload_id, result.crc64) == (upload_id, crc64(Path("a.bin").read_bytes()))
    assert result.parts_kept >= 2


@pytest.mark.parametrize("journal", [False, True], ids=["nothing known here", "a journal here"])
def test_a_file_that_does_not_fit_is_refused_and_nothing_is_published(
    connected: Shell,
    slow: Upload,
    oss: LocalOSS,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    journal: bool,
) -> None:
    upload_id = leave_behind(connected, slow)
    if not journal:
        monkeypatch.setenv("OSSMP_STATE_DIR", str(tmp_path / "elsewhere"))
    oss.set_bandwidth(None)
    write(Path.cwd(), "wrong.bin", size=8 * MB)
    before = oss.snapshot()["objects"].get("demo/slow.bin")
    error = connected.fails(f"%oss_resume {upload_id[:6]} wrong.bin")
    assert isinstance(error, InputError)
    assert re.search(r"none of the \d+ stored parts fits wrong\.bin; it is another file", str(error))
    assert upload_id in [upload["upload_id"] for upload in unfinished(oss)]
    assert oss.snapshot()["objects"].get("demo/slow.bin") == before
    Path("a.bin").rename("renamed.bin")  # the right one, by another name
    result = connected.value(f"%oss_resume {upload_id[:6]} renamed.bin")
    assert (result.upload_id, result.crc64) == (upload_id, crc64(Path("renamed.bin").read_bytes()))
    assert result.parts_kept >= 2


def test_abort_an_upload_of_an_earlier_kernel(connected: Shell, slow: Upload, oss: LocalOSS) -> None:
    upload_id = leave_behind(connected, slow)
    assert len(connected.value(f"%oss_parts {upload_id}")) >= 2
    connected.run(f"%oss_abort {upload_id}")
    assert upload_id not in [upload["upload_id"] for upload in unfinished(oss)]
    connected.text()
    connected.run("%oss_uploads")
    assert upload_id not in connected.text()


# ---------------------------------------------------------------------- looking
def test_head_prints_a_table_and_returns_the_metadata(connected: Shell, folder: Path) -> None:
    data = write(folder, "a.txt", 150_000)
    connected.run("%oss_upload a.txt k --meta owner=me -q")
    head = connected.value("%oss_head oss://demo/k")
    printed = connected.text()
    assert (head.size, head.crc64) == (150_000, crc64(data))
    for text in (
        "146.5 KiB (150,000 bytes)",
        "text/plain",
        head.etag,
        str(head.crc64),
        "meta owner",
        "Standard",
    ):
        assert text in printed
    assert "HeadResult(" not in printed
    connected.run("h = %oss_head k -q")
    assert connected.text() == ""


def test_help_is_complete(shell: Shell) -> None:
    shell.run("%oss_upload -h")
    shown = shell.text()
    info = shell.ip.magics_manager.magics["line"]["oss_upload"].__doc__
    for option in ("--part-size", "--checkpoint", "--ui", "-o NAME", "examples:"):
        assert option in shown
        assert option in info


def test_ui_choices(connected: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder)
    connected.run("%oss_upload a.bin k1 --ui none")
    assert connected.text().count("\n") == 1
    monkeypatch.setenv("OSSMP_UI", "comic")
    assert "OSSMP_UI is 'comic'" in str(connected.fails("%oss_upload a.bin k2"))
    monkeypatch.delenv("OSSMP_UI")
    connected.run("%config OssMagics.ui = 'none'")
    connected.text()
    connected.run("%oss_upload a.bin k3")
    assert connected.text().count("\n") == 1


def test_settings_are_the_defaults_of_options(connected: Shell, folder: Path) -> None:
    write(folder, size=1_000_000)
    for line in ("part_size = '128KiB'", "parallel = 2", "timeout = 7.5", "checkpoint = False"):
        connected.run(f"%config OssMagics.{line}")
    handle = connected.value("%oss_upload a.bin k -b")
    request = handle.request
    assert (request.part_size, request.parallel, request.journal) == (131072, 2, None)
    handle.wait(20)
    request = connected.value("%oss_upload a.bin k2 -b --part-size 256KiB --parallel 3").request
    assert (request.part_size, request.parallel) == (262144, 3)
    connected.run("%oss_wait")


def test_bucket_and_region_from_the_settings(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "hidden-secret")
    shell.run("%config OssMagics.bucket = 'oss://my-bucket/'")
    shell.run("%config OssMagics.region = 'cn-hangzhou'")
    shell.run("%oss_connect")
    assert "oss-cn-hangzhou.aliyuncs.com, bucket my-bucket" in shell.text()
    shell.run("%oss_connect oss://other-bucket")
    assert "oss-cn-hangzhou.aliyuncs.com, bucket other-bucket" in shell.text()
    shell.run("%oss_connect")
    assert "bucket other-bucket" in shell.text()


def test_the_stop_button_before_anything_waits(
    connected: Shell, oss: LocalOSS, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pressed between the start and the wait, which no test can time: nothing may run on unseen."""

    def pressed(*args: object) -> None:
        raise KeyboardInterrupt

    for name in "abcdef":
        write(folder, f"{name}.bin", 8 * MB)
    oss.set_bandwidth("1MB/s")
    monkeypatch.setattr("ossmp_jupyter.notebook.session.Session.cell", pressed)
    assert isinstance(connected.fails("%oss_upload a.bin k"), KeyboardInterrupt)
    (handle,) = manager.uploads()
    until(lambda: handle.state is State.PAUSED, "it runs on")
    assert connected.text().startswith("paused a.bin → oss://demo/k")
    connected.fails("%oss_upload *.bin many/")
    until(lambda: all(one.state is State.PAUSED for one in manager.uploads()), "some run on")
    assert connected.text().startswith("paused 6 uploads: run this cell again")
