"""The upload panel: one anywidget model speaks for all uploads, small views show a choice of rows.

One custom message per tick carries the rows that changed; stock widgets would send hundreds of
messages a second, and above 1,000 the Jupyter server drops some, the final state included. A saved
notebook stores a widget's script once per model, so only the hub has the script; each cell's view
is a few lines that borrow it, and the script travels packed.
"""

from __future__ import annotations

import contextvars
import html
import logging
import secrets
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import anywidget
import traitlets

from ossmp_jupyter.notebook.models import close_model
from ossmp_jupyter.notebook.rows import Row, html_table, text_table
from ossmp_jupyter.notebook.scripts import packed_module

__all__ = ["Hub", "Panel", "PanelView"]

log = logging.getLogger(__name__)
_HEARTBEAT = 2.0
_UNHEARD = 30.0  # seconds without a word from any page; one that sees something move says a word every 10
_CALM = 30.0  # seconds between messages that nobody hears: the Jupyter server keeps them all for a lost page
_SOON = (0.03, 0.06, 0.1)  # seconds to the ticks after a click: the engine acts in a thread of its own
_KEPT_ROWS = 8  # in the saved notebook

_USE = """export default { initialize({ model }) {
(globalThis.ossmpPanels ||= {})[model.get("key")] = script.draw;
} };"""

# One per view in a saved notebook, so it is short.
_VIEW = """export default{async render({model:m,el}){
const h=await m.widget_manager.get_model(m.get("hub")),g=()=>globalThis.ossmpPanels?.[h.get("key")];
for(let i=0;i<200&&!g();i++)await new Promise(r=>setTimeout(r,50));
if(g())return g()(h,m.get("ids"),el);
el.textContent="The panel is not loaded."}};"""


class Hub(anywidget.AnyWidget):
    """The one model that talks: rows out, clicks in. It is never displayed itself."""

    _esm = packed_module("panel", _USE)
    key = traitlets.Unicode().tag(sync=True)
    rows: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)


class PanelView(anywidget.AnyWidget):
    """What a cell displays: the rows of ``ids``, or all rows when ``ids`` is None.

    Parameters
    ----------
    panel : Panel
        Whose rows to show.
    ids : sequence of str, optional
        Upload IDs; all uploads when omitted.
    """

    _esm = _VIEW
    instead = ""  # what to say where the page cannot show all of it
    hub = traitlets.Unicode().tag(sync=True)
    ids = traitlets.List(traitlets.Unicode(), allow_none=True).tag(sync=True)

    def __init__(self, panel: Panel, ids: Sequence[str] | None = None) -> None:
        super().__init__(
            hub=panel.hub.model_id, ids=None if ids is None else list(ids), layout=panel.hub.layout
        )
        self._panel = panel
        panel.views.add(self)

    def shown(self) -> list[Row]:
        """The rows of this view as they are now."""
        rows = self._panel.board_rows()
        chosen: list[str] | None = self.ids
        return rows if chosen is None else [row for row in rows if row.id in chosen]

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle: Any = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})  # ipywidgets gives a dict
        rows, note = self.shown(), self.instead
        text, table = text_table(rows), html_table(rows)
        if note:
            text, table = f"{text}\n{note}", f"{table}<p>{html.escape(note)}</p>"
        return {**data, "text/plain": text, "text/html": table}, metadata


class Panel:
    """The rows, the ticker that sends them, and the clicks that come back.

    Parameters
    ----------
    rows : callable
        Returns the rows to show now; called on the ticker's thread, so it must not block.
    act : callable
        ``act(panel, verb, upload_id, page, file)`` for a click; hands over to the engine and returns at once.
    hz : float
        Ticks per second while something moves.
    at_rest : callable
        Called on the ticker's thread on every tick while nothing moves.
    deaf : callable
        Whether pages may speak and not be heard now, because other code blocks the kernel.
    """

    def __init__(
        self,
        rows: Callable[[], list[Row]],
        act: Callable[[Panel, str, str, int, str], None],
        hz: float = 5.0,
        at_rest: Callable[[], None] = lambda: None,
        deaf: Callable[[], bool] = lambda: False,
    ) -> None:
        self.hub = Hub(key=secrets.token_hex(8))
        self.board_rows = rows
        self.seen = threading.Event()  # the page's script said hello: somebody looks
        self._act = act
        self._hz = hz
        self._at_rest = at_rest
        self._deaf = deaf
        self._heard = time.monotonic()  # when a page said something last
        self._pages: dict[str, bool] = {}  # by page: whether it is hidden now, as it said last
        self.touched = 0.0  # when the page sent a click last
        self._asked = False  # a page asked for everything
        self.views: weakref.WeakSet[PanelView] = weakref.WeakSet()  # all of them, to be closed with it
        self._soon: tuple[float, ...] = ()
        self._serial = 0  # of the last message
        self._lock = threading.Lock()
        self._outbox: deque[dict[str, Any]] = deque()
        self._sent: dict[str, Row] = {}
        self._order: list[str] = []
        self._spoke = 0.0
        self._was_active = False
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self.hub.on_msg(self._on_message)
        _keep_subshell(self.hub)

    # -- towards the page ---------------------------------------------------------------------
    def view(self, ids: Sequence[str] | None = None) -> PanelView:
        """Make a view to display."""
        self.prepare()
        return PanelView(self, ids)

    def prepare(self) -> None:
        """Make ready for a view; the ticker runs from now on."""
        self._keep(self.board_rows())
        self.start()

    def start(self) -> None:
        """Start the ticker, or wake it."""
        with self._lock:
            if self._closing.is_set():
                return
            if self._thread is None or not self._thread.is_alive():
                run = _in_context(self.hub, self._run)
                self._thread = threading.Thread(target=run, name="ossmp-panel", daemon=True)
                self._thread.start()
        self._wake.set()

    def say(self, text: str, *, bad: bool = False, upload: str = "") -> None:
        """Show a sentence in the status line, of all views or of those that show ``upload``."""
        self._send({"t": "say", "text": text, "bad": bad, "id": upload})

    def tell(self, kind: str, content: dict[str, Any]) -> None:
        """Send what only a live page knows how to show: ``live.js`` and the scripts it asks for."""
        self._send({"t": kind, **content})

    def settle(self) -> None:
        """Keep the rows as they are now in the model, for the saved notebook."""
        self._keep(self.board_rows())
        self._wake.set()

    def close(self) -> None:
        """Stop the ticker and close the models."""
        self._closing.set()
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=2)
        for view in list(self.views):
            close_model(view)
        close_model(self.hub)

    def tick(self, rows: list[Row]) -> None:
        """Send what changed since the last tick; a heartbeat when nothing did for a while."""
        with self._lock:
            everything, self._asked = self._asked, False
            active = any(row.moving for row in rows)
            changed = [row for row in rows if everything or self._sent.get(row.id) != row]
            order = [row.id for row in rows]
            now = time.monotonic()
            if active and not self._was_active:
                self._heard = now  # pages have had no reason to speak
            same = order == self._order and active == self._was_active
            if same and not everything and now - self._spoke < self._patience(now):
                return
            beat = active and now - self._spoke >= _HEARTBEAT
            if same and not (changed or beat or everything):
                return
            at_rest = not active and (self._was_active or bool(changed) or order != self._order)
            content: dict[str, Any] = {
                "t": "rows",
                "rows": [row.payload() for row in changed],
                "active": active,
            }
            if everything or order != self._order:
                content["order"] = order
            self._sent = {row.id: row for row in rows}
            self._order, self._was_active, self._spoke = order, active, now
            self._send(content)
        if at_rest:
            self._keep(rows)

    def _patience(self, now: float) -> float:
        """Seconds between two messages: many where no page has been heard of for a while."""
        if now - self._heard < _UNHEARD:
            return 0.0
        return _HEARTBEAT if self._deaf() else _CALM

    def _keep(self, rows: list[Row]) -> None:
        self.hub.rows = [row.payload() for row in rows[:_KEPT_ROWS]]

    def _send(self, content: dict[str, Any]) -> None:
        # One thread speaks for all: answers come on the engine's thread, which knows no kernel.
        self._outbox.append(content)
        if threading.current_thread() is not self._thread:  # its own ticks must keep their pace
            self._wake.set()

    def _flush(self) -> None:
        while self._outbox:
            self._serial += 1  # a page that misses a number asks for everything
            self.hub.send({**self._outbox.popleft(), "n": self._serial})

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self.tick(self.board_rows())
                self._flush()
                if not self._was_active:
                    self._at_rest()
            except Exception:  # a broken tick must not end the panel
                log.debug("a tick of the panel failed", exc_info=True)
            # A page that was closed says nothing any more: one that looks is enough for the full pace.
            hidden = bool(self._pages) and all(self._pages.values())
            slow = 1.0 if hidden else 1.0 / self._hz
            pause = slow if self._was_active else max(slow, 0.5)
            if self._soon:
                pause, self._soon = min(pause, self._soon[0]), self._soon[1:]
            if self._wake.wait(pause):
                self._wake.clear()

    # -- from the page ------------------------------------------------------------------------
    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        # Prints and exceptions in widget handlers are invisible in Jupyter: the status line shows them.
        self._heard = time.monotonic()
        try:
            kind = content.get("t")
            if kind in ("hello", "hidden"):
                self._pages = {**self._pages, str(content.get("page")): bool(content.get("hidden"))}
            if kind == "hello":
                self.seen.set()
                self._asked = True  # several views at once are answered once
                self.start()
            elif kind == "do":
                self.touched = time.monotonic()
                upload = str(content.get("id"))
                page, file = int(content.get("page") or 0), str(content.get("file") or "")
                self._act(self, str(content.get("do")), upload, page, file)
                self._soon = _SOON
                self._wake.set()
        except Exception as error:
            self.say(str(error) or type(error).__name__, bad=True)


def _in_context(hub: Hub, run: Callable[[], None]) -> Callable[[], None]:
    # ipykernel 7.0 finds no parent message in a thread that lacks the cell's context. Later ones take
    # the running cell's then, which is better: nbclient drops what belongs to an earlier cell.
    kernel = getattr(hub.comm, "kernel", None)
    if hasattr(kernel, "_shell_parent") and not hasattr(kernel, "_shell_context"):
        return partial(contextvars.copy_context().run, run)
    return run


def _keep_subshell(hub: Hub) -> None:
    # ipykernel 7.4 sends a widget's messages to the shell that last sent on its comm: the busy main
    # shell. The front end's own choice (its subshell) answers also while other code blocks the cell.
    comm = hub.comm
    if comm is not None and hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda data, default: default
