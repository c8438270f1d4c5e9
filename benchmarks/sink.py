"""A server that speaks enough of OSS's multipart upload for real clients, and keeps nothing.

Run as ``python -m benchmarks.sink [--crc] [--rate N]``: prints its port and serves until its input ends.
Bodies are dropped in the kernel (MSG_TRUNC) where that exists, so that the server costs next to nothing;
with ``--crc`` they are read and checksummed, and the answers carry ``x-oss-hash-crc64ecma``.
"""

from __future__ import annotations

import argparse
import itertools
import os
import socket
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

from ossmp_jupyter.oss.checksum import crc64, crc64_combine, multipart_etag

CHUNK = 4 << 20
DROP = socket.MSG_TRUNC | socket.MSG_WAITALL if sys.platform.startswith("linux") else 0
_ids = itertools.count(1)


class Store:
    """What was uploaded: sizes and checksums only."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.uploads: dict[str, dict[int, tuple[int, str, int]]] = {}
        self.objects: dict[str, tuple[int, str, int]] = {}


class Connection:
    def __init__(self, sock: socket.socket, store: Store, with_crc: bool, rate: int) -> None:
        self.sock, self.store, self.with_crc, self.rate = sock, store, with_crc, rate
        self.rest = b""
        self.buffer = memoryview(bytearray(CHUNK))

    def serve(self) -> None:
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while self.one():
                pass
        except OSError:
            pass
        finally:
            self.sock.close()

    def one(self) -> bool:
        while (end := self.rest.find(b"\r\n\r\n")) < 0:
            more = self.sock.recv(65536)
            if not more:
                return False
            self.rest += more
        lines = self.rest[:end].split(b"\r\n")
        self.rest = self.rest[end + 4 :]
        method, target, _ = lines[0].decode().split(" ", 2)
        fields = {
            k.lower().decode(): v.strip().decode() for k, _, v in (x.partition(b":") for x in lines[1:])
        }
        if "expect" in fields:
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in fields.get("transfer-encoding", ""):
            size, crc = self.chunked()
        else:
            size, crc = self.body(int(fields.get("content-length", 0)))
        self.answer(method, target, size, crc)
        return fields.get("connection", "").lower() != "close"

    def body(self, length: int) -> tuple[int, int]:
        """Swallow ``length`` bytes."""
        head, self.rest = self.rest[:length], self.rest[length:]
        crc = crc64(head) if self.with_crc else 0
        left = length - len(head)
        flags = 0 if self.with_crc else DROP
        if self.rate:
            flags |= socket.MSG_WAITALL
        step = max(self.rate // 50, 4096) if self.rate else CHUNK
        due = time.monotonic()
        while left:
            if self.rate:
                due += step / self.rate
                time.sleep(max(due - time.monotonic(), 0))
            count = self.sock.recv_into(self.buffer, min(left, step), flags)
            if not count:
                raise ConnectionResetError
            if self.with_crc:
                crc = crc64(self.buffer[:count], crc)
            left -= count
        return length, crc

    def chunked(self) -> tuple[int, int]:
        total = crc = 0
        while True:
            while b"\r\n" not in self.rest:
                self.rest += self.sock.recv(65536)
            line, _, self.rest = self.rest.partition(b"\r\n")
            size, one = self.body(int(line, 16))
            crc = crc64_combine(crc, one, size) if self.with_crc else 0
            total += size
            while len(self.rest) < 2:
                self.rest += self.sock.recv(65536)
            self.rest = self.rest[2:]
            if not size:
                return total, crc

    def answer(self, method: str, target: str, size: int, crc: int) -> None:
        url = urlsplit(target)
        query = {k: v[0] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
        upload = query.get("uploadId", "")
        if method == "PUT" and "partNumber" in query:
            self.put_part(upload, int(query["partNumber"]), size, crc)
        elif method == "PUT":
            etag = f"{size:032X}"
            self.store.objects[url.path] = (size, etag, crc)
            self.reply(200, etag=etag, crc=crc)
        elif method == "POST" and "uploads" in query:
            upload = f"{os.getpid():08X}{next(_ids):024X}"
            self.store.uploads[upload] = {}
            self.document("InitiateMultipartUploadResult", names(url.path), f"<UploadId>{upload}</UploadId>")
        elif method == "POST" and upload in self.store.uploads:
            self.complete(url.path, upload)
        elif method == "GET" and upload in self.store.uploads:
            self.list_parts(url.path, upload, query)
        elif method == "DELETE":
            self.store.uploads.pop(upload, None)
            self.reply(204)
        elif method in ("HEAD", "GET") and url.path in self.store.objects:
            size, etag, crc = self.store.objects[url.path]
            self.reply(200, etag=etag, crc=crc, length=size)
        else:
            self.reply(404, xml="" if method == "HEAD" else "<Error><Code>NoSuchKey</Code></Error>")

    def put_part(self, upload: str, number: int, size: int, crc: int) -> None:
        etag = f"{number:016X}{size:016X}"
        parts = self.store.uploads.get(upload)
        if parts is None:
            self.reply(404, xml="<Error><Code>NoSuchUpload</Code></Error>")
        else:
            parts[number] = (size, etag, crc)
            self.reply(200, etag=etag, crc=crc)

    def complete(self, path: str, upload: str) -> None:
        parts = [part for _, part in sorted(self.store.uploads.pop(upload).items())]
        etag, crc = multipart_etag([part[1] for part in parts]), 0
        if self.with_crc:
            for size, _, one in parts:
                crc = crc64_combine(crc, one, size)
        self.store.objects[path] = (sum(part[0] for part in parts), etag, crc)
        where, quoted = f"<Location>http://sink{path}</Location>", f'<ETag>"{etag}"</ETag>'
        self.document("CompleteMultipartUploadResult", where, names(path), quoted, etag=etag, crc=crc)

    def list_parts(self, path: str, upload: str, query: dict[str, str]) -> None:
        after, most = int(query.get("part-number-marker") or 0), int(query.get("max-parts") or 1000)
        numbers = [number for number in sorted(self.store.uploads[upload]) if number > after]
        page = numbers[:most]
        self.document(
            "ListPartsResult",
            names(path),
            f"<UploadId>{upload}</UploadId><MaxParts>{most}</MaxParts>",
            f"<NextPartNumberMarker>{page[-1] if page else 0}</NextPartNumberMarker>",
            f"<IsTruncated>{str(len(numbers) > most).lower()}</IsTruncated>",
            *(self.part_xml(number, *self.store.uploads[upload][number]) for number in page),
        )

    def part_xml(self, number: int, size: int, etag: str, crc: int) -> str:
        extra = f"<HashCrc64ecma>{crc}</HashCrc64ecma>" if self.with_crc else ""
        when = "<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        what = f'<PartNumber>{number}</PartNumber>{when}<ETag>"{etag}"</ETag><Size>{size}</Size>'
        return f"<Part>{what}{extra}</Part>"

    def document(self, name: str, *content: str, etag: str = "", crc: int = 0) -> None:
        self.reply(200, etag=etag, crc=crc, xml=f"<{name}>{''.join(content)}</{name}>")

    def reply(
        self, status: int, *, etag: str = "", crc: int = 0, xml: str = "", length: int | None = None
    ) -> None:
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n{xml}'.encode() if xml else b""
        lines = [f"HTTP/1.1 {status} Sink", "Server: AliyunOSS", f"x-oss-request-id: {next(_ids):024X}"]
        lines.append("Date: Thu, 01 Jan 2026 00:00:00 GMT")
        if etag:
            lines += [f'ETag: "{etag}"', "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT"]
            if self.with_crc:
                lines.append(f"x-oss-hash-crc64ecma: {crc}")
        if body:
            lines.append("Content-Type: application/xml")
        lines.append(f"Content-Length: {len(body) if length is None else length}")
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)


def names(path: str) -> str:
    bucket, _, key = path.lstrip("/").partition("/")
    return f"<Bucket>{bucket}</Bucket><Key>{key}</Key>"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--crc", action="store_true", help="read and checksum instead of dropping")
    parser.add_argument("--rate", type=int, default=0, help="bytes per second and connection; 0: no limit")
    options = parser.parse_args()
    store = Store()
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    if options.rate:  # else megabytes would wait in buffers, and the client would see no slow line
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    print(listener.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            connection = Connection(listener.accept()[0], store, options.crc, options.rate)
            threading.Thread(target=connection.serve, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
