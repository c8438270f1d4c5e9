"""Bars for a real terminal: one line for each upload, as wide as the terminal, in our own words and units."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm
from tqdm.utils import disp_len, disp_trim

from ossmp_jupyter.notebook.rows import words
from ossmp_jupyter.notebook.text import Reporter, figures
from ossmp_jupyter.transfer.progress import Progress, State
from ossmp_jupyter.visible import visible

if TYPE_CHECKING:
    from ossmp_jupyter.transfer.manager import Upload

__all__ = ["TextBars"]

_PACE = 0.2
_SHORTEST_BAR = 8


class _Bar(tqdm):  # type: ignore[type-arg]
    """tqdm draws, places and clears the bars; what they say is ours."""

    monitor_interval = 0  # no thread
    _lock = threading.RLock()  # tqdm's own needs a semaphore, and with it a process on some systems
    said = ""

    @property
    def format_dict(self) -> dict[str, Any]:
        return {**super().format_dict, "said": self.said}


class TextBars(Reporter):
    """Moves a bar for every upload, five times a second at most."""

    def __init__(self) -> None:
        self._bars: dict[str, _Bar] = {}
        self._drawn: dict[str, tuple[object, ...]] = {}
        self._widest = 0
        self._next = 0.0

    def update(self, handles: Sequence[Upload]) -> None:
        """Move the bars."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _PACE
        width = shutil.get_terminal_size().columns - 1
        limit = min(width // 3, max(20, width // 4))
        names = [_cut(visible(handle.name), limit) for handle in handles]
        longest = max(map(disp_len, names))
        for handle, name in zip(handles, names, strict=True):
            p = handle.progress
            percent = f"{int(100 * p.fraction):3} %" if p.size_known else ""
            label = f"{name}{' ' * (longest - disp_len(name))} {percent}"
            said = _said(p, width - disp_len(label) - 4 - _SHORTEST_BAR)
            self._widest = max(self._widest, disp_len(said))  # a bar that changes its length is no bar
            self._draw(handle.id, width, p, label, said + " " * (self._widest - disp_len(said)))

    def _draw(self, key: str, width: int, p: Progress, label: str, said: str) -> None:
        n = p.confirmed if p.size_known else 0
        if self._drawn.get(key) == (width, n, label, said):
            return
        self._drawn[key] = (width, n, label, said)
        bar = self._bars.get(key)
        if bar is None:
            bar = self._bars[key] = _Bar(
                bar_format="{desc} |{bar}| {said}", file=sys.stdout, position=len(self._bars), leave=False,
                delay=1,  # nothing is drawn before we say so
            )  # fmt: skip
            bar.delay = 0
        bar.ncols, bar.total, bar.n, bar.desc, bar.said = width, (p.total or None), n, label, said
        bar.refresh()

    def close(self) -> None:
        """Take the bars away."""
        for bar in reversed(self._bars.values()):  # the first one's end puts the cursor where it began
            bar.close()
        self._bars.clear()


def _cut(name: str, limit: int) -> str:
    return name if disp_len(name) <= limit else disp_trim(name, limit - 1) + "…"


def _said(p: Progress, room: int) -> str:
    """As much as fits; the speed is the last to go."""
    sizes, *rest = figures(p)
    if p.state is not State.UPLOADING:
        forms = [[words(p.state), sizes], [words(p.state)]]
    else:
        forms = [[sizes, *rest], rest, rest[:1]]
    texts = (", ".join(form) for form in forms)
    return next((text for text in texts if disp_len(text) <= room), "")
