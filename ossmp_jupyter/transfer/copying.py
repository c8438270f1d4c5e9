"""Copy an object on the server, in parts, without the bytes travelling here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ossmp_jupyter.errors import IntegrityError, OssmpError, ServerError, TransportError
from ossmp_jupyter.oss.checksum import multipart_etag
from ossmp_jupyter.oss.headers import ObjectOptions
from ossmp_jupyter.oss.messages import HeadResult
from ossmp_jupyter.transfer.plan import MAX_PARTS, PartRange, Plan
from ossmp_jupyter.transfer.retry import Retrier
from ossmp_jupyter.units import MIB

if TYPE_CHECKING:
    from ossmp_jupyter.oss.rest import RestClient

__all__ = ["multipart_copy"]

_PART = 64 * MIB


async def multipart_copy(
    rest: RestClient,
    source: tuple[str, str],
    target: tuple[str, str],
    *,
    part_size: int | None,
    parallel: int,
    options: ObjectOptions,
) -> HeadResult:
    """Copy ``source`` to ``target`` (bucket, key); both in one region.

    Returns
    -------
    HeadResult
        Of the copy; its size, and its CRC-64 where the server has one, equal the source's.

    Raises
    ------
    IntegrityError
        If the copy is not what was copied.
    """
    retrier = Retrier()
    head = await retrier.run("HeadObject", lambda: rest.head_object(*source))
    chosen = max(part_size or _PART, -(-head.size // MAX_PARTS))
    plan = Plan(head.size, chosen)
    begun = await rest.init_multipart_upload(*target, headers=options.for_initiate())
    lanes = asyncio.Semaphore(parallel)

    async def copy(place: PartRange) -> tuple[int, str]:
        # A source that is replaced meanwhile must not be mixed into the copy.
        condition = {"x-oss-copy-source-if-match": f'"{head.etag}"'}
        whole = None if head.size == place.length else (place.offset, place.offset + place.length - 1)
        async with lanes:
            answer = await retrier.run(
                f"UploadPartCopy (part {place.number})",
                lambda: rest.upload_part_copy(
                    *target, begun.upload_id, place.number, *source, byte_range=whole, headers=condition
                ),
            )
        return place.number, answer.etag

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(copy(place)) for place in plan.parts()]
        parts = [task.result() for task in tasks]
        try:
            await rest.complete_multipart_upload(
                *target, begun.upload_id, parts, headers=options.for_complete()
            )
        except (TransportError, ServerError) as error:
            # The answer may be lost although the copy is made: the object itself tells.
            if not await _is_made(rest, target, parts, retrier):
                raise error
    except BaseException as error:
        # Nothing of a copy is worth keeping: it can be made again without a byte travelling.
        await _abort(rest, target, begun.upload_id)
        if isinstance(error, ExceptionGroup):
            raise error.exceptions[0] from None
        raise
    made = await retrier.run("HeadObject", lambda: rest.head_object(*target))
    if made.size != head.size or (None not in (made.crc64, head.crc64) and made.crc64 != head.crc64):
        raise IntegrityError(
            f"the copy at oss://{target[0]}/{target[1]} differs from oss://{source[0]}/{source[1]}",
            hint="the source was replaced while it was copied; copy it again",
        )
    return made


async def _is_made(
    rest: RestClient, target: tuple[str, str], parts: list[tuple[int, str]], retrier: Retrier
) -> bool:
    try:
        head = await retrier.run("HeadObject", lambda: rest.head_object(*target))
    except OssmpError:
        return False
    return head.etag.upper() == multipart_etag(etag for _, etag in sorted(parts))


async def _abort(rest: RestClient, target: tuple[str, str], upload_id: str) -> None:
    try:
        await asyncio.shield(rest.abort_multipart_upload(*target, upload_id))
    except OssmpError:
        return
