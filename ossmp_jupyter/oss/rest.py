"""One method per REST call; see :class:`RestClient`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import httpx

from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.oss.messages import (
    BucketPage,
    CompleteResult,
    CopyPartResult,
    HeadResult,
    InitiateResult,
    PartResult,
    PartsPage,
    PutResult,
    UploadsPage,
)

__all__ = ["ObjectStream", "RestClient"]

Body = bytes | httpx.AsyncByteStream
Headers = Mapping[str, str]


class ObjectStream:
    """An object that is being read: ``head`` at once, the bytes by ``async for``."""

    head: HeadResult

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise NotImplementedError


class RestClient:
    """Skeleton; the bodies follow."""

    def __init__(self, connection: Connection, http: httpx.AsyncClient) -> None:
        self.connection = connection

    async def init_multipart_upload(self, bucket: str, key: str, *, headers: Headers = {}) -> InitiateResult:
        raise NotImplementedError

    async def upload_part(
        self, bucket: str, key: str, upload_id: str, part_number: int, body: Body, *,
        length: int | None = None, headers: Headers = {},
    ) -> PartResult:
        raise NotImplementedError

    async def upload_part_copy(
        self, bucket: str, key: str, upload_id: str, part_number: int, source_bucket: str, source_key: str, *,
        byte_range: tuple[int, int] | None = None, headers: Headers = {},
    ) -> CopyPartResult:
        raise NotImplementedError

    async def complete_multipart_upload(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[tuple[int, str]], *, headers: Headers = {},
    ) -> CompleteResult:
        raise NotImplementedError

    async def abort_multipart_upload(self, bucket: str, key: str, upload_id: str) -> None:
        raise NotImplementedError

    async def list_uploads(
        self, bucket: str, *, prefix: str = "", delimiter: str = "", key_marker: str = "",
        upload_id_marker: str = "", max_uploads: int = 1000,
    ) -> UploadsPage:
        raise NotImplementedError

    async def list_parts(
        self, bucket: str, key: str, upload_id: str, *, part_number_marker: int = 0, max_parts: int = 1000,
    ) -> PartsPage:
        raise NotImplementedError

    async def put_object(
        self, bucket: str, key: str, body: Body, *, length: int | None = None, headers: Headers = {},
    ) -> PutResult:
        raise NotImplementedError

    async def head_object(self, bucket: str, key: str) -> HeadResult:
        raise NotImplementedError

    async def get_object(self, bucket: str, key: str, *, byte_range: tuple[int, int] | None = None) -> bytes:
        raise NotImplementedError

    @asynccontextmanager
    async def stream_object(
        self, bucket: str, key: str, *, byte_range: tuple[int, int] | None = None,
    ) -> AsyncIterator[ObjectStream]:
        raise NotImplementedError
        yield ObjectStream()

    async def delete_object(self, bucket: str, key: str) -> None:
        raise NotImplementedError

    async def list_objects(
        self, bucket: str, *, prefix: str = "", delimiter: str = "", continuation_token: str = "",
        start_after: str = "", max_keys: int = 1000,
    ) -> BucketPage:
        raise NotImplementedError

    async def put_bucket(self, bucket: str, *, acl: str | None = None, storage_class: str | None = None) -> None:
        raise NotImplementedError

    async def delete_bucket(self, bucket: str) -> None:
        raise NotImplementedError

    async def presign(
        self, method: str, bucket: str, key: str, *, expires: int = 3600, query: Mapping[str, str] = {},
        headers: Headers = {},
    ) -> str:
        raise NotImplementedError
