"""What every request was and how it ended, for tests; no secret gets in."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from ossmp_jupyter.localoss.request import Head

__all__ = ["Journal", "masked"]

_HIDDEN = "(hidden)"
_SECRET_HEADERS = ("authorization", "x-oss-security-token", "security-token", "x-localoss-token", "cookie")
_SECRET_PARAMETERS = (
    "signature", "ossaccesskeyid", "security-token",
    "x-oss-signature", "x-oss-credential", "x-oss-security-token",
)  # fmt: skip
_LENGTH = 20_000  # some 80 MB at most; the longest upload has 10,002 requests


def masked(values: Mapping[str, str], secret: tuple[str, ...]) -> dict[str, str]:
    """Copy a mapping with its secrets hidden; the scheme of an Authorization stays readable."""
    shown = {}
    for name, value in values.items():
        if name.lower() in secret:
            scheme = value.partition(" ")[0] if name == "authorization" and " " in value else ""
            shown[name] = f"{scheme} {_HIDDEN}" if scheme in ("OSS", "OSS4-HMAC-SHA256") else _HIDDEN
        else:
            shown[name] = value
    return shown


class Journal:
    """The last 20,000 requests, in the order their heads arrived."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[dict[str, Any]] = deque(maxlen=_LENGTH)
        self._number = 0

    def begin(
        self,
        head: Head,
        *,
        operation: str,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int | None,
        request_id: str,
        fault: str | None,
    ) -> dict[str, Any]:
        """Note a request whose head has arrived; ``status`` stays None until it ends."""
        entry: dict[str, Any] = {
            "operation": operation,
            "method": head.method,
            "bucket": bucket,
            "key": key,
            "query": masked(dict(head.query), _SECRET_PARAMETERS),
            "headers": masked(head.headers, _SECRET_HEADERS),
            "status": None,
            "code": None,
            "bytes_in": 0,
            "part_number": part_number,
            "upload_id": upload_id or None,
            "request_id": request_id,
            "fault": fault,
            "time": time.time(),
        }
        with self._lock:
            self._number += 1
            entry["n"] = self._number
            self._entries.append(entry)
        return entry

    def end(self, entry: dict[str, Any], *, status: int | None, code: str | None, bytes_in: int) -> None:
        """Note how a request ended; ``status`` None means that no answer went out."""
        with self._lock:
            entry.update(status=status, code=code, bytes_in=bytes_in, seconds=time.time() - entry["time"])

    def entries(self, *, clear: bool = False) -> list[dict[str, Any]]:
        """Return copies of all entries."""
        with self._lock:
            copies = [dict(entry) for entry in self._entries]
            if clear:
                self._entries.clear()
        return copies
