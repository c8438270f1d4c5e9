"""The magics in a real front end: help, names filled in, settings, errors, unloading, an async cell."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from ossmp_jupyter.localoss import LocalOSS
from tests.browser.lab import NotebookPage
from tests.browser.panel import PanelOfCell
from tests.browser.test_clicks import stored, uploads

MIB = 1 << 20
ASYNC = "h = upload('my data.bin', 'oss://demo/async.bin', part_size='256KiB')\nresult = await h"


def test_help_names_settings_errors_and_unloading(
    page: NotebookPage, oss: LocalOSS, setup_cell: Callable[[], str], tmp_path: Path
) -> None:
    (tmp_path / "my data.bin").write_bytes(os.urandom(MIB))
    cells = [
        f"{setup_cell()}\nos.chdir({str(tmp_path)!r})\nyear, name = 2026, 'my data.bin'",
        "%oss_upload?",
        "%oss_upload --help",
        "%config OssMagics",
        "%oss_upload {name} $year/{name.upper()}",
        "%oss_upload {nobody} key",
        "%oss_upload nosuch.bin key",
        "%oss_upload {name} oss://no-such-bucket/key",
        "%oss_uploads",
        "%reload_ext ossmp_jupyter",
        "%unload_ext ossmp_jupyter",
        "import threading\n"
        "for _ in range(200):  # as long as a slow machine needs\n"
        "    left = [t.name for t in threading.enumerate() if 'ossmp' in t.name]\n"
        "    if not left: break\n"
        "    threading.Event().wait(0.1)\n"
        "print(left, get_ipython().find_line_magic('oss_head'))",
    ]
    page.open(cells)
    for i in range(len(cells)):
        page.run(i)
        page.wait_cell(i)
    for i, words in ((1, "--storage-class"), (2, "--storage-class"), (3, "OssMagics.part_size=")):
        page.wait_text(i, words)
    assert stored(oss, "2026/MY DATA.BIN") == (tmp_path / "my data.bin").read_bytes()
    for i, words in (
        (5, "cannot fill in {nobody}: name 'nobody' is not defined; write {{ and }}"),
        (6, "nosuch.bin"),
        (6, "→ the working directory is"),
        (7, "there is no bucket no-such-bucket"),
        (7, "→ check the bucket's name and region, or create it"),
    ):
        page.wait_text(i, re.escape(words))
        said = page.text(i)
        assert "Traceback" not in said and "ossmp_jupyter/" not in said, said
    page.until(lambda: PanelOfCell(page, 8).is_table or "my data.bin" in page.text(8), 20, "no list")
    page.wait_text(11, re.escape("[] None"))
    for i in (4, 7, 8):
        assert "Error displaying" not in page.text(i) and "Loading widget" not in page.text(i), page.text(i)


def test_buttons_while_an_async_cell_waits(
    page: NotebookPage, oss: LocalOSS, setup_cell: Callable[[], str], tmp_path: Path
) -> None:
    source = tmp_path / "my data.bin"
    source.write_bytes(os.urandom(4 * MIB))
    begin = f"{setup_cell()}\nos.chdir({str(tmp_path)!r})\nfrom ossmp_jupyter import upload"
    page.open([begin, "%oss_uploads", ASYNC, "print('next cell')"])
    for i in (0, 1):
        page.run(i)
        page.wait_cell(i)
    oss.set_bandwidth("200KB/s")
    page.run(2)
    panel = PanelOfCell(page, 1)
    panel.wait_percent(5)
    panel.select()
    panel.click("Pause")
    panel.wait_state("paused")
    page.run(3)  # comes after it
    page.until(lambda: page.running(3), 20, "the next cell is not queued")
    page.sleep(0.5)
    assert page.running(2) and page.running(3)
    page.interrupt()  # a paused upload stays paused
    page.wait_cell(2)
    assert page.errors(2), "the stop button did not end the cell"
    assert len(uploads(oss)) == 1

    page.run(2)
    page.until(lambda: page.running(2), 20, "not started again")
    panel.wait_state("uploading")
    panel.abort()
    page.until(lambda: [name for name, _ in page.errors(2)] == ["UploadAborted"], 30, "not aborted")
    assert uploads(oss) == []
    oss.set_bandwidth(None)
    page.run(2)
    page.wait_cell(2)
    assert page.errors(2) == []
    assert stored(oss, "async.bin") == source.read_bytes()
