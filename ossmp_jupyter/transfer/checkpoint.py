"""What is known of an upload: the value that callbacks see, and ali-oss's form of it.

The copy on disk is in :mod:`ossmp_jupyter.transfer.journal`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ossmp_jupyter.errors import InputError

__all__ = ["Checkpoint", "CheckpointPart"]


@dataclass(frozen=True, slots=True)
class CheckpointPart:
    """A confirmed part. ``crc64`` is of the bytes we sent; None where an ali-oss checkpoint has none."""

    number: int
    etag: str
    size: int
    crc64: int | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A snapshot of an unfinished upload; holds no secret, may be stored anywhere.

    Parameters
    ----------
    file : str or None
        Path of the source; None for bytes in memory.
    bucket, key : str
        The target.
    size, part_size : int
        Bytes of the source and of each part but the last.
    upload_id : str
        OSS's ID of the multipart upload.
    parts : tuple of CheckpointPart
        The confirmed parts, in any order.
    endpoint : str
        Which service holds the parts.

    Examples
    --------
    >>> part = CheckpointPart(1, "7265F4D211B56873A381D321F586E4A9", 1048576)
    >>> checkpoint = Checkpoint("/data/a.bin", "b", "a.bin", 5242880, 1048576, "0004B9", (part,))
    >>> checkpoint.to_ali_oss()["doneParts"]
    [{'number': 1, 'etag': '"7265F4D211B56873A381D321F586E4A9"'}]
    >>> Checkpoint.from_mapping(checkpoint.to_dict()) == checkpoint
    True
    """

    file: str | None
    bucket: str
    key: str
    size: int
    part_size: int
    upload_id: str
    parts: tuple[CheckpointPart, ...] = ()
    endpoint: str = ""

    @property
    def confirmed(self) -> int:
        """Bytes of the confirmed parts."""
        return sum(part.size for part in self.parts)

    def to_ali_oss(self) -> dict[str, Any]:
        """Return the plain object that ali-oss takes as ``options.checkpoint``."""
        return {
            "file": self.file,
            "name": self.key,
            "fileSize": self.size,
            "partSize": self.part_size,
            "uploadId": self.upload_id,
            "doneParts": [{"number": part.number, "etag": f'"{part.etag}"'} for part in self.parts],
        }

    def to_dict(self) -> dict[str, Any]:
        """Return our own JSON form: ali-oss's, plus what it lacks."""
        parts = [
            {"number": p.number, "etag": f'"{p.etag}"', "size": p.size, "crc64": p.crc64} for p in self.parts
        ]
        return {**self.to_ali_oss(), "doneParts": parts, "bucket": self.bucket, "endpoint": self.endpoint}

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], *, bucket: str = "") -> Checkpoint:
        """Read ali-oss's object or ours.

        Raises
        ------
        InputError
            If a field is missing or is of the wrong type.
        """
        try:
            size, part_size = int(data["fileSize"]), int(data["partSize"])
            if size < 0 or part_size < 1 or not data["uploadId"] or not data["name"]:
                raise ValueError("fileSize, partSize, uploadId and name must be there")
            file = data.get("file")
            parts = []
            for entry in data["doneParts"]:
                number, crc = int(entry["number"]), entry.get("crc64")
                length = int(entry.get("size", min(part_size, size - (number - 1) * part_size)))
                if not 1 <= number <= 10_000 or length < 0:
                    raise ValueError(f"part {number} cannot be")
                etag = str(entry["etag"]).strip('"').upper()
                parts.append(CheckpointPart(number, etag, length, None if crc is None else int(crc)))
            return cls(
                file if isinstance(file, str) else None,
                str(data.get("bucket") or bucket),
                str(data["name"]),
                size,
                part_size,
                str(data["uploadId"]),
                tuple(parts),
                str(data.get("endpoint") or ""),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"this checkpoint cannot be read ({error.__class__.__name__}: {error})",
                hint="give the checkpoint that a progress callback received, ours or ali-oss's",
            ) from None
