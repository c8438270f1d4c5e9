"""The panel for front ends that know ipywidgets and not anywidget, such as hubs with kernels of their own.

Whether the page runs our script is known by its hello. Where none comes, a link between two traits of a
stock widget, which only a live ipywidgets front end copies, tells that stock widgets would work; then every
cell shows a stock panel instead. Without either, progress is text.
"""

from __future__ import annotations

import html
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets

from ossmp_jupyter.notebook.models import close_model
from ossmp_jupyter.notebook.panel import _in_context, _keep_subshell
from ossmp_jupyter.notebook.rows import Row, html_table, text_table

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
_PARTS = ("Part", "Size", "ETag", "CRC-64")


class StockPanel:
    """The rows as HTML, a drop-down of uploads and one row of buttons; what :class:`Panel` is to the actions.

    Parameters
    ----------
    rows : callable
        Returns the rows to show now.
    act : callable
        ``act(panel, verb, upload_id, page)`` for a click; returns at once.
    """

    def __init__(self, rows: Callable[[], list[Row]], act: Callable[[Any, str, str, int], None]) -> None:
        self._rows, self._act = rows, act
        self._said = self._parts = ""
        self._table, self._below = ipywidgets.HTML(), ipywidgets.HTML()
        self._choice = ipywidgets.Dropdown(description="Upload", layout={"width": "auto"})
        self._buttons = {
            letter: self._button(text, verb)
            for text, verb, letter in (
                ("Abort", "ask", "A"),
                ("List parts", "parts", "LD"),
                ("Pause", "pause", "P"),
                ("Resume", "resume", "R"),
            )
        }
        self._sure = self._button("Yes, abort", "abort", style="danger")
        self._keep = self._button("Keep", "keep")
        self._question = ipywidgets.HBox([self._sure, self._keep], layout={"display": "none"})
        self._choice.observe(lambda _: self._ask(False), "value")
        buttons = [*self._buttons.values(), self._question]
        self._tools = ipywidgets.HBox(buttons, layout={"flex_flow": "wrap"})
        self.widget = ipywidgets.VBox([self._table, self._choice, self._tools, self._below])
        for one in (self.widget, self._table, self._choice, *self._buttons.values(), self._sure, self._keep):
            _keep_subshell(one)
        self.refresh()

    def _button(self, text: str, verb: str, style: str = "") -> Any:
        button = ipywidgets.Button(description=text, button_style=style, layout={"width": "auto"})
        button.on_click(lambda _: self._press(verb))
        return button

    def _press(self, verb: str) -> None:
        # Exceptions in widget handlers are invisible in Jupyter: the line below the buttons shows them.
        try:
            upload = self._choice.value
            if upload is None:
                self.say("Select an upload first.")
            elif verb in ("ask", "keep"):
                self._ask(verb == "ask")
            else:
                self._ask(False)
                self._act(self, verb, str(upload), 0)
        except Exception as error:
            self.say(str(error) or type(error).__name__, bad=True)
        self.refresh()

    def _ask(self, asked: bool) -> None:
        self._question.layout.display = "" if asked else "none"
        if asked:
            self.say("Abort it and delete what was sent?")

    def say(self, text: str, *, bad: bool = False, upload: str = "") -> None:
        """Show a sentence below the buttons, at the next refresh."""
        self._said = f'<span role="status">{"⚠ " if bad else ""}{html.escape(text)}</span>'

    def tell(self, kind: str, content: dict[str, Any]) -> None:
        """Show the parts of an upload below the buttons, the first page of them; name a question's magic."""
        if kind == "parts":
            self._show_parts(content)
        elif kind == "ask":
            self.say(f"Name its file: {content['command']}")

    def _show_parts(self, content: dict[str, Any]) -> None:
        self.say(content["text"])
        if "receipt" in content:
            self._parts = f"<p>{html.escape(content['receipt'])}</p>"
            return
        head = "".join(f"<th>{title}</th>" for title in _PARTS)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in part) + "</tr>"
            for part in content["parts"]
        )
        more = content["total"] - len(content["parts"])
        rest = f"<p>and {more} more: %oss_parts {html.escape(content['id'])} --all</p>" if more else ""
        self._parts = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{rest}"

    def start(self) -> None:
        """Nothing: the thread that refreshes never rests."""

    def refresh(self) -> None:
        """Show the rows as they are now; sends only what changed."""
        rows = self._rows()
        shown = rows[:_MOST_ROWS]
        _set(self._table, value=html_table(shown) + _more(len(rows) - len(shown)))
        options = [(_label(row), row.id) for row in rows]
        if list(self._choice.options) != options:
            before = self._choice.value
            self._choice.options = options
            ids = [id for _, id in options]
            self._choice.value = before if before in ids else (ids[0] if ids else None)
        can = next((row.can for row in rows if row.id == self._choice.value), "")
        for letter, button in self._buttons.items():
            _set(button, disabled=not set(letter) & set(can))
        _set(self._below, value=self._said + self._parts)

    def bundle(self, rows: Sequence[Row]) -> dict[str, Any]:
        """What a cell displays: the widgets, and for places without them the rows as text and table."""
        bundle: Any = self.widget._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        return {**data, "text/plain": text_table(rows), "text/html": html_table(rows)}

    def close(self) -> None:
        """Close all models."""
        for one in (*self.widget.children, *self._tools.children, *self._question.children, self.widget):
            close_model(one)


def _set(widget: Any, **values: Any) -> None:
    for name, value in values.items():
        if getattr(widget, name) != value:
            setattr(widget, name, value)


def _label(row: Row) -> str:
    return f"{row.name} → {row.address} ({(row.upload_id or row.id)[:8]})"


def _more(count: int) -> str:
    return f"<p>and {count} more</p>" if count else ""


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
        self, panel: Panel, act: Callable[[Any, str, str, int], None], cells: Callable[[], Iterable[Any]]
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
