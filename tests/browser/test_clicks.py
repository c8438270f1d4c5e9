"""Real clicks in real front ends, while the cell that started the upload is still waiting."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from ossmp_jupyter import OSSClient
from ossmp_jupyter.localoss import LocalOSS
from tests.browser.lab import NotebookPage
from tests.browser.panel import PanelOfCell
from tests.localoss.quiet import wait_until_ended

MIB = 1 << 20
T = TypeVar("T")


def ask(oss: LocalOSS, question: Callable[[OSSClient], object]) -> object:
    """Ask the server itself, in a thread because playwright occupies this one's event loop."""

    async def answer() -> object:
        async with OSSClient(
            endpoint=oss.endpoint,
            region=oss.region,
            bucket="demo",
            access_key_id=oss.access_key_id,
            access_key_secret=oss.access_key_secret,
        ) as client:
            return await question(client)  # type: ignore[misc]

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(answer())).result(30)


def stored(oss: LocalOSS, key: str) -> object:
    return ask(oss, lambda client: client.get(key))


def parts_of(oss: LocalOSS, key: str) -> set[int]:
    """Numbers of the parts that the server holds of an unfinished upload."""
    return {
        part["part_number"]
        for upload in oss.snapshot()["uploads"]
        if upload["key"] == key
        for part in upload["parts"]
    }


def uploads(oss: LocalOSS) -> list[str]:
    """Upload IDs as the bucket lists them."""
    page = ask(oss, lambda client: client.list_uploads())
    return [upload.upload_id for upload in page.uploads]  # type: ignore[attr-defined]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "quarter.bin"
    path.write_bytes(os.urandom(24 * MIB + 12345))
    return path


@pytest.fixture
def uploading(
    page: NotebookPage, oss: LocalOSS, setup_cell: Callable[[], str], source: Path
) -> Callable[[], PanelOfCell]:
    """Run All on a notebook whose second cell uploads over a slow line; return once its bar moves."""

    def start() -> PanelOfCell:
        oss.set_bandwidth("1500KB/s")  # long enough for a page that is slow
        page.open(
            [setup_cell(), f"%oss_upload {source} oss://demo/q.bin --part-size 1MiB", "print('next cell')"]
        )
        page.run_all()
        panel = PanelOfCell(page, 1)
        panel.wait_percent(5)
        return panel

    return start


def test_abort_while_the_cell_waits(
    uploading: Callable[[], PanelOfCell], page: NotebookPage, oss: LocalOSS
) -> None:
    other = ask(oss, lambda client: client.init_multipart_upload("somebody-else.bin"))
    panel = uploading()
    upload_id = panel.upload_id
    assert upload_id in uploads(oss)
    assert page.running(1)

    panel.abort()
    page.wait_cell(1)

    errors = page.errors(1)
    assert [name for name, _ in errors] == ["UploadAborted"], errors
    assert "q.bin" in errors[0][1]
    assert uploads(oss) == [other.upload_id]  # type: ignore[attr-defined]
    assert [u["upload_id"] for u in oss.snapshot()["uploads"]] == uploads(oss)
    page.until(lambda: not page.running(2), 20, "the next cell still waits")
    page.sleep(0.5)
    assert page.text(2) == "" and page.prompt(2) == "[ ]:", "Run All went on after the abort"
    panel.wait_state("aborted")


def test_pause_list_parts_and_resume_while_the_cell_waits(
    uploading: Callable[[], PanelOfCell], page: NotebookPage, oss: LocalOSS, source: Path
) -> None:
    panel = uploading()
    page.until(lambda: len(parts_of(oss, "q.bin")) >= 2, 30, "OSS has no parts")
    panel.click("List parts")
    page.until(panel.parts, 20, "no parts were shown while the upload runs")
    assert page.running(1)

    panel.click("Pause")
    panel.wait_state("paused")
    wait_until_ended(oss)
    panel.click("List parts")
    upload_id = panel.upload_id
    truth = ask(oss, lambda client: client.list_parts("q.bin", upload_id))
    expected = [(part.part_number, part.etag.strip('"')) for part in truth.parts]  # type: ignore[attr-defined]
    assert 2 <= len(expected) < 24
    page.until(lambda: [(n, e.strip('"')) for n, e in panel.parts()] == expected, 20, f"not {expected}")
    before = panel.percent
    page.sleep(1.5)
    assert panel.percent == before, "a paused upload moved on"
    assert page.running(1), "the cell stopped waiting for a paused upload"

    oss.set_bandwidth(None)
    panel.click("Resume")
    page.wait_cell(1, 60)
    assert page.errors(1) == []
    page.wait_text(2, "next cell")
    panel.wait_percent(100)
    panel.wait_state("done")
    assert stored(oss, "q.bin") == source.read_bytes()
    assert uploads(oss) == []


def test_the_stop_button_pauses_and_the_same_cell_resumes(
    uploading: Callable[[], PanelOfCell], page: NotebookPage, oss: LocalOSS, source: Path
) -> None:
    panel = uploading()
    upload_id = panel.upload_id
    panel.wait_parts(2)
    page.interrupt()
    page.wait_cell(1, 30)
    assert [name for name, _ in page.errors(1)] == ["KeyboardInterrupt"]
    assert uploads(oss) == [upload_id], "the stop button aborted the upload"
    panel.wait_state("paused")
    wait_until_ended(oss)
    kept, known = parts_of(oss, "q.bin"), panel.parts_done
    assert 2 <= known <= len(kept)

    oss.journal(clear=True)
    oss.set_bandwidth(None)
    page.run(1)
    page.wait_cell(1)
    assert page.errors(1) == []
    page.wait_text(1, "q.bin")
    assert stored(oss, "q.bin") == source.read_bytes()
    sent = Counter(line["part_number"] for line in oss.journal() if line["operation"] == "UploadPart")
    # answers to the parts in flight may have been lost with the interrupt, all others are known
    assert len(kept & set(sent)) <= len(kept) - known, "parts were sent again although OSS holds them"
    assert len(sent) <= 25 - known
    assert uploads(oss) == []


def test_a_restarted_kernel_is_told(
    uploading: Callable[[], PanelOfCell], page: NotebookPage, oss: LocalOSS, source: Path
) -> None:
    panel = uploading()
    upload_id = panel.upload_id
    page.restart()
    page.wait_text(
        1, r"is gone\. .*%oss_uploads"
    )  # in the panel, and a little later in the table in its place
    assert uploads(oss) == [upload_id]

    # the same cells in the new kernel go on where the old one was
    oss.set_bandwidth(None)
    page.run(0)
    page.wait_cell(0)
    page.run(1)
    page.wait_cell(1)
    assert page.errors(1) == []
    assert stored(oss, "q.bin") == source.read_bytes()
    started = [line for line in oss.journal() if line["operation"] == "InitiateMultipartUpload"]
    assert len(started) == 1, "the new kernel began from nothing"


def test_an_upload_of_another_machine_is_resumed_with_a_file_of_this_one(
    page: NotebookPage, oss: LocalOSS, setup_cell: Callable[[], str], source: Path
) -> None:
    async def begin(client: OSSClient) -> str:
        begun = await client.init_multipart_upload("sent/elsewhere.bin")
        for number in (1, 2):
            part = source.read_bytes()[(number - 1) * MIB : number * MIB]
            await client.upload_part("sent/elsewhere.bin", begun.upload_id, number, part)
        return begun.upload_id

    upload_id = str(ask(oss, begin))
    (page.server.notebooks / "elsewhere.bin").write_bytes(source.read_bytes())
    (page.server.notebooks / "wrong.bin").write_bytes(os.urandom(3 * MIB))
    page.open([setup_cell(), "%oss_uploads"])
    page.count_redraws()
    page.run_all()
    page.wait_cell(1)
    page.until(lambda: page.js("redraws"), 20, "the display was not drawn anew when nothing moved")
    panel = PanelOfCell(page, 1)
    panel.row.wait_for()
    field = panel.root.get_by_label("Its file")

    panel.click("Resume")
    page.until(lambda: field.input_value() == "elsewhere.bin", 20, "the file of that name is not proposed")
    field.fill("wrong.bin")
    field.press("Enter")
    panel.root.get_by_text("stored parts fits wrong.bin").first.wait_for()
    assert uploads(oss) == [upload_id]

    panel.of("begun elsewhere").select()
    panel.click("Resume")
    page.until(lambda: field.input_value() == "elsewhere.bin", 20, "the file is not proposed again")
    oss.journal(clear=True)
    panel.click("Resume with this file")
    panel.of("elsewhere.bin").wait_state("done")
    assert stored(oss, "sent/elsewhere.bin") == source.read_bytes()
    sent = {line["part_number"] for line in oss.journal() if line["operation"] == "UploadPart"}
    assert sent == set(range(3, 26))
    assert uploads(oss) == []
