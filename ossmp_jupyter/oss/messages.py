"""What OSS says back: one immutable value per answer.

The XML readers and writers are in :mod:`ossmp_jupyter.oss.xml`; this module holds values only,
so that any layer may name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = [
    "BucketPage",
    "CompleteResult",
    "CopyPartResult",
    "HeadResult",
    "InitiateResult",
    "ObjectInfo",
    "PartInfo",
    "PartResult",
    "PartsPage",
    "PutResult",
    "UploadInfo",
    "UploadsPage",
]


@dataclass(frozen=True, slots=True)
class InitiateResult:
    """Answer to InitiateMultipartUpload."""

    bucket: str
    key: str
    upload_id: str
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class PartResult:
    """Answer to UploadPart. ``etag`` has no quotes; ``crc64`` is None where the server sent none."""

    part_number: int
    etag: str
    crc64: int | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class CopyPartResult:
    """Answer to UploadPartCopy."""

    part_number: int
    etag: str
    last_modified: datetime | None = None
    content_range: str | None = None
    crc64: int | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class CompleteResult:
    """Answer to CompleteMultipartUpload; ``callback`` is the application's parsed JSON answer."""

    bucket: str
    key: str
    etag: str
    location: str = ""
    crc64: int | None = None
    version_id: str | None = None
    callback: Any = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class PutResult:
    """Answer to PutObject."""

    etag: str
    crc64: int | None = None
    version_id: str | None = None
    callback: Any = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One stored part, as ListParts shows it. ``size`` in bytes."""

    part_number: int
    etag: str
    size: int
    crc64: int | None = None
    last_modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class PartsPage:
    """One page of ListParts."""

    bucket: str
    key: str
    upload_id: str
    parts: tuple[PartInfo, ...]
    is_truncated: bool = False
    part_number_marker: int = 0
    next_part_number_marker: int = 0
    max_parts: int = 1000
    storage_class: str = "Standard"


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """One unfinished multipart upload, as ListMultipartUploads shows it."""

    key: str
    upload_id: str
    initiated: datetime | None = None
    storage_class: str = "Standard"


@dataclass(frozen=True, slots=True)
class UploadsPage:
    """One page of ListMultipartUploads."""

    bucket: str
    uploads: tuple[UploadInfo, ...]
    common_prefixes: tuple[str, ...] = ()
    is_truncated: bool = False
    prefix: str = ""
    delimiter: str = ""
    key_marker: str = ""
    upload_id_marker: str = ""
    next_key_marker: str = ""
    next_upload_id_marker: str = ""
    max_uploads: int = 1000


@dataclass(frozen=True, slots=True)
class HeadResult:
    """Answer to HeadObject.

    ``size`` in bytes, of the whole object; ``etag`` has no quotes; ``crc64`` is None where the server
    sent none; ``meta`` holds user metadata, decoded and without the ``x-oss-meta-`` prefix; ``headers``
    are all headers of the answer, with lower-case names.

    Examples
    --------
    >>> HeadResult(size=5, etag="AB", meta={"year": "2020"}).meta["year"]
    '2020'
    """

    size: int
    etag: str
    crc64: int | None = None
    last_modified: datetime | None = None
    content_type: str | None = None
    meta: Mapping[str, str] = field(default_factory=dict)
    storage_class: str = "Standard"
    object_type: str = "Normal"
    version_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing. ``size`` in bytes."""

    key: str
    size: int
    etag: str
    last_modified: datetime | None = None
    type: str = "Normal"
    storage_class: str = "Standard"


@dataclass(frozen=True, slots=True)
class BucketPage:
    """One page of ListObjectsV2."""

    bucket: str
    objects: tuple[ObjectInfo, ...]
    common_prefixes: tuple[str, ...] = ()
    is_truncated: bool = False
    next_continuation_token: str = ""
    prefix: str = ""
    delimiter: str = ""
