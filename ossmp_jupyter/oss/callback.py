"""The upload callback: what OSS calls once the object is stored, in ali-oss's form."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from ossmp_jupyter.errors import InputError

__all__ = ["encode_callback"]

_MEMBERS = ("url", "host", "body", "contentType", "customValue", "callbackSNI")
_TYPES = ("application/x-www-form-urlencoded", "application/json")
MAX_BYTES = 5 * 1024


def encode_callback(callback: Mapping[str, Any]) -> dict[str, str]:
    """Make the callback headers.

    Parameters
    ----------
    callback : mapping
        ``url`` (up to five, with ``;`` between them) and ``body``; optionally ``host``, ``contentType``,
        ``customValue`` (sent as the variables ``x:name``) and ``callbackSNI``.

    Returns
    -------
    dict of str to str
        ``x-oss-callback`` and, with custom values, ``x-oss-callback-var``.

    Raises
    ------
    InputError
        If a member is missing, unknown or not possible.

    Examples
    --------
    >>> headers = encode_callback({"url": "http://app.example.com/done", "body": "key=${object}"})
    >>> base64.b64decode(headers["x-oss-callback"]).decode()
    '{"callbackUrl":"http://app.example.com/done","callbackBody":"key=${object}"}'
    """
    if not isinstance(callback, Mapping):
        raise InputError("the callback is not a dict", hint="give {'url': ..., 'body': ...}")
    unknown = sorted(set(callback) - set(_MEMBERS), key=str)
    if unknown:
        raise InputError(f"the callback has no member {unknown[0]!r}", hint=f"it has {', '.join(_MEMBERS)}")
    members: dict[str, Any] = {"callbackUrl": _urls(callback.get("url"))}
    if callback.get("host"):
        members["callbackHost"] = str(callback["host"])
    body = callback.get("body")
    if not isinstance(body, str) or not body:
        raise InputError(
            "the callback has no body", hint="give a template such as 'key=${object}&size=${size}'"
        )
    members["callbackBody"] = body
    if callback.get("contentType"):
        if callback["contentType"] not in _TYPES:
            raise InputError("the callback's contentType is not possible", hint=f"give {' or '.join(_TYPES)}")
        members["callbackBodyType"] = callback["contentType"]
    if callback.get("callbackSNI") is not None:
        members["callbackSNI"] = bool(callback["callbackSNI"])
    headers = {"x-oss-callback": _encode(members)}
    if callback.get("customValue"):
        headers["x-oss-callback-var"] = _encode(_variables(callback["customValue"]))
    return headers


def _urls(value: object) -> str:
    urls = [url.strip() for url in value.split(";")] if isinstance(value, str) else []
    if not urls or not all(urls):
        raise InputError("the callback has no url", hint="give the address of your application's server")
    if len(urls) > 5:
        raise InputError(f"the callback has {len(urls)} urls", hint="OSS tries at most five")
    for url in urls:
        scheme, host = (urlsplit(url).scheme, urlsplit(url).netloc) if "://" in url else ("http", url)
        if scheme not in {"http", "https"} or not host:
            raise InputError("a callback url is not an http or https address", hint="write http://host/path")
    # What is percent-encoded already stays as it is.
    return ";".join(quote(url, safe="/?:@&=+$,-_.!~*'()#%[]") for url in urls)


def _variables(values: object) -> dict[str, str]:
    if not isinstance(values, Mapping):
        raise InputError("the callback's customValue is not a dict", hint="give names and values")
    variables = {}
    for name, value in values.items():
        plain = str(name).removeprefix("x:")
        if not plain or plain != plain.lower():
            raise InputError(
                f"the callback variable {name!r} is not lower case", hint="OSS wants lower-case names"
            )
        text = value if isinstance(value, str) else json.dumps(value)
        variables[f"x:{plain}"] = text
    return variables


def _encode(document: Mapping[str, Any]) -> str:
    text = base64.b64encode(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()).decode()
    if len(text) > MAX_BYTES:
        raise InputError("the callback is longer than 5 KB", hint="shorten its body or its custom values")
    return text
