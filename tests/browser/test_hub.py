"""Hubs: the server's environment is another than the kernel's, and lacks anywidget, or ipywidgets as well."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator

from ossmp_jupyter import OSSClient
from ossmp_jupyter.localoss import LocalOSS
from tests.browser.lab import Browser, NotebookPage, chromium_path
from tests.browser.panel import PanelOfCell
from tests.browser.server import JupyterServer
from tests.browser.test_clicks import ask, stored, uploads
from tests.browser.test_look import picture

MIB = 1 << 20
PART = 100 << 10
FOREIGN = 101  # parts: one more than a page shows
SERVERS = Path(sys.prefix, "hub")  # made by the Makefile


def served(name: str, folder: Path) -> JupyterServer:
    """A server from an environment of its own, with a kernel of this one."""
    if chromium_path() is None:
        pytest.skip("no Chromium; on Debian: apt-get install chromium")
    python = SERVERS / name / "bin" / "python"
    if not python.exists():
        raise FileNotFoundError(f"no {python}: `make {SERVERS / '.stamp'}` makes it, as `make test` does")
    return JupyterServer(folder, {"OSSMP_STATE_DIR": str(folder / "state")}, python=python)


@pytest.fixture(scope="module")
def stock_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with served("widgets", tmp_path_factory.mktemp("widgets")) as server:
        yield server


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with served("plain", tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture
def page(stock_server: JupyterServer, browser: Browser, app: str) -> Iterator[NotebookPage]:
    page = NotebookPage(stock_server, browser, app)
    yield page
    page.close()


@pytest.fixture
def plain_page(plain_server: JupyterServer, browser: Browser, app: str) -> Iterator[NotebookPage]:
    page = NotebookPage(plain_server, browser, app)
    yield page
    page.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "<b>quarter<b>.bin"
    path.write_bytes(os.urandom(16 * MIB))
    return path


def extensions(page: NotebookPage) -> set[str]:
    """What the server has for its front ends."""
    config = json.loads(page.js("document.getElementById('jupyter-config-data').textContent"))
    return {extension["name"] for extension in config["federated_extensions"]}


class Stock:
    """What a person does with the stock panel of one cell."""

    def __init__(self, page: NotebookPage, i: int) -> None:
        self._page, self._i, self.root = page, i, page.cell(i)
        self.choice = self.root.get_by_label("Upload", exact=True)

    def wait(self) -> None:
        self.button("Pause").wait_for(timeout=30_000)

    def button(self, text: str) -> Locator:
        return self.root.get_by_role("button", name=text, exact=True)

    def click(self, text: str) -> None:
        self._page.until(self.button(text).is_enabled, 20, f"{text} is not enabled")
        self.button(text).click()

    def says(self, pattern: str, timeout: float = 20) -> None:
        self._page.wait_text(self._i, pattern, timeout)

    def choose(self, text: str) -> None:
        def offered() -> str:
            labels = self.choice.locator("option").all_inner_texts()
            return next((label for label in labels if text in label), "")

        # by its label: their order may change meanwhile
        self.choice.select_option(label=self._page.until(offered, 20, f"{text} is not offered"))
        chosen = self.root.locator("tbody.ossmp-selected").filter(has_text=text)
        self._page.until(chosen.count, 20, f"{text} is not chosen")

    def of(self, text: str) -> PanelOfCell:
        return PanelOfCell(self._page, self._i, text)


def test_a_waiting_cell_and_a_free_one(
    page: NotebookPage, oss: LocalOSS, setup_cell: Callable[[], str], source: Path
) -> None:
    oss.set_bandwidth("400KB/s")  # long enough for a page that is slow
    upload = f"%oss_upload '{source}' oss://demo/{{}}.bin --part-size 256KiB"
    page.open([setup_cell(), upload.format("a"), upload.format("b") + " -b", "%oss_uploads", "h = _"])
    assert "@jupyter-widgets/jupyterlab-manager" in extensions(page)
    assert "anywidget" not in extensions(page)
    page.run(0)
    page.wait_cell(0)
    page.run(1)

    # a waiting cell: the stock panel comes by itself, once, and its buttons live
    stock = Stock(page, 1)
    stock.wait()
    stock.says(r"<b>quarter<b>\.bin\s+→ oss://demo/a\.bin")
    assert "error" not in page.text(1).lower()
    assert stock.button("Pause").count() == 1
    assert drawn(page, stock, 4) <= 12, "more than 2 to 3 times a second"
    stock.click("Pause")
    stock.says("Paused <b>quarter<b>.bin")
    stock.of("a.bin").wait_state("paused")
    stock.click("List parts")
    stock.says(r"OSS holds \d+ parts of <b>quarter<b>\.bin")
    stock.says(r"\d+ done, .*\d+ to do; .* on average")
    stock.click("Resume")
    stock.says("Resumed")
    stock.of("a.bin").wait_state("uploading")
    outputs = page.js("jupyterapp.shell.currentWidget.content.widgets[1].model.outputs.toJSON()")
    assert [o["output_type"] for o in outputs] == ["display_data"], "text besides the panel"
    stock.click("Abort")
    stock.click("Keep")
    stock.button("Yes, abort").wait_for(state="hidden")
    stock.click("Abort")
    stock.click("Yes, abort")
    page.wait_cell(1)
    assert [name for name, _ in page.errors(1)] == ["UploadAborted"]
    assert oss.snapshot()["uploads"] == []

    # a free cell: the next panel is stock at once
    page.run(2)
    page.wait_cell(2)
    page.run(3)
    page.wait_cell(3)
    stock = Stock(page, 3)
    stock.choice.wait_for()
    stock.choose("b.bin")
    oss.set_bandwidth(None)
    stock.says("done, verified", 30)
    stock.click("Details")
    stock.says("is published")
    page.until(lambda: "done, verified" in json.dumps(page.save()), 30, "the saved notebook does not say so")


def drawn(page: NotebookPage, stock: Stock, seconds: float) -> int:
    """How often the rows are drawn anew."""
    # the cell stays where it is; the rows may be replaced at the moment they are looked up
    stock.root.evaluate(
        "cell => { window.drawn = 0; const rows = (list) => list.some((one) => [...one.addedNodes].some("
        "(node) => node.matches?.('.ossmp-width') || node.querySelector?.('.ossmp-width')));"
        "new MutationObserver((list) => { window.drawn += rows(list) ? 1 : 0; })"
        ".observe(cell, { childList: true, subtree: true }); }"
    )
    page.sleep(seconds)
    count = int(page.js("window.drawn"))
    page.until(lambda: page.js("window.drawn") >= 2, 20, "the rows stand still")
    return count


def test_all_other_actions(
    page: NotebookPage, app: str, oss: LocalOSS, setup_cell: Callable[[], str], source: Path, tmp_path: Path
) -> None:
    content = source.read_bytes()

    async def begin(client: OSSClient) -> str:
        begun = await client.init_multipart_upload("sent/elsewhere.bin")
        for n in range(FOREIGN):
            part = content[n * PART : (n + 1) * PART]
            await client.upload_part("sent/elsewhere.bin", begun.upload_id, n + 1, part)
        await client.init_multipart_upload("old/left behind.tar")
        return begun.upload_id

    foreign = str(ask(oss, begin))
    (page.server.notebooks / "elsewhere.bin").write_bytes(content)
    (page.server.notebooks / "wrong.bin").write_bytes(os.urandom(MIB))
    names = ["measurements.parquet", "weights.safetensors"]
    for name in names:
        (tmp_path / name).write_bytes(os.urandom(16 * MIB))
    oss.set_bandwidth("1MB/s")
    begin_all = [
        f"%oss_upload '{tmp_path / name}' oss://demo/data/ --part-size 256KiB -b -q" for name in names
    ]
    page.open([setup_cell(), "\n".join(begin_all), "%oss_uploads", "%oss_pick"])
    for i in range(3):
        page.run(i)
        page.wait_cell(i)
    stock = Stock(page, 2)
    stock.wait()

    stock.choose("weights")
    stock.of("weights").wait_percent(20)
    stock.click("List parts")
    stock.says("on average")
    picture(stock.root.locator(".jp-OutputArea-output").first, f"stock-{app}")
    stock.click("Pause all")
    stock.says(r"Paused 2 uploads\.")
    for name in names:
        stock.of(name).wait_state("paused")

    stock.choose("elsewhere.bin")
    stock.click("List parts")
    stock.says(f"Parts of oss://demo/sent/elsewhere.bin: {FOREIGN}, page 1 of 2")
    stock.click("Next")
    stock.says("page 2 of 2")
    parts = stock.root.locator(".ossmp-parts tbody tr")
    page.until(lambda: parts.count() == 1, 20, "the second page does not hold one part")
    stock.click("Close")
    stock.root.locator(".ossmp-parts").wait_for(state="hidden")
    resume_with_a_file(page, stock, oss, foreign, content)
    clean_up(page, stock, oss)

    stock.click("Resume all")
    stock.says(r"Resumed 2 uploads\.")
    oss.set_bandwidth(None)
    for name in names:
        stock.of(name).wait_state("done", 30)
    stock.choose("weights")
    stock.click("Details")
    stock.says(r"CRC-64 \d+ verified[^\n]*\n+%oss_link oss://demo/data/weights.safetensors makes a link")

    page.run(3)
    page.wait_cell(3)
    page.wait_text(3, "run %oss_upload FILE")


def resume_with_a_file(page: NotebookPage, stock: Stock, oss: LocalOSS, foreign: str, content: bytes) -> None:
    """An upload of another machine: its file is asked for, compared, and refused if it does not fit."""
    field = stock.root.get_by_label("Its file")
    stock.click("Resume")
    page.until(lambda: field.input_value() == "elsewhere.bin", 20, "the file of that name is not proposed")
    field.fill("wrong.bin")
    stock.click("Resume with this file")
    stock.says("stored parts fits wrong.bin")
    assert foreign in uploads(oss)
    stock.click("Resume")
    page.until(lambda: field.input_value() == "elsewhere.bin", 20, "the file is not proposed again")
    oss.journal(clear=True)
    oss.set_bandwidth(None)
    stock.click("Resume with this file")
    stock.of("elsewhere.bin").wait_state("done", 30)
    oss.set_bandwidth("2MB/s")
    assert stored(oss, "sent/elsewhere.bin") == content
    sent = {line["part_number"] for line in oss.journal() if line["operation"] == "UploadPart"}
    assert sent == set(range(FOREIGN + 1, -(-len(content) // PART) + 1))


def clean_up(page: NotebookPage, stock: Stock, oss: LocalOSS) -> None:
    """What nobody will finish is shown first, and just that is aborted."""
    before = uploads(oss)
    stock.click("Clean up…")
    stock.says("has no unfinished upload older than 7 d")
    ages = stock.root.get_by_label("Abort unfinished uploads older than")
    ages.select_option(label="0 days: all of them")
    stock.says("1 unfinished upload in bucket demo; 2 in use left out")
    stock.says(r"oss://demo/old/left behind\.tar, [\d.]+ \w+ old")
    stock.click("Keep")
    stock.button("Keep").wait_for(state="hidden")
    assert uploads(oss) == before, "Keep aborted them"
    stock.click("Clean up…")
    stock.says("1 unfinished upload in bucket demo")
    stock.click("Yes, abort it")
    stock.says(r"Aborted 1 upload; its parts are deleted\.")
    assert len(uploads(oss)) == 2, "not only what was shown"
    page.until(lambda: "left behind" not in page.text(2), 20, "what was aborted is still shown")


def test_text_where_there_are_no_widgets(
    plain_page: NotebookPage, oss: LocalOSS, setup_cell: Callable[[], str], source: Path
) -> None:
    page = plain_page
    oss.set_bandwidth("500KB/s")
    page.open([setup_cell(), f"%oss_upload '{source}' oss://demo/a.bin --part-size 256KiB", "%oss_pick"])
    assert not {"anywidget", "@jupyter-widgets/jupyterlab-manager"} & extensions(page)
    page.run(0)
    page.wait_cell(0)
    page.run(1)
    page.wait_text(1, r"quarter<b>\.bin: \d+ %, .* of 16\.0 MiB")
    oss.set_bandwidth(None)
    page.wait_cell(1, 30)
    page.wait_text(1, r"verified, ETag")
    page.run(2)
    page.wait_cell(2)
    page.wait_text(2, "run %oss_upload FILE")


def test_buttons_without_subshells(
    browser: Browser,
    app: str,
    oss: LocalOSS,
    setup_cell: Callable[[], str],
    source: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Where all widget messages come by the busy main shell, the waiting cell serves them."""
    settings = {"@jupyterlab/apputils-extension/kernels-settings": {"commsOverSubshells": "disabled"}}
    with JupyterServer(tmp_path_factory.mktemp("shell"), settings=settings) as server:
        page = NotebookPage(server, browser, app)
        try:
            oss.set_bandwidth("500KB/s")
            page.open([setup_cell(), f"%oss_upload '{source}' oss://demo/a.bin --part-size 256KiB"])
            page.run(0)
            page.wait_cell(0)
            page.run(1)
            panel = PanelOfCell(page, 1)
            panel.wait_percent(5)
            panel.click("Pause")
            panel.wait_state("paused")
            assert page.running(1)
            panel.click("Resume")
            panel.wait_state("uploading")
            oss.set_bandwidth(None)
            page.wait_cell(1, 30)
            assert page.errors(1) == []
        finally:
            page.close()
