"""The quickstart notebook as a new user runs it: Run All, watch, click Abort."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.browser.lab import NotebookPage
from tests.browser.panel import PanelOfCell
from tests.browser.server import JupyterServer

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"


def index_of(text: str) -> int:
    cells = json.loads(QUICKSTART.read_text())["cells"]
    (found,) = (
        i for i, cell in enumerate(cells) if cell["cell_type"] == "code" and text in "".join(cell["source"])
    )
    return found


@pytest.mark.slow
def test_run_all_with_a_click_on_abort(page: NotebookPage, jupyter: JupyterServer, app: str) -> None:
    name = f"quickstart-{app}.ipynb"
    shutil.copy(QUICKSTART, jupyter.notebooks / name)
    page.open(name=name)
    page.run_all()

    upload, wait, last = index_of("--meta experiment"), index_of("nobody_clicked"), index_of("rmtree")
    panel = PanelOfCell(page, upload)
    seen = {panel.wait_percent(1)}
    while len(seen) < 4:  # the bar moves while the cell waits
        seen.add(panel.percent)
        assert page.running(upload), f"the bar was seen at {seen} only"
    page.wait_cell(upload, 60)
    panel.wait_percent(100)
    page.wait_text(upload, r"measurements\.bin.*192\.0 MiB")

    waiting = PanelOfCell(page, wait)
    page.until(waiting.row.count, 60, "the second upload is not shown")
    waiting.abort()
    page.wait_text(wait, "as asked:")

    page.wait_cell(last, 60)
    assert page.errors(wait) == []
    page.wait_text(index_of("hashlib"), "equal: SHA-256")
    page.wait_text(index_of("unfinished"), r"unfinished: \[\]")
    saved = page.save()
    ours = len(json.dumps([[c.get("outputs") for c in saved["cells"]], saved["metadata"].get("widgets", {})]))
    assert ours <= 20_000, f"{ours:,} bytes of ours in the saved file"
    code_cells = json.loads(QUICKSTART.read_text())["cells"]
    assert not [i for i, cell in enumerate(code_cells) if cell["cell_type"] == "code" and page.errors(i)]
