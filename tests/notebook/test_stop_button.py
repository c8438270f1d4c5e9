"""The stop button in every phase of an upload: the prompt at once, no socket, no thread, nothing lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ossmp_jupyter.localoss import LocalOSS
from tests.notebook.test_kernel import PROMPT, Kernel, kernel, new_kernel, oss, rows, served
from tests.notebook.test_kernel import stop as press
from tests.notebook.test_waiting import state

__all__ = ["kernel", "oss"]

LAST_WORD = 1.5  # seconds that an Initiate or a Complete that is under way has left
EXPIRED = {"kind": "error", "status": 403, "code": "SecurityTokenExpired"}
PHASES: dict[str, tuple[str, dict[str, Any]]] = {
    "uploading": ("uploading", {"operation": "UploadPart", "kind": "stall", "part_number": 9, "byte": 1000}),
    "retrying": (
        "uploading",
        {"operation": "UploadPart", "kind": "error", "part_number": 9, "status": 503, "retry_after": 60},
    ),
    "credentials": ("waiting_for_credentials", {"operation": "UploadPart", "part_number": 9, **EXPIRED}),
    "initiating": ("initiating", {"operation": "InitiateMultipartUpload", "kind": "stall"}),
    "completing": ("completing", {"operation": "CompleteMultipartUpload", "kind": "stall"}),
    "verifying": ("verifying", {"operation": "HeadObject", "kind": "stall"}),
}
LOOK = """
import json, sys, threading
names = {t.ident: t.name for t in threading.enumerate()}
at_work = {i for i, frame in sys._current_frames().items() if "asyncio" in names.get(i, "") and any(
    "ossmp_jupyter" in f.filename for f in __import__("traceback").extract_stack(frame))}
print("threads", json.dumps([n for i, n in names.items() if "ossmp" in n or i in at_work]))
"""


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


def stop(kernel: Kernel, running: str) -> float:
    """Press the stop button; returns the seconds until the prompt is back."""
    reply, took = press(kernel, running)
    assert reply["ename"] == "KeyboardInterrupt"
    assert took < PROMPT
    return took


def threads(kernel: Kernel) -> list[str]:
    """Our threads in the kernel, and those that still work for us."""
    kernel.run(LOOK)
    printed = "".join(said["content"]["text"] for said in kernel.said if said["msg_type"] == "stream")
    left: list[str] = json.loads(printed.rpartition("threads ")[2].splitlines()[0])
    return sorted(left)


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
        kernel.until(lambda: rows(kernel)[name].get("parts", "")[:3] == "31/", "the others do not arrive")
    if phase != "credentials":  # the state is entered first
        kernel.until(lambda: sockets(pid, oss), "no connection")
    served(kernel)

    took = stop(kernel, running)
    print(f"{phase}: the prompt after {took:.3f} s")
    assert "run this cell again" in kernel.output(running)
    until(lambda: not sockets(pid, oss), f"{phase}: {sockets(pid, oss)} stay open", LAST_WORD + 5)
    kernel.until(lambda: state(kernel, name) == "paused", "the panel does not say that it is paused")
    # a thread ends after its socket
    until(lambda: threads(kernel) == ["ossmp-engine", "ossmp-panel"], f"at work: {threads(kernel)}", 20)

    oss.set_faults([])
    done, _, planned = rows(kernel)[name].get("parts", "").partition("/")
    missing = int(planned) - int(done) if planned else 32
    oss.journal(clear=True)
    assert kernel.run(cell)["status"] == "ok"
    kernel.until(lambda: state(kernel, name) == "done", "it is not done")
    sent = [entry for entry in oss.journal() if entry["operation"] == "UploadPart"]
    assert len(sent) == missing, (missing, [entry["part_number"] for entry in sent])
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
        oss.journal(clear=True)  # a connection may be left from before: the request itself has to be there
        asking = kernel.send(line)
        until(lambda: bool(oss.journal()), f"{line} asks nothing", 20)
        time.sleep(0.2)
        stop(kernel, asking)
        until(lambda: not sockets(pid, oss), f"{line} goes on asking", 5)


@pytest.mark.timeout(180)
def test_while_a_large_file_is_compared(tmp_path: Path) -> None:
    size = 4 << 30  # holes: read at memory's speed, and comparing still takes a while
    with open(tmp_path / "large.bin", "wb") as file:
        file.truncate(size)
    cell = "%oss_upload large.bin large.bin --part-size 64MiB -q"
    last = {"operation": "UploadPart", "part_number": 64, "kind": "stall", "seconds": 90, "times": None}
    with LocalOSS(discard=True) as oss:
        oss.set_faults([{**last, "byte": 1000}])
        with new_kernel(oss, tmp_path) as kernel:
            running = kernel.send(cell)
            until(lambda: [len(one["parts"]) for one in oss.snapshot()["uploads"]] == [63], "not sent", 120)
            stop(kernel, running)
        with new_kernel(oss, tmp_path) as kernel:  # it does not know what the other one sent
            met = 0
            for _ in range(6):  # where the test stands still, the button is pressed when all is compared
                oss.journal(clear=True)
                running = kernel.send(cell)
                asked(oss, "ListParts", 30)
                print(f"comparing: the prompt after {stop(kernel, running):.3f} s")
                until(lambda: threads(kernel) == ["ossmp-engine"], f"at work: {threads(kernel)}", 20)
                met += {line["operation"] for line in oss.journal()} == {"ListParts"}
                if met == 2:
                    break
            assert met == 2, "it went on"
            oss.set_faults([])
            oss.journal(clear=True)
            assert kernel.run(cell, 60)["status"] == "ok"
        sent = [line["part_number"] for line in oss.journal() if line["operation"] == "UploadPart"]
        assert sent == [64], "parts were sent again"
        assert [one["size"] for one in oss.snapshot()["objects"].values()] == [size]


def asked(oss: LocalOSS, operation: str, seconds: float) -> None:
    """Wait until this request has reached the server."""
    until(lambda: any(line["operation"] == operation for line in oss.journal()), f"no {operation}", seconds)
