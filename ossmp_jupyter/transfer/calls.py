"""The single calls of ``OSSClient``: one REST request each, or one listing over all its pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss._buckets import BucketsPage
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.oss.headers import ObjectOptions, guess_mime
from ossmp_jupyter.oss.lifecycle import LifecycleRule
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
from ossmp_jupyter.transfer.copying import multipart_copy
from ossmp_jupyter.transfer.past import abort_upload
from ossmp_jupyter.transfer.plan import check_parallel, check_part_size
from ossmp_jupyter.transfer.progress import UploadResult
from ossmp_jupyter.transfer.request import resolve_target
from ossmp_jupyter.transfer.retry import Retrier
from ossmp_jupyter.transfer.verify import Check, Published, check_published

__all__ = ["ClientCalls"]


class ClientCalls:
    """What needs a connection and a REST client only; :class:`OSSClient` adds uploads to it.

    ``name`` is an object key of the connection's bucket, or a whole ``oss://bucket/key`` address.
    """

    connection: Connection
    _rest: RestClient

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

    async def upload_part(
        self, name: str, upload_id: str, part_number: int, data: bytes, *, traffic_limit: int | None = None
    ) -> PartResult:
        """Send one part, 1 to 10,000; all but the last must have 100 KiB at least."""
        bucket, key = self._target(name)
        headers = ObjectOptions(traffic_limit=traffic_limit).for_part()
        return await self._rest.upload_part(bucket, key, upload_id, part_number, bytes(data), headers=headers)

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
        callback: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
        complete_all: bool = False,
        **options: Any,
    ) -> CompleteResult:
        """Assemble the object from ``(number, ETag)`` pairs. One try: not idempotent.

        Parameters
        ----------
        name, upload_id : str
            The upload.
        parts : sequence of (int, str)
            In any order; none with ``complete_all``.
        callback, headers, **options
            ``acl``, ``forbid_overwrite`` and the callback belong here. What is stored with the object
            (metadata, storage class, tags, encryption) belongs to :meth:`init_multipart_upload`.
        complete_all : bool
            Let the server take all parts it has.

        Raises
        ------
        InputError
            If an option is given that only the beginning of the upload may say.
        CallbackFailed
            If the object is stored but the callback failed.
        """
        bucket, key = self._target(name)
        chosen = ObjectOptions(callback=callback, headers=headers or {}, **options)
        sent = chosen.for_complete()
        if misplaced := sorted(set(chosen.for_initiate()) - set(sent)):
            raise InputError(
                f"{misplaced[0]} cannot be given when an upload is completed",
                hint="give it to init_multipart_upload; OSS refuses it here",
            )
        if complete_all:
            sent["x-oss-complete-all"] = "yes"
        return await self._rest.complete_multipart_upload(bucket, key, upload_id, parts, headers=sent)

    async def abort_multipart_upload(self, name: str, upload_id: str) -> None:
        """Abort one upload and delete its parts; no other upload is touched."""
        bucket, key = self._target(name)
        await self._rest.abort_multipart_upload(bucket, key, upload_id)

    async def abort_and_confirm(self, name: str, upload_id: str) -> None:
        """Abort one upload, with retries, and return when its parts are really gone.

        Raises
        ------
        OssmpError
            If OSS could not be asked, or says that it aborts and does not.
        """
        bucket, key = self._target(name)
        await abort_upload(self._rest, bucket, key, upload_id, Retrier())

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

    async def iter_upload_pages(
        self,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        upload_id_marker: str = "",
        max_uploads: int = 1000,
        bucket: str | None = None,
    ) -> AsyncIterator[UploadsPage]:
        """All pages of :meth:`list_uploads` from the markers on, ``common_prefixes`` included."""
        after, seen = (key_marker, upload_id_marker), set[tuple[str, str]]()
        while True:
            page = await self.list_uploads(
                prefix=prefix, delimiter=delimiter, key_marker=after[0], upload_id_marker=after[1],
                max_uploads=max_uploads, bucket=bucket,
            )  # fmt: skip
            yield page
            seen.add(after)
            after = (page.next_key_marker, page.next_upload_id_marker)
            if not page.is_truncated or after in seen:  # a server that goes round in circles has told all
                return

    async def iter_uploads(
        self,
        *,
        prefix: str = "",
        key_marker: str = "",
        upload_id_marker: str = "",
        max_uploads: int = 1000,
        bucket: str | None = None,
    ) -> AsyncIterator[UploadInfo]:
        """All unfinished multipart uploads, over all pages of ``max_uploads``."""
        async for page in self.iter_upload_pages(
            prefix=prefix, key_marker=key_marker, upload_id_marker=upload_id_marker,
            max_uploads=max_uploads, bucket=bucket,
        ):  # fmt: skip
            for upload in page.uploads:
                yield upload

    async def list_parts(
        self, name: str, upload_id: str, *, max_parts: int = 1000, part_number_marker: int = 0
    ) -> PartsPage:
        """One page of an upload's stored parts."""
        bucket, key = self._target(name)
        return await self._rest.list_parts(
            bucket, key, upload_id, part_number_marker=part_number_marker, max_parts=max_parts
        )

    async def iter_parts(
        self, name: str, upload_id: str, *, max_parts: int = 1000, part_number_marker: int = 0
    ) -> AsyncIterator[PartInfo]:
        """All stored parts of an upload with numbers above the marker, over all pages of ``max_parts``."""
        marker = part_number_marker
        while True:
            page = await self.list_parts(name, upload_id, max_parts=max_parts, part_number_marker=marker)
            for part in page.parts:
                yield part
            if not page.is_truncated or page.next_part_number_marker <= marker:
                return
            marker = page.next_part_number_marker

    async def multipart_copy(
        self,
        name: str,
        source: str,
        *,
        part_size: int | str | None = None,
        parallel: int = 5,
        **options: Any,
    ) -> HeadResult:
        """Copy ``source`` (a key or address) to ``name`` on the server, in parts; returns the copy's head.

        ``options`` as for uploads: meta, mime, headers, storage_class, ...: nothing of it is copied.
        """
        chosen = ObjectOptions(**{"mime": guess_mime(name), **options})
        return await multipart_copy(
            self._rest, self._target(source), self._target(name),
            part_size=None if part_size is None else check_part_size(part_size),
            parallel=check_parallel(parallel), options=chosen,
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

    async def verify(self, published: Published | UploadResult, *, deep: bool = False) -> Check:
        """Hold a receipt against the bucket; ``deep`` reads the object instead of asking for its CRC-64."""
        receipt = Published.of(published) if isinstance(published, UploadResult) else published
        return await check_published(self._rest, receipt, deep=deep)

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

    async def list_buckets(self, *, prefix: str = "", marker: str = "", max_keys: int = 1000) -> BucketsPage:
        """One page of the account's buckets, of all regions; needs the permission oss:ListBuckets."""
        return await self._rest.list_buckets(prefix=prefix, marker=marker, max_keys=max_keys)

    async def put_bucket(self, bucket: str) -> None:
        """Create a bucket."""
        await self._rest.put_bucket(bucket)

    async def get_bucket_lifecycle(self, bucket: str | None = None) -> tuple[LifecycleRule, ...]:
        """The bucket's lifecycle rules; where there are none: ``NotFound``, code ``NoSuchLifecycle``."""
        return await self._rest.get_bucket_lifecycle(self._bucket(bucket))

    async def delete_bucket(self, bucket: str) -> None:
        """Delete an empty bucket."""
        await self._rest.delete_bucket(bucket)

    async def presign(
        self,
        name: str,
        *,
        method: str = "GET",
        expires: int = 3600,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Make a link that works without keys for ``expires`` seconds (V4: 7 days at most).

        ``headers`` are part of what is signed: whoever uses the link must send them. Do not log the
        link; while it lasts it is as good as a key.
        """
        return await self._rest.presign(
            method, *self._target(name), expires=expires, query=query or {}, headers=headers or {}
        )

    async def presign_part(self, name: str, upload_id: str, part_number: int, *, expires: int = 3600) -> str:
        """Make a link by which somebody without keys can PUT one part of an upload."""
        bucket, key = self._target(name)
        return await self._rest.presign_part(bucket, key, upload_id, part_number, expires=expires)

    # ------------------------------------------------------------------ helpers
    def _target(self, name: str) -> tuple[str, str]:
        return resolve_target(self.connection, name, None, literal=True)

    def _bucket(self, bucket: str | None) -> str:
        return bucket or resolve_target(self.connection, "x", None)[0]
