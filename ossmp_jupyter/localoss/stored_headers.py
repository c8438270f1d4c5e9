"""Which request headers an object keeps, and which are refused on which call (protocol sheet, 3.10)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from ossmp_jupyter.localoss.call import Call
from ossmp_jupyter.localoss.errors_xml import Refused, invalid_argument

__all__ = ["encryption_echo", "object_headers", "refuse_misplaced", "shown_headers", "storage_class"]

_CONTENT = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
)
_STORAGE_CLASSES = ("Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive")
_SSE = "x-oss-server-side-encryption"
_SSE_HEADERS = (_SSE, "x-oss-server-side-encryption-key-id", "x-oss-server-side-data-encryption")
_META = "x-oss-meta-"
_ACLS = ("private", "public-read", "public-read-write", "default")
_UNSUPPORTED = ("if-modified-since", "if-unmodified-since", "if-match", "if-none-match")


def object_headers(call: Call) -> dict[str, str]:
    """Return what PutObject and InitiateMultipartUpload store; refuse values OSS does not take."""
    head = call.head
    for name in _UNSUPPORTED:
        if name in head.headers:
            raise Refused("NotImplemented", extra={"Header": name.title()})
    kept = {name: head.headers[name] for name in _CONTENT if name in head.headers}
    kept.setdefault("content-type", "application/octet-stream")
    meta = {name: value for name, value in head.headers.items() if name.startswith(_META)}
    if sum(len(name) - len(_META) + len(value) for name, value in meta.items()) > 8192:
        raise invalid_argument("The user metadata is larger than 8 KB.", "x-oss-meta", "")
    kept.update(meta)
    if (storage := head.headers.get("x-oss-storage-class")) is not None:
        if storage not in _STORAGE_CLASSES:
            raise invalid_argument("The storage class is not valid.", "x-oss-storage-class", storage)
        kept["x-oss-storage-class"] = storage
    if head.headers.get(_SSE, "AES256") not in ("AES256", "KMS", "SM4"):
        raise Refused("InvalidEncryptionAlgorithmError")
    kept.update({name: head.headers[name] for name in _SSE_HEADERS if name in head.headers})
    if tagging := head.headers.get("x-oss-tagging"):
        kept["x-oss-tagging"] = _checked_tags(tagging)
    if (acl := head.headers.get("x-oss-object-acl")) is not None:
        if acl not in _ACLS:
            raise invalid_argument("no such object access control exists", "x-oss-object-acl", acl)
        kept["x-oss-object-acl"] = acl
    return kept


def _checked_tags(text: str) -> str:
    tags = [tuple(unquote(side) for side in pair.partition("=")[::2]) for pair in text.split("&")]
    names = [name for name, _ in tags]
    if len(tags) > 10 or len(set(names)) != len(names):
        raise invalid_argument("The tags are more than 10 or not unique.", "x-oss-tagging", text)
    if any(not name or len(name) > 128 or len(value) > 256 for name, value in tags):
        raise invalid_argument("A tag's key or value is not valid.", "x-oss-tagging", text)
    return text


def refuse_misplaced(call: Call, *, part: bool) -> None:
    """Refuse what only InitiateMultipartUpload may say; the rest is tolerated, as ali-oss repeats it."""
    if "x-oss-storage-class" in call.head.headers:
        if part:
            value = call.head.get("x-oss-storage-class")
            raise invalid_argument(
                "The storage class header is not supported by this operation.",
                "x-oss-storage-class",
                value,
                ec="0042-00000101",
            )
        raise Refused("OperationNotSupported", ec="0042-00000202")
    if _SSE in call.head.headers:
        raise invalid_argument(
            "The encryption header is not supported by this operation.", _SSE, call.head.get(_SSE)
        )


def encryption_echo(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the encryption headers every answer about this object repeats."""
    return {name: headers[name] for name in _SSE_HEADERS if name in headers}


def storage_class(headers: Mapping[str, str]) -> str:
    """Return the storage class of stored headers."""
    return headers.get("x-oss-storage-class", "Standard")


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what HEAD and GET show of the stored headers."""
    shown = {name.title() if name in _CONTENT else name: value for name, value in headers.items()}
    tags = shown.pop("x-oss-tagging", None)
    shown.pop("x-oss-object-acl", None)
    if tags:
        shown["x-oss-tagging-count"] = str(tags.count("&") + 1)
    shown["x-oss-storage-class"] = storage_class(headers)
    return shown
