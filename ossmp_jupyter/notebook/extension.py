"""Load and unload: both may be run twice, and unloading leaves nothing behind."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ossmp_jupyter.notebook.completion import matcher_for
from ossmp_jupyter.notebook.lost_requests import keep_requests, lose_requests
from ossmp_jupyter.notebook.magics import OssMagics
from ossmp_jupyter.notebook.options import MAGICS
from ossmp_jupyter.notebook.short_errors import restore, shorten_all, shorten_interrupt
from ossmp_jupyter.transfer.interrupts import when_stopped
from ossmp_jupyter.visible import visible

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load", "unload"]

_KEY = "OssMagics"
_PATIENCE = 6.0
"""Seconds to let go of everything; it takes a moment unless a source blocks."""
# by the classes' names: their modules are imported by the first upload
_RESULT = ("ossmp_jupyter.transfer.progress", "UploadResult")
_UPLOAD = ("ossmp_jupyter.transfer.handle", "Upload")


def load(shell: InteractiveShell) -> None:
    """Register the magics and the completion."""
    registry: dict[str, Any] = shell.magics_manager.registry
    if _KEY in registry:
        return
    magics = OssMagics(shell)
    shell.register_magics(magics)
    matcher = matcher_for(shell)
    magics.matcher = matcher
    shell.events.register("pre_run_cell", magics.note_cell)
    shell.events.register("post_run_cell", magics.end_cell)
    shell.Completer.custom_matchers.append(matcher)
    shorten_all(shell)
    _show_values(shell, magics)
    _tell_of_stops(shell)
    keep_requests(getattr(shell, "kernel", None))


def unload(shell: InteractiveShell) -> None:
    """Take everything away that :func:`load` and the magics brought."""
    magics = shell.magics_manager.registry.pop(_KEY, None)
    if not isinstance(magics, OssMagics):
        return
    for name in MAGICS:
        shell.magics_manager.magics["line"].pop(name, None)
    shell.events.unregister("pre_run_cell", magics.note_cell)
    shell.events.unregister("post_run_cell", magics.end_cell)
    configurables: list[Any] = shell.configurables
    if magics in configurables:
        configurables.remove(magics)
    matchers: list[Any] = getattr(shell.Completer, "custom_matchers", [])
    if magics.matcher in matchers:
        matchers.remove(magics.matcher)
    restore()
    when_stopped(None)
    lose_requests(getattr(shell, "kernel", None))
    _show_values_as_ever(shell)
    magics.close()
    _end_engine()


def _end_engine() -> None:
    """Pause what still runs, say how it goes on, and end all threads and connections."""
    manager = sys.modules.get("ossmp_jupyter.transfer.manager")
    if manager is None:
        return  # nothing was ever uploaded
    left = [handle for handle in manager.uploads() if not handle.future.done()]
    manager.stop_engine(_PATIENCE)
    again = "after %load_ext ossmp_jupyter"
    if len(left) == 1:
        by_id = f", or by %oss_resume {left[0].upload_id}" if left[0].upload_id else ""
        what = f"{left[0].name} → {left[0].address}"
        print(visible(f"paused {what}: it goes on when its cell is run again {again}{by_id}"))
    elif left:
        print(
            f"paused {len(left)} uploads: {again} their cells go on where they were; %oss_uploads shows them"
        )


def _tell_of_stops(shell: InteractiveShell) -> None:
    """The stop button in ``h.wait()`` or ``await h`` says what it says in the magics: a line, no frames."""

    def stopped(handle: Any, interrupt: BaseException) -> None:
        from ossmp_jupyter.notebook.waiting import pause_uploads

        pause_uploads([handle])
        shorten_interrupt(shell, interrupt)

    when_stopped(stopped)


def _show_values(shell: InteractiveShell, magics: OssMagics) -> None:
    """On pages, a result is a table and an upload its row of the panel."""

    def table(result: Any) -> str:
        from ossmp_jupyter.notebook.results import result_html

        return result_html(result)

    def row(handle: Any) -> None:
        magics.session.show(handle)

    if shell.display_formatter is not None:
        shell.display_formatter.formatters["text/html"].for_type_by_name(*_RESULT, table)
        shell.display_formatter.ipython_display_formatter.for_type_by_name(*_UPLOAD, row)


def _show_values_as_ever(shell: InteractiveShell) -> None:
    if shell.display_formatter is None:
        return
    html = shell.display_formatter.formatters["text/html"]
    for formatter, name in ((html, _RESULT), (shell.display_formatter.ipython_display_formatter, _UPLOAD)):
        formatter.deferred_printers.pop(name, None)
        home = sys.modules.get(name[0])
        if home is not None:
            formatter.type_printers.pop(getattr(home, name[1]), None)
