"""One request to upload: checked whole before any byte moves."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss.address import ObjectAddress, check_bucket_name, check_key
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.oss.headers import ObjectOptions, guess_mime
from ossmp_jupyter.oss.mime import UNKNOWN_MIME
from ossmp_jupyter.transfer.callbacks import ProgressCallback
from ossmp_jupyter.transfer.checkpoint import Checkpoint
from ossmp_jupyter.transfer.journal import Journal, journal_dir
from ossmp_jupyter.transfer.plan import (
    DEFAULT_PARALLEL,
    GROWN_PARALLEL,
    check_parallel,
    check_part_size,
    make_plan,
)
from ossmp_jupyter.transfer.sources import Source, SourceIdentity, make_source

__all__ = ["CheckpointChoice", "UploadRequest", "check_timeout", "prepare_request", "resolve_target"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

CheckpointChoice = Checkpoint | Mapping[str, Any] | str | os.PathLike[str] | bool | None
"""A checkpoint to go on from, a journal file to use, False for none on disk, None for the default."""


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """What shall be uploaded where and how; everything checked, the source open."""

    connection: Connection
    source: Source
    found: SourceIdentity
    bucket: str
    key: str
    options: ObjectOptions
    fingerprint: str
    part_size: int | None = None
    parallel: int = DEFAULT_PARALLEL
    ceiling: int = DEFAULT_PARALLEL
    simple: bool | None = None
    fresh: bool = False
    checkpoint: Checkpoint | None = None
    journal: Path | None = None
    progress: ProgressCallback | None = None

    @property
    def address(self) -> str:
        """``oss://bucket/key``."""
        return f"oss://{self.bucket}/{self.key}"


def resolve_target(
    connection: Connection, target: str, source_name: str | None, *, literal: bool = False
) -> tuple[str, str]:
    """Read ``oss://bucket/key``, ``oss://bucket/dir/`` or a bare key of the connection's bucket.

    With ``literal`` a trailing slash is part of the key: such objects exist, as "directories".

    Raises
    ------
    InputError
        If bucket or key is missing or breaks OSS's naming rules.
    """
    scheme = None if literal else _SCHEME.match(target)
    if scheme is not None and scheme[1].lower() != "oss":  # not quoted whole: it may be a signed link
        raise InputError(f"the target is an {scheme[0]} address", hint="write oss://bucket/key")
    if not target and not literal:
        raise InputError("the target is empty", hint="write oss://bucket/key")
    if target.startswith("oss://") or scheme is not None:
        bucket, _, key = target[len("oss://") :].partition("/")
    elif connection.bucket is None:
        raise InputError(
            f"{target!r} names no bucket",
            hint="write oss://bucket/key, or connect with %oss_connect oss://bucket",
        )
    else:
        bucket, key = connection.bucket, target
    if not key or (key.endswith("/") and not literal):
        if not source_name:
            raise InputError(f"{target!r} names no object", hint="write the whole key: oss://bucket/key")
        key += source_name
    check_bucket_name(bucket)
    check_key(key)
    return bucket, key


def prepare_request(
    connection: Connection,
    source: object,
    target: str | ObjectAddress,
    *,
    checkpoint: CheckpointChoice = None,
    parallel: int | str | None = None,
    part_size: int | str | None = None,
    progress: ProgressCallback | None = None,
    simple: bool | None = None,
    fresh: bool = False,
    mime: str | None = None,
    **object_options: Any,
) -> UploadRequest:
    """Check every argument and open the source.

    Raises
    ------
    InputError
        Whatever is wrong, in one sentence; nothing has happened yet.
    """
    _check_kinds(connection, target, checkpoint, object_options)
    opened = make_source(source)
    bucket, key = resolve_target(connection, str(target), opened.path and opened.name)
    if progress is not None and not callable(progress):
        raise InputError(
            "progress is not a function", hint="give a function of (fraction, checkpoint, response)"
        )
    chosen = {name: value for name, value in object_options.items() if value is not None}
    options = ObjectOptions(mime=mime or _guess(key, opened), **chosen)
    lanes = DEFAULT_PARALLEL if parallel is None else check_parallel(parallel)
    part_size = None if part_size is None else check_part_size(part_size)
    found = opened.open()
    try:
        if found.kind != "stream":
            make_plan(found.size, part_size=part_size, parallel=lanes, simple=simple)
        fingerprint = _fingerprint(connection, bucket, key, found, options)
        start, journal = _checkpoint_choice(checkpoint, bucket, fingerprint)
    except BaseException:
        opened.close()
        raise
    here = found.kind in ("file", "bytes")  # of other sources each part in flight is held in memory
    ceiling = GROWN_PARALLEL if parallel is None and here else lanes
    return UploadRequest(
        connection, opened, found, bucket, key, options, fingerprint,
        part_size, lanes, ceiling, simple, fresh, start, journal, progress,
    )  # fmt: skip


def check_timeout(value: object) -> float | None:
    """Read a time-out in seconds; None leaves it to the connection.

    Raises
    ------
    InputError
        If it is not a number above 0.

    Examples
    --------
    >>> check_timeout(None), check_timeout("7.5")
    (None, 7.5)
    """
    if value is None:
        return None
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = 0.0
    if isinstance(value, bool) or not 0 < seconds < float("inf"):
        raise InputError(f"the timeout {value!r} is not possible", hint="give seconds, more than 0")
    return seconds


def _check_kinds(connection: object, target: object, checkpoint: object, options: Mapping[str, Any]) -> None:
    """Refuse what is of another kind than its name says, before anything is made of it."""
    if not isinstance(connection, Connection):
        kind = type(connection).__name__
        raise InputError(f"the connection is of type {kind}", hint="give what connect(...) returned")
    if not isinstance(target, (str, ObjectAddress, os.PathLike)):
        what = "None" if target is None else f"of type {type(target).__name__}"
        raise InputError(f"the target is {what}", hint="write oss://bucket/key")
    if not isinstance(checkpoint, (Checkpoint, Mapping, str, os.PathLike, bool, type(None))):
        kind = type(checkpoint).__name__
        raise InputError(
            f"the checkpoint is of type {kind}", hint="give a checkpoint, a file's path, or False"
        )
    known = [field.name for field in fields(ObjectOptions)]
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, [*known, "part_size", "parallel", "timeout"], n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}"
            raise InputError(f"an upload has no option {name!r}", hint=hint)


def _guess(key: str, source: Source) -> str:
    """Guess the type from the object's name; where that says nothing, from the file's."""
    guess = guess_mime(key)
    return guess_mime(source.name) if guess == UNKNOWN_MIME and source.path else guess


def _fingerprint(
    connection: Connection, bucket: str, key: str, found: SourceIdentity, options: ObjectOptions
) -> str:
    """Name the upload: the same for the same cell run again, here or in a new kernel.

    Size and time of the source take no part: an edited file is still this upload, and resume looks
    at its content.
    """
    identity = [connection.identity, bucket, key, found.kind, found.name, options.fingerprint()]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]


def _checkpoint_choice(
    choice: CheckpointChoice, bucket: str, fingerprint: str
) -> tuple[Checkpoint | None, Path | None]:
    default = journal_dir() / f"{fingerprint}.jsonl"
    if choice is None or choice is True:
        return None, default
    if choice is False:
        return None, None
    if isinstance(choice, Checkpoint):
        return choice, default
    if isinstance(choice, Mapping):
        return Checkpoint.from_mapping(choice, bucket=bucket), default
    path = Path(os.path.abspath(os.path.expanduser(os.fspath(choice))))
    foreign = _foreign_checkpoint(path)
    return (None, path) if foreign is None else (Checkpoint.from_mapping(foreign, bucket=bucket), default)


def _foreign_checkpoint(path: Path) -> Mapping[str, Any] | None:
    """The ali-oss checkpoint in a file; None where the file is free for a journal, or is one.

    A file that is neither is the user's: it must not be written over.
    """
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if not text.strip() or Journal(path).load() is not None:
            return None
        content = json.loads(text)
    except (OSError, ValueError):
        content = None
    if isinstance(content, Mapping) and "uploadId" in content:
        return content
    raise InputError(
        f"{path} is not a checkpoint", hint="name a new file, or one that an earlier upload or ali-oss wrote"
    )
