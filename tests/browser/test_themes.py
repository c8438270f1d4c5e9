"""The panel in every theme and at every width: legible, whole, nothing beside the page."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ossmp_jupyter.localoss import LocalOSS
from tests.browser.contrast import covered, faint, sticking_out
from tests.browser.lab import NotebookPage
from tests.browser.panel import PanelOfCell
from tests.browser.test_clicks import ask
from tests.browser.test_look import picture

MIB = 1 << 20
THEMES = ("JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast")


@pytest.fixture
def scene(page: NotebookPage, oss: LocalOSS, setup_cell: Callable[[], str], tmp_path: Path) -> PanelOfCell:
    """A panel of six uploads, each in another state, with the details of the one that runs."""
    names = ["done.csv", "cancelled.csv", "night sky over the desert, third exposure.tiff", "weights.bin"]
    for name in names:
        (tmp_path / name).write_bytes(os.urandom(4 * MIB))
    left = ask(oss, lambda client: client.init_multipart_upload("backup/2026/left behind.tar"))
    ask(oss, lambda client: client.upload_part("backup/2026/left behind.tar", left.upload_id, 1, bytes(MIB)))
    upload = "%oss_upload '{}' oss://{}/data/ --part-size 128KiB -b -q -o h{}"
    begin = [upload.format(tmp_path / name, "demo", i) for i, name in enumerate(names)]
    page.open(
        [
            setup_cell(),
            begin[0] + "\nh0.wait()",
            begin[1] + "\n" + begin[2] + "\n" + begin[3],
            upload.format(tmp_path / "done.csv", "no-such-bucket", 4),
            "import time\nwhile h1.progress.confirmed < 3e5: time.sleep(.1)\nh1.abort().result(); h2.pause()",
            "%oss_uploads",
        ]
    )
    for cell in range(6):
        if cell == 2:
            oss.set_bandwidth("300KB/s")
        page.run(cell)
        page.wait_cell(cell)
        assert not page.errors(cell)
    panel = PanelOfCell(page, 5, "weights.bin")
    panel.of("no-such-bucket").wait_state("failed")
    panel.wait_percent(5)
    oss.set_bandwidth("40KB/s")  # it goes on till the end of the test
    panel.select()
    panel.click("List parts")
    panel.root.locator("canvas").wait_for()
    return panel


def looked_at(page: NotebookPage, scene: PanelOfCell, name: str) -> None:
    """Check what the panel looks like now, and keep a picture of it."""
    page.frames()
    few, looked = faint(scene.root)
    assert looked > 60, f"{name}: only {looked} texts and graphics were seen"
    assert not few, f"{name}: {few}"
    picture(scene.root, name)


def fits(page: NotebookPage, wrong: Callable[[], list[str]], where: str) -> None:
    """Wait until the front end has laid its page out anew, and nothing is wrong with it."""
    try:
        page.until(lambda: not wrong(), 10, "")
    except TimeoutError:
        raise AssertionError(f"{where}: {wrong()}") from None


def test_every_theme(page: NotebookPage, scene: PanelOfCell, app: str) -> None:
    for theme in THEMES:
        page.theme(theme)
        looked_at(page, scene, f"{theme.replace('JupyterLab ', '').replace(' ', '-').lower()}-{app}")
        assert sticking_out(scene.root) == []
    page.theme(THEMES[0])
    page.page.emulate_media(forced_colors="active")
    page.sleep(1)
    looked_at(page, scene, f"forced-colors-{app}")
    page.page.emulate_media(forced_colors="none")

    # a narrow window
    if app == "lab":
        page.command("application:toggle-left-area")
    for width in (940, 800, 420):
        page.page.set_viewport_size({"width": width, "height": 1400})
        page.sleep(0.5)
        fits(page, lambda: sticking_out(scene.root), f"at {width} px")
        looked_at(page, scene, f"narrow-{width}-{app}")


@pytest.mark.parametrize("window", [{"viewport": (683, 384), "scale": 2}], ids=["1366x768"])
def test_at_200_percent(page: NotebookPage, scene: PanelOfCell, app: str) -> None:
    """A laptop's window at 200 %: half as many CSS pixels, each of them two wide and two high."""
    assert page.js("[innerWidth, devicePixelRatio]") == [683, 2]
    for bar in ("with the side bar", "without") if app == "lab" else ("",):
        if bar == "without":
            page.command("application:toggle-left-area")
            page.sleep(0.5)
        fits(page, lambda: covered(scene.root)[0] + sticking_out(scene.root), bar)
        out, looked = covered(scene.root)
        assert looked > 30, f"only {looked} texts and controls were seen"
        assert not out, f"{bar}: {out}"
        # every button can be reached and works: Playwright clicks what is seen, and scrolls to it
        other = scene.of("night sky")
        other.select()
        scene.click("Resume")
        other.wait_state("uploading")
        scene.click("Pause")
        other.wait_state("paused")
        scene.click("Abort")
        scene.click("Keep")
        scene.root.get_by_role("searchbox").fill("weights")
        page.until(lambda row=other.row: not row.is_visible(), 20, "the filter has no effect")
        scene.root.get_by_role("searchbox").fill("")
        scene.select()
