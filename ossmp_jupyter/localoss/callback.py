"""The upload callback: told in headers or query, sent after the object is stored (sheet, section 5)."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from ossmp_jupyter.localoss.call import Answer, Call
from ossmp_jupyter.localoss.errors_xml import Refused, error_xml, invalid_argument

__all__ = ["Callback", "read_callback"]

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_FORM, _JSON = "application/x-www-form-urlencoded", "application/json"
_TIMEOUT = 5.0
_LARGEST_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class Callback:
    """One callback that was checked and will be sent once the object is stored."""

    call: Call
    urls: tuple[str, ...]
    host: str
    body: str
    body_type: str
    variables: Mapping[str, str]
    sni: bool = False

    def send(self, answer: Answer, etag: str, size: int, headers: Mapping[str, str]) -> Answer:
        """Send the callback; the application's JSON becomes our answer's body, or 203 says it failed."""
        if not self.call.apply:
            return answer
        values = {
            "bucket": self.call.bucket,
            "object": self.call.key,
            "etag": etag,
            "size": size,
            "mimeType": headers.get("content-type", ""),
            "imageInfo.height": "",
            "imageInfo.width": "",
            "imageInfo.format": "",
            **self.variables,
        }
        body = fill(self.body, values, as_json=self.body_type == _JSON).encode("utf-8")
        problem = ""
        for url in self.urls:
            try:
                told = _post(url, self.host, body, self.body_type, sni=self.sni)
            except (OSError, ValueError) as error:
                problem = str(error)
                continue
            return Answer(200, {**answer.headers, "Content-Type": "application/json"}, told)
        refused = Refused("CallbackFailed", problem, status=203, ec="0007-00000203")
        document = error_xml(refused, request_id=self.call.request_id, host=self.call.host)
        return Answer(
            203, {**answer.headers, "Content-Type": "application/xml", "x-oss-ec": refused.ec}, document
        )


def fill(template: str, values: Mapping[str, object], *, as_json: bool) -> str:
    """Put values into ``${name}`` places: URL-encoded in a form, as JSON values in JSON."""

    def value_of(match: re.Match[str]) -> str:
        value = values.get(match[1], "")
        if as_json:
            return json.dumps(value, ensure_ascii=False)
        return quote(str(value), safe="")

    return _VARIABLE.sub(value_of, template)


def _bad(message: str) -> Refused:
    return invalid_argument(message, "callback", "")


def _decode(text: str, not_json: str) -> dict[str, Any]:
    if len(text) > 5 * 1024:
        raise _bad("The length of callback exceed max value.")
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _bad("The callback configuration is not base64 encoded.") from None
    try:
        value = json.loads(raw)
    except ValueError:
        raise _bad(not_json) from None
    if not isinstance(value, dict):
        raise _bad(not_json)
    return value


def read_callback(call: Call) -> Callback | None:
    """Read and check the callback of a request; None when there is none.

    Raises
    ------
    Refused
        ``InvalidArgument`` with OSS's own words, before anything is stored.
    """
    in_header, in_query = call.head.headers.get("x-oss-callback"), call.head.parameter("callback")
    if in_header is not None and in_query is not None:
        raise _bad(
            "Either the callback query string parameter or the x-oss-callback header should be specified, "
            "not both."
        )
    text = in_header if in_header is not None else in_query
    if text is None:
        return None
    told = _decode(text, "The callback configuration is not json format.")
    variables: dict[str, str] = {}
    if (
        text := call.head.headers.get("x-oss-callback-var") or call.head.parameter("callback-var")
    ) is not None:
        variables = _decode(text, "The callback var is not expecten json.")
        if any(
            not name.startswith("x:") or name != name.lower() or not isinstance(value, str)
            for name, value in variables.items()
        ):
            raise _bad("The callback var is not expecten json.")
    urls = tuple(url for url in str(told.get("callbackUrl", "")).split(";") if url)
    if not urls:
        raise _bad("The callback url configuration is invalid.")
    if len(urls) > 5:
        raise _bad("The number of callback url exceed max value.")
    for url in urls:
        _check_url(url, allow_private=call.settings.allow_private_callback)
    body, body_type = str(told.get("callbackBody", "")), str(told.get("callbackBodyType", _FORM))
    if not body:
        raise _bad("The callback body is empty.")
    if body_type not in (_FORM, _JSON):
        raise _bad("The callback body type configuration is invalid.")
    sni = told.get("callbackSNI") is True
    return Callback(call, urls, str(told.get("callbackHost", "")), body, body_type, variables, sni)


def _check_url(url: str, *, allow_private: bool) -> None:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if (
        not host
        or parts.scheme not in ("http", "https")
        or not url.isascii()
        or re.search(r"[\x00-\x20]", url)
    ):
        raise _bad("The callback url configuration is invalid.")
    # Only ever loopback or nothing: this server is for tests and demos and must not become anybody's relay.
    if not allow_private or not _is_loopback(host):
        raise _bad("Private address is forbidden to callback.")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _post(url: str, host: str, body: bytes, body_type: str, *, sni: bool) -> bytes:
    """POST as OSS does (HTTP/1.0) and return the application's JSON; ValueError says what was wrong."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = (
        f"POST {path} HTTP/1.0\r\nHost: {host or parts.netloc}\r\nContent-Type: {body_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\nUser-Agent: http-client/0.0.1\r\n\r\n"
    )
    if "\n" in host or "\r" in host:
        raise ValueError("The callback host is not valid.")
    name = parts.hostname or ""
    with socket.create_connection((name, parts.port or (443 if secure else 80)), timeout=_TIMEOUT) as plain:
        sock = _secure(plain, name if sni else None) if secure else plain
        with sock:
            sock.sendall(head.encode("latin-1") + body)
            return _read_answer(sock.recv)


def _secure(sock: socket.socket, server_name: str | None) -> socket.socket:
    # An application on this machine has no certificate that anybody could check; only loopback is called.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(sock, server_hostname=server_name)


def _read_answer(receive: Callable[[int], bytes]) -> bytes:
    data = b""
    while len(data) < _LARGEST_ANSWER and (piece := receive(65536)):
        data += piece
        head, found, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length:\s*(\d+)", head) if found else None
        if length and len(rest) >= int(length[1]):
            data = head + found + rest[: int(length[1])]
            break
    head, _, rest = data.partition(b"\r\n\r\n")
    words = head.split(b" ")
    if len(words) < 2 or words[1] != b"200":
        status = words[1].decode("latin-1") if len(words) > 1 else "none"
        raise ValueError(f"Error status : {status}.")
    try:
        json.loads(rest)
    except ValueError:
        raise ValueError("Response body is not valid json format.") from None
    return rest
