"""What became of Complete, whatever the network said; and whether the object is ours.

The server goes on with Complete when the client is gone, and a second Complete answers
``NoSuchUpload``. So after an answer that is lost, late or ambiguous two questions decide, in this
order: does the upload ID still exist (then nothing was published: complete again), and is the object
at the key now ours (size and CRC-64; where the server has no CRC-64, the multipart ETag computed from
our parts)? Only then is success or failure reported.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ossmp_jupyter.errors import (
    AccessDenied,
    AlreadyExists,
    CallbackFailed,
    IntegrityError,
    NoSuchKey,
    NoSuchUpload,
    NotFound,
    NotOSS,
    ObjectReplaced,
    OssmpError,
    UploadAborted,
)
from ossmp_jupyter.oss.checksum import crc64_combine, multipart_etag
from ossmp_jupyter.oss.messages import HeadResult, PartInfo
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer.checkpoint import CheckpointPart
from ossmp_jupyter.transfer.lanes import PartBody
from ossmp_jupyter.transfer.request import UploadRequest
from ossmp_jupyter.transfer.resume import fetch_parts
from ossmp_jupyter.transfer.retry import Retrier
from ossmp_jupyter.units import MIB

__all__ = [
    "Expected",
    "Outcome",
    "check_crc",
    "check_stored",
    "complete",
    "expected_of",
    "is_open",
    "md5_of",
    "put",
    "stored_parts",
    "verify",
]

_TRIES = 10


@dataclass(frozen=True, slots=True)
class Expected:
    """The object as it must be. ``etag`` is None where it cannot be known before."""

    bucket: str
    key: str
    size: int
    crc64: int
    etag: str | None = None
    parts: tuple[tuple[int, str], ...] = ()

    @property
    def address(self) -> str:
        """``oss://bucket/key``."""
        return f"oss://{self.bucket}/{self.key}"

    def is_met_by(self, head: HeadResult) -> bool:
        """Whether the object that HEAD shows is ours."""
        if head.size != self.size:
            return False
        if head.crc64 is not None:
            return head.crc64 == self.crc64
        return self.etag is not None and head.etag.upper() == self.etag.upper()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known after Complete or PutObject. ``crc64`` is the server's, None if it named none."""

    etag: str
    crc64: int | None = None
    version_id: str | None = None
    callback: object = None
    callback_error: str | None = None
    request_id: str = ""


def expected_of(bucket: str, key: str, parts: Sequence[CheckpointPart]) -> Expected:
    """What the object will be, from its parts in number order, each with its CRC-64."""
    crc = size = 0
    for part in parts:
        assert part.crc64 is not None
        crc = crc64_combine(crc, part.crc64, part.size)
        size += part.size
    pairs = tuple((part.number, part.etag) for part in parts)
    return Expected(bucket, key, size, crc, multipart_etag(part.etag for part in parts), pairs)


def check_crc(theirs: int | None, ours: int | None, request_id: str) -> None:
    """Compare the CRC-64 of a body as the server saw it with what was read from the source.

    Raises
    ------
    IntegrityError
        If they differ; retryable, since the damage happened under way.
    """
    if theirs is not None and theirs != ours:
        raise IntegrityError(
            "the server received other bytes than were sent (CRC-64 differs)",
            hint="the line or a proxy damages what passes; run the upload again, or take another way",
            request_id=request_id,
            retryable=True,
        )


async def put(
    rest: RestClient, request: UploadRequest, body: PartBody, digest: str, *, repeated: bool = False
) -> Outcome:
    """Send a whole source by PutObject, once; ``repeated`` says that an answer may have been lost before.

    Its MD5 goes along: what is changed or damaged under way is refused and never stands at the key.
    """
    headers = {**request.options.for_put(), "Content-MD5": digest}
    try:
        answer = await rest.put_object(request.bucket, request.key, body, length=body.length, headers=headers)
    except CallbackFailed as error:
        return Outcome(etag="", callback_error=str(error), request_id=error.request_id or "")
    except AlreadyExists:
        found = await _own_put(rest, request, body) if repeated else None
        if found is None:
            raise
        return found
    check_crc(answer.crc64, body.crc64, answer.request_id)
    return Outcome(answer.etag, answer.crc64, answer.version_id, answer.callback, None, answer.request_id)


async def _own_put(rest: RestClient, request: UploadRequest, body: PartBody) -> Outcome | None:
    """The object that stands in the way of a repeated PutObject, if it is the one the first try made."""
    head = await rest.head_object(request.bucket, request.key)
    await asyncio.to_thread(_read_through, body)
    if head.size != body.length or head.crc64 != body.crc64:
        return None
    return Outcome(head.etag, head.crc64, head.version_id, request_id=head.request_id)


def _read_through(body: PartBody) -> None:
    for _ in body.blocks(memoryview(bytearray(MIB))):
        pass


def md5_of(body: PartBody) -> str:
    """MD5 of a body as it is now, as ``Content-MD5`` has it. Blocking: run it in a thread."""
    digest = hashlib.md5(usedforsecurity=False)
    buffer = memoryview(bytearray(min(body.length, MIB)))
    at = 0
    while at < body.length:
        count = body.source.read_into(body.offset + at, buffer[: body.length - at])
        if not count:
            break  # the lane will notice that the source became shorter
        digest.update(buffer[:count])
        at += count
    return base64.b64encode(digest.digest()).decode()


async def stored_parts(
    rest: RestClient,
    request: UploadRequest,
    upload_id: str,
    sent: Sequence[CheckpointPart],
    retrier: Retrier,
) -> Sequence[CheckpointPart]:
    """Look at what the server holds: now a part that is wrong can be sent again, after Complete it cannot.

    Raises
    ------
    IntegrityError
        See :func:`check_stored`.
    """
    try:
        stored = await retrier.run(
            "ListParts", lambda: fetch_parts(rest, request.bucket, request.key, upload_id)
        )
    except NoSuchUpload:
        return sent  # Complete finds out what became of it
    except AccessDenied as error:
        if type(error) is not AccessDenied:
            raise
        return sent  # these credentials may not look
    return check_stored(stored, sent, upload_id)


async def is_open(rest: RestClient, upload_id: str, expected: Expected, retrier: Retrier) -> bool:
    """Whether the upload certainly still exists."""
    try:
        await retrier.run(
            "ListParts", lambda: rest.list_parts(expected.bucket, expected.key, upload_id, max_parts=1)
        )
    except OssmpError:
        return False
    return True


def check_stored(
    stored: Iterable[PartInfo], sent: Sequence[CheckpointPart], upload_id: str
) -> list[CheckpointPart]:
    """Compare the parts that the server holds with those that were sent, before anything is published.

    Returns
    -------
    list of CheckpointPart
        The parts with the ETags that the server has for them.

    Raises
    ------
    IntegrityError
        With the code InvalidPart, if a part is missing or holds other bytes.
    """
    held = {part.part_number: part for part in stored}
    checked = []
    for part in sent:
        found = held.get(part.number)
        same = found is not None and found.size == part.size
        if same and found is not None and found.crc64 is not None:
            same = found.crc64 == part.crc64
        elif same and found is not None:
            same = found.etag.upper() == part.etag.upper()
        if not same or found is None:
            raise IntegrityError(
                f"the server holds {'other bytes' if found else 'nothing'} as part {part.number} "
                f"of upload {upload_id}",
                hint="nothing was published; run the upload again, it sends what is missing",
                code="InvalidPart",
            ).concerning("ListParts")
        checked.append(replace(part, etag=found.etag))
    return checked


async def complete(
    rest: RestClient, upload_id: str, expected: Expected, headers: Mapping[str, str], retrier: Retrier
) -> Outcome:
    """Complete the upload and find out the truth about it.

    Raises
    ------
    ObjectReplaced
        The upload is gone and another object stands at the key.
    UploadAborted
        The upload is gone and so is any object: somebody aborted it.
    IntegrityError
        The server assembled other bytes than were sent.
    ServerError
        The server refused (``InvalidPart``, ``AlreadyExists``, ...).
    """
    what = "CompleteMultipartUpload"
    for attempt in range(1, _TRIES + 1):
        try:
            answer = await rest.complete_multipart_upload(
                expected.bucket, expected.key, upload_id, expected.parts, headers=headers
            )
        except CallbackFailed as error:
            # Stored; only the application's server failed. The object is looked at by verify().
            return Outcome(
                etag=expected.etag or "", callback_error=str(error), request_id=error.request_id or ""
            )
        except OssmpError as error:
            problem = error.concerning(what, attempts=attempt)
            if not error.retryable and not isinstance(error, NoSuchUpload | NotOSS):
                raise
        else:
            return Outcome(
                answer.etag, answer.crc64, answer.version_id, answer.callback, None, answer.request_id
            )
        try:
            found = await _resolve(rest, upload_id, expected, retrier, problem)
        except (UploadAborted, ObjectReplaced) as error:
            raise error.concerning(what, attempts=attempt) from None
        if found is not None:
            return found
        if attempt < _TRIES:
            retrier.retries += 1
            pause = retrier.policy.pause(attempt - 1, retrier.clock.random(), problem.retry_after)
            await retrier.clock.sleep(pause)
    problem.message = f"{what} failed after {_TRIES} attempts: {problem.message}"
    problem.hint = "all parts are stored; run the upload again and only the last step is repeated"
    raise problem


async def _resolve(
    rest: RestClient, upload_id: str, expected: Expected, retrier: Retrier, problem: OssmpError
) -> Outcome | None:
    """None: the upload still exists, complete again. An outcome: the object is ours. Else raise."""
    try:
        await retrier.run(
            "ListParts", lambda: rest.list_parts(expected.bucket, expected.key, upload_id, max_parts=1)
        )
        return None
    except NoSuchUpload:
        pass
    try:
        head = await retrier.run("HeadObject", lambda: rest.head_object(expected.bucket, expected.key))
    except NotFound:
        raise UploadAborted(
            f"the upload to {expected.address} is gone and no object is there: it was aborted elsewhere",
            hint="run the upload again to start afresh",
            request_id=problem.request_id,
        ) from None
    if expected.is_met_by(head):
        return Outcome(head.etag, head.crc64, head.version_id, request_id=head.request_id)
    raise ObjectReplaced(
        f"the object at {expected.address} is not what was uploaded: another writer's object is there",
        hint="run the upload again if yours shall replace it",
        request_id=head.request_id,
    )


async def verify(
    rest: RestClient, expected: Expected, outcome: Outcome, retrier: Retrier
) -> tuple[bool, HeadResult | None]:
    """Look at the object once more and compare size and CRC-64.

    Returns
    -------
    (bool, HeadResult or None)
        Whether the server's own CRC-64 of the whole object equals ours; and what HEAD showed, None
        where these credentials may not look.
    """
    try:
        head = await retrier.run("HeadObject", lambda: rest.head_object(expected.bucket, expected.key))
        if not expected.is_met_by(head):  # look twice before saying that it is somebody else's
            head = await retrier.run("HeadObject", lambda: rest.head_object(expected.bucket, expected.key))
    except NoSuchKey as error:
        raise ObjectReplaced(
            f"{expected.address} was published and is gone already: somebody deleted it",
            hint="run the upload again if it shall be there",
            request_id=error.request_id,
        ).concerning("HeadObject") from None
    except OssmpError as error:
        told = outcome.crc64 == expected.crc64
        if told or type(error) is AccessDenied:
            return told, None  # Complete's word counts; write-only credentials may not look
        raise
    if expected.is_met_by(head):
        return head.crc64 == expected.crc64, head
    if outcome.crc64 is None and head.crc64 is None and head.size == expected.size and expected.etag is None:
        return False, head
    if outcome.crc64 is not None and outcome.crc64 != expected.crc64:
        raise IntegrityError(
            f"the server assembled other bytes than were sent to {expected.address}",
            hint="the object there is wrong; run the upload again, it sends everything anew",
            request_id=outcome.request_id,
        ).concerning("CompleteMultipartUpload")
    raise ObjectReplaced(
        f"the object at {expected.address} is not what was uploaded: {_difference(expected, head)}",
        hint="another writer may have replaced it; run the upload again if yours shall be there",
        request_id=head.request_id,
    ).concerning("HeadObject")


def _difference(expected: Expected, head: HeadResult) -> str:
    if head.size != expected.size:
        return f"it has {head.size} bytes instead of {expected.size}"
    return "its checksum differs"
