"""Waiting in a kernel where the user has changed asyncio, in an async cell, in a thread of the user's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ossmp_jupyter.localoss import LocalOSS
from tests.notebook.test_kernel import PROMPT, Kernel, confirmed, kernel, oss, rows, served, stop

__all__ = ["kernel", "oss"]

pytestmark = pytest.mark.timeout(120)

MAGIC = "%oss_upload big.bin {key} --part-size 256KiB"
METHOD = f"h = {MAGIC} -b\nh.wait()"
AWAIT = f"h = {MAGIC} -b\nr = await h"
IN_A_TASK = "async def go():\n    return await h\ntask = asyncio.create_task(go())"
THREAD = (
    f"import threading\nh = {MAGIC} -b\nends = []\n"
    "def run():\n    try:\n        ends.append(h.wait().verified)\n"
    "    except BaseException as error:\n        ends.append(type(error).__name__)\n"
    "t = threading.Thread(target=run); t.start()"
)

TASK = (
    "import asyncio\nn = 0\nasync def tick():\n    global n\n    while True:\n        n += 1\n"
    "        await asyncio.sleep(0.01)\ntask = asyncio.create_task(tick())"
)


def begin(kernel: Kernel, oss: LocalOSS, code: str, key: str) -> tuple[str, str]:
    """Run a cell that waits; returns its message ID and the upload's, once parts are confirmed."""
    oss.set_bandwidth("1MB/s")
    known = set(rows(kernel))
    cell = kernel.send(code.format(key=key))
    kernel.until(lambda: kernel.hub, "no panel")
    kernel.click(t="hello")
    (name,) = kernel.until(lambda: set(rows(kernel)) - known, "no new upload")
    kernel.until(lambda: rows(kernel)[name].get("percent", 0.0) > 0, "no progress")
    assert confirmed(kernel) > 0
    return cell, name


def state(kernel: Kernel, name: str) -> str:
    said: str = rows(kernel)[name]["state"]
    return said


def printed(kernel: Kernel) -> str:
    return "".join(said["content"]["text"] for said in kernel.said if said["msg_type"] == "stream")


def pause_resume_and_order(kernel: Kernel, oss: LocalOSS, code: str, key: str) -> None:
    """Clicks take effect while the cell waits, and the cells behind it come after it, in order."""
    cell, name = begin(kernel, oss, code, key)
    queued = [kernel.send(f"print('cell', {i})") for i in range(3)]
    kernel.click(t="do", do="pause", id=name)
    kernel.until(lambda: state(kernel, name) == "paused", "the click had no effect")
    assert not any("cell 0" in kernel.output(message) for message in queued)
    oss.set_bandwidth(None)
    kernel.click(t="do", do="resume", id=name)
    replies = [kernel.reply(message) for message in (cell, *queued)]
    assert [reply["status"] for reply in replies] == ["ok"] * 4
    counts = [reply["execution_count"] for reply in replies]
    assert counts == sorted(counts)
    assert [kernel.output(message).strip() for message in queued] == ["cell 0", "cell 1", "cell 2"]


def abort_stops_what_follows(kernel: Kernel, oss: LocalOSS, code: str, key: str) -> None:
    cell, name = begin(kernel, oss, code, key)
    queued = kernel.send("print('the next cell ran')")
    kernel.click(t="do", do="abort", id=name)
    reply = kernel.reply(cell)
    assert (reply["status"], reply["ename"]) == ("error", "UploadAborted")
    assert kernel.reply(queued)["status"] == "aborted"
    assert oss.snapshot()["uploads"] == []


def stop_button(kernel: Kernel, oss: LocalOSS, code: str, key: str) -> None:
    """The prompt is back within a second, the upload rests, and the same cell goes on with it."""
    cell, name = begin(kernel, oss, code, key)
    served(kernel)
    reply, took = stop(kernel, cell)
    assert reply["ename"] in ("KeyboardInterrupt", "CancelledError")
    assert took < PROMPT
    kernel.until(lambda: state(kernel, name) == "paused", "not paused")
    (left,) = oss.snapshot()["uploads"]
    assert left["upload_id"] == rows(kernel)[name]["upload_id"]
    oss.set_bandwidth(None)
    assert kernel.run(code.format(key=key))["status"] == "ok"
    kernel.until(lambda: state(kernel, name) == "done", "the panel does not say that it is done")
    assert oss.snapshot()["uploads"] == []


@pytest.mark.parametrize("nest", ["nest_asyncio", "nest_asyncio2"])
def test_where_the_user_lets_event_loops_nest(kernel: Kernel, oss: LocalOSS, nest: str) -> None:
    assert kernel.run(f"import {nest}\n{nest}.apply()")["status"] == "ok"
    pause_resume_and_order(kernel, oss, MAGIC, "a.bin")
    stop_button(kernel, oss, MAGIC, "b.bin")
    abort_stops_what_follows(kernel, oss, METHOD, "c.bin")
    assert kernel.run(TASK)["status"] == "ok"
    oss.set_bandwidth("4MB/s")
    waited = kernel.run(f"before = n\n{MAGIC.format(key='d.bin')}\nprint('ticks', n - before)")
    assert waited["status"] == "ok"
    ran = int(printed(kernel).rpartition("ticks ")[2].split()[0])
    assert ran > 10 if nest == "nest_asyncio2" else ran >= 0
    assert kernel.run("task.cancel()\nasyncio.run(asyncio.sleep(0.01))\n40 + 2")["status"] == "ok"


def test_an_async_cell(kernel: Kernel, oss: LocalOSS) -> None:
    pause_resume_and_order(kernel, oss, AWAIT, "a.bin")
    stop_button(kernel, oss, AWAIT, "b.bin")
    abort_stops_what_follows(kernel, oss, AWAIT, "c.bin")


def test_a_task_that_awaits_is_not_in_the_way_of_cells(kernel: Kernel, oss: LocalOSS) -> None:
    cell, name = begin(kernel, oss, f"import asyncio\nh = {MAGIC} -b\n{IN_A_TASK}", "a.bin")
    assert kernel.reply(cell)["status"] == "ok"
    assert kernel.run("await asyncio.sleep(0.3)\nassert not task.done()\n40 + 2")["status"] == "ok"
    # two awaits, one of them begun by a cell before
    two = kernel.send("print('waits', flush=True)\nr = await asyncio.gather(task, h)")
    kernel.until(lambda: "waits" in kernel.output(two), "the cell did not start")
    kernel.click(t="do", do="pause", id=name)
    kernel.until(lambda: state(kernel, name) == "paused", "the click had no effect")
    oss.set_bandwidth(None)
    kernel.click(t="do", do="resume", id=name)
    assert kernel.reply(two)["status"] == "ok"
    assert kernel.run("assert r[0] is r[1]")["status"] == "ok"


def test_a_thread_that_waits_is_not_in_the_way_of_cells(
    kernel: Kernel, oss: LocalOSS, tmp_path: Path
) -> None:
    cell, name = begin(kernel, oss, THREAD, "a.bin")
    assert kernel.reply(cell)["status"] == "ok"
    assert kernel.run("assert t.is_alive() and not ends\n40 + 2")["status"] == "ok"
    kernel.click(t="do", do="pause", id=name)
    kernel.until(lambda: state(kernel, name) == "paused", "the click had no effect")
    oss.set_bandwidth(None)
    kernel.click(t="do", do="resume", id=name)
    assert kernel.run("t.join(20)\nassert ends == [True], ends")["status"] == "ok"

    # and while a cell waits in the main thread for what the thread is doing
    cell, name = begin(kernel, oss, THREAD + "\nh.wait()", "b.bin")
    kernel.click(t="do", do="abort", id=name)
    assert kernel.reply(cell)["ename"] == "UploadAborted"
    assert kernel.run("t.join(20)\nassert ends == ['UploadAborted'], ends")["status"] == "ok"


def test_clicks_by_a_subshell(kernel: Kernel, oss: LocalOSS) -> None:
    """Newer front ends send clicks past the busy shell where the kernel offers it, older kernels do not."""
    client = kernel.client
    client.kernel_info()
    told = client.get_shell_msg(timeout=20)
    while told["msg_type"] != "kernel_info_reply":
        told = client.get_shell_msg(timeout=20)
    if "kernel subshells" not in told["content"].get("supported_features", ()):
        assert not os.environ.get("OSSMP_TEST_IPYKERNEL", "6.").startswith("7."), told["content"]
        pytest.skip("a kernel without subshells")
    asked = client.session.msg("create_subshell_request")
    client.control_channel.send(asked)
    answer = client.get_control_msg(timeout=20)
    while answer["parent_header"].get("msg_id") != asked["header"]["msg_id"]:
        answer = client.get_control_msg(timeout=20)
    assert answer["content"]["status"] == "ok", answer["content"]
    kernel.subshell = answer["content"]["subshell_id"]
    pause_resume_and_order(kernel, oss, MAGIC, "a.bin")
    stop_button(kernel, oss, METHOD, "b.bin")
    abort_stops_what_follows(kernel, oss, AWAIT, "c.bin")
