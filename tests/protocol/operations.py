"""Every request that the client can send, by a name for people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer.lanes import PartBody
from ossmp_jupyter.transfer.sources import BytesSource

__all__ = ["LISTED", "OPERATIONS", "Operation"]

Operation = Callable[[RestClient], Awaitable[Any]]

_DATA = b"0123456789" * 1000
_CALLBACK = {"x-oss-callback": "eyJjYWxsYmFja1VybCI6Imh0dHA6Ly9hLyIsImNhbGxiYWNrQm9keSI6ImEifQ=="}
_PARTS = [(1, "AB")]


async def _part_by_lane(rest: RestClient) -> Any:
    body = PartBody(BytesSource(_DATA), 0, len(_DATA))
    return await rest.upload_part("demo", "k", "ID", 1, body, length=len(_DATA))


async def _put_by_lane(rest: RestClient) -> Any:
    body = PartBody(BytesSource(_DATA), 0, len(_DATA))
    return await rest.put_object("demo", "k", body, length=len(_DATA))


async def _streamed(rest: RestClient) -> int:
    async with rest.stream_object("demo", "k") as stream:
        return sum([len(piece) async for piece in stream])


OPERATIONS: dict[str, Operation] = {
    "init_multipart_upload": lambda rest: rest.init_multipart_upload("demo", "k"),
    "upload_part": lambda rest: rest.upload_part("demo", "k", "ID", 1, _DATA),
    "upload_part by a lane": _part_by_lane,
    "upload_part_copy": lambda rest: rest.upload_part_copy("demo", "k", "ID", 1, "demo", "j"),
    "complete_multipart_upload": lambda rest: rest.complete_multipart_upload("demo", "k", "ID", _PARTS),
    "complete_multipart_upload with a callback": lambda rest: rest.complete_multipart_upload(
        "demo", "k", "ID", _PARTS, headers=_CALLBACK
    ),
    "abort_multipart_upload": lambda rest: rest.abort_multipart_upload("demo", "k", "ID"),
    "list_uploads": lambda rest: rest.list_uploads("demo"),
    "list_parts": lambda rest: rest.list_parts("demo", "k", "ID"),
    "put_object": lambda rest: rest.put_object("demo", "k", _DATA),
    "put_object by a lane": _put_by_lane,
    "put_object with a callback": lambda rest: rest.put_object("demo", "k", _DATA, headers=_CALLBACK),
    "head_object": lambda rest: rest.head_object("demo", "k"),
    "get_object": lambda rest: rest.get_object("demo", "k"),
    "stream_object": _streamed,
    "delete_object": lambda rest: rest.delete_object("demo", "k"),
    "list_objects": lambda rest: rest.list_objects("demo"),
    "put_bucket": lambda rest: rest.put_bucket("demo", storage_class="IA"),
    "delete_bucket": lambda rest: rest.delete_bucket("demo"),
    "get_bucket_lifecycle": lambda rest: rest.get_bucket_lifecycle("demo"),
}
if hasattr(RestClient, "list_buckets"):
    OPERATIONS["list_buckets"] = lambda rest: rest.list_buckets()
LISTED = {name.split(" ")[0] for name in OPERATIONS}
"""The methods that are tried; a test compares them with those that there are."""
