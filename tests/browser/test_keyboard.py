"""The panel without a mouse and without eyes: keys, focus, names and what a screen reader is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from ossmp_jupyter.localoss import LocalOSS
from tests.browser.lab import NotebookPage
from tests.browser.panel import PanelOfCell
from tests.browser.test_clicks import ask, uploads

MIB = 1 << 20
NAMES = ("apples.csv", "bananas.csv", "cherries.csv")

FOCUS = """() => {
const el = document.activeElement, style = getComputedStyle(el);
if (!el.closest(".ossmp-panel")) return ["outside", true];
const drawn = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
return [el.ariaLabel || el.textContent || el.className, drawn && el.matches(":focus-visible")];
}"""
CHATTER = """(panel) => {
globalThis.chatter = [];
const watch = new MutationObserver((list) => chatter.push(...list.map((one) => one.target.textContent)));
for (const el of panel.querySelectorAll("[aria-live], [role=status], [role=alert], [role=log]"))
  watch.observe(el, { childList: true, characterData: true, subtree: true });
}"""

TREE = """
- group "Actions on the selected upload":
  - button "Upload files…"
  - button "Abort"
  - button "List parts"
  - button "Pause" [disabled]
  - button "Resume"
  - button "Pause all"
  - button "Resume all"
  - searchbox "Filter"
  - combobox "Sort by":
    - option "newest" [selected]
    - option "name"
    - option "state"
    - option "progress"
- group "Abort?":
  - text: Abort apples.csv and delete what was sent?
  - button "Yes, abort"
  - button "Keep"
- table "Uploads":
  - rowgroup:
    - row:
      - columnheader "Selected"
      - columnheader "Upload"
      - columnheader "State"
      - columnheader "Progress"
      - columnheader "Speed"
      - columnheader "Parts"
      - columnheader "Upload ID"
  - rowgroup:
    - row:
      - cell:
        - radio "Select cherries.csv, uploading"
      - cell "cherries.csv → oss://demo/fruit/cherries.csv"
      - cell "uploading"
      - cell:
        - progressbar "cherries.csv"
  - rowgroup:
    - row:
      - cell:
        - radio "Select bananas.csv, uploading"
  - rowgroup:
    - row:
      - cell:
        - radio "Select apples.csv, paused" [checked]
  - rowgroup:
    - row:
      - cell:
        - radio /Select oss:..demo.left.behind.tar, unfinished for .*/
- status: Paused apples.csv; everything sent is kept.
"""


class Keys:
    """A person who only types."""

    def __init__(self, page: NotebookPage) -> None:
        self.page = page

    def __call__(self, *keys: str) -> None:
        for key in keys:
            self.page.page.keyboard.press(key)

    def focused(self) -> str:
        """What has the focus; it must be seen."""
        name, ring = self.page.js(FOCUS)
        assert ring, f"the focus on {name!r} is not to be seen"
        return str(name)

    def wait(self, name: str) -> None:
        try:
            self.page.until(lambda: self.focused().startswith(name), 20, "")
        except TimeoutError:
            raise AssertionError(f"{self.focused()!r} has the focus and not {name!r}") from None

    def tab_to(self, name: str, key: str = "Tab") -> None:
        """Press Tab until it is there."""
        passed: list[str] = []
        for _ in range(60):
            if self.focused().startswith(name):
                return
            passed.append(self.focused())
            self(key)
        raise AssertionError(f"no {name!r} among {passed}")

    def back_to(self, name: str) -> None:
        self.tab_to(name, "Shift+Tab")


@pytest.fixture
def panel(page: NotebookPage, oss: LocalOSS, setup_cell: Callable[[], str], tmp_path: Path) -> PanelOfCell:
    """Three uploads over a slow line, and one that somebody left in the bucket."""
    for name in NAMES:
        (tmp_path / name).write_bytes(os.urandom(8 * MIB))
    ask(oss, lambda client: client.init_multipart_upload("left/behind.tar"))
    oss.set_bandwidth("400KB/s")  # all three move until the test is over, also on a slow machine
    cells = [
        f"%oss_upload {tmp_path / name} oss://demo/fruit/ --part-size 128KiB --parallel 3 -b -q"
        for name in NAMES
    ]
    page.open([setup_cell(), "\n".join(cells), "%oss_uploads", "'the last cell'"])
    for cell in range(3):
        page.run(cell)
        page.wait_cell(cell)
    shown = PanelOfCell(page, 2, NAMES[0])
    shown.wait_percent(2)
    shown.root.get_by_role("button", name="Upload files…").wait_for()
    return shown


def sources(page: NotebookPage) -> Any:
    cells = "window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells"
    return page.js(f"{cells}.map((cell) => cell.getSource())")


def test_everything_by_keys(page: NotebookPage, panel: PanelOfCell, oss: LocalOSS) -> None:
    keys, before = Keys(page), sources(page)
    page.cell(2).locator(".jp-InputPrompt").click()  # command mode: single letters are commands
    keys("Escape")
    keys.tab_to("Upload files…")

    # choose an upload
    keys.tab_to("Select cherries.csv")
    keys("ArrowDown")
    keys.wait("Select bananas.csv")
    keys("ArrowDown")
    keys.wait("Select apples.csv")
    assert panel.row.get_by_role("radio").is_checked()

    # details, there and back
    keys.back_to("List parts")
    keys("Enter")
    panel.root.locator("canvas").wait_for()
    keys.tab_to("Close")
    keys("Space")
    keys.wait("List parts")
    assert not panel.root.locator("canvas").is_visible()

    # pause and resume: the focus goes to the button that undoes it
    keys("Tab")
    keys.wait("Pause")
    keys("Space")
    panel.wait_state("paused")
    keys.wait("Resume")
    keys("Enter")
    panel.wait_state("uploading")
    keys.wait("Pause")

    # filter: letters are letters, Escape clears
    keys.tab_to("Filter")
    page.page.keyboard.type("ddab xbananas")
    assert panel.root.get_by_role("searchbox").input_value() == "ddab xbananas"
    keys("Escape")
    assert panel.root.get_by_role("searchbox").input_value() == ""
    keys.wait("Filter")
    page.page.keyboard.type("banan")
    page.until(lambda: "1 of 4 uploads shown" in panel.root.inner_text(), 20, "the filter says nothing")
    assert panel.of("bananas.csv").row.get_by_role("radio").is_checked(), "what is chosen cannot be seen"
    keys("Escape", "Tab")
    keys.wait("Sort by")
    keys("ArrowDown")
    assert panel.root.get_by_label("Sort by").input_value() == "name"

    # abort: first no, then yes
    keys.back_to("Abort")
    keys("Enter")
    keys.wait("Keep")
    keys("Escape")
    keys.wait("Abort")
    keys("Enter")
    keys.wait("Keep")
    keys("Shift+Tab")
    keys.wait("Yes, abort")
    keys("Enter")
    panel.of("bananas.csv").wait_state("aborted")
    keys.wait("Select bananas.csv")

    # a row that vanishes hands the focus to the one chosen next
    keys("ArrowDown", "ArrowDown", "ArrowDown")
    while not keys.focused().startswith("Select oss://demo/left/behind.tar"):
        keys("ArrowDown")
    keys.back_to("Abort")
    keys("Enter", "Shift+Tab", "Enter")
    page.until(lambda: len(uploads(oss)) == 2, 30, "the upload that was left is not aborted")
    page.until(lambda: panel.of("behind.tar").row.count() == 0, 30, "its row stays")
    keys.wait("Select ")

    assert sources(page) == before, "the notebook took keys that were meant for the panel"
    assert page.prompt(3) == "[ ]:", "a cell ran"


def test_what_a_screen_reader_is_told(page: NotebookPage, panel: PanelOfCell, oss: LocalOSS) -> None:
    panel.root.evaluate(CHATTER)
    at = panel.percent
    panel.wait_percent(at + 4)
    assert page.js("chatter") == [], "every step of an upload is spoken"
    bar = panel.root.get_by_role("progressbar", name="apples.csv")
    assert int(bar.get_attribute("aria-valuenow") or 0) >= at + 4
    said = bar.get_attribute("aria-valuetext") or ""
    assert " %, " in said and "B / 8.0 MiB" in said, said

    panel.select()
    panel.click("Pause")
    panel.wait_state("paused")
    page.until(lambda: page.js("chatter"), 20, "a click is not answered")
    assert set(page.js("chatter")) == {"Paused apples.csv; everything sent is kept."}
    panel.click("Abort")
    expect(panel.root).to_match_aria_snapshot(TREE, timeout=20_000)
