"""Errors as they look in a cell: one exception, a line or three, never a wall of frames."""

from __future__ import annotations

from typing import Any

from ossmp_jupyter.errors import OssmpError

__all__ = ["render", "shorten"]


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
