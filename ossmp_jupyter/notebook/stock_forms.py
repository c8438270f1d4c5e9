"""The stock panel's questions: boxes of stock widgets that are there only while something is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ipywidgets

from ossmp_jupyter.notebook.stock_html import found_html, said_html

__all__ = ["AGES", "CleanUp", "Question", "WhichFile", "button", "keep_same", "show", "widgets_of"]

AGES = (("1 day", 86400), ("7 days", 604800), ("30 days", 2592000), ("0 days: all of them", 0))
_HIDDEN = {"display": "none"}
_WRAP = {"flex_flow": "wrap", "align_items": "center", "display": "none"}


def button(text: str, press: Callable[[], None], style: str = "") -> Any:
    """Make a button as wide as its text."""
    made = ipywidgets.Button(description=text, button_style=style, layout={"width": "auto"})
    made.on_click(lambda _: press())
    return made


def keep_same(widget: Any, **values: Any) -> None:
    """Set what differs, and send nothing where nothing does."""
    for name, value in values.items():
        if getattr(widget, name) != value:
            setattr(widget, name, value)


def show(widget: Any, shown: bool) -> None:
    """Show or hide a widget."""
    keep_same(widget.layout, display=None if shown else "none")


def widgets_of(widget: Any) -> Iterator[Any]:
    """Go through a widget and all that it holds."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from widgets_of(child)


class Question:
    """Whether an upload shall be aborted.

    Parameters
    ----------
    abort : callable
        Called with the upload's ID when the answer is yes.
    """

    def __init__(self, abort: Callable[[str], None]) -> None:
        self.upload: str | None = None
        self._abort = abort
        self._text = ipywidgets.HTML()
        buttons = button("Yes, abort", self._yes, "danger"), button("Keep", self.close)
        self.box = ipywidgets.HBox([self._text, *buttons], layout=_WRAP)

    def ask(self, upload: str, title: str) -> None:
        """Ask about this upload."""
        self.upload = upload
        keep_same(self._text, value=said_html(f"Abort {title} and delete what was sent?"))
        show(self.box, True)

    def _yes(self) -> None:
        upload = self.upload
        self.close()
        if upload is not None:
            self._abort(upload)

    def close(self) -> None:
        """Take the question back."""
        self.upload = None
        show(self.box, False)


class WhichFile:
    """Which file an upload was made of that this machine knows nothing about.

    Parameters
    ----------
    resume : callable
        Called with the upload's ID and the path.
    """

    def __init__(self, resume: Callable[[str, str], None]) -> None:
        self.upload: str | None = None
        self._resume = resume
        self._path = ipywidgets.Text(description="Its file", placeholder="path where the kernel runs")
        buttons = button("Resume with this file", self._go), button("Cancel", self.close)
        self.box = ipywidgets.HBox([self._path, *buttons], layout=_WRAP)

    def ask(self, upload: str, guess: str) -> None:
        """Ask for the file of this upload."""
        self.upload = upload
        self._path.value = guess
        show(self.box, True)

    def _go(self) -> None:
        upload, path = self.upload, self._path.value.strip()
        if upload is not None and path:
            self.close()
            self._resume(upload, path)

    def close(self) -> None:
        """Ask no more."""
        self.upload = None
        show(self.box, False)


class CleanUp:
    """What the bucket holds of uploads that nobody will finish: first look, then abort exactly that.

    Parameters
    ----------
    look : callable
        Called with an age in seconds; the answer comes by :meth:`found`.
    abort : callable
        Called with the name of what was found.
    """

    def __init__(self, look: Callable[[int], None], abort: Callable[[str], None]) -> None:
        self.opened = False
        self._look, self._abort, self._plan = look, abort, ""
        self._ages = ipywidgets.Dropdown(
            options=AGES,
            value=604800,
            description="Abort unfinished uploads older than",
            style={"description_width": "initial"},
            layout={"width": "auto"},
        )
        self._ages.observe(lambda _: self.look(), "value")
        self._found = ipywidgets.HTML()
        self._sure = button("", self._yes, "danger")
        self._keep = button("Keep", self.close)
        answers = ipywidgets.HBox([self._sure, self._keep])
        self.box = ipywidgets.VBox([self._ages, self._found, answers], layout=_HIDDEN)

    def toggle(self) -> None:
        """Open it and look, or close it."""
        if self.opened:
            self.close()
            return
        self.opened = True
        show(self.box, True)
        self.look()

    def look(self) -> None:
        """Ask the bucket."""
        self._plan = ""
        keep_same(self._found, value=said_html("Asking the bucket…"))
        show(self._sure, False)
        keep_same(self._keep, description="Close")
        self._look(self._ages.value)

    def found(self, content: Mapping[str, Any]) -> None:
        """Show what is there; an answer to an earlier question is none."""
        if not self.opened or content["age"] != self._ages.value:
            return
        self._plan, count = content.get("plan", ""), content.get("count", 0)
        keep_same(self._found, value=found_html(content))
        keep_same(self._sure, description=f"Yes, abort all {count}" if count > 1 else "Yes, abort it")
        show(self._sure, bool(count))
        keep_same(self._keep, description="Keep" if count else "Close")

    def _yes(self) -> None:
        plan = self._plan
        self.close()
        if plan:
            self._abort(plan)

    def close(self) -> None:
        """Leave all as it is."""
        self.opened, self._plan = False, ""
        show(self.box, False)
