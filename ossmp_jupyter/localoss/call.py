"""One request on its way through the server, and the answer to it."""

from __future__ import annotations

import enum
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING

from ossmp_jupyter.localoss.errors_xml import xml_text

if TYPE_CHECKING:
    from ossmp_jupyter.localoss.config import Settings
    from ossmp_jupyter.localoss.faults import Strike
    from ossmp_jupyter.localoss.request import Body, Head, Wire
    from ossmp_jupyter.localoss.store import Store

__all__ = ["Answer", "Call", "Operation", "element", "http_date", "xml_answer", "xml_date"]


class Operation(enum.Enum):
    """The calls this server knows, by the names of the OSS API."""

    INITIATE = "InitiateMultipartUpload"
    UPLOAD_PART = "UploadPart"
    UPLOAD_PART_COPY = "UploadPartCopy"
    COMPLETE = "CompleteMultipartUpload"
    ABORT = "AbortMultipartUpload"
    LIST_UPLOADS = "ListMultipartUploads"
    LIST_PARTS = "ListParts"
    PUT_OBJECT = "PutObject"
    GET_OBJECT = "GetObject"
    HEAD_OBJECT = "HeadObject"
    DELETE_OBJECT = "DeleteObject"
    GET_OBJECT_TAGGING = "GetObjectTagging"
    GET_OBJECT_ACL = "GetObjectAcl"
    LIST_OBJECTS = "ListObjects"
    LIST_OBJECTS_V2 = "ListObjectsV2"
    PUT_BUCKET = "PutBucket"
    DELETE_BUCKET = "DeleteBucket"
    GET_BUCKET_INFO = "GetBucketInfo"
    GET_BUCKET_LOCATION = "GetBucketLocation"
    PUT_LIFECYCLE = "PutBucketLifecycle"
    GET_LIFECYCLE = "GetBucketLifecycle"
    DELETE_LIFECYCLE = "DeleteBucketLifecycle"
    PUT_VERSIONING = "PutBucketVersioning"
    GET_VERSIONING = "GetBucketVersioning"
    LIST_BUCKETS = "ListBuckets"
    OPTIONS = "Options"
    UNKNOWN = "Unknown"


@dataclass(slots=True)
class Answer:
    """What goes back. ``stream`` replaces ``body`` for large answers and is ``length`` bytes long."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: Iterator[bytes] | None = None
    length: int | None = None


@dataclass(slots=True)
class Call:
    """One request under way, with everything an operation needs."""

    head: Head
    body: Body
    wire: Wire
    store: Store
    settings: Settings
    strikes: tuple[Strike, ...] = ()
    bucket: str = ""
    key: str = ""
    virtual_host: bool = False
    operation: Operation = Operation.UNKNOWN
    request_id: str = field(default_factory=lambda: secrets.token_hex(12).upper())
    started: float = field(default_factory=time.monotonic)
    skew: float = 0.0
    apply: bool = True
    held: ExitStack = field(default_factory=ExitStack)
    """What must stay until the answer is out, such as the bytes of an object that is being replaced."""

    @property
    def now(self) -> float:
        """Return the server's time, in seconds since 1970 (a fault may have put its clock off)."""
        return time.time() + self.skew

    @property
    def upload_id(self) -> str:
        """Return the ``uploadId`` parameter, or an empty text."""
        return self.head.parameter("uploadId") or ""

    @property
    def host(self) -> str:
        """Return the host the client named."""
        return self.head.get("host") or f"{self.settings.host}:{self.settings.port}"


def http_date(moment: float) -> str:
    """Write a time as HTTP headers do."""
    return formatdate(moment, usegmt=True)


def xml_date(moment: float) -> str:
    """Write a time as OSS's XML does: ``2012-02-23T04:18:23.000Z``, always whole seconds (oss2 insists)."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))


def element(name: str, value: object) -> str:
    """Write one XML element with text."""
    return f"<{name}>{xml_text(str(value))}</{name}>"


def xml_answer(root: str, inner: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Build a 200 answer with a document of the given root (no namespace: SDKs look names up without one)."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{inner}</{root}>'
    return Answer(
        200, {"Content-Type": "application/xml", **(headers or {})}, text.encode("utf-8", "replace")
    )
