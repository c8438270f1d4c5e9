"""checkpoint=...: a value of ours, a mapping of ali-oss, a file of either, or one that is neither."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter.errors import InputError, OssmpError, UploadAborted
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.checkpoint import Checkpoint
from ossmp_jupyter.transfer.journal import Journal
from tests.transfer.support import PART, Bucket, in_the_middle, make_file, open_files, refused, state_files


def left(oss: Bucket, source: object, **options: Any) -> Checkpoint:
    """An upload that was left in the middle, with nothing in the state folder."""
    options.setdefault("checkpoint", False)
    with refused(oss):
        handle = oss.start(source, **options)
        in_the_middle(oss, handle)
        checkpoint = handle.checkpoint
        handle.release()
    assert checkpoint is not None
    oss.server.journal(clear=True)
    return checkpoint


def goes_on(oss: Bucket, file: Path, checkpoint: object) -> None:
    result = oss.start(file, checkpoint=checkpoint).wait(30)
    assert (result.parts_kept, result.parts_sent, result.verified) == (5, 1, True)
    assert oss.get() == file.read_bytes()
    assert oss.uploads() == []
    assert not oss.requests("InitiateMultipartUpload")


def test_a_checkpoint_of_ours(oss: Bucket, file: Path) -> None:
    checkpoint = left(oss, file)
    assert (checkpoint.file, checkpoint.bucket, checkpoint.key) == (str(file), oss.name, "data.bin")
    assert (checkpoint.size, checkpoint.part_size, len(checkpoint.parts)) == (5 * PART + 17, PART, 5)
    goes_on(oss, file, checkpoint)


def test_a_checkpoint_that_went_through_json(oss: Bucket, file: Path) -> None:
    goes_on(oss, file, json.loads(json.dumps(left(oss, file).to_dict())))


def test_a_checkpoint_of_ali_oss_as_mapping(oss: Bucket, file: Path) -> None:
    goes_on(oss, file, left(oss, file).to_ali_oss())


def test_a_checkpoint_of_ali_oss_in_a_file_which_is_only_read(
    oss: Bucket, file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.json"
    path.write_text(json.dumps(left(oss, file).to_ali_oss(), indent=2))
    before = path.read_bytes()
    goes_on(oss, file, path)
    assert path.read_bytes() == before
    assert len([name for name in state_files() if name.endswith(".jsonl")]) == 1


def test_a_checkpoint_with_wrong_etags_is_put_right_by_the_server(oss: Bucket, file: Path) -> None:
    mapping = left(oss, file).to_ali_oss()
    mapping["doneParts"] = [{"number": n, "etag": '"00000000000000000000000000000000"'} for n in range(1, 7)]
    result = oss.start(file, checkpoint=mapping).wait(30)
    assert result.verified
    assert oss.get() == file.read_bytes()


def test_a_file_of_the_users_choice_holds_the_journal(oss: Bucket, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "mine.jsonl"
    left(oss, file, checkpoint=path)
    record = Journal(path).load()
    assert record is not None and sorted(record.parts) == [1, 3, 4, 5, 6]
    assert state_files() == []
    goes_on(oss, file, str(path))
    record = Journal(path).load()
    assert record is not None and record.receipt is not None
    again = oss.start(file, checkpoint=path).wait(30)
    assert again.already_published


def test_an_empty_file_is_taken_for_the_journal(oss: Bucket, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    oss.start(file, checkpoint=path).wait(30)
    assert Journal(path).load() is not None


@pytest.mark.parametrize(
    "content", [b"name,value\n1,2\n", b'{"my": "settings"}', b"[1, 2]", b"\x00\xff\x80",
    b'"uploadId"', b'{"version": 99}'],
    ids=repr,
)  # fmt: skip
def test_a_foreign_file_is_refused_and_not_written_over(
    oss: Bucket, file: Path, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a checkpoint; name a new file"):
        oss.start(file, checkpoint=path)
    assert path.read_bytes() == content
    assert sorted(os.listdir(tmp_path)) == ["data.bin", "settings.json"]
    assert oss.is_untouched()


def test_a_folder_is_refused(oss: Bucket, file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a checkpoint"):
        oss.start(file, checkpoint=tmp_path)


def test_a_refused_checkpoint_closes_the_source(oss: Bucket, file: Path, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("{}")
    for _ in range(3):
        with pytest.raises(InputError):
            oss.start(file, checkpoint=tmp_path / "c.json")
    assert str(file) not in open_files()


# ---------------------------------------------------------------- a checkpoint of something else


def refusal(oss: Bucket, file: Path, checkpoint: object, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        oss.start(file, checkpoint=checkpoint, **options).wait(30)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_checkpoint_of_another_object(oss: Bucket, file: Path) -> None:
    checkpoint = left(oss, file)
    said = refusal(oss, file, checkpoint, key="other.bin")
    assert said.startswith(
        f"this checkpoint belongs to {oss.address()}, not to {oss.address('other.bin')}; name that"
    )
    assert oss.keys() == []
    assert [len(one["parts"]) for one in oss.uploads()] == [5]
    assert state_files() == []


def test_a_checkpoint_file_of_another_object(oss: Bucket, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    left(oss, file, checkpoint=path)
    before = path.read_bytes()
    assert "belongs to" in refusal(oss, file, path, key="other.bin")
    assert path.read_bytes() == before


def test_a_checkpoint_of_another_service(oss: Bucket, file: Path) -> None:
    checkpoint = left(oss, file)
    said = refusal(oss.with_(identity="https://elsewhere"), file, checkpoint)
    assert "you are connected to https://elsewhere; connect there, or leave the checkpoint out" in said


def test_a_checkpoint_of_another_file_sends_every_part_that_differs(
    oss: Bucket, file: Path, tmp_path: Path
) -> None:
    checkpoint = left(oss, file)
    other = make_file(tmp_path, 3 * PART, "other")
    result = oss.start(other, checkpoint=checkpoint).wait(30)
    assert (result.parts_kept, result.verified) == (0, True)
    assert oss.get() == other.read_bytes()


def test_a_checkpoint_whose_upload_is_gone_starts_afresh(oss: Bucket, file: Path) -> None:
    checkpoint = left(oss, file)
    manager.call(lambda c: c.abort_multipart_upload("data.bin", checkpoint.upload_id), oss.connection).result(
        10
    )
    result = oss.start(file, checkpoint=checkpoint).wait(30)
    assert (result.parts_kept, oss.get()) == (0, file.read_bytes())


@pytest.mark.parametrize("broken", [{"uploadId": "x"}, {"doneParts": []}, {}])
def test_a_mapping_that_is_no_checkpoint(oss: Bucket, file: Path, broken: dict[str, object]) -> None:
    assert "this checkpoint cannot be read" in refusal(oss, file, broken)
    assert oss.is_untouched()


# ---------------------------------------------------------------- callbacks see checkpoints


def test_the_checkpoint_that_a_callback_saw_is_enough_to_go_on(oss: Bucket, file: Path) -> None:
    seen: list[Checkpoint] = []
    with refused(oss):
        handle = oss.start(file, checkpoint=False, progress=lambda f, c, r: seen.append(c) if c else None)
        in_the_middle(oss, handle)
        handle.release()
        with pytest.raises(UploadAborted):
            handle.wait(20)
    oss.server.journal(clear=True)
    goes_on(oss, file, seen[-1])


def test_no_secret_is_in_a_checkpoint_or_a_journal(oss: Bucket, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    checkpoint = left(oss, file, checkpoint=path)
    secret = oss.server.access_key_secret
    assert secret not in path.read_text() + json.dumps(checkpoint.to_dict()) + repr(checkpoint)
    assert oss.server.access_key_id not in path.read_text()


def test_it_can_be_used_after_an_error(oss: Bucket, file: Path) -> None:
    oss.server.set_faults(
        [
            {
                "operation": "UploadPart",
                "part_number": 4,
                "kind": "error",
                "status": 403,
                "code": "AccessDenied",
                "times": None,
            }
        ]
    )
    # one at a time: what is in flight when a part is refused is cut off
    handle = oss.start(file, checkpoint=False, parallel=1)
    with pytest.raises(OssmpError) as caught:
        handle.wait(30)
    assert handle.error is caught.value
    oss.server.set_faults([])
    result = oss.start(file, checkpoint=handle.checkpoint).wait(30)
    assert result.verified and result.parts_kept == 3
    assert oss.uploads() == []
