"""What the panel shows beyond the table: the map of parts, the speed, all at once; and pictures of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import httpx
from playwright.sync_api import Locator

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.notebook.links import link_end
from tests.browser.lab import NotebookPage
from tests.browser.panel import PanelOfCell

MIB = 1 << 20
GALLERY = os.environ.get("OSSMP_GALLERY")  # a folder: the pictures of docs/gallery.md are written there
SHOWN = (Path(__file__).parents[2] / "docs" / "gallery.md").read_text(encoding="utf-8")
WIDGET_STATE = "import ipywidgets\nprint([w.get_state() for w in ipywidgets.Widget.widgets.values()])"


def picture(what: Locator, name: str) -> None:
    """Take the picture that the gallery shows under this name, when pictures are wanted."""
    if GALLERY and f"images/{name}.png" in SHOWN:
        what.scroll_into_view_if_needed()
        what.screenshot(path=str(Path(GALLERY, f"{name}.png")))


def test_details_and_all_at_once(
    page: NotebookPage, app: str, oss: LocalOSS, setup_cell: Callable[[], str], tmp_path: Path
) -> None:
    names = ["measurements.parquet", "weights.safetensors", "night sky.tiff"]
    for name in names:
        (tmp_path / name).write_bytes(os.urandom(24 * MIB))
    oss.set_bandwidth("1500KB/s")
    cells = [f"%oss_upload '{tmp_path / name}' oss://demo/data/ --part-size 256KiB -b -q" for name in names]
    page.open([setup_cell(), "\n".join(cells), "%oss_uploads", WIDGET_STATE])
    for cell in range(3):
        page.run(cell)
        page.wait_cell(cell)
    panel = PanelOfCell(page, 2, names[0])
    panel.wait_percent(10)

    panel.select()
    panel.click("List parts")
    box = panel.root.locator(".ossmp-partsbox")
    map_of_parts = box.get_by_role("img").first
    page.until(lambda: "done" in (map_of_parts.get_attribute("aria-label") or ""), 20, "no map of the parts")
    said = map_of_parts.get_attribute("aria-label") or ""
    assert "under way" in said and "to do" in said, said
    counted = sum(int(word) for word in said.replace(",", "").split() if word.isdigit())
    assert counted == 96, said
    page.until(lambda: "on average" in box.inner_text(), 20, "no average speed")
    page.sleep(3)
    picture(panel.root, f"details-{app}")

    def shown() -> list[str]:
        rows = panel.root.locator("tr[data-id]:visible td.ossmp-name > div:first-child")
        return [text.split(".")[0] for text in rows.all_inner_texts()]

    assert shown() == ["night sky", "weights", "measurements"], "the newest comes first"
    panel.root.get_by_label("Sort by").select_option("name")
    assert shown() == ["measurements", "night sky", "weights"]
    find = panel.root.get_by_role("searchbox")
    find.fill("SKY")
    assert shown() == ["night sky"]
    page.sleep(0.5)
    assert shown() == ["night sky"], "the next update shows all again"
    find.fill("")
    panel.root.get_by_label("Sort by").select_option("newest")
    assert shown() == ["night sky", "weights", "measurements"]

    panel.click("Pause all")
    for name in names:
        panel.of(name).wait_state("paused")
    page.until(lambda: "Paused 3 uploads." in panel.root.inner_text(), 20, "the answer is not shown")
    page.theme("JupyterLab Dark")
    picture(panel.root, f"paused-dark-{app}")
    page.theme("JupyterLab Light")
    panel.click("Copy address")
    box.get_by_role("button", name="Copied").wait_for()
    panel.click("Resume all")
    panel.wait_state("uploading")
    oss.set_bandwidth(None)
    for name in names:
        panel.of(name).wait_state("done", 30)
    for name in names:
        panel.of(name).wait_redrawn("done")
    page.until(lambda: "verified" in box.inner_text(), 20, "the details do not say that it is published")
    assert not box.get_by_role("img").count(), "a map of parts that OSS has no more"
    picture(panel.root, f"done-{app}")
    copy_a_link(page, panel, box, (tmp_path / names[0]).read_bytes())


def copy_a_link(page: NotebookPage, panel: PanelOfCell, box: Locator, content: bytes) -> None:
    page.page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=page.server.url)
    panel.click("Copy address")
    box.get_by_role("button", name="Copied").wait_for()
    assert page.js("navigator.clipboard.readText()") == "oss://demo/data/measurements.parquet"
    said = box.get_by_role("status")
    for lasts, seconds in (("1 hour", 3600), ("7 days", 7 * 86400)):
        box.get_by_label("The link works for").select_option(lasts)
        if lasts == "7 days":  # as on a page without https
            page.js("() => { navigator.clipboard.write = () => Promise.reject(new Error('not here')); }")
        panel.click("Copy link")
        page.until(lambda: "works until" in said.inner_text(), 20, "nothing is said of the link's end")
        link = page.js("navigator.clipboard.readText()")
        assert f"x-oss-expires={seconds}" in link
        assert f"works until {link_end(link):%Y-%m-%d %H:%M:%S} UTC" in said.inner_text()
        assert httpx.get(link, trust_env=False).content == content
    page.run(3)
    page.wait_text(3, "measurements.parquet")
    told = [page.text(3), str(page.js("document.body.outerHTML")), *page.console, page.server.log()]
    assert "x-oss-signature" not in (json.dumps(page.save()) + "".join(told)).lower()
