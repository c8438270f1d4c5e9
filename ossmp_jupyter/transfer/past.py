"""What an earlier run left behind: its journal, its upload ID, its published object."""

from __future__ import annotations

from collections.abc import Iterable

from ossmp_jupyter.errors import AccessDenied, InputError, NoSuchUpload, NotFound, OssmpError
from ossmp_jupyter.oss.checksum import multipart_etag
from ossmp_jupyter.oss.messages import HeadResult
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer.journal import Header, Journal, Receipt, Record
from ossmp_jupyter.transfer.request import UploadRequest
from ossmp_jupyter.transfer.resume import crc64_of_source
from ossmp_jupyter.transfer.retry import CONTROL, Retrier

__all__ = ["abort_upload", "already_published", "find_record", "header_of", "receipt_of"]

_ABORT_CHECKS = 5


def header_of(
    request: UploadRequest,
    size: int,
    upload_id: str,
    part_size: int,
    now: float,
    lost: Iterable[float] = (),
) -> Header:
    """Describe an upload for its journal. ``now`` and ``lost`` are Unix times in seconds."""
    return Header(
        endpoint=request.connection.identity,
        bucket=request.bucket,
        key=request.key,
        source=request.found.name,
        kind=request.found.kind,
        size=size,
        part_size=part_size,
        upload_id=upload_id,
        options=request.options.fingerprint(),
        created=now,
        lost=tuple(lost),
    )


def find_record(request: UploadRequest, journal: Journal) -> Record | None:
    """What is known of an earlier run: from the checkpoint the user gave, else from the journal.

    Raises
    ------
    InputError
        If the checkpoint belongs to another object or service.
    """
    record, given = journal.load(), request.checkpoint
    if given is not None and (record is None or record.header.upload_id != given.upload_id):
        header = header_of(request, given.size, given.upload_id, given.part_size, 0.0)
        record = Record(header, {part.number: part for part in given.parts})
        _same_target(request, given.endpoint or request.connection.identity, given.bucket, given.key)
    elif record is not None:
        head = record.header
        try:
            _same_target(request, head.endpoint, head.bucket, head.key)
        except InputError:
            if request.journal is not None and request.journal.stem == request.fingerprint:
                return None  # not the user's choice but ours, and damaged
            raise
    return record


def _same_target(request: UploadRequest, endpoint: str, bucket: str, key: str) -> None:
    if (bucket, key) != (request.bucket, request.key):
        raise InputError(
            f"this checkpoint belongs to oss://{bucket}/{key}, not to {request.address}",
            hint="name that object as the target, or leave the checkpoint out",
        )
    if endpoint != request.connection.identity:
        raise InputError(
            f"this checkpoint belongs to {endpoint}, and you are connected to {request.connection.identity}",
            hint="connect there, or leave the checkpoint out",
        )


def receipt_of(head: HeadResult | None, size: int, crc64: int, etag: str, now: float) -> Receipt:
    """What to remember of a published object. ``now`` is a Unix time in seconds."""
    return Receipt(size, crc64, head.etag if head else etag, _stamp(head), now)


def _stamp(head: HeadResult | None) -> str:
    return head.last_modified.isoformat() if head is not None and head.last_modified is not None else ""


async def abort_upload(rest: RestClient, bucket: str, key: str, upload_id: str, retrier: Retrier) -> None:
    """Abort, then look until the upload is really gone: a part that was under way may land late.

    Raises
    ------
    OssmpError
        If the server could not be asked, or says that it aborts and does not.
    """
    aborted = False
    for check in range(_ABORT_CHECKS):
        try:
            await retrier.run(
                "AbortMultipartUpload",
                lambda: rest.abort_multipart_upload(bucket, key, upload_id),
                policy=CONTROL,
            )
            aborted = True
            await retrier.run(
                "ListParts", lambda: rest.list_parts(bucket, key, upload_id, max_parts=1), policy=CONTROL
            )
        except NoSuchUpload:
            return
        except AccessDenied:
            if not aborted:
                raise
            return  # these credentials may abort, but not look
        await retrier.clock.sleep(0.2 * 2**check)
    raise OssmpError(
        f"upload {upload_id} to oss://{bucket}/{key} is still there after {_ABORT_CHECKS} aborts",
        hint="abort it once more with %oss_abort",
    )


async def already_published(
    rest: RestClient, request: UploadRequest, record: Record, retrier: Retrier
) -> tuple[int, HeadResult] | None:
    """Whether the object at the key is what the earlier run published, and still what the source holds.

    With a receipt the object must be the very one of the receipt. Without one (the process died
    between Complete and its answer) it must have the multipart ETag of the parts in the journal.

    Returns
    -------
    (int, HeadResult) or None
        CRC-64 of the source now, and the object.
    """
    size, receipt = request.found.size, record.receipt
    if receipt is not None and receipt.size != size:
        return None
    if receipt is None and sum(part.size for part in record.parts.values()) != size:
        return None  # parts are missing: it cannot have been completed
    try:
        head = await retrier.run("HeadObject", lambda: rest.head_object(request.bucket, request.key))
    except NotFound:
        return None
    if receipt is not None:
        content = head.etag == receipt.etag or head.crc64 == receipt.crc64
        same = content and receipt.last_modified in (_stamp(head), "")
    else:
        parts = sorted(record.parts.values(), key=lambda part: part.number)
        same = head.etag.upper() == multipart_etag(part.etag for part in parts)
    if not same or head.size != size:
        return None
    crc = await crc64_of_source(request.source, size)
    remembered = receipt.crc64 if receipt is not None else head.crc64
    return (crc, head) if crc == remembered else None
