"""Whole notebooks run by nbclient, with nobody looking: what they print, when they stop, what they keep."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from ossmp_jupyter.localoss import LocalOSS
from tests.kernels import run_notebook

SETUP = "%load_ext ossmp_jupyter\n%oss_connect"
MB = 1 << 20


@pytest.fixture
def oss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalOSS]:
    (tmp_path / "data.bin").write_bytes(os.urandom(4 * MB))
    with LocalOSS() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("OSSMP_STATE_DIR", str(tmp_path / "state"))
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
        yield server


def run(folder: Path, *cells: str, may_fail: bool = False) -> Any:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in (SETUP, *cells)])
    run_notebook(notebook, folder, allow_errors=may_fail)
    return notebook


def streams(cell: Any) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def errors(cell: Any) -> list[Any]:
    return [output for output in cell.outputs if output.output_type == "error"]


def test_a_list_that_came_first_keeps_what_came_later(oss: LocalOSS, tmp_path: Path) -> None:
    (tmp_path / "more.bin").write_bytes(os.urandom(MB))
    lists = ["%oss_uploads"] * 6
    notebook = run(tmp_path, *lists, "%oss_upload data.bin first", "%oss_upload more.bin second")
    shown = [cell.outputs[0].data["text/plain"] for cell in notebook.cells[1 : 1 + len(lists)]]
    assert [text.count("done, verified") for text in shown] == [0, 0, 2, 2, 2, 2], shown
    assert shown[0].startswith("no uploads")


def test_the_saved_notebook_shows_the_final_state(oss: LocalOSS, tmp_path: Path) -> None:
    notebook = run(tmp_path, "%oss_upload data.bin k", "%oss_uploads")
    upload = notebook.cells[1]
    (shown,) = (output.data for output in upload.outputs if output.output_type == "display_data")
    for form in ("text/plain", "text/html"):
        assert "done, verified" in shown[form]
        assert "oss://demo/k" in shown[form]
    (line,) = streams(upload).splitlines()
    assert line.startswith("oss://demo/k  4.0 MiB (4,194,304 bytes) in ")
    assert "verified, ETag" in line
    assert not errors(upload)
    assert not any("<UploadResult " in str(cell.outputs) for cell in notebook.cells)
    ours = [[cell.outputs for cell in notebook.cells], notebook.metadata.widgets]
    assert len(json.dumps(ours)) <= 20_000


def test_a_slow_upload_says_where_it_is_without_a_page(oss: LocalOSS, tmp_path: Path) -> None:
    oss.set_bandwidth("700kB/s")
    notebook = run(tmp_path, "%oss_upload data.bin k --part-size 128KiB")
    lines = streams(notebook.cells[1]).splitlines()
    assert len(lines) == 2, lines
    assert lines[0].startswith("data.bin: ")
    assert " of 4.0 MiB" in lines[0]


def test_text_and_none(oss: LocalOSS, tmp_path: Path) -> None:
    notebook = run(tmp_path, "%oss_upload data.bin k --ui text", "%oss_upload data.bin k2 --ui none -q")
    assert all(output.output_type == "stream" for output in notebook.cells[1].outputs)
    assert notebook.cells[2].outputs == []
    assert "widgets" not in notebook.metadata


UNTIL_DONE = "import time\nwhile not h.future.done():\n    time.sleep(0.01)\ntime.sleep(0.5)"


@pytest.mark.parametrize("then", ["%oss_wait", UNTIL_DONE], ids=["wait", "any-cell"])
def test_background_cells_keep_the_final_state_too(oss: LocalOSS, tmp_path: Path, then: str) -> None:
    notebook = run(tmp_path, "h = %oss_upload data.bin k -b", then)
    (shown,) = (output.data for output in notebook.cells[1].outputs if output.output_type == "display_data")
    assert "done, verified" in shown["text/plain"]
    if then == "%oss_wait":
        assert "verified, ETag" in streams(notebook.cells[2])


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("%oss_upload data.bin oss://no-such-bucket/k", "NoSuchBucket"),
        ("%oss_upload nosuch.bin k", "SourceNotReadable"),
        ("%oss_upload data.bin k --partsize 1", "UsageError"),
        ("h = %oss_upload data.bin oss://no-such-bucket/k -b\n%oss_wait {h.id}", "NoSuchBucket"),
    ],
)
def test_a_failure_stops_the_notebook(oss: LocalOSS, tmp_path: Path, cell: str, name: str) -> None:
    with pytest.raises(CellExecutionError) as stopped:
        run(tmp_path, cell, "raise SystemError('the next cell ran')")
    assert stopped.value.ename == name
    assert "the next cell ran" not in str(stopped.value)


def test_a_failure_is_a_few_lines_in_the_saved_file(oss: LocalOSS, tmp_path: Path) -> None:
    notebook = run(tmp_path, "%oss_upload data.bin oss://no-such-bucket/k", may_fail=True)
    (error,) = errors(notebook.cells[1])
    lines = "\n".join(error.traceback).splitlines()
    assert len(lines) <= 5
    assert lines[0].startswith("NoSuchBucket: ")
    assert any("request ID" in line for line in lines)
    assert oss.access_key_secret not in json.dumps(notebook)


def test_no_secret_in_a_notebook_or_on_disk(oss: LocalOSS, tmp_path: Path) -> None:
    notebook = run(
        tmp_path,
        "from ossmp_jupyter import connect, set_default_connection\nconnect()",
        "%oss_upload data.bin k",
        "h = %oss_upload data.bin k2 -b\nh",
        "%oss_wait",
        "%config OssMagics",
    )
    written = json.dumps(notebook) + "".join(p.read_text() for p in (tmp_path / "state").rglob("*.jsonl"))
    assert oss.access_key_secret not in written
