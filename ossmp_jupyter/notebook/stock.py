"""The panel for front ends that know ipywidgets and not anywidget, such as hubs with kernels of their own.

Whether the page runs our script is known by its hello. Where none comes, a link between two traits of a
stock widget, which only a live ipywidgets front end copies, tells that stock widgets would work; then every
cell shows a stock panel instead. Without either, progress is text.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets

from ossmp_jupyter.notebook.models import close_model
from ossmp_jupyter.notebook.panel import _in_context, _keep_subshell
from ossmp_jupyter.notebook.rows import Row, html_table, text_table
from ossmp_jupyter.notebook.stock_forms import (
    CleanUp,
    Question,
    WhichFile,
    button,
    keep_same,
    show,
    widgets_of,
)
from ossmp_jupyter.notebook.stock_html import (
    map_html,
    parts_html,
    said_html,
    style_html,
    title_html,
    uploads_html,
)
from ossmp_jupyter.visible import visible

if TYPE_CHECKING:
    from ossmp_jupyter.notebook.panel import Panel

__all__ = ["Fallback", "StockPanel"]

log = logging.getLogger(__name__)
_PERIOD = 0.5
_PATIENCE = 3.0
"""Seconds that our script may take longer than ipywidgets' own."""
_LONG = 5.0
"""Seconds after which a page that does not answer is none."""
_MOST_ROWS = 50
_MAP_PERIOD = 1.0


class StockPanel:
    """The rows as HTML, a drop-down of uploads and a row of buttons; what :class:`Panel` is to the actions.

    Parameters
    ----------
    rows : callable
        Returns the rows to show now.
    act : callable
        ``act(panel, verb, upload_id, page, file)`` for a click; returns at once.
    """

    def __init__(self, rows: Callable[[], list[Row]], act: Callable[[Any, str, str, int, str], None]) -> None:
        self._rows, self._act = rows, act
        self._lock = threading.RLock()  # the page's clicks and the refreshing thread
        self._busy = False
        self._told: deque[tuple[str, dict[str, Any]]] = deque()  # shown by the next refresh
        self._said = ""
        self._listing: dict[str, Any] | None = None  # of the upload whose details are open
        self._mapped = 0.0
        self._question = Question(lambda upload: self._do("abort", upload))
        self._which = WhichFile(lambda upload, file: self._do("resume", upload, file=file))
        self._clean = CleanUp(lambda age: self._do("old", page=age), lambda plan: self._do("abortold", plan))
        self._make_buttons()
        self._table, self._status = ipywidgets.HTML(), ipywidgets.HTML()
        wide = {"width": "auto", "max_width": "1100px"}
        self._choice = ipywidgets.Dropdown(description="Upload", layout=wide)
        self._choice.observe(self._choose, "value")
        forms = self._question.box, self._which.box, self._clean.box
        # What comes once a second leaves the list below it alone: one could not scroll in it.
        self._title, self._map, self._list = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.HTML()
        self._details = ipywidgets.VBox([self._title, self._turns, self._map, self._list])
        style = ipywidgets.HTML(style_html(), layout={"display": "none"})
        self.widget = ipywidgets.VBox(
            [style, self._table, self._choice, self._tools, *forms, self._status, self._details]
        )
        for one in widgets_of(self.widget):
            _keep_subshell(one)
        self.refresh()

    def _make_buttons(self) -> None:
        self._buttons = {
            letter: button(text, partial(self._press, verb))
            for text, verb, letter in (
                ("Abort", "abort", "A"),
                ("List parts", "parts", "LD"),
                ("Pause", "pause", "P"),
                ("Resume", "resume", "R"),
            )
        }
        self._all = [
            button("Pause all", lambda: self._do("pauseall")),
            button("Resume all", lambda: self._do("resumeall")),
        ]
        self._sweep = button("Clean up…", self._clean.toggle)
        self._tools = ipywidgets.HBox(
            [*self._buttons.values(), *self._all, self._sweep], layout={"flex_flow": "wrap"}
        )
        self._before = button("Previous", lambda: self._turn(-1))
        self._after = button("Next", lambda: self._turn(1))
        close = button("Close", self._close_details)
        self._turns = ipywidgets.HBox([self._before, self._after, close])

    # -- clicks -------------------------------------------------------------------------------
    def _choose(self, _: Any) -> None:
        if not self._busy:
            self.refresh()

    def _press(self, verb: str) -> None:
        upload = self._choice.value
        row = next((row for row in self._rows() if row.id == upload), None)
        if row is None:
            self.say("Select an upload first.")
            self.refresh()
        elif verb == "abort":
            self._question.ask(row.id, row.title)
        else:
            self._do(verb, row.id)

    def _do(self, verb: str, upload: str = "", page: int = 0, file: str = "") -> None:
        # Exceptions in widget handlers are invisible in Jupyter: the line below the buttons shows them.
        try:
            self._act(self, verb, upload, page, file)
        except Exception as error:
            self.say(str(error) or type(error).__name__, bad=True)
        self.refresh()

    def _turn(self, pages: int) -> None:
        if self._listing is not None:
            self._do("page", self._listing["id"], page=self._listing["page"] + pages)

    def _close_details(self) -> None:
        self._listing = None
        self.refresh()

    # -- what the actions answer, on whatever thread ------------------------------------------
    def say(self, text: str, *, bad: bool = False, upload: str = "") -> None:
        """Show a sentence below the buttons, at the next refresh."""
        self._said = said_html(text, bad=bad)

    def tell(self, kind: str, content: dict[str, Any]) -> None:
        """Show details of an upload, a question or what cleaning up would abort, at the next refresh."""
        self._told.append((kind, content))

    def start(self) -> None:
        """Nothing: the thread that refreshes never rests."""

    # -- towards the page ---------------------------------------------------------------------
    def refresh(self) -> None:
        """Show everything as it is now; sends only what changed."""
        with self._lock:
            self._busy = True
            try:
                rows = self._rows()
                self._offer(rows)
                while self._told:
                    self._hear(*self._told.popleft())
                self._show_uploads(rows)
                self._show_details({row.id: row.can for row in rows})
                keep_same(self._status, value=self._said)
            finally:
                self._busy = False

    def _offer(self, rows: Sequence[Row]) -> None:
        options = [(_label(row), row.id) for row in rows]
        if list(self._choice.options) == options:
            return
        before, ids = self._choice.value, [id for _, id in options]
        with self._choice.hold_sync():  # the page never sees another choice meanwhile
            self._choice.options = options
            self._choice.value = before if before in ids else (ids[0] if ids else None)

    def _hear(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "parts":
            self.say(content["text"])
            self._listing, self._mapped = content, 0.0
        elif kind == "map" and self._listing is not None and self._listing["id"] == content["id"]:
            if "receipt" in content:
                self._listing = content
            else:
                keep_same(self._map, value=map_html(content))
        elif kind == "ask":
            self.say("The file is compared with the parts that OSS holds; one that does not fit is refused.")
            self._which.ask(content["id"], content["guess"])
        elif kind == "old":
            self._clean.found(content)

    def _show_uploads(self, rows: Sequence[Row]) -> None:
        chosen = next((row for row in rows if row.id == self._choice.value), None)
        can = chosen.can if chosen is not None else ""
        for letter, one in self._buttons.items():
            keep_same(one, disabled=not set(letter) & set(can))
        keep_same(self._buttons["LD"], description="Details" if can == "D" else "List parts")
        for one in self._all:
            show(one, len(rows) > 1)
        show(self._sweep, self._clean.opened or any(row.state == "unfinished" for row in rows))
        for form, letter in ((self._question, "A"), (self._which, "R")):
            if form.upload is not None and (form.upload != self._choice.value or letter not in can):
                form.close()
        shown = list(rows[:_MOST_ROWS])
        if chosen is not None and chosen not in shown:
            shown.append(chosen)
        keep_same(self._table, value=uploads_html(shown, self._choice.value, len(rows) - len(shown)))

    def _show_details(self, can: Mapping[str, str]) -> None:
        listing = self._listing
        if listing is not None and not can.get(listing["id"]):
            listing = self._listing = None  # aborted, or gone: OSS has no parts of it
        show(self._details, listing is not None)
        if listing is None:
            return
        keep_same(self._title, value=title_html(listing))
        keep_same(self._list, value=parts_html(listing))
        live = "receipt" not in listing
        show(self._map, live and bool(self._map.value))
        page, pages = listing.get("page", 0), listing.get("pages", 1)
        for one, there in ((self._before, page > 0), (self._after, page + 1 < pages)):
            show(one, pages > 1)
            keep_same(one, disabled=not there)
        if live and time.monotonic() - self._mapped >= _MAP_PERIOD:
            if not self._mapped:
                self._map.value = ""  # another upload's
            self._mapped = time.monotonic()
            self._act(self, "map", listing["id"], 0, "")

    def bundle(self, rows: Sequence[Row]) -> dict[str, Any]:
        """What a cell displays: the widgets, and for places without them the rows as text and table."""
        bundle: Any = self.widget._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        return {**data, "text/plain": text_table(rows), "text/html": html_table(rows)}

    def close(self) -> None:
        """Close all models."""
        for one in list(widgets_of(self.widget)):
            close_model(one)


def _label(row: Row) -> str:
    return visible(f"{row.name} → {row.address} ({(row.upload_id or row.id)[:8]})")


class Fallback:
    """Finds out what the page can show, and puts stock panels where ours does not run.

    Parameters
    ----------
    panel : Panel
        Our panel; its ``seen`` tells that a page runs our script.
    act : callable
        As of :class:`StockPanel`.
    cells : callable
        The cells that show a panel; each has ``show(stock)``, with None for our own panel.
    """

    def __init__(
        self, panel: Panel, act: Callable[[Any, str, str, int, str], None], cells: Callable[[], Iterable[Any]]
    ) -> None:
        self.stock: StockPanel | None = None
        self._panel, self._act, self._cells = panel, act, cells
        self._answered = self._asked = 0.0
        self._over = threading.Event()
        self._link: Any = None
        # Of the layout there is anyway; these two traits mean nothing to a panel.
        self._layout = panel.hub.layout
        self._layout.object_fit = "fill"
        self._layout.observe(self._note_answer, "object_position")
        self.ask()
        self._thread = threading.Thread(
            target=_in_context(panel.hub, self._run), name="ossmp-front", daemon=True
        )
        self._thread.start()

    @property
    def coming(self) -> bool:
        """Whether stock panels are shown, or will be unless our script comes."""
        return self.stock is not None or bool(self._answered)

    def ask(self) -> None:
        """Ask the page (again) whether it knows stock widgets."""
        if not self._answered and self._link is None:
            ends = (self._layout, "object_fit"), (self._layout, "object_position")
            self._asked, self._link = time.monotonic(), ipywidgets.jsdlink(*ends)

    def close(self) -> None:
        """Stop looking, and close what was made."""
        self._over.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=2)
        self._put_away()

    def _note_answer(self, _: Any) -> None:
        self._answered = self._answered or time.monotonic()

    def _run(self) -> None:
        while not self._over.wait(_PERIOD):
            try:
                if self._panel.seen.is_set():
                    self._put_away()
                    return
                if self.stock is not None:
                    self.stock.refresh()
                elif not self._answered and time.monotonic() - self._asked > _LONG:
                    self._forget_link()  # nobody is there: the saved notebook need not keep it
                elif self._answered and time.monotonic() - self._answered > _PATIENCE:
                    self.stock = StockPanel(self._panel.board_rows, self._act)
                    self._show(self.stock)
            except Exception:  # a broken page must not end the uploads
                log.debug("the stock panel failed", exc_info=True)

    def _show(self, stock: StockPanel | None) -> None:
        for cell in list(self._cells()):
            cell.show(stock)

    def _put_away(self) -> None:
        stock, self.stock = self.stock, None
        if stock is not None:
            if self._panel.seen.is_set():  # our script came late: no cell shows both
                self._show(None)
            stock.close()
        self._forget_link()

    def _forget_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
