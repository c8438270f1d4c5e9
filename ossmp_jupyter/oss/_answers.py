"""From an answer that is an error to the exception that says so."""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

from ossmp_jupyter.errors import (
    AccessDenied,
    AlreadyExists,
    CallbackFailed,
    ClockSkewed,
    CredentialsExpired,
    IntegrityError,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    NotFound,
    NotOSS,
    OssmpError,
    ServerError,
    Throttled,
    TransportError,
)
from ossmp_jupyter.oss.credentials import Credentials
from ossmp_jupyter.oss.xml import parse_error, read_number

__all__ = ["Asked", "error_of", "not_oss", "server_time"]

MAX_ERROR_BYTES = 64 * 1024

_TYPES: dict[str, type[OssmpError]] = {
    "SecurityTokenExpired": CredentialsExpired,
    "RequestTimeTooSkewed": ClockSkewed,
    "NoSuchBucket": NoSuchBucket,
    "NoSuchKey": NoSuchKey,
    "NoSuchUpload": NoSuchUpload,
    "FileAlreadyExists": AlreadyExists,
    "CallbackFailed": CallbackFailed,
    "InvalidDigest": IntegrityError,
    "InvalidCRC64": IntegrityError,
    "ServiceUnavailable": Throttled,
}
_RETRYABLE = {"InternalError", "RequestTimeout", "IncompleteBody", "InvalidDigest", "InvalidCRC64"}

_HINTS = {
    "InvalidAccessKeyId": "check the access key ID ({access_key_id}); it may be deleted or of another site",
    "SignatureDoesNotMatch": "the access key secret does not belong to {access_key_id}; copy both anew",
    "InvalidSecurityToken": "key and security token must come from one STS answer; fetch all three anew",
    "AccessKeyIdAndSecurityTokenNotMatch": "access key and security token must come from the same STS answer",
    "SecurityTokenExpired": "fetch new temporary credentials",
    "UserDisable": "the account is disabled or owes money; look into the Alibaba Cloud console",
    "RequestTimeTooSkewed": "set this machine's clock",
    "NoSuchBucket": "check the bucket's name and region, or create it",
    "NoSuchKey": "check the object's name; capitals count",
    "NoSuchUpload": "it was aborted or completed already, or never begun",
    "InvalidBucketName": "use 3 to 63 lower-case letters, digits and hyphens",
    "InvalidObjectName": "use 1 to 1023 bytes that do not begin with a slash",
    "EntityTooSmall": "every part but the last must have at least 100 KiB; use a larger part size",
    "EntityTooLarge": "a single request carries at most 5 GiB; upload in parts",
    "InvalidPart": "list the parts and send again those that are missing",
    "InvalidPartOrder": "list the parts in ascending order",
    "FileAlreadyExists": "choose another name, or allow overwriting",
    "FileImmutable": "the bucket's retention policy protects it",
    "CallbackFailed": "the object is stored; check your application's server, and do not upload again",
    "InvalidDigest": "the bytes were damaged under way; send them again",
    "InvalidCRC64": "the bytes were damaged under way; send them again",
    "KmsServiceNotEnabled": "enable KMS in the console, or use encryption='AES256'",
    "TransferAccelerationDisabled": "switch transfer acceleration on, or use the regional endpoint",
    "SecondLevelDomainForbidden": "do not use path_style with the real OSS",
    "NonStandardHostForbidden": "use the region's endpoint, or bind the domain and give cname=True",
    "BucketNotEmpty": "delete its objects and unfinished uploads first",
    "RequestTimeout": "the line was idle for too long; try again",
}
# Where OSS's own words say less than ours, or echo what must not be shown.
_SENTENCES = {
    "NoSuchBucket": "there is no bucket {bucket} at {host} (NoSuchBucket)",
    "NoSuchKey": "there is no object {target} (NoSuchKey)",
    "NoSuchUpload": "OSS has no such upload to {target} (NoSuchUpload)",
    "FileAlreadyExists": "{target} exists, and overwriting it was forbidden (FileAlreadyExists)",
    "SecurityTokenExpired": "OSS refused {operation} on {target}: the security token has expired "
    "(SecurityTokenExpired)",
    "RequestTimeTooSkewed": "OSS refused {operation} on {target}: this machine's clock and the server's "
    "differ by more than 15 minutes (RequestTimeTooSkewed)",
}
_ALWAYS_DENIED = "ask for the permission oss:{action}, or check the bucket's policy"
_ON_UPLOADS = {"UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload", "ListParts"}
_ACTIONS = {
    "InitiateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject, and GetObject on the source",
    "CompleteMultipartUpload": "PutObject",
    "HeadObject": "GetObject",
    "ListObjectsV2": "ListObjects",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer answers, for messages: the API's name of the call, its target, its signer."""

    operation: str
    target: str
    host: str
    credentials: Credentials | None = None
    region: str | None = None

    def clean(self, text: str) -> str:
        """Take our own secrets out of a text that came from outside, and keep it to one short line."""
        if self.credentials:
            keys = self.credentials
            for secret in (keys.access_key_secret, keys.security_token):
                for form in _forms(secret) if secret else ():
                    text = text.replace(form, "***")
            text = text.replace(keys.access_key_id, keys.masked_id)
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300]

    def request_id(self, headers: Mapping[str, str], told: str = "") -> str:
        """OSS's name for the request, from the document or the headers."""
        return self.clean(told or headers.get("x-oss-request-id", ""))[:64]


def _forms(secret: str) -> tuple[str, ...]:
    """The ways in which an answer may echo a text of ours."""
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    quoted = quote(secret, safe=""), quote(secret), quote_plus(secret)
    return secret, *quoted, json.dumps(secret)[1:-1], html.escape(secret), encoded


def error_of(asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> OssmpError:
    """Make the exception for an answer that is not a success (or is a 203).

    Parameters
    ----------
    asked : Asked
        The request.
    status : int
        HTTP status.
    headers : mapping
        Headers of the answer; must ignore case.
    body : bytes
        At most the first 64 KiB of it.
    """
    document = parse_error(body) if body else _from_header(headers.get("x-oss-err"))
    if document is None:
        document = _without_body(asked, status, headers, body)
    if document is None:
        return _foreign(asked, status, headers)
    code = asked.clean(document.get("Code", ""))[:80] or f"HTTP{status}"
    arguments: dict[str, Any] = {
        "code": code,
        "status": status,
        "request_id": asked.request_id(headers, document.get("RequestId", "")) or None,
        "ec": asked.clean(document.get("EC") or headers.get("x-oss-ec", "")) or None,
        "hint": _hint(asked, code, document),
    }
    kind = _kind(code, status)
    if code in _RETRYABLE or status >= 500:
        arguments["retryable"] = True
    if kind is Throttled:
        arguments["retry_after"] = _retry_after(headers)
    return kind(_sentence(asked, code, document), **arguments)


def _from_header(value: str | None) -> dict[str, str] | None:
    """HEAD has no body; its error comes base64-encoded in a header."""
    try:
        return parse_error(base64.b64decode(value or "", validate=True))
    except (binascii.Error, ValueError):
        return None


def _without_body(
    asked: Asked, status: int, headers: Mapping[str, str], body: bytes
) -> dict[str, str] | None:
    """Name an error of OSS that came without a document; None if OSS did not send it."""
    if body or "x-oss-request-id" not in headers:
        return None
    code = {304: "NotModified", 412: "PreconditionFailed"}.get(status, f"HTTP{status}")
    if status == 404:
        bucket_is_missing = headers.get("x-oss-ec", "").startswith("0015-")
        code = "NoSuchUpload" if asked.operation in _ON_UPLOADS else "NoSuchKey"
        if bucket_is_missing or "Bucket" in asked.operation:
            code = "NoSuchBucket"
    elif status == 403:
        code = "AccessDenied"
    return {"Code": code}


def _kind(code: str, status: int) -> type[OssmpError]:
    if code in _TYPES:
        return _TYPES[code]
    if status in {429, 503} or code.endswith("LimitExceeded"):
        return Throttled
    if status in {401, 403}:
        return AccessDenied
    return NotFound if status == 404 else ServerError


def _sentence(asked: Asked, code: str, document: Mapping[str, str]) -> str:
    """Say what OSS refused, and why, in its own words; the echo of what was signed is left out."""
    message = asked.clean(document.get("Message", "")).rstrip(".")
    if code == "CallbackFailed":
        return f"{asked.target} is stored, but the callback failed ({message or 'no reason given'})"
    if code in _SENTENCES:
        bucket = asked.target.removeprefix("oss://").partition("/")[0]
        return _SENTENCES[code].format(
            operation=asked.operation, target=asked.target, bucket=bucket, host=asked.host
        )
    detail = "".join(
        f", {name} {asked.clean(document[name])}"
        for name in ("ArgumentName", "ArgumentValue", "PartNumber", "Condition", "Header")
        if document.get(name)
    )
    reason = f": {message}" if message else ""
    return f"OSS refused {asked.operation} on {asked.target} with {code}{reason}{detail}"


def _hint(asked: Asked, code: str, document: Mapping[str, str]) -> str | None:
    endpoint = asked.clean(document.get("Endpoint", ""))
    if endpoint and code in {"AccessDenied", "PermanentRedirect"}:
        return f"the bucket lives in another region; connect with endpoint='{endpoint}'"
    if code == "RequestTimeTooSkewed" and document.get("ServerTime"):
        return f"set the clock; the server's says {asked.clean(document['ServerTime'])}"
    if code == "InvalidArgument" and "region" in document.get("Message", "").lower():
        return f"the request was signed for region {asked.region}; connect with the bucket's region"
    if code == "AccessDenied":
        if "expire" in document.get("Message", "").lower():
            return "make a new link"
        return _ALWAYS_DENIED.format(action=_ACTIONS.get(asked.operation, asked.operation))
    hint = _HINTS.get(code)
    identity = asked.credentials.masked_id if asked.credentials else "the key"
    return hint.format(access_key_id=identity) if hint else None


def _foreign(asked: Asked, status: int, headers: Mapping[str, str]) -> OssmpError:
    """Something between us and OSS answered, or the endpoint is not OSS."""
    if status == 407:
        return TransportError(
            f"the proxy on the way to {asked.host} asks for a password",
            status=status,
            retryable=False,
            hint="put it into the proxy's address in HTTPS_PROXY",
        )
    if status in {429, 503}:
        return Throttled(
            f"{asked.host} answered {asked.operation} with HTTP {status}",
            code=f"HTTP{status}",
            status=status,
            request_id=asked.request_id(headers) or None,
            retry_after=_retry_after(headers),
            hint="try again later",
        )
    if status >= 500:
        return ServerError(
            f"{asked.host} answered {asked.operation} with HTTP {status} and no OSS error "
            f"({_content_type(asked, headers)})",
            status=status,
            code=f"HTTP{status}",
            request_id=asked.request_id(headers) or None,
            retryable=True,
            hint="a proxy or load balancer may be in the way; try again",
        )
    if 300 <= status < 400:
        return NotOSS(
            f"{asked.host} answered {asked.operation} with a redirect (HTTP {status}), which OSS does not",
            status=status,
            request_id=asked.request_id(headers) or None,
            hint=f"signed requests are not sent elsewhere; {_way_out(asked, headers)}",
        )
    return not_oss(asked, status, headers)


def not_oss(asked: Asked, status: int, headers: Mapping[str, str]) -> NotOSS:
    """Make the exception for an answer that OSS cannot have sent."""
    return NotOSS(
        f"{asked.host} answered {asked.operation} with HTTP {status}, but not as OSS does "
        f"({_content_type(asked, headers)})",
        status=status,
        request_id=asked.request_id(headers) or None,
        hint="check that the endpoint is an OSS endpoint and that no login page or proxy is in the way",
    )


def _content_type(asked: Asked, headers: Mapping[str, str]) -> str:
    return asked.clean(headers.get("content-type", "")).split(";")[0][:60] or "no type"


def _way_out(asked: Asked, headers: Mapping[str, str]) -> str:
    """Name the endpoint that a redirect points to; of its address nothing else is shown."""
    try:
        parts = urlsplit(asked.clean(headers.get("location", "")))
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        scheme, host, port = "", "", None
    if scheme not in {"http", "https"} or not re.fullmatch(r"[a-z0-9.:-]+", host):
        return "check endpoint and scheme"
    bucket = asked.target.removeprefix("oss://").partition("/")[0]
    host = host.removeprefix(f"{bucket}.")
    where = f"{scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"
    return f"if that is where your bucket is, connect with endpoint='{where}'"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: Retry-After as a number or a date, or OSS's own delay in milliseconds."""
    delay = read_number(headers.get("x-oss-qos-delay-time", ""))
    if delay is not None:
        return delay / 1000
    text = headers.get("retry-after", "").strip()
    seconds = read_number(text)
    if seconds is not None:
        return float(seconds)
    moment = _http_time(text)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds()) if moment else None


def _http_time(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def server_time(headers: Mapping[str, str], body: bytes) -> datetime | None:
    """The server's clock, from ``ServerTime`` of an error or the Date header."""
    document = (parse_error(body) if body else _from_header(headers.get("x-oss-err"))) or {}
    try:
        moment = datetime.fromisoformat(document.get("ServerTime", ""))
    except ValueError:
        return _http_time(headers.get("date", ""))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
