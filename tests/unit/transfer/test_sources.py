from __future__ import annotations

import array
import io
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ossmp_jupyter.errors import InputError, SourceChanged, SourceNotReadable
from ossmp_jupyter.oss.checksum import crc64
from ossmp_jupyter.transfer.sources import (
    BytesSource,
    FileSource,
    Source,
    crc64_of_range,
    make_source,
    read_range,
)
from ossmp_jupyter.units import MIB
from tests.unit.file_times import wait_for_next_time

ROOT = Path(__file__).parents[3]


def whole(source: Source, size: int) -> bytes:
    return b"".join(bytes(piece) for piece in read_range(source, 0, size))


def refusal(path: object) -> str:
    with pytest.raises(SourceNotReadable) as caught:
        make_source(path).open()
    said = str(caught.value)
    assert "\n" not in said
    return said


# ---------------------------------------------------------------- files


def test_a_file_is_read_at_any_offset_by_many_threads(tmp_path: Path) -> None:
    data = os.urandom(3 * MIB + 17)
    path = tmp_path / "data.bin"
    path.write_bytes(data)
    source = FileSource(path)
    found = source.open()
    assert (found.size, source.name, source.path) == (len(data), "data.bin", str(path))
    results: dict[int, bytes] = {}

    def read(offset: int) -> None:
        length = min(400_000, len(data) - offset)
        results[offset] = b"".join(bytes(piece) for piece in read_range(source, offset, length))

    threads = [threading.Thread(target=read, args=(offset,)) for offset in range(0, len(data), 400_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b"".join(results[offset] for offset in sorted(results)) == data
    assert crc64_of_range(source, 5, 2 * MIB) == crc64(data[5 : 5 + 2 * MIB])
    assert source.read_into(len(data), memoryview(bytearray(10))) == 0
    source.close()
    source.close()


def test_a_missing_file_names_the_close_match(tmp_path: Path) -> None:
    (tmp_path / "measurements.csv").touch()
    said = refusal(tmp_path / "mesurements.csv")
    assert f"no such file: {tmp_path}/mesurements.csv" in said
    assert "did you mean measurements.csv?" in said


def test_a_missing_file_without_a_close_match_names_the_working_directory(tmp_path: Path) -> None:
    assert os.getcwd() in refusal(tmp_path / "none" / "x.csv")


def test_a_directory(tmp_path: Path) -> None:
    assert f"{tmp_path} is a directory" in refusal(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_without_a_writer_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert "not a regular file" in refusal(path)


def test_a_device_and_a_socket_are_refused(tmp_path: Path) -> None:
    assert "not a regular file" in refusal("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert str(tmp_path / "s") in refusal(tmp_path / "s")


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="no user IDs here")
def test_an_unreadable_file(tmp_path: Path) -> None:
    """By a process that really has no permission: root is let through everywhere."""
    path = tmp_path / "secret.bin"
    path.write_bytes(b"x")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() != "root" and str(folder) != "/tmp":
            folder.chmod(0o755)
    if os.getuid() == 0:
        for folder in list(tmp_path.parents)[:3]:
            folder.chmod(0o755)
        tmp_path.chmod(0o755)
    path.chmod(0)
    script = (
        "import os, sys\n"
        "from ossmp_jupyter.errors import SourceNotReadable\n"
        "from ossmp_jupyter.transfer.sources import FileSource\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: FileSource(sys.argv[1]).open()\n"
        "except SourceNotReadable as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert f"no permission to read {path}; ask its owner" in done.stdout


def test_names_that_no_file_can_have() -> None:
    assert "x" * 100 not in refusal("a" * 5000)[:0]
    assert "cannot read" in refusal("/" + "a" * 300)
    with pytest.raises(InputError) as caught:
        make_source("data\0.bin").open()
    assert "null" in str(caught.value) or "NUL" in str(caught.value)


@pytest.mark.parametrize("bad", ["", 5, None, 3.5, object(), ["a"], {"a": 1}])
def test_what_is_no_source(bad: object) -> None:
    with pytest.raises(InputError) as caught:
        make_source(bad)
    assert "\n" not in str(caught.value)


def test_a_home_relative_and_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(b"12")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("~/f", "f", "./f"):
        assert make_source(name).open().name == str(tmp_path / "f")


# ---------------------------------------------------------------- is it still the same?


@pytest.fixture
def opened(tmp_path: Path) -> FileSource:
    path = tmp_path / "data.bin"
    path.write_bytes(b"a" * 100)
    source = FileSource(path)
    source.open()
    assert source.unchanged()
    return source


def test_an_edit_of_the_same_size_with_the_time_set_back_is_noticed(opened: FileSource) -> None:
    path = Path(opened.path or "")
    before = path.stat()
    wait_for_next_time(path)
    with path.open("r+b") as file:
        file.write(b"b")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert not opened.unchanged()
    opened.close()


def test_growth_truncation_replacement_renaming_and_removal_are_noticed(tmp_path: Path) -> None:
    def grow(path: Path) -> None:
        with path.open("ab") as file:
            file.write(b"x")

    def replace(path: Path) -> None:
        other = path.with_name("other")
        other.write_bytes(path.read_bytes())
        os.replace(other, path)

    changes = [
        grow,
        lambda path: os.truncate(path, 10),
        replace,
        lambda path: path.rename(path.with_name("moved")),
        lambda path: path.unlink(),
    ]
    for change in changes:
        path = tmp_path / "data.bin"
        path.write_bytes(b"a" * 100)
        source = FileSource(path)
        source.open()
        change(path)
        assert not source.unchanged()
        source.close()


def test_a_source_that_ends_too_early_is_a_changed_one(opened: FileSource) -> None:
    os.truncate(opened.path or "", 50)
    with pytest.raises(SourceChanged, match="shorter"):
        whole(opened, 100)
    opened.close()


def test_a_replaced_file_is_read_as_it_was_opened(opened: FileSource) -> None:
    path = Path(opened.path or "")
    other = path.with_name("other")
    other.write_bytes(b"b" * 100)
    os.replace(other, path)
    assert whole(opened, 100) == b"a" * 100
    opened.close()


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize(
    "data",
    [b"hello", bytearray(b"hello"), memoryview(b"hello"), array.array("B", b"hello")],
    ids=lambda d: type(d).__name__,
)
def test_bytes_like_objects(data: object) -> None:
    source = make_source(data)
    assert source.open().size == 5
    assert source.path is None
    assert whole(source, 5) == b"hello"
    source.close()


def test_only_immutable_buffers_are_certainly_unchanged() -> None:
    assert make_source(b"x").unchanged()
    assert not make_source(bytearray(b"x")).unchanged()
    assert not make_source(memoryview(bytearray(b"x"))).unchanged()
    assert make_source(memoryview(bytearray(b"x")).toreadonly()).unchanged()


def test_a_buffer_of_wider_items_counts_in_bytes() -> None:
    numbers = array.array("d", [1.0, 2.0])
    source = BytesSource(numbers)
    assert source.open().size == 16
    assert whole(source, 16) == numbers.tobytes()


def test_two_buffers_are_two_sources_even_if_equally_long() -> None:
    one, two = b"one", b"two"
    assert make_source(one).open() == make_source(one).open()
    assert make_source(one).open() != make_source(two).open()


def test_a_closed_buffer_is_free_again() -> None:
    data = bytearray(b"hello")
    source = make_source(data)
    source.open()
    with pytest.raises(BufferError):
        data.append(1)
    source.close()
    data.append(1)


# ---------------------------------------------------------------- open files


def test_an_open_file_is_its_path_from_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with path.open("w+b") as file:
        file.write(b"hello")  # still in the buffer
        source = make_source(file)
        found = source.open()
    assert (found.name, found.size) == (str(path), 5)
    source.close()


def test_a_text_file_is_sent_as_the_bytes_it_has(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("grün", encoding="utf-8")
    with path.open(encoding="utf-8") as file:
        source = make_source(file)
        assert source.open().size == 5
        source.close()


def test_bytesio() -> None:
    source = make_source(io.BytesIO(b"hello"))
    assert source.open().size == 5
    assert whole(source, 5) == b"hello"


def test_an_open_file_whose_name_means_another_file_by_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, data in (("a", b"right"), ("b", b"wrong!")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.bin").write_bytes(data)
    monkeypatch.chdir(tmp_path / "a")
    with open("data.bin", "rb") as file:
        monkeypatch.chdir(tmp_path / "b")
        source = make_source(file)
        found = source.open()
        assert found.name != str(tmp_path / "b" / "data.bin")
        source.close()
