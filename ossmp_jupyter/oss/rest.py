"""One method per REST call of OSS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote

import httpx

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss._buckets import BucketCalls
from ossmp_jupyter.oss._calls import (
    NONE,
    Strings,
    byte_range_header,
    callback_answer,
    check_count,
    check_length,
    check_parts,
    check_upload_id,
    content_md5,
    given,
    has_callback,
    part_query,
    presigned_url,
)
from ossmp_jupyter.oss._exchange import Answer, Call, Exchange
from ossmp_jupyter.oss._heads import ObjectStream, crc_of, etag_of, head_of, required_etag
from ossmp_jupyter.oss.address import check_bucket_name, check_key
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.oss.messages import (
    CompleteResult,
    CopyPartResult,
    HeadResult,
    InitiateResult,
    PartResult,
    PartsPage,
    PutResult,
    UploadsPage,
)
from ossmp_jupyter.oss.xml import (
    read_complete,
    read_copy_part,
    read_initiate,
    read_parts_page,
    read_uploads_page,
    write_complete_request,
)

__all__ = ["ObjectStream", "RestClient"]

Body = bytes | httpx.AsyncByteStream


class RestClient(BucketCalls):
    """The REST calls of OSS, each as one method; raises the tree of :mod:`ossmp_jupyter.errors`.

    Parameters
    ----------
    connection : Connection
        Service, keys and time-outs.
    http : httpx.AsyncClient
        Sends the requests; remains the caller's to close. Redirects are never followed.

    Notes
    -----
    Nothing is retried but a request refused because of a wrong clock or an expired token, once each.
    A body is ``bytes``, or an ``httpx.AsyncByteStream`` with its ``length``, which reaches the
    transport untouched. Every method raises ``InputError`` for impossible names, ``CredentialsError``,
    ``TransportError``, ``ServerError`` and ``NotOSS``.

    Examples
    --------
    >>> import asyncio
    >>> from ossmp_jupyter.localoss import LocalOSS
    >>> from ossmp_jupyter.oss.connection import connect
    >>> async def example(oss):
    ...     async with httpx.AsyncClient() as http:
    ...         rest = RestClient(connect(environ=oss.environment()), http)
    ...         begun = await rest.init_multipart_upload("demo", "a.csv", headers={"x-oss-meta-year": "2020"})
    ...         part = await rest.upload_part("demo", "a.csv", begun.upload_id, 1, b"1,2,3")
    ...         await rest.complete_multipart_upload("demo", "a.csv", begun.upload_id, [(1, part.etag)])
    ...         return await rest.head_object("demo", "a.csv")
    >>> with LocalOSS(buckets=("demo",)) as oss:
    ...     head = asyncio.run(example(oss))
    >>> head.size, head.meta
    (5, {'year': '2020'})
    """

    def __init__(self, connection: Connection, http: httpx.AsyncClient) -> None:
        self.connection = connection
        self._exchange = Exchange(connection, http)

    def use(self, connection: Connection) -> None:
        """Go on with another connection to the same service: new credentials, most likely."""
        self.connection = self._exchange.connection = connection

    # --- multipart uploads --------------------------------------------------------------------

    async def init_multipart_upload(
        self, bucket: str, key: str, *, headers: Strings = NONE
    ) -> InitiateResult:
        """Begin a multipart upload; ``headers`` from :meth:`ObjectOptions.for_initiate`."""
        query = {"uploads": "", "encoding-type": "url"}
        answer = await self._object("InitiateMultipartUpload", "POST", bucket, key, query, headers)
        _, _, upload_id = answer.parse(read_initiate)
        return InitiateResult(bucket, key, upload_id, answer.request_id)

    async def upload_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        body: Body,
        *,
        length: int | None = None,
        headers: Strings = NONE,
    ) -> PartResult:
        """Send one part, numbered 1 to 10000."""
        query = part_query(upload_id, part_number)
        check_length("UploadPart", body, length)
        answer = await self._object("UploadPart", "PUT", bucket, key, query, headers, body, length)
        etag = answer.etag
        return PartResult(part_number, etag, crc_of(answer.headers), answer.request_id)

    async def upload_part_copy(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        source_bucket: str,
        source_key: str,
        *,
        byte_range: tuple[int, int] | None = None,
        headers: Strings = NONE,
    ) -> CopyPartResult:
        """Make a part of (a range of) an object; ``byte_range`` is first and last byte, both included."""
        check_bucket_name(source_bucket)
        check_key(source_key)
        copy = {"x-oss-copy-source": f"/{source_bucket}/{quote(source_key, safe='/')}"}
        if byte_range is not None:
            copy["x-oss-copy-source-range"] = byte_range_header(byte_range)
        query = part_query(upload_id, part_number)
        answer = await self._object("UploadPartCopy", "PUT", bucket, key, query, {**headers, **copy})
        etag, modified = answer.parse(read_copy_part)
        content_range = answer.headers.get("content-range")
        crc = crc_of(answer.headers)
        return CopyPartResult(
            part_number, etag or etag_of(answer.headers), modified, content_range, crc, answer.request_id
        )

    async def complete_multipart_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[tuple[int, str]],
        *,
        headers: Strings = NONE,
    ) -> CompleteResult:
        """Make the object of its parts (number, ETag), in any order.

        With the header ``x-oss-complete-all: yes`` and no parts, the server takes all it has.

        Raises
        ------
        CallbackFailed
            If the callback failed; the object is stored nevertheless.
        """
        check_parts(parts)
        complete_all = any(name.lower() == "x-oss-complete-all" for name in headers)
        if not parts and not complete_all:
            raise InputError(
                "there are no parts to complete", hint="upload at least one part, which may be empty"
            )
        body = b"" if complete_all and not parts else write_complete_request(parts)
        full = {**headers, **content_md5(body)}
        if body:
            full["Content-Type"] = "application/xml"
        query = {"uploadId": check_upload_id(upload_id), "encoding-type": "url"}
        answer = await self._object("CompleteMultipartUpload", "POST", bucket, key, query, full, body)
        etag, location, callback = etag_of(answer.headers), "", None
        if has_callback(headers):
            callback = callback_answer(answer.body)
        else:
            _, _, told, location = answer.parse(read_complete)
            etag = etag or told
        return CompleteResult(
            bucket,
            key,
            etag,
            location,
            crc_of(answer.headers),
            answer.headers.get("x-oss-version-id"),
            callback,
            answer.request_id,
        )

    async def abort_multipart_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """Abort an upload and delete its parts; NoSuchUpload if there is none."""
        query = {"uploadId": check_upload_id(upload_id)}
        (await self._object("AbortMultipartUpload", "DELETE", bucket, key, query)).expect_nothing()

    async def list_uploads(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        upload_id_marker: str = "",
        max_uploads: int = 1000,
    ) -> UploadsPage:
        """List unfinished multipart uploads, one page of at most 1000."""
        query = {
            "uploads": "",
            "encoding-type": "url",
            "prefix": prefix,
            "delimiter": delimiter,
            "key-marker": key_marker,
            "upload-id-marker": upload_id_marker,
            "max-uploads": check_count("max_uploads", max_uploads),
        }
        answer = await self._bucket("ListMultipartUploads", "GET", bucket, given(query, "uploads"))
        return answer.parse(read_uploads_page)

    async def list_parts(
        self, bucket: str, key: str, upload_id: str, *, part_number_marker: int = 0, max_parts: int = 1000
    ) -> PartsPage:
        """List the stored parts of an upload, one page of at most 1000, numbers above the marker."""
        query = {"uploadId": check_upload_id(upload_id), "encoding-type": "url"}
        query["max-parts"] = check_count("max_parts", max_parts)
        if part_number_marker:
            query["part-number-marker"] = check_count(
                "part_number_marker", part_number_marker, most=10_000, least=0
            )
        answer = await self._object("ListParts", "GET", bucket, key, query)
        return answer.parse(lambda body: read_parts_page(body, part_number_marker))

    # --- objects ------------------------------------------------------------------------------

    async def put_object(
        self, bucket: str, key: str, body: Body, *, length: int | None = None, headers: Strings = NONE
    ) -> PutResult:
        """Store an object in one request; ``headers`` from :meth:`ObjectOptions.for_put`.

        Raises
        ------
        CallbackFailed
            If the callback failed; the object is stored nevertheless.
        """
        check_length("PutObject", body, length)
        answer = await self._object("PutObject", "PUT", bucket, key, NONE, headers, body, length)
        etag = answer.etag
        callback = callback_answer(answer.body) if has_callback(headers) else None
        version = answer.headers.get("x-oss-version-id")
        return PutResult(etag, crc_of(answer.headers), version, callback, answer.request_id)

    async def head_object(self, bucket: str, key: str) -> HeadResult:
        """Read an object's headers and metadata."""
        answer = await self._object("HeadObject", "HEAD", bucket, key)
        _ = answer.etag  # an answer without is none of OSS's
        return head_of(answer.headers)

    async def get_object(self, bucket: str, key: str, *, byte_range: tuple[int, int] | None = None) -> bytes:
        """Read an object into memory; ``byte_range`` is first and last byte, both included."""
        async with self.stream_object(bucket, key, byte_range=byte_range) as stream:
            return await stream.read()

    @asynccontextmanager
    async def stream_object(
        self, bucket: str, key: str, *, byte_range: tuple[int, int] | None = None
    ) -> AsyncIterator[ObjectStream]:
        """Read an object piece by piece: ``async with ... as stream: async for chunk in stream``.

        ``stream.head.size`` is the size of the whole object, also when a range is read; a range outside
        the object is an error, not the whole object.
        """
        check_key(key)
        headers = {}
        if byte_range is not None:
            headers = {"Range": byte_range_header(byte_range), "x-oss-range-behavior": "standard"}
        call = Call("GetObject", "GET", check_bucket_name(bucket), key, headers=headers)
        async with self._exchange.open(call) as response:
            with self._exchange.reading(call, response):
                required_etag(response.headers, "GetObject")
            yield ObjectStream(head_of(response.headers), self._exchange.pieces(call, response, byte_range))

    async def delete_object(self, bucket: str, key: str) -> None:
        """Delete an object; no error if there is none."""
        (await self._object("DeleteObject", "DELETE", bucket, key)).expect_nothing()

    # --- links --------------------------------------------------------------------------------

    async def presign(
        self,
        method: str,
        bucket: str,
        key: str,
        *,
        expires: int = 3600,
        query: Strings = NONE,
        headers: Strings = NONE,
    ) -> str:
        """Make a link that lets its holder do one request without keys.

        Parameters
        ----------
        method : str
            ``GET``, ``PUT`` ...
        expires : int
            Seconds from now; V4 links last 7 days at most, and never longer than temporary credentials.
        query, headers : mapping, optional
            Part of what is signed; the holder must send the same ``x-oss-*`` headers and Content-Type.

        Returns
        -------
        str
            The URL. It is as good as a key while it lasts: do not log it.
        """
        check_bucket_name(bucket)
        check_key(key)
        return await presigned_url(
            self.connection, self._exchange.now(), method, bucket, key,
            expires=expires, query=query, headers=headers,
        )  # fmt: skip

    async def presign_part(
        self, bucket: str, key: str, upload_id: str, part_number: int, *, expires: int = 3600
    ) -> str:
        """Make a link by which its holder can PUT one part of an upload; as :meth:`presign`."""
        query = part_query(upload_id, part_number)
        return await self.presign("PUT", bucket, key, expires=expires, query=query)

    # --- common -------------------------------------------------------------------------------

    async def _object(
        self,
        operation: str,
        method: str,
        bucket: str,
        key: str,
        query: Strings = NONE,
        headers: Strings = NONE,
        body: Body = b"",
        length: int | None = None,
    ) -> Answer:
        check_bucket_name(bucket)
        check_key(key)
        return await self._exchange.read(Call(operation, method, bucket, key, query, headers, body, length))
