"""Adopt an upload whose journal is lost, or that another machine began.

The server's list of parts and the local file suffice: each stored part is compared with the bytes of
the file. Nothing is taken on trust; an upload of which no part fits the file is refused.
"""

from __future__ import annotations

import asyncio

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss.messages import PartInfo
from ossmp_jupyter.transfer.checkpoint import Checkpoint
from ossmp_jupyter.transfer.client import OSSClient
from ossmp_jupyter.transfer.plan import MAX_PARTS, MIN_PART_SIZE, Plan
from ossmp_jupyter.transfer.resume import agree
from ossmp_jupyter.transfer.sources import Source, make_source

__all__ = ["part_size_candidates", "rebuild_checkpoint"]


def part_size_candidates(parts: list[PartInfo], size: int) -> list[int]:
    """Part sizes that the stored parts of a source of ``size`` bytes may have been cut with.

    Parameters
    ----------
    parts : list of PartInfo
        What the server holds, in number order.
    size : int
        Bytes of the source.

    Returns
    -------
    list of int
        Most likely first.

    Examples
    --------
    >>> part_size_candidates([PartInfo(1, "", 1048576), PartInfo(2, "", 1048576)], 5_000_000)
    [1048576]
    >>> part_size_candidates([PartInfo(5, "", 805696)], 5_000_000)
    [1048576, 805696]
    """
    found: list[int] = []
    last = parts[-1]
    if last.part_number > 1 and (size - last.size) % (last.part_number - 1) == 0:
        found.append((size - last.size) // (last.part_number - 1))  # it may be the last part of all
    found.append(max(part.size for part in parts))
    if last.part_number == 1 and last.size == size:
        found.append(size)
    fits = [c for c in dict.fromkeys(found) if c >= min(MIN_PART_SIZE, size) and -(-size // c) <= MAX_PARTS]
    score = {c: sum(_fits(part, c, size) for part in parts) for c in fits}
    return [c for c in fits if score[c] == max(score.values())]


def _fits(part: PartInfo, part_size: int, size: int) -> bool:
    place = Plan(size, part_size).part(part.part_number)
    return place.length == part.size


async def rebuild_checkpoint(client: OSSClient, address: str, upload_id: str, file: object) -> Checkpoint:
    """Make a checkpoint from ListParts and a local file.

    Parameters
    ----------
    client : OSSClient
        Connected to the bucket's service.
    address : str
        ``oss://bucket/key`` of the upload.
    upload_id : str
        Its ID.
    file : path or bytes-like
        What is believed to be its source.

    Returns
    -------
    Checkpoint
        Give it to :func:`ossmp_jupyter.upload` together with the file.

    Raises
    ------
    InputError
        If the upload's stored parts do not fit the file.
    NoSuchUpload
        If the upload is gone.
    """
    parts = [part async for part in client.iter_parts(address, upload_id)]
    source = make_source(file)
    found = await asyncio.to_thread(source.open)
    try:
        part_size = await _part_size(parts, source, found.size)
    finally:
        source.close()
    bucket, _, key = address.removeprefix("oss://").partition("/")
    return Checkpoint(
        source.path, bucket, key, found.size, part_size, upload_id, endpoint=client.connection.identity
    )


async def _part_size(parts: list[PartInfo], source: Source, size: int) -> int:
    if not parts:
        raise InputError(
            "this upload holds no parts yet", hint="abort it with %oss_abort and upload the file anew"
        )
    for candidate in part_size_candidates(parts, size):
        agreed = await agree(parts, source, Plan(size, candidate), {})
        if agreed.kept:
            return candidate
    raise InputError(
        f"none of the {len(parts)} stored parts fits {source.name}",
        hint="it is another file, or it has changed from end to end; choose the right one, "
        "or abort the upload with %oss_abort",
    )
