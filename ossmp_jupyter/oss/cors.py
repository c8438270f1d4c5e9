"""The CORS rule that a bucket needs before pages in a browser may upload to it."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from ossmp_jupyter.errors import InputError

__all__ = ["EXPOSED_HEADERS", "METHODS", "cors_advice", "cors_document"]

METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD")
EXPOSED_HEADERS = (
    "ETag",
    "x-oss-request-id",
    "x-oss-hash-crc64ecma",
    "x-oss-version-id",
    "x-oss-next-append-position",
    "x-oss-server-side-encryption",
    "x-oss-ec",
    "x-oss-err",
    "Date",
)
"""Without ETag a page cannot complete an upload; OSS allows no ``*`` here."""


def cors_document(origins: Sequence[str] = ("*",)) -> str:
    """Write the rule as PutBucketCors takes it (``ossutil cors --method put``, any SDK).

    Parameters
    ----------
    origins : sequence of str
        Where the pages come from, such as ``https://hub.example.com``; ``*`` for any.

    Raises
    ------
    InputError
        If an origin is not one: scheme and host, no path; at most one ``*``.

    Examples
    --------
    >>> print(cors_document(["https://hub.example.com"]).splitlines()[2].strip())
    <AllowedOrigin>https://hub.example.com</AllowedOrigin>
    """
    lines = [("AllowedOrigin", _checked(origin)) for origin in origins]
    lines += [("AllowedMethod", method) for method in METHODS]
    lines += [("AllowedHeader", "*")]
    lines += [("ExposeHeader", name) for name in EXPOSED_HEADERS]
    lines += [("MaxAgeSeconds", "600")]
    inner = "\n".join(f"    <{name}>{escape(value)}</{name}>" for name, value in lines)
    return f"<CORSConfiguration>\n  <CORSRule>\n{inner}\n  </CORSRule>\n</CORSConfiguration>"


def cors_advice(origins: Sequence[str] = ("*",), *, bucket: str | None = None) -> str:
    """Say how to set the rule, for people: the fields of the console, then the document.

    Examples
    --------
    >>> cors_advice(bucket="my-data").splitlines()[2]
    'Sources: *'
    """
    where = f"bucket {bucket}" if bucket else "the bucket"
    return "\n".join(
        (
            "Uploads from this kernel need no CORS rule; pages that upload by themselves do.",
            f"OSS console, {where}, Content Security > CORS > Create Rule:",
            f"Sources: {' '.join(origins)}",
            f"Allowed Methods: {', '.join(METHODS)}",
            "Allowed Headers: *",
            f"Exposed Headers: {', '.join(EXPOSED_HEADERS)}",
            "Cache Timeout: 600",
            "",
            "The same as a document for ossutil or an SDK (PutBucketCors; it replaces all rules there are):",
            cors_document(origins),
        )
    )


def _checked(origin: str) -> str:
    parts = urlsplit(origin.replace("*", "x"))
    whole = parts.scheme in {"http", "https"} and parts.netloc and not (parts.path or parts.query)
    if origin != "*" and (not whole or origin.count("*") > 1):
        raise InputError(
            f"{origin!r} is not an origin", hint="write scheme and host, such as https://hub.example.com"
        )
    return origin
