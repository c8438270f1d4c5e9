"""A real kernel, spoken to by a real client: live buttons, order, interrupts, no browser needed."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.connection import connect
from ossmp_jupyter.transfer.manager import call
from tests.kernels import own_sockets

MB = 1 << 20
UPLOAD = "%oss_upload big.bin big.bin --part-size 256KiB"
PROMPT = 1.0  # seconds from the stop button to the prompt; a tenth of it even on a busy machine


def _idle(said: dict[str, Any], message: str) -> bool:
    ended = said["msg_type"] == "status" and said["content"]["execution_state"] == "idle"
    return ended and said["parent_header"].get("msg_id") == message


class Kernel:
    """A kernel, and what it said so far."""

    def __init__(self, client: BlockingKernelClient, manager: KernelManager) -> None:
        self.client, self.manager = client, manager
        self.said: list[dict[str, Any]] = []
        self.subshell: str | None = None  # by which clicks come; the main shell by default

    @property
    def pid(self) -> int:
        """Of the kernel's process."""
        reply = self.run("import os; print('pid', os.getpid())")
        assert reply["status"] == "ok"
        said = [s["content"]["text"] for s in self.said if s["msg_type"] == "stream"]
        return int(next(text for text in said if text.startswith("pid")).split()[1])

    def send(self, code: str) -> str:
        """Queue a cell; returns its message ID."""
        message: str = self.client.execute(code)
        return message

    def run(self, code: str, timeout: float = 30) -> dict[str, Any]:
        """Run a cell to its end; returns the reply's content."""
        return self.reply(self.send(code), timeout)

    def reply(self, message: str, timeout: float = 30) -> dict[str, Any]:
        """Wait for a cell's reply."""

        def found() -> dict[str, Any] | None:
            with contextlib.suppress(queue.Empty):
                self.said.append(self.client.get_shell_msg(timeout=0.01))
            for said in self.said:
                if said["parent_header"].get("msg_id") == message and said["msg_type"] == "execute_reply":
                    content: dict[str, Any] = said["content"]
                    return content
            return None

        content: dict[str, Any] = self.until(found, "the cell did not end", timeout)
        end = time.monotonic() + 20  # outputs travel on another channel than the reply
        while not any(_idle(said, message) for said in self.said) and time.monotonic() < end:
            self.listen()
        return content

    def listen(self) -> None:
        """Take in whatever has been published."""
        while True:
            try:
                self.said.append(self.client.get_iopub_msg(timeout=0.01))
            except queue.Empty:
                return

    def until(self, found: Callable[[], Any], what: str, timeout: float = 30) -> Any:
        end = time.monotonic() + timeout
        while True:
            self.listen()
            value = found()
            if value:
                return value
            assert time.monotonic() < end, what

    # -- what a page would do ------------------------------------------------------------------
    @property
    def hub(self) -> str:
        """The comm of the panel's hub."""
        for message in self.said:
            if message["msg_type"] == "comm_open":
                state = message["content"]["data"].get("state", {})
                if "key" in state:
                    comm: str = message["content"]["comm_id"]
                    return comm
        return ""

    def custom(self, kind: str) -> list[dict[str, Any]]:
        """Custom messages of the hub."""
        found = []
        for message in self.said:
            if message["msg_type"] == "comm_msg" and message["content"]["comm_id"] == self.hub:
                content = message["content"]["data"].get("content", {})
                if content.get("t") == kind:
                    found.append(content)
        return found

    def click(self, **content: Any) -> None:
        """Send what the panel's script sends."""
        data = {"method": "custom", "content": content}
        message = self.client.session.msg("comm_msg", {"comm_id": self.hub, "data": data})
        if self.subshell is not None:
            message["header"]["subshell_id"] = self.subshell
        self.client.shell_channel.send(message)

    def output(self, message: str) -> str:
        """Streams and errors of one cell."""
        pieces = []
        for said in self.said:
            if said["parent_header"].get("msg_id") == message:
                if said["msg_type"] == "stream":
                    pieces.append(said["content"]["text"])
                elif said["msg_type"] == "error":
                    pieces += said["content"]["traceback"]
        return "\n".join(pieces)


@pytest.fixture
def oss() -> Iterator[LocalOSS]:
    with LocalOSS() as server:
        yield server


@pytest.fixture
def kernel(oss: LocalOSS, tmp_path: Path) -> Iterator[Kernel]:
    (tmp_path / "big.bin").write_bytes(os.urandom(8 * MB))
    with new_kernel(oss, tmp_path) as kernel:
        oss.set_bandwidth("1MB/s")
        yield kernel


@contextlib.contextmanager
def new_kernel(oss: LocalOSS, tmp_path: Path) -> Iterator[Kernel]:
    environment = {**os.environ, **oss.environment(), "OSSMP_STATE_DIR": str(tmp_path / "state")}
    environment["IPYTHONDIR"] = str(tmp_path / "ipython")
    with own_sockets() as sockets:
        manager = KernelManager(kernel_name="python3", **sockets)
        manager.start_kernel(env=environment, cwd=str(tmp_path))
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=60)
            kernel = Kernel(client, manager)
            assert kernel.run("%load_ext ossmp_jupyter\n%oss_connect")["status"] == "ok"
            yield kernel
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def uploading(kernel: Kernel, code: str = UPLOAD) -> str:
    """Start the upload in a cell that waits, and wait until parts are confirmed; its message ID."""
    cell = kernel.send(code)
    kernel.until(lambda: kernel.hub, "no panel")
    kernel.click(t="hello")
    kernel.until(lambda: confirmed(kernel) > 0, "no progress")
    return cell


def served(kernel: Kernel) -> None:
    """Wait until the running cell serves clicks: it does so while it waits, and before that nowhere."""
    known = len(kernel.custom("say"))
    kernel.click(t="do", do="parts", id="nobody")
    kernel.until(lambda: len(kernel.custom("say")) > known, "the cell does not wait")


def stop(kernel: Kernel, cell: str) -> tuple[dict[str, Any], float]:
    """Press the stop button; returns the cell's reply, and the seconds until the kernel was idle.

    By the kernel's own time of that message: whether the test stands still meanwhile is nothing to the user.
    """
    kernel.manager.interrupt_kernel()
    pressed = datetime.now(UTC)
    reply = kernel.reply(cell)
    (back,) = (said["header"]["date"] for said in kernel.said if _idle(said, cell))
    return reply, (back - pressed).total_seconds()


def rows(kernel: Kernel) -> dict[str, dict[str, Any]]:
    latest: dict[str, dict[str, Any]] = {}
    for message in kernel.custom("rows"):
        latest.update({row["id"]: row for row in message["rows"]})
    return latest


def confirmed(kernel: Kernel) -> float:
    return max((row.get("percent", 0.0) for row in rows(kernel).values()), default=0.0)


def test_the_kernel_is_of_the_version_asked_for(kernel: Kernel) -> None:
    """For ``make test-kernels``, which puts one version after the other in front."""
    wanted = os.environ.get("OSSMP_TEST_IPYKERNEL")
    reply = kernel.run("import ipykernel; assert ipykernel.__version__ == " + (repr(wanted) if wanted else
                       "ipykernel.__version__"))  # fmt: skip
    assert reply["status"] == "ok", reply


def test_list_parts_and_abort_while_the_cell_waits(kernel: Kernel, oss: LocalOSS) -> None:
    cell, queued = uploading(kernel), kernel.send("print('the next cell ran')")
    (row,) = rows(kernel).values()
    kernel.click(t="do", do="parts", id=row["id"])
    shown = kernel.until(lambda: kernel.custom("parts"), "no parts")[0]
    stored = {part["etag"] for upload in oss.snapshot()["uploads"] for part in _parts(upload)}
    assert {etag for _, _, etag, _ in shown["parts"]} <= stored
    assert shown["total"] >= 1

    kernel.click(t="do", do="abort", id=row["id"])
    reply = kernel.reply(cell)
    assert (reply["status"], reply["ename"]) == ("error", "UploadAborted")
    assert len(kernel.output(cell).strip().splitlines()) <= 5
    assert oss.snapshot()["uploads"] == []
    assert kernel.reply(queued)["status"] == "aborted"
    assert "the next cell ran" not in kernel.output(queued)


def _parts(upload: dict[str, Any]) -> list[dict[str, Any]]:
    parts = upload["parts"]
    return list(parts.values()) if isinstance(parts, dict) else list(parts)


def test_pause_and_resume_while_the_cell_waits(kernel: Kernel, oss: LocalOSS) -> None:
    cell = uploading(kernel)
    (row,) = rows(kernel).values()
    kernel.click(t="do", do="pause", id=row["id"])
    kernel.until(lambda: rows(kernel)[row["id"]]["state"] == "paused", "not paused")
    # said by another thread than the one that tells the state
    said = lambda: [m for m in kernel.custom("say") if m["text"].startswith("Paused big.bin")]  # noqa: E731
    kernel.until(said, "nothing said")
    oss.set_bandwidth(None)
    kernel.click(t="do", do="resume", id=row["id"])
    assert kernel.reply(cell)["status"] == "ok"
    assert "verified, ETag" in kernel.output(cell)
    kernel.until(lambda: rows(kernel)[row["id"]]["state"] == "done", "the panel does not say that it is done")


def test_buttons_live_also_in_a_cell_that_waits_by_a_method(kernel: Kernel, oss: LocalOSS) -> None:
    start = UPLOAD.replace("%oss_upload", "h = %oss_upload") + " -b"
    cell = uploading(kernel, f"{start}\nh.wait()")
    (row,) = rows(kernel).values()
    kernel.click(t="do", do="abort", id=row["id"])
    reply = kernel.reply(cell)
    assert (reply["status"], reply["ename"]) == ("error", "UploadAborted")
    assert oss.snapshot()["uploads"] == []


def test_the_stop_button_pauses_a_wait_by_a_method(kernel: Kernel, oss: LocalOSS) -> None:
    start = UPLOAD.replace("%oss_upload", "h = %oss_upload") + " -b"
    cell = uploading(kernel, f"{start}\nh.wait()")
    served(kernel)
    kernel.manager.interrupt_kernel()
    assert kernel.reply(cell)["ename"] == "KeyboardInterrupt"
    kernel.until(lambda: [row["state"] for row in rows(kernel).values()] == ["paused"], "not paused")
    assert len(oss.snapshot()["uploads"]) == 1
    says_how_it_goes_on(kernel, cell, "h.wait()")

    # the same of an await
    cell = kernel.send("h.resume()\nresult = await h")
    kernel.until(lambda: "uploading" in [row["state"] for row in rows(kernel).values()], "not resumed")
    served(kernel)
    kernel.manager.interrupt_kernel()
    assert kernel.reply(cell)["ename"] in ("KeyboardInterrupt", "CancelledError")
    says_how_it_goes_on(kernel, cell, "result = await h")


def says_how_it_goes_on(kernel: Kernel, cell: str, line: str) -> None:
    """One line how, and of the traceback the user's own line alone."""
    said = kernel.output(cell)
    assert re.search(
        r"paused big\.bin → oss://demo/big\.bin \(\w+\): run this cell again, or %oss_resume u1", said
    )
    (trace,) = (one["content"]["traceback"] for one in kernel.said
                if one["msg_type"] == "error" and one["parent_header"].get("msg_id") == cell)  # fmt: skip
    assert line in "\n".join(trace) and len("\n".join(trace).splitlines()) <= 3, trace


def test_queued_cells_keep_their_order_and_their_output(kernel: Kernel, oss: LocalOSS) -> None:
    cell = uploading(kernel)
    queued = [kernel.send(f"print('cell', {i})") for i in range(5)]
    for _ in range(5):
        kernel.click(t="hidden", hidden=False)  # comm messages between the queued cells
    oss.set_bandwidth(None)
    kernel.reply(cell)
    for i, message in enumerate(queued):
        assert kernel.reply(message)["status"] == "ok"
        assert kernel.output(message).strip() == f"cell {i}"
    counts = [kernel.reply(message)["execution_count"] for message in (cell, *queued)]
    assert counts == sorted(counts)
    assert "big.bin" in kernel.output(cell)


def test_an_error_in_a_handler_shows_in_the_panel(kernel: Kernel) -> None:
    uploading(kernel)
    kernel.click(t="do", do="parts", id="nobody")
    said = kernel.until(lambda: [m for m in kernel.custom("say") if m["bad"]], "nothing said")
    assert "%oss_uploads" in said[0]["text"]
    kernel.click(t="do", do="dance", id="u1")
    kernel.until(lambda: [m for m in kernel.custom("say") if "dance" in m["text"]], "nothing said")


def test_the_stop_button_pauses_and_aborts_nothing(kernel: Kernel, oss: LocalOSS) -> None:
    cell = uploading(kernel)
    served(kernel)
    kernel.manager.interrupt_kernel()
    reply = kernel.reply(cell)
    assert (reply["status"], reply["ename"]) == ("error", "KeyboardInterrupt")
    text = kernel.output(cell)
    assert "paused big.bin" in text
    assert "%oss_resume u1" in text
    assert "Traceback" not in text
    (left,) = oss.snapshot()["uploads"]
    (row,) = rows(kernel).values()
    assert left["upload_id"] == row["upload_id"]

    # An idle kernel must survive the next interrupt: the pump gave the signal handler back.
    kernel.manager.interrupt_kernel()
    time.sleep(0.3)
    oss.set_bandwidth(None)
    again = kernel.send(UPLOAD)
    assert kernel.reply(again)["status"] == "ok"
    assert left["upload_id"] == rows(kernel)["u1"]["upload_id"]
    assert oss.snapshot()["uploads"] == []


def test_a_killed_kernel_is_taken_over_by_the_same_cell_in_a_new_one(
    kernel: Kernel, oss: LocalOSS, tmp_path: Path
) -> None:
    pid = kernel.pid
    uploading(kernel)
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    (left,) = oss.snapshot()["uploads"]
    stored = len(_parts(left))
    assert 0 < stored < 32
    oss.set_bandwidth(None)
    oss.journal(clear=True)
    with new_kernel(oss, tmp_path) as again:
        cell = again.send(UPLOAD)
        assert again.reply(cell)["status"] == "ok"
        assert "verified, ETag" in again.output(cell)
    sent = [said for said in oss.journal() if said["operation"] == "UploadPart"]
    assert len(sent) <= 32 - stored
    assert {said["upload_id"] for said in sent} == {left["upload_id"]}
    assert oss.snapshot()["uploads"] == []
    with connected(oss) as read:
        assert read("big.bin") == (tmp_path / "big.bin").read_bytes()


@contextlib.contextmanager
def connected(oss: LocalOSS) -> Iterator[Callable[[str], bytes]]:
    connection = connect(
        endpoint=oss.endpoint,
        region=oss.region,
        bucket=oss.bucket,
        access_key_id=oss.access_key_id,
        access_key_secret=oss.access_key_secret,
    )
    yield lambda key: call(lambda client: client.get(key), connection).result(30)


def test_an_interrupt_after_clicks_still_ends_only_the_cell(kernel: Kernel) -> None:
    """ipykernel keeps the old SIGINT handler in one slot; nested dispatch must not lose it."""
    cell = uploading(kernel)
    for _ in range(20):
        kernel.click(t="hidden", hidden=False)
    served(kernel)
    kernel.manager.interrupt_kernel()
    assert kernel.reply(cell)["ename"] == "KeyboardInterrupt"
    for _ in range(3):
        kernel.manager.interrupt_kernel()
        time.sleep(0.2)
    assert kernel.manager.is_alive()
    assert kernel.run("40 + 2")["status"] == "ok"


def test_a_hidden_page_is_told_less(kernel: Kernel, oss: LocalOSS) -> None:
    uploading(kernel)
    oss.set_bandwidth("500kB/s")  # longer than the test looks
    told = lambda: len([m for m in kernel.custom("rows") if "order" in m])  # noqa: E731
    before = told()
    kernel.click(t="hidden", hidden=True)
    kernel.click(t="hello", page="another", hidden=True)  # whose answer tells that both were heard
    kernel.until(lambda: told() > before, "no answer to hello")
    began, before = time.monotonic(), len(kernel.custom("rows"))
    time.sleep(4)
    kernel.listen()
    heard = len(kernel.custom("rows")) - before
    assert 1 <= heard <= time.monotonic() - began + 2  # five times as many to a page that is seen


def test_unloading_leaves_a_table_and_nothing_of_the_panel(kernel: Kernel) -> None:
    kernel.run("%oss_uploads --local-only")
    kernel.run("%reload_ext ossmp_jupyter")
    kernel.run(
        "import threading, ipywidgets.widgets.widget\n"
        "print('left', [t.name for t in threading.enumerate() if t.name == 'ossmp-panel'],"
        " [w for w in ipywidgets.widgets.widget._instances.values() if 'ossmp' in type(w).__module__])"
    )
    said = [s["content"]["text"] for s in kernel.said if s["msg_type"] == "stream"]
    assert "left [] []" in "".join(said)
    updates = [s["content"]["data"] for s in kernel.said if s["msg_type"] == "update_display_data"]
    assert updates, "the cell keeps buttons that nobody answers"
    assert set(updates[-1]) == {"text/plain", "text/html"}


def test_background_uploads_need_no_cell(kernel: Kernel, oss: LocalOSS) -> None:
    kernel.run(UPLOAD + " -b")
    kernel.click(t="hello")
    kernel.until(lambda: confirmed(kernel) > 0, "no progress")
    oss.set_bandwidth(None)
    kernel.until(lambda: rows(kernel)["u1"]["state"] == "done", "not done")
    assert kernel.run("%oss_wait")["status"] == "ok"


def displays(kernel: Kernel, cell: str, kind: str) -> list[dict[str, Any]]:
    mine = (said for said in kernel.said if said["parent_header"].get("msg_id") == cell)
    return [said["content"]["data"] for said in mine if said["msg_type"] == kind]


def test_an_upload_that_is_a_cells_value_is_its_row_of_the_panel(kernel: Kernel, oss: LocalOSS) -> None:
    python = "from ossmp_jupyter import upload\nh = upload('big.bin', 'oss://demo/h', part_size='256KiB')\nh"
    cell = uploading(kernel, python)
    assert kernel.reply(cell)["status"] == "ok"
    (shown,) = displays(kernel, cell, "display_data")
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert displays(kernel, cell, "execute_result") == []
    (row,) = rows(kernel).values()
    kernel.click(t="do", do="abort", id=row["id"])
    kernel.until(lambda: rows(kernel)[row["id"]]["state"] == "aborted", "the buttons do nothing")
    assert kernel.run("assert _ is h and h.state.value == 'aborted'")["status"] == "ok"

    # once a cell, and as text where nothing is shown
    magic = kernel.send(UPLOAD.replace("%oss_upload", "h = %oss_upload") + " -b\nh")
    kernel.reply(magic)
    assert len(displays(kernel, magic, "display_data")) == 1
    plain = kernel.send("%config OssMagics.ui = 'text'\nh")
    kernel.reply(plain)
    for texts in (displays(kernel, magic, "execute_result"), displays(kernel, plain, "execute_result")):
        assert texts[0]["text/plain"].startswith("<Upload "), texts
    assert displays(kernel, plain, "display_data") == []


def test_a_box_with_impossible_options_is_refused_in_its_cell(kernel: Kernel) -> None:
    """Not in a click, when somebody has chosen a file."""
    for options, words in {
        "--part-size 1x": "'1x' is not a size",
        "--parallel two": "'two' is not a number of parts",
        "--meta own_er=me": "'own_er' is not possible",
        "oss://Bad_Bucket/dir/": "'Bad_Bucket' is not a bucket name",
        "s3://demo/": "an s3:// address",
    }.items():
        reply = kernel.run(f"%oss_pick {options}")
        assert reply["ename"] == "InputError", options
        assert words in reply["evalue"]
    assert kernel.run("%oss_pick oss://demo/dir/ --part-size 1MiB --parallel 3 --meta a=b")["status"] == "ok"
