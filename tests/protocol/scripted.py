"""A server that answers what a test tells it to, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Scripted:
    """The server: ``answers`` are used up one per request, the last one stays."""

    answers: list[bytes | Callable[[Seen], bytes]]
    port: int = 0
    seen: list[Seen] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.strip().split("\r\n")
                method, target, _ = first.split(" ")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.seen.append(Seen(method, target, headers, body))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                data = answer if isinstance(answer, bytes) else answer(self.seen[-1])
                if not data:
                    return
                writer.write(data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def scripted(*answers: bytes | Callable[[Seen], bytes]) -> AsyncIterator[Scripted]:
    server = Scripted(list(answers))
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()


def answer(status: int, body: bytes = b"", *, length: int | None = None, **headers: str) -> bytes:
    """Write an HTTP answer; ``x_oss_ec="..."`` becomes the header ``x-oss-ec``."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def oss_error(
    status: int, code: str, message: str = "Said by the server.", *, ec: str = "", **members: str
) -> bytes:
    members = {"Code": code, "Message": message, "RequestId": "ID1", "EC": ec, **members}
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in members.items())
    body = f"<Error>{inner}</Error>"
    return answer(status, body.encode(), x_oss_request_id="ID1", Content_Type="application/xml")
