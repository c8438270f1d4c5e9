"""The panel in every theme and at every width: legible, whole, nothing beside the page."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ossmp_jupyter.localoss import LocalOSS
from tests.browser.contrast import faint, sticking_out
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
    panel.select()
    panel.click("List parts")
    panel.root.locator("canvas").wait_for()
    return panel


def looked_at(page: NotebookPage, scene: PanelOfCell, name: str) -> None:
    """Check what the panel looks like now, and keep a picture of it."""
    few, looked = faint(scene.root)
    assert looked > 60, f"{name}: only {looked} texts and graphics were seen"
    assert not few, f"{name}: {few}"
    picture(scene.root, name)


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

    # a narrow window, which is also what 200 % zoom makes of a small one
    if app == "lab":
        page.command("application:toggle-left-area")
    for width in (940, 800, 420):
        page.page.set_viewport_size({"width": width, "height": 1400})
        page.sleep(1)
        looked_at(page, scene, f"narrow-{width}-{app}")
        assert sticking_out(scene.root) == [], f"at {width} px"
