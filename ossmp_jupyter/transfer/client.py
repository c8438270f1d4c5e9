"""OSSClient: the public asynchronous client, ali-oss's methods in Python's spelling."""

from __future__ import annotations

import dataclasses
import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

import httpx

from ossmp_jupyter.oss.connection import Connection, connect
from ossmp_jupyter.oss.headers import ObjectOptions, guess_mime
from ossmp_jupyter.oss.messages import (
    BucketPage,
    CompleteResult,
    CopyPartResult,
    HeadResult,
    InitiateResult,
    PartInfo,
    PartResult,
    PartsPage,
    UploadInfo,
    UploadsPage,
)
from ossmp_jupyter.oss.rest import ObjectStream, RestClient
from ossmp_jupyter.transfer.callbacks import ProgressCallback
from ossmp_jupyter.transfer.copying import multipart_copy
from ossmp_jupyter.transfer.defaults import current_connection
from ossmp_jupyter.transfer.lanes import make_http_client
from ossmp_jupyter.transfer.progress import UploadResult
from ossmp_jupyter.transfer.request import CheckpointChoice, prepare_request, resolve_target
from ossmp_jupyter.transfer.upload import UploadTask

__all__ = ["OSSClient"]


class OSSClient:
    """An asynchronous client of one OSS service.

    Every method of ali-oss has its counterpart, with names in Python's spelling. ``name`` is an
    object key of the client's bucket, or a whole ``oss://bucket/key`` address.

    Parameters
    ----------
    connection : Connection, optional
        A ready connection; else it is made from the other arguments. With no argument at all: what
        ``%oss_connect`` set, else the environment and configuration files.
    endpoint, region, bucket : str, optional
        Where to connect; ``"https://oss-cn-hangzhou.aliyuncs.com"``, ``"cn-hangzhou"``, ``"my-bucket"``.
    verify : bool, str or ssl.SSLContext
        How to check certificates; a path names a file of authorities.
    trust_env : bool
        Whether proxies of the environment are used.
    **settings
        Whatever :func:`ossmp_jupyter.oss.connection.connect` takes: ``access_key_id``,
        ``access_key_secret``, ``security_token``, ``credentials``, ``profile``, ``signature``,
        ``timeout``, ``cname``, ``path_style``, ``internal``, ``accelerate`` and ``dualstack``.

    Examples
    --------
    >>> import asyncio
    >>> from ossmp_jupyter import OSSClient
    >>> from ossmp_jupyter.localoss import LocalOSS
    >>> async def publish(server):
    ...     async with OSSClient(endpoint=server.endpoint, region=server.region, bucket=server.bucket,
    ...                          access_key_id=server.access_key_id,
    ...                          access_key_secret=server.access_key_secret) as oss:
    ...         result = await oss.multipart_upload("data/a.bin", b"x" * 300_000, meta={"year": "2026"})
    ...         head = await oss.head("data/a.bin")
    ...         return result.verified, head.size, dict(head.meta)
    >>> with LocalOSS() as server:
    ...     asyncio.run(publish(server))
    (True, 300000, {'year': '2026'})
    """

    def __init__(
        self,
        connection: Connection | None = None,
        *,
        verify: bool | str | ssl.SSLContext = True,
        trust_env: bool = True,
        **settings: Any,
    ) -> None:
        if connection is None:
            connection = connect(**settings) if settings else current_connection()
        self.connection = connection
        self._http: httpx.AsyncClient = make_http_client(connection, verify=verify, trust_env=trust_env)
        self._rest = RestClient(connection, self._http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections and end all lanes."""
        await self._http.aclose()

    def __repr__(self) -> str:
        return f"OSSClient({self.connection!r})"

    # ------------------------------------------------------------------ uploading
    async def multipart_upload(
        self,
        name: str,
        file: str | os.PathLike[str] | bytes | object,
        *,
        checkpoint: CheckpointChoice = None,
        parallel: int | None = None,
        part_size: int | str | None = None,
        progress: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
        mime: str | None = None,
        headers: Mapping[str, Any] | None = None,
        callback: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> UploadResult:
        """Upload a file or bytes, in parts, checked, resumable.

        The same call made again after a crash goes on where it was; after a success it reports the
        published object. Cancelling the call keeps everything for the next one.

        Parameters
        ----------
        name : str
            Object key, or ``oss://bucket/key``. A trailing ``/`` keeps the file's name.
        file : path, bytes-like or open binary file
            The source.
        checkpoint : Checkpoint, mapping, path or False, optional
            A checkpoint to go on from (ours or ali-oss's), a journal file to use, or False to keep
            nothing on disk. Default: a journal in the user's state directory.
        parallel : int, optional
            Parts in flight at a time, 1 to 64; default 5.
        part_size : int or str, optional
            Bytes per part or ``"8MiB"``: 100 KiB to 5 GiB, never more than 10,000 parts.
        progress : callable, optional
            ``progress(fraction, checkpoint, response)``, sync or async; cannot slow the upload.
        meta, mime, headers, callback : optional
            User metadata; Content-Type (guessed by default); Cache-Control, Content-Disposition,
            Content-Encoding, Expires and ``x-oss-*`` headers; the callback of the application.
        timeout : float, optional
            Seconds without progress on a connection.
        **options
            ``fresh`` and ``simple`` (bool), ``storage_class``, ``tags``, ``acl``,
            ``forbid_overwrite``, ``encryption``, ``kms_key_id``, ``traffic_limit``.

        Returns
        -------
        UploadResult
            Address, ETag, CRC-64, and whether the server's checksum confirmed it.

        Raises
        ------
        InputError
            Before anything is sent, if an argument is wrong.
        OssmpError
            If the upload ends otherwise than well; see :mod:`ossmp_jupyter.errors`.
        """
        request = prepare_request(
            self.connection, file, name, checkpoint=checkpoint, parallel=parallel, part_size=part_size,
            progress=progress, meta=meta, mime=mime, headers=headers, callback=callback, **options,
        )  # fmt: skip
        return await UploadTask(self.rest_with(timeout), request).run()

    async def put(
        self,
        name: str,
        file: str | os.PathLike[str] | bytes | object,
        *,
        meta: Mapping[str, Any] | None = None,
        mime: str | None = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> UploadResult:
        """Upload by one PutObject, up to 5 GiB, with the same progress, checks and result."""
        return await self.multipart_upload(
            name, file, meta=meta, mime=mime, headers=headers, simple=True, **options
        )

    # ------------------------------------------------------------------ multipart, call by call
    async def init_multipart_upload(
        self,
        name: str,
        *,
        meta: Mapping[str, Any] | None = None,
        mime: str | None = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> InitiateResult:
        """Begin a multipart upload; its parts are stored (and billed) until it is completed or aborted."""
        bucket, key = self._target(name)
        chosen = ObjectOptions(
            meta=meta or {}, mime=mime or guess_mime(key), headers=headers or {}, **options
        )
        return await self._rest.init_multipart_upload(bucket, key, headers=chosen.for_initiate())

    async def upload_part(self, name: str, upload_id: str, part_number: int, data: bytes) -> PartResult:
        """Send one part, 1 to 10,000; all but the last must have 100 KiB at least."""
        bucket, key = self._target(name)
        return await self._rest.upload_part(bucket, key, upload_id, part_number, bytes(data))

    async def upload_part_copy(
        self,
        name: str,
        upload_id: str,
        part_number: int,
        source: str,
        *,
        byte_range: tuple[int, int] | None = None,
    ) -> CopyPartResult:
        """Copy a part from another object on the server; ``byte_range`` is (first, last), inclusive."""
        bucket, key = self._target(name)
        source_bucket, source_key = self._target(source)
        return await self._rest.upload_part_copy(
            bucket, key, upload_id, part_number, source_bucket, source_key, byte_range=byte_range
        )

    async def complete_multipart_upload(
        self,
        name: str,
        upload_id: str,
        parts: Sequence[tuple[int, str]],
        *,
        headers: Mapping[str, str] | None = None,
    ) -> CompleteResult:
        """Assemble the object from ``(number, ETag)`` pairs in ascending order. One try: not idempotent."""
        bucket, key = self._target(name)
        return await self._rest.complete_multipart_upload(
            bucket, key, upload_id, parts, headers=headers or {}
        )

    async def abort_multipart_upload(self, name: str, upload_id: str) -> None:
        """Abort one upload and delete its parts; no other upload is touched."""
        bucket, key = self._target(name)
        await self._rest.abort_multipart_upload(bucket, key, upload_id)

    async def list_uploads(
        self,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        upload_id_marker: str = "",
        max_uploads: int = 1000,
        bucket: str | None = None,
    ) -> UploadsPage:
        """One page of the bucket's unfinished multipart uploads."""
        return await self._rest.list_uploads(
            self._bucket(bucket), prefix=prefix, delimiter=delimiter, key_marker=key_marker,
            upload_id_marker=upload_id_marker, max_uploads=max_uploads,
        )  # fmt: skip

    async def iter_uploads(self, *, prefix: str = "", bucket: str | None = None) -> AsyncIterator[UploadInfo]:
        """All unfinished multipart uploads, over all pages."""
        key_marker = id_marker = ""
        while True:
            page = await self.list_uploads(
                prefix=prefix, key_marker=key_marker, upload_id_marker=id_marker, bucket=bucket
            )
            for upload in page.uploads:
                yield upload
            after = (page.next_key_marker, page.next_upload_id_marker)
            if not page.is_truncated or after == (key_marker, id_marker):
                return
            key_marker, id_marker = after

    async def list_parts(
        self, name: str, upload_id: str, *, max_parts: int = 1000, part_number_marker: int = 0
    ) -> PartsPage:
        """One page of an upload's stored parts."""
        bucket, key = self._target(name)
        return await self._rest.list_parts(
            bucket, key, upload_id, part_number_marker=part_number_marker, max_parts=max_parts
        )

    async def iter_parts(self, name: str, upload_id: str) -> AsyncIterator[PartInfo]:
        """All stored parts of an upload, over all pages."""
        marker = 0
        while True:
            page = await self.list_parts(name, upload_id, part_number_marker=marker)
            for part in page.parts:
                yield part
            if not page.is_truncated or page.next_part_number_marker <= marker:
                return
            marker = page.next_part_number_marker

    async def multipart_copy(
        self, name: str, source: str, *, part_size: int | None = None, parallel: int = 5, **options: Any
    ) -> HeadResult:
        """Copy ``source`` (a key or address) to ``name`` on the server, in parts; returns the copy's head.

        ``options`` as for uploads: meta, mime, headers, storage_class, ...: nothing of it is copied.
        """
        chosen = ObjectOptions(**{"mime": guess_mime(name), **options})
        return await multipart_copy(
            self._rest, self._target(source), self._target(name),
            part_size=part_size, parallel=parallel, options=chosen,
        )  # fmt: skip

    # ------------------------------------------------------------------ objects and buckets
    async def head(self, name: str) -> HeadResult:
        """Size, ETag, CRC-64, metadata and headers of an object."""
        return await self._rest.head_object(*self._target(name))

    async def get(self, name: str, *, byte_range: tuple[int, int] | None = None) -> bytes:
        """Read an object, or ``(first, last)`` inclusive of it, into memory; large ones: :meth:`stream`."""
        return await self._rest.get_object(*self._target(name), byte_range=byte_range)

    def stream(
        self, name: str, *, byte_range: tuple[int, int] | None = None
    ) -> AbstractAsyncContextManager[ObjectStream]:
        """Read an object piece by piece: ``async with oss.stream(k) as s: async for piece in s: ...``."""
        return self._rest.stream_object(*self._target(name), byte_range=byte_range)

    async def delete(self, name: str) -> None:
        """Delete an object; no error if there is none."""
        await self._rest.delete_object(*self._target(name))

    async def list_objects(
        self, *, prefix: str = "", delimiter: str = "", continuation_token: str = "", max_keys: int = 1000,
        bucket: str | None = None,
    ) -> BucketPage:  # fmt: skip
        """One page of the bucket's objects."""
        return await self._rest.list_objects(
            self._bucket(bucket), prefix=prefix, delimiter=delimiter,
            continuation_token=continuation_token, max_keys=max_keys,
        )  # fmt: skip

    async def put_bucket(self, bucket: str) -> None:
        """Create a bucket."""
        await self._rest.put_bucket(bucket)

    async def delete_bucket(self, bucket: str) -> None:
        """Delete an empty bucket."""
        await self._rest.delete_bucket(bucket)

    async def presign(
        self, name: str, *, method: str = "GET", expires: int = 3600, query: Mapping[str, str] | None = None
    ) -> str:
        """Make a link that works without keys for ``expires`` seconds (V4: 7 days at most)."""
        return await self._rest.presign(method, *self._target(name), expires=expires, query=query or {})

    # ------------------------------------------------------------------ helpers
    def _target(self, name: str) -> tuple[str, str]:
        return resolve_target(self.connection, name, None)

    def _bucket(self, bucket: str | None) -> str:
        return bucket or resolve_target(self.connection, "x", None)[0]

    def rest_with(self, timeout: float | None) -> RestClient:
        """The REST client of this service with another time-out, in seconds."""
        if timeout is None:
            return self._rest
        return RestClient(dataclasses.replace(self.connection, timeout=float(timeout)), self._http)
