"""Hubs: the server lacks anywidget's front end, or ipywidgets' as well; the kernel has both."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator

from ossmp_jupyter.localoss import LocalOSS
from tests.browser.lab import Browser, JupyterServer, NotebookPage, chromium_path
from tests.browser.panel import PanelOfCell

MIB = 1 << 20
WITHOUT = {"anywidget": ["anywidget"], "widgets": ["anywidget", "@jupyter-widgets/jupyterlab-manager"]}


@pytest.fixture(scope="module", params=list(WITHOUT))
def without(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def hub(without: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    if chromium_path() is None:
        pytest.skip("no Chromium; on Debian: apt-get install chromium")
    folder = tmp_path_factory.mktemp("hub")
    config = folder / "config" / "labconfig" / "page_config.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"disabledExtensions": dict.fromkeys(WITHOUT[without], True)}))
    with JupyterServer(folder, {"OSSMP_STATE_DIR": str(folder / "state")}) as server:
        yield server


@pytest.fixture
def page(hub: JupyterServer, browser: Browser) -> Iterator[NotebookPage]:
    page = NotebookPage(hub, browser, "lab")
    yield page
    page.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "<b>quarter<b>.bin"
    path.write_bytes(os.urandom(16 * MIB))
    return path


def button(page: NotebookPage, cell: int, text: str) -> Locator:
    return page.cell(cell).get_by_role("button", name=text, exact=True)


def test_progress_and_buttons(
    without: str,
    page: NotebookPage,
    oss: LocalOSS,
    setup_cell: Callable[[], str],
    source: Path,
    tmp_path: Path,
) -> None:
    oss.set_bandwidth("1MB/s")
    upload = f"%oss_upload '{source}' oss://demo/{{}}.bin --part-size 256KiB"
    page.open([setup_cell(), upload.format("a"), upload.format("b") + " -b", "%oss_uploads", "h = _"])
    page.run(0)
    page.wait_cell(0)
    page.run(1)
    if without == "widgets":
        page.wait_text(1, r"quarter<b>\.bin: \d+ %, .* of 16\.0 MiB", 20)
        oss.set_bandwidth(None)
        page.wait_cell(1, 30)
        page.wait_text(1, r"verified, ETag")
        return

    # a waiting cell: the stock panel comes by itself, once, and its buttons live
    button(page, 1, "Pause").wait_for(timeout=20_000)
    page.until(lambda: button(page, 1, "Pause").is_enabled(), 10, "Pause is not enabled")
    shown = page.text(1)
    assert "<b>quarter<b>.bin → oss://demo/a.bin" in shown, shown
    assert "Error" not in shown
    assert page.cell(1).get_by_role("button", name="Pause", exact=True).count() == 1
    button(page, 1, "Pause").click()
    page.wait_text(1, "Paused <b>quarter<b>.bin", 5)
    page.wait_text(1, r"paused", 5)
    button(page, 1, "List parts").click()
    page.wait_text(1, r"OSS holds \d+ parts of <b>quarter<b>\.bin", 5)
    page.screenshot(tmp_path / "stock.png")
    print(f"screenshot: {tmp_path / 'stock.png'}")
    button(page, 1, "Resume").click()
    page.wait_text(1, "Resumed", 5)
    button(page, 1, "Abort").click()
    button(page, 1, "Yes, abort").click()
    page.wait_cell(1, 20)
    assert [name for name, _ in page.errors(1)] == ["UploadAborted"]
    assert oss.snapshot()["uploads"] == []

    # a free cell: the next panel is stock at once
    page.run(2)
    page.wait_cell(2)
    page.run(3)
    page.wait_cell(3)
    choice = page.cell(3).get_by_role("combobox")
    choice.wait_for(timeout=5000)
    page.until(lambda: "b.bin" in choice.inner_text(), 10, "the new upload is not offered")
    choice.select_option(index=0)
    oss.set_bandwidth(None)
    page.wait_text(3, "done, verified", 30)
    button(page, 3, "List parts").click()
    page.wait_text(3, "b.bin is published|quarter<b>.bin is published", 5)
    page.until(lambda: "done, verified" in json.dumps(page.save()), 10, "the saved notebook does not say so")


def test_buttons_without_subshells(
    browser: Browser,
    oss: LocalOSS,
    setup_cell: Callable[[], str],
    source: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Where all widget messages come by the busy main shell, the waiting cell serves them."""
    settings = {"@jupyterlab/apputils-extension/kernels-settings": {"commsOverSubshells": "disabled"}}
    with JupyterServer(tmp_path_factory.mktemp("shell"), settings=settings) as server:
        page = NotebookPage(server, browser, "lab")
        try:
            oss.set_bandwidth("1MB/s")
            page.open([setup_cell(), f"%oss_upload '{source}' oss://demo/a.bin --part-size 256KiB"])
            page.run(0)
            page.wait_cell(0)
            page.run(1)
            panel = PanelOfCell(page, 1)
            panel.wait_percent(5)
            panel.click("Pause")
            panel.wait_state("paused", 5)
            assert page.running(1)
            panel.click("Resume")
            panel.wait_state("uploading", 5)
            oss.set_bandwidth(None)
            page.wait_cell(1, 30)
            assert page.errors(1) == []
        finally:
            page.close()
