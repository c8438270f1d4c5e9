"""What a notebook shows when it is opened again and its kernel is gone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter

from ossmp_jupyter.localoss import LocalOSS
from tests.browser.lab import Browser, NotebookPage
from tests.browser.panel import PanelOfCell
from tests.browser.server import JupyterServer

MIB = 1 << 20
SOON = "\nfrom ossmp_jupyter.notebook import session\nsession.TABLE_AFTER = 1.0"


def test_opened_again_without_its_kernel(
    page: NotebookPage,
    jupyter: JupyterServer,
    browser: Browser,
    app: str,
    oss: LocalOSS,
    setup_cell: Callable[[], str],
    tmp_path: Path,
) -> None:
    source = tmp_path / "big.bin"
    source.write_bytes(os.urandom(4 * MIB))
    name = f"stays-{app}.ipynb"
    page.open(
        [
            setup_cell() + SOON,
            f"%oss_upload {source} oss://demo/first.bin",
            "%oss_uploads",
            f"%oss_upload {source} oss://demo/second.bin -b --part-size 128KiB",
            f"%oss_verify {name}",
        ],
        name,
    )
    for i in range(3):
        page.run(i)
        page.wait_cell(i)
    # a published upload: its panel becomes a table once nobody has clicked for a while
    published = PanelOfCell(page, 1)
    page.until(lambda: published.is_table, 40, "the panel did not become a table")
    page.wait_text(1, "CRC-64")
    page.until(PanelOfCell(page, 2).root.count, 20, "the list of all uploads does not stay alive")

    # one that runs, and the list: tables when the kernel is shut down
    oss.set_bandwidth("200KB/s")
    page.run(3)
    running = PanelOfCell(page, 3)
    running.wait_percent(10)
    page.js("jupyterapp.shell.currentWidget.sessionContext.shutdown().then(() => true)")
    page.wait_text(3, "This panel has ended. Run the upload again")
    saved = page.save()
    ours = len(json.dumps([[c["outputs"] for c in saved["cells"]], saved["metadata"].get("widgets", {})]))
    assert ours <= 20_000, f"{ours:,} bytes of ours in the saved file"
    exported, _ = HTMLExporter().from_notebook_node(nbformat.reads(json.dumps(saved), as_version=4))
    assert "CRC-64" in exported and "This panel has ended" in exported
    page.page.close()

    later = NotebookPage(jupyter, browser, app)
    try:
        later.page.goto(
            f"{jupyter.url}/{'lab/tree' if app == 'lab' else 'notebooks'}/{page.name}?token={jupyter.token}"
        )
        later.wait_text(1, "first.bin", 60)
        later.wait_text(3, "This panel has ended")
        later.sleep(2)
        for i, words in ((1, "done"), (2, "done"), (3, "This panel has ended")):
            shown = later.text(i)
            assert words in shown and "oss://demo/" in shown, shown
            assert "model not found" not in shown and "Loading widget" not in shown, shown

        # the receipt, in a new kernel, from the saved file
        oss.set_bandwidth(None)
        later.wait_idle()
        for i in (0, 4):
            later.run(i)
            later.wait_cell(i)
        later.wait_text(4, "same      oss://demo/first.bin")
    finally:
        later.close()
