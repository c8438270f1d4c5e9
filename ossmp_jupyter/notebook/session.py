"""What one IPython shell keeps between magics: the board of uploads, the panel, the way to show things."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.notebook.actions import Actions
from ossmp_jupyter.notebook.board import Board
from ossmp_jupyter.notebook.farewell import before_shutdown
from ossmp_jupyter.notebook.options import UI_MODES
from ossmp_jupyter.notebook.rows import html_table, text_table
from ossmp_jupyter.notebook.text import Lines, Reporter, Silent, terminal
from ossmp_jupyter.transfer.progress import State

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ossmp_jupyter.localoss.launch import LocalHandle
    from ossmp_jupyter.notebook.browser_files import BrowserFiles
    from ossmp_jupyter.notebook.magics import OssMagics
    from ossmp_jupyter.notebook.panel import Panel, PanelView
    from ossmp_jupyter.notebook.stock import Fallback, StockPanel
    from ossmp_jupyter.transfer.manager import Upload

__all__ = ["Cell", "Session"]

T = TypeVar("T")
_CELLS = 200  # so many are kept up to date: at rest, at the end, and where the page knows stock widgets only
_FOLLOWED = 4  # so many lists of all uploads have their kept text follow what comes later: the last ones
TABLE_AFTER = 30.0
"""Seconds for which a panel stays when its uploads are published and nobody clicks."""
_LEFT = "This panel has ended. Run the upload again: it goes on where it was."
_GRACE = 3.0  # seconds in which a page may say hello before text lines start


class Session:
    """State behind the magics of one shell."""

    def __init__(self, shell: InteractiveShell, settings: OssMagics) -> None:
        self.shell = shell
        self.settings = settings
        self.board = Board()
        self.actions = Actions(self.board, self._box)
        self.background: set[Upload] = set()  # begun by -b; whoever waits for all has to learn of their ends
        self.local: list[LocalHandle] = []  # held until the end: uploads may still run there
        self.advised: set[str] = set()  # buckets whose missing lifecycle rule was spoken of
        self._panel: Panel | None = None
        self._files: BrowserFiles | None = None
        self._unsettled: deque[Cell] = deque(maxlen=_CELLS)
        self._cells: deque[Cell] = deque(maxlen=_CELLS)  # that show the panel, the newest last
        self._in_cell: set[str] = set()  # what the running cell shows already
        self._fallback: Fallback | None = None
        self._undo: Callable[[], None] = lambda: None

    @property
    def in_kernel(self) -> bool:
        """Whether widgets can live here."""
        return getattr(self.shell, "kernel", None) is not None

    @property
    def headless(self) -> bool:
        """Whether nbclient or its like runs the cells: no page asks, every model stays in the notebook."""
        return not getattr(getattr(self.shell, "kernel", None), "_allow_stdin", True)

    def ui(self, asked: str | None) -> str:
        """Settle how progress shows: ``"widget"``, ``"auto"`` (widget or lines), ``"text"`` or ``"none"``."""
        set_here = str(self.settings.ui)
        mode = asked or (set_here if set_here != "auto" else os.environ.get("OSSMP_UI") or "auto")
        if mode not in UI_MODES:
            raise InputError(f"OSSMP_UI is {mode!r}", hint=f"use one of {', '.join(UI_MODES)}")
        if mode in ("auto", "widget") and not self.in_kernel:
            return "text"
        return mode

    @property
    def panel(self) -> Panel:
        """The panel of this kernel; the widget libraries are imported here."""
        if self._panel is None:
            from ossmp_jupyter.notebook.panel import Panel
            from ossmp_jupyter.notebook.pump import pumping
            from ossmp_jupyter.notebook.waiting import serving, serving_await
            from ossmp_jupyter.transfer.handle import serve_while_waiting

            # Where there are buttons they live also in upload(...).wait() and await upload(...).
            serve_while_waiting(
                lambda: serving(self.shell),
                lambda: serving_await(self.shell, lambda: self.settings.in_cell),
            )
            self._panel = Panel(
                self.board.rows,
                self.actions,
                hz=float(self.settings.refresh),
                at_rest=self._at_rest,
                deaf=lambda: self.settings.in_cell and not pumping(),
            )
            self._undo = before_shutdown(getattr(self.shell, "kernel", None), self._freeze)
        return self._panel

    @property
    def files(self) -> BrowserFiles:
        """The kernel's end of the pages that choose files."""
        if self._files is None:
            from ossmp_jupyter.notebook.picking import make_files

            self._files = make_files(self)
        return self._files

    def _box(self) -> dict[str, Any]:
        from ossmp_jupyter.notebook.picking import destination

        return {"model": self.files.model.model_id, "dest": destination(), "pick": "panel"}

    def cell(self, handles: Sequence[Upload] | None, mode: str, view: PanelView | None = None) -> Cell:
        """Show uploads in the running cell, all for None; in ``view``, or else in a plain one."""
        cell = Cell(self, handles, mode, view)
        if cell.has_view:
            self._in_cell.update(handle.id for handle in handles or ())
            if not cell.own_rows:
                waiting = list(self._unsettled)  # in one step: the ticker takes some out
                for older in [one for one in waiting if not one.own_rows][: 1 - _FOLLOWED]:
                    self._unsettled.remove(older)
            self._unsettled.append(cell)
            self._cells.append(cell)
            self._watch_page()
        return cell

    def show(self, handle: Upload) -> None:
        """Show a handle that is a cell's value.

        Raises
        ------
        NotImplementedError
            If the cell shows it already, or nothing here shows widgets: IPython then writes its repr.
        """
        mode = self.ui(None)
        if mode not in ("auto", "widget") or handle.id in self._in_cell:
            raise NotImplementedError
        self.cell([handle], mode)

    def _watch_page(self) -> None:
        """Put stock widgets in the panel's place where the page does not run our script."""
        if self.panel.seen.is_set() or self.headless:
            return
        if self._fallback is None:
            from ossmp_jupyter.notebook.stock import Fallback

            self._fallback = Fallback(self.panel, self.actions, lambda: tuple(self._cells))
        self._fallback.ask()
        if self._fallback.stock is not None:
            self._cells[-1].show(self._fallback.stock)

    def quiet_since(self, moment: float) -> bool:
        """Whether nobody has used the panel for a while since then, or nobody ever will."""
        if self.headless:
            return True
        return self.looked_at() and time.monotonic() - max(moment, self.panel.touched) >= TABLE_AFTER

    def looked_at(self) -> bool:
        """Whether a page shows the progress, or is about to."""
        stock = self._fallback is not None and self._fallback.coming
        return stock or self.panel.seen.is_set()

    def _at_rest(self) -> None:
        """On the ticker's thread: an update finds its display by ID, whatever cell runs now.

        But nbclient hears the running cell only, and a thread speaks for the one that started it.
        """
        if not self.headless:
            self.settle()

    def settle(self) -> None:
        """Bring the cells up to date whose uploads have ended."""
        for cell in list(self._unsettled):
            if cell.ended and cell.settle():
                for cells in (self._unsettled, self._cells):
                    with contextlib.suppress(ValueError):  # two threads may come by at once
                        cells.remove(cell)

    def _freeze(self) -> None:
        for cell in list(self._cells):
            cell.freeze()
        self._cells.clear()
        self._unsettled.clear()

    def shown(self, value: T) -> T | None:
        """Return ``value``, or None where the cell would display it: its text stands there already."""
        return None if self.settings.ends_the_cell() else value

    def end_cell(self) -> None:
        """Let the next cells run, whatever this one's tasks still await."""
        self._in_cell.clear()
        if self.headless:
            self.settle()
        if self._panel is not None:
            from ossmp_jupyter.notebook.pump import end_of_cell

            end_of_cell()

    def close(self) -> None:
        """Close panel and local OSS."""
        if self._files is not None:
            self._files.close()
            self._files = None
        if self._fallback is not None:
            self._fallback.close()
            self._fallback = None
        self._undo()
        self._freeze()
        if self._panel is not None:
            from ossmp_jupyter.transfer.handle import serve_while_waiting

            serve_while_waiting(None)
            self.end_cell()
            self._panel.close()
            self._panel = None
        self._leave_local()

    def _leave_local(self) -> None:
        """Give up the embedded OSS; the connection to it would lead nowhere."""
        if not self.local:
            return
        from ossmp_jupyter.transfer import manager

        current = manager.default_connection()
        for handle in self.local:
            handle.close()
            if current is not None and current.identity == handle.identity:
                manager.set_default_connection(None)
        self.local.clear()


class Cell:
    """The display of one cell: a view of the panel, or text; settled when its uploads rest."""

    def __init__(
        self,
        session: Session,
        handles: Sequence[Upload] | None,
        mode: str,
        view: PanelView | None = None,
    ) -> None:
        self._session = session
        self._ids = None if handles is None else [handle.id for handle in handles]
        self._display: Any = None
        self._view: Any = None
        self._stock: StockPanel | None = None
        self._kept: list[tuple[str, str]] | None = None  # the states that the notebook file has
        self.frozen = False
        self._published: float | None = None  # when all of it was seen to be
        self.own_rows = handles is not None and view is None
        if mode in ("auto", "widget"):
            from IPython.display import display

            self._view = view or session.panel.view(self._ids)
            self._display = display(self._view, display_id=True)  # type: ignore[no-untyped-call]
        self.reporter = self._reporter(mode)

    @property
    def has_view(self) -> bool:
        """Whether the cell shows the panel."""
        return self._view is not None

    @property
    def ended(self) -> bool:
        """Whether everything that the view shows has ended."""
        return all(row.ended for row in self._view.shown())

    def _reporter(self, mode: str) -> Reporter:
        if mode in ("auto", "widget"):
            # Who insists on widgets gets lines all the same where none appear: better than nothing.
            return Lines(self._session.looked_at, grace=_GRACE if mode == "auto" else 3 * _GRACE)
        if mode == "text":
            if not terminal() or self._session.in_kernel:
                return Lines()
            from ossmp_jupyter.notebook.bars import TextBars

            return TextBars()
        return Silent()

    def show(self, stock: StockPanel | None) -> None:
        """Show a stock panel in this cell instead of ours, or ours again."""
        self._stock = stock
        if stock is not None and self._view.instead:
            stock.say(self._view.instead, bad=True)
        self._update()

    def settle(self) -> bool:
        """Put the state as it is now into what the notebook file keeps; True once nothing can change it.

        Uploads that have succeeded need no buttons after a while: a table takes their panel's place. A
        notebook that is opened without its kernel shows it, where a widget would be an error message.
        """
        if self._view is None or self.frozen:
            return True
        rows = self._view.shown()
        if not (self.own_rows and all(row.state == State.DONE.value for row in rows)):
            self._published = None
        elif self._published is None:
            self._published = time.monotonic()
        if self._published is not None and self._session.quiet_since(self._published):
            self.freeze()
            return True
        states = [(row.id, row.state) for row in rows]
        if states != self._kept:  # a display that is updated is drawn anew: not for every word
            self._kept = states
            self._session.panel.settle()
            self._update()
        return False

    def freeze(self) -> None:
        """Leave a table in the widget's place.

        The widget stays known: a page that was away meanwhile still has it in its copy of the cell.
        """
        if self.frozen:
            return
        self.frozen = True
        rows = self._view.shown()
        text, table = text_table(rows), html_table(rows)
        if any(not row.ended for row in rows):
            text, table = f"{text}\n{_LEFT}", f"{table}<p>{_LEFT}</p>"
        self._display.update({"text/plain": text, "text/html": table}, raw=True)

    def _update(self) -> None:
        if self.frozen:
            return
        if self._stock is not None:
            data, metadata = self._stock.bundle(self._view.shown()), {}
        else:
            data, metadata = self._view._repr_mimebundle_()
        self._display.update(data, metadata=metadata, raw=True)
