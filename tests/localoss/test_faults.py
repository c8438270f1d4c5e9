"""Every kind of the fault plan, seen from the client's side and in what the server holds afterwards."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.localoss.faults import FaultPlan, read_rules
from ossmp_jupyter.oss.checksum import crc64
from tests.localoss.client import Client

BODY = bytes(range(256)) * 4096  # 1 MiB
Rule = dict[str, Any]


def parts_of(oss: LocalOSS, upload_id: str) -> dict[int, dict[str, Any]] | None:
    for upload in oss.snapshot()["uploads"]:
        if upload["upload_id"] == upload_id:
            return {part["part_number"]: part for part in upload["parts"]}
    return None


@pytest.fixture
def upload_id(client: Client) -> str:
    made = client.initiate("fault")
    client.oss.journal(clear=True)
    return made


def last(oss: LocalOSS, operation: str = "UploadPart") -> dict[str, Any]:
    """Return the newest finished entry; the server notes the end after the client has seen it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        entry = [entry for entry in oss.journal() if entry["operation"] == operation][-1]
        if "seconds" in entry:
            return entry
        time.sleep(0.01)
    raise AssertionError("the request does not end")


@pytest.mark.parametrize("byte", [0, 1, 65_536, 700_001, None])
def test_reset(client: Client, upload_id: str, byte: int | None) -> None:
    client.oss.set_faults([{"operation": "UploadPart", "kind": "reset", "byte": byte}])
    with pytest.raises((ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected)):
        client.part("fault", upload_id, 1, BODY)
    entry = last(client.oss)
    assert (entry["fault"], entry["status"]) == ("reset", None)
    assert entry["bytes_in"] == (len(BODY) if byte is None else byte)
    assert parts_of(client.oss, upload_id) == {}
    client.connection.close()
    assert client.part("fault", upload_id, 1, BODY).status == 200


@pytest.mark.parametrize("byte", [None, 500_000])
def test_stall_goes_on_afterwards(client: Client, upload_id: str, byte: int | None) -> None:
    client.oss.set_faults([{"operation": "UploadPart", "kind": "stall", "seconds": 0.4, "byte": byte}])
    before = time.monotonic()
    assert client.part("fault", upload_id, 1, BODY).status == 200
    assert time.monotonic() - before > 0.39


def test_stall_ends_with_the_client(client: Client, upload_id: str) -> None:
    client.oss.set_faults([{"operation": "UploadPart", "kind": "stall", "seconds": 3600, "byte": 0}])
    target, headers = client.signed("PUT", "fault", {"partNumber": "1", "uploadId": upload_id})
    with client.socket() as sock:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        sock.sendall(f"PUT {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n{lines}\r\n".encode())
        deadline = time.monotonic() + 30
        while not (begun := client.oss.journal()) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(begun) == 1 and "seconds" not in client.oss.journal()[-1], "it waits for the client"
    assert last(client.oss)["bytes_in"] == 0


def test_error_with_and_without_retry_after(client: Client, upload_id: str) -> None:
    client.oss.set_faults([
        {"operation": "UploadPart", "at": 1, "kind": "error"},
        {"operation": "UploadPart", "at": 2, "kind": "error", "status": 503, "code": "ServiceUnavailable",
         "retry_after": 0.5},
    ])  # fmt: skip
    first, second, third = (client.part("fault", upload_id, 1, BODY) for _ in range(3))
    assert first.error[:2] == (500, "InternalError") and "retry-after" not in first.headers
    assert second.error[:2] == (503, "ServiceUnavailable") and second.headers["retry-after"] == "0.5"
    assert third.status == 200
    assert [entry["fault"] for entry in client.oss.journal()] == ["error", "error", None]


def test_an_error_on_head_is_told_in_a_header(client: Client) -> None:
    client.request("PUT", "headed", body=b"x")
    client.oss.set_faults([{"operation": "HeadObject", "kind": "error", "status": 503, "code": "Busy"}])
    reply = client.request("HEAD", "headed")
    assert (reply.status, reply.body) == (503, b"")
    assert "x-oss-err" in reply.headers


@pytest.mark.parametrize(
    ("kind", "applied"), [("cut_answer", True), ("apply_no_answer", True), ("answer_no_apply", False)]
)
def test_answers_that_lie_or_get_lost(client: Client, upload_id: str, kind: str, applied: bool) -> None:
    client.oss.set_faults([{"operation": "UploadPart", "kind": kind, "byte": 11}])  # "HTTP/1.1 20"
    if kind == "answer_no_apply":
        reply = client.part("fault", upload_id, 1, BODY)
        assert reply.status == 200 and reply.headers["x-oss-hash-crc64ecma"] == str(crc64(BODY))
    else:
        with pytest.raises((OSError, http.client.HTTPException)):
            client.part("fault", upload_id, 1, BODY)
    assert (1 in (parts_of(client.oss, upload_id) or {})) is applied


def test_a_head_that_ends_in_the_middle(client: Client, upload_id: str) -> None:
    client.oss.set_faults([{"operation": "UploadPart", "kind": "cut_answer"}])
    target, headers = client.signed("PUT", "fault", {"partNumber": "1", "uploadId": upload_id})
    with client.socket() as sock:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        sock.sendall(f"PUT {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n{lines}\r\nx".encode())
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and b"\r\n\r\n" not in answer


def complete(client: Client, upload_id: str) -> object:
    etag = client.part("fault", upload_id, 1, BODY).headers["etag"]
    return client.complete("fault", upload_id, [(1, etag)])


ACTIONS: dict[str, tuple[Callable[[Client, str], object], Callable[[LocalOSS, str], bool]]] = {
    "InitiateMultipartUpload": (
        lambda c, u: c.initiate("fresh"),
        lambda o, u: any(upload["key"] == "fresh" for upload in o.snapshot()["uploads"]),
    ),
    "CompleteMultipartUpload": (complete, lambda o, u: parts_of(o, u) is None),
    "AbortMultipartUpload": (
        lambda c, u: c.request("DELETE", "fault", {"uploadId": u}),
        lambda o, u: parts_of(o, u) is None,
    ),
    "PutObject": (
        lambda c, u: c.request("PUT", "put", body=b"x"),
        lambda o, u: "demo/put" in o.snapshot()["objects"],
    ),
    "PutBucket": (
        lambda c, u: c.request("PUT", bucket="fresh-bucket"),
        lambda o, u: "fresh-bucket" in o.snapshot()["buckets"],
    ),
}


@pytest.mark.parametrize("operation", ACTIONS)
@pytest.mark.parametrize("kind", ["answer_no_apply", "apply_no_answer"])
def test_every_changing_call_can_lie(operation: str, kind: str) -> None:
    act, happened = ACTIONS[operation]
    with LocalOSS() as oss:
        client = Client(oss)
        upload_id = client.initiate("fault")
        oss.set_faults([{"operation": operation, "kind": kind}])
        if kind == "apply_no_answer":
            with pytest.raises((OSError, http.client.HTTPException)):
                act(client, upload_id)
        else:
            act(client, upload_id)
        assert happened(oss, upload_id) is (kind == "apply_no_answer")
        client.connection.close()


def test_cut_answer_at_a_byte_of_the_body(client: Client) -> None:
    client.request("PUT", "cut", body=BODY)
    client.oss.set_faults([{"operation": "GetObject", "kind": "cut_answer", "byte": 1000}])
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.request("GET", "cut")
    assert caught.value.partial == BODY[:1000]
    client.connection.close()
    assert client.request("GET", "cut").body == BODY


def test_a_corrupt_part_shows_at_complete_only(client: Client, upload_id: str) -> None:
    client.oss.set_faults([{"operation": "UploadPart", "kind": "corrupt_part", "byte": 300}])
    told = client.part("fault", upload_id, 1, BODY)
    wrong = bytearray(BODY)
    wrong[300] ^= 1
    assert told.headers["x-oss-hash-crc64ecma"] == str(crc64(BODY))
    listed = client.request("GET", "fault", {"uploadId": upload_id})
    assert listed.tag("ETag") == told.headers["etag"]
    assert listed.tag("HashCrc64ecma") == str(crc64(bytes(wrong)))
    done = client.complete("fault", upload_id, [(1, told.headers["etag"])])
    assert done.headers["x-oss-hash-crc64ecma"] == str(crc64(bytes(wrong)))
    assert client.request("GET", "fault").body == wrong


def test_a_part_corrupted_in_transit_shows_in_the_answer(client: Client, upload_id: str) -> None:
    client.oss.set_faults(
        [{"operation": "UploadPart", "kind": "corrupt_part", "where": "transit", "byte": 7}]
    )
    wrong = bytearray(BODY)
    wrong[7] ^= 1
    assert client.part("fault", upload_id, 1, BODY).headers["x-oss-hash-crc64ecma"] == str(
        crc64(bytes(wrong))
    )


def test_wrong_checksums(client: Client, upload_id: str) -> None:
    right = client.part("fault", upload_id, 1, BODY).headers
    client.oss.set_faults([
        {"operation": "UploadPart", "at": 1, "kind": "wrong_crc"},
        {"operation": "UploadPart", "at": 2, "kind": "wrong_etag"},
        {"operation": "UploadPart", "at": 3, "kind": "no_crc"},
        {"operation": "CompleteMultipartUpload", "kind": "wrong_etag"},
    ])  # fmt: skip
    crc, etag, none = (client.part("fault", upload_id, 1, BODY).headers for _ in range(3))
    assert crc["x-oss-hash-crc64ecma"] != right["x-oss-hash-crc64ecma"] and crc["etag"] == right["etag"]
    assert etag["x-oss-hash-crc64ecma"] == right["x-oss-hash-crc64ecma"] and etag["etag"] != right["etag"]
    assert "x-oss-hash-crc64ecma" not in none
    done = client.complete("fault", upload_id, [(1, right["etag"])])
    assert done.headers["etag"] == done.tag("ETag")
    assert done.headers["etag"] != f'"{client.oss.snapshot()["objects"]["demo/fault"]["etag"]}"'


def test_forget_upload(client: Client, upload_id: str) -> None:
    client.oss.set_faults([{"operation": "UploadPart", "part_number": 2, "kind": "forget_upload"}])
    assert client.part("fault", upload_id, 1, BODY).status == 200
    assert client.part("fault", upload_id, 2, BODY).error == (404, "NoSuchUpload", "0042-00000104")
    assert parts_of(client.oss, upload_id) is None


def test_slow_holds_one_request_back(client: Client, upload_id: str) -> None:
    client.oss.set_faults([{"operation": "UploadPart", "at": 1, "kind": "slow", "bandwidth": "2MiB/s"}])
    before = time.monotonic()
    assert client.part("fault", upload_id, 1, BODY).status == 200
    assert time.monotonic() - before > 0.4
    assert last(client.oss)["fault"] == "slow"


def test_html(client: Client, upload_id: str) -> None:
    client.oss.set_faults([{"operation": "*", "kind": "html"}])
    reply = client.part("fault", upload_id, 1, BODY)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html")
    assert reply.body.startswith(b"<!DOCTYPE html>")
    assert parts_of(client.oss, upload_id) == {}


def test_skew_puts_the_servers_clock_off(client: Client, upload_id: str) -> None:
    client.oss.set_faults([{"operation": "UploadPart", "kind": "skew", "seconds": 1000}])
    reply = client.part("fault", upload_id, 1, BODY)
    assert reply.error == (403, "RequestTimeTooSkewed", "0002-00000504")
    assert reply.tag("MaxAllowedSkewMilliseconds") == "900000"
    assert (reply.tag("ServerTime") or "") > (reply.tag("RequestTime") or "")
    # signing with the server's clock works, as long as the fault lasts
    assert client.part("fault", upload_id, 1, BODY, now=time.time() + 1000).status == 200


@pytest.mark.parametrize(
    ("rule", "hits"),
    [
        ({}, [1]),
        ({"at": 3}, [3]),
        ({"at": 3, "times": None}, [3, 4, 5, 6, 7, 8]),
        ({"at": 3, "times": 2}, [3, 4]),
        ({"every": 3}, [3, 6]),
        ({"every": 2, "times": 1}, [2]),
        ({"operation": "UploadPart", "part_number": 5}, [5]),
        ({"operation": "PutObject"}, []),
        ({"key": "k"}, [1]),
        ({"key": "other"}, []),
    ],
)
def test_which_requests_a_rule_hits(rule: Rule, hits: list[int]) -> None:
    plan = FaultPlan(read_rules([{"kind": "reset", **rule}]))
    found = [n for n in range(1, 9) if plan.strikes("UploadPart", key="k", part_number=n)]
    assert found == hits


def test_probability_is_repeatable() -> None:
    rule: Rule = {"kind": "reset", "probability": 0.3, "seed": 7}

    def draw() -> list[int]:
        plan = FaultPlan(read_rules([rule]))
        return [n for n in range(200) if plan.strikes("UploadPart", key="k", part_number=1)]

    assert draw() == draw()
    assert 30 < len(draw()) < 90


@pytest.mark.parametrize(
    ("plan", "word"),
    [
        ({}, "not a list"),
        (["x"], "rule 1"),
        ([{"kind": "reset"}, {"kind": "explode"}], "rule 2"),
        ([{"kind": "reset", "operation": "UploadParts"}], "UploadParts"),
        ([{"kind": "reset", "att": 3}], "'att'"),
        ([{"kind": "reset", "at": "3"}], "at is '3'"),
        ([{"kind": "reset", "every": 0}], "every is 0"),
        ([{"kind": "slow", "bandwidth": "fast"}], "bandwidth"),
    ],
)
def test_a_bad_plan_is_refused_in_one_sentence(client: Client, plan: Any, word: str) -> None:
    with pytest.raises(InputError, match=word):
        read_rules(plan)
    if isinstance(plan, list) and all(isinstance(rule, dict) for rule in plan):
        with pytest.raises(InputError, match=word):
            client.oss.set_faults(plan)


def test_a_plan_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps([{"operation": "PutObject", "kind": "error"}]))
    with LocalOSS(arguments=("--faults", str(tmp_path / "plan.json"))) as oss:
        client = Client(oss)
        assert client.request("PUT", "k", body=b"").status == 500
        assert client.request("PUT", "k", body=b"").status == 200
        client.connection.close()


def test_a_bad_plan_file_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('[{"kind": "explode"}]')
    command = [sys.executable, "-m", "ossmp_jupyter.localoss", "--faults", str(tmp_path / "plan.json")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env=dict(os.environ)
    )
    assert done.returncode == 2
    assert done.stderr.startswith("localoss: rule 1 of the fault plan has no known kind ('explode')")
