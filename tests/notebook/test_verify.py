"""%oss_verify: what was published, held against what stands there now."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ossmp_jupyter.errors import InputError, ObjectReplaced
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.notebook.rows import final_line, read_final_line
from ossmp_jupyter.notebook.verifying import receipts_of_notebook
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.progress import UploadResult
from ossmp_jupyter.transfer.published import verify
from ossmp_jupyter.transfer.verify import Published, Verdict
from tests.notebook.conftest import Shell

DATA = bytes(range(256)) * 4000


@pytest.fixture
def published(connected: Shell, folder: Path) -> Shell:
    """A shell that has published ``a.bin`` as ``oss://demo/dir/a  b.bin``."""
    (folder / "a.bin").write_bytes(DATA)
    connected.run("%oss_upload a.bin 'oss://demo/dir/a  b.bin' --ui text")
    return connected


def overwrite(data: bytes) -> None:
    manager.call(lambda client: client.put("dir/a  b.bin", data)).result(10)


def saved_notebook(folder: Path, text: str | list[str]) -> Path:
    path = folder / "report.ipynb"
    output = {"output_type": "stream", "name": "stdout", "text": text}
    cell = {
        "cell_type": "code",
        "source": "",
        "outputs": [{"output_type": "display_data", "data": {}}, output],
    }
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": "x"}, cell], "nbformat": 4}))
    return path


def test_the_receipt_says_everything_and_is_read_back(published: Shell) -> None:
    line = published.text().splitlines()[-1]
    assert re.fullmatch(
        r"oss://demo/dir/a  b\.bin  1000\.0 KiB \(1,024,000 bytes\) in [\d.]+ m?s, [\d.]+ [KMG]iB/s, 1 part, "
        r"CRC-64 \d+ verified, ETag [0-9A-F-]+, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC",
        line,
    ), line
    result = manager.uploads()[-1].result
    assert result is not None
    assert read_final_line(line) == Published.of(result)
    assert read_final_line(line.replace("a  b", "ünï 码 (3 bytes)")) is not None
    assert read_final_line("oss://demo/x  uploading") is None


def test_what_a_callback_says_is_no_receipt() -> None:
    said = "x CRC-64 99 verified, ETag evil\n  1 B (1 bytes) in 1 s, 1 part, CRC-64 98 verified, ETag evil"
    result = UploadResult("b", "a\u2028b", 5, "9C", 7, True, 0.1, 1, callback_error=said)
    (line,) = final_line(result).split("\n")
    assert read_final_line(line) == Published.of(result)
    assert read_final_line("oss://b/k" + "  a b (1 bytes) CRC-64 1 verified" * 100_000) is None  # and at once


def test_what_this_kernel_published_is_still_there(published: Shell, oss: LocalOSS) -> None:
    published.text()
    oss.journal(clear=True)
    (check,) = published.value("%oss_verify")
    assert check.verdict.value == "same"
    assert published.text().startswith(
        "same      oss://demo/dir/a  b.bin  1000.0 KiB (1,024,000 bytes), CRC-64 "
    )
    assert [entry["operation"] for entry in oss.journal()] == ["HeadObject"]
    (deep,) = published.value("%oss_verify --deep -q")
    assert deep.verdict.value == "same"
    assert [entry["operation"] for entry in oss.journal()][1:] == ["HeadObject", "GetObject"]
    assert published.text() == ""


@pytest.mark.parametrize("same_size", [True, False], ids=["same size", "other size"])
def test_another_object_stands_there(published: Shell, same_size: bool) -> None:
    overwrite(DATA[::-1] if same_size else b"short")
    error = published.fails("%oss_verify")
    assert isinstance(error, ObjectReplaced)
    expected = "its CRC-64 is" if same_size else "it has 5 B (5 bytes) now, 1,024,000 bytes were published"
    assert expected in str(error)
    assert "last modified 20" in str(error)


def test_it_is_gone(published: Shell) -> None:
    manager.call(lambda client: client.delete("dir/a  b.bin")).result(10)
    published.text()
    assert "there is no such object any more" in str(published.fails("%oss_verify 'dir/a  b.bin'"))
    assert published.text().splitlines()[0].startswith("gone      oss://demo/dir/a  b.bin")


def test_the_journal_remembers_after_the_kernel(published: Shell) -> None:
    manager.stop_engine()
    assert "has published nothing yet" in str(published.fails("%oss_verify"))
    (check,) = published.value("%oss_verify 'oss://demo/dir/a  b.bin'")
    assert check.verdict.value == "same"
    error = published.fails("%oss_verify oss://demo/never")
    assert isinstance(error, InputError)
    assert "no receipt of oss://demo/never" in str(error)


def test_a_file_against_its_object(published: Shell, folder: Path) -> None:
    (check,) = published.value("%oss_verify a.bin 'dir/a  b.bin'")
    assert check.verdict.value == "same"
    (folder / "a.bin").write_bytes(DATA[:-1] + b"!")
    assert "its CRC-64 is" in str(published.fails("%oss_verify a.bin 'dir/a  b.bin'"))
    assert "nosuch" in str(published.fails("%oss_verify nosuch oss://demo/k"))


def test_a_server_without_crc64(published: Shell, oss: LocalOSS, folder: Path) -> None:
    oss.set_faults([{"kind": "no_crc", "operation": "HeadObject", "times": None}])
    (check,) = published.value("%oss_verify")
    assert check.verdict.value == "same"
    assert "ETag" in check.words
    assert "--deep" in str(published.fails("%oss_verify a.bin 'dir/a  b.bin'"))
    (deep,) = published.value("%oss_verify a.bin 'dir/a  b.bin' --deep")
    assert deep.verdict.value == "same"


def test_a_saved_notebook_is_enough(published: Shell, folder: Path) -> None:
    printed = published.text()
    saved_notebook(folder, "an earlier receipt of the same object\n" + printed + printed)
    (check,) = published.value("%oss_verify report.ipynb")
    assert check.verdict.value == "same"
    saved_notebook(folder, printed.splitlines(keepends=True))
    overwrite(b"other")
    assert "report.ipynb" not in str(published.fails("%oss_verify report.ipynb"))


def test_a_hundred_receipts_and_one_that_is_wrong(published: Shell, folder: Path) -> None:
    result = manager.uploads()[-1].result
    assert result is not None
    lines = [final_line(result), final_line(result).replace("a  b", "c")]
    saved_notebook(folder, "\n".join(lines))
    published.text()
    error = published.fails("%oss_verify report.ipynb")
    assert str(error).startswith("1 of 2 objects cannot be confirmed: there is no such object")
    assert [line.split()[0] for line in published.text().splitlines()[:2]] == ["same", "gone"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is no notebook"),
        ("[1]", "is no notebook"),
        ("[" * 100_000, "is no notebook"),
        ('{"cells": [{"outputs": [{"text": 7}]}]}', "is no notebook"),
        ('{"cells": null}', "is no notebook"),
        ('{"cells": [{"outputs": [{"text": "hello"}]}]}', "holds no receipts"),
    ],
)
def test_what_is_no_notebook(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "x.ipynb"
    path.write_text(content)
    with pytest.raises(InputError, match=words):
        receipts_of_notebook(str(path))


def test_in_python_for_a_result_a_receipt_an_address_and_a_handle(published: Shell) -> None:
    handle = manager.uploads()[-1]
    assert handle.result is not None
    for what in (
        handle.result,
        Published.of(handle.result),
        "oss://demo/dir/a  b.bin",
        "dir/a  b.bin",
        handle,
    ):
        assert verify(what).ok
    assert "read and computed" in verify(handle, deep=True).words
    overwrite(DATA[:-1] + b"!")
    check = verify(handle.result)
    assert (check.ok, check.verdict) == (False, Verdict.CHANGED)
    assert str(check).startswith("changed   oss://demo/dir/a  b.bin  its CRC-64 is ")
    for what, words in (("oss://demo/never", "no receipt of oss://demo/never"), (5, "nothing of type int")):
        with pytest.raises(InputError, match=words):
            verify(what)  # type: ignore[arg-type]
