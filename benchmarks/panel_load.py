"""What the upload panel costs with many uploads at once, in a real JupyterLab in headless Chromium.

    python -m benchmarks.panel_load [--uploads 200] [--seconds 10] [--rounds 12] [--app lab]

Prints a Markdown table with a column for a free cell and one for a waiting cell. The kernel's CPU is
counted by thread: the panel's own thread asks for the rows, compares and packs them. A thread beside
it only writes down which thread is which. Times of clicks and bars are taken in the page.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.units import KIB
from tests.browser.lab import APPS, Browser, NotebookPage
from tests.browser.server import JupyterServer

SETUP = """%load_ext ossmp_jupyter
%oss_connect oss://demo
import json, os, pathlib, threading, time
def _who():
    while True:
        ids = {{str(t.native_id): t.name for t in threading.enumerate()}}
        pathlib.Path({who!r} + ".new").write_text(json.dumps({{"pid": os.getpid(), "threads": ids}}))
        os.replace({who!r} + ".new", {who!r})
        time.sleep(1)
threading.Thread(target=_who, name="who", daemon=True).start()"""
UPLOAD = "%oss_upload {files} oss://demo/{folder}/ --parallel 1 --part-size 100KiB --fresh {flags}"

# counts messages and their bytes, and the time between frames, from now on
COUNT = """(() => { const c = window.count = { n: 0, bytes: 0, frames: [], on: true };
const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
kernel.iopubMessage.connect((_, m) => { if (c.on && m.header.msg_type.startsWith('comm')) {
  c.n++; c.bytes += JSON.stringify(m).length; } });
let last = performance.now();
const step = (t) => { c.frames.push(t - last); last = t; if (c.on) requestAnimationFrame(step); };
requestAnimationFrame((t) => { last = t; requestAnimationFrame(step); }); })()"""

# ms from a click until the row says what it should
CLICK = """([id, name, state]) => new Promise((found) => {
const row = document.querySelector(`.ossmp-panel tr[data-id="${id}"]`), panel = row.closest('.ossmp-panel');
const press = (text) => [...panel.querySelectorAll('button')].find((b) => b.textContent === text).click();
row.querySelector('input').click();
setTimeout(() => { const start = performance.now();
  const done = () => { if (row.dataset.state !== state) return;
    eyes.disconnect(); found(performance.now() - start); };
  const eyes = new MutationObserver(done); eyes.observe(row, { attributes: true });
  press(name); if (name === 'Abort') press('Yes, abort'); done(); }, 100); })"""

# ms from the start of a cell until its first bar stands in the page
FIRST = """(i) => new Promise((found) => {
const notebook = jupyterapp.shell.currentWidget.content;
notebook.activeCellIndex = i; notebook.deselectAll(); notebook.mode = 'command';
const cell = notebook.widgets[i], area = cell.outputArea.node;
cell.outputArea.model.clear();
setTimeout(() => { const start = performance.now();
  const look = () => { const bar = area.querySelector('.ossmp-panel .ossmp-bar');
    if (bar && bar.getBoundingClientRect().width) found(performance.now() - start);
    else requestAnimationFrame(look); };
  void jupyterapp.commands.execute('notebook:run-cell'); look(); }, 200); })"""


class Kernel:
    """CPU seconds of the kernel's threads, seen from outside."""

    def __init__(self, who: Path) -> None:
        self._who = who

    def cpu(self) -> dict[str, float]:
        """By kind of thread, and in all."""
        known = json.loads(self._who.read_text())
        process, names = psutil.Process(known["pid"]), known["threads"]
        spent = {"all": sum(process.cpu_times()[:2]), "panel": 0.0, "io": 0.0}
        for thread in process.threads():
            name = names.get(str(thread.id), "")
            kind = {"ossmp-panel": "panel", "IOPub": "io"}.get(name)
            if kind:
                spent[kind] += thread.user_time + thread.system_time
        return spent


def _cells(args: argparse.Namespace, folder: Path) -> list[str]:
    block = os.urandom(100 * KIB)
    for kind, number, size in (("many", args.uploads, args.size_blocks), ("one", 1, 40)):
        (folder / kind).mkdir()
        for i in range(number):
            with (folder / kind / f"data-{i:03}.bin").open("wb") as out:
                out.writelines([block] * size)
    many, one = sorted((folder / "many").iterdir()), folder / "one" / "data-000.bin"
    names = " ".join(map(str, many))
    return [
        SETUP.format(who=str(folder / "who.json")),
        UPLOAD.format(files=one, folder="one", flags="-b"),
        UPLOAD.format(files=one, folder="one", flags=""),
        UPLOAD.format(files=names, folder="free", flags="-b"),
        UPLOAD.format(files=names, folder="waiting", flags=""),
        UPLOAD.format(files=names, folder="none", flags="-b --ui none"),
    ]


def _middle(values: Sequence[float], unit: str = "ms") -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f}) {unit}"


def first_bar(page: NotebookPage, oss: LocalOSS, cell: int, rounds: int) -> list[float]:
    """Milliseconds until a cell's bar is seen, once per round."""
    found = []
    for _ in range(rounds):
        oss.set_bandwidth("8MB/s")
        found.append(float(page.page.evaluate(FIRST, cell)))
        oss.set_bandwidth(None)
        page.sleep(1)
        page.wait_idle()
    return found


def clicks(page: NotebookPage, cell: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds from a click to its effect in the row, another upload each time."""
    rows = page.cell(cell).locator(".ossmp-panel tr[data-state=uploading]")
    ids: list[str] = rows.evaluate_all("rows => rows.map((row) => row.dataset.id)")
    found: dict[str, list[float]] = {"Pause": [], "Abort": []}
    for name, state in (("Pause", "paused"), ("Abort", "aborted")):
        for _ in range(rounds):
            found[name].append(float(page.page.evaluate(CLICK, [ids.pop(), name, state])))
    return found


def watch(page: NotebookPage, kernel: Kernel, seconds: float) -> dict[str, Any]:
    """What comes and what it costs while the panel runs by itself."""
    before, began = kernel.cpu(), time.monotonic()
    page.js(COUNT)
    page.sleep(seconds)
    counted = page.js("(() => { window.count.on = false; return window.count; })()")
    took, after = time.monotonic() - began, kernel.cpu()
    frames = sorted(counted["frames"])
    return {
        "messages": counted["n"] / took,
        "bytes": counted["bytes"] / took,
        "cpu": {kind: 100 * (after[kind] - before[kind]) / took for kind in after},
        "fps": 1000 / statistics.mean(frames),
        "middle": statistics.median(frames),
        "worst": frames[-1],
        "late": 100 * sum(frame > 25 for frame in frames) / len(frames),
        "long": sum(frame > 50 for frame in frames),
    }


def load(
    page: NotebookPage, oss: LocalOSS, kernel: Kernel, args: argparse.Namespace, cell: int
) -> dict[str, Any]:
    """Run the cell with all uploads; measure; let it end."""
    oss.set_bandwidth(args.bandwidth)
    page.run(cell)
    moving = page.cell(cell).locator(".ossmp-panel tr[data-state=uploading]")
    page.until(lambda: moving.count() >= args.uploads, 120, "not all uploads run")
    page.sleep(3)
    found: dict[str, Any] = watch(page, kernel, args.seconds)
    bars = page.cell(cell).locator(".ossmp-panel .ossmp-bar")
    percents = bars.evaluate_all("bars => bars.map((bar) => +bar.ariaValueNow)")
    found["moving"] = sum(percent > 0 for percent in percents)
    found.update(clicks(page, cell, args.rounds))
    if args.screenshot:
        page.screenshot(args.screenshot)
    oss.set_bandwidth(None)
    _end(page, cell)
    return found


def _end(page: NotebookPage, cell: int) -> None:
    open_rows = page.cell(cell).locator(
        ".ossmp-panel tr[data-id]:not([data-state=done]):not([data-state=aborted]):not([data-state=paused])"
    )
    page.until(lambda: open_rows.count() == 0, 120, "the uploads do not end")
    if page.running(cell):  # it waits for the paused ones
        page.interrupt()
    page.wait_idle()
    page.sleep(1)


def without(page: NotebookPage, oss: LocalOSS, kernel: Kernel, args: argparse.Namespace, cell: int) -> float:
    """The kernel's CPU in percent for the same uploads that nobody shows."""
    oss.set_bandwidth(args.bandwidth)
    page.run(cell)
    page.wait_cell(cell)
    page.until(lambda: len(oss.snapshot()["uploads"]) >= args.uploads, 60, "not all uploads run")
    page.sleep(3)
    before, began = kernel.cpu(), time.monotonic()
    page.sleep(args.seconds)
    return 100 * (kernel.cpu()["all"] - before["all"]) / (time.monotonic() - began)


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with (
        LocalOSS(buckets=("demo",), discard=True) as oss,
        JupyterServer(folder, {**oss.environment(), "OSSMP_STATE_DIR": str(folder / "state")}) as server,
        Browser() as browser,
    ):
        cells, kernel = _cells(args, folder), Kernel(folder / "who.json")
        for kind, one, many in (("free", 1, 3), ("waiting", 2, 4)):
            page = NotebookPage(server, browser, args.app)
            page.open(cells)
            page.run(0)
            page.wait_cell(0)
            page.sleep(2)
            first = first_bar(page, oss, one, args.rounds + 1)
            page.js(
                "jupyterapp.shell.currentWidget.content.widgets.forEach((w) => w.outputArea.model.clear())"
            )
            found[kind] = {**load(page, oss, kernel, args, many), "first": first}
            page.close()
        page = NotebookPage(server, browser, args.app)
        page.open(cells)
        page.run(0)
        page.wait_cell(0)
        page.sleep(2)
        found["without"] = without(page, oss, kernel, args, 5)
        page.close()
    return found


def table(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    kinds = [found["free"], found["waiting"]]
    lines = {
        "uploads that move": lambda f: str(f["moving"]),
        "messages per second": lambda f: f"{f['messages']:.1f}",
        "kB per second": lambda f: f"{f['bytes'] / 1000:.0f}",
        "kernel CPU, the panel's thread": lambda f: f"{f['cpu']['panel']:.1f} %",
        "kernel CPU, the thread that writes to sockets": lambda f: f"{f['cpu']['io']:.1f} %",
        "kernel CPU, all": lambda f: f"{f['cpu']['all']:.0f} % (no panel: {found['without']:.0f} %)",
        "frames per second": lambda f: f"{f['fps']:.1f}",
        "time between frames: median, worst": lambda f: f"{f['middle']:.1f} ms, {f['worst']:.0f} ms",
        "frames > 25 ms; > 50 ms": lambda f: f"{f['late']:.1f} %; {f['long']} frames",
        "first bar, first cell": lambda f: f"{f['first'][0]:.0f} ms",
        "first bar, later cells": lambda f: _middle(f["first"][1:]),
        "click to effect, Pause": lambda f: _middle(f["Pause"]),
        "click to effect, Abort": lambda f: _middle(f["Abort"]),
    }
    rows = ["| | free cell | waiting cell |", "|---|---|---|"]
    rows += [f"| {name} | {' | '.join(show(kind) for kind in kinds)} |" for name, show in lines.items()]
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--uploads", type=int, default=200, help="at a time (200)")
    parser.add_argument("--size-blocks", type=int, default=80, help="of each file, in parts of 100 KiB (80)")
    parser.add_argument("--seconds", type=float, default=10, help="of watching (10)")
    parser.add_argument("--rounds", type=int, default=12, help="of clicks and first bars (12)")
    parser.add_argument("--bandwidth", default="20MB/s", help="of the embedded OSS (20MB/s)")
    parser.add_argument("--app", choices=list(APPS), default="lab")
    parser.add_argument("--screenshot", metavar="FILE", help="of the page under load")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = measure(args, Path(name))
    print(table(found))


if __name__ == "__main__":
    main()
