"""The upload callback: really sent, and what the uploader hears when it fails."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from ossmp_jupyter.localoss import LocalOSS
from tests.localoss.client import Client, Reply


class Application(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heard: list[tuple[str, dict[str, str], str]] = []
        self.says: tuple[int, bytes] = (200, b'{"ok": true}')
        self.url = f"http://127.0.0.1:{self.server_port}/callback?from=oss"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Application)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.heard.append((f"{self.request_version} {self.path}", headers, body))
        status, answer = self.server.says
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def application() -> Iterator[Application]:
    with Application() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def calling() -> Iterator[Client]:
    with LocalOSS(arguments=("--allow-private-callback",)) as oss:
        client = Client(oss)
        yield client
        client.connection.close()


def encoded(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def complete(client: Client, key: str, callback: dict[str, Any], variables: object = None) -> Reply:
    headers = {"x-oss-callback": encoded(callback)}
    if variables is not None:
        headers["x-oss-callback-var"] = encoded(variables)
    upload_id = client.initiate(key, headers={"Content-Type": "text/plain"})
    etag = client.part(key, upload_id, 1, b"hello").headers["etag"]
    return client.complete(key, upload_id, [(1, etag)], headers=headers)


def test_a_callback_in_a_form(calling: Client, application: Application) -> None:
    body = "bucket=${bucket}&object=${object}&etag=${etag}&size=${size}&type=${mimeType}"
    body += "&h=${imageInfo.height}&v=${x:a}"
    callback = {"callbackUrl": application.url, "callbackBody": body, "callbackHost": "app.example.org"}
    reply = complete(calling, "dir/ü", callback, {"x:a": "1 2"})
    assert (reply.status, reply.headers["content-type"], reply.body) == (
        200,
        "application/json",
        b'{"ok": true}',
    )
    etag = reply.headers["etag"].strip('"')
    assert "x-oss-hash-crc64ecma" in reply.headers
    line, headers, heard = application.heard[0]
    assert line == "HTTP/1.0 /callback?from=oss"
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert (headers["host"], headers["user-agent"]) == ("app.example.org", "http-client/0.0.1")
    assert heard == f"bucket=demo&object=dir%2F%C3%BC&etag={etag}&size=5&type=text%2Fplain&h=&v=1%202"


def test_a_callback_in_json_and_with_a_put(calling: Client, application: Application) -> None:
    callback = {
        "callbackUrl": f"http://127.0.0.1:1/dead;{application.url}",
        "callbackBodyType": "application/json",
        "callbackBody": '{"object":${object},"size":${size},"mine":${x:m}}',
    }
    headers = {"x-oss-callback": encoded(callback), "x-oss-callback-var": encoded({"x:m": 'a"b'})}
    assert calling.request("PUT", "k", body=b"hello", headers=headers).body == b'{"ok": true}'
    assert json.loads(application.heard[0][2]) == {"object": "k", "size": 5, "mine": 'a"b'}
    query = {"callback": headers["x-oss-callback"], "callback-var": headers["x-oss-callback-var"]}
    assert calling.request("PUT", "k", query, b"hello").body == b'{"ok": true}'
    both = calling.request("PUT", "k", query, b"hello", headers=headers)
    assert both.error[:2] == (400, "InvalidArgument")


@pytest.mark.parametrize(
    ("says", "message"),
    [((301, b"{}"), "Error status : 301."), ((200, b"<html>"), "Response body is not valid json format.")],
)
def test_a_failed_callback_is_203_and_the_object_stands(
    calling: Client, application: Application, says: tuple[int, bytes], message: str
) -> None:
    application.says = says
    reply = complete(calling, "failed", {"callbackUrl": application.url, "callbackBody": "x"})
    assert reply.error == (203, "CallbackFailed", "0007-00000203")
    assert reply.tag("Message") == message
    assert {"etag", "x-oss-hash-crc64ecma"} <= set(reply.headers)
    assert calling.request("GET", "failed").body == b"hello"


def test_nobody_there_is_203(calling: Client) -> None:
    reply = complete(calling, "nobody", {"callbackUrl": "http://127.0.0.1:1/", "callbackBody": "x"})
    assert reply.error[:2] == (203, "CallbackFailed")


GOOD = {"callbackUrl": "http://127.0.0.1:1/", "callbackBody": "x"}
BAD: list[tuple[str, str | None, str]] = [
    ("%%%", None, "The callback configuration is not base64 encoded."),
    (base64.b64encode(b"{").decode(), None, "The callback configuration is not json format."),
    (encoded([]), None, "The callback configuration is not json format."),
    (encoded({"callbackBody": "x"}), None, "The callback url configuration is invalid."),
    (encoded({**GOOD, "callbackUrl": "ftp://x/"}), None, "The callback url configuration is invalid."),
    (encoded({**GOOD, "callbackUrl": "http://ü/"}), None, "The callback url configuration is invalid."),
    (encoded({"callbackUrl": "http://127.0.0.1:1/"}), None, "The callback body is empty."),
    (
        encoded({**GOOD, "callbackBodyType": "text/plain"}),
        None,
        "The callback body type configuration is invalid.",
    ),
    (
        encoded({**GOOD, "callbackUrl": ";".join(["http://127.0.0.1:1/"] * 6)}),
        None,
        "The number of callback url exceed max value.",
    ),
    (encoded({**GOOD, "callbackBody": "x" * 6000}), None, "The length of callback exceed max value."),
    (encoded(GOOD), encoded({"a": "1"}), "The callback var is not expecten json."),
    (encoded(GOOD), encoded({"x:A": "1"}), "The callback var is not expecten json."),
    (encoded(GOOD), encoded({"x:a": 1}), "The callback var is not expecten json."),
]


@pytest.mark.parametrize(("callback", "variables", "message"), BAD)
def test_bad_parameters_are_found_before_anything_is_stored(
    calling: Client, callback: str, variables: str | None, message: str
) -> None:
    headers = {"x-oss-callback": callback}
    if variables is not None:
        headers["x-oss-callback-var"] = variables
    reply = calling.request("PUT", "never", body=b"x", headers=headers)
    assert (reply.status, reply.code, reply.tag("Message")) == (400, "InvalidArgument", message)
    assert calling.request("HEAD", "never").status == 404


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://192.168.1.1/", "http://169.254.169.254/", "example.org/x"]
)
def test_only_loopback_is_ever_called(calling: Client, url: str) -> None:
    reply = complete(calling, "private", {**GOOD, "callbackUrl": url})
    assert reply.tag("Message") == "Private address is forbidden to callback."


def test_not_even_loopback_unless_told(client: Client) -> None:
    reply = complete(client, "private", GOOD)
    assert (reply.status, reply.tag("Message")) == (400, "Private address is forbidden to callback.")
