"""The auditor: compares what the user was told with what the server and the disk really hold."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from ossmp_jupyter.errors import (
    AlreadyExists,
    CallbackFailed,
    IntegrityError,
    OssmpError,
    ServerError,
    SourceChanged,
    UploadAborted,
)
from ossmp_jupyter.oss.checksum import crc64
from tests.faults.kinds import Kind
from tests.faults.run import Run, Told

__all__ = ["audit", "check_sentence", "open_uploads"]

_FOREIGN_WORDS = ("Traceback", "httpx", "h11", "<class", "Errno", "object at 0x", "None")


def open_uploads(run: Run) -> list[dict[str, Any]]:
    """Open uploads of the run's key, as the server has them."""
    return [upload for upload in run.world.oss.snapshot()["uploads"] if upload["key"] == run.key]


def _journals(run: Run) -> list[list[dict[str, Any]]]:
    found = []
    for path in (run.folder / "state").rglob("*.jsonl"):
        found.append([json.loads(line) for line in Path(path).read_text().splitlines()])
    return found


def _known_ids(run: Run) -> tuple[set[str], bool]:
    """Upload IDs in journals, and whether a journal says that an answer to an Initiate is still missing."""
    ids, doubt = set(), False
    for lines in _journals(run):
        head = lines[0]["upload"]
        published = any("receipt" in line for line in lines)
        if head["upload_id"] and not published:
            ids.add(head["upload_id"])
        doubt = doubt or bool(head.get("lost"))
    return ids, doubt


def check_sentence(error: BaseException) -> None:
    """One clear sentence, of our own tree, that says what happened and what to do."""
    assert isinstance(error, OssmpError), f"a foreign exception reached the user: {error!r}"
    text = str(error)
    assert text and "\n" not in text and len(text) < 500, f"not a sentence: {text!r}"
    for word in _FOREIGN_WORDS:
        assert word not in text, f"{word!r} in the sentence: {text}"
    assert error.code, "the error has no code"
    if type(error) is ServerError:
        assert error.request_id, f"no request ID: {text}"


async def audit(run: Run, told: Told, kind: Kind | None) -> str:
    """Check one ended run; returns the verdict in a word. Runs the upload again, now without faults."""
    found = await run.object()
    verdict = await (_after_success if told.done else _after_failure)(run, told, kind, found)
    await _again(run, told)
    return verdict


async def _after_success(run: Run, told: Told, kind: Kind | None, found: bytes | None) -> str:
    result = told.result
    assert result is not None
    assert not run.taken, "done was told, but overwriting was forbidden"
    assert found == run.data, f"done was told, but {_difference(run, found)}"
    assert result.size == len(run.data) and result.crc64 == crc64(run.data), "size or CRC-64 told are wrong"
    held = run.world.oss.snapshot()["objects"][f"{run.world.bucket}/{run.key}"]
    assert not result.verified or held["crc64"] == result.crc64, "verified was told, and is not so"
    assert result.verified or kind is not None, "it was not verified"
    if kind is None or kind.name != "wrong-etag":
        assert not result.etag or result.etag == held["etag"], "another ETag was told"
    if not result.already_published:
        assert result.parts == held["segments"], "another number of parts was told"
    for name, value in run.options.get("headers", {}).items():
        assert held["headers"][name.lower()] == value
    if "meta" in run.options:
        assert held["headers"]["x-oss-meta-year"] == "2026" and held["headers"]["content-type"] == "text/csv"
    left = open_uploads(run)
    assert not left, f"done was told, but {len(left)} uploads are still open"
    return "published" if not result.already_published else "published before"


async def _after_failure(run: Run, told: Told, kind: Kind | None, found: bytes | None) -> str:
    error = told.error
    assert error is not None
    if not isinstance(error, asyncio.CancelledError):
        check_sentence(error)
    right = [run.before]
    if not isinstance(error, SourceChanged | UploadAborted | AlreadyExists):
        # Complete may have been applied before the server went silent for good: then the object is ours.
        right.append(run.data)
    assert found in right, f"{told}: but {_difference(run, found)}"
    assert not isinstance(error, CallbackFailed), "a stored object was reported as a failure"
    if isinstance(error, IntegrityError):
        assert kind is not None, "no byte was damaged"
    _compare_parts(run, kind)
    known, doubt = _known_ids(run)
    if not told.journaled and told.upload_id:
        known.add(told.upload_id)
    for upload in open_uploads(run):
        if upload["upload_id"] not in known:
            assert (doubt or not told.journaled) and not upload["parts"], (
                f"{told}: an orphan with {len(upload['parts'])} parts is left"
            )
    return type(error).__name__


def _compare_parts(run: Run, kind: Kind | None) -> None:
    """A journal claims no part that the server does not hold just so."""
    if kind is not None and (kind.lies or kind.name.startswith("corrupt")):
        return
    stored = {upload["upload_id"]: upload["parts"] for upload in open_uploads(run)}
    for lines in _journals(run):
        claimed = {line["part"][0]: line["part"][1:] for line in lines if "part" in line}
        held = {part["part_number"]: part for part in stored.get(lines[0]["upload"]["upload_id"], ())}
        for number, (etag, size, crc) in claimed.items() if held else ():
            part = held.get(number)
            assert part is not None, f"the journal claims part {number}, which is not there"
            assert (part["etag"].strip('"'), part["size"]) == (etag.strip('"'), size), (
                f"part {number} differs"
            )
            assert crc is None or part["crc64"] == int(crc), f"another CRC-64 of part {number}"


async def _again(run: Run, told: Told) -> None:
    """Running the cell again is always right."""
    run.timeout = 10.0
    again = await run.upload()
    if run.taken:
        assert isinstance(again.error, AlreadyExists), again
        assert await run.object() == run.before
    else:
        assert again.done, f"{told}; run again without a fault: {again}"
        assert await run.object() == run.data, f"{told}; run again: done, but {_difference(run, None)}"
        if told.done and again.result is not None and run.options.get("checkpoint") is not False:
            assert again.result.bytes_sent == 0 or run.in_memory, "a published object was sent again"
    left = open_uploads(run)
    if told.journaled and not run.taken:
        assert not left, f"{told}; run again: {again}, but {len(left)} uploads are still open"
    for lines in _journals(run):
        assert run.taken or any("receipt" in line for line in lines), "a journal without upload is left"


def _difference(run: Run, found: bytes | None) -> str:
    if found is None:
        return "there is no object"
    if found == run.before:
        return "the older object stands there"
    if found == run.data:
        return "the new object stands there"
    if len(found) != len(run.data):
        return f"an object of {len(found)} bytes stands there instead of {len(run.data)}"
    first = next(at for at, (a, b) in enumerate(zip(found, run.data, strict=True)) if a != b)
    return f"a WRONG object stands there: it differs from byte {first} on"
