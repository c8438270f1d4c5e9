"""Tab in real front ends: what a key press makes of a magic's line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ossmp_jupyter.localoss import LocalOSS
from tests.browser.lab import NotebookPage
from tests.browser.test_clicks import ask


def test_tab_completes_a_magics_line(
    page: NotebookPage, oss: LocalOSS, setup_cell: Callable[[], str], tmp_path: Path
) -> None:
    for name in ("my data.bin", "other.bin"):
        (tmp_path / name).write_bytes(os.urandom(1000))
    left = ask(oss, lambda client: client.init_multipart_upload("left/behind.bin"))
    unfinished = str(left.upload_id)  # type: ignore[attr-defined]
    lines = [setup_cell(), f"os.chdir({str(tmp_path)!r})", "%oss_upload other.bin folder/other.bin -q"]
    begin = "\n".join([*lines, "%oss_uploads --ui none"])
    page.open([begin, ""])
    page.run(0)
    page.wait_cell(0)
    editor = page.cell(1).locator(".cm-content")

    def line() -> str:
        return editor.inner_text().strip()

    offered = page.page.locator(".jp-Completer-item:visible .jp-Completer-match")

    def tab(text: str, offers: list[str]) -> None:
        editor.click()
        page.page.keyboard.press("Control+a")
        page.page.keyboard.press("Delete")
        page.page.keyboard.type(text)
        page.page.keyboard.press("Tab")
        # JupyterLab adds words of the cell below ours
        page.until(
            lambda: offered.all_inner_texts()[: len(offers)] == offers, 30, f"{offers} are not offered"
        )

    for text, offers, chosen in (
        ('%oss_upload "my d', ['"my data.bin"'], '%oss_upload "my data.bin"'),
        ("%oss_upload my", ["my\\ data.bin"], "%oss_upload my\\ data.bin"),
        ("%oss_upload other.bin oss:/", ["oss://demo/"], "%oss_upload other.bin oss://demo/"),
        ("%oss_upload o k --storage-c", ["--storage-class"], "%oss_upload o k --storage-class"),
        ("%oss_head oss://de", ["oss://demo/"], "%oss_head oss://demo/"),
        ("%oss_head folder/oth", ["folder/other.bin"], "%oss_head folder/other.bin"),
        (f"%oss_parts {unfinished[:4]}", [unfinished], f"%oss_parts {unfinished}"),
        ("%oss_upload o k --ui ", ["auto", "none", "text", "widget"], "%oss_upload o k --ui auto"),
    ):
        tab(text, offers)
        page.page.keyboard.press("Enter")
        page.until(lambda chosen=chosen: line() == chosen, 20, f"{text} became {line()}")

    # JupyterLab's own words may stand above ours: a choice of ours still fits
    tab("%oss_head folder/o", ["oss_head", "folder/other.bin"])
    page.page.keyboard.press("ArrowDown")
    page.page.keyboard.press("Enter")
    page.until(lambda: line() == "%oss_head folder/other.bin", 20, f"it became {line()}")
