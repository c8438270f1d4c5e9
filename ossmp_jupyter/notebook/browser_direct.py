"""Parts that the browser sends itself: what its answers mean, and what to do where it gets none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from ossmp_jupyter.errors import InputError, TransportError
from ossmp_jupyter.notebook.courier import Answer
from ossmp_jupyter.oss._answers import Asked, error_of
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.oss.cors import cors_advice
from ossmp_jupyter.transfer.lanes import make_http_client
from ossmp_jupyter.transfer.remote import SentPart

__all__ = ["CorsMissing", "read_answer"]


class CorsMissing(InputError):
    """The bucket's CORS rules do not let this page upload."""


async def read_answer(answer: Answer, url: str, connection: Connection, origin: str) -> SentPart:
    """Turn what the browser says of a part into the part, or into an error.

    Raises
    ------
    CorsMissing
        With the rule to paste.
    ServerError
        OSS's own error.
    TransportError
        The browser got no answer though the bucket would allow it.
    """
    content, host = answer.content, urlsplit(url).hostname or ""
    if "net" in content:
        raise await _no_answer(content, url, connection, origin)
    status, body = int(content.get("status") or 0), str(content.get("body") or "")
    if not 200 <= status < 300:
        headers = httpx.Headers({"x-oss-request-id": str(content.get("request") or "")})
        asked = Asked("UploadPart", urlsplit(url).path, host, region=connection.endpoint.region)
        raise error_of(asked, status, headers, body.encode())
    if not content.get("etag"):
        raise _missing("does not show the ETag header to pages", connection, url, origin)
    theirs = content.get("theirs")
    return SentPart(
        str(content["etag"]).strip('"').upper(),
        int(str(content.get("crc")), 16),
        int(theirs) if theirs else None,
        str(content.get("request") or ""),
    )


async def _no_answer(
    content: Mapping[str, Any], url: str, connection: Connection, origin: str
) -> CorsMissing | TransportError | InputError:
    """A page cannot tell a missing CORS rule from a dead line; the kernel asks as a browser would."""
    parts = urlsplit(url)
    if origin.startswith("https:") and parts.scheme == "http":
        return InputError(
            f"a page of {origin} may not send to {parts.scheme}://{parts.netloc}",
            hint="connect to OSS by https, or upload through the kernel",
        )
    plain = f"{parts.scheme}://{parts.netloc}{parts.path}"
    asked = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    try:
        async with make_http_client(connection, verify=connection.ca_file or True) as http:
            reply = await http.options(plain, headers=asked)
    except httpx.HTTPError:
        return TransportError(f"neither the browser nor the kernel reaches {parts.netloc}")
    if reply.status_code >= 400 or "access-control-allow-origin" not in reply.headers:
        return _missing("has no CORS rule that lets pages upload", connection, url, origin)
    return TransportError(
        f"the browser got no answer from {parts.netloc} ({content['net']})",
        hint="its line is down, or the endpoint is an internal one: upload through the kernel",
    )


def _missing(what: str, connection: Connection, url: str, origin: str) -> CorsMissing:
    bucket = connection.bucket
    advice = cors_advice([origin or "*"], bucket=bucket)
    return CorsMissing(
        f"bucket {bucket or urlsplit(url).hostname} {what}",
        hint=f"paste this rule, or upload through the kernel.\n{advice}",
    )
