"""Files of the user's own computer, chosen or dropped in a real page, uploaded through the kernel."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator

from ossmp_jupyter.localoss import LocalOSS
from tests.browser.lab import NotebookPage
from tests.browser.panel import PanelOfCell
from tests.browser.test_clicks import parts_of, stored, uploads
from tests.browser.test_look import picture
from tests.localoss.quiet import wait_until_ended

MIB = 1 << 20
WAITING = "waiting for the file: choose it again"


class Box:
    """The box for files that cell `i` shows."""

    def __init__(self, page: NotebookPage, i: int) -> None:
        self.page, self.root = page, page.cell(i).locator(".ossmp-files")
        self.panel = PanelOfCell(page, i)

    def choose(self, *files: Path) -> None:
        self.root.locator("input[type=file]").set_input_files([str(file) for file in files])

    def choose_again(self, file: Path) -> None:
        """Click the button beside the upload that misses its file, and choose in the dialog."""
        with self.page.page.expect_file_chooser() as chooser:
            self.root.get_by_role("button", name=f"Choose {file.name}").click()
        chooser.value.set_files(str(file))

    def drop(self, name: str, size: int) -> None:
        """Drop a file of `size` times the letter x."""
        data = self.page.page.evaluate_handle(
            "([name, size]) => { const d = new DataTransfer();"
            " d.items.add(new File(['x'.repeat(size)], name)); return d; }",
            [name, size],
        )
        for event in ("dragenter", "dragover", "drop"):
            self.root.dispatch_event(event, {"dataTransfer": data})

    def said(self) -> str:
        return self.root.locator(".ossmp-status").inner_text()

    def wait_said(self, text: str, timeout: float = 20) -> None:
        self.page.until(lambda: text in self.said(), timeout, f"the box does not say {text!r}")

    def words(self, name: str) -> str:
        return self.panel.of(name).row.locator(".ossmp-state").inner_text()

    def wait_words(self, name: str, text: str, timeout: float = 20) -> None:
        self.page.until(lambda: text in self.words(name), timeout, f"{name} is not {text!r}")


def drag(page: NotebookPage, onto: Locator, path: Path) -> None:
    """Drag a file or folder of the disk onto something and let it fall, as the desktop does."""
    box = onto.bounding_box()
    assert box is not None
    line = page.page.context.new_cdp_session(page.page)
    what = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"type": kind, "x": box["x"] + 20, "y": box["y"] + box["height"] - 5}
        line.send("Input.dispatchDragEvent", {**place, "data": what})


def refused(page: NotebookPage, box: Box, onto: Locator, folder: Path) -> bool:
    """Drop a folder; whether the box refuses it soon. A display that moves meanwhile is missed."""
    drag(page, onto, folder)
    try:
        box.wait_said("A folder cannot be uploaded: drop the files in it", 3)
    except TimeoutError:
        return False
    return True


def sent_parts(oss: LocalOSS, since: int = 0) -> Counter[int]:
    """How often each part was sent, from a line of the server's journal on."""
    return Counter(line["part_number"] for line in oss.journal()[since:] if line["operation"] == "UploadPart")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "holiday film.mov"
    path.write_bytes(os.urandom(24 * MIB + 12345))
    return path


@pytest.fixture
def box(page: NotebookPage, setup_cell: Callable[[], str]) -> Box:
    """An open notebook whose second cell shows the box; the third waits for uploads."""
    page.open(
        [
            setup_cell(),
            "%oss_pick oss://demo/laptop/ --part-size 1MiB",
            "%oss_wait -q\nprint('all ' + 'there')",
        ]
    )
    for i in (0, 1):
        page.run(i)
        page.wait_cell(i)
    shown = Box(page, 1)
    shown.root.wait_for()
    return shown


def test_several_files_while_a_cell_waits(
    box: Box, page: NotebookPage, oss: LocalOSS, film: Path, tmp_path: Path
) -> None:
    small = tmp_path / "notes.txt"
    small.write_text("a line\n" * 100)
    oss.set_bandwidth("1500KB/s")
    box.choose(film, small)
    box.wait_said("Started 2 files")
    page.run(2)
    moving = box.panel.of(film.name)
    moving.wait_parts(2)
    assert page.running(2)

    moving.select()
    box.panel.click("Pause")
    moving.wait_state("paused")
    wait_until_ended(oss)
    page.sleep(0.5)
    before = moving.percent
    box.drop("dropped.bin", 3 * MIB)  # the line is free for it
    box.panel.of("dropped.bin").wait_state("done")
    assert moving.percent == before, "a paused upload moved on"
    moving.select()
    box.panel.click("List parts")
    page.until(box.panel.parts, 20, "no parts were shown")
    oss.set_bandwidth(None)
    box.panel.click("Resume")

    page.wait_cell(2)
    assert page.errors(2) == []
    page.wait_text(2, "all there")
    assert stored(oss, "laptop/" + film.name) == film.read_bytes()
    assert stored(oss, "laptop/notes.txt") == small.read_bytes()
    assert stored(oss, "laptop/dropped.bin") == b"x" * 3 * MIB
    assert uploads(oss) == []


def test_a_lost_connection_and_a_reload_while_a_cell_waits(
    box: Box, page: NotebookPage, oss: LocalOSS, film: Path
) -> None:
    oss.set_bandwidth("1MB/s")
    box.choose(film)
    page.run(2)
    moving = box.panel.of(film.name)
    moving.wait_percent(10)
    page.js("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.reconnect()")
    moving.wait_percent(moving.percent + 10)  # by itself
    moving.wait_parts(3)

    page.save()
    page.page.reload()
    page.until(box.root.count, 40, "the box did not come back")
    box.wait_words(film.name, WAITING, 60)  # a page that could not say that it goes is missed after 30 s
    wait_until_ended(oss)
    page.sleep(0.5)
    held, known = moving.percent, moving.parts_done
    kept, before = parts_of(oss, "laptop/" + film.name), len(oss.journal())
    page.sleep(1)
    assert moving.percent == held

    oss.set_bandwidth(None)
    box.choose_again(film)
    moving.wait_state("done", 40)
    assert stored(oss, "laptop/" + film.name) == film.read_bytes()
    again = set(sent_parts(oss, before))
    assert 3 <= known <= len(kept)
    assert len(kept & again) <= len(kept) - known, f"parts {kept & again} of {kept} were sent again"


def test_a_new_kernel_goes_on_when_the_file_is_chosen_again(
    box: Box, page: NotebookPage, oss: LocalOSS, film: Path, tmp_path: Path
) -> None:
    oss.set_bandwidth("1500KB/s")
    box.choose(film)
    box.panel.of(film.name).wait_parts(3)
    page.restart()
    wait_until_ended(oss)
    kept, before = parts_of(oss, "laptop/" + film.name), len(oss.journal())
    assert len(kept) >= 3
    for i in (0, 1):
        page.run(i)
        page.wait_cell(i)
    oss.set_bandwidth(None)
    page.until(lambda: "waits for the file" in box.root.inner_text(), 20, "the file is not missed")

    other = tmp_path / "other.mov"
    other.write_bytes(bytes(MIB))
    with page.page.expect_file_chooser() as chooser:
        box.root.get_by_role("button", name=f"Choose {film.name}").click()
    chooser.value.set_files(str(other))
    box.wait_said("this is another file")

    box.choose_again(film)
    box.panel.of(film.name).wait_state("done", 40)
    assert stored(oss, "laptop/" + film.name) == film.read_bytes()
    again = set(sent_parts(oss, before))
    assert not kept & again, f"parts {kept & again} of {kept} were sent again"
    started = [line for line in oss.journal() if line["operation"] == "InitiateMultipartUpload"]
    assert len(started) == 1, "the new kernel began from nothing"


def test_the_browser_sends_the_parts_itself(
    box: Box, page: NotebookPage, oss: LocalOSS, film: Path, tmp_path: Path
) -> None:
    box.root.get_by_role("checkbox").check()
    box.choose(film)
    box.panel.of(film.name).wait_state("done")
    assert stored(oss, "laptop/" + film.name) == film.read_bytes()
    lines = [line for line in oss.journal() if line["operation"] == "UploadPart"]
    assert len(lines) == 25
    assert all(line["headers"].get("origin") == page.server.url for line in lines)
    assert not any("authorization" in {name.lower() for name in line["headers"]} for line in lines)

    # a bucket whose rule does not show the ETag: the answer has it, the browser hides it
    def hide(route: object) -> None:
        shown = {"access-control-allow-origin": page.server.url, "etag": '"9C2D"'}
        route.fulfill(status=200, headers=shown, body="")  # type: ignore[attr-defined]

    page.page.route(f"{oss.endpoint}/**", hide)
    second = tmp_path / "second.bin"
    second.write_bytes(os.urandom(2 * MIB))
    box.choose(second)
    box.panel.of(second.name).wait_state("failed")
    told = box.panel.of(second.name).root.inner_text()
    assert "does not show the ETag header" in told
    assert f"<AllowedOrigin>{page.server.url}</AllowedOrigin>" in told
    assert "<ExposeHeader>ETag</ExposeHeader>" in told

    # the rule is mended: Resume goes on, from the file that the page still has
    page.page.unroute(f"{oss.endpoint}/**")
    box.panel.of(second.name).select()
    box.panel.click("Resume")
    page.until(lambda: stored_or_none(oss, "laptop/second.bin") == second.read_bytes(), 30, "not resumed")
    saved = page.save()
    kept = json.dumps([cell["outputs"] for cell in saved["cells"]]) + json.dumps(saved["metadata"])
    assert "x-oss-signature" not in kept and oss.access_key_secret not in kept


def stored_or_none(oss: LocalOSS, key: str) -> object:
    return stored(oss, key) if key in str(list(oss.snapshot()["objects"])) else None


def test_files_for_the_panel_itself(
    page: NotebookPage, app: str, oss: LocalOSS, setup_cell: Callable[[], str], film: Path, tmp_path: Path
) -> None:
    page.open([setup_cell(), "%oss_uploads"])
    page.count_redraws()
    for i in (0, 1):
        page.run(i)
        page.wait_cell(i)
    page.until(lambda: page.js("redraws"), 20, "the display was not drawn anew when nothing moved")
    box = Box(page, 1)
    button = box.panel.root.get_by_role("button", name="Upload files…")
    button.wait_for()

    # dropped beside the box: it asks, for nobody has seen yet where they go
    drag(page, box.panel.root, film)
    offer = box.root.get_by_role("button", name="Upload", exact=True)
    offer.wait_for()
    picture(box.panel.root, f"box-{app}")
    assert box.root.locator("input[type=text]").input_value() == "oss://demo/"
    assert film.name in box.root.inner_text()
    box.root.locator("input[type=text]").fill("oss://demo/films/")
    offer.click()
    box.panel.of(film.name).wait_state("done")
    assert stored(oss, "films/" + film.name) == film.read_bytes()
    assert offer.count() == 0

    # folders are refused, in the box and beside it
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "inside.txt").write_text("x")
    for onto in (box.root, box.panel.root.locator("table")):
        page.until(lambda onto=onto: refused(page, box, onto, folder), 30, "the folder is not refused")
        drag(page, box.root, film)  # says something else
        page.until(lambda: "folder" not in box.said(), 20, "the refusal stays")
    assert "folder" not in str(oss.snapshot()["objects"]) and "inside" not in str(oss.snapshot())

    # the button opens and closes it
    button.click()
    assert box.root.count() == 0
    button.click()
    small = tmp_path / "notes.txt"
    small.write_text("a line")
    box.root.wait_for()
    box.choose(small)
    box.panel.of("notes.txt").wait_state("done")
    assert stored(oss, "films/notes.txt") == small.read_bytes()
