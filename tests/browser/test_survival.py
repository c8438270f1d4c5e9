"""The panel outlives pages, tabs and connections, and says so when its kernel is gone."""

from __future__ import annotations

import contextlib
import copy
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ossmp_jupyter.localoss import LocalOSS
from tests.browser.lab import Browser, JupyterServer, NotebookPage
from tests.browser.panel import PanelOfCell

MIB = 1 << 20


class Line:
    """A line between browser and Jupyter that can be cut: every connection breaks, new ones are refused."""

    def __init__(self, port: int) -> None:
        self._port, self._open = port, threading.Event()
        self._open.set()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._open.is_set():
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._port))
                self._sockets |= {near, far}
                threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            while True:
                for ready in select.select([near, far], [], [])[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    (far if ready is near else near).sendall(data)
        for one in (near, far):
            self._sockets.discard(one)
            one.close()

    def cut(self) -> None:
        self._open.clear()
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._open.set()

    def close(self) -> None:
        self.cut()
        self._listener.close()


@pytest.fixture
def line(jupyter: JupyterServer) -> Iterator[Line]:
    made = Line(int(jupyter.url.rpartition(":")[2]))
    yield made
    made.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "quarter.bin"
    path.write_bytes(os.urandom(24 * MIB + 12345))
    return path


Start = Callable[..., PanelOfCell]


@pytest.fixture
def start(oss: LocalOSS, setup_cell: Callable[[], str], source: Path) -> Start:
    """Open a notebook on a page and let it upload over a slow line."""

    def begin(page: NotebookPage, *, background: bool = False) -> PanelOfCell:
        oss.set_bandwidth("2MB/s")
        flag = " -b" if background else ""
        page.open(
            [setup_cell(), f"%oss_upload {source} oss://demo/q.bin --part-size 128KiB{flag}", "%oss_uploads"]
        )
        page.run(0)
        page.wait_cell(0)
        page.run(1)
        panel = PanelOfCell(page, 1)
        panel.wait_percent(5)
        return panel

    return begin


def alert(page: NotebookPage, panel: PanelOfCell, words: str, seconds: float = 20) -> float:
    """Seconds until the panel says that it has lost its kernel, in these words."""
    began = time.monotonic()
    panel.root.get_by_role("alert").filter(has_text=words).wait_for(timeout=seconds * 1000)
    return time.monotonic() - began


def kernel_pid(page: NotebookPage) -> int:
    found = subprocess.run(
        ["pgrep", "-f", f"kernel-{page.kernel_id()}.json"], capture_output=True, text=True, check=True
    )
    return int(found.stdout.split()[0])


def ticks(page: NotebookPage, seconds: float) -> int:
    """How many messages of the panel reach the page meanwhile."""
    page.js(
        "(() => { window.ticks = 0; jupyterapp.shell.currentWidget.sessionContext.iopubMessage.connect("
        "(_, m) => { if (m.header.msg_type === 'comm_msg') window.ticks++; }); })()"
    )
    page.sleep(seconds)
    return int(page.js("window.ticks"))


def test_two_tabs_show_and_do_the_same_and_one_is_enough(
    start: Start, page: NotebookPage, jupyter: JupyterServer, browser: Browser, app: str, oss: LocalOSS
) -> None:
    panel = start(page, background=True)
    page.save()
    second = NotebookPage(jupyter, browser, app)
    try:
        second.open(name=page.name)
        again = PanelOfCell(second, 1)
        again.wait_percent(panel.percent)
        again.click("Pause")
        again.wait_state("paused")
        panel.wait_state("paused", 3)
        # the first tab goes to the background and is closed there: the second keeps its pace
        page.js("Object.defineProperty(document, 'hidden', { get: () => true })")
        page.js("document.dispatchEvent(new Event('visibilitychange'))")
        page.page.close()
        again.click("Resume")
        again.wait_state("uploading", 3)
        told = ticks(second, 4)
        assert told >= 8, f"{told} messages in 4 s: a page that looks is told as little as a hidden one"
        oss.set_bandwidth(None)
        again.wait_state("done")
    finally:
        second.close()


def test_a_page_that_was_closed_finds_the_truth(
    start: Start, page: NotebookPage, jupyter: JupyterServer, browser: Browser, app: str, oss: LocalOSS
) -> None:
    start(page, background=True)
    page.save()
    page.page.close()
    oss.set_bandwidth(None)
    time.sleep(3)  # the upload ends while nobody looks
    assert oss.snapshot()["uploads"] == []
    later = NotebookPage(jupyter, browser, app)
    try:
        later.open(name=page.name)
        PanelOfCell(later, 1).wait_state("done", 10)
        later.run(2)
        PanelOfCell(later, 2).wait_state("done", 10)
    finally:
        later.close()


@pytest.mark.parametrize(("app", "meanwhile"), [("lab", "ended"), ("notebook", "moving")])
def test_a_lost_connection(
    start: Start,
    jupyter: JupyterServer,
    browser: Browser,
    app: str,
    oss: LocalOSS,
    line: Line,
    meanwhile: str,
) -> None:
    through = copy.copy(jupyter)
    through.url = f"http://127.0.0.1:{line.port}"
    page = NotebookPage(through, browser, app)
    try:
        panel = start(page, background=True)
        line.cut()
        alert(page, panel, "No connection to the kernel")
        before = panel.percent
        if meanwhile == "ended":
            oss.set_bandwidth(None)
        page.sleep(4)
        assert panel.percent == before
        line.mend()
        page.until(
            lambda: (
                page.js("jupyterapp.shell.currentWidget.sessionContext.session.kernel.connectionStatus")
                == "connected"
            ),
            60,
            "the front end does not connect again",
        )
        connected = time.monotonic()
        if meanwhile == "ended":
            panel.wait_state("done", 10)
        else:
            page.until(lambda: panel.percent > before, 10, "the panel stands still")
        print(f"the truth {time.monotonic() - connected:.2f} s after the connection")
        assert panel.root.get_by_role("alert").count() == 0
        oss.set_bandwidth(None)
        panel.wait_state("done")
    finally:
        page.server = jupyter
        page.close()


def test_a_killed_kernel_is_told_and_the_cell_goes_on(
    start: Start, page: NotebookPage, oss: LocalOSS
) -> None:
    panel = start(page)
    os.kill(kernel_pid(page), signal.SIGKILL)
    alert(page, panel, "The kernel that ran these uploads is gone. In a new one run")
    assert not panel.root.get_by_role("button", name="Pause", exact=True).is_enabled()
    page.wait_idle()
    page.sleep(1)
    oss.set_bandwidth(None)
    page.run(0)
    page.wait_cell(0)
    page.run(1)
    again = PanelOfCell(page, 1)
    again.wait_state("done", 60)
    assert page.errors(1) == []
    assert oss.snapshot()["uploads"] == []


def test_a_reload_while_the_cell_waits(start: Start, page: NotebookPage, oss: LocalOSS) -> None:
    """The kernel is busy in the cell that the page shows again: its panel moves, and its buttons work."""
    panel = start(page)
    page.save()
    before = panel.percent
    page.page.reload()
    page.until(panel.root.count, 60, "the panel did not come back")
    panel.wait_percent(before + 1)
    panel.click("Pause")
    panel.wait_state("paused", 5)
    panel.click("Resume")
    panel.wait_state("uploading", 5)
    oss.set_bandwidth(None)
    panel.wait_state("done")
    assert oss.snapshot()["uploads"] == []


@pytest.mark.parametrize("app", ["lab"])
def test_a_kernel_that_stays_dead(
    start: Start, page: NotebookPage, oss: LocalOSS, jupyter: JupyterServer
) -> None:
    """Jupyter gives up after some restarts; the panel goes on saying what to run, and it is true then."""
    panel = start(page)
    startup = jupyter.folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "00-dies.py").write_text("import os\nos._exit(1)\n")
    try:
        os.kill(kernel_pid(page), signal.SIGKILL)
        alert(page, panel, "The kernel that ran these uploads is gone. In a new one run")
        status = "jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status"
        page.until(lambda: page.js(status) in ("dead", None), 60, "Jupyter does not give up")
        page.sleep(1)
        assert panel.root.get_by_role("alert").filter(has_text="is gone").count() == 1
        for name in ("Pause", "Abort"):
            assert not panel.root.get_by_role("button", name=name, exact=True).is_enabled()
    finally:
        (startup / "00-dies.py").unlink()
    page.save()
    page.open(name=page.name)  # the page as it was left, with a new kernel
    oss.set_bandwidth(None)
    page.run(0)
    page.wait_cell(0)
    page.run(1)
    PanelOfCell(page, 1).wait_state("done", 60)
    assert oss.snapshot()["uploads"] == []


def test_a_lost_message_is_asked_for_again(start: Start, page: NotebookPage) -> None:
    panel = start(page, background=True)
    panel.wait_state("uploading")
    # messages are dropped on their way into the page: the one that says "paused" among them
    page.js(
        "(() => { const k = jupyterapp.shell.currentWidget.sessionContext.session.kernel;"
        " const old = k._handleMessage; window.dropped = 0; k._handleMessage = function (m) {"
        " if (m.header.msg_type === 'comm_msg' && window.dropping) { window.dropped++; return; }"
        " return old.apply(this, arguments); }; window.dropping = true; })()"
    )
    panel.click("Pause")
    page.until(lambda: page.js("window.dropped") > 1, 10, "nothing was dropped")
    page.sleep(1)
    page.js("window.dropping = false")
    panel.click("List parts")  # any next message tells of the gap
    panel.wait_state("paused", 10)
    panel.click("Abort")
    panel.click("Yes, abort")
    panel.wait_state("aborted")
