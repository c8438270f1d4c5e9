"""CORS: the permissive rule every bucket has, so that pages in a browser can upload (protocol sheet, 9.2)."""

from __future__ import annotations

from ossmp_jupyter.localoss.call import Answer
from ossmp_jupyter.localoss.errors_xml import Refused
from ossmp_jupyter.localoss.request import Head
from ossmp_jupyter.oss.cors import EXPOSED_HEADERS, METHODS

__all__ = ["cors_headers", "preflight"]


def cors_headers(head: Head) -> dict[str, str]:
    """Return what every answer to a page carries, errors included; nothing for other clients."""
    origin = head.headers.get("origin")
    if origin is None:
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": ", ".join(EXPOSED_HEADERS),
        "Vary": "Origin",
    }


def preflight(head: Head) -> Answer:
    """Answer an OPTIONS request.

    Raises
    ------
    Refused
        ``BadRequest`` without Origin or method, ``AccessForbidden`` for a method no rule allows.
    """
    method = head.headers.get("access-control-request-method")
    if "origin" not in head.headers or not method:
        raise Refused("BadRequest")
    if method not in METHODS:
        raise Refused("AccessForbidden")
    headers = {"Access-Control-Allow-Methods": method, "Access-Control-Max-Age": "600"}
    if asked := head.headers.get("access-control-request-headers"):
        headers["Access-Control-Allow-Headers"] = asked
    return Answer(200, headers)
