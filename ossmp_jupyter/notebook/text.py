"""Progress for places without a panel: terminals, saved notebooks, nbconvert, papermill."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ossmp_jupyter.notebook.rows import words
from ossmp_jupyter.transfer.progress import Progress, State, waiting_words
from ossmp_jupyter.units import format_duration, format_size, format_speed
from ossmp_jupyter.visible import visible

if TYPE_CHECKING:
    from ossmp_jupyter.transfer.manager import Upload

__all__ = ["Lines", "Reporter", "Silent", "figures", "progress_line", "terminal"]

_STEPS = (0, 25, 50, 75)  # the final line stands for 100 %
_PACE = 10.0


def progress_line(name: str, p: Progress) -> str:
    """Write one line about a running upload.

    Examples
    --------
    >>> half = Progress(State.UPLOADING, total=1 << 20, confirmed=1 << 19, speed=1 << 18, eta=2)
    >>> progress_line("a.bin", half)
    'a.bin: 50 %, 512.0 KiB of 1.0 MiB, 256.0 KiB/s, 2.0 s left'
    """
    pieces = [f"{int(100 * p.fraction)} %", *figures(p)]
    if p.state is not State.UPLOADING:
        pieces = [words(p.state), *pieces[:2]]
    return f"{visible(name)}: {', '.join(pieces)}"


def figures(p: Progress) -> list[str]:
    """How far a running upload is, and where they are known: how fast, and how long it will take.

    Examples
    --------
    >>> figures(Progress(State.UPLOADING, total=1 << 20, confirmed=1 << 19, speed=1 << 18, eta=2))
    ['512.0 KiB of 1.0 MiB', '256.0 KiB/s', '2.0 s left']
    """
    done = format_size(p.confirmed)
    pieces = [f"{done} of {format_size(p.total)}" if p.size_known else done]
    if p.speed:
        pieces.append(format_speed(p.speed))
        if p.eta is not None:
            pieces.append(f"{format_duration(p.eta)} left")
    return pieces


class Reporter:
    """What a waiting cell calls on every tick, and once at the end; from the cell's own thread."""

    def update(self, handles: Sequence[Upload]) -> None:
        """Look at the uploads and show what is due."""

    def close(self) -> None:
        """Put away what was drawn."""


class Silent(Reporter):
    """Shows nothing."""


class Lines(Reporter):
    """Plain lines at 0, 25, 50 and 75 %, at most one per 10 s; none while somebody looks at the panel.

    That an upload waits for credentials is said at once: nothing moves until somebody brings new ones.

    Parameters
    ----------
    looked_at : callable
        True when a panel on a page shows the same already.
    grace : float
        Seconds before the first line, in which a page may say hello.
    """

    def __init__(self, looked_at: Callable[[], bool] = lambda: False, grace: float = 0.0) -> None:
        self._looked_at = looked_at
        self._next_time = self._quiet_until = time.monotonic() + grace
        self._reached: dict[str, int] = {}
        self._waiting: set[str] = set()

    def update(self, handles: Sequence[Upload]) -> None:
        """Print the line that is due, if any."""
        now = time.monotonic()
        if now < self._quiet_until or self._looked_at():
            return
        running = [handle for handle in handles if not handle.future.done()]
        self._say_who_waits(running)
        if now < self._next_time:
            return
        for handle in running:
            p = handle.progress
            percent = 100 * p.fraction
            step = max(s for s in _STEPS if s <= percent)
            if step > self._reached.get(handle.id, -1):
                self._reached[handle.id] = step
                self._next_time = now + _PACE
                print(progress_line(handle.name, p), flush=True)
                return

    def _say_who_waits(self, handles: Sequence[Upload]) -> None:
        waiting = {handle.id: handle for handle in handles if handle.state is State.WAITING}
        for name in waiting.keys() - self._waiting:
            print(visible(f"{waiting[name].name}: {waiting_words(waiting[name].progress)}"), flush=True)
        self._waiting = set(waiting)


def terminal() -> bool:
    """Whether standard output is a terminal that can redraw a line."""
    return bool(getattr(sys.stdout, "isatty", lambda: False)())
