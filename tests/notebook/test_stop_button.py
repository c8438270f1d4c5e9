"""The stop button in every phase of an upload: the prompt at once, no socket, no thread, nothing lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from ossmp_jupyter.localoss import LocalOSS
from tests.notebook.test_kernel import Kernel, kernel, oss, rows
from tests.notebook.test_waiting import state

__all__ = ["kernel", "oss"]

LAST_WORD = 1.5  # seconds that an Initiate or a Complete that is under way has left
EXPIRED = {"kind": "error", "status": 403, "code": "SecurityTokenExpired"}
PHASES: dict[str, tuple[str, dict[str, Any]]] = {
    "uploading": ("uploading", {"operation": "UploadPart", "kind": "stall", "part_number": 9, "byte": 1000}),
    "retrying": (
        "uploading",
        {"operation": "UploadPart", "kind": "error", "part_number": 9, "retry_after": 60},
    ),
    "credentials": ("waiting_for_credentials", {"operation": "UploadPart", "part_number": 9, **EXPIRED}),
    "initiating": ("initiating", {"operation": "InitiateMultipartUpload", "kind": "stall"}),
    "completing": ("completing", {"operation": "CompleteMultipartUpload", "kind": "stall"}),
    "verifying": ("verifying", {"operation": "HeadObject", "kind": "stall"}),
}
LOOK = (
    "import json, threading\n"
    "print('threads', json.dumps([t.name for t in threading.enumerate() if 'ossmp' in t.name]))"
)


def sockets(pid: int, oss: LocalOSS) -> list[str]:
    port = int(oss.endpoint.rsplit(":", 1)[1])
    found = psutil.Process(pid).net_connections(kind="tcp")
    return [
        one.status for one in found if one.raddr and one.raddr.port == port and one.status != "CLOSE_WAIT"
    ]


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def stop_in(kernel: Kernel, oss: LocalOSS, pid: int, phase: str) -> None:
    words, rule = PHASES[phase]
    cell = f"%oss_upload big.bin {phase}.bin --part-size 256KiB"
    oss.set_faults([{**rule, "seconds": 60, "times": None}])
    known, running = set(rows(kernel)), kernel.send(cell)
    kernel.until(lambda: kernel.hub, "no panel")
    kernel.click(t="hello")
    (name,) = kernel.until(lambda: set(rows(kernel)) - known, "no new upload")
    kernel.until(lambda: state(kernel, name) == words, f"it is not {words}")
    if words == "uploading":  # all but the part that is held up
        kernel.until(lambda: rows(kernel)[name].get("percent", 0) > 90, "the other parts do not arrive")
    assert phase == "credentials" or sockets(pid, oss)

    pressed = time.monotonic()
    kernel.manager.interrupt_kernel()
    reply = kernel.reply(running)
    assert time.monotonic() - pressed < 2.0
    assert reply["ename"] == "KeyboardInterrupt"
    assert "run this cell again" in kernel.output(running)
    until(lambda: not sockets(pid, oss), f"{phase}: {sockets(pid, oss)} stay open", LAST_WORD + 5)
    kernel.until(lambda: state(kernel, name) == "paused", "the panel does not say that it is paused")
    kernel.run(LOOK)
    printed = "".join(said["content"]["text"] for said in kernel.said if said["msg_type"] == "stream")
    left = json.loads(printed.rpartition("threads ")[2].splitlines()[0])
    assert sorted(left) == ["ossmp-engine", "ossmp-panel"], left

    oss.set_faults([])
    oss.journal(clear=True)
    assert kernel.run(cell)["status"] == "ok"
    kernel.until(lambda: state(kernel, name) == "done", "it is not done")
    sent = [entry for entry in oss.journal() if entry["operation"] == "UploadPart"]
    assert len(sent) <= {"initiating": 32, "completing": 0, "verifying": 0}.get(phase, 5), len(sent)
    assert oss.snapshot()["uploads"] == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("phases", [["uploading", "retrying", "credentials"], ["initiating"],
                                    ["completing"], ["verifying"]], ids="+".join)  # fmt: skip
def test_in_every_phase(kernel: Kernel, oss: LocalOSS, phases: list[str]) -> None:
    oss.set_bandwidth(None)
    pid = kernel.pid
    for phase in phases:
        stop_in(kernel, oss, pid, phase)


def test_what_only_asks_stops_asking(kernel: Kernel, oss: LocalOSS) -> None:
    oss.set_bandwidth(None)
    pid = kernel.pid
    assert kernel.run("%oss_upload big.bin big.bin")["status"] == "ok"
    oss.set_faults([{"operation": "*", "kind": "stall", "seconds": 60, "times": None}])
    for line in ("%oss_head big.bin", "%oss_uploads", "%oss_verify big.bin --deep", "%oss_parts ABC"):
        asking = kernel.send(line)
        until(lambda: bool(sockets(pid, oss)), f"{line} asks nothing", 20)
        time.sleep(0.2)
        pressed = time.monotonic()
        kernel.manager.interrupt_kernel()
        assert kernel.reply(asking)["ename"] == "KeyboardInterrupt"
        assert time.monotonic() - pressed < 2.0
        until(lambda: not sockets(pid, oss), f"{line} goes on asking", 5)
