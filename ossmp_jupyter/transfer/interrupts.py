"""Who is told when somebody stops waiting for an upload. Imports nothing, so that it can be set early."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ossmp_jupyter.transfer.handle import Upload

__all__ = ["tell_stopped", "when_stopped"]

Told = Callable[["Upload", BaseException], None]
_told: Told | None = None


def when_stopped(told: Told | None) -> None:
    """Set what is called with the upload and the interrupt (or the cancellation); None for nothing."""
    global _told  # noqa: PLW0603 - there is one notebook per process
    _told = told


def tell_stopped(upload: Upload, interrupt: BaseException) -> None:
    """Call it, before the upload is paused."""
    if _told is not None:
        _told(upload, interrupt)
