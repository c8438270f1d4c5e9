"""Which uploads there are, and which one an ID means: live handles, journals, the bucket's own list."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.notebook.rows import Row, row_of, row_of_unfinished
from ossmp_jupyter.notebook.unfinished import Unfinished, from_journals
from ossmp_jupyter.transfer import manager

if TYPE_CHECKING:
    from ossmp_jupyter.oss.connection import Connection
    from ossmp_jupyter.transfer.manager import Upload

__all__ = ["Board"]


class Board:
    """Rows for the views: this kernel's uploads, newest first, then what else is unfinished."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unfinished: tuple[Unfinished, ...] = ()

    def set_unfinished(self, uploads: Sequence[Unfinished]) -> None:
        """Replace what is known of uploads that no handle of this kernel owns."""
        with self._lock:
            self._unfinished = tuple(uploads)

    def forget(self, upload_id: str) -> None:
        """Drop an unfinished upload: it was aborted, or a handle owns it now."""
        with self._lock:
            self._unfinished = tuple(u for u in self._unfinished if u.upload_id != upload_id)

    @property
    def unfinished(self) -> tuple[Unfinished, ...]:
        """Uploads begun earlier or elsewhere that no handle of this kernel owns."""
        live = {handle.upload_id for handle in manager.uploads()}
        with self._lock:
            return tuple(u for u in self._unfinished if u.upload_id not in live)

    def rows(self) -> list[Row]:
        """Snapshot of everything; cheap, from any thread."""
        live = [row_of(handle) for handle in reversed(manager.uploads())]
        return live + [row_of_unfinished(upload) for upload in self.unfinished]

    def live(self, text: str) -> Upload | None:
        """The handle that an ID means, or None; an ambiguous beginning is an InputError."""
        handles = manager.uploads()
        exact = [h for h in handles if text in (h.id, h.upload_id)]
        if exact:
            return exact[-1]
        begun = [h for h in handles if (h.upload_id or "").startswith(text) or h.id.startswith(text)]
        # several handles of one upload ID (paused, then resumed): the newest speaks for it
        found = {h.upload_id or h.id: h for h in begun}
        _only_one(text, list(found))
        return next(iter(found.values()), None)

    def other(self, text: str, connection: Connection | None) -> Unfinished | None:
        """The upload begun earlier or elsewhere that an ID means, from what is known on this machine."""
        known = {u.upload_id: u for u in (*from_journals(connection), *self.unfinished)}
        if text in known:
            return known[text]
        found = [u for u in known if u.startswith(text)]
        _only_one(text, found)
        return known[found[0]] if found else None


def _only_one(text: str, found: Sequence[str]) -> None:
    if len(found) > 1:
        some = ", ".join(sorted(found)[:4])
        raise InputError(
            f"{text!r} is the beginning of {len(found)} uploads: {some}", hint="give more of the ID"
        )
