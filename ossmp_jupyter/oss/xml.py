"""The XML of OSS, both ways.

Readers are lenient, as a client has to be: namespaces are tolerated, missing elements have their
defaults, names come decoded when the answer says ``EncodingType`` ``url``. What is not the expected
document at all is :class:`~ossmp_jupyter.errors.NotOSS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import unquote
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from ossmp_jupyter.errors import NotOSS
from ossmp_jupyter.oss.messages import (
    BucketPage,
    ObjectInfo,
    PartInfo,
    PartsPage,
    UploadInfo,
    UploadsPage,
)

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = [
    "MAX_XML_BYTES",
    "XmlNode",
    "parse_error",
    "parse_xml",
    "read_complete",
    "read_copy_part",
    "read_initiate",
    "read_number",
    "read_objects_page",
    "read_parts_page",
    "read_tree",
    "read_uploads_page",
    "unquote_etag",
    "write_bucket_configuration",
    "write_complete_request",
]

_MOST_PARTS = 10_000
_LONGEST_ID = 1024  # characters of an upload ID or ETag; OSS's have some 40
_MOST_SIGNS = 100_000  # the longest document of all, Complete's, has 60,000 tags
MAX_XML_BYTES = 10 * 1024 * 1024
_NOT_OSS = "check that the endpoint is OSS's own, and that no login page or proxy is in the way"


def unquote_etag(etag: str) -> str:
    """Take the quotes off an ETag.

    Examples
    --------
    >>> unquote_etag('"ABC"'), unquote_etag("ABC")
    ('ABC', 'ABC')
    """
    return etag.strip().removeprefix("W/").strip('"')


def read_number(text: str) -> int | None:
    """A whole number of at most 20 digits, as servers write them; None for anything else.

    Examples
    --------
    >>> read_number(" 42 "), read_number("-1"), read_number("9" * 5000)
    (42, None, None)
    """
    return int(text) if re.fullmatch(r"\s*[0-9]{1,20}\s*", text) else None


class XmlNode:
    """A view of an element that does not care about namespaces and missing children.

    Examples
    --------
    >>> node = parse_xml(b'<R xmlns="http://x"><A>1</A><B/></R>', "R")
    >>> node.text("A"), node.number("A"), node.text("B"), node.text("C", "none")
    ('1', 1, '', 'none')
    """

    __slots__ = ("_element", "_encoded")

    def __init__(self, element: Element, encoded: bool = False) -> None:
        self._element = element
        self._encoded = encoded

    @property
    def tag(self) -> str:
        """The element's name without namespace."""
        return self._element.tag.rpartition("}")[2]

    def children(self, name: str) -> list[XmlNode]:
        """All children of this name."""
        nodes = (XmlNode(child, self._encoded) for child in self._element)
        return [node for node in nodes if node.tag == name]

    def text(self, name: str, default: str = "") -> str:
        """The text of the first child of this name."""
        for node in self.children(name):
            return node._element.text or ""
        return default

    def name(self, name: str) -> str:
        """Like :meth:`text`, for keys and prefixes: decoded where the answer is URL-encoded."""
        text = self.text(name)
        return unquote(text) if self._encoded else text

    def number(self, name: str, default: int = 0) -> int:
        """The child as a number."""
        found = read_number(self.text(name))
        return default if found is None else found

    def optional_number(self, name: str) -> int | None:
        """The child as a number, None where it is missing."""
        return read_number(self.text(name))

    def flag(self, name: str) -> bool:
        """The child as true or false."""
        return self.text(name).strip().lower() == "true"

    def time(self, name: str) -> datetime | None:
        """The child as a time, None where it is missing or unreadable."""
        try:
            moment = datetime.fromisoformat(self.text(name).strip())
        except ValueError:
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_tree(data: bytes) -> Element:
    """Parse XML that nobody vouches for: no DTD, nothing but UTF-8, and no more of it than memory bears.

    A tag of three bytes becomes an element of two hundred.

    Raises
    ------
    ValueError
        And what the parser raises, if it is none.
    """
    if data.count(b"<") > _MOST_SIGNS or data.count(b'"') + data.count(b"'") > _MOST_SIGNS:
        raise ValueError("more elements or attributes than any answer of OSS has")
    parser = DefusedXMLParser(encoding="utf-8", forbid_dtd=True)
    parser.feed(data)
    root: Element = parser.close()
    return root


def parse_xml(data: bytes, *roots: str) -> XmlNode:
    """Parse an answer whose root element must be one of ``roots``.

    Raises
    ------
    NotOSS
        If it is not XML, has another root, or is larger than 10 MB.
    """
    if len(data) > MAX_XML_BYTES:
        raise NotOSS("the answer has more than 10 MB of XML, which OSS never sends")
    try:
        root = read_tree(data)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise NotOSS(
            f"the answer is not XML, let alone the {roots[0]} that was asked for", hint=_NOT_OSS
        ) from error
    node = XmlNode(root)
    if node.tag not in roots:
        raise NotOSS(f"the answer is a {node.tag[:40]!r} document instead of {roots[0]!r}", hint=_NOT_OSS)
    return XmlNode(root, node.text("EncodingType").strip().lower() == "url")


def parse_error(data: bytes) -> dict[str, str] | None:
    """Read the members of an ``Error`` document; None if the data is not one.

    Examples
    --------
    >>> parse_error(b"<Error><Code>NoSuchKey</Code><Key>a</Key></Error>")
    {'Code': 'NoSuchKey', 'Key': 'a'}
    >>> parse_error(b"<html>")
    """
    try:
        root = read_tree(data)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return None
    if XmlNode(root).tag != "Error":
        return None
    return {XmlNode(child).tag: child.text or "" for child in root}


def read_initiate(data: bytes) -> tuple[str, str, str]:
    """Bucket, key and upload ID of an InitiateMultipartUploadResult."""
    node = parse_xml(data, "InitiateMultipartUploadResult")
    upload_id = node.text("UploadId").strip()
    if not 0 < len(upload_id) <= _LONGEST_ID:
        raise NotOSS("the answer to InitiateMultipartUpload holds no upload ID", hint=_NOT_OSS)
    return node.text("Bucket"), node.name("Key"), upload_id


def read_complete(data: bytes) -> tuple[str, str, str, str]:
    """Bucket, key, ETag and location of a CompleteMultipartUploadResult."""
    node = parse_xml(data, "CompleteMultipartUploadResult")
    return node.text("Bucket"), node.name("Key"), unquote_etag(node.text("ETag")), node.text("Location")


def read_copy_part(data: bytes) -> tuple[str, datetime | None]:
    """ETag and time of a CopyPartResult."""
    node = parse_xml(data, "CopyPartResult")
    etag = unquote_etag(node.text("ETag"))
    if len(etag) > _LONGEST_ID:
        raise NotOSS("the answer to UploadPartCopy has no ETag", hint=_NOT_OSS)
    return etag, node.time("LastModified")


def read_uploads_page(data: bytes) -> UploadsPage:
    """Read a ListMultipartUploadsResult."""
    node = parse_xml(data, "ListMultipartUploadsResult")
    uploads = tuple(
        UploadInfo(
            key=upload.name("Key"),
            upload_id=upload.text("UploadId"),
            initiated=upload.time("Initiated"),
            storage_class=upload.text("StorageClass") or "Standard",
        )
        for upload in node.children("Upload")
    )
    return UploadsPage(
        bucket=node.text("Bucket"),
        uploads=uploads,
        common_prefixes=_common_prefixes(node),
        is_truncated=node.flag("IsTruncated"),
        prefix=node.name("Prefix"),
        delimiter=node.name("Delimiter"),
        key_marker=node.name("KeyMarker"),
        upload_id_marker=node.text("UploadIdMarker"),
        next_key_marker=node.name("NextKeyMarker"),
        next_upload_id_marker=node.text("NextUploadIdMarker"),
        max_uploads=node.number("MaxUploads", 1000),
    )


def _common_prefixes(node: XmlNode) -> tuple[str, ...]:
    return tuple(group.name("Prefix") for group in node.children("CommonPrefixes"))


def read_parts_page(data: bytes, after: int = 0) -> PartsPage:
    """Read a ListPartsResult with the parts that come after number ``after``.

    Raises
    ------
    NotOSS
        If it is none, or its parts are not in order: so no list of parts is longer than 10,000, or endless.
    """
    node = parse_xml(data, "ListPartsResult")
    parts = tuple(
        PartInfo(
            part_number=part.number("PartNumber"),
            etag=unquote_etag(part.text("ETag")),
            size=part.number("Size"),
            crc64=part.optional_number("HashCrc64ecma"),
            last_modified=part.time("LastModified"),
        )
        for part in node.children("Part")
    )
    ends = [node.number("NextPartNumberMarker") + 1] if node.flag("IsTruncated") else [_MOST_PARTS + 1]
    numbers = [after, *(part.part_number for part in parts), *ends]
    if numbers[-1] > _MOST_PARTS + 1 or any(one >= other for one, other in pairwise(numbers)):
        raise NotOSS("the answer lists parts that are not in order of their numbers", hint=_NOT_OSS)
    return PartsPage(
        bucket=node.text("Bucket"),
        key=node.name("Key"),
        upload_id=node.text("UploadId"),
        parts=parts,
        is_truncated=node.flag("IsTruncated"),
        part_number_marker=node.number("PartNumberMarker"),
        next_part_number_marker=node.number("NextPartNumberMarker"),
        max_parts=node.number("MaxParts", 1000),
        storage_class=node.text("StorageClass") or "Standard",
    )


def read_objects_page(data: bytes) -> BucketPage:
    """Read a ListBucketResult of ListObjectsV2."""
    node = parse_xml(data, "ListBucketResult")
    objects = tuple(
        ObjectInfo(
            key=entry.name("Key"),
            size=entry.number("Size"),
            etag=unquote_etag(entry.text("ETag")),
            last_modified=entry.time("LastModified"),
            type=entry.text("Type") or "Normal",
            storage_class=entry.text("StorageClass") or "Standard",
        )
        for entry in node.children("Contents")
    )
    return BucketPage(
        bucket=node.text("Name"),
        objects=objects,
        common_prefixes=_common_prefixes(node),
        is_truncated=node.flag("IsTruncated"),
        next_continuation_token=node.text("NextContinuationToken"),
        prefix=node.name("Prefix"),
        delimiter=node.name("Delimiter"),
    )


def write_complete_request(parts: Iterable[tuple[int, str]]) -> bytes:
    """Write the part list of CompleteMultipartUpload, in ascending order of numbers.

    Examples
    --------
    >>> write_complete_request([(1, "ABC")]).decode()
    '<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"ABC"</ETag></Part></CompleteMultipartUpload>'
    """
    items = (
        f'<Part><PartNumber>{number}</PartNumber><ETag>"{escape(unquote_etag(etag))}"</ETag></Part>'
        for number, etag in sorted(parts)
    )
    return f"<CompleteMultipartUpload>{''.join(items)}</CompleteMultipartUpload>".encode()


def write_bucket_configuration(storage_class: str) -> bytes:
    """Write the body of PutBucket."""
    inner = f"<StorageClass>{escape(storage_class)}</StorageClass>"
    return f"<CreateBucketConfiguration>{inner}</CreateBucketConfiguration>".encode()
