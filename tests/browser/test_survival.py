"""The panel outlives pages, tabs and connections, and says so when its kernel is gone."""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ossmp_jupyter.localoss import LocalOSS
from tests.browser.lab import APPS, Browser, NotebookPage
from tests.browser.line import Line
from tests.browser.panel import PanelOfCell
from tests.browser.server import JupyterServer
from tests.browser.watch import Watch, moved, says, shows, twice

MIB = 1 << 20
SIZE = 24 * MIB + 12345
GONE = "The kernel that ran these uploads is gone. In a new one run %load_ext, %oss_connect and this cell"
ENDINGS = ("restarting", "autorestarting", "dead")
_NOTEBOOK = "jupyterapp.shell.currentWidget.content"
_KERNEL = "jupyterapp.shell.currentWidget.sessionContext.session?.kernel"


@pytest.fixture
def line(jupyter: JupyterServer) -> Iterator[Line]:
    made = Line(int(jupyter.url.rpartition(":")[2]))
    yield made
    made.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "quarter.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


Start = Callable[..., PanelOfCell]


@pytest.fixture
def start(oss: LocalOSS, setup_cell: Callable[[], str], source: Path) -> Start:
    """Open a notebook on a page and let it upload over a slow line."""

    def begin(
        page: NotebookPage, *, background: bool = False, key: str = "q.bin", pace: str = "500KB/s"
    ) -> PanelOfCell:
        oss.set_bandwidth(pace)
        flag = " -b" if background else ""
        page.open(
            [
                setup_cell(),
                f"%oss_upload {source} oss://demo/{key} --part-size 128KiB --parallel 3{flag}",
                "%oss_uploads",
            ]
        )
        page.run(0)
        page.wait_cell(0)
        page.run(1)
        panel = PanelOfCell(page, 1)
        panel.wait_percent(5)
        return panel

    return begin


@pytest.fixture
def watch(page: NotebookPage) -> Watch:
    return Watch(page)


def stored(oss: LocalOSS, key: str = "q.bin") -> int:
    """How many percent of the upload the server has: what a panel has to show."""
    return max(
        (
            100 * sum(part["size"] for part in upload["parts"]) // SIZE
            for upload in oss.snapshot()["uploads"]
            if upload["key"] == key
        ),
        default=100,
    )


def connection(page: NotebookPage) -> str:
    return str(page.js(f"{_KERNEL}?.connectionStatus"))


def kernel_pid(page: NotebookPage) -> int:
    found = subprocess.run(
        ["pgrep", "-f", f"kernel-{page.kernel_id()}.json"], capture_output=True, text=True, check=True
    )
    return int(found.stdout.split()[0])


def ticks(page: NotebookPage, seconds: float) -> int:
    """How many messages of the panel reach the page meanwhile."""
    page.js(
        "(() => { window.ticks = 0; if (window.counts) return; window.counts = true;"
        " jupyterapp.shell.currentWidget.sessionContext.iopubMessage.connect("
        "(_, m) => { if (m.header.msg_type === 'comm_msg') window.ticks++; }); })()"
    )
    page.sleep(seconds)
    return int(page.js("window.ticks"))


def test_two_tabs_show_and_do_the_same_and_one_is_enough(
    start: Start,
    page: NotebookPage,
    watch: Watch,
    jupyter: JupyterServer,
    browser: Browser,
    app: str,
    oss: LocalOSS,
) -> None:
    start(page, background=True)
    page.save()
    second = NotebookPage(jupyter, browser, app)
    watched = Watch(second)
    try:
        again = PanelOfCell(second, 1)

        def look() -> None:
            there = stored(oss)
            second.open(name=page.name)
            watched.in_time(moved(there), watched.asked(), "a second tab")

        def pause() -> None:
            clicked = watched.now()
            again.click("Pause")
            effect = watched.when(shows("paused"), clicked)
            watch.in_time(shows("paused"), effect, "a click in the other tab")

        def resume() -> None:
            again.click("Resume")
            PanelOfCell(page, 1).wait_state("uploading")

        twice(look)
        twice(pause, between=resume)
        # the first tab goes to the background and is closed there: the second keeps its pace
        page.js("Object.defineProperty(document, 'hidden', { get: () => true })")
        page.js("document.dispatchEvent(new Event('visibilitychange'))")
        page.page.close()
        again.click("Resume")
        again.wait_state("uploading")
        # some 20 in 4 s; a hidden page is told 4. A machine may stand still for some of them.
        told = ticks(second, 4)
        if told < 8:
            told = ticks(second, 4)
        assert told >= 8, f"{told} messages in 4 s: a page that looks is told as little as a hidden one"
        oss.set_bandwidth(None)
        again.wait_state("done")
    finally:
        second.close()


@pytest.mark.timeout(240)
def test_tabs_that_were_closed_for_a_minute(
    start: Start,
    jupyter: JupyterServer,
    browser: Browser,
    oss: LocalOSS,
    tmp_path: Path,
) -> None:
    """Both front ends in one minute. One upload ends meanwhile, and its panel becomes a table; one goes on.

    The Jupyter server keeps all messages for a page that is lost: the kernel must not go on as if one looked.
    """
    small, said = tmp_path / "small.bin", len(jupyter.log())
    small.write_bytes(os.urandom(MIB // 4))
    before = [NotebookPage(jupyter, browser, app) for app in APPS]
    after = [NotebookPage(jupyter, browser, app) for app in APPS]
    try:
        for page in before:
            start(page, background=True, key=page.app, pace="300KB/s")
            for command in (f"%oss_upload {small} oss://demo/small-{page.app}.bin -b", "%oss_uploads"):
                page.js("jupyterapp.commands.execute('notebook:insert-cell-below').then(() => true)")
                page.js(f"{_NOTEBOOK}.activeCell.model.sharedModel.setSource({json.dumps(command)})")
                page.command("notebook:run-cell")
            PanelOfCell(page, 2).of("small").row.wait_for()
            page.save()
        for page in before:
            page.page.close()
        while not all(f"demo/small-{app}.bin" in oss.snapshot()["objects"] for app in APPS):
            time.sleep(0.1)
        oss.set_bandwidth("100KB/s")
        closed = {page.app: stored(oss, page.app) for page in before}
        time.sleep(60)
        oss.set_bandwidth("600KB/s")
        for page, later in zip(before, after, strict=True):
            watch, there = Watch(later), stored(oss, page.app)
            assert closed[page.app] < there < 95, "nothing is left to be seen"
            later.open(name=page.name)
            drawn = watch.asked()
            watch.in_time(moved(there), drawn, f"{page.app} after a minute")
            watch.in_time(shows("done"), drawn, f"{page.app} after a minute, the small file")
            watch.when(moved(there + 3), drawn)  # at once: the kernel sees that a page is back
        # each kernel said 5 things a second for half a minute, then next to nothing
        left = [int(n) for n in re.findall(r"(?i)discarding (\d+) buffered messages", jupyter.log()[said:])]
        assert len(left) >= 2 and max(left) < 220, left
    finally:
        for page in after:
            page.close()


def test_a_lost_connection(
    start: Start,
    jupyter: JupyterServer,
    browser: Browser,
    app: str,
    oss: LocalOSS,
    line: Line,
) -> None:
    """Lost while a cell waits; then again, until the front end gives up and the upload is done."""
    through = copy.copy(jupyter)
    through.url = f"http://127.0.0.1:{line.port}"
    page = NotebookPage(through, browser, app)
    watch = Watch(page)
    try:
        panel = start(page)
        oss.set_bandwidth("300KB/s")  # JupyterLab takes its time to connect again

        def lose_and_find() -> None:
            now = watch.now()
            line.cut()
            lost = watch.first("connection", "connecting", since=now)
            watch.in_time(says("No connection to the kernel"), lost, "a cut")
            before = panel.percent
            assert panel.root.get_by_role("button", disabled=False).count() == 0, "a click would come late"
            page.until(lambda: stored(oss) > before + 2, 30, "the upload does not go on")
            assert panel.percent == before
            there, mended = stored(oss), watch.now()
            line.mend()
            back = watch.first("connection", "connected", since=mended)
            watch.in_time(moved(there), back, "connected again, moving")
            assert panel.root.get_by_role("alert").count() == 0

        def mend() -> None:
            line.mend()
            page.until(lambda: connection(page) == "connected", 60, "not connected again")

        twice(lose_and_find, between=mend)

        page.js(f"(() => {{ const k = {_KERNEL}; k._reconnectAttempt = k._reconnectLimit; }})()")
        line.cut()
        again = panel.root.get_by_role("button", name="Connect again")
        again.wait_for()
        oss.set_bandwidth(None)
        page.until(lambda: oss.snapshot()["uploads"] == [], 30, "the upload does not end")
        assert panel.attribute("data-state") == "uploading"
        line.mend()
        mended = watch.now()

        def connect() -> bool:
            if page.page.get_by_role("dialog").count():  # JupyterLab tells it, too, sooner or later
                page.page.keyboard.press("Escape")
            again.click(timeout=2000)
            return True

        page.until(connect, 40, "it cannot be clicked")
        back = watch.first("connection", "connected", since=mended)
        watch.in_time(shows("done"), back, "connected again, ended")
        page.wait_cell(1)
        assert page.errors(1) == []
    finally:
        page.server = jupyter
        page.close()


def test_a_killed_kernel_is_told_and_the_cell_goes_on(
    start: Start, page: NotebookPage, watch: Watch, oss: LocalOSS
) -> None:
    panel = start(page)
    os.kill(kernel_pid(page), signal.SIGKILL)
    watch.in_time(says(GONE), watch.first("status", *ENDINGS), "a killed kernel")
    page.wait_idle()
    # what is saved from now on can be read without that kernel
    page.wait_text(1, f"was uploading(.|\\n)*{GONE}")
    assert panel.root.count() == 0
    page.save()
    page.page.reload()
    page.wait_text(1, f"was uploading(.|\\n)*{GONE}")
    page.wait_idle()

    there, now = stored(oss), watch.now()
    page.run(0)
    page.wait_cell(0)
    page.run(1)
    watch.in_time(moved(there), watch.when(shows("uploading"), now), "the cell in a new kernel")
    oss.set_bandwidth(None)
    PanelOfCell(page, 1).wait_state("done", 60)
    assert page.errors(1) == []
    assert oss.snapshot()["uploads"] == []


def test_a_restarted_kernel_is_told_in_every_panel(
    start: Start, page: NotebookPage, watch: Watch, oss: LocalOSS
) -> None:
    start(page, background=True)
    page.run(2)
    page.wait_cell(2)
    everything = PanelOfCell(page, 2)
    everything.root.get_by_role("button", name="Upload files…").wait_for()
    page.restart()
    watch.in_time(says(GONE), watch.first("status", *ENDINGS), "a restarted kernel")
    for cell in (1, 2):
        page.wait_text(cell, f"was uploading(.|\\n)*{GONE}")
    page.run(0)
    page.wait_cell(0)
    now = watch.now()
    page.run(2)  # or %oss_uploads, as the sentence says
    drawn = watch.when(bool, now)
    watch.in_time(shows("unfinished"), drawn, "%oss_uploads in a new kernel")
    oss.set_bandwidth(None)
    everything.click("Resume")
    page.until(lambda: oss.snapshot()["uploads"] == [], 30, "it was not resumed")


def test_a_reload_while_the_cell_waits(start: Start, page: NotebookPage, watch: Watch, oss: LocalOSS) -> None:
    """The kernel is busy in the cell that the page shows again: its panel moves, and its buttons work."""
    panel = start(page)
    page.save()

    def reload() -> None:
        there = stored(oss)
        page.page.reload()
        watch.in_time(moved(there), watch.asked(), "a reload")

    twice(reload)
    panel.click("Pause")
    panel.wait_state("paused")
    panel.click("Resume")
    panel.wait_state("uploading")
    oss.set_bandwidth(None)
    panel.wait_state("done")
    assert oss.snapshot()["uploads"] == []


def test_a_kernel_that_stays_dead(
    start: Start, page: NotebookPage, watch: Watch, oss: LocalOSS, jupyter: JupyterServer
) -> None:
    """Jupyter gives up after some restarts; the cell goes on saying what to run, and it is true then."""
    start(page)
    startup = jupyter.folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "00-dies.py").write_text("import os\nos._exit(1)\n")
    try:
        os.kill(kernel_pid(page), signal.SIGKILL)
        watch.in_time(says(GONE), watch.first("status", *ENDINGS), "a killed kernel")
        status = f"{_KERNEL}?.status"
        page.until(lambda: page.js(status) in ("dead", None), 120, "Jupyter does not give up")
        page.wait_text(1, GONE)
        assert page.cell(1).get_by_role("button", disabled=False).filter(has_text="Abort").count() == 0
    finally:
        (startup / "00-dies.py").unlink()
    page.save()
    page.open(name=page.name)  # the page as it was left, with a new kernel
    page.wait_text(1, f"was uploading(.|\\n)*{GONE}")
    oss.set_bandwidth(None)
    page.run(0)
    page.wait_cell(0)
    page.run(1)
    PanelOfCell(page, 1).wait_state("done", 60)
    assert oss.snapshot()["uploads"] == []


def test_a_page_that_stood_still(start: Start, page: NotebookPage, watch: Watch, oss: LocalOSS) -> None:
    """As in a tab that the browser froze, or a laptop that slept for longer than the panel bears silence."""
    start(page, background=True)
    oss.set_bandwidth("700KB/s")
    line = page.page.context.new_cdp_session(page.page)
    line.send("Debugger.enable")

    def sleep() -> None:
        asleep = watch.now()
        line.send("Debugger.pause")
        time.sleep(7)
        there = stored(oss)
        line.send("Debugger.resume")
        watch.in_time(moved(there), watch.after(asleep + 3000), "a page that stood still")

    twice(sleep)
    line.send("Debugger.disable")


def test_a_kernel_that_died_while_no_page_was_open(
    start: Start, page: NotebookPage, jupyter: JupyterServer, browser: Browser, app: str
) -> None:
    """With the state of widgets in the notebook, as the front end's settings offer it, the panel says so."""
    start(page, background=True)
    setting = "jupyterapp.commands.execute('@jupyter-widgets/jupyterlab-manager:saveWidgetState')"
    page.js(f"{setting}.then(() => true)")
    try:
        page.until(lambda: "widgets" in page.save()["metadata"], 30, "the state of widgets is not saved")
    finally:
        page.js(f"{setting}.then(() => true)")
    pid = kernel_pid(page)
    page.page.close()
    os.kill(pid, signal.SIGKILL)
    later = NotebookPage(jupyter, browser, app)
    watch = Watch(later)
    try:
        later.open(name=page.name)
        watch.in_time(says(GONE), watch.drawn(), "a kernel that died while no page was open")
        assert PanelOfCell(later, 1).root.get_by_role("button", disabled=False).count() == 0
    finally:
        later.close()


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
    page.until(lambda: page.js("window.dropped") > 1, 20, "nothing was dropped")
    page.sleep(1)
    page.js("window.dropping = false")
    panel.click("List parts")  # any next message tells of the gap
    panel.wait_state("paused")
    panel.click("Abort")
    panel.click("Yes, abort")
    panel.wait_state("aborted")
