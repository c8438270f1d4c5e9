"""Errors as they look in a cell: one exception, a line or three, never a wall of frames."""

from __future__ import annotations

import functools
import os
import site
import sysconfig
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any

import IPython

import ossmp_jupyter
from ossmp_jupyter.errors import OssmpError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["render", "restore", "shorten", "shorten_all", "shorten_interrupt"]


def render(error: BaseException) -> list[str]:
    """Write an error as the lines of a traceback.

    Examples
    --------
    >>> render(OssmpError("the bucket is gone", hint="create it", request_id="5F2A", status=404))
    ['OssmpError: the bucket is gone', '  → create it', '  HTTP 404, request ID 5F2A']
    """
    if not isinstance(error, OssmpError):
        return [f"{type(error).__name__}: {error}" if str(error) else type(error).__name__]
    lines = [f"{type(error).__name__}: {error.message}"]
    if error.hint:
        lines.append(f"  → {error.hint}")
    if error.facts:
        lines.append("  " + ", ".join(error.facts))
    return lines


def shorten(error: BaseException) -> None:
    """Make IPython show ``error`` by :func:`render`; it is still raised, so that Run All stops."""
    lines = render(error)
    carrier: Any = error
    carrier._render_traceback_ = lambda: lines  # IPython's own protocol for such errors


def shorten_all(shell: InteractiveShell) -> None:
    """Make ``shell`` show errors of Python calls, such as ``upload(...)``, by the user's own lines alone.

    ``%xmode Verbose`` shows everything, ours included.
    """

    def shown(error: OssmpError) -> list[str]:
        if shell.InteractiveTB.mode == "Verbose":
            whole: list[str] = shell.InteractiveTB.structured_traceback(
                type(error), error, error.__traceback__
            )
            return whole
        cause = error.__cause__
        lines = [*_own_lines(shell, error.__traceback__), *render(error)]
        if cause is not None and not isinstance(cause, OssmpError):
            lines += [f"  {line}" for line in _own_lines(shell, cause.__traceback__)]
        return lines

    carrier: Any = OssmpError
    carrier._render_traceback_ = shown


def shorten_interrupt(shell: InteractiveShell, interrupt: BaseException) -> None:
    """Make ``shell`` show the interrupt of a wait by the user's own lines alone."""
    carrier: Any = interrupt
    carrier._render_traceback_ = lambda: [*_own_lines(shell, interrupt.__traceback__), *render(interrupt)]


def restore() -> None:
    """Take :func:`shorten_all` back."""
    if "_render_traceback_" in vars(OssmpError):
        del OssmpError._render_traceback_  # type: ignore[attr-defined]


def _own_lines(shell: InteractiveShell, trace: TracebackType | None) -> list[str]:
    """Where in cells and files of the user's an error came by."""
    lines: list[str] = []
    for frame in traceback.extract_tb(trace):
        if frame.filename.startswith((*_not_the_users(), "<frozen", "<string>")):
            continue
        known = getattr(shell.compile, "format_code_name", lambda _: None)(frame.filename)
        where = " ".join(known) if known else f"File {frame.filename}"
        inside = "" if frame.name == "<module>" else f", in {frame.name}"
        lines += [f"{where}, line {frame.lineno}{inside}", *([f"    {frame.line}"] if frame.line else [])]
    return lines


@functools.cache
def _not_the_users() -> tuple[str, ...]:
    ours = [os.path.dirname(str(package.__file__)) for package in (ossmp_jupyter, IPython)]
    places = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *site.getsitepackages(),
              site.getusersitepackages(), *ours]  # fmt: skip
    return tuple({os.path.join(os.path.realpath(place), "") for place in places} | {
        os.path.join(place, "") for place in places
    })  # fmt: skip
