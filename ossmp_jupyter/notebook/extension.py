"""Load and unload: both may be run twice, and unloading leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ossmp_jupyter.notebook.completion import matcher_for
from ossmp_jupyter.notebook.magics import OssMagics
from ossmp_jupyter.notebook.options import MAGICS
from ossmp_jupyter.notebook.short_errors import restore, shorten_all

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load", "unload"]

_KEY = "OssMagics"


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
    magics.close()
