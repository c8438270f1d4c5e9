"""Several files, patterns and folders: what is uploaded where, and how the end looks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from IPython.core.formatters import HTMLFormatter

from ossmp_jupyter.errors import AccessDenied, InputError, SourceNotReadable
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.notebook.gathering import gather
from ossmp_jupyter.notebook.results import UploadResults
from ossmp_jupyter.transfer import manager
from tests.notebook.conftest import Shell


@pytest.fixture
def tree(folder: Path) -> Path:
    for name in ("a.csv", "b c.csv", "run/a.csv", "run/sub/b.csv", "run/sub/.hidden", "other/a.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.urandom(1000))
    (folder / "empty").mkdir()
    return folder


def keys(oss: LocalOSS, prefix: str) -> list[str]:
    found = (name.removeprefix("demo/") for name in oss.snapshot()["objects"])
    return sorted(key.removeprefix(prefix) for key in found if key.startswith(prefix))


def test_a_pattern_and_a_folder(connected: Shell, oss: LocalOSS, tree: Path) -> None:
    results = connected.value("%oss_upload *.csv oss://demo/pattern/ -q")
    assert keys(oss, "pattern/") == ["a.csv", "b c.csv"]
    assert [result.key for result in results] == ["pattern/a.csv", "pattern/b c.csv"]
    connected.run("%oss_upload -r run folder/ -q")
    assert keys(oss, "folder/") == ["a.csv", "sub/.hidden", "sub/b.csv"]
    connected.run("%oss_upload *.csv run/**/b* deep/ -q")
    assert keys(oss, "deep/") == ["a.csv", "b c.csv", "b.csv"]
    (tree / "[1].csv").write_bytes(b"x")  # a file's own name goes before the pattern it looks like
    connected.run("%oss_upload [1].csv named/ -q")
    assert keys(oss, "named/") == ["[1].csv"]


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ("run dest/", SourceNotReadable, ["is a directory", "-r FOLDER"]),
        ("-r empty dest/", SourceNotReadable, ["no file in empty"]),
        ("*.parquet dest/", SourceNotReadable, ["no file matches *.parquet", "working directory"]),
        ("-r run dest", InputError, ["'dest'", "ends in /", "write dest/"]),
        ("-r run other dest/", InputError, ["run/a.csv and other/a.csv", "dest/a.csv"]),
        ("a.csv a.csv dest/", InputError, ["would both become"]),
        ("a.csv oss://demo/a oss://demo/b", InputError, ["'oss://demo/a'", "one destination"]),
        ("oss://demo/a", InputError, ["a source is missing"]),
        ("a.csv 'b c.csv' dest/ --checkpoint one", InputError, ["2 uploads", "--checkpoint"]),
    ],
)
def test_what_is_refused_before_anything_starts(
    connected: Shell, oss: LocalOSS, tree: Path, line: str, kind: type[Exception], words: list[str]
) -> None:
    before = oss.snapshot()
    error = connected.fails(f"%oss_upload {line}")
    assert isinstance(error, kind), repr(error)
    assert all(word in str(error) for word in words), str(error)
    assert oss.snapshot() == before
    assert manager.uploads() == []


def test_too_many_and_what_cannot_be_looked_into(tree: Path) -> None:
    for number in range(201):
        (tree / "empty" / f"{number}").touch()
    with pytest.raises(InputError, match="more than 200 files; pack them into one archive"):
        gather([str(tree / "empty"), "dest/"], recursive=True)
    (tree / "run" / "link").symlink_to(tree / "other")
    (tree / "run" / ".ipynb_checkpoints").mkdir()
    (tree / "run" / ".ipynb_checkpoints" / "copy.ipynb").touch()
    found = gather([str(tree / "run"), "dest/"], recursive=True)
    assert not any("copy.ipynb" in source for source, _ in found.pairs)
    assert [note.rpartition("run/")[2] for note in found.notes] == [
        ".ipynb_checkpoints was left out",
        "link is a link to a folder and was left out",
    ]


def test_the_end_is_a_receipt_of_each_and_a_total(connected: Shell, tree: Path) -> None:
    connected.run("%oss_upload a.csv 'b c.csv' oss://demo/end/ --ui none")
    lines = connected.text().splitlines()
    assert [line.partition("  ")[0] for line in lines[:2]] == [
        "oss://demo/end/a.csv",
        "oss://demo/end/b c.csv",
    ]
    assert lines[2].startswith("2 uploads done, 2.0 KiB in ") and lines[2].endswith(", verified")
    assert len(lines) == 3
    results = connected.value("%oss_upload a.csv 'b c.csv' oss://demo/end/ --ui none")
    assert connected.text().splitlines()[-1] == "2 uploads done, 2.0 KiB, 2 published already, verified"
    assert isinstance(results, UploadResults)
    table = repr(results).splitlines()
    assert table[0].split() == ["Object", "Size", "Time", "Speed", "State"]
    assert "oss://demo/end/b c.csv" in table[2] and "verified, nothing sent" in table[2]
    page = results._repr_html_()
    assert page.count("<tr>") == 4 and "2 uploads done" in page
    assert len(page) < 1000  # it may stay in a saved notebook


def test_one_failure_tells_of_all_and_raises(connected: Shell, oss: LocalOSS, tree: Path) -> None:
    (tree / "big.bin").write_bytes(os.urandom(300_000))
    oss.set_faults([{"operation": "UploadPart", "kind": "error", "status": 403, "code": "AccessDenied",
                     "times": None}])  # fmt: skip
    error = connected.fails("%oss_upload a.csv big.bin fails/ -o handles --ui none")
    assert isinstance(error, AccessDenied)
    lines = connected.text().splitlines()
    assert lines[0].startswith("oss://demo/fails/a.csv  1000 B")
    assert lines[1].startswith("big.bin → oss://demo/fails/big.bin  failed: ")
    assert "%oss_resume u" in lines[1]
    assert lines[2].startswith("1 of 2 uploads done, 1000 B in ") and lines[2].endswith("; 1 failed")
    assert "Traceback" not in "\n".join(lines)
    assert [handle.state.value for handle in connected.ip.user_ns["handles"]] == ["done", "failed"]


def test_a_result_is_a_table_on_a_page_and_a_line_in_a_terminal(connected: Shell, tree: Path) -> None:
    result = connected.value("%oss_upload a.csv 'x<b>.csv' -q")
    assert connected.ip.display_formatter is not None
    html = connected.ip.display_formatter.formatters["text/html"]
    assert isinstance(html, HTMLFormatter)
    page = html(result)
    for text in (
        "oss://demo/x&lt;b&gt;.csv",
        "1000 B (1,000 bytes)",
        f"{result.crc64} verified",
        result.etag,
        "UTC",
    ):
        assert text in page
    assert repr(result).startswith("<UploadResult oss://demo/x<b>.csv: 1000 B")
    connected.run("%unload_ext ossmp_jupyter")
    assert html(result) is None
