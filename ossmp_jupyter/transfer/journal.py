"""The checkpoint on disk: an append-only file of JSON lines per upload.

Line 1 is the header (service, target, source, part size, upload ID); each confirmed part adds one
line; a receipt line is added when the object is published. Appending costs the same for the
10,000th part as for the first (rewriting a JSON file costs hundreds of times more by then). A torn
last line, as a killed process leaves it, is ignored. Nothing is fsynced per part: the server's
ListParts is the truth and the journal a cache that content-proved resume checks anyway.

The file is 0600 and holds no secret. It is locked while an upload runs, so that two kernels never
send to one upload ID.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import filelock
import platformdirs

from ossmp_jupyter.errors import UploadInUse
from ossmp_jupyter.transfer.checkpoint import Checkpoint, CheckpointPart

__all__ = [
    "Header",
    "Journal",
    "JournalSummary",
    "Receipt",
    "Record",
    "journal_dir",
    "known_upload_ids",
    "list_journals",
    "state_dir",
]

VERSION = 1
KEEP_RECEIPTS = 30 * 86400.0
"""Seconds for which the receipt of a published object is kept."""
_PATIENCE = 0.25


@dataclass(frozen=True, slots=True)
class Header:
    """What an upload is. ``endpoint`` is the connection's identity, ``options`` a fingerprint.

    ``upload_id`` is empty for an object that went by PutObject, and while an upload begins. ``lost`` holds
    the Unix times of Initiates that have no answer (yet).
    """

    endpoint: str
    bucket: str
    key: str
    source: str
    kind: str
    size: int
    part_size: int
    upload_id: str
    options: str = ""
    created: float = 0.0
    lost: tuple[float, ...] = ()

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Header:
        """Make a header of what a file says.

        Raises
        ------
        TypeError, ValueError
            If a value is missing or cannot be: the file is damaged.
        """
        header = cls(**{**content, "lost": tuple(float(moment) for moment in content.get("lost", ()))})
        texts = (
            header.endpoint, header.bucket, header.key, header.source, header.kind,
            header.upload_id, header.options,
        )  # fmt: skip
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a text is none")
        if type(header.size) is not int or type(header.part_size) is not int:
            raise TypeError("a size is no whole number")
        if header.size < 0 or header.part_size < 1:
            raise ValueError("a size cannot be")
        float(header.created)
        return header


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was published, so that running the cell again can report it instead of sending again."""

    size: int
    crc64: int
    etag: str
    last_modified: str = ""
    finished: float = 0.0


@dataclass(slots=True)
class Record:
    """What a journal file says."""

    header: Header
    parts: dict[int, CheckpointPart] = field(default_factory=dict)
    receipt: Receipt | None = None

    def checkpoint(self) -> Checkpoint:
        """Return the record as the value that users see."""
        head = self.header
        file = head.source if head.kind == "file" else None
        parts = tuple(self.parts.values())
        return Checkpoint(
            file, head.bucket, head.key, head.size, head.part_size, head.upload_id, parts, head.endpoint
        )


@dataclass(frozen=True, slots=True)
class JournalSummary:
    """One unfinished upload found on disk. ``updated_at`` is a Unix time, sizes are bytes."""

    upload_id: str
    address: str
    source: str
    size: int
    confirmed: int
    part_size: int
    updated_at: float
    endpoint: str
    path: Path
    in_use: bool = False
    kind: str = "file"


def state_dir() -> Path:
    """Where journals live: ``OSSMP_STATE_DIR``, else the user's state directory."""
    chosen = os.environ.get("OSSMP_STATE_DIR")
    return Path(chosen) if chosen else Path(platformdirs.user_state_dir("ossmp-jupyter"))


def journal_dir() -> Path:
    """The folder of the journal files."""
    return state_dir() / "journals"


class Journal:
    """One journal file. Write errors never stop an upload: they set ``warning`` once.

    Parameters
    ----------
    path : Path or None
        The file; None keeps nothing on disk.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.warning: str | None = None
        self._file: Any = None
        self._lock: filelock.BaseFileLock | None = None

    def acquire(self) -> None:
        """Lock the journal for this upload.

        Raises
        ------
        UploadInUse
            If another process holds it.
        """
        if self.path is None or self._lock is not None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = filelock.FileLock(
                _lock_path(self.path), mode=0o600, thread_local=False, is_singleton=False
            )
            # A listing holds the lock for a moment to see whether it is free.
            lock.acquire(timeout=_PATIENCE, poll_interval=0.01)
        except filelock.Timeout:
            raise UploadInUse(
                "another process is uploading this source to this target, or has paused it",
                hint="go on with it there, or shut that kernel down: this cell then continues where it was",
            ) from None
        except OSError as error:
            self._give_up(error)
            return
        self._lock = lock

    def load(self) -> Record | None:
        """Read the file; None where there is nothing usable (absent, damaged header, newer version)."""
        if self.path is None:
            return None
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                record = _read(file)
                unreadable = record is None and os.fstat(file.fileno()).st_size > 0
        except OSError:
            return None
        if unreadable:
            self.warning = (
                f"the notes of an earlier try in {self.path} cannot be read, so it starts from zero; "
                "%oss_uploads shows what that try left on the server"
            )
        if record is None or record.receipt is not None or record.header.upload_id or record.header.lost:
            return record
        return None  # a killed PutObject

    def begin(self, header: Header, parts: Iterable[CheckpointPart] = ()) -> None:
        """Write the header and what is confirmed already; replaces the file in one step."""
        if self.path is None:
            return
        lines = [_header_line(header), *(_part_line(part) for part in parts)]
        self._close_file()
        try:
            scratch = self.path.with_name(self.path.name + ".new")
            with open(
                os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
            ) as new:
                new.write("".join(lines))
            os.replace(scratch, self.path)
            # Line buffered: each part is with the operating system before the next one is sent.
            self._file = open(self.path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115
        except OSError as error:
            self._give_up(error)

    def append(self, part: CheckpointPart) -> None:
        """Note one confirmed part."""
        self._write(_part_line(part))

    def finish(self, receipt: Receipt) -> None:
        """Note that the object is published and verified."""
        self._write(_line(receipt=asdict(receipt)))

    def remove(self) -> None:
        """Forget the upload."""
        self._close_file()
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def close(self) -> None:
        """Close the file and let the lock go. Safe to call twice."""
        self._close_file()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()
            if self.path is not None and not self.path.exists():
                with contextlib.suppress(OSError):
                    os.unlink(_lock_path(self.path))

    def _write(self, line: str) -> None:
        if self._file is not None:
            try:
                self._file.write(line)
            except (OSError, ValueError) as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or str(error)
        self.warning = f"progress cannot be saved in {self.path} ({reason}): a crash would start from zero"
        self._close_file()

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()


def list_journals() -> list[JournalSummary]:
    """Unfinished uploads on disk, newest first; receipts older than 30 days are cleared away."""
    found = []
    for path in _journal_files():
        record = Journal(path).load()
        if record is None:
            continue
        try:
            updated = path.stat().st_mtime
        except OSError:
            continue
        if record.receipt is not None:
            if time.time() - updated > KEEP_RECEIPTS and not _locked(path):
                for file in (path, _lock_path(path)):
                    with contextlib.suppress(OSError):
                        os.unlink(file)
            continue
        head = record.header
        if not head.upload_id:
            continue  # nothing to resume: its Initiate has no answer
        found.append(
            JournalSummary(
                upload_id=head.upload_id,
                address=f"oss://{head.bucket}/{head.key}",
                source=head.source,
                size=head.size,
                confirmed=sum(part.size for part in record.parts.values()),
                part_size=head.part_size,
                updated_at=updated,
                endpoint=head.endpoint,
                path=path,
                in_use=_locked(path),
                kind=head.kind,
            )
        )
    return sorted(found, key=lambda summary: -summary.updated_at)


def known_upload_ids() -> set[str]:
    """The IDs of all uploads that journals on this machine know, running ones included."""
    records = (Journal(path).load() for path in _journal_files())
    return {record.header.upload_id for record in records if record is not None}


def published_records() -> list[Record]:
    """What was published from this machine in the last 30 days, oldest first."""
    records = (Journal(path).load() for path in _journal_files())
    found = [record for record in records if record is not None and record.receipt is not None]
    return sorted(found, key=lambda record: record.receipt.finished if record.receipt else 0.0)


def _journal_files() -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from sorted(journal_dir().glob("*.jsonl"))


def _lock_path(path: Path) -> str:
    return f"{path}.lock"


def _locked(path: Path) -> bool:
    if not os.path.exists(_lock_path(path)):
        return False
    lock = filelock.FileLock(_lock_path(path), is_singleton=False)
    try:
        lock.acquire(blocking=False)
    except (filelock.Timeout, OSError):
        return True
    lock.release()
    return False


def _line(**content: Any) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False) + "\n"


def _header_line(header: Header) -> str:
    return _line(version=VERSION, upload=asdict(header))


def _part_line(part: CheckpointPart) -> str:
    return _line(part=[part.number, part.etag, part.size, part.crc64])


def _read(lines: Iterable[str]) -> Record | None:
    record: Record | None = None
    for line in lines:
        try:
            content = json.loads(line)
            if record is None:
                if content["version"] != VERSION:
                    return None
                record = Record(Header.read(content["upload"]))
            elif "part" in content:
                number, etag, size, crc = content["part"]
                part = CheckpointPart(int(number), str(etag), int(size), None if crc is None else int(crc))
                record.parts[part.number] = part
            elif "receipt" in content:
                record.receipt = Receipt(**content["receipt"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            if record is None:
                return None
            continue  # torn or damaged line: the part it named is proved again or sent again
    return record
