from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossmp_jupyter.errors import UploadInUse
from ossmp_jupyter.transfer import journal as journals
from ossmp_jupyter.transfer.checkpoint import CheckpointPart
from ossmp_jupyter.transfer.journal import (
    KEEP_RECEIPTS,
    Header,
    Journal,
    Receipt,
    journal_dir,
    list_journals,
    state_dir,
)
from ossmp_jupyter.units import MIB

ROOT = Path(__file__).parents[3]
HEADER = Header(
    "https://oss-cn-hangzhou.aliyuncs.com", "demo", "ordner/grün.bin", "/data/grün.bin", "file",
    10 * MIB, MIB, "0004B9894A22E5B1888A1E29F823", "f00", 1.7e9,
)  # fmt: skip
ETAG = "7265F4D211B56873A381D321F586E4A9"
RECEIPT = Receipt(10 * MIB, 2**64 - 1, ETAG + "-10", "2026-01-01T00:00:00+00:00", 1.7e9)


def part(number: int) -> CheckpointPart:
    return CheckpointPart(number, f"{number:032X}", MIB, 2**64 - number)


def written(path: Path, parts: int = 3) -> bytes:
    journal = Journal(path)
    journal.acquire()
    journal.begin(HEADER, [part(1)])
    for number in range(2, parts + 1):
        journal.append(part(number))
    journal.close()
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upload.jsonl"


# ---------------------------------------------------------------- what is written is read


def test_round_trip(path: Path) -> None:
    written(path)
    record = Journal(path).load()
    assert record is not None
    assert record.header == HEADER
    assert record.parts == {1: part(1), 2: part(2), 3: part(3)}
    assert record.receipt is None
    checkpoint = record.checkpoint()
    assert (checkpoint.file, checkpoint.upload_id, checkpoint.confirmed) == (
        HEADER.source,
        HEADER.upload_id,
        3 * MIB,
    )


def test_the_receipt_ends_it(path: Path) -> None:
    journal = Journal(path)
    journal.begin(HEADER)
    journal.finish(RECEIPT)
    journal.close()
    record = Journal(path).load()
    assert record is not None
    assert record.receipt == RECEIPT


def test_each_part_is_with_the_operating_system_at_once(path: Path) -> None:
    journal = Journal(path)
    journal.begin(HEADER)
    for number in range(1, 5):
        journal.append(part(number))
        record = Journal(path).load()
        assert record is not None and len(record.parts) == number
    journal.close()


def test_begin_replaces_what_was_there_in_one_step(path: Path) -> None:
    written(path, 9)
    journal = Journal(path)
    journal.begin(HEADER, [part(5)])
    journal.close()
    record = Journal(path).load()
    assert record is not None and list(record.parts) == [5]
    assert {file.name for file in path.parent.iterdir()} == {path.name, path.name + ".lock"}


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_only_the_user_may_read_it(path: Path) -> None:
    old = os.umask(0)
    try:
        nested = path.parent / "new" / path.name
        journal = Journal(nested)
        journal.acquire()
        journal.begin(HEADER)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in nested.parent.iterdir()}
        journal.close()
    finally:
        os.umask(old)
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(nested.parent.stat().st_mode) == 0o700


def test_no_path_keeps_nothing() -> None:
    journal = Journal(None)
    journal.acquire()
    journal.begin(HEADER)
    journal.append(part(1))
    journal.finish(RECEIPT)
    journal.remove()
    journal.close()
    assert journal.load() is None
    assert journal.warning is None


# ---------------------------------------------------------------- damage


@given(st.integers(0, 10_000))
def test_a_torn_tail_costs_at_most_the_part_it_named(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "torn.jsonl"
    whole = written(path)
    cut = min(cut, len(whole))
    path.write_bytes(whole[:cut])
    record = Journal(path).load()
    lines = whole[:cut].count(b"\n")
    if record is None:
        assert lines == 0
        return
    assert record.header == HEADER
    assert len(record.parts) >= lines - 1
    assert all(record.parts[number] == part(number) for number in record.parts)


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=8), st.booleans())
def test_flipped_bytes_are_never_more_than_forgotten_or_wrong_parts(
    tmp_path: Path, flips: list[tuple[int, int]], in_header: bool
) -> None:
    """Wrong parts are found out by content; a header is whole and of sane values, or there is none."""
    path = tmp_path / "flipped.jsonl"
    data = bytearray(written(path, 6))
    first_line = data.index(b"\n")
    for place, value in flips:
        data[place % first_line if in_header else place % len(data)] ^= value
    path.write_bytes(data)
    record = Journal(path).load()
    if record is None:
        return
    head = record.header
    texts = (head.endpoint, head.bucket, head.key, head.source, head.kind, head.upload_id, head.options)
    assert all(isinstance(text, str) for text in texts)
    assert type(head.size) is int and head.size >= 0
    assert type(head.part_size) is int and head.part_size >= 1
    for number, known in record.parts.items():
        assert type(number) is int and type(known.size) is int and isinstance(known.etag, str)
        assert known.crc64 is None or type(known.crc64) is int


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("part_size", 0), ("part_size", -1), ("part_size", 1.5), ("part_size", "1048576"),
        ("size", -1), ("size", "x"), ("size", 1e300), ("bucket", 5), ("upload_id", None), ("key", ["k"]),
        ("part_size", None), ("created", "yesterday"),
    ],
)  # fmt: skip
def test_a_header_with_a_value_that_cannot_be_is_no_header(path: Path, field: str, value: Any) -> None:
    lines = written(path).decode().splitlines()
    header = json.loads(lines[0])
    header["upload"][field] = value
    path.write_text("\n".join([json.dumps(header), *lines[1:]]))
    assert Journal(path).load() is None
    assert list_journals() == []


@pytest.mark.parametrize(
    "first", ["", "\n", "{}", "[]", "5", "null", "not JSON", '{"version":1}', '{"version":1,"upload":{}}']
)
def test_no_header_no_journal(path: Path, first: str) -> None:
    path.write_text(first + "\n" + json.dumps({"part": [1, ETAG, MIB, 7]}) + "\n")
    assert Journal(path).load() is None


def test_a_newer_version_is_left_to_newer_programs(path: Path) -> None:
    text = written(path).decode().replace('"version":1', '"version":2')
    path.write_text(text)
    assert Journal(path).load() is None
    assert path.read_text() == text


def test_unknown_lines_and_members_are_passed_over(path: Path) -> None:
    written(path)
    with path.open("a") as file:
        file.write('{"note":"from a newer program"}\n5\n"part"\n[]\nnull\n')
        file.write('{"part":[5,"E",1e999,1]}\n')  # a flipped bit makes 13 to 1e3
        file.write(json.dumps({"part": [4, ETAG, MIB, None]}) + "\n")
    record = Journal(path).load()
    assert record is not None and sorted(record.parts) == [1, 2, 3, 4]


def test_a_binary_file_is_no_journal(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(100_000))
    assert Journal(path).load() is None


def test_what_a_killed_put_left_is_no_journal(path: Path) -> None:
    journal = Journal(path)
    journal.begin(dataclasses.replace(HEADER, upload_id=""))
    assert Journal(path).load() is None
    journal.finish(RECEIPT)
    journal.close()
    assert Journal(path).load() is not None


# ---------------------------------------------------------------- a disk that refuses


def test_a_folder_that_cannot_be_made_is_a_warning_once_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "journals" / "u.jsonl")
    journal.acquire()
    journal.begin(HEADER)
    journal.append(part(1))
    journal.finish(RECEIPT)
    journal.remove()
    journal.close()
    assert journal.warning is not None
    assert "a crash would start from zero" in journal.warning
    assert "\n" not in journal.warning


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="no user IDs here")
def test_a_read_only_folder_is_a_warning_and_no_error(tmp_path: Path) -> None:
    """In a process without root's powers."""
    for folder in [tmp_path, *tmp_path.parents][:4]:
        folder.chmod(0o755)
    folder = tmp_path / "readonly"
    folder.mkdir(mode=0o555)
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.unit.transfer.test_journal import HEADER, part, Journal\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "journal = Journal(Path(sys.argv[1]) / 'u.jsonl')\n"
        "journal.acquire(); journal.begin(HEADER); journal.append(part(1)); journal.close()\n"
        "print(journal.warning)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert "Permission denied" in done.stdout
    assert os.listdir(folder) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_warning_and_no_error(path: Path) -> None:
    journal = Journal(path)
    journal.begin(HEADER)
    journal._file.close()
    journal._file = open("/dev/full", "a", encoding="utf-8", buffering=1)  # noqa: SIM115
    journal.append(part(1))
    journal.append(part(2))
    journal.close()
    assert journal.warning is not None and "No space left" in journal.warning


def test_a_journal_that_is_taken_away_meanwhile_stops_nothing(path: Path) -> None:
    journal = Journal(path)
    journal.acquire()
    journal.begin(HEADER)
    path.unlink()
    journal.append(part(1))
    journal.finish(RECEIPT)
    journal.close()


# ---------------------------------------------------------------- the lock

HOLDER = (
    "import sys\n"
    "from pathlib import Path\n"
    "from ossmp_jupyter.transfer.journal import Journal\n"
    "journal = Journal(Path(sys.argv[1])); journal.acquire()\n"
    "print('held', flush=True); sys.stdin.read()\n"
)


@pytest.fixture
def holder(path: Path) -> Any:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_another_process_that_holds_the_lock_is_named(path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(
        UploadInUse, match="another process is uploading this source to this target, or has paused it; go on"
    ):
        Journal(path).acquire()


def test_the_lock_of_a_killed_process_is_free(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    journal = Journal(path)
    journal.acquire()
    assert journal.warning is None
    journal.close()


def test_the_lock_holds_within_one_process_too_and_is_let_go(path: Path) -> None:
    one, two = Journal(path), Journal(path)
    one.acquire()
    one.acquire()
    with pytest.raises(UploadInUse):
        two.acquire()
    one.close()
    one.close()
    two.acquire()
    two.close()


def test_no_lock_file_stays_where_no_journal_does(path: Path) -> None:
    journal = Journal(path)
    journal.acquire()
    journal.close()
    assert os.listdir(path.parent) == []
    journal.acquire()
    journal.begin(HEADER)
    journal.remove()
    journal.close()
    assert os.listdir(path.parent) == []


def test_listing_does_not_stand_in_the_way_of_an_upload_that_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a journal is in use is found out by its lock: a moment that must not refuse an upload."""
    # the thread that lists may stand still while it holds the lock, for longer than people are kept waiting
    monkeypatch.setattr(journals, "_PATIENCE", 20.0)
    path = journal_dir() / "u.jsonl"
    written(path)
    stop = threading.Event()

    def keep_listing() -> None:
        while not stop.is_set():
            list_journals()

    thread = threading.Thread(target=keep_listing)
    thread.start()
    try:
        for _ in range(50):
            journal = Journal(path)
            journal.acquire()
            journal.close()
    finally:
        stop.set()
        thread.join()


# ---------------------------------------------------------------- the list


def test_the_state_directory_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSSMP_STATE_DIR", str(tmp_path))
    assert state_dir() == tmp_path
    assert journal_dir() == tmp_path / "journals"
    monkeypatch.delenv("OSSMP_STATE_DIR")
    assert state_dir().name == "ossmp-jupyter"
    assert list_journals() == []


def test_the_list_shows_unfinished_uploads_newest_first() -> None:
    for age, name in ((100, "old"), (0, "new")):
        path = journal_dir() / f"{name}.jsonl"
        written(path)
        os.utime(path, (time.time() - age,) * 2)
    held = Journal(journal_dir() / "new.jsonl")
    held.acquire()
    summaries = list_journals()
    held.close()
    assert [summary.path.stem for summary in summaries] == ["new", "old"]
    assert [summary.in_use for summary in summaries] == [True, False]
    one = summaries[0]
    assert (one.address, one.confirmed, one.size) == ("oss://demo/ordner/grün.bin", 3 * MIB, 10 * MIB)
    assert (one.source, one.endpoint, one.upload_id) == (HEADER.source, HEADER.endpoint, HEADER.upload_id)


def test_old_receipts_are_cleared_away_with_their_locks_and_young_ones_stay() -> None:
    for name, age in (("old", KEEP_RECEIPTS + 60), ("young", 60.0)):
        path = journal_dir() / f"{name}.jsonl"
        journal = Journal(path)
        journal.acquire()
        journal.begin(HEADER)
        journal.finish(RECEIPT)
        journal.close()
        os.utime(path, (time.time() - age,) * 2)
    assert list_journals() == []
    assert {name.partition(".")[0] for name in os.listdir(journal_dir())} == {"young"}


def test_no_damaged_file_breaks_the_list() -> None:
    written(journal_dir() / "good.jsonl")
    (journal_dir() / "bad.jsonl").write_bytes(b"\xff\xfe\x00")
    (journal_dir() / "folder.jsonl").mkdir()
    (journal_dir() / "dangling.jsonl").symlink_to("nowhere")
    assert [summary.path.stem for summary in list_journals()] == ["good"]


# ---------------------------------------------------------------- cost


def test_the_10_000th_part_costs_no_more_than_the_first(path: Path) -> None:
    """In bytes written, which no busy machine can distort: a line per part, none rewritten."""
    journal = Journal(path)
    journal.begin(HEADER)
    inode, sizes = path.stat().st_ino, []
    for number in range(1, 10_001):
        journal.append(part(number))
        if number % 1000 == 0:
            sizes.append(path.stat().st_size)
    journal.close()
    grown = [after - before for before, after in itertools.pairwise(sizes)]
    assert max(grown) <= min(grown) * 1.1
    assert path.stat().st_ino == inode
    assert sizes[-1] < 10_000 * 100
    record = Journal(path).load()
    assert record is not None and len(record.parts) == 10_000
