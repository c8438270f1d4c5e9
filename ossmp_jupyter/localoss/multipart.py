"""InitiateMultipartUpload, UploadPart, UploadPartCopy and AbortMultipartUpload."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

from ossmp_jupyter.localoss.call import Answer, Call, element, xml_answer, xml_date
from ossmp_jupyter.localoss.config import MAX_PART
from ossmp_jupyter.localoss.errors_xml import Refused, invalid_argument
from ossmp_jupyter.localoss.ingest import check_length, receive
from ossmp_jupyter.localoss.model import OpenUpload, StoredObject
from ossmp_jupyter.localoss.objects import check_conditions, forbids_overwrite, read_bytes
from ossmp_jupyter.localoss.stored_headers import encryption_echo, object_headers, refuse_misplaced
from ossmp_jupyter.oss.checksum import crc64

__all__ = ["abort", "initiate", "key_element", "upload_part", "upload_part_copy"]

_EC_PART = "0042-00000104"
_EC_COPY = "0042-00000311"
_EC_ABORT = "0042-00000002"
_COPY_SOURCE = re.compile(r"/?([^/]+)/([^?]+)(?:\?versionId=.*)?")
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


def key_element(call: Call, name: str, value: str) -> str:
    """Write an element that ``encoding-type=url`` encodes."""
    return element(name, quote(value, safe="-_.~") if wants_encoding(call) else value)


def wants_encoding(call: Call) -> bool:
    """Tell whether names are to come back percent-encoded."""
    kind = call.head.parameter("encoding-type")
    if kind not in (None, "", "url"):
        raise invalid_argument("Invalid Encoding Method specified in Request.", "encoding-type", kind or "")
    return kind == "url"


def initiate(call: Call) -> Answer:
    """Begin a multipart upload."""
    call.store.check_bucket(call.bucket)
    encoding = element("EncodingType", "url") if wants_encoding(call) else ""
    headers = object_headers(call)
    call.body.read_all(call.settings.limits.xml_bytes)
    if forbids_overwrite(call) and call.store.find(call.bucket, call.key) is not None:
        raise Refused("FileAlreadyExists", ec="0042-00000214")
    upload = OpenUpload(
        call.bucket,
        call.key,
        call.store.new_data_id(),
        call.now,
        headers,
        sequential=call.head.parameter("sequential") is not None,
    )
    if call.apply:
        call.store.add_upload(upload)
    inner = (
        encoding
        + element("Bucket", call.bucket)
        + key_element(call, "Key", call.key)
        + element("UploadId", upload.upload_id)
    )
    return xml_answer("InitiateMultipartUploadResult", inner, encryption_echo(headers))


def _part_number(call: Call) -> int:
    text = call.head.parameter("partNumber")
    message = "Part number must be an integer between 1 and 10000, inclusive."
    if text is None:
        raise invalid_argument(message, "PartNumber", "", ec="0017-00000219")
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= 10_000:
        raise invalid_argument(message, "PartNumber", text, ec="0017-00000220")
    return int(text)


def _upload(call: Call, ec: str) -> OpenUpload:
    call.store.check_bucket(call.bucket)
    if not call.upload_id:
        ec = "0017-00000244"
    return call.store.upload(call.bucket, call.key, call.upload_id, ec)


def _check_sequence(upload: OpenUpload, number: int) -> None:
    if upload.sequential and number not in (len(upload.parts), len(upload.parts) + 1):
        raise Refused("PartNotSequential")


def upload_part(call: Call) -> Answer:
    """Store the body as one part; a part of the same number is replaced."""
    number = _part_number(call)
    refuse_misplaced(call, part=True)
    upload = _upload(call, _EC_PART)
    check_length(call, MAX_PART)
    _check_sequence(upload, number)
    with receive(call, MAX_PART) as body:
        if call.apply:
            _check_sequence(upload, number)
            part = call.store.adopt(
                body.file, upload.upload_id, number, body.etag, body.crc64, body.size, call.now
            )
            call.store.add_part(upload, part, _EC_PART)
        return Answer(200, {**body.headers, **encryption_echo(upload.headers)})


def upload_part_copy(call: Call) -> Answer:
    """Make a part of an existing object, or of a range of it."""
    number = _part_number(call)
    refuse_misplaced(call, part=True)
    upload = _upload(call, _EC_COPY)
    _check_sequence(upload, number)
    call.body.read_all(call.settings.limits.xml_bytes)
    match = _COPY_SOURCE.fullmatch(call.head.get("x-oss-copy-source"))
    if match is None:
        raise invalid_argument(
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey.",
            "x-oss-copy-source",
            call.head.get("x-oss-copy-source"),
        )
    with call.store.reading(match[1], unquote(match[2])) as source:
        conditions = {
            name.removeprefix("x-oss-copy-source-"): value
            for name, value in call.head.headers.items()
            if name.startswith("x-oss-copy-source-if-")
        }
        check_conditions(conditions, source)
        first, last, ranged = _copy_range(call, source.size)
        if last - first + 1 > MAX_PART:
            raise Refused("EntityTooLarge")
        temp = call.store.temp_file()
        try:
            etag, crc = _copy(call, source, first, last - first + 1, temp)
            if call.apply:
                part = call.store.adopt(temp, upload.upload_id, number, etag, crc, last - first + 1, call.now)
                call.store.add_part(upload, part, _EC_COPY)
        finally:
            temp.unlink(missing_ok=True)
    headers = {"ETag": f'"{etag}"', "x-oss-hash-crc64ecma": str(crc), **encryption_echo(upload.headers)}
    if ranged:
        headers["Content-Range"] = f"bytes {first}-{last}/{source.size}"
    inner = element("LastModified", xml_date(call.now)) + element("ETag", f'"{etag}"')
    return xml_answer("CopyPartResult", inner, headers)


def _copy_range(call: Call, size: int) -> tuple[int, int, bool]:
    """Read the copy range; a malformed one is ignored and the whole object copied."""
    match = _RANGE.fullmatch(call.head.get("x-oss-copy-source-range"))
    if match is not None and int(match[1]) <= int(match[2]) < size:
        return int(match[1]), int(match[2]), True
    return 0, size - 1, False


def _copy(call: Call, source: StoredObject, first: int, length: int, target: Path) -> tuple[str, int]:
    md5, crc = hashlib.md5(usedforsecurity=False), 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        for piece in read_bytes(call.store, source, first, length):
            md5.update(piece)
            crc = crc64(piece, crc)
            if not call.settings.discard:
                file.write(piece)
    return md5.hexdigest().upper(), crc


def abort(call: Call) -> Answer:
    """Drop an upload and its parts."""
    upload = _upload(call, _EC_ABORT)
    if call.apply:
        call.store.drop_upload(upload, ec=_EC_ABORT)
    return Answer(204)
