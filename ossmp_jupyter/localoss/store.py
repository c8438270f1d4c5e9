"""Buckets, objects and open uploads as files below one folder; a restart finds everything again.

::

    root/buckets/<name>.json               a bucket
    root/objects/<bucket>/<hh>/<hash>.json an object's manifest; the name is the SHA-256 of the key, so no
                                           key can name a path
    root/uploads/<upload id>.json          an open upload
    root/data/<id>/<part file>             bytes; a part's file name carries its number, ETag, CRC and size
    root/tmp/                              bodies under way, emptied at the start

A part is committed by one rename. Complete publishes the part files where they lie: it writes the manifest
(atomic replace), then drops the upload; nothing is copied. A crash in between is mended at the next start.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import threading
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ossmp_jupyter.localoss.errors_xml import Refused, no_such_bucket, no_such_key, no_such_upload
from ossmp_jupyter.localoss.model import OpenUpload, Segment, StoredObject, StoredPart

__all__ = ["Store"]

_PART = re.compile(r"p(\d{5})-([0-9A-F]{32})-(\d+|x)-(\d+)-[0-9a-f]{8}")


class Store:
    """All state of one server. Every public method is safe to call from any thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.RLock()
        self._buckets: dict[str, float] = {}
        self._settings: dict[str, dict[str, str]] = {}
        self._objects: dict[str, dict[str, StoredObject]] = {}
        self._keys: dict[str, list[str]] = {}
        self._uploads: dict[str, OpenUpload] = {}
        self._pins: dict[str, int] = {}
        self._doomed: set[str] = set()
        for name in ("buckets", "objects", "uploads", "data"):
            (root / name).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(root / "tmp", ignore_errors=True)
        (root / "tmp").mkdir()
        self._load()

    # -- buckets

    def create_bucket(self, name: str, now: float) -> bool:
        """Create a bucket; False when it exists."""
        with self._lock:
            if name in self._buckets:
                return False
            self._buckets[name], self._objects[name], self._keys[name] = now, {}, []
            self._settings[name] = {}
            self._write_bucket(name)
            return True

    def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket."""
        with self._lock:
            self.check_bucket(name)
            if self._keys[name] or any(upload.bucket == name for upload in self._uploads.values()):
                raise Refused("BucketNotEmpty", extra={"BucketName": name})
            (self.root / "buckets" / f"{name}.json").unlink(missing_ok=True)
            del self._buckets[name], self._objects[name], self._keys[name], self._settings[name]

    def setting(self, bucket: str, name: str) -> str | None:
        """Return a sub-resource of a bucket, such as its lifecycle rules, as it was put; None without one."""
        with self._lock:
            self.check_bucket(bucket)
            return self._settings[bucket].get(name)

    def set_setting(self, bucket: str, name: str, value: str | None) -> None:
        """Keep a sub-resource of a bucket, or forget it."""
        with self._lock:
            self.check_bucket(bucket)
            settings = {key: kept for key, kept in self._settings[bucket].items() if key != name}
            self._settings[bucket] = settings if value is None else {**settings, name: value}
            self._write_bucket(bucket)

    def has_bucket(self, name: str) -> bool:
        """Tell whether a bucket exists."""
        return name in self._buckets

    def check_bucket(self, name: str) -> float:
        """Return a bucket's creation time; refuse when it does not exist."""
        try:
            return self._buckets[name]
        except KeyError:
            raise no_such_bucket(name) from None

    def buckets(self) -> dict[str, float]:
        """Return all buckets and their creation times."""
        with self._lock:
            return dict(sorted(self._buckets.items()))

    # -- objects

    def find(self, bucket: str, key: str) -> StoredObject | None:
        """Return an object or None; refuse an unknown bucket."""
        with self._lock:
            self.check_bucket(bucket)
            return self._objects[bucket].get(key)

    @contextlib.contextmanager
    def reading(self, bucket: str, key: str) -> Iterator[StoredObject]:
        """Hold an object so that its bytes stay until the block ends, even when it is replaced meanwhile."""
        with self._lock:
            found = self.find(bucket, key)
            if found is None:
                raise no_such_key(key)
            self._pins[found.data_id] = self._pins.get(found.data_id, 0) + 1
        try:
            yield found
        finally:
            with self._lock:
                self._pins[found.data_id] -= 1
                if not self._pins[found.data_id]:
                    del self._pins[found.data_id]
                    if found.data_id in self._doomed:
                        self._doomed.discard(found.data_id)
                        self._remove_data(found.data_id)

    def publish(self, made: StoredObject, *, forbid_overwrite: bool = False, ec: str = "") -> None:
        """Make an object visible, replacing what was there."""
        with self._lock:
            before = self.find(made.bucket, made.key)
            if before is not None and forbid_overwrite:
                raise Refused("FileAlreadyExists", ec=ec)
            self._write_json(self._manifest(made.bucket, made.key), made.to_json())
            self._objects[made.bucket][made.key] = made
            if before is None:
                insort(self._keys[made.bucket], made.key)
            elif before.data_id != made.data_id:
                self._remove_data(before.data_id)

    def delete_object(self, bucket: str, key: str) -> None:
        """Remove an object if it is there."""
        with self._lock:
            found = self.find(bucket, key)
            if found is None:
                return
            self._manifest(bucket, key).unlink(missing_ok=True)
            del self._objects[bucket][key]
            keys = self._keys[bucket]
            del keys[bisect_left(keys, key)]
            self._remove_data(found.data_id)

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """Return the keys with a prefix, in byte order."""
        with self._lock:
            self.check_bucket(bucket)
            keys = self._keys[bucket]
            first = bisect_left(keys, prefix)
            last = first
            if not prefix:
                last = len(keys)
            while last < len(keys) and keys[last].startswith(prefix):
                last += 1
            return keys[first:last]

    # -- bytes

    def new_data_id(self) -> str:
        """Return a fresh name for a folder of bytes (also the form of an upload ID)."""
        return secrets.token_hex(16).upper()

    def temp_file(self) -> Path:
        """Return a fresh path for a body under way."""
        return self.root / "tmp" / secrets.token_hex(16)

    def adopt(
        self, temp: Path, data_id: str, number: int, etag: str, crc64: int | None, size: int, modified: float
    ) -> StoredPart:
        """Commit a body that is complete: one rename."""
        crc = "x" if crc64 is None else str(crc64)
        name = f"p{number:05d}-{etag}-{crc}-{size}-{secrets.token_hex(4)}"
        folder = self.root / "data" / data_id
        folder.mkdir(exist_ok=True)
        os.utime(temp, (modified, modified))
        os.replace(temp, folder / name)
        return StoredPart(number, etag, crc64, size, modified, name)

    def path(self, data_id: str, segment: Segment | StoredPart) -> Path:
        """Return where a run of bytes lies."""
        return self.root / "data" / data_id / segment.file

    # -- uploads

    def add_upload(self, upload: OpenUpload) -> None:
        """Begin an upload."""
        with self._lock:
            self.check_bucket(upload.bucket)
            self._write_json(self.root / "uploads" / f"{upload.upload_id}.json", upload.to_json())
            self._uploads[upload.upload_id] = upload

    def upload(self, bucket: str, key: str, upload_id: str, ec: str) -> OpenUpload:
        """Return an open upload; refuse with ``NoSuchUpload`` otherwise."""
        with self._lock:
            self.check_bucket(bucket)
            found = self._uploads.get(upload_id)
            if found is None or found.bucket != bucket or found.key != key:
                raise no_such_upload(upload_id, ec)
            return found

    def uploads(self, bucket: str | None = None) -> list[OpenUpload]:
        """Return the open uploads, ordered by key and then by ID."""
        with self._lock:
            found = [upload for upload in self._uploads.values() if bucket in (None, upload.bucket)]
        return sorted(found, key=lambda upload: (upload.key, upload.upload_id))

    def add_part(self, upload: OpenUpload, part: StoredPart, ec: str) -> None:
        """Attach a committed part; it replaces an earlier one of its number."""
        with self._lock:
            if self._uploads.get(upload.upload_id) is not upload:
                self._unlink(upload.upload_id, part)
                raise no_such_upload(upload.upload_id, ec)
            before = upload.parts.get(part.number)
            upload.parts[part.number] = part
            if before is not None:
                self._unlink(upload.upload_id, before)

    def replace_part(self, upload: OpenUpload, part: StoredPart) -> None:
        """Put other facts in the place of a part's, bytes untouched (for the fault plan)."""
        with self._lock:
            upload.parts[part.number] = part

    def drop_upload(self, upload: OpenUpload, *, ec: str = "", keep_data: bool = False) -> None:
        """Forget an upload and, unless published, its parts."""
        with self._lock:
            if self._uploads.pop(upload.upload_id, None) is None:
                raise no_such_upload(upload.upload_id, ec)
            (self.root / "uploads" / f"{upload.upload_id}.json").unlink(missing_ok=True)
            if not keep_data:
                self._remove_data(upload.upload_id)

    def finish_upload(
        self, upload: OpenUpload, made: StoredObject, *, forbid_overwrite: bool, ec: str, overwrite_ec: str
    ) -> None:
        """Publish an object made of an upload's parts and drop the upload, as one step."""
        with self._lock:
            if self._uploads.get(upload.upload_id) is not upload:
                raise no_such_upload(upload.upload_id, ec)
            present = {part.file for part in upload.parts.values()}
            if any(segment.file not in present for segment in made.segments):  # replaced meanwhile
                raise Refused("InvalidPart", extra={"UploadId": upload.upload_id})
            self.publish(made, forbid_overwrite=forbid_overwrite, ec=overwrite_ec)
            self.drop_upload(upload, keep_data=True)
            used = {segment.file for segment in made.segments}
            for part in upload.parts.values():
                if part.file not in used:
                    self._unlink(upload.upload_id, part)

    def snapshot(self) -> dict[str, Any]:
        """Return everything stored, for tests."""
        with self._lock:
            objects = {
                f"{bucket}/{key}": {
                    "bucket": bucket,
                    "key": key,
                    "size": item.size,
                    "etag": item.etag,
                    "crc64": item.crc64,
                    "type": item.type,
                    "headers": dict(item.headers),
                    "modified": item.modified,
                    "segments": len(item.segments),
                }
                for bucket, items in self._objects.items()
                for key, item in items.items()
            }
            uploads = [
                {
                    "bucket": upload.bucket,
                    "key": upload.key,
                    "upload_id": upload.upload_id,
                    "initiated": upload.initiated,
                    "parts": [
                        {
                            "part_number": part.number,
                            "etag": part.etag,
                            "crc64": part.crc64,
                            "size": part.size,
                        }
                        for _, part in sorted(upload.parts.items())
                    ],
                }
                for upload in self.uploads()
            ]
            return {"buckets": list(self.buckets()), "objects": objects, "uploads": uploads}

    # -- disk

    def _manifest(self, bucket: str, key: str) -> Path:
        name = hashlib.sha256(key.encode("utf-8")).hexdigest()
        return self.root / "objects" / bucket / name[:2] / f"{name}.json"

    def _write_bucket(self, name: str) -> None:
        kept = {"name": name, "created": self._buckets[name], "settings": self._settings[name]}
        self._write_json(self.root / "buckets" / f"{name}.json", kept)

    def _write_json(self, path: Path, value: Mapping[str, Any]) -> None:
        temp = self.temp_file()
        temp.write_text(json.dumps(value), encoding="utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temp, path)

    def _remove_data(self, data_id: str) -> None:
        if data_id in self._pins:
            self._doomed.add(data_id)
        else:
            shutil.rmtree(self.root / "data" / data_id, ignore_errors=True)

    def _unlink(self, data_id: str, part: StoredPart) -> None:
        self.path(data_id, part).unlink(missing_ok=True)

    def _load(self) -> None:
        for file in (self.root / "buckets").glob("*.json"):
            bucket = json.loads(file.read_text(encoding="utf-8"))
            name = str(bucket["name"])
            self._buckets[name], self._objects[name], self._keys[name] = float(bucket["created"]), {}, []
            self._settings[name] = dict(bucket.get("settings", {}))
        used: set[str] = set()
        for file in (self.root / "objects").glob("*/*/*.json"):
            made = StoredObject.from_json(json.loads(file.read_text(encoding="utf-8")))
            if made.bucket in self._buckets:
                self._objects[made.bucket][made.key] = made
                used.add(made.data_id)
        for name, objects in self._objects.items():
            self._keys[name] = sorted(objects)
        for file in (self.root / "uploads").glob("*.json"):
            upload = OpenUpload(**json.loads(file.read_text(encoding="utf-8")))
            if upload.upload_id in used or upload.bucket not in self._buckets:
                file.unlink()  # the crash came between publishing the object and dropping the upload
                continue
            used.add(upload.upload_id)
            self._uploads[upload.upload_id] = upload
            self._load_parts(upload)
        for folder in (self.root / "data").iterdir():
            if folder.name not in used:
                shutil.rmtree(folder, ignore_errors=True)

    def _load_parts(self, upload: OpenUpload) -> None:
        folder = self.root / "data" / upload.upload_id
        if not folder.is_dir():
            return
        for file in folder.iterdir():
            match = _PART.fullmatch(file.name)
            if match is None:
                continue
            crc64 = None if match[3] == "x" else int(match[3])
            modified = file.stat().st_mtime
            part = StoredPart(int(match[1]), match[2], crc64, int(match[4]), modified, file.name)
            before = upload.parts.get(part.number)
            if before is None or before.modified < modified:
                upload.parts[part.number], part = part, before or part
            if before is not None:
                self._unlink(upload.upload_id, part)
