"""When a page could know the truth, and when it showed it: measured in the page itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.lab import NotebookPage

__all__ = ["Late", "Panels", "Watch", "moved", "says", "shows", "twice"]

_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
Panels = list[Any]  # of all panels: what each is told of its kernel, and [name, state, percent] of each row


def shows(state: str, percent: int = 0) -> Callable[[Panels], bool]:
    """Whether a panel shows an upload in this state."""
    return lambda panels: any(row[1] == state and row[2] >= percent for _, rows in panels for row in rows)


def moved(percent: int) -> Callable[[Panels], bool]:
    """Whether a panel shows at least so much."""
    return lambda panels: any(row[2] >= percent for _, rows in panels for row in rows)


def says(words: str) -> Callable[[Panels], bool]:
    """Whether each panel that shows an upload says so of its kernel."""
    return lambda panels: bool(panels) and all(words in told for told, _ in panels)


class Late(AssertionError):
    """The truth was shown too late."""


def twice(scene: Callable[[], None], between: Callable[[], None] = lambda: None) -> None:
    """Play a scene again if the truth came late in it: a process may have stood still, once."""
    try:
        scene()
    except Late as late:
        print(f"{late}\nonce more")
        between()
        scene()


class Watch:
    """The notes that a page takes from its next loading on."""

    def __init__(self, page: NotebookPage) -> None:
        self._page = page
        page.page.add_init_script(script=_SCRIPT)

    def _notes(self) -> list[tuple[float, str, Any]]:
        return [(at, kind, what) for at, kind, what in self._page.js("window.watched")]

    def now(self) -> float:
        """The page's own clock, in milliseconds."""
        return float(self._page.js("performance.timeOrigin + performance.now()"))

    def first(self, kind: str, *whats: str, since: float = 0) -> float:
        """When something was noted first; it is waited for."""

        def found() -> float | None:
            for at, noted, what in self._notes():
                if noted == kind and at >= since and (not whats or what in whats):
                    return at
            return None

        at = self._page.until(found, 60, f"the page did not note {kind} {whats}")
        assert at is not None
        return at

    def drawn(self) -> float:
        """When the page drew its first panel."""
        return self.first("panels")

    def asked(self) -> float:
        """When it did, too; the panel has asked for everything in that same moment, not at some next tick."""
        drawn = self.drawn()
        assert self.first("hello") <= drawn, self.story(drawn)
        return drawn

    def after(self, moment: float) -> float:
        """When the page took its first note after this moment."""
        return self._page.until(
            lambda: min((at for at, _, _ in self._notes() if at > moment), default=0), 30, "the page sleeps"
        )

    def when(self, true: Callable[[Panels], bool], since: float = 0) -> float:
        """The first moment from `since` on at which the panels showed what is true; it is waited for."""

        def shown() -> float | None:
            last: Panels = []
            for at, kind, what in self._notes():
                if kind == "panels":
                    if at > since and true(last):
                        return since
                    last = what
                    if at >= since and true(last):
                        return at
            return since if true(last) else None

        at = self._page.until(shown, 40, "the page does not show the truth")
        assert at is not None
        return at

    def in_time(self, true: Callable[[Panels], bool], since: float, what: str) -> float:
        """Assert that the panels showed what is true a second after `since` at the latest; that moment."""
        at = self.when(true, since)
        print(f"{what}: the truth {at - since:.0f} ms after it could be known")
        if at - since > 1000:
            raise Late(f"{what}: {at - since:.0f} ms\n{self.story(since)}")
        return at

    def story(self, since: float) -> str:
        """What was noted since then, for the eyes of whoever looks into a failure."""
        notes = [note for note in self._notes() if note[0] >= since - 500]
        return "\n".join(f"{at - since:8.0f} ms {kind} {json.dumps(what)}" for at, kind, what in notes)
