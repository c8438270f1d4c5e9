"""Unloading in a real kernel: nothing is left, what ran can go on, and loading again finds everything."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from ossmp_jupyter.localoss import LocalOSS
from tests.notebook.test_kernel import Kernel, confirmed, kernel, oss, uploading

__all__ = ["kernel", "oss"]

pytestmark = pytest.mark.timeout(120)

LOOK = """
import gc, json, threading
gc.collect()
KINDS = ("Engine", "OSSClient", "LocalHandle", "Session", "Panel", "OssMagics")
ip = get_ipython()
print("look " + json.dumps({
    "threads": sorted(t.name for t in threading.enumerate()),
    "magics": sorted(n for n in ip.magics_manager.magics["line"] if n.startswith("oss")),
    "registry": sorted(ip.magics_manager.registry),
    "configurables": sorted(type(c).__name__ for c in ip.configurables),
    "matchers": [len(ip.Completer.matchers), len(ip.Completer.custom_matchers)],
    "events": {name: len(calls) for name, calls in ip.events.callbacks.items()},
    "comm targets": sorted(ip.kernel.comm_manager.targets),
    # an engine that atexit still knew would be among them
    "objects": sorted(type(o).__name__ for o in gc.get_objects()
                      if "ossmp_jupyter" in str(type(o).__module__) and type(o).__name__ in KINDS),
    "exception handlers": [str(e) for e in ip.custom_exceptions],
    "printers": len(ip.display_formatter.formatters["text/html"].type_printers),
    "deferred": sorted(map(str, ip.display_formatter.formatters["text/html"].deferred_printers)),
    "kernel": sorted(n for n in vars(ip.kernel) if "shutdown" in n or "hook" in n),
}))
"""
LOAD = "%load_ext ossmp_jupyter\n%oss_connect"
UNLOAD = "%unload_ext ossmp_jupyter"


def look(kernel: Kernel) -> dict[str, Any]:
    reply = kernel.run(LOOK)
    assert reply["status"] == "ok", reply
    printed = "".join(said["content"]["text"] for said in kernel.said if said["msg_type"] == "stream")
    found: dict[str, Any] = json.loads(printed.rpartition("look ")[2].splitlines()[0])
    return found


def settled(kernel: Kernel, wanted: dict[str, Any]) -> dict[str, Any]:
    """What there is, once ended threads are gone."""
    end = time.monotonic() + 15
    while (found := look(kernel)) != wanted and time.monotonic() < end:
        time.sleep(0.3)
    return found


def calm(kernel: Kernel) -> dict[str, Any]:
    """What there is when nothing is ending any more."""
    found = look(kernel)
    for _ in range(10):
        time.sleep(0.5)
        before, found = found, look(kernel)
        if found == before:
            break
    return found


def complete(kernel: Kernel, code: str) -> list[str]:
    message = kernel.client.complete(code, len(code))
    while True:
        reply = kernel.client.get_shell_msg(timeout=20)
        if reply["parent_header"].get("msg_id") == message:
            return list(reply["content"]["matches"])


def test_nothing_is_left(kernel: Kernel, oss: LocalOSS) -> None:
    kernel.run(UNLOAD)
    oss.set_bandwidth(None)
    # what other packages register at their first import is not ours to take away
    for cell in (LOAD, "%oss_upload big.bin first.bin\n%oss_uploads", UNLOAD):
        assert kernel.run(cell)["status"] == "ok"
    before = calm(kernel)
    assert not any("ossmp" in name or name.startswith("asyncio_") for name in before["threads"]), before
    assert not {"Engine", "OSSClient", "LocalHandle"} & set(before["objects"]), before
    assert before["magics"] == [] and "OssMagics" not in before["registry"] + before["configurables"]
    for name in ("unload", "reload"):
        assert kernel.run(LOAD)["status"] == "ok"
        assert "--part-size" in complete(kernel, "%oss_upload a b --part-s")
        assert kernel.run(f"%oss_upload big.bin {name}.bin\n%oss_uploads\n%oss_pick")["status"] == "ok"
        assert any(thread == "ossmp-engine" for thread in look(kernel)["threads"])
        if name == "reload":
            assert kernel.run("%reload_ext ossmp_jupyter")["status"] == "ok"
            assert all("ossmp" not in thread for thread in look(kernel)["threads"]), "reload keeps threads"
        cell = kernel.send(UNLOAD)
        assert kernel.reply(cell)["status"] == "ok"
        assert kernel.output(cell) == "", "nothing ran, so nothing is to be told"
        assert settled(kernel, before) == before
    assert "--part-size" not in complete(kernel, "%oss_upload a b --part-s")
    assert kernel.run("%oss_uploads")["status"] == "error"
    assert kernel.run("%config OssMagics")["status"] == "error" or "OssMagics.ui" not in kernel.output(
        kernel.send("%config OssMagics")
    )


@pytest.mark.parametrize("how", ["the same cell", "%oss_resume"])
def test_what_ran_is_paused_and_goes_on(kernel: Kernel, oss: LocalOSS, how: str) -> None:
    start = "%oss_upload big.bin big.bin --part-size 256KiB"
    reply = kernel.reply(uploading(kernel, f"h = {start} -b"))
    assert reply["status"] == "ok"
    kernel.until(lambda: confirmed(kernel) > 5, "no progress")
    cell = kernel.send(UNLOAD if how == "%oss_resume" else "%reload_ext ossmp_jupyter")
    assert kernel.reply(cell)["status"] == "ok"
    (left,) = oss.snapshot()["uploads"]
    (line,) = kernel.output(cell).splitlines()
    assert line.startswith("paused big.bin → oss://demo/big.bin: ") and left["upload_id"] in line
    assert kernel.run("h.pause(); h.resume(); assert h.state.value == 'paused', h.state")["status"] == "ok"
    told = kernel.run("h.abort()")
    assert told["ename"] == "InputError" and "run the upload again" in told["evalue"]

    oss.set_bandwidth(None)
    oss.journal(clear=True)
    again = start if how == "the same cell" else f"{LOAD}\n%oss_resume {left['upload_id']}"
    assert kernel.run(again)["status"] == "ok"
    sent = [e["upload_id"] for e in oss.journal() if e["operation"] == "UploadPart"]
    assert 0 < len(sent) < 32 and set(sent) == {left["upload_id"]}
    assert oss.snapshot()["uploads"] == []


def test_the_embedded_oss_ends(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "small.bin").write_bytes(os.urandom(300_000))
    process = psutil.Process(kernel.pid)
    before = {child.pid for child in process.children(recursive=True)}
    assert (
        kernel.run(f"%oss_connect --local --root {tmp_path / 'oss'}\n%oss_upload small.bin a.bin")["status"]
        == "ok"
    )
    started = [child for child in process.children(recursive=True) if child.pid not in before]
    assert started
    assert kernel.run(UNLOAD)["status"] == "ok"
    _, alive = psutil.wait_procs(started, timeout=30)
    assert not alive
    assert {child.pid for child in process.children(recursive=True)} == before
    told = kernel.run("%load_ext ossmp_jupyter\n%oss_head a.bin")
    assert told["status"] == "error" and told["ename"] != "ConnectionTimeout", told
    assert kernel.run(f"%oss_connect --local --root {tmp_path / 'oss'}\n%oss_head a.bin")["status"] == "ok"
