"""What earlier runs left in the bucket: shown with age and size, aborted on request, never by the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ossmp_jupyter.errors import AccessDenied, InputError, OssmpError
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.notebook import looking
from ossmp_jupyter.transfer import manager
from tests.notebook.conftest import Shell

PART = 100 * 1024


def begin(key: str, parts: int = 0) -> str:
    """Begin an upload as somebody else would, and leave it."""

    def made(client: object) -> object:
        async def work() -> str:
            upload = (await client.init_multipart_upload(key)).upload_id  # type: ignore[attr-defined]
            for number in range(1, parts + 1):
                await client.upload_part(key, upload, number, b"x" * PART)  # type: ignore[attr-defined]
            return str(upload)

        return work()

    return manager.call(made).result(10)  # type: ignore[arg-type, return-value]


def open_keys(oss: LocalOSS) -> list[str]:
    return sorted(upload["key"] for upload in oss.snapshot()["uploads"] if upload["bucket"] == "demo")


@pytest.fixture(autouse=True)
def clear(connected: Shell, oss: LocalOSS) -> Iterator[None]:
    connected.run("%oss_uploads --abort-older 0s --yes")
    connected.text()
    yield
    oss.set_faults([])
    connected.run("%oss_uploads --abort-older 0s --yes")
    assert open_keys(oss) == []


def test_the_list_says_age_bytes_parts_and_what_can_be_done(connected: Shell) -> None:
    upload = begin("old.bin", parts=3)
    connected.run("%oss_uploads --ui text")
    head, line = connected.text().splitlines()
    assert head.split()[:2] == ["Upload", "Size"]
    assert "(begun elsewhere) → oss://demo/old.bin  300.0 KiB stored  3 " in line
    assert f"  {upload}  unfinished for " in line, "what can be long stands last"
    assert line.endswith(f": abort, or %oss_resume {upload[:8]} FILE")
    assert "%" not in line.split("stored")[0], "of an unknown total there is no share"


def test_first_it_shows_then_it_aborts(connected: Shell, oss: LocalOSS) -> None:
    uploads = [begin("a.bin", parts=2), begin("b.bin")]
    time.sleep(4.1)  # wide enough for a slow machine
    begin("young.bin")
    connected.run("%oss_uploads --abort-older 4s")
    said = connected.text()
    assert said.startswith("2 unfinished uploads older than 4.0 s in bucket demo\n")
    assert "200.0 KiB  2      " in said
    assert all(upload in said for upload in uploads)
    assert said.endswith("nothing was aborted: add --yes to abort exactly what is that old then\n")
    assert open_keys(oss) == ["a.bin", "b.bin", "young.bin"]
    connected.run("%oss_uploads --abort-older 4s --prefix a --yes")
    assert connected.text().endswith("aborted 1 upload; its parts are deleted\n")
    assert open_keys(oss) == ["b.bin", "young.bin"]
    connected.run("%oss_uploads --abort-older 7d --yes")
    assert connected.text() == "bucket demo has no unfinished upload older than 7 d\n"


def test_live_uploads_and_those_of_other_processes_are_left_alone(
    connected: Shell, oss: LocalOSS, folder: Path
) -> None:
    (folder / "a.bin").write_bytes(bytes(3_000_000))
    oss.set_bandwidth("300kB/s")  # seconds to go when somebody looks, on slow machines, too
    connected.run("h = %oss_upload a.bin live.bin -b --ui none")
    handle = manager.uploads()[-1]
    while not handle.progress.parts_in_flight:
        time.sleep(0.02)
    begin("left.bin")
    connected.run("%oss_uploads --abort-older 0s --yes")
    said = connected.text()
    assert "1 unfinished upload in bucket demo; 1 in use left out" in said
    assert "live.bin" not in said
    oss.set_bandwidth(None)
    assert handle.wait(20).verified


@pytest.mark.timeout(180)
def test_pages_of_uploads(connected: Shell, oss: LocalOSS) -> None:
    async def many(client: object) -> None:
        for number in range(1, 1101):
            await client.init_multipart_upload(f"many/{number:04}")  # type: ignore[attr-defined]

    manager.call(many).result(120)
    connected.run("%oss_uploads --ui text")
    assert (
        "1100 unfinished uploads: the first 1000 are shown; --prefix P narrows the list" in connected.text()
    )
    connected.run("%oss_uploads --abort-older 0s --yes")
    said = connected.text()
    assert "… and 1050 more" in said
    assert "aborted 1100 uploads" in said
    assert open_keys(oss) == []


def test_what_cannot_be_aborted_is_named_and_the_rest_is_done(connected: Shell, oss: LocalOSS) -> None:
    for key in ("a", "b", "c"):
        begin(key)
    oss.set_faults([{"operation": "AbortMultipartUpload", "at": 1, "kind": "error", "status": 403,
                     "code": "AccessDenied"}])  # fmt: skip
    error = connected.fails("%oss_uploads --abort-older 0s --yes")
    assert type(error) is OssmpError
    assert isinstance(error.__cause__, AccessDenied)
    assert str(error).startswith("1 of 3 uploads could not be aborted, the first is ")
    assert len(open_keys(oss)) == 1


def test_a_missing_lifecycle_rule_is_spoken_of_once(
    connected: Shell, oss: LocalOSS, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected.run("%oss_uploads --ui text")
    assert "lifecycle" not in connected.text(), "nothing is forgotten there"
    begin("today.bin")
    connected.run("%oss_uploads --ui text")
    assert "lifecycle" not in connected.text(), "uploads of today are at work"
    monkeypatch.setattr(looking, "_FORGOTTEN", 0.0)
    oss.set_faults([{"operation": "GetBucketLifecycle", "at": 1, "kind": "error", "status": 403,
                     "code": "AccessDenied"}])  # fmt: skip
    connected.run("%oss_uploads --ui text")
    assert "lifecycle" not in connected.text(), "not everybody may look"
    connected.ip.find_line_magic("oss_uploads").__self__.session.advised.clear()
    connected.run("%oss_uploads --ui text")
    said = connected.text()
    assert said.startswith("no lifecycle rule of bucket demo clears forgotten uploads away")
    assert "%oss_uploads --abort-older 7d" in said
    connected.run("%oss_uploads --ui text")
    assert "lifecycle" not in connected.text()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--abort-older soon", "'soon' is not a duration; write such as 7d, 12h or 30min"),
        ("--abort-older 7", "is not a duration"),
        ("--yes", "--yes belongs to --abort-older"),
        ("--abort-older 7d --local-only", "needs a bucket"),
    ],
)
def test_bad_input(connected: Shell, line: str, words: str) -> None:
    error = connected.fails(f"%oss_uploads {line}")
    assert isinstance(error, InputError)
    assert words in str(error)
