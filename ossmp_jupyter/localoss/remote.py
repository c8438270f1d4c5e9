"""What clients of a running embedded OSS share: its addresses, its keys, its control endpoint, its start."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from ossmp_jupyter.errors import InputError, OssmpError, TransportError
from ossmp_jupyter.oss.veil import KeyId, Secret, veil, veil_named

__all__ = ["Remote", "control_request", "spawn"]

_START_SECONDS = 30.0
_PACKAGE_HOME = Path(__file__).resolve().parents[2]


class Remote:
    """A running embedded OSS, as its clients see it.

    Attributes
    ----------
    endpoint, region, bucket : str
        Where it is; ``bucket`` is the first one it was started with.
    access_key_id, access_key_secret : str
        Its keys. Never part of the repr.
    security_token : str or None
        The STS token it demands, if any.
    root : str
        Folder that holds everything stored.
    """

    endpoint: str
    region: str
    bucket: str
    access_key_id: str
    access_key_secret: str
    root: str
    security_token: str | None = None
    _control_token: str

    def _take(self, told: Mapping[str, Any]) -> None:
        for name in ("endpoint", "region", "bucket", "root"):
            setattr(self, name, str(told[name]))
        self.access_key_id, self.access_key_secret = (
            KeyId(told["access_key_id"]),
            Secret(told["access_key_secret"]),
        )
        self._control_token = Secret(told["control_token"])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, 'endpoint', 'not running')}>"

    def environment(self) -> dict[str, str]:
        """Return the ``OSS_*`` variables that point clients at this server."""
        found = {
            "OSS_ENDPOINT": self.endpoint,
            "OSS_REGION": self.region,
            "OSS_BUCKET": self.bucket,
            "OSS_ACCESS_KEY_ID": str(self.access_key_id),
            "OSS_ACCESS_KEY_SECRET": str(self.access_key_secret),
        }
        if self.security_token:
            found["OSS_SESSION_TOKEN"] = str(self.security_token)
        return found

    def _control(self, method: str, action: str, value: object = None) -> Any:
        return control_request(self.endpoint, self._control_token, method, action, value)

    def journal(self, clear: bool = False) -> list[dict[str, Any]]:
        """Return the requests so far, oldest first; ``clear`` forgets them afterwards.

        Each is a dict with ``n, operation, method, bucket, key, query, headers, status, code, bytes_in,
        part_number, upload_id, fault, time``. ``status`` is None while the request is being served, and for
        good where no answer went out. Signatures and tokens are hidden.
        """
        entries: list[dict[str, Any]] = self._control("GET", "journal?clear=1" if clear else "journal")
        return entries

    def set_faults(self, faults: Sequence[Mapping[str, Any]]) -> None:
        """Put a fault plan in force (see :mod:`ossmp_jupyter.localoss.faults`); an empty one ends all faults.

        Raises
        ------
        InputError
            When a rule cannot be understood; the old plan stays in force.
        """
        self._control("POST", "faults", [dict(rule) for rule in faults])

    def set_bandwidth(self, bandwidth: str | int | None) -> None:
        """Limit the sum of all connections, in bytes per second or as ``"20MB/s"``; None lifts the limit."""
        self._control("POST", "bandwidth", {"bandwidth": bandwidth})

    def expire_token(self, new: str) -> None:
        """Let the security token in force expire; from now on ``new`` is the valid one."""
        self._control("POST", "token", {"token": veil(new)})
        self.security_token = veil(new)

    def snapshot(self) -> dict[str, Any]:
        """Return what is stored.

        Returns
        -------
        dict
            ``objects`` maps ``"bucket/key"`` to size, etag, crc64, type and headers; ``uploads`` lists the
            open multipart uploads with their parts; ``buckets`` lists names.
        """
        found: dict[str, Any] = self._control("GET", "snapshot")
        return found


def control_request(
    endpoint: str, token: str, method: str, action: str, value: object = None, *, timeout: float = 30.0
) -> Any:
    """Make one control request and return its JSON.

    Raises
    ------
    TransportError
        When the server does not answer.
    InputError
        When it refuses, in its own words.
    """
    parts = urlsplit(endpoint)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
    try:
        body = None if value is None else json.dumps(value)
        connection.request(method, f"/_localoss/{action}", body=body, headers={"x-localoss-token": token})
        answer = connection.getresponse()
        told = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise TransportError(
            f"the embedded OSS at {endpoint} does not answer ({type(error).__name__})", hint="start it again"
        ) from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise InputError(str(told.get("error", "the embedded OSS refused the request")))
    return told


def spawn(
    arguments: Sequence[str], keys: Mapping[str, str | None], *, tied: bool, log: Path | None = None
) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    """Start a server in a session of its own (no interrupt of ours reaches it) and read its ready line.

    Parameters
    ----------
    arguments : sequence of str
        Command line after the module's name.
    keys : mapping of str to str or None
        ``access_key_id``, ``access_key_secret`` and ``security_token``, as far as they are given. They go
        through standard input: a command line is there for everybody to read.
    tied : bool
        Whether the server ends with us: its standard input is then a pipe that only we hold.
    log : Path, optional
        File for its standard error.

    Raises
    ------
    OssmpError
        When it does not get ready within 30 seconds, with its own last words.
    """
    # -P: a user's own http.py or secrets.py in the working directory must not shadow the standard library.
    command = [sys.executable, "-P", "-m", "ossmp_jupyter.localoss", "--keys-from-stdin", *arguments]
    with tempfile.TemporaryFile() if log is None else log.open("w+b") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(),
            start_new_session=True,
        )
        timer = threading.Timer(_START_SECONDS, process.kill)
        timer.start()
        try:
            line = _hand_over(process, keys, tied=tied)
        except BaseException:  # an interrupt must not leave the server behind
            process.kill()
            process.wait()
            raise
        finally:
            timer.cancel()
        if not line:
            raise _failed_start(process, errors)
    return process, veil_named(json.loads(line))


def _environment() -> dict[str, str]:
    """The server's environment: ours, without the keys of the user's account."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("OSS_", "ALIBABA_CLOUD_"))
    }
    if _PACKAGE_HOME.name not in ("site-packages", "dist-packages"):  # run from a checkout
        old = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_PACKAGE_HOME), old)))
    return environment


def _hand_over(process: subprocess.Popen[bytes], keys: Mapping[str, str | None], *, tied: bool) -> Secret:
    """Give the server its keys; returns its ready line, empty when it ended before."""
    given = {name: str(value) for name, value in keys.items() if value}
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(OSError):  # it ended at once: its last words say why
        process.stdin.write(json.dumps(given).encode() + b"\n")
        process.stdin.flush()
        if not tied:
            process.stdin.close()
    return Secret(process.stdout.readline().decode())


def _failed_start(process: subprocess.Popen[bytes], errors: IO[bytes]) -> OssmpError:
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    errors.seek(0)
    words = errors.read().decode("utf-8", "replace").strip().splitlines()
    return OssmpError(f"the embedded OSS did not start: {words[-1] if words else 'it gave no reason'}")
