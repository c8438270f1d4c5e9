"""OSSClient: the public asynchronous client, ali-oss's methods in Python's spelling."""

from __future__ import annotations

import dataclasses
import os
import ssl
import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from ossmp_jupyter.oss.connection import Connection, connect
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.oss.veil import veil_named
from ossmp_jupyter.transfer.callbacks import ProgressCallback
from ossmp_jupyter.transfer.calls import ClientCalls
from ossmp_jupyter.transfer.defaults import current_connection
from ossmp_jupyter.transfer.lanes import HttpClient, make_http_client
from ossmp_jupyter.transfer.progress import UploadResult
from ossmp_jupyter.transfer.renewal import warn_of_waiting
from ossmp_jupyter.transfer.request import CheckpointChoice, check_timeout, prepare_request
from ossmp_jupyter.transfer.upload import UploadTask

__all__ = ["OSSClient"]


class OSSClient(ClientCalls):
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
        ``timeout``, ``cname``, ``path_style``, ``internal``, ``accelerate``, ``dualstack``, ``ca_file``.

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
        settings = veil_named(settings)
        if connection is None:
            connection = connect(**settings) if settings else current_connection()
        if verify is True and connection.ca_file is not None:
            verify = connection.ca_file
        self.connection = connection
        self._http: HttpClient = make_http_client(connection, verify=verify, trust_env=trust_env)
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

    async def close_idle(self) -> None:
        """Close what carries nothing now; the next call opens new connections."""
        await self._http.close_idle()

    def __repr__(self) -> str:
        return f"OSSClient({getattr(self, 'connection', '?')!r})"

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
            Parts in flight at a time, 1 to 64. Left out, an upload begins with 5 and takes more, up
            to 32, while that makes it faster (long lines, where a connection carries little).
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
        task = UploadTask(
            self.rest_with(timeout),
            request,
            at_waiting=lambda: warn_of_waiting(request.address, task.progress()),
        )
        result = await task.run()
        if task.warning:
            warnings.warn(task.warning, stacklevel=2)
        return result

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

    # ------------------------------------------------------------------ helpers
    def rest_with(self, timeout: float | None) -> RestClient:
        """The REST client of this service with another time-out, in seconds."""
        timeout = check_timeout(timeout)
        if timeout is None:
            return self._rest
        return RestClient(dataclasses.replace(self.connection, timeout=timeout), self._http)
