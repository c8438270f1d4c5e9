"""The one exception tree of ossmp_jupyter.

::

    OssmpError
    ├── InputError                bad argument, found before any byte moves (also a ValueError)
    │   └── SourceNotReadable     no such file, a directory, no permission
    ├── CredentialsError          no credentials, or the provider could not refresh them
    ├── TransportError            no HTTP answer: connection refused, reset, DNS, TLS
    │   ├── ConnectionTimeout     no connection within the connect time-out
    │   ├── ResponseTimeout       the request went out, no answer came in time
    │   └── Stalled               no byte accepted for the stall deadline
    ├── NotOSS                    an answer that is not OSS's (HTML with 200, broken XML)
    ├── ServerError               OSS answered with an error
    │   ├── AccessDenied          401/403: wrong keys, no permission, expired link
    │   │   ├── CredentialsExpired
    │   │   └── ClockSkewed       the clocks differ by more than 15 minutes
    │   ├── NotFound              404
    │   │   ├── NoSuchBucket
    │   │   ├── NoSuchKey
    │   │   └── NoSuchUpload
    │   ├── AlreadyExists         409 FileAlreadyExists (forbid-overwrite)
    │   ├── Throttled             429, 503 and the QPS / traffic limits
    │   └── CallbackFailed        HTTP 203: the object IS stored, the callback failed
    ├── IntegrityError            a checksum or a size disagrees
    ├── SourceFailed              the iterator that was to be uploaded raised; nothing was completed
    ├── SourceChanged             the source changed while it was read; nothing was completed
    ├── UploadInUse               another process is uploading this source to this target
    ├── UploadAborted             somebody aborted the upload
    └── ObjectReplaced            Complete was lost, and another writer's object is there now

Every error says what is wrong and what to do next in ``str(error)``, and never holds a secret. One that
comes of a request also names, in brackets, what support will ask for: the operation, the part, how often it
was tried, the status, the code, and OSS's request ID.
"""

from __future__ import annotations

import re
from typing import Self

from ossmp_jupyter.visible import visible

__all__ = [
    "AccessDenied",
    "AlreadyExists",
    "CallbackFailed",
    "ClockSkewed",
    "ConnectionTimeout",
    "CredentialsError",
    "CredentialsExpired",
    "InputError",
    "IntegrityError",
    "NoSuchBucket",
    "NoSuchKey",
    "NoSuchUpload",
    "NotFound",
    "NotOSS",
    "ObjectReplaced",
    "OssmpError",
    "ResponseTimeout",
    "ServerError",
    "SourceChanged",
    "SourceFailed",
    "SourceNotReadable",
    "Stalled",
    "Throttled",
    "TransportError",
    "UploadAborted",
    "UploadInUse",
]


_LONGEST = 800


def _readable(message: str) -> str:
    """Cut a message that quotes a very long text, in its middle: what is wrong stands at its end."""
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST // 2]}…{message[-_LONGEST // 3 :]}"


def _says(message: str, fact: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(fact)}(?!\w)", message) is not None


class OssmpError(Exception):
    """Root of everything this package raises on purpose.

    Parameters
    ----------
    message : str
        One sentence that names what is wrong.
    hint : str, optional
        What to do next; shown after the message.
    code : str, optional
        OSS error code such as ``"NoSuchUpload"``, or the class name.
    status : int, optional
        HTTP status, when there was an answer.
    request_id, ec : str, optional
        OSS's request ID and fine-grained error code, for support.
    retryable : bool, optional
        Whether the same request may succeed when repeated. Defaults to the class's own answer.
    retry_after : float, optional
        Seconds the server asked to wait.

    Examples
    --------
    >>> error = OssmpError("the part size is 1 KiB", hint="give at least 100 KiB")
    >>> str(error)
    'the part size is 1 KiB; give at least 100 KiB'
    >>> error.code, error.retryable
    ('OssmpError', False)
    >>> error = OssmpError("the server is busy", hint="try again", status=503, request_id="5F2A")
    >>> str(error.concerning("UploadPart (part 3)", attempts=4))
    'the server is busy; try again [UploadPart (part 3), 4 attempts, HTTP 503, request ID 5F2A]'
    """

    default_retryable = False

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        code: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        ec: str | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        message, hint = _readable(visible(message)), visible(hint) if hint else hint
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or type(self).__name__
        self.status = status
        self.request_id = request_id
        self.ec = ec
        self.retryable = self.default_retryable if retryable is None else retryable
        self.retry_after = retry_after
        self.operation: str | None = None
        self.attempts: int | None = None

    def __str__(self) -> str:
        text = f"{self.message}; {self.hint}" if self.hint else self.message
        return f"{text} [{', '.join(self.facts)}]" if self.facts else text

    @property
    def facts(self) -> tuple[str, ...]:
        """What support asks for and ``message`` does not say: operation, attempts, status, code, IDs."""
        answered, own = self.status or self.request_id, {type(self).__name__, f"HTTP{self.status}"}
        facts = (
            self.operation,
            f"{self.attempts} attempt{'s' if self.attempts > 1 else ''}" if self.attempts else None,
            f"HTTP {self.status}" if self.status else None,
            f"code {self.code}" if answered and self.code not in own else None,
            f"request ID {self.request_id}" if self.request_id else None,
            f"EC {self.ec}" if self.ec else None,
        )
        return tuple(fact for fact in facts if fact and not _says(self.message, fact.removeprefix("code ")))

    def concerning(
        self, operation: str | None = None, *, attempts: int | None = None, request_id: str | None = None
    ) -> Self:
        """Note what failed and how often it was tried, where that is not known yet; returns the error."""
        self.operation = self.operation or operation
        self.attempts = self.attempts or attempts
        self.request_id = self.request_id or request_id
        return self


class InputError(OssmpError, ValueError):
    """A bad argument, found before any byte moves."""

    @property
    def facts(self) -> tuple[str, ...]:
        """None: no server was asked."""
        return ()


class SourceNotReadable(InputError):
    """The source does not exist, is a directory, or may not be read."""


class CredentialsError(OssmpError):
    """No credentials were found, or the provider could not refresh them."""


class TransportError(OssmpError):
    """No HTTP answer came back: refused, reset, DNS or TLS failure."""

    default_retryable = True


class ConnectionTimeout(TransportError):
    """No connection within the connect time-out (ali-oss: ``ConnectionTimeoutError``)."""


class ResponseTimeout(TransportError):
    """The request went out but no answer came in time."""


class Stalled(TransportError):
    """The server accepted no byte for the stall deadline."""


class NotOSS(OssmpError):
    """The endpoint answered, but not as OSS does (HTML with status 200, broken XML)."""


class ServerError(OssmpError):
    """OSS answered with an error; ``code``, ``status``, ``request_id`` and ``ec`` are its own."""


class AccessDenied(ServerError):
    """Wrong keys, a missing permission, or an expired link."""


class CredentialsExpired(AccessDenied):
    """The security token has expired; fresh credentials may succeed."""


class ClockSkewed(AccessDenied):
    """This machine's clock and the server's differ by more than 15 minutes."""


class NotFound(ServerError):
    """Something named in the request does not exist."""


class NoSuchBucket(NotFound):
    """The bucket does not exist."""


class NoSuchKey(NotFound):
    """The object does not exist."""


class NoSuchUpload(NotFound):
    """The upload ID is unknown: aborted, completed, or never begun."""


class AlreadyExists(ServerError):
    """The object exists and overwriting was forbidden."""


class Throttled(ServerError):
    """The server asks for fewer or slower requests."""

    default_retryable = True


class CallbackFailed(ServerError):
    """The object is stored, but the application's callback failed (HTTP 203)."""


class IntegrityError(OssmpError):
    """A checksum or size disagrees with what was sent."""


class SourceFailed(OssmpError):
    """The iterator that was to be uploaded raised; nothing was completed."""


class SourceChanged(OssmpError):
    """The source changed while it was being uploaded; nothing was completed."""


class UploadInUse(OssmpError):
    """Another process is uploading this source to this target right now."""


class UploadAborted(OssmpError):
    """The upload was aborted; its parts are gone from the server."""


class ObjectReplaced(OssmpError):
    """The answer to Complete was lost, and what stands at the key now is not ours."""
