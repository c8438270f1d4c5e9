"""Every request, answered by a broken or malicious server: one clear error, in bounded memory and time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterator

import pytest

from ossmp_jupyter.errors import OssmpError, ResponseTimeout
from ossmp_jupyter.oss import _exchange
from ossmp_jupyter.oss.connection import connect
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer import exchange, proxy
from ossmp_jupyter.transfer.client import OSSClient
from tests.faults.auditor import check_sentence
from tests.faults.hostile import ANSWERS, ID, SECRET, TOKEN, Answer, HostileServer, Peak, plain
from tests.protocol.operations import OPERATIONS, Operation

MIB = 1 << 20


def attempt(
    operation: Operation, answer: Answer, proxied: str | None = None, timeout: float = 10.0
) -> tuple[OssmpError | None, int, int]:
    """The error, how many bytes the server could send, and how much memory it took.

    The server is the endpoint, or the proxy on the way to one of the scheme ``proxied``.
    """
    server = HostileServer(answer)
    here = f"http://127.0.0.1:{server.port}"
    connection = connect(
        endpoint=f"{proxied}://oss.example.com" if proxied else here, region="cn-hangzhou", environ={},
        timeout=timeout, connect_timeout=2 * timeout,
        access_key_id="canary-id", access_key_secret=SECRET, security_token=TOKEN,
    )  # fmt: skip

    async def scenario() -> OssmpError | None:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("http_proxy", "https_proxy"):
                patch.setenv(name, here.replace("//", "//me:canary-password-0451@"))
            async with OSSClient(connection, trust_env=proxied is not None) as client:
                try:
                    await asyncio.wait_for(operation(client._rest), 40)
                except OssmpError as error:
                    return error
                return None

    with contextlib.closing(server):
        peak = Peak()
        return asyncio.run(scenario()), server.sent, peak.grown()


_EMPTY = {"empty", "204", "crc-of-digits", "range-of-digits", "etag-of-50-kb", "HTTP/9"}
_NOTHING = ("abort_multipart_upload", "delete_object", "put_bucket", "delete_bucket")
FINE = {
    **dict.fromkeys(_NOTHING, _EMPTY),
    "list_objects": {"other-document"},
    "init_multipart_upload": {"wrong-encoding"},  # declared and not meant: it is UTF-8
    # whatever the application answered; the upload looks at the object before it says that all is well
    "complete_multipart_upload with a callback": _EMPTY
    | {"not-xml", "other-document", "no-upload-id", "broken-xml", "binary", "wrong-encoding", "entity-bomb",
       "external-entity", "deep-nesting", "deep-nesting-closed", "json-nesting", "length-too-small",
       "brotli", "upload-id-of-1-mb", "etag-of-1-mb",
       "elements-without-number", "attributes-without-number", "elements-in-another-encoding",
       "values-without-number"},
}  # fmt: skip
"""What is no lie: an empty answer where nothing is to be said."""


def _seconds(answer: str) -> float:
    """The time-out: short where it is what ends the test, else longer than any machine stands still."""
    return 0.1 if answer == "endless-interim-answers" else 10.0


@pytest.mark.parametrize("operation", OPERATIONS)
def test_hostile_answers(operation: str) -> None:
    fine = FINE.get(operation, set())
    for answer in ANSWERS:
        error, sent, memory = attempt(OPERATIONS[operation], ANSWERS[answer], timeout=_seconds(answer))
        where = f"{operation}, {answer}: {error}"
        assert memory < 48 * MIB, f"{where}: {memory >> 20} MiB"
        assert sent < 24 * MIB, f"{where}: {sent >> 20} MiB were read"
        assert (error is None) == (answer in fine), where
        if error is not None:
            check_sentence(error)
            told = f"{error!r} {error} {error.__cause__!r} {error.__context__!r} {vars(error)}"
            assert SECRET not in told and TOKEN not in told, where
            assert "\x1b" not in str(error) and "root:" not in told, where


_PROXIED = ("init_multipart_upload", "upload_part by a lane", "head_object")


@pytest.mark.filterwarnings("ignore:http.*travel in clear:UserWarning")
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("operation", _PROXIED)
def test_hostile_proxies(operation: str, scheme: str) -> None:
    """What a proxy answers, to a request or to CONNECT; parts have no lane there."""
    for answer in ANSWERS:
        error, sent, memory = attempt(OPERATIONS[operation], ANSWERS[answer], scheme, _seconds(answer))
        where = f"{operation}, {answer}: {error}"
        assert memory < 48 * MIB and sent < 24 * MIB, where
        if error is None:
            assert scheme == "http" and answer in FINE.get(operation, ()), where
            continue
        check_sentence(error)
        told = f"{error!r} {error} {error.__cause__!r} {error.__context__!r} {vars(error)}"
        assert "canary" not in told, where


def _drip(first: bytes, piece: bytes) -> Iterator[bytes]:
    yield first
    for _ in range(300):
        time.sleep(0.05)
        yield piece


_HEAD = b"HTTP/1.1 200 OK\r\nETag: AB\r\n"
DRIPS = {
    "status line": lambda: _drip(b"HTTP/1.1 200 ", b"O"),
    "headers": lambda: _drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "interim answers": lambda: _drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": lambda: _drip(_HEAD + b"Content-Length: 5000\r\n\r\n", b" "),
    "chunks": lambda: _drip(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}


@pytest.mark.filterwarnings("ignore:http.*travel in clear:UserWarning")
@pytest.mark.parametrize(
    ("name", "way"),
    [*((name, "lane") for name in DRIPS), ("headers", "ordinary"), ("body", "ordinary"), ("headers", "proxy"),
     ("interim answers", "proxy"), ("body", "proxy")],
)  # fmt: skip
def test_an_answer_that_drips(name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that come one by one keep the time-out between bytes quiet; the whole has its own."""
    # 3 s for the whole, and for each byte no less
    for module in (_exchange, exchange, proxy):
        monkeypatch.setattr(module, "PATIENCE", 0.5)
    operation = OPERATIONS["upload_part" if way == "ordinary" else "upload_part by a lane"]
    error, _, _ = attempt(operation, DRIPS[name], "http" if way == "proxy" else None, 6.0)
    assert type(error) is ResponseTimeout, error
    check_sentence(error)
    assert "has not finished its answer" in str(error)


# ------------------------------------------------------------------ answers that are data


def _data(head: bytes, piece: bytes, count: int) -> Answer:
    return lambda: iter([b"HTTP/1.1 %s\r\nETag: AB\r\n%s\r\n" % tuple(head.split(b"|")), *[piece] * count])


_CHUNK = b"100000\r\n" + bytes(MIB) + b"\r\n"
_LONG = b"Content-Length: 104857600\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_MORE, _CUT = "more than the range", "broke during GetObject"
DATA = {
    "a range, and the whole came": (b"200 OK|" + _LONG, bytes(MIB), 100, _MORE),
    "a range, and more came": (b"206 Partial|" + _LONG, bytes(MIB), 100, _MORE),
    "a range without end": (b"206 Partial|" + _CHUNKED, _CHUNK, 100, _MORE),
    "cut": (b"206 Partial|Content-Length: 10\r\n", b"12345", 1, _CUT),
    "cut in a chunk": (b"206 Partial|" + _CHUNKED, b"A\r\n12345", 1, _CUT),
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("streamed", [False, True], ids=["get", "stream"])
def test_data_that_was_not_asked_for(name: str, streamed: bool) -> None:
    head, piece, count, words = DATA[name]

    async def act(rest: RestClient) -> None:
        if not streamed:
            await rest.get_object("demo", "k", byte_range=(0, 9))
            return
        async with rest.stream_object("demo", "k", byte_range=(0, 9)) as stream:
            async for _ in stream:
                pass

    error, sent, memory = attempt(act, _data(head, piece, count))
    assert error is not None and words in str(error) and "GetObject" in str(error)
    check_sentence(error)
    assert sent < 24 * MIB and memory < 48 * MIB


def test_an_object_without_end() -> None:
    """In memory 64 MiB of it; piece by piece as much as one likes."""

    async def act(rest: RestClient) -> None:
        await rest.get_object("demo", "k")

    error, sent, memory = attempt(act, _data(b"200 OK|Transfer-Encoding: chunked\r\n", _CHUNK, 400))
    assert error is not None and "read it piece by piece" in str(error)
    assert sent < 100 * MIB and memory < 160 * MIB


@pytest.mark.parametrize(
    ("numbers", "following"),
    [([3, 2], 0), ([1, 1], 0), ([0], 0), ([1, 2], 1), ([1], 20_000), ([10_001], 0), ([5], 5)],
)
def test_parts_are_listed_in_order(numbers: list[int], following: int) -> None:
    """Else a list of parts could be without end."""
    parts = "".join(f"<Part><PartNumber>{number}</PartNumber></Part>" for number in numbers)
    more = f"<IsTruncated>true</IsTruncated><NextPartNumberMarker>{following}</NextPartNumberMarker>"
    document = f"<ListPartsResult>{parts}{more if following else ''}</ListPartsResult>".encode()

    async def act(rest: RestClient) -> None:
        await rest.list_parts("demo", "k", "ID", part_number_marker=5 if following == 5 else 0)

    error, _, _ = attempt(act, lambda: iter([plain(document)]))
    assert error is not None and "not in order" in str(error) and "request ID 5F2A" in str(error)


def test_pages_that_go_round_in_circles() -> None:
    """Each marker is followed once."""
    markers = itertools.cycle("abc")

    def page() -> Iterator[bytes]:
        document = f"""<ListMultipartUploadsResult><Upload><Key>k</Key><UploadId>u</UploadId></Upload>
            <IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>
            <NextUploadIdMarker>{next(markers)}</NextUploadIdMarker></ListMultipartUploadsResult>"""
        yield plain(document.encode(), headers=ID + b"Connection: close\r\n")

    async def act(rest: RestClient) -> None:
        async with OSSClient(rest.connection, trust_env=False) as client:
            assert len([upload async for upload in client.iter_uploads(bucket="demo")]) == 4

    assert attempt(act, page)[0] is None


LISTINGS = {
    "list_parts": """<ListPartsResult><MaxParts>#</MaxParts><Part><PartNumber>1</PartNumber><Size>#</Size>
        <HashCrc64ecma>#</HashCrc64ecma><LastModified>#</LastModified></Part></ListPartsResult>""",
    "list_uploads": """<ListMultipartUploadsResult><MaxUploads>#</MaxUploads><Upload><Key>k</Key>
        <UploadId>#</UploadId><Initiated>#</Initiated></Upload></ListMultipartUploadsResult>""",
    "list_objects": """<ListBucketResult><KeyCount>#</KeyCount><Contents><Key>k</Key><Size>#</Size>
        <LastModified>#</LastModified></Contents></ListBucketResult>""",
    "get_bucket_lifecycle": """<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status>
        <AbortMultipartUpload><Days>#</Days><CreatedBeforeDate>#</CreatedBeforeDate></AbortMultipartUpload>
        </Rule></LifecycleConfiguration>""",
}
_VALUES = ("9" * 6000, "-1", "\u0669" * 30, "1e999", "9999-99-99T99:99:99Z", "x" * MIB)


@pytest.mark.parametrize("value", _VALUES, ids=["6000 digits", "-1", "Arabic", "1e999", "no date", "1 MiB"])
@pytest.mark.parametrize("operation", LISTINGS)
def test_numbers_and_times_that_are_none(operation: str, value: str) -> None:
    """They count as not told."""
    document = LISTINGS[operation].replace("#", value).encode()
    error, _, _ = attempt(OPERATIONS[operation], lambda: iter([plain(document)]))
    assert error is None
