"""The multipart calls, as strict as the protocol sheet says."""

from __future__ import annotations

import base64
import hashlib
import os

import pytest

from ossmp_jupyter.oss.checksum import crc64
from tests.localoss.client import Client

A, B = b"a" * 102_400, b"b" * 1000


def test_the_sheets_own_multipart_example(client: Client) -> None:
    upload_id = client.initiate("sheet")
    one, two = client.part("sheet", upload_id, 1, A), client.part("sheet", upload_id, 2, B)
    assert one.headers["etag"] == '"302D3A0C8E319EAA95B059B346DE1D1D"'
    assert one.headers["x-oss-hash-crc64ecma"] == "12696911168479852064"
    assert one.headers["content-md5"] == base64.b64encode(hashlib.md5(A).digest()).decode()
    done = client.complete("sheet", upload_id, [(1, one.headers["etag"]), (2, two.headers["etag"])])
    assert done.status == 200
    assert done.headers["etag"] == '"090978F3FDABF992C84535BA4A870EE0-2"' == done.tag("ETag")
    assert done.headers["x-oss-hash-crc64ecma"] == "10189816783531802777"
    assert (done.tag("Bucket"), done.tag("Key")) == ("demo", "sheet")
    assert client.request("GET", "sheet").body == A + B


def test_initiate_answers_with_an_upload_id_and_no_namespace(client: Client) -> None:
    reply = client.request("POST", "k/ü b", {"uploads": "", "encoding-type": "url"})
    assert reply.body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
    assert b"xmlns" not in reply.body
    assert (reply.tag("Key"), reply.tag("EncodingType")) == ("k%2F%C3%BC%20b", "url")
    assert len(reply.tag("UploadId") or "") == 32


@pytest.mark.parametrize("quotes", ['"{}"', "{}", "&quot;{}&quot;"])
def test_complete_takes_etags_with_and_without_quotes(client: Client, quotes: str) -> None:
    upload_id = client.initiate("quotes")
    etag = client.part("quotes", upload_id, 7, B).headers["etag"].strip('"')
    assert client.complete("quotes", upload_id, [(7, quotes.format(etag))]).status == 200


def test_a_part_sent_again_replaces_the_first(client: Client) -> None:
    upload_id = client.initiate("again")
    client.part("again", upload_id, 1, A)
    second = client.part("again", upload_id, 1, B)
    listed = client.request("GET", "again", {"uploadId": upload_id})
    assert listed.tags("Size") == ["1000"]
    assert listed.tags("HashCrc64ecma") == [str(crc64(B))]
    assert client.complete("again", upload_id, [(1, second.headers["etag"])]).status == 200
    assert client.request("GET", "again").body == B


def test_parts_not_listed_are_left_out(client: Client) -> None:
    upload_id = client.initiate("left-out")
    etags = {n: client.part("left-out", upload_id, n, A).headers["etag"] for n in (1, 2, 5)}
    done = client.complete("left-out", upload_id, [(1, etags[1]), (5, etags[5])])
    assert done.status == 200
    assert client.request("HEAD", "left-out").headers["content-length"] == "204800"


def test_complete_all_takes_every_part(client: Client) -> None:
    upload_id = client.initiate("all")
    client.part("all", upload_id, 2, B)
    client.part("all", upload_id, 1, A)
    both = client.complete("all", upload_id, [(1, "x")], headers={"x-oss-complete-all": "yes"})
    assert both.error == (400, "InvalidArgument", "0042-00000216")
    assert client.complete("all", upload_id, b"", headers={"x-oss-complete-all": "yes"}).status == 200
    assert client.request("GET", "all").body == A + B


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([2, 1], (400, "InvalidPartOrder", "0042-00000209")),
        ([1, 1], (400, "InvalidPartOrder", "0042-00000209")),
        ([1, 3], (400, "InvalidPart", None)),
        ([0], (400, "InvalidPartOrder", "0042-00000209")),
        ([10_001], (400, "InvalidPartOrder", "0042-00000209")),
        ([], (400, "MalformedXML", "0042-00000205")),
    ],
)
def test_complete_refuses_bad_lists(
    client: Client, numbers: list[int], expected: tuple[int, str, str | None]
) -> None:
    upload_id = client.initiate("bad-list")
    etags = {n: client.part("bad-list", upload_id, n, A).headers["etag"] for n in (1, 2)}
    reply = client.complete("bad-list", upload_id, [(n, etags.get(n, '"00"')) for n in numbers])
    assert reply.error == expected
    # a refused Complete leaves the upload as it was
    assert client.request("GET", "bad-list", {"uploadId": upload_id}).tags("PartNumber") == ["1", "2"]


def test_complete_refuses_a_wrong_etag_and_names_it(client: Client) -> None:
    upload_id = client.initiate("wrong")
    client.part("wrong", upload_id, 1, A)
    reply = client.complete("wrong", upload_id, [(1, '"D41D8CD98F00B204E9800998ECF8427E"')])
    assert reply.error == (400, "InvalidPart", None)
    assert reply.tag("ETag") == '"D41D8CD98F00B204E9800998ECF8427E"'
    assert (reply.tag("PartNumber"), reply.tag("UploadId")) == ("1", upload_id)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"not xml",
        b"<CompleteMultipartUpload><Part>",
        b"<Other/>",
        b"<Other><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></Other>",
        b"<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>",
        b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><CompleteMultipartUpload>&b;</CompleteMultipartUpload>',
    ],
)
def test_complete_refuses_what_is_not_the_document(client: Client, document: bytes) -> None:
    upload_id = client.initiate("document")
    assert client.complete("document", upload_id, document).error == (400, "MalformedXML", "0042-00000205")


def test_a_part_below_100_kib_must_be_the_last(client: Client) -> None:
    upload_id = client.initiate("small")
    etags = [client.part("small", upload_id, n, A[:-1]).headers["etag"] for n in (1, 2)]
    refused = client.complete("small", upload_id, [(1, etags[0]), (2, etags[1])])
    assert refused.error == (400, "EntityTooSmall", "0042-00000213")
    assert client.complete("small", upload_id, [(2, etags[1])]).status == 200


def test_a_single_empty_part_is_an_object(client: Client) -> None:
    done = client.upload("empty", b"")
    assert (done.status, done.headers["x-oss-hash-crc64ecma"]) == (200, "0")
    assert client.request("GET", "empty").body == b""


@pytest.mark.parametrize("number", ["0", "10001", "-1", "1.5", "x", "", "99999999999"])
def test_part_numbers(client: Client, number: str) -> None:
    upload_id = client.initiate("numbers")
    reply = client.request("PUT", "numbers", {"partNumber": number, "uploadId": upload_id}, B)
    assert reply.error == (400, "InvalidArgument", "0017-00000220")
    assert (reply.tag("ArgumentName"), reply.tag("ArgumentValue")) == ("PartNumber", number)


def test_a_missing_part_number_or_upload_id(client: Client) -> None:
    upload_id = client.initiate("missing")
    assert client.request("PUT", "missing", {"uploadId": upload_id}, B).error[2] == "0017-00000219"
    assert client.request("PUT", "missing", {"partNumber": "1"}, B).error == (
        404,
        "NoSuchUpload",
        "0017-00000244",
    )


def test_content_md5_and_crc_of_the_request_are_checked(client: Client) -> None:
    upload_id = client.initiate("digest")
    right = base64.b64encode(hashlib.md5(B).digest()).decode()
    wrong = base64.b64encode(hashlib.md5(A).digest()).decode()
    expect = [
        ({"Content-MD5": right}, 200, None, None),
        ({"Content-MD5": wrong}, 400, "InvalidDigest", "0017-00000503"),
        ({"Content-MD5": "c2hvcnQ="}, 400, "InvalidDigest", "0017-00000502"),
        ({"Content-MD5": "!"}, 400, "InvalidDigest", "0017-00000502"),
        ({"x-oss-hash-crc64ecma": str(crc64(B))}, 200, None, None),
        ({"x-oss-hash-crc64ecma": str(crc64(A))}, 400, "InvalidCRC64", None),
    ]
    for number, (headers, status, code, ec) in enumerate(expect, 1):
        assert client.part("digest", upload_id, number, B, headers=headers).error == (status, code, ec)
    stored = client.request("GET", "digest", {"uploadId": upload_id}).tags("PartNumber")
    assert stored == ["1", "5"]


def test_no_such_upload_on_every_call(client: Client) -> None:
    upload_id = client.initiate("gone")
    etag = client.part("gone", upload_id, 1, B).headers["etag"]
    # the id belongs to its key
    assert client.request("GET", "other", {"uploadId": upload_id}).code == "NoSuchUpload"
    assert client.request("DELETE", "gone", {"uploadId": upload_id}).status == 204
    expect = {
        "0042-00000104": client.part("gone", upload_id, 1, B),
        "0042-00000203": client.complete("gone", upload_id, [(1, etag)]),
    }
    for ec, reply in expect.items():
        assert reply.error == (404, "NoSuchUpload", ec)
        assert (reply.tag("UploadId"), reply.headers["x-oss-ec"]) == (upload_id, ec)
    for method in ("DELETE", "GET"):
        reply = client.request(method, "gone", {"uploadId": upload_id})
        assert reply.error == (404, "NoSuchUpload", "0042-00000002")


def test_a_second_complete_finds_no_upload(client: Client) -> None:
    upload_id = client.initiate("twice")
    etag = client.part("twice", upload_id, 1, B).headers["etag"]
    assert client.complete("twice", upload_id, [(1, etag)]).status == 200
    assert client.complete("twice", upload_id, [(1, etag)]).error == (404, "NoSuchUpload", "0042-00000203")


def test_misplaced_headers_are_refused_and_the_others_tolerated(client: Client) -> None:
    upload_id = client.initiate("misplaced")
    storage, sse = {"x-oss-storage-class": "IA"}, {"x-oss-server-side-encryption": "AES256"}
    assert client.part("misplaced", upload_id, 1, B, headers=storage).error[2] == "0042-00000101"
    assert client.part("misplaced", upload_id, 1, B, headers=sse).code == "InvalidArgument"
    extra = {
        "x-oss-meta-a": "1",
        "x-oss-forbid-overwrite": "true",
        "Cache-Control": "no-cache",
        "x-oss-tagging": "a=b",
    }
    etag = client.part("misplaced", upload_id, 1, B, headers=extra).headers["etag"]
    refused = client.complete("misplaced", upload_id, [(1, etag)], headers=storage)
    assert refused.error == (400, "OperationNotSupported", "0042-00000202")
    assert refused.tag("Message") == "The operation is not supported for this resource"
    assert client.complete("misplaced", upload_id, [(1, etag)], headers={"x-oss-meta-b": "2"}).status == 200
    head = client.request("HEAD", "misplaced").headers
    assert not any(name.startswith("x-oss-meta-") for name in head)


def test_what_initiate_says_is_kept(client: Client) -> None:
    headers = {
        "Content-Type": "text/csv",
        "Cache-Control": "no-store",
        "Content-Disposition": 'attachment; filename="a"',
        "Content-Encoding": "gzip",
        "Expires": "1000",
        "x-oss-meta-Year": "2015",
        "x-oss-storage-class": "IA",
        "x-oss-tagging": "a=1&b",
        "x-oss-server-side-encryption": "AES256",
    }
    reply = client.request("POST", "kept", {"uploads": ""}, headers=headers)
    assert reply.headers["x-oss-server-side-encryption"] == "AES256"
    upload_id = reply.tag("UploadId") or ""
    part = client.part("kept", upload_id, 1, B)
    assert part.headers["x-oss-server-side-encryption"] == "AES256"
    done = client.complete("kept", upload_id, [(1, part.headers["etag"])])
    assert done.headers["x-oss-server-side-encryption"] == "AES256"
    head = client.request("HEAD", "kept").headers
    shown = {name: head[name.lower()] for name in headers if name != "x-oss-tagging"}
    assert shown == {name: value for name, value in headers.items() if name != "x-oss-tagging"}
    assert (head["x-oss-tagging-count"], head["x-oss-object-type"]) == ("2", "Multipart")
    assert "content-md5" not in head


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-oss-storage-class": "Glacier"}, "InvalidArgument"),
        ({"x-oss-server-side-encryption": "ROT13"}, "InvalidEncryptionAlgorithmError"),
        ({"x-oss-tagging": "&".join(f"k{n}=v" for n in range(11))}, "InvalidArgument"),
        ({"x-oss-meta-long": "x" * 8193}, "InvalidArgument"),
        ({"If-Match": "x"}, "NotImplemented"),
    ],
)
def test_initiate_refuses_bad_headers(client: Client, headers: dict[str, str], code: str) -> None:
    assert client.request("POST", "bad-headers", {"uploads": ""}, headers=headers).code == code


def test_forbid_overwrite_at_initiate_and_complete(client: Client) -> None:
    forbid = {"x-oss-forbid-overwrite": "true"}
    upload_id = client.initiate("forbid", headers=forbid)
    etag = client.part("forbid", upload_id, 1, B).headers["etag"]
    client.request("PUT", "forbid", body=b"first")
    assert client.request("POST", "forbid", {"uploads": ""}, headers=forbid).error[:2] == (
        409,
        "FileAlreadyExists",
    )
    refused = client.complete("forbid", upload_id, [(1, etag)], headers=forbid)
    assert refused.error == (409, "FileAlreadyExists", "0042-00000214")
    assert client.request("GET", "forbid").body == b"first"
    assert client.complete("forbid", upload_id, [(1, etag)]).status == 200
    assert client.request("GET", "forbid").body == B


def test_sequential_uploads_take_parts_in_order_only(client: Client) -> None:
    reply = client.request("POST", "sequential", {"uploads": "", "sequential": ""})
    upload_id = reply.tag("UploadId") or ""
    assert client.part("sequential", upload_id, 2, A).error[:2] == (400, "PartNotSequential")
    etags = [(n, client.part("sequential", upload_id, n, A).headers["etag"]) for n in (1, 2)]
    assert client.complete("sequential", upload_id, etags).status == 200
    md5 = base64.b64encode(hashlib.md5(A + A).digest()).decode()
    assert client.request("HEAD", "sequential").headers["content-md5"] == md5


def test_upload_part_copy(client: Client) -> None:
    source = os.urandom(250_000)
    client.request("PUT", "dir/source ü", body=source)
    upload_id = client.initiate("copy")
    where = {"x-oss-copy-source": "/demo/dir/source%20%C3%BC"}
    ranged = client.part(
        "copy", upload_id, 1, b"", headers={**where, "x-oss-copy-source-range": "bytes=0-149999"}
    )
    assert ranged.headers["content-range"] == "bytes 0-149999/250000"
    assert ranged.tag("ETag") == f'"{hashlib.md5(source[:150_000]).hexdigest().upper()}"'
    whole = client.part("copy", upload_id, 2, b"", headers={**where, "x-oss-copy-source-range": "bytes=9-1"})
    assert "content-range" not in whole.headers
    failed = client.part("copy", upload_id, 3, b"", headers={**where, "x-oss-copy-source-if-match": '"x"'})
    assert failed.error[:2] == (412, "PreconditionFailed")
    missing = client.part("copy", upload_id, 3, b"", headers={"x-oss-copy-source": "/demo/nothing"})
    assert missing.error[:2] == (404, "NoSuchKey")
    gone = client.part("copy", "0" * 32, 3, b"", headers=where)
    assert gone.error == (404, "NoSuchUpload", "0042-00000311")
    assert client.complete("copy", upload_id, [(1, ranged.tag("ETag") or ""), (2, whole.tag("ETag") or "")])
    assert client.request("GET", "copy").body == source[:150_000] + source


def test_parts_need_a_length_and_may_be_chunked(client: Client) -> None:
    upload_id = client.initiate("chunked")
    query = {"partNumber": "1", "uploadId": upload_id}
    target, headers = client.signed("PUT", "chunked", query, {"Transfer-Encoding": "chunked"})
    with client.socket() as sock:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        sock.sendall(f"PUT {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode())
        sock.sendall(b"3\r\nabc\r\n5;ext=1\r\ndefgh\r\n0\r\nTrailer: x\r\n\r\n")
        answer = sock.recv(65536)
    assert b"200 OK" in answer
    assert hashlib.md5(b"abcdefgh").hexdigest().upper().encode() in answer
    target, headers = client.signed("PUT", "chunked", query)
    with client.socket() as sock:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        sock.sendall(f"PUT {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode())
        assert b"411" in (answer := sock.recv(65536))
    assert b"MissingContentLength" in answer
