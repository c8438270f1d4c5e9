"""PutObject, GetObject, HeadObject, DeleteObject."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

from ossmp_jupyter.localoss.call import Answer, Call, element, http_date, xml_answer
from ossmp_jupyter.localoss.callback import Callback, read_callback
from ossmp_jupyter.localoss.config import MAX_OBJECT
from ossmp_jupyter.localoss.errors_xml import Refused
from ossmp_jupyter.localoss.ingest import check_length, receive
from ossmp_jupyter.localoss.model import Segment, StoredObject
from ossmp_jupyter.localoss.store import Store
from ossmp_jupyter.localoss.stored_headers import encryption_echo, object_headers, shown_headers
from ossmp_jupyter.localoss.versioning import keeps_versions, versioned

__all__ = [
    "check_conditions",
    "delete_object",
    "forbids_overwrite",
    "get_acl",
    "get_object",
    "get_tagging",
    "head_object",
    "put_object",
    "read_bytes",
]

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_PIECE = 1 << 20


def forbids_overwrite(call: Call) -> bool:
    """Tell whether the client asked not to replace an existing object."""
    # Where versions are kept nothing is overwritten, and OSS ignores the header (protocol sheet, Initiate).
    return call.head.get("x-oss-forbid-overwrite").lower() == "true" and not keeps_versions(call)


def put_object(call: Call) -> Answer:
    """Store the body as an object."""
    call.store.check_bucket(call.bucket)
    headers = object_headers(call)
    callback = read_callback(call)
    check_length(call, MAX_OBJECT)
    if forbids_overwrite(call) and call.store.find(call.bucket, call.key) is not None:
        raise Refused("FileAlreadyExists", ec="0026-00000002")
    with receive(call, MAX_OBJECT) as body:
        if call.apply:
            data_id = call.store.new_data_id()
            part = call.store.adopt(body.file, data_id, 1, body.etag, body.crc64, body.size, call.now)
            md5 = None if body.md5 is None else base64.b64encode(body.md5).decode("ascii")
            made = StoredObject(
                call.bucket,
                call.key,
                data_id,
                (Segment(part.file, part.size),),
                part.size,
                part.etag,
                part.crc64,
                call.now,
                "Normal",
                headers,
                md5,
            )
            made = versioned(call, made)
            call.store.publish(made, forbid_overwrite=forbids_overwrite(call), ec="0026-00000002")
        version = {"x-oss-version-id": made.version_id} if call.apply and made.version_id else {}
        answer = Answer(200, {**body.headers, **encryption_echo(headers), **version})
        return (
            callback.send(answer, body.etag, body.size, headers) if isinstance(callback, Callback) else answer
        )


def delete_object(call: Call) -> Answer:
    """Remove an object; 204 whether or not it existed."""
    call.store.check_bucket(call.bucket)
    if call.apply:
        call.store.delete_object(call.bucket, call.key)
    return Answer(204)


def head_object(call: Call) -> Answer:
    """Describe an object."""
    with call.store.reading(call.bucket, call.key) as found:
        check_conditions(call.head.headers, found)
        return Answer(200, _headers(found), length=found.size)


def get_tagging(call: Call) -> Answer:
    """Return an object's tags."""
    with call.store.reading(call.bucket, call.key) as found:
        text = found.headers.get("x-oss-tagging", "")
    tags = ""
    for pair in filter(None, text.split("&")):
        name, _, value = pair.partition("=")
        tags += f"<Tag>{element('Key', unquote(name))}{element('Value', unquote(value))}</Tag>"
    return xml_answer("Tagging", f"<TagSet>{tags}</TagSet>")


def get_acl(call: Call) -> Answer:
    """Return an object's access control."""
    with call.store.reading(call.bucket, call.key) as found:
        grant = found.headers.get("x-oss-object-acl", "default")
    owner = "<Owner>" + element("ID", "0") + element("DisplayName", "0") + "</Owner>"
    return xml_answer(
        "AccessControlPolicy",
        f"{owner}<AccessControlList>{element('Grant', grant)}</AccessControlList>",
    )


def get_object(call: Call) -> Answer:
    """Return an object or a range of it."""
    found = call.held.enter_context(call.store.reading(call.bucket, call.key))
    check_conditions(call.head.headers, found)
    headers = _headers(found)
    for name, value in call.head.query:
        if name.startswith("response-"):
            headers[name.removeprefix("response-").title()] = value
    asked = _byte_range(call, found.size)
    first, last = asked or (0, found.size - 1)
    if asked:
        headers["Content-Range"] = f"bytes {first}-{last}/{found.size}"
    length = last - first + 1
    stream = read_bytes(call.store, found, first, length)
    return Answer(206 if asked else 200, headers, stream=stream, length=length)


def read_bytes(store: Store, found: StoredObject, first: int, length: int) -> Iterator[bytes]:
    """Read a range of an object over its segments; bytes that were discarded come back as zeros."""
    position = 0
    for segment in found.segments:
        skip = max(0, first - position)
        take = min(segment.size - skip, length)
        position += segment.size
        if take <= 0:
            continue
        length -= take
        with store.path(found.data_id, segment).open("rb") as file:
            file.seek(skip)
            while take > 0:
                piece = file.read(min(_PIECE, take)) or bytes(min(_PIECE, take))
                take -= len(piece)
                yield piece
        if length <= 0:
            return


def _byte_range(call: Call, size: int) -> tuple[int, int] | None:
    """Read ``Range``. OSS ignores a bad one, unless told ``x-oss-range-behavior: standard``."""
    text = call.head.headers.get("range")
    if text is None:
        return None
    strict = call.head.get("x-oss-range-behavior") == "standard"
    match = _RANGE.fullmatch(text.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        first, last = max(0, size - int(match[2])), size - 1
    else:
        first, last = int(match[1]), int(match[2] or size - 1)
    if strict:
        last = min(last, size - 1)
    if first >= size or last >= size or last < first:
        if strict and first >= size:
            raise Refused("InvalidRange", headers={"Content-Range": f"bytes */{size}"})
        return None
    return first, last


def _headers(found: StoredObject) -> dict[str, str]:
    headers = {
        **shown_headers(found.headers),
        "ETag": f'"{found.etag}"',
        "Last-Modified": http_date(found.modified),
        "Accept-Ranges": "bytes",
        "x-oss-object-type": found.type,
    }
    if found.crc64 is not None:
        headers["x-oss-hash-crc64ecma"] = str(found.crc64)
    if found.version_id is not None:
        headers["x-oss-version-id"] = found.version_id
    if found.content_md5 is not None:
        headers["Content-MD5"] = found.content_md5
    return headers


def _etags(text: str) -> set[str]:
    return {item.strip().removeprefix("W/").strip('"') for item in text.split(",")}


def _when(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def check_conditions(headers: Mapping[str, str], found: StoredObject) -> None:
    """Check ``If-Match`` and its kin (names in lower case) against an object.

    Raises
    ------
    Refused
        ``PreconditionFailed`` (412) or ``NotModified`` (304).
    """
    modified = int(found.modified)
    if (text := headers.get("if-match")) is not None and not _etags(text) & {found.etag, "*"}:
        raise Refused("PreconditionFailed", extra={"Condition": "If-Match"})
    if (text := headers.get("if-unmodified-since")) and (when := _when(text)) is not None and modified > when:
        raise Refused("PreconditionFailed", extra={"Condition": "If-Unmodified-Since"})
    not_modified = Refused(
        "NotModified", headers={"ETag": f'"{found.etag}"', "Last-Modified": http_date(modified)}
    )
    if (text := headers.get("if-none-match")) is not None:
        if _etags(text) & {found.etag, "*"}:
            raise not_modified
    elif (
        (text := headers.get("if-modified-since")) and (when := _when(text)) is not None and modified <= when
    ):
        raise not_modified
