"""A bare HTTP client for tests: what goes over the wire is exactly what the test says."""

from __future__ import annotations

import http.client
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.credentials import Credentials
from ossmp_jupyter.oss.signing import sign_v1, sign_v4


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def tag(self, name: str) -> str | None:
        found = re.search(rf"<{name}>(.*?)</{name}>".encode(), self.body, re.S)
        return found[1].decode() if found else None

    def tags(self, name: str) -> list[str]:
        return [found.decode() for found in re.findall(rf"<{name}>(.*?)</{name}>".encode(), self.body, re.S)]

    @property
    def code(self) -> str | None:
        return self.tag("Code")

    @property
    def error(self) -> tuple[int, str | None, str | None]:
        return self.status, self.code, self.tag("EC")


class Client:
    """Signed requests over one keep-alive connection that opens anew where the server closed it."""

    def __init__(self, oss: LocalOSS, *, secret: str | None = None, token: str | None = None) -> None:
        self.oss = oss
        self.parts = urlsplit(oss.endpoint)
        self.credentials = Credentials(oss.access_key_id, secret or oss.access_key_secret, token)
        self.connection = self.connect()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.parts.hostname or "", self.parts.port, timeout=30)

    def socket(self) -> socket.socket:
        return socket.create_connection((self.parts.hostname or "", self.parts.port or 80), timeout=30)

    def signed(
        self,
        method: str,
        key: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        bucket: str | None = None,
        version: str = "v4",
        now: float | None = None,
        region: str | None = None,
    ) -> tuple[str, dict[str, str]]:
        """Return target (path style) and headers of a signed request."""
        bucket = self.oss.bucket if bucket is None else bucket
        query, headers = dict(query or {}), dict(headers or {})
        moment = datetime.fromtimestamp(time.time() if now is None else now, UTC)
        if version == "v4":
            added = sign_v4(
                method, bucket, key, query=query, headers=headers, credentials=self.credentials, now=moment,
                region=region or self.oss.region,
            )  # fmt: skip
        else:
            added = sign_v1(
                method, bucket, key, query=query, headers=headers, credentials=self.credentials, now=moment
            )
        text = "&".join(quote(n, safe="") + (f"={quote(v, safe='')}" if v else "") for n, v in query.items())
        path = (f"/{bucket}/" if bucket else "/") + quote(key, safe="/-_.~")
        return path + (f"?{text}" if text else ""), {**headers, **added}

    def request(
        self,
        method: str,
        key: str = "",
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **signing: object,
    ) -> Reply:
        target, full = self.signed(method, key, query, headers, **signing)  # type: ignore[arg-type]
        return self.raw(method, target, full, body)

    def raw(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None) -> Reply:
        connection = self.connection
        connection.putrequest(method, target, skip_accept_encoding=True, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is None and method in ("PUT", "POST"):
            body = b""
        if body is not None and "Content-Length" not in headers:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        if body:
            connection.send(body)
        answer = connection.getresponse()
        return Reply(answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read())

    # -- the common calls

    def initiate(self, key: str, **options: object) -> str:
        reply = self.request("POST", key, {"uploads": ""}, **options)  # type: ignore[arg-type]
        assert reply.status == 200, reply.body
        return reply.tag("UploadId") or ""

    def part(self, key: str, upload_id: str, number: int, body: bytes, **options: object) -> Reply:
        query = {"partNumber": str(number), "uploadId": upload_id}
        return self.request("PUT", key, query, body, **options)  # type: ignore[arg-type]

    def complete(
        self, key: str, upload_id: str, parts: list[tuple[int, str]] | bytes, **options: object
    ) -> Reply:
        if not isinstance(parts, bytes):
            inner = "".join(
                f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n, etag in parts
            )
            parts = f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()
        return self.request("POST", key, {"uploadId": upload_id}, parts, **options)  # type: ignore[arg-type]

    def upload(self, key: str, *bodies: bytes) -> Reply:
        upload_id = self.initiate(key)
        parts = [(n, self.part(key, upload_id, n, body).headers["etag"]) for n, body in enumerate(bodies, 1)]
        return self.complete(key, upload_id, parts)
