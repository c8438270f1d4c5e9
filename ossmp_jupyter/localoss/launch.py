"""Start the embedded OSS as a process of its own, and talk to its control endpoint."""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from ossmp_jupyter.errors import InputError, OssmpError, TransportError

__all__ = ["LocalHandle", "LocalOSS", "attach_local"]

_START_SECONDS = 30.0


@dataclass(frozen=True)
class LocalHandle:
    pass


def attach_local(root: Path | str | None = None, bandwidth: str | int | None = None) -> LocalHandle:
    """Attach."""
    raise NotImplementedError


class ControlClient:
    """The control endpoint of one running server."""

    def __init__(self, endpoint: str, token: str) -> None:
        parts = urlsplit(endpoint)
        self._host, self._port, self._token = parts.hostname or "", parts.port or 80, token

    def request(self, method: str, path: str, value: object = None) -> Any:
        """Make one control request and return its JSON."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=30)
        try:
            body = None if value is None else json.dumps(value)
            connection.request(method, f"/_localoss/{path}", body=body, headers={"x-localoss-token": self._token})
            answer = connection.getresponse()
            told = json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise TransportError(f"the embedded OSS at {self._host}:{self._port} does not answer: {error}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise InputError(str(told.get("error", "the embedded OSS refused the request")))
        return told


def _stop_process(process: subprocess.Popen[bytes], folder: str | None) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(timeout=3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


class LocalOSS:
    """An embedded OSS that lives as long as the ``with`` block."""

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
        arguments: Sequence[str] = (),
    ) -> None:
        self._buckets, self._root, self._faults = tuple(buckets), root, faults
        self._secrets = {"OSSMP_LOCALOSS_ACCESS_KEY_SECRET": access_key_secret,
                         "OSSMP_LOCALOSS_SECURITY_TOKEN": security_token}  # fmt: skip
        self.security_token = security_token
        self._arguments = [argument for name in self._buckets for argument in ("--bucket", name)]
        self._arguments += ["--region", region]
        if access_key_id is not None:
            self._arguments += ["--access-key-id", access_key_id]
        if bandwidth is not None:
            self._arguments += ["--bandwidth", str(bandwidth)]
        if discard:
            self._arguments.append("--discard")
        self._arguments += arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> LocalOSS:
        """Start the process and wait until it is ready."""
        own = None if self._root is not None else tempfile.mkdtemp(prefix="localoss-")
        self.root = Path(self._root if own is None else own)  # type: ignore[arg-type]
        command = [sys.executable, "-m", "ossmp_jupyter.localoss", "--watch-stdin", "--root", str(self.root)]
        self._process, told = spawn(command + self._arguments, self._secrets, pipe=True)
        self._end = weakref.finalize(self, _stop_process, self._process, own)
        atexit.register(self._end)
        self.pid = self._process.pid
        self.endpoint, self.region, self.bucket = told["endpoint"], told["region"], told["bucket"]
        self.access_key_id, self.access_key_secret = told["access_key_id"], told["access_key_secret"]
        self._control = ControlClient(self.endpoint, told["control_token"])
        if self._faults:
            self.set_faults(self._faults)
        return self

    def stop(self) -> None:
        """End the process."""
        self._end()

    def __enter__(self) -> LocalOSS:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.stop()

    def environment(self) -> dict[str, str]:
        """Return the ``OSS_*`` variables that point clients here."""
        found = {
            "OSS_ENDPOINT": self.endpoint, "OSS_REGION": self.region, "OSS_BUCKET": self.bucket,
            "OSS_ACCESS_KEY_ID": self.access_key_id, "OSS_ACCESS_KEY_SECRET": self.access_key_secret,
        }  # fmt: skip
        if self.security_token:
            found["OSS_SESSION_TOKEN"] = self.security_token
        return found

    def journal(self, clear: bool = False) -> list[dict[str, Any]]:
        """Return all requests so far."""
        entries: list[dict[str, Any]] = self._control.request("GET", "journal?clear=1" if clear else "journal")
        return entries

    def set_faults(self, faults: Sequence[Mapping[str, Any]]) -> None:
        """Put a fault plan in force."""
        self._control.request("POST", "faults", [dict(rule) for rule in faults])

    def set_bandwidth(self, bandwidth: str | int | None) -> None:
        """Change or lift the speed limit."""
        self._control.request("POST", "bandwidth", {"bandwidth": bandwidth})

    def snapshot(self) -> dict[str, Any]:
        """Return everything stored."""
        found: dict[str, Any] = self._control.request("GET", "snapshot")
        return found


def spawn(command: Sequence[str], secrets: Mapping[str, str | None], *, pipe: bool,
          log: Path | None = None) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:  # fmt: skip
    """Start a server process in its own session and read its ready line."""
    environment = {**os.environ, **{name: value for name, value in secrets.items() if value}}
    package_home = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package_home, environment.get("PYTHONPATH"))))
    with (log.open("wb") if log is not None else tempfile.TemporaryFile()) as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE if pipe else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
            env=environment, start_new_session=True,
        )  # fmt: skip
        timer = threading.Timer(_START_SECONDS, process.kill)
        timer.start()
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            process.wait()
            errors.seek(0)
            reason = errors.read().decode("utf-8", "replace").strip().splitlines() if log is None else []
            raise OssmpError(f"the embedded OSS did not start: {reason[-1] if reason else 'no reason given'}")
    return process, json.loads(line)
