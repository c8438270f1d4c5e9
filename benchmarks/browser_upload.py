"""How fast a file goes from a browser through the kernel to OSS, and how much memory the kernel takes.

    python -m benchmarks.browser_upload [--size 2GB] [--app lab] [--busy] [--direct]

Chromium is driven over the bare DevTools protocol: a driver that watches the network copies every
WebSocket frame and makes the browser several times slower. The time is taken in the page, from the
choice of the file to the row that says it is done.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
from tornado.websocket import WebSocketClientConnection, websocket_connect

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.units import MIB, format_size, parse_size
from tests.browser.lab import _CHROMIUM_ARGUMENTS, APPS, chromium_path, notebook_json
from tests.browser.server import JupyterServer

CELLS = [
    "%load_ext ossmp_jupyter\n%oss_connect oss://demo",
    "%oss_pick oss://demo/bench/{direct}",
    "%oss_wait -q",
]
CURRENT = "window.jupyterapp?.shell.currentWidget"
RUN = (
    "jupyterapp.shell.currentWidget.content.activeCellIndex = {};"
    " void jupyterapp.commands.execute('notebook:run-cell')"
)


class Page:
    """One page of a Chromium, by the DevTools protocol without its network domain."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self._socket, self._ids = socket, itertools.count(1)

    async def call(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        await self._socket.write_message(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(await self._socket.read_message() or "{}")
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    async def js(self, expression: str) -> Any:
        done = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        return done["result"].get("value")

    async def until(self, expression: str, seconds: float) -> Any:
        end = time.monotonic() + seconds
        while not (value := await self.js(expression)):
            if time.monotonic() > end:
                raise TimeoutError(expression)
            await asyncio.sleep(0.2)
        return value

    async def choose(self, file: Path) -> None:
        """Put a file into the box, as a choice in the dialog does."""
        document = await self.call("DOM.getDocument")
        node = await self.call(
            "DOM.querySelector", nodeId=document["root"]["nodeId"], selector=".ossmp-files input[type=file]"
        )
        await self.call("DOM.setFileInputFiles", files=[str(file)], nodeId=node["nodeId"])


async def measure(args: argparse.Namespace, folder: Path, file: Path) -> dict[str, Any]:
    with (
        LocalOSS(buckets=("demo",), discard=True) as oss,
        JupyterServer(folder, {**oss.environment(), "OSSMP_STATE_DIR": str(folder / "state")}) as server,
    ):
        cells = [cell.format(direct=" --direct" if args.direct else "") for cell in CELLS]
        (server.notebooks / "b.ipynb").write_text(json.dumps(notebook_json(cells)))
        profile = folder / "profile"
        chromium = subprocess.Popen(
            [
                str(chromium_path()), "--headless=new", "--remote-debugging-port=0",
                f"--user-data-dir={profile}", "--window-size=1300,900", *_CHROMIUM_ARGUMENTS, "about:blank",
            ],
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            page = await _open(profile)
            # without focus JupyterLab has no current widget
            await page.call("Emulation.setFocusEmulationEnabled", enabled=True)
            await page.call("Page.navigate", url=server.url + APPS[args.app].format("b.ipynb", server.token))
            await page.until(f"{CURRENT}?.context?.isReady && {CURRENT}.sessionContext.isReady", 60)
            await page.until(f"{CURRENT}.sessionContext.session?.kernel?.status === 'idle'", 60)
            for index in (0, 1):
                await page.js(RUN.format(index))
            await page.until("!!document.querySelector('.ossmp-files')", 30)
            await asyncio.sleep(1)
            return await _timed(page, _kernel(), file, busy=args.busy)
        finally:
            chromium.terminate()
            chromium.wait(10)


async def _open(profile: Path) -> Page:
    port = profile / "DevToolsActivePort"
    for _ in range(100):
        if port.exists() and port.read_text().strip():
            break
        await asyncio.sleep(0.1)
    url = f"http://127.0.0.1:{port.read_text().splitlines()[0]}/json"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url) as answer:
        target = next(t for t in json.loads(answer.read()) if t["type"] == "page")
    socket = await websocket_connect(target["webSocketDebuggerUrl"], max_message_size=1 << 26)
    return Page(socket)


def _kernel() -> psutil.Process:
    (kernel,) = (
        child
        for child in psutil.Process().children(recursive=True)
        if "ipykernel_launcher" in " ".join(child.cmdline())
    )
    return kernel


async def _timed(page: Page, kernel: psutil.Process, file: Path, *, busy: bool) -> dict[str, Any]:
    before = peak = kernel.memory_info().rss
    await page.js("window.t0 = performance.now()")
    await page.choose(file)
    if busy:  # a cell that waits for it
        await page.until("!!document.querySelector('tr[data-id]')", 20)
        await page.js(RUN.format(2))
    done = "document.querySelector('tr[data-state=done], tr[data-state=failed]')"
    watch = (
        f"new Promise((found) => {{ const look = () => {done} ? found(performance.now())"
        " : setTimeout(look, 20); look(); })"
    )
    ending = asyncio.ensure_future(page.js(f"{watch}.then((t1) => (t1 - window.t0) / 1000)"))
    while not ending.done():
        peak = max(peak, kernel.memory_info().rss)
        await asyncio.wait([ending], timeout=0.05)
    seconds = ending.result()
    state = await page.js("document.querySelector('tr[data-id] .ossmp-state').innerText")
    return {
        "size": file.stat().st_size,
        "seconds": round(seconds, 2),
        "MB/s": round(file.stat().st_size / 1e6 / seconds, 1),
        "kernel before MiB": before // MIB,
        "kernel growth MiB": (peak - before) // MIB,
        "state": state,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", default="1GB", help="of the file (1GB)")
    parser.add_argument("--app", choices=list(APPS), default="lab")
    parser.add_argument("--direct", action="store_true", help="the browser sends the parts itself")
    parser.add_argument("--busy", action="store_true", help="while a cell waits")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "laptop.bin"
        block, size = os.urandom(8 * MIB), parse_size(args.size, "--size")
        with file.open("wb") as out:
            for at in range(0, size, len(block)):
                out.write(block[: size - at])
        found = asyncio.run(measure(args, Path(name), file))
    print(f"{format_size(found['size'])} in {args.app}: {json.dumps(found)}")
    sys.exit(found["state"] != "done, verified")


if __name__ == "__main__":
    main()
