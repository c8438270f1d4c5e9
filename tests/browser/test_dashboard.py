"""The dashboard: the panel for people without code, served by Voilà, in Chromium."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ossmp_jupyter.localoss import LocalOSS
from tests.browser.contrast import faint, sticking_out
from tests.browser.lab import Browser
from tests.browser.server import free_port
from tests.browser.test_clicks import ask, parts_of, stored, uploads
from tests.browser.test_look import picture

DASHBOARD = Path(__file__).parents[2] / "notebooks" / "dashboard.ipynb"
MIB = 1 << 20

pytest.importorskip("voila")


@pytest.fixture
def url(oss: LocalOSS, tmp_path: Path) -> Iterator[str]:
    """A Voilà of its own that serves the notebook, connected by environment variables."""
    shutil.copy(DASHBOARD, tmp_path)
    with tempfile.TemporaryDirectory(prefix="voila-") as runtime, contextlib.ExitStack() as stack:
        variables = {
            "OSS_BUCKET": "demo",
            "OSSMP_STATE_DIR": str(tmp_path / "state"),
            "HOME": str(tmp_path),
            "JUPYTER_RUNTIME_DIR": runtime,  # kernels talk over sockets in it; their paths have to be short
        }
        for _ in range(5):
            port = free_port()
            log = serve(stack, port, {**os.environ, **oss.environment(), **variables}, tmp_path)
            if log.startswith("ready"):
                yield f"http://127.0.0.1:{port}/"
                return
            assert "in use" in log, log
        raise AssertionError(log)


def serve(stack: contextlib.ExitStack, port: int, environment: dict[str, str], folder: Path) -> str:
    """Start Voilà and wait until it answers: "ready", or what it said before it ended."""
    command = [
        *(sys.executable, "-m", "voila", str(folder / DASHBOARD.name)),
        *("--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1", "--Voila.port_retries=0"),
        "--KernelManager.transport=ipc",
    ]
    with (folder / "voila.log").open("wb") as log:
        server = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    stack.callback(end, server)
    deadline = time.monotonic() + 90
    while server.poll() is None:
        said = (folder / "voila.log").read_text()
        if f"http://127.0.0.1:{port}" in said or f"http://localhost:{port}" in said:
            return "ready"
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
    return (folder / "voila.log").read_text()


def end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(15)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(5)


@pytest.fixture
def view(url: str, browser: Browser, tmp_path: Path) -> Iterator[Any]:
    context = browser.context(viewport={"width": 1200, "height": 800})
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    page.screenshot(path=str(tmp_path / "last.png"))
    context.close()


def row(page: Any, name: str, state: str = "") -> Any:
    asked = f"[data-state='{state}']" if state else ""
    return page.locator(f"tr[data-id]{asked}").filter(has_text=name)


def click(page: Any, text: str) -> None:
    page.get_by_role("button", name=text, exact=True).click()


def test_choose_watch_pause_list_abort_and_clean_up(
    view: Any, url: str, oss: LocalOSS, tmp_path: Path
) -> None:
    left = ask(oss, lambda client: client.init_multipart_upload("left/behind.bin"))
    film = tmp_path / "film.mov"
    film.write_bytes(os.urandom(40 * MIB))
    more = [ask(oss, lambda client, n=n: client.init_multipart_upload(f"old/{n}")) for n in range(3)]
    oss.set_bandwidth("2MB/s")
    view.goto(url)
    view.locator(".ossmp-files").wait_for()
    row(view, "left/behind.bin").wait_for()
    assert "%" not in view.locator("body").inner_text(), "code is shown to people without code"
    assert view.get_by_role("button", name="Upload files…").count() == 0, "the box is there already"

    # clean up what somebody left
    row(view, "left/behind.bin").get_by_role("radio").check()
    click(view, "Abort")
    click(view, "Yes, abort")
    view.get_by_text("its parts are deleted on OSS").wait_for()
    assert left.upload_id not in uploads(oss)  # type: ignore[attr-defined]
    clean_up(view, oss, len(more))

    # upload, watch, pause, list parts, resume
    view.locator("input[type=file]").set_input_files([str(film)])
    view.wait_for_function(
        "[...document.querySelectorAll('.ossmp-bar')].some((bar) => +bar.ariaValueNow >= 10)"
    )
    while not parts_of(oss, "film.mov"):
        view.wait_for_timeout(50)
    row(view, "film.mov").get_by_role("radio").check()
    click(view, "Pause")
    row(view, "film.mov", "paused").wait_for()
    click(view, "List parts")
    view.locator("table.ossmp-parts tbody tr").first.wait_for()
    (upload_id,) = uploads(oss)

    # the page is loaded anew: Voilà gives it a new kernel, which asks for the file
    view.reload()
    view.get_by_text("waits for the file").wait_for()
    oss.set_bandwidth(None)
    with view.expect_file_chooser() as chooser:
        click(view, "Choose film.mov again")
    chooser.value.set_files(str(film))
    row(view, "film.mov", "done").wait_for()
    assert stored(oss, "film.mov") == film.read_bytes()
    done = [line for line in oss.journal() if line["operation"] == "CompleteMultipartUpload"]
    assert [line["upload_id"] for line in done] == [upload_id]

    # what was published: its receipt, and a link for somebody without keys
    view.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url.rstrip("/"))
    click(view, "Details")
    view.get_by_text("verified, ETag").wait_for()
    click(view, "Copy link")
    view.get_by_text("Copied: works until").wait_for()
    link = view.evaluate("navigator.clipboard.readText()")
    assert httpx.get(link, trust_env=False).content == film.read_bytes()
    panel = view.locator(".ossmp-panel").first
    assert faint(panel)[0] == [] == sticking_out(panel)
    picture(view.locator("body"), "dashboard")
    view.set_viewport_size({"width": 400, "height": 800})
    view.wait_for_function("document.querySelector('.ossmp-panel.ossmp-narrow')")
    assert faint(panel)[0] == [] == sticking_out(panel)
    view.set_viewport_size({"width": 1200, "height": 800})
    click(view, "Close")

    # abort a running one
    oss.set_bandwidth("1MB/s")
    second = film.rename(tmp_path / "unwanted.mov")
    view.locator("input[type=file]").set_input_files([str(second)])
    row(view, "unwanted.mov", "uploading").get_by_role("radio").check()
    click(view, "Abort")
    click(view, "Yes, abort")
    row(view, "unwanted.mov", "aborted").wait_for()
    assert uploads(oss) == []


def clean_up(view: Any, oss: LocalOSS, left: int) -> None:
    """Abort what is older than an age, after a look at what that would be."""
    click(view, "Clean up…")
    cleaning = view.get_by_role("group", name="Clean up")
    cleaning.get_by_text("has no unfinished upload older than 7 d").wait_for()
    cleaning.get_by_label("Older than").select_option("0 days: all of them")
    cleaning.get_by_text(f"{left} unfinished uploads in bucket demo").wait_for()
    picture(view.locator(".ossmp-panel").first, "clean-up")
    assert cleaning.get_by_role("listitem").filter(has_text="oss://demo/old/").count() == left
    click(view, "Keep")
    assert len(uploads(oss)) == left, "Keep aborted them"
    late = ask(oss, lambda client: client.init_multipart_upload("late"))
    click(view, "Clean up…")
    cleaning.get_by_label("Older than").select_option("1 day")
    cleaning.get_by_text("older than 24 h").wait_for()
    cleaning.get_by_label("Older than").select_option("0 days: all of them")
    cleaning.get_by_text(f"{left + 1} unfinished uploads").wait_for()
    later = ask(oss, lambda client: client.init_multipart_upload("later than the look"))
    click(view, f"Yes, abort all {left + 1}")
    view.get_by_text(f"Aborted {left + 1} uploads; their parts are deleted.").wait_for()
    assert late.upload_id not in uploads(oss)  # type: ignore[attr-defined]
    assert uploads(oss) == [later.upload_id], "more than what was shown"  # type: ignore[attr-defined]
    ask(oss, lambda client: client.abort_multipart_upload("later than the look", later.upload_id))  # type: ignore[attr-defined]
    row(view, "old/").first.wait_for(state="detached")
