"""ListMultipartUploads, ListParts, ListObjects (both versions)."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from ossmp_jupyter.localoss.call import Answer, Call, Operation, element, xml_answer, xml_date
from ossmp_jupyter.localoss.errors_xml import invalid_argument
from ossmp_jupyter.localoss.lifecycle import sweep
from ossmp_jupyter.localoss.model import OpenUpload
from ossmp_jupyter.localoss.multipart import key_element, wants_encoding
from ossmp_jupyter.localoss.stored_headers import storage_class

__all__ = ["list_objects", "list_parts", "list_uploads", "whole_number"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One line of a listing: an item, or a group of items (``item`` is None) under a common prefix."""

    name: str
    item: T | None


def whole_number(call: Call, name: str, default: int, *, least: int = 1, most: int | None = 1000) -> int:
    """Read a number of the query; one that is none, or out of bounds, is refused."""
    text = call.head.parameter(name)
    if text is None or text == "":
        return default
    if (
        not (text.isascii() and text.isdecimal())
        or len(text) > 18
        or int(text) < least
        or (most and int(text) > most)
    ):
        bound = f" and not greater than {most}" if most else ""
        raise invalid_argument(
            f"Argument {name} must be an integer not less than {least}{bound}.", name, text
        )
    return int(text)


def _grouped(
    names: Iterable[tuple[str, T]], prefix: str, delimiter: str, skip_group: str
) -> Iterator[Entry[T]]:
    """Fold names that contain the delimiter after the prefix; a group comes once, at its first name."""
    last_group = ""
    for name, item in names:
        if delimiter:
            cut = name.find(delimiter, len(prefix))
            if cut >= 0:
                group = name[: cut + len(delimiter)]
                if group not in (last_group, skip_group):
                    last_group = group
                    yield Entry(group, None)
                continue
        yield Entry(name, item)


def _page(entries: Iterator[Entry[T]], most: int) -> tuple[list[Entry[T]], bool]:
    page: list[Entry[T]] = []
    for entry in entries:
        if len(page) == most:
            return page, True
        page.append(entry)
    return page, False


def _prefixes(call: Call, page: Iterable[Entry[T]]) -> str:
    groups = (entry.name for entry in page if entry.item is None)
    return "".join(f"<CommonPrefixes>{key_element(call, 'Prefix', name)}</CommonPrefixes>" for name in groups)


def list_uploads(call: Call) -> Answer:
    """List the bucket's open uploads."""
    sweep(call)
    prefix, delimiter = call.head.parameter("prefix") or "", call.head.parameter("delimiter") or ""
    key_marker = call.head.parameter("key-marker") or ""
    id_marker = call.head.parameter("upload-id-marker") or ""
    most = whole_number(call, "max-uploads", 1000)

    def wanted(upload: OpenUpload) -> bool:
        if not upload.key.startswith(prefix):
            return False
        if not key_marker:
            return True
        return upload.key > key_marker or (
            bool(id_marker) and upload.key == key_marker and upload.upload_id > id_marker
        )

    names = ((upload.key, upload) for upload in call.store.uploads(call.bucket) if wanted(upload))
    # A page that ended in a group continues behind the group, not inside it.
    skip = key_marker if delimiter and key_marker.endswith(delimiter) else ""
    page, truncated = _page(_grouped(names, prefix, delimiter, skip), most)
    last = page[-1] if page else None
    next_id = last.item.upload_id if last is not None and last.item is not None else ""
    inner = (element("EncodingType", "url") if wants_encoding(call) else "") + "".join(
        (
            element("Bucket", call.bucket),
            key_element(call, "KeyMarker", key_marker),
            element("UploadIdMarker", id_marker),
            key_element(call, "NextKeyMarker", last.name if last else ""),
            element("NextUploadIdMarker", next_id),
            key_element(call, "Delimiter", delimiter),
            key_element(call, "Prefix", prefix),
            element("MaxUploads", most),
            element("IsTruncated", str(truncated).lower()),
            *(_upload_element(call, entry.item) for entry in page if entry.item is not None),
            _prefixes(call, page),
        )
    )
    return xml_answer("ListMultipartUploadsResult", inner)


def _upload_element(call: Call, upload: OpenUpload) -> str:
    inner = (
        key_element(call, "Key", upload.key)
        + element("UploadId", upload.upload_id)
        + element("StorageClass", storage_class(upload.headers))
        + element("Initiated", xml_date(upload.initiated))
    )
    return f"<Upload>{inner}</Upload>"


def list_parts(call: Call) -> Answer:
    """List the parts of one open upload."""
    upload = call.store.upload(call.bucket, call.key, call.upload_id, "0042-00000002")
    most = whole_number(call, "max-parts", 1000)
    marker = whole_number(call, "part-number-marker", 0, least=0, most=None)
    parts = [part for number, part in sorted(upload.parts.copy().items()) if number > marker]
    page = parts[:most]
    inner = (element("EncodingType", "url") if wants_encoding(call) else "") + "".join(
        (
            element("Bucket", call.bucket),
            key_element(call, "Key", call.key),
            element("UploadId", upload.upload_id),
            element("StorageClass", storage_class(upload.headers)),
            element("PartNumberMarker", marker),
            element("NextPartNumberMarker", page[-1].number if page else marker),
            element("MaxParts", most),
            element("IsTruncated", str(len(parts) > most).lower()),
        )
    )
    for part in page:
        crc = "" if part.crc64 is None else element("HashCrc64ecma", part.crc64)
        inner += (
            "<Part>"
            + element("PartNumber", part.number)
            + element("LastModified", xml_date(part.modified))
            + element("ETag", f'"{part.etag}"')
            + crc
            + element("Size", part.size)
            + "</Part>"
        )
    return xml_answer("ListPartsResult", inner)


def _decode_token(call: Call, token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise invalid_argument("The continuation token is not valid.", "continuation-token", token) from None


def list_objects(call: Call) -> Answer:
    """List the bucket's objects, in the old form or the new one."""
    call.store.check_bucket(call.bucket)
    new = call.operation is Operation.LIST_OBJECTS_V2
    prefix, delimiter = call.head.parameter("prefix") or "", call.head.parameter("delimiter") or ""
    start = call.head.parameter("start-after" if new else "marker") or ""
    token = (call.head.parameter("continuation-token") or "") if new else ""
    marker = max(start, _decode_token(call, token)) if token else start
    most = whole_number(call, "max-keys", 100)
    keys = call.store.keys(call.bucket, prefix)
    names = ((key, key) for key in keys[bisect_right(keys, marker) :])
    skip = marker if delimiter and marker.endswith(delimiter) else ""
    page, truncated = _page(_grouped(names, prefix, delimiter, skip), most)
    last = page[-1].name if page else ""
    head = [
        element("EncodingType", "url") if wants_encoding(call) else "",
        element("Name", call.bucket),
        key_element(call, "Prefix", prefix),
        element("MaxKeys", most),
        key_element(call, "Delimiter", delimiter),
        element("IsTruncated", str(truncated).lower()),
    ]
    if new:
        head += [
            key_element(call, "StartAfter", start),
            element("ContinuationToken", token),
            element("KeyCount", len(page)),
        ]
        if truncated:
            head.append(element("NextContinuationToken", base64.b64encode(last.encode()).decode("ascii")))
    else:
        head.append(key_element(call, "Marker", start))
        if truncated:
            head.append(key_element(call, "NextMarker", last))
    owner = not new or call.head.parameter("fetch-owner") == "true"
    contents = "".join(
        _object_element(call, entry.item, owner=owner) for entry in page if entry.item is not None
    )
    return xml_answer("ListBucketResult", "".join(head) + contents + _prefixes(call, page))


def _object_element(call: Call, key: str, *, owner: bool) -> str:
    found = call.store.find(call.bucket, key)
    if found is None:
        return ""
    inner = (
        key_element(call, "Key", key)
        + element("LastModified", xml_date(found.modified))
        + element("ETag", f'"{found.etag}"')
        + element("Type", found.type)
        + element("Size", found.size)
        + element("StorageClass", storage_class(found.headers))
    )
    if owner:
        inner += "<Owner>" + element("ID", "0") + element("DisplayName", "0") + "</Owner>"
    return f"<Contents>{inner}</Contents>"
