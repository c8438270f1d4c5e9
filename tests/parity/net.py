"""Servers around an upload: the application, proxies, TLS, cloud metadata. All on loopback."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import http.server
import ipaddress
import json
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Web(http.server.ThreadingHTTPServer):
    """An HTTP server in a thread; ``answer(handler)`` does the work, ``seen`` is what came."""

    daemon_threads = True

    def __init__(
        self, answer: Callable[[http.server.BaseHTTPRequestHandler, bytes], tuple[int, bytes] | None]
    ) -> None:
        self.seen: list[dict[str, Any]] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.server.seen.append(  # type: ignore[attr-defined]
                    {
                        "method": self.command,
                        "path": self.path,
                        "headers": {k.lower(): v for k, v in self.headers.items()},
                        "body": body,
                        "sni": getattr(self.connection, "sni", None),
                    }
                )
                told = answer(self, body)
                if told is None:
                    return
                status, data = told
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may go away."""


@contextlib.contextmanager
def serving(server: Web) -> Iterator[Web]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def secured(server: Web, context: ssl.SSLContext) -> Web:
    """Let a server speak TLS and note the name that each client asks for."""
    names: dict[int, str | None] = {}

    def note(sock: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        names[id(sock)] = name
        server.names.append(name)  # type: ignore[attr-defined]

    server.names = []  # type: ignore[attr-defined]
    context.sni_callback = note
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


class Authority:
    """A certificate authority of the test's own, and certificates for names."""

    def __init__(self, folder: Path) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID

        self._x509, self._hashes, self._ser, self._ec = x509, hashes, serialization, ec
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._sign(self._name, self._key, ca=True).public_bytes(ser_pem(serialization)))

    def _sign(self, subject: Any, key: Any, names: tuple[str, ...] = (), *, ca: bool = False) -> Any:
        x509, now = self._x509, dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if ca:
            builder = builder.add_extension(
                x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
            )
        if names:
            general = []
            for name in names:
                try:
                    general.append(x509.IPAddress(ipaddress.ip_address(name)))
                except ValueError:
                    general.append(x509.DNSName(name))
            builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
        return builder.sign(self._key, self._hashes.SHA256())

    def context(self, *names: str) -> ssl.SSLContext:
        """A server's context with a certificate for ``names``."""
        x509 = self._x509
        key = self._ec.generate_private_key(self._ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "server")])
        file = self._folder / f"server-{abs(hash(names))}.pem"
        private = key.private_bytes(
            ser_pem(self._ser), self._ser.PrivateFormat.PKCS8, self._ser.NoEncryption()
        )
        file.write_bytes(private + self._sign(subject, key, names).public_bytes(ser_pem(self._ser)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def ser_pem(serialization: Any) -> Any:
    return serialization.Encoding.PEM


class Relay:
    """Listens, and hands every connection to ``behind`` (host, port); speaks TLS to clients if told to."""

    def __init__(
        self, behind: tuple[str, int], context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.behind, self.context = behind, context
        self.hosts: list[str] = []
        self._listener = socket.create_server((host, 0))
        self.port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self.context is not None:
                client = self.context.wrap_socket(client, server_side=True)
            with client, socket.create_connection(self.behind) as server:
                pump(client, server)

    def close(self) -> None:
        """Accept nothing more: a thread left behind would accept from who gets this file number next."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
        self._acceptor.join(10)
        self._listener.close()


class Proxy(Relay):
    """A forward proxy: absolute requests and CONNECT, whatever the host, end at one server.

    So the names of the real service work here, and nothing resolves them. With a ``login`` of user name and
    password, whoever does not know it is refused.
    """

    def __init__(
        self, plain: tuple[str, int], secure: tuple[str, int] | None = None, login: str | None = None
    ) -> None:
        super().__init__(plain)
        self.secure = secure
        self.login = login
        self.refused = 0

    def _refuses(self, client: socket.socket, head: bytes) -> bool:
        wanted = base64.b64encode((self.login or "").encode())
        if self.login is None or b"Proxy-Authorization: Basic " + wanted + b"\r\n" in head:
            return False
        self.refused += 1
        client.sendall(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n"
            b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
        client.shutdown(socket.SHUT_WR)
        client.settimeout(5)
        while client.recv(65536):
            pass
        return True

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), client:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(65536)
                if not piece:
                    return
                head += piece
            if self._refuses(client, head):
                return
            line, _, rest = head.partition(b"\r\n")
            method, target, version = line.split(b" ")
            if method == b"CONNECT":
                self.hosts.append(target.decode())
                assert self.secure is not None
                with socket.create_connection(self.secure) as server:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    pump(client, server)
                return
            # Absolute requests: one per connection, so that every head can be rewritten.
            scheme_less = target.split(b"://", 1)[1]
            host, slash, path = scheme_less.partition(b"/")
            self.hosts.append(host.decode())
            headers = [
                h for h in rest.split(b"\r\n") if not h.lower().startswith((b"proxy-", b"connection:"))
            ]
            head_end = headers.index(b"")
            headers.insert(head_end, b"Connection: close")
            with socket.create_connection(self.behind) as server:
                server.sendall(b" ".join((method, slash + path, version)) + b"\r\n" + b"\r\n".join(headers))
                pump(client, server)


def pump(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    while True:
        pending = [s for s in (one, other) if isinstance(s, ssl.SSLSocket) and s.pending()]
        ready = pending or select.select([one, other], [], [], 30)[0]
        if not ready:
            return
        for sock in ready:
            data = sock.recv(262144)
            if not data:
                return
            (other if sock is one else one).sendall(data)


# ------------------------------------------------------------------ what the cloud tells an instance
class Cloud:
    """Instance metadata (IMDSv2, and v1 if allowed), a credentials URI and STS, each handing out keys."""

    def __init__(self, key_id: str, secret: str, token: str, *, v1: bool = True, v2: bool = True) -> None:
        self.key_id, self.secret, self.token, self.v1, self.v2 = key_id, secret, token, v1, v2
        self.handed_out = 0
        self.server = Web(self._answer)

    def expires(self) -> str:
        moment = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _keys(self, **more: Any) -> bytes:
        self.handed_out += 1
        return json.dumps(
            {"AccessKeyId": self.key_id, "AccessKeySecret": self.secret, "SecurityToken": self.token,
             "Expiration": self.expires(), **more}
        ).encode()  # fmt: skip

    def _answer(self, handler: http.server.BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(handler.path)  # absolute where we are asked as a proxy
        if parts.path == "/latest/api/token":
            return (200, b"imds-token") if handler.command == "PUT" and self.v2 else (404, b"")
        if parts.path.startswith("/latest/meta-data/ram/security-credentials/"):
            known = handler.headers.get("X-aliyun-ecs-metadata-token") == "imds-token"
            if not (self.v2 and known) and not self.v1:
                return 403, b""
            if parts.path.endswith("/security-credentials/"):
                return 200, b"the-role"
            return 200, self._keys(Code="Success")
        if parts.path == "/credentials":
            return 200, self._keys(Code="Success")
        if parse_qs(parts.query).get("Action") == ["AssumeRoleWithOIDC"]:
            return 200, json.dumps({"Credentials": json.loads(self._keys())}).encode()
        return 404, b""
