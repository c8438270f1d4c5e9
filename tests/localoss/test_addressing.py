"""Where the bucket stands (Host or path), CORS, and the control endpoint's guard."""

from __future__ import annotations

import http.client
import json
import socket

import pytest

from tests.localoss.client import Client, Reply


def with_host(client: Client, host: str, path: str) -> Reply:
    """GET an object whose signature is for /demo/<key>; the style of the address must not matter."""
    _, headers = client.signed("GET", "where/it is")
    return client.raw("GET", path, {"Host": host, **headers})


@pytest.fixture(autouse=True)
def stored(client: Client) -> None:
    client.request("PUT", "where/it is", body=b"here")


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("127.0.0.1:1", "/demo/where/it%20is"),
        ("[::1]:1", "/demo/where/it%20is"),
        ("localhost:1", "/demo/where/it%20is"),
        ("machine", "/demo/where/it%20is"),
        ("machine.example.org", "/demo/where/it%20is"),
        ("oss-cn-hangzhou.aliyuncs.com", "/demo/where/it%20is"),
        ("demo.localhost:1", "/where/it%20is"),
        ("demo.oss-cn-hangzhou.aliyuncs.com", "/where/it%20is"),
        ("demo.oss-cn-hangzhou-internal.aliyuncs.com", "/where/it%20is"),
        ("DEMO.example.org:80", "/where/it%20is"),
    ],
)
def test_host_or_path(client: Client, host: str, path: str) -> None:
    assert with_host(client, host, path).body == b"here"


def test_an_unknown_bucket_in_the_host(client: Client) -> None:
    _, headers = client.signed("GET", "k", bucket="nowhere")
    reply = client.raw("GET", "/k", {"Host": "nowhere.oss-cn-hangzhou.aliyuncs.com", **headers})
    assert (reply.code, reply.tag("BucketName")) == ("NoSuchBucket", "nowhere")


@pytest.mark.parametrize("host", ["oss-cn-beijing", "oss-cn-beijing-internal", "cn-beijing.oss"])
def test_another_regions_host_names_the_right_one(client: Client, host: str) -> None:
    reply = with_host(client, f"demo.{host}.aliyuncs.com", "/where/it%20is")
    assert reply.error[:2] == (403, "AccessDenied")
    assert (reply.tag("Bucket"), reply.tag("Endpoint")) == ("demo", "oss-cn-hangzhou.aliyuncs.com")


def test_the_accelerating_hosts_belong_to_no_region(client: Client) -> None:
    for host in ("oss-accelerate", "oss-accelerate-overseas"):
        assert with_host(client, f"demo.{host}.aliyuncs.com", "/where/it%20is").body == b"here"


def test_bucket_calls_with_and_without_a_slash(client: Client) -> None:
    _, headers = client.signed("GET", "", {"list-type": "2"})
    for path in ("/demo/?list-type=2", "/demo?list-type=2"):
        assert client.raw("GET", path, headers).status == 200


def test_absolute_request_targets(client: Client) -> None:
    _, headers = client.signed("GET", "where/it is")
    assert client.raw("GET", "http://any.proxy/demo/where/it%20is", headers).body == b"here"


def test_preflight(client: Client) -> None:
    asked = {"Origin": "https://page", "Access-Control-Request-Method": "PUT",
             "Access-Control-Request-Headers": "authorization, x-oss-date"}  # fmt: skip
    reply = client.raw("OPTIONS", "/demo/k", asked)
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == "https://page"
    assert reply.headers["access-control-allow-methods"] == "PUT"
    assert reply.headers["access-control-allow-headers"] == "authorization, x-oss-date"
    exposed = reply.headers["access-control-expose-headers"].split(", ")
    assert {"ETag", "x-oss-request-id", "x-oss-hash-crc64ecma"} <= set(exposed) and "*" not in exposed
    patch = {**asked, "Access-Control-Request-Method": "PATCH"}
    assert client.raw("OPTIONS", "/demo/k", patch).error[:2] == (403, "AccessForbidden")
    assert client.raw("OPTIONS", "/demo/k", {}).error[:2] == (400, "BadRequest")


def test_pages_may_read_answers_and_errors(client: Client) -> None:
    for key in ("where/it is", "missing"):
        reply = client.request("GET", key, headers={"Origin": "null"})
        assert reply.headers["access-control-allow-origin"] == "null"
        assert "ETag" in reply.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in client.request("GET", "missing").headers


def control(client: Client, action: str, **headers: str) -> int:
    connection = http.client.HTTPConnection(client.parts.hostname or "", client.parts.port, timeout=10)
    connection.request("GET", f"/_localoss/{action}", headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_control_endpoint_wants_its_token(client: Client) -> None:
    token = client.oss._control_token
    assert control(client, "journal", **{"x-localoss-token": token}) == 200
    assert control(client, "nothing", **{"x-localoss-token": token}) == 404
    assert control(client, "journal") == 403
    assert control(client, "journal", **{"x-localoss-token": token + "x"}) == 403
    # no page in a browser, whatever it knows
    assert control(client, "journal", Origin="https://page", **{"x-localoss-token": token}) == 403


def test_the_control_endpoint_serves_loopback_only() -> None:
    """Loopback peers are told from others by their address, not by what they say."""
    from ossmp_jupyter.localoss.control import _is_loopback

    assert all(map(_is_loopback, ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"]))
    assert not any(map(_is_loopback, ["10.0.0.1", "192.168.0.2", "fe80::1%eth0", "::ffff:10.0.0.1", "x"]))


def test_control_requests_that_are_not_json(client: Client) -> None:
    body = b"{"
    head = (
        f"POST /_localoss/faults HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n"
        f"x-localoss-token: {client.oss._control_token}\r\nConnection: close\r\n\r\n"
    )
    with client.socket() as sock:
        sock.sendall(head.encode() + body)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400")
    assert "error" in json.loads(answer.partition(b"\r\n\r\n")[2])


def test_control_requests_stay_out_of_the_journal(client: Client) -> None:
    client.oss.journal(clear=True)
    client.oss.snapshot()
    assert client.oss.journal() == []
