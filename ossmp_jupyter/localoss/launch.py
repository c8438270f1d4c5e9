"""Start the embedded OSS for a block of code (:class:`LocalOSS`), or share one (:func:`attach_local`)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.localoss.attach import LocalHandle, attach_local
from ossmp_jupyter.localoss.remote import Remote, spawn
from ossmp_jupyter.oss.veil import veil

__all__ = ["LocalHandle", "LocalOSS", "attach_local"]


class LocalOSS(Remote):
    """An embedded OSS of your own: a process that lives as long as the ``with`` block.

    Parameters
    ----------
    buckets : sequence of str
        Buckets to create.
    root : path, optional
        Folder for everything stored; it stays afterwards, and a server started on it again finds it all.
        Without it, a temporary folder that is removed at the end.
    discard : bool
        Drop the bytes of bodies, for benchmarks; they are still counted and checksummed (CRC-64; the ETag
        is then no MD5).
    bandwidth : str or int, optional
        Limit of all connections together: ``"20MB/s"`` or bytes per second.
    faults : sequence of mappings, optional
        Fault plan, see :mod:`ossmp_jupyter.localoss.faults`.
    access_key_id, access_key_secret : str, optional
        Keys; fresh random ones by default.
    security_token : str, optional
        Demand this STS token from every client.
    region : str
        Region of V4 signatures.
    port : int
        Port to listen on; 0 for any free one.
    arguments : sequence of str
        More of the command line, such as ``("--allow-private-callback",)``.

    Raises
    ------
    OssmpError
        When the process does not start.

    Examples
    --------
    >>> with LocalOSS(buckets=("photos",), bandwidth="20MB/s") as oss:
    ...     sorted(oss.environment())
    ['OSS_ACCESS_KEY_ID', 'OSS_ACCESS_KEY_SECRET', 'OSS_BUCKET', 'OSS_ENDPOINT', 'OSS_REGION']
    """

    pid: int

    def __init__(
        self,
        buckets: Sequence[str] = ("demo",),
        root: Path | str | None = None,
        discard: bool = False,
        bandwidth: str | int | None = None,
        faults: Sequence[Mapping[str, Any]] | None = None,
        access_key_id: str | None = None,
        access_key_secret: str | None = None,
        security_token: str | None = None,
        region: str = "cn-hangzhou",
        port: int = 0,
        arguments: Sequence[str] = (),
    ) -> None:
        access_key_id, access_key_secret, security_token = map(
            veil, (access_key_id, access_key_secret, security_token)
        )
        if isinstance(buckets, str) or not buckets:
            raise InputError("buckets is not a list of names", hint='write buckets=("demo",)')
        options: list[str] = ["--watch-stdin", "--region", region, "--port", str(port)]
        for name in buckets:
            options += ["--bucket", name]
        if bandwidth is not None:
            options += ["--bandwidth", str(bandwidth)]
        if discard:
            options.append("--discard")
        self._options = [*options, *arguments]
        self._wanted_root, self._faults = root, faults
        self.security_token = security_token
        self._keys = {
            "access_key_id": access_key_id,
            "access_key_secret": access_key_secret,
            "security_token": security_token,
        }
        self._end: weakref.finalize[..., LocalOSS] | None = None

    def start(self) -> Self:
        """Start the process and return once it is ready, as ``with`` does."""
        own = tempfile.mkdtemp(prefix="localoss-") if self._wanted_root is None else None
        root = own if self._wanted_root is None else os.fspath(self._wanted_root)
        try:
            process, told = spawn([*self._options, "--root", str(root)], self._keys, tied=True)
        except BaseException:
            if own is not None:
                shutil.rmtree(own, ignore_errors=True)
            raise
        self._end = weakref.finalize(self, _end_process, process, own)  # runs at interpreter exit, too
        self._take(told)
        self.pid = process.pid
        if self._faults:
            self.set_faults(self._faults)
        return self

    def stop(self) -> None:
        """End the process and, if it was temporary, remove its folder. Any number of times."""
        if self._end is not None:
            self._end()

    def kill(self) -> None:
        """End the process by SIGKILL, as a crash would; a folder of your own stays as it is."""
        if self._end is not None and (alive := self._end.peek()) is not None:
            process: subprocess.Popen[bytes] = alive[2][0]
            process.kill()
            process.wait()
            self._end()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _end_process(process: subprocess.Popen[bytes], folder: str | None) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()  # the server ends by itself
    try:
        process.wait(timeout=3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
