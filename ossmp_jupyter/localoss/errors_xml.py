"""How the server says no: OSS's error codes, their messages and the XML (protocol sheet, section 6)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from xml.sax.saxutils import escape

__all__ = [
    "DropConnection",
    "Refused",
    "access_denied",
    "error_header",
    "error_xml",
    "invalid_argument",
    "no_such_bucket",
    "no_such_key",
    "no_such_upload",
    "xml_text",
]

_MESSAGES: Mapping[str, tuple[int, str]] = {
    "AccessDenied": (403, "You have no right to access this object because of bucket acl."),
    "AccessForbidden": (
        403,
        "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, "
        "request method / Access-Control-Request-Method or Access-Control-Requet-Headers are not whitelisted "
        "by the resource's CORS spec.",
    ),
    "BadRequest": (400, "Insufficient information. Origin request header needed."),
    "BucketAlreadyExists": (409, "The requested bucket name is not available."),
    "BucketNotEmpty": (409, "The bucket you tried to delete is not empty."),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed size."),
    "EntityTooSmall": (400, "Your proposed upload smaller than the minimum allowed size."),
    "FileAlreadyExists": (409, "The object you specified already exists and can not be overwritten."),
    "IncompleteBody": (
        400,
        "You did not provide the number of bytes specified by the Content-Length HTTP header.",
    ),
    "InternalError": (500, "Please contact the server administrator, oss@service.aliyun.com."),
    "InvalidAccessKeyId": (403, "The OSS Access Key Id you provided does not exist in our records."),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidCRC64": (400, "The x-oss-hash-crc64ecma you specified does not match what we calculated."),
    "InvalidDigest": (400, "The Content-MD5 you specified was invalid."),
    "InvalidEncryptionAlgorithmError": (400, "The Encryption Algorithm you specified is not valid."),
    "InvalidObjectName": (400, "The specified object is not valid."),
    "InvalidPart": (
        400,
        "One or more of the specified parts could not be found or the specified entity tag might not have "
        "matched the part's entity tag.",
    ),
    "InvalidPartOrder": (400, "The list of parts was not in ascending order."),
    "InvalidRange": (416, "The requested range cannot be satisfied."),
    "InvalidSecurityToken": (403, "The security token you provided is invalid."),
    "MalformedXML": (
        400,
        "The XML you provided was not well-formed or did not validate against our published schema.",
    ),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "NoSuchBucket": (404, "The specified bucket does not exist."),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchLifecycle": (404, "No Row found in Lifecycle Table."),
    "NoSuchUpload": (
        404,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been "
        "aborted or completed.",
    ),
    "NotImplemented": (400, "A header you provided implies functionality that is not implemented."),
    "NotModified": (304, "Not Modified"),
    "OperationNotSupported": (400, "The operation is not supported for this resource"),
    "PartNotSequential": (400, "The part you specified is not sequential."),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold."),
    "RequestTimeTooSkewed": (
        403,
        "The difference between the request time and the current time is too large.",
    ),
    "RequestTimeout": (
        400,
        "Your socket connection to the server was not read from or written to within the timeout period. "
        "Idle connections will be closed.",
    ),
    "SecurityTokenExpired": (403, "The security token you provided has expired."),
    "ServiceUnavailable": (503, "Thread pool is almost full, please retry later."),
    "SignatureDoesNotMatch": (
        403,
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method.",
    ),
}

_ECS: Mapping[str, str] = {
    "BucketAlreadyExists": "0015-00000104",
    "BucketNotEmpty": "0015-00000301",
    "EntityTooSmall": "0042-00000213",
    "InvalidAccessKeyId": "0002-00000902",
    "InvalidDigest": "0017-00000503",
    "InvalidPartOrder": "0042-00000209",
    "InvalidSecurityToken": "0002-00000006",
    "MalformedXML": "0042-00000205",
    "NoSuchBucket": "0015-00000101",
    "NoSuchKey": "0026-00000001",
    "RequestTimeTooSkewed": "0002-00000504",
    "SignatureDoesNotMatch": "0002-00000040",
}


class DropConnection(Exception):
    """End this connection without an answer: by RST (``reset``) or in good order."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__("reset" if reset else "close")
        self.reset = reset


class Refused(Exception):
    """The request is answered with an OSS error.

    ``close`` says that the connection cannot be used any more (its framing is lost).
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        status: int | None = None,
        ec: str = "",
        extra: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        close: bool = False,
    ) -> None:
        known_status, known_message = _MESSAGES.get(code, (400, code))
        super().__init__(code)
        self.code = code
        self.status = known_status if status is None else status
        self.message = message or known_message
        self.ec = ec or _ECS.get(code, "")
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
        self.close = close


def no_such_bucket(name: str) -> Refused:
    """Build the answer for a bucket that does not exist."""
    return Refused("NoSuchBucket", extra={"BucketName": name})


def no_such_key(key: str) -> Refused:
    """Build the answer for an object that does not exist."""
    return Refused("NoSuchKey", extra={"Key": key})


def no_such_upload(upload_id: str, ec: str) -> Refused:
    """Build the answer for an upload ID that is unknown, aborted or completed."""
    return Refused("NoSuchUpload", ec=ec, extra={"UploadId": upload_id})


def invalid_argument(message: str, name: str = "", value: str = "", *, ec: str = "") -> Refused:
    """Build the answer for a header or parameter that cannot be accepted."""
    extra = {"ArgumentName": name, "ArgumentValue": value} if name else {}
    return Refused("InvalidArgument", message, ec=ec, extra=extra)


def access_denied(message: str, *, ec: str = "", extra: Mapping[str, str] | None = None) -> Refused:
    """Build the answer for a request that may not be served."""
    return Refused("AccessDenied", message, ec=ec, extra=extra)


def _is_xml(c: str) -> bool:
    return c in "\t\n\r" or "\x20" <= c < "\ud800" or "\ue000" <= c < "\ufffe" or c > "\uffff"


def xml_text(value: str) -> str:
    """Escape text for XML; characters that XML 1.0 cannot hold become ``?``."""
    safe = "".join(c if _is_xml(c) else "?" for c in value)
    return escape(safe).replace("\r", "&#13;")


def error_xml(refused: Refused, *, request_id: str, host: str) -> bytes:
    """Write the ``Error`` document of one refusal."""
    fields = {"Code": refused.code, "Message": refused.message, "RequestId": request_id, "HostId": host}
    fields.update(refused.extra)
    if refused.ec:
        fields["EC"] = refused.ec
        fields["RecommendDoc"] = f"https://api.aliyun.com/troubleshoot?q={refused.ec}"
    inner = "".join(f"  <{name}>{xml_text(value)}</{name}>\n" for name, value in fields.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n{inner}</Error>\n'.encode("utf-8", "replace")


def error_header(document: bytes) -> str:
    """Return the error document as the value of ``x-oss-err``, for answers to HEAD."""
    return base64.b64encode(document).decode("ascii")
