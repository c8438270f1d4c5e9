"""CompleteMultipartUpload: check the list against the parts, publish them as one object."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from itertools import pairwise
from xml.etree.ElementTree import ParseError

from ossmp_jupyter.localoss.call import Answer, Call, element, xml_answer
from ossmp_jupyter.localoss.callback import Callback, read_callback
from ossmp_jupyter.localoss.config import MIN_PART
from ossmp_jupyter.localoss.errors_xml import Refused, invalid_argument
from ossmp_jupyter.localoss.model import (
    OpenUpload,
    Segment,
    StoredObject,
    StoredPart,
    combined_crc,
    combined_etag,
)
from ossmp_jupyter.localoss.multipart import key_element, wants_encoding
from ossmp_jupyter.localoss.objects import forbids_overwrite, read_bytes
from ossmp_jupyter.localoss.stored_headers import encryption_echo, refuse_misplaced
from ossmp_jupyter.localoss.versioning import versioned

__all__ = ["complete"]

_EC_UPLOAD = "0042-00000203"
_EC_EXISTS = "0042-00000214"


@dataclass(frozen=True, slots=True)
class Listed:
    """One part as the client's list names it."""

    number: int
    etag: str


def complete(call: Call) -> Answer:
    """Publish the listed parts as one object."""
    call.store.check_bucket(call.bucket)
    refuse_misplaced(call, part=False)
    callback = read_callback(call)
    document = call.body.read_all(call.settings.limits.xml_bytes, "MalformedXML")
    _check_digest(call, document)
    upload = call.store.upload(call.bucket, call.key, call.upload_id, _EC_UPLOAD)
    with upload.lock:
        upload = call.store.upload(call.bucket, call.key, call.upload_id, _EC_UPLOAD)
        parts = _chosen_parts(call, upload, document)
        if forbids_overwrite(call) and call.store.find(call.bucket, call.key) is not None:
            raise Refused("FileAlreadyExists", ec=_EC_EXISTS)
        made = versioned(call, _assemble(call, upload, parts))
        if call.apply:
            call.store.finish_upload(
                upload, made, forbid_overwrite=forbids_overwrite(call), ec=_EC_UPLOAD, overwrite_ec=_EC_EXISTS
            )
    answer = _answer(call, made)
    return (
        callback.send(answer, made.etag, made.size, made.headers)
        if isinstance(callback, Callback)
        else answer
    )


def _answer(call: Call, made: StoredObject) -> Answer:
    headers = {"ETag": f'"{made.etag}"', **encryption_echo(made.headers)}
    if made.crc64 is not None:
        headers["x-oss-hash-crc64ecma"] = str(made.crc64)
    if made.version_id is not None:
        headers["x-oss-version-id"] = made.version_id
    encoding = element("EncodingType", "url") if wants_encoding(call) else ""
    inner = (
        encoding
        + element(
            "Location", f"http://{call.host}/{'' if call.virtual_host else call.bucket + '/'}{call.key}"
        )
        + element("Bucket", call.bucket)
        + key_element(call, "Key", call.key)
        + element("ETag", f'"{made.etag}"')
    )
    return xml_answer("CompleteMultipartUploadResult", inner, headers)


def _check_digest(call: Call, document: bytes) -> None:
    text = call.head.headers.get("content-md5")
    if text is None:
        return
    try:
        wanted = base64.b64decode(text, validate=True)
    except binascii.Error:
        wanted = b""
    if len(wanted) != 16:
        raise Refused("InvalidDigest", ec="0017-00000502")
    if hashlib.md5(document, usedforsecurity=False).digest() != wanted:
        raise Refused("InvalidDigest")


def _chosen_parts(call: Call, upload: OpenUpload, document: bytes) -> tuple[StoredPart, ...]:
    everything = call.head.headers.get("x-oss-complete-all")
    if everything is not None:
        if everything.lower() != "yes":
            raise invalid_argument(
                "The value of x-oss-complete-all must be yes.", "x-oss-complete-all", everything
            )
        if document:
            raise invalid_argument(
                "Should not speficy both complete all header and http body.", ec="0042-00000216"
            )
        parts = tuple(part for _, part in sorted(upload.parts.items()))
        if not parts:
            raise Refused("MalformedXML")
    else:
        parts = tuple(_match(upload, listed) for listed in _read_list(document))
    for part in parts[:-1]:
        if part.size < MIN_PART:
            raise Refused("EntityTooSmall", extra={"PartNumber": str(part.number), "ETag": f'"{part.etag}"'})
    return parts


def _match(upload: OpenUpload, listed: Listed) -> StoredPart:
    part = upload.parts.get(listed.number)
    if part is None or part.etag != listed.etag.strip().strip('"').upper():
        extra = {"ETag": listed.etag, "PartNumber": str(listed.number), "UploadId": upload.upload_id}
        raise Refused("InvalidPart", extra=extra)
    return part


def _read_list(document: bytes) -> list[Listed]:
    from defusedxml import DefusedXmlException

    from ossmp_jupyter.oss.xml import read_tree

    malformed = Refused("MalformedXML")
    try:
        root = read_tree(document)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        raise malformed from None
    if root.tag.rpartition("}")[2] != "CompleteMultipartUpload":
        raise malformed
    listed: list[Listed] = []
    for item in root:
        fields = {child.tag.rpartition("}")[2]: (child.text or "") for child in item}
        number = fields.get("PartNumber", "").strip()
        if item.tag.rpartition("}")[2] != "Part" or not number.isascii() or not number.isdecimal():
            raise malformed
        if len(number) > 9 or not 1 <= int(number) <= 10_000:
            raise Refused(
                "InvalidPartOrder", "Part number must be an integer between 1 and 10000, inclusive."
            )
        if "ETag" not in fields:
            raise malformed
        listed.append(Listed(int(number), fields["ETag"]))
    if not listed:
        raise malformed
    if any(later.number <= earlier.number for earlier, later in pairwise(listed)):
        raise Refused("InvalidPartOrder")
    return listed


def _assemble(call: Call, upload: OpenUpload, parts: tuple[StoredPart, ...]) -> StoredObject:
    headers = dict(upload.headers)
    if (acl := call.head.headers.get("x-oss-object-acl")) is not None:
        if acl not in ("private", "public-read", "public-read-write", "default"):
            raise invalid_argument("no such object access control exists", "x-oss-object-acl", acl)
        headers["x-oss-object-acl"] = acl
    made = StoredObject(
        upload.bucket,
        upload.key,
        upload.upload_id,
        tuple(Segment(part.file, part.size) for part in parts),
        sum(part.size for part in parts),
        combined_etag(parts),
        combined_crc(parts),
        call.now,
        "Multipart",
        headers,
    )
    if not upload.sequential:
        return made
    md5 = hashlib.md5(usedforsecurity=False)
    for piece in read_bytes(call.store, made, 0, made.size):
        md5.update(piece)
    return StoredObject.from_json(
        {**made.to_json(), "content_md5": base64.b64encode(md5.digest()).decode("ascii")}
    )
