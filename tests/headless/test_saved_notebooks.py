"""Notebooks without a front end: nbclient, nbconvert and papermill; and what stays in the saved file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter, MarkdownExporter

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.notebook.verifying import receipts_of_notebook
from tests.browser.lab import notebook_json
from tests.kernels import OUTPUT_SECONDS, own_sockets, run_notebook, run_papermill

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
FINAL_LINE = r"quickstart/measurements\.bin.*192\.0 MiB.* in .*/s"


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def plain_text(cell: Any) -> str:
    """What GitHub or a diff shows of a cell's output."""
    pieces = []
    for output in cell.outputs:
        pieces.append(output.get("text") or output.get("data", {}).get("text/plain", ""))
        pieces.append(" ".join([output.get("ename", ""), output.get("evalue", "")]))
    return "\n".join(pieces)


def cell_with(notebook: Any, text: str) -> Any:
    (cell,) = (cell for cell in code_cells(notebook) if text in cell.source)
    return cell


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The quickstart, run from top to bottom by nbclient with nobody there to click."""
    notebook = nbformat.read(QUICKSTART, as_version=4)
    folder = tmp_path_factory.mktemp("quickstart")
    run_notebook(notebook, folder, timeout=100)
    nbformat.write(notebook, folder / "saved.ipynb")
    return nbformat.read(folder / "saved.ipynb", as_version=4)


def test_the_quickstart_is_stored_without_outputs() -> None:
    notebook = nbformat.read(QUICKSTART, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.outputs or cell.execution_count for cell in code_cells(notebook))
    assert "widgets" not in notebook.metadata


@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.xdist_group("quickstart")
def test_the_quickstart_runs_headless(finished: Any) -> None:
    texts = {cell.source: plain_text(cell) for cell in code_cells(finished)}
    everything = "\n".join(texts.values())
    assert "equal: SHA-256" in everything
    assert "unfinished: []" in everything
    assert "objects: ['quickstart/measurements.bin']" in everything
    assert "as asked:" in plain_text(cell_with(finished, "nobody_clicked"))
    assert re.search(r"experiment\W+7", plain_text(cell_with(finished, "%oss_head")))


@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.xdist_group("quickstart")
def test_the_saved_quickstart_is_readable_and_small(finished: Any) -> None:
    upload = plain_text(cell_with(finished, "--meta experiment"))
    assert re.search(FINAL_LINE, upload), upload
    assert "Widget(" not in upload
    assert "View(" not in upload

    outputs = [output for cell in code_cells(finished) for output in cell.outputs]
    size = len(json.dumps([outputs, finished.metadata.get("widgets", {})]))
    assert size <= 20_000, f"{size:,} bytes of ours in the saved file"

    for exporter in (HTMLExporter(), MarkdownExporter()):
        exported, _ = exporter.from_notebook_node(finished)
        assert re.search(FINAL_LINE, re.sub(r"<[^>]*>", "", exported)), exporter


@pytest.fixture
def failing(tmp_path: Path) -> Any:
    """A notebook whose third cell cannot succeed, against an embedded OSS of its own."""
    (tmp_path / "data.bin").write_bytes(bytes(300_000))
    with LocalOSS(buckets=("demo",)) as oss:
        variables = {**oss.environment(), "OSSMP_STATE_DIR": str(tmp_path / "state")}
        cells = [
            f"import os\nos.environ.update({variables!r})\n%load_ext ossmp_jupyter\n%oss_connect oss://demo",
            "%oss_upload data.bin oss://demo/kept.bin",
            "%oss_upload data.bin oss://no-such-bucket/data.bin",
            "print('next ' + 'cell')",
        ]
        (tmp_path / "failing.ipynb").write_text(json.dumps(notebook_json(cells)))
        yield tmp_path / "failing.ipynb"


def test_nbclient_stops_at_a_failed_upload(failing: Path) -> None:
    notebook = nbformat.read(failing, as_version=4)
    with pytest.raises(CellExecutionError, match="NoSuchBucket"):
        run_notebook(notebook, failing.parent)
    assert code_cells(notebook)[3].outputs == []
    nbformat.write(notebook, failing)
    keeps_the_final_state(failing)


def test_papermill_stops_at_a_failed_upload(failing: Path) -> None:
    done = failing.with_name("out.ipynb")
    with pytest.raises(papermill.PapermillExecutionError) as failure:
        run_papermill(failing, done, failing.parent)
    assert failure.value.ename == "NoSuchBucket"
    assert "no-such-bucket" in failure.value.evalue
    assert "next cell" not in done.read_text()
    keeps_the_final_state(done)


@pytest.mark.timeout(220)
def test_nbconvert_stops_at_a_failed_upload(failing: Path) -> None:
    done = failing.with_name("out.ipynb")

    def convert(*more: str) -> subprocess.CompletedProcess[str]:
        command = ["-m", "nbconvert", "--execute", "--to", "notebook", "--output", done.name, *more]
        command.append(f"--ExecutePreprocessor.iopub_timeout={OUTPUT_SECONDS}")
        with own_sockets() as sockets:
            command += [f"--KernelManager.{name}={value}" for name, value in sockets.items()]
            return subprocess.run(
                [sys.executable, *command, str(failing)],
                capture_output=True, text=True, check=False, timeout=100,
            )  # fmt: skip

    told = convert()
    assert told.returncode != 0 and "NoSuchBucket: " in told.stderr
    assert not done.exists()
    told = convert("--allow-errors")
    assert told.returncode == 0, told.stderr
    keeps_the_final_state(done)


def keeps_the_final_state(path: Path) -> None:
    """What was published before the failure, and the failure, stand in the file; the receipts can be read."""
    _, kept, failed, _ = code_cells(nbformat.read(path, as_version=4))
    assert "done, verified" in plain_text(kept) and "oss://demo/kept.bin" in plain_text(kept)
    assert "NoSuchBucket" in plain_text(failed)
    (receipt,) = receipts_of_notebook(str(path))
    assert receipt.address == "oss://demo/kept.bin"
