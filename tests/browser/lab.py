"""Drive a real JupyterLab and a real Notebook 7 in headless Chromium.

One Jupyter server serves both front ends; one browser holds a page per test::

    with JupyterServer(folder) as server, Browser() as browser:
        page = NotebookPage(server, browser, app="lab")      # or "notebook"
        page.open(["1 + 1"])
        page.run(0)
        page.wait_cell(0)

Everything the server, the kernels and the front end write lies below one folder; the browser reaches
loopback and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Locator, sync_playwright

from tests.browser.server import JupyterServer

__all__ = ["APPS", "Browser", "NotebookPage", "chromium_path", "notebook_json"]

APPS = {"lab": "/lab/tree/{}?reset&token={}", "notebook": "/notebooks/{}?token={}"}

_CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    # a page in the background must not have its timers throttled
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
)
_CURRENT = "window.jupyterapp.shell.currentWidget"

T = TypeVar("T")


def chromium_path() -> str | None:
    """Debian's Chromium, or what the variable CHROMIUM names."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def notebook_json(cells: Sequence[str], kernel: str = "python3") -> dict[str, Any]:
    """A notebook of code cells."""
    return {
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{i}",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": source,
            }
            for i, source in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


class Browser:
    """Headless Chromium."""

    def __init__(self) -> None:
        path = chromium_path()
        if path is None:
            raise FileNotFoundError("no Chromium; on Debian: apt-get install chromium")
        self._playwright = sync_playwright().start()
        try:
            self._browser = self._playwright.chromium.launch(
                executable_path=path, headless=True, args=list(_CHROMIUM_ARGUMENTS)
            )
        except BaseException:
            self._playwright.stop()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(PlaywrightError):
            self._browser.close()
        self._playwright.stop()

    def context(self, **options: Any) -> Any:
        """A fresh browser profile."""
        return self._browser.new_context(**options)


class NotebookPage:
    """One notebook with its kernel, open in one page."""

    def __init__(
        self,
        server: JupyterServer,
        browser: Browser,
        app: str = "lab",
        viewport: tuple[int, int] = (1300, 1000),
        scale: float = 1,
    ) -> None:
        self.server, self.app = server, app
        width, height = viewport
        self._context = browser.context(
            viewport={"width": width, "height": height}, device_scale_factor=scale
        )
        self.page = self._context.new_page()
        self.page.set_default_timeout(40_000)
        self.console: list[str] = []
        self.page.on("console", lambda m: self.console.append(f"{m.type}: {m.text}"))
        self.page.on("pageerror", lambda error: self.console.append(f"pageerror: {error}"))
        self.name = ""

    def close(self) -> None:
        """Leave the page and end its kernel."""
        with contextlib.suppress(Exception):
            self.server.api("DELETE", f"/api/kernels/{self.kernel_id()}")
        with contextlib.suppress(PlaywrightError):
            self._context.close()

    # ------------------------------------------------------------ notebook and kernel

    def open(self, cells: Sequence[str] | None = None, name: str | None = None, timeout: float = 60) -> None:
        """Open a notebook, written from `cells` if given, and wait for its kernel."""
        self.name = name or f"n{secrets.token_hex(4)}.ipynb"
        if cells is not None:
            content = notebook_json(cells, self.server.kernel)
            (self.server.notebooks / self.name).write_text(json.dumps(content))
        self.page.goto(self.server.url + APPS[self.app].format(self.name, self.server.token))
        is_open = (
            f"(() => {{ const w = window.jupyterapp && {_CURRENT}; return !!(w && w.context && w.content"
            f" && w.content.widgets && w.context.path.endsWith({json.dumps(self.name)})); }})()"
        )
        self.until(lambda: self.js(is_open), timeout, "the notebook did not open")
        self.js(f"{_CURRENT}.context.ready.then(() => true)")
        self.js(f"{_CURRENT}.sessionContext.ready.then(() => true)")
        self.wait_idle(timeout)

    def js(self, expression: str) -> Any:
        """Evaluate JavaScript in the page."""
        return self.page.evaluate(expression)

    def command(self, name: str) -> None:
        """Fire a front-end command without waiting for it."""
        self.js(f"(() => {{ jupyterapp.commands.execute({json.dumps(name)}).catch(console.error); }})()")

    def kernel_id(self) -> str:
        """The kernel's id, or ''."""
        return str(self.js(f"{_CURRENT}.sessionContext.session?.kernel?.id || ''"))

    def wait_idle(self, timeout: float = 60) -> None:
        """Wait until the kernel has nothing to do."""
        status = f"{_CURRENT}.sessionContext.session?.kernel?.status"
        self.until(lambda: self.js(status) == "idle", timeout, "the kernel is not idle")

    def interrupt(self) -> None:
        """Click the notebook's stop button."""
        self.page.locator(
            ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-NotebookPanel-toolbar"
            " [data-command='notebook:interrupt-kernel']"
        ).first.click()

    def restart(self) -> None:
        """Restart the kernel, without the dialog that asks."""
        self.js(f"{_CURRENT}.sessionContext.session.kernel.restart().then(() => true)")
        self.wait_idle()

    def save(self) -> dict[str, Any]:
        """Save the notebook and return the file's content."""
        self.js("jupyterapp.commands.execute('docmanager:save').then(() => true)")
        saved: dict[str, Any] = json.loads((self.server.notebooks / self.name).read_text())
        return saved

    def theme(self, name: str) -> None:
        """Switch to e.g. ``JupyterLab Light``."""
        arguments = json.dumps({"theme": name})
        self.js(f"jupyterapp.commands.execute('apputils:change-theme', {arguments}).then(() => true)")
        # the command ends when the setting is kept; the page says so itself when the style sheet is there
        self.until(lambda: self.js("document.body.dataset.jpThemeName") == name, 30, f"no theme {name}")
        self.frames()

    def frames(self) -> None:
        """Wait until the page was drawn anew."""
        self.js("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => go(true))))")

    # ------------------------------------------------------------ cells

    def cell(self, i: int) -> Locator:
        """Cell `i`, from 0."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell").nth(i)

    def run(self, i: int) -> None:
        """Start cell `i`; its number is gone then, so that :meth:`wait_cell` waits for this run."""
        self.js(
            f"(() => {{ const n = {_CURRENT}.content; n.activeCellIndex = {i}; n.deselectAll();"
            " n.mode = 'command'; n.activeCell.model.executionCount = null;"
            " jupyterapp.commands.execute('notebook:run-cell').catch(console.error); })()"
        )

    def run_all(self) -> None:
        """Run All Cells."""
        self.command("notebook:run-all-cells")

    def prompt(self, i: int) -> str:
        """``[*]:`` while the cell waits or runs, ``[3]:`` once it ran, ``[ ]:`` before."""
        return str(self.cell(i).locator(".jp-InputPrompt").first.inner_text() or "").strip()

    def running(self, i: int) -> bool:
        """Whether the cell runs or is queued."""
        return "*" in self.prompt(i)

    def wait_cell(self, i: int, timeout: float = 60) -> None:
        """Wait until cell `i` has ended."""
        self.until(lambda: re.search(r"\d", self.prompt(i)), timeout, f"cell {i} did not end")

    def text(self, i: int) -> str:
        """All visible output of cell `i`."""
        return str(
            self.cell(i)
            .locator(".jp-OutputArea-output")
            .evaluate_all(
                # an output area may nest another one
                "els => els.filter(e => !e.parentElement.closest('.jp-OutputArea-output'))"
                ".map(e => e.innerText).join('\\n')"
            )
        )

    def wait_text(self, i: int, pattern: str, timeout: float = 30) -> re.Match[str]:
        """Wait until the output of cell `i` matches."""
        try:
            return self.until(lambda: re.search(pattern, self.text(i)), timeout, "")
        except TimeoutError:
            shown = self.text(i)[-1500:]
            raise TimeoutError(f"no /{pattern}/ in cell {i} within {timeout} s: {shown!r}") from None

    def errors(self, i: int) -> list[tuple[str, str]]:
        """Name and text of the exceptions that cell `i` ended with."""
        outputs = self.js(f"{_CURRENT}.content.widgets[{i}].model.outputs.toJSON()")
        return [(o["ename"], o["evalue"]) for o in outputs if o["output_type"] == "error"]

    def kept_text(self, i: int) -> str:
        """What the notebook's file has of cell `i` as plain text."""
        outputs = self.js(f"{_CURRENT}.content.widgets[{i}].model.outputs.toJSON()")
        return "\n".join("".join(o.get("data", {}).get("text/plain", "")) for o in outputs)

    def count_redraws(self) -> None:
        """Count from now on how often the kernel has a display drawn anew."""
        self.js(
            f"(() => {{ window.redraws = 0; {_CURRENT}.sessionContext.iopubMessage.connect("
            "(_, m) => { if (m.header.msg_type === 'update_display_data') window.redraws++; }); })()"
        )

    def until(self, ready: Callable[[], T], timeout: float, what: str) -> T:
        """Poll until `ready()` is true; an error of a page in transition counts as not yet."""
        deadline, last = time.monotonic() + timeout, ""
        while True:
            try:
                value = ready()
            except (PlaywrightError, TypeError) as error:
                last = f" ({error})"
            else:
                if value:
                    return value
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} within {timeout} s{last}; console: {self.console[-5:]}")
            self.sleep(0.05)

    def sleep(self, seconds: float) -> None:
        """Wait while the browser's events keep flowing."""
        self.page.wait_for_timeout(seconds * 1000)

    def screenshot(self, path: Path | str) -> None:
        """Take a picture of the page."""
        self.page.screenshot(path=str(path))
