"""What the store keeps: buckets, objects, open uploads and their parts, as plain values."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ossmp_jupyter.oss.checksum import crc64_combine, multipart_etag

__all__ = ["OpenUpload", "Segment", "StoredObject", "StoredPart", "combined_crc", "combined_etag"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of an object's bytes: one file below the data folder, ``size`` bytes long."""

    file: str
    size: int


@dataclass(frozen=True, slots=True)
class StoredPart:
    """One part of an open upload. ``etag`` without quotes; ``modified`` in seconds since 1970."""

    number: int
    etag: str
    crc64: int | None
    size: int
    modified: float
    file: str


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One published object. Its bytes are the segments, in order, in the folder ``data_id``."""

    bucket: str
    key: str
    data_id: str
    segments: tuple[Segment, ...]
    size: int
    etag: str
    crc64: int | None
    modified: float
    type: str
    headers: Mapping[str, str]
    content_md5: str | None = None
    version_id: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the manifest that is written to disk."""
        value = {name: getattr(self, name) for name in self.__slots__}
        value["segments"] = [[segment.file, segment.size] for segment in self.segments]
        value["headers"] = dict(self.headers)
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> StoredObject:
        """Read a manifest back."""
        fields = dict(value)
        fields["segments"] = tuple(Segment(str(file), int(size)) for file, size in value["segments"])
        return cls(**fields)


@dataclass(slots=True)
class OpenUpload:
    """One unfinished multipart upload; ``parts`` changes under the store's lock only."""

    bucket: str
    key: str
    upload_id: str
    initiated: float
    headers: Mapping[str, str]
    sequential: bool = False
    parts: dict[int, StoredPart] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def to_json(self) -> dict[str, Any]:
        """Return what is written to disk; parts are files of their own."""
        return {
            "bucket": self.bucket,
            "key": self.key,
            "upload_id": self.upload_id,
            "initiated": self.initiated,
            "headers": dict(self.headers),
            "sequential": self.sequential,
        }


def combined_crc(parts: tuple[StoredPart, ...]) -> int | None:
    """Return the CRC-64 of the parts put together, or None if one of them has none."""
    whole = 0
    for part in parts:
        if part.crc64 is None:
            return None
        whole = crc64_combine(whole, part.crc64, part.size)
    return whole


def combined_etag(parts: tuple[StoredPart, ...]) -> str:
    """Return a multipart object's ETag (protocol sheet, section 3.4)."""
    return multipart_etag(part.etag for part in parts)
