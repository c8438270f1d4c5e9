"""What the tests of the engine over real HTTP share: a bucket of the embedded OSS and what is seen in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.connection import Connection, connect
from ossmp_jupyter.transfer.handle import Upload
from ossmp_jupyter.transfer.journal import journal_dir
from ossmp_jupyter.transfer.manager import call, upload
from ossmp_jupyter.units import KIB

PART = 100 * KIB
"""The smallest part that OSS takes: tests of many parts stay small."""


def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait until something is so. The limit is for hangs, not for speed."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.005)


@dataclass(frozen=True)
class Bucket:
    """One test's bucket."""

    server: LocalOSS
    name: str
    connection: Connection

    def address(self, key: str = "data.bin") -> str:
        return f"oss://{self.name}/{key}"

    def start(self, source: object, key: str = "data.bin", **options: Any) -> Upload:
        options.setdefault("part_size", PART)
        return upload(source, self.address(key), connection=self.connection, **options)

    def get(self, key: str = "data.bin") -> bytes:
        return call(lambda oss: oss.get(self.address(key)), self.connection).result(30)

    def head(self, key: str = "data.bin") -> Any:
        return call(lambda oss: oss.head(self.address(key)), self.connection).result(30)

    def uploads(self) -> list[dict[str, Any]]:
        """The unfinished uploads on the server."""
        return [one for one in self.server.snapshot()["uploads"] if one["bucket"] == self.name]

    def keys(self) -> list[str]:
        return sorted(
            one["key"] for one in self.server.snapshot()["objects"].values() if one["bucket"] == self.name
        )

    def requests(self, operation: str = "*") -> list[dict[str, Any]]:
        """What the server was asked in this bucket."""
        return [
            one
            for one in self.server.journal()
            if one["bucket"] == self.name and operation in ("*", one["operation"])
        ]

    def ended(self, operation: str) -> list[dict[str, Any]]:
        """The same, when the server has noted of each how it ended: it does so after its answer has left."""
        until(
            lambda: all("seconds" in one for one in self.requests(operation)), f"each {operation} has ended"
        )
        return self.requests(operation)

    def parts_sent(self) -> list[int]:
        """Numbers of the parts that were stored, in order of arrival."""
        return [one["part_number"] for one in self.ended("UploadPart") if one["status"] == 200]

    def is_untouched(self) -> bool:
        return not self.uploads() and not self.keys()

    def fault(self, operation: str, kind: str, **more: Any) -> None:
        self.server.set_faults([{"operation": operation, "kind": kind, **more}])

    def with_(self, **changes: Any) -> Bucket:
        """The same bucket through another connection."""
        return replace(self, connection=replace(self.connection, **changes))


def make_connection(server: LocalOSS, bucket: str | None = None, **changes: Any) -> Connection:
    settings = {
        "endpoint": server.endpoint, "region": server.region, "bucket": bucket,
        "access_key_id": server.access_key_id, "access_key_secret": server.access_key_secret, "timeout": 20.0,
    }  # fmt: skip
    return connect(**{**settings, **changes})


def make_file(folder: Path, size: int = 5 * PART + 17, name: str = "data.bin") -> Path:
    path = folder / name
    path.write_bytes(os.urandom(size))
    return path


def open_files() -> list[str]:
    """What this process has open, where the machine tells; other threads open and close files meanwhile."""
    names = []
    for descriptor in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            names.append(os.readlink(descriptor))
    return names


def state_files() -> list[str]:
    """All that the engine keeps on disk, lock files included."""
    return sorted(file.name for file in journal_dir().glob("*")) if journal_dir().exists() else []


@contextmanager
def held_up(bucket: Bucket, part: int = 2, operation: str = "UploadPart") -> Iterator[None]:
    """While the block runs, the server is silent in the middle of one part, or after the operation.

    What is cut off then may still be stored a moment later: its bytes are in the server's buffers.
    """
    rule: dict[str, Any] = {"operation": operation, "kind": "stall", "seconds": 60, "times": None}
    if operation == "UploadPart":
        rule.update(part_number=part, byte=1000)
    bucket.server.set_faults([rule])
    try:
        yield
    finally:
        bucket.server.set_faults([])


@contextmanager
def refused(bucket: Bucket, part: int = 2) -> Iterator[None]:
    """While the block runs, the server refuses one part: it is certainly not stored.

    It is asked for once: a minute later again, and only by who was not paused meanwhile. What other answers
    of the server than 503 say of Retry-After is not heeded.
    """
    rule = {"operation": "UploadPart", "kind": "error", "part_number": part, "times": None}
    rule |= {"status": 503, "code": "ServiceUnavailable", "retry_after": 60}
    bucket.server.set_faults([rule])
    try:
        yield
    finally:
        bucket.server.set_faults([])


def in_the_middle(bucket: Bucket, handle: Upload, part: int = 2) -> None:
    """Return when all parts but one are stored, and that one is under way or refused."""

    def so() -> bool:
        parts = handle.part_map()
        asked = any(one["part_number"] == part for one in bucket.requests("UploadPart"))
        # the map of a stream is made while the part is asked for already
        return asked and parts.count("d") == len(parts) - 1 and parts[part - 1 : part] in ("f", ".")

    until(so, f"all parts but {part} stored")
