"""One embedded OSS for all kernels of a user: the first starts it, the last one's end ends it.

``ready.json`` in the server's folder (mode 0600) tells the next kernel where it runs. Each attached process
holds one open connection, its lifeline; the kernel closes it however the process dies. A later start takes
the same port and the same keys where it can, so that connections and journals of yesterday still fit.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ossmp_jupyter.errors import InputError, OssmpError, TransportError
from ossmp_jupyter.localoss.remote import Remote, control_request, spawn
from ossmp_jupyter.localoss.variables import ROOT_VARIABLE
from ossmp_jupyter.oss.veil import Secret, veil_named

__all__ = ["LocalHandle", "attach_local", "default_root"]

_LOCK_SECONDS = 60.0
_attached: dict[tuple[int, str], LocalHandle] = {}
_guard = threading.Lock()


class LocalHandle(Remote):
    """A share in the embedded OSS of this user; :meth:`close` gives it up.

    Attributes
    ----------
    identity : str
        ``"localoss:"`` and the folder: names this service in upload journals, whatever its port.
    """

    identity: str

    def __init__(self, told: Mapping[str, Any], lifeline: socket.socket) -> None:
        self._take(told)
        self.identity = f"localoss:{self.root}"
        self._lifeline = lifeline

    def close(self) -> None:
        """Give up this process's share; about 10 s after the last share is gone, the server ends."""
        with contextlib.suppress(OSError):
            self._lifeline.close()
        with _guard:
            if _attached.get((os.getpid(), self.root)) is self:
                del _attached[os.getpid(), self.root]

    def stop(self) -> None:
        """End the server now, for every process that is attached."""
        with contextlib.suppress(OssmpError):
            self._control("POST", "stop")
        self.close()

    @property
    def alive(self) -> bool:
        """Tell whether the server still answers."""
        if self._lifeline.fileno() < 0:
            return False
        with contextlib.suppress(OssmpError):
            self._control("GET", "ping")
            return True
        return False


def default_root() -> Path:
    """Return the shared server's folder: ``$OSSMP_LOCALOSS_ROOT``, or one in the user's cache folder."""
    if given := os.environ.get(ROOT_VARIABLE):
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("ossmp-jupyter", appauthor=False)) / "localoss"


def attach_local(root: Path | str | None = None, bandwidth: str | int | None = None) -> LocalHandle:
    """Attach this process to the user's embedded OSS, starting it if it is not running.

    Parameters
    ----------
    root : path, optional
        Folder of the server; see :func:`default_root`. One server runs per folder.
    bandwidth : str or int, optional
        Set the running server's limit, such as ``"20MB/s"``; None leaves it as it is.

    Returns
    -------
    LocalHandle
        The same one for the same folder as long as the server lives; it has a bucket ``demo``.

    Raises
    ------
    InputError
        When the folder cannot be used, or the bandwidth is not one.
    OssmpError
        When the server does not start.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     handle = attach_local(folder)
    ...     handle.bucket, handle is attach_local(folder)
    ...     handle.stop()
    ('demo', True)
    """
    folder = Path(root if root is not None else default_root()).expanduser().resolve()
    with _guard:
        handle = _attached.get((os.getpid(), str(folder)))
        if handle is None or not handle.alive:
            handle = _attach(folder)
            _attached[os.getpid(), str(folder)] = handle
    if bandwidth is not None:
        handle.set_bandwidth(bandwidth)
    return handle


def _attach(folder: Path) -> LocalHandle:
    import filelock

    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with filelock.FileLock(folder / ".attach.lock", timeout=_LOCK_SECONDS):
            known = _read_ready(folder)
            if known is not None and (lifeline := _hold(known)) is not None:
                return LocalHandle(known, lifeline)
            return _start(folder, known)
    except filelock.Timeout:
        raise OssmpError(
            f"another process is starting the embedded OSS in {folder} and does not finish", hint="try again"
        ) from None
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be used for the embedded OSS: {error.strerror or error}",
            hint=f"name another with root or ${ROOT_VARIABLE}",
        ) from error


def _start(folder: Path, known: Mapping[str, Any] | None) -> LocalHandle:
    arguments = ["--shared", "--root", str(folder)]
    keys: dict[str, str | None] = {}
    if known is not None:
        arguments += ["--port", str(urlsplit(str(known["endpoint"])).port or 0)]
        keys = {name: Secret(known[name]) for name in ("access_key_id", "access_key_secret")}
    process, told = spawn(arguments, keys, tied=False, log=folder / "server.log")
    if process.stdout is not None:
        process.stdout.close()
    threading.Thread(target=process.wait, name="localoss-reaper", daemon=True).start()
    _write_ready(folder, told)
    lifeline = _hold(told)
    if lifeline is None:
        raise TransportError(
            "the embedded OSS ended right after its start", hint=f"see {folder / 'server.log'}"
        )
    return LocalHandle(told, lifeline)


def _read_ready(folder: Path) -> dict[str, Any] | None:
    try:
        told = json.loads((folder / "ready.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    wanted = {"endpoint", "region", "bucket", "access_key_id", "access_key_secret", "control_token", "root"}
    return veil_named(told) if isinstance(told, dict) and wanted <= set(told) else None


def _write_ready(folder: Path, told: Mapping[str, Any]) -> None:
    temp = folder / ".ready.json.new"
    temp.unlink(missing_ok=True)
    with open(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(dict(told), file)
    os.replace(temp, folder / "ready.json")


def _hold(told: Mapping[str, Any]) -> socket.socket | None:
    """Open a lifeline; None when no server (or a strange one) answers at the noted address."""
    parts = urlsplit(str(told["endpoint"]))
    try:
        control_request(str(told["endpoint"]), str(told["control_token"]), "GET", "ping", timeout=5.0)
        sock = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=5.0)
    except (OSError, OssmpError):
        return None
    try:
        token = f"x-localoss-token: {told['control_token']}"
        sock.sendall(f"GET /_localoss/hold HTTP/1.1\r\nHost: localoss\r\n{token}\r\n\r\n".encode("latin-1"))
        if sock.recv(64).startswith(b"HTTP/1.1 200"):
            sock.settimeout(None)
            return sock
    except OSError:
        pass
    sock.close()
    return None
