"""Files from the browser: the model that talks to the pages, and what a cell shows for choosing files."""

from __future__ import annotations

import asyncio
import logging
import queue
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anywidget
import traitlets

from ossmp_jupyter.notebook.courier import Courier, PageFile
from ossmp_jupyter.notebook.models import close_model
from ossmp_jupyter.notebook.panel import Panel, PanelView, _in_context, _keep_subshell
from ossmp_jupyter.notebook.scripts import module_text

__all__ = ["BrowserFiles", "FilesModel", "Missing", "Pick", "PickView"]

log = logging.getLogger(__name__)
_LOOK = 2.0
"""Seconds between looks at uploads that another process may let go of."""

# Without a kernel there is nobody to take files: the script comes with the kernel's first answer, and no
# saved notebook carries it.
_ASKING = """export default { initialize({ model }) {
let begun;
model.on("msg:custom", async (m) => {
if (m.t !== "script" || begun) return;
begun = true;
const url = URL.createObjectURL(new Blob([m.text], { type: "text/javascript" }));
(await import(url)).begin(model);
URL.revokeObjectURL(url);
});
try { model.send({ t: "script" }); } catch (e) {}
} };"""

_VIEW = """export default { async render({ model, el }) {
const box = document.createElement("div"), ends = [];
box.className = "ossmp-panel";
el.append(box);
async function show(name, find) {
const place = document.createElement("div"), owner = await model.widget_manager.get_model(model.get(name));
name === "hub" ? box.append(place) : box.prepend(place);
for (let i = 0; i < 200; i++, await new Promise((done) => setTimeout(done, 50))) {
const draw = find(owner.get("key"));
if (draw) return ends.push(name === "hub" ? draw(owner, model.get("ids"), place) : draw(model, place));
}
if (name === "hub") place.textContent = "The upload panel could not be loaded.";
}
show("files", (key) => globalThis.ossmpFiles?.[key]?.draw);
await show("hub", (key) => globalThis.ossmpPanels?.[key]);
return () => { for (const end of ends) end(); };
} };"""


@dataclass(frozen=True, slots=True)
class Pick:
    """Files that somebody chose, and what shall become of them.

    ``again`` names the upload that misses its file; ``options`` are those of the cell that showed the box.
    """

    files: Sequence[PageFile]
    destination: str = ""
    direct: bool = False
    again: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Missing:
    """An upload that waits for its file to be chosen again."""

    id: str
    name: str
    address: str
    in_use: bool = False  # another kernel has it, or is about to end


class FilesModel(anywidget.AnyWidget):
    """The one model of a kernel that carries files. It is never displayed itself."""

    _esm = _ASKING
    key = traitlets.Unicode().tag(sync=True)


class PickView(PanelView):
    """What a cell displays: a box for files of this computer, and the panel of all uploads below it.

    Parameters
    ----------
    panel : Panel
        Whose rows to show.
    files : BrowserFiles
        Who takes the files.
    destination : str
        What stands in the destination field at first.
    direct : bool
        Whether the browser shall send the parts itself.
    options : mapping
        Arguments for the uploads that begin here.
    """

    _esm = _VIEW
    instead = (
        "Files of your computer are chosen here where the Jupyter server has anywidget. Elsewhere put them "
        "beside the notebook, and run %oss_upload FILE."
    )
    files = traitlets.Unicode().tag(sync=True)
    pick = traitlets.Unicode().tag(sync=True)
    dest = traitlets.Unicode().tag(sync=True)
    direct = traitlets.Bool().tag(sync=True)

    def __init__(
        self,
        panel: Panel,
        files: BrowserFiles,
        destination: str,
        *,
        direct: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(panel)
        self.files, self.dest, self.direct = files.model.model_id, destination, direct
        self.pick = files.remember(options or {})


class BrowserFiles:
    """The kernel's end of all pages: one thread sends and begins uploads, the engine's loop hears.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        The engine's.
    begin : callable
        Given a :class:`Pick`, begins its uploads and returns what to say; may raise.
    missing : callable
        Returns the uploads that wait for their file.
    layout : ipywidgets.Layout, optional
        Of another widget, to share it: a saved notebook holds each one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        begin: Callable[[Pick], str],
        missing: Callable[[], Sequence[Missing]],
        layout: Any = None,
    ) -> None:
        shared = {} if layout is None else {"layout": layout}
        self.model = FilesModel(key=secrets.token_hex(8), **shared)
        self.courier = Courier(self._send, self._tell_state)
        self._loop = loop
        self._begin = begin
        self._missing = missing
        self._options: dict[str, Mapping[str, Any]] = {}
        self._todo: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._look_again = False
        self.model.on_msg(self._on_message)
        _keep_subshell(self.model)
        run = _in_context(self.model, self._run)
        self._thread = threading.Thread(target=run, name="ossmp-files", daemon=True)
        self._thread.start()

    def remember(self, options: Mapping[str, Any]) -> str:
        """Keep a cell's options; returns the name that its page gives back with the files."""
        name = secrets.token_hex(4)
        self._options[name] = options
        return name

    def say(self, text: str, *, bad: bool = False) -> None:
        """Show a sentence below the box."""
        self._send({"t": "say", "text": text, "bad": bad})

    def refresh(self) -> None:
        """Tell the pages anew which files are missed."""
        self._tell_state()

    def close(self) -> None:
        """End the thread and the model."""
        self._todo.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=2)
        close_model(self.model)

    # ------------------------------------------------------------------ towards the pages
    def _send(self, content: dict[str, Any]) -> None:
        self._todo.put(lambda: self.model.send(content))

    def _tell_state(self) -> None:
        self._todo.put(self._send_state)

    def _send_state(self) -> None:
        found = self._missing()
        self._look_again = any(m.in_use for m in found)
        free = [{"id": m.id, "name": m.name, "address": m.address} for m in found if not m.in_use]
        self.model.send({"t": "state", "missing": free})

    def _run(self) -> None:
        while True:
            try:
                job = self._todo.get(timeout=_LOOK if self._look_again else None)
            except queue.Empty:
                job = self._send_state
            if job is None:
                return
            try:
                job()
            except Exception:  # a broken job must not end the thread
                log.debug("a message to the pages failed", exc_info=True)

    # ------------------------------------------------------------------ from the pages
    def _on_message(self, _widget: Any, content: Any, buffers: Any) -> None:
        # Kept short: on some kernels it runs in the thread that serves all widgets.
        kind = content.get("t") if isinstance(content, dict) else None
        if kind == "script":
            self._send({"t": "script", "text": module_text("browser")})
        if kind not in ("hello", "here", "gone", "answer", "pick"):
            return
        data = memoryview(buffers[0]).cast("B") if buffers else None
        self._loop.call_soon_threadsafe(self.courier.hear, content, data)
        if kind == "hello":
            self._tell_state()
        elif kind == "pick":
            self._todo.put(lambda: self._take(content))

    def _take(self, content: Mapping[str, Any]) -> None:
        try:
            page = str(content.get("page"))
            files = [
                PageFile(page, str(f["id"]), str(f["name"]), int(f["size"]), int(f["mtime"]))
                for f in content.get("files") or ()
            ]
            pick = Pick(
                files,
                str(content.get("dest") or ""),
                bool(content.get("direct")),
                str(content.get("again") or ""),
                self._options.get(str(content.get("pick")), {}),
            )
            self.say(self._begin(pick))
        except Exception as error:  # exceptions in widget handlers are invisible in Jupyter
            self.say(str(error) or type(error).__name__, bad=True)
        self._send_state()
        self._loop.call_soon_threadsafe(self.courier.tell)
