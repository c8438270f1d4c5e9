"""What the client makes of answers that are not the expected one, and of none at all."""

from __future__ import annotations

import asyncio
import base64
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from ossmp_jupyter.errors import (
    AccessDenied,
    CallbackFailed,
    ClockSkewed,
    ConnectionTimeout,
    CredentialsError,
    CredentialsExpired,
    NoSuchBucket,
    NoSuchKey,
    NotOSS,
    OssmpError,
    ResponseTimeout,
    ServerError,
    Throttled,
    TransportError,
)
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.connection import connect
from ossmp_jupyter.oss.credentials import Credentials
from ossmp_jupyter.oss.providers import CallableProvider
from ossmp_jupyter.oss.rest import RestClient
from tests.protocol.scripted import Seen, answer, oss_error, scripted

SECRET, TOKEN = "canary-secret-7f3a", "canary-token-91bc"
FINE = answer(200, ETag='"AB"', x_oss_request_id="ID2", x_oss_hash_crc64ecma="7")


def client(endpoint: str, http: httpx.AsyncClient, **options: Any) -> RestClient:
    given: dict[str, Any] = {"region": "cn-hangzhou", "environ": {}, "timeout": 5.0, **options}
    if "credentials" not in given:
        given |= {"access_key_id": "LTAI5tExample1234", "access_key_secret": SECRET, "security_token": TOKEN}
    return RestClient(connect(endpoint=endpoint, **given), http)


async def put(rest: RestClient) -> Any:
    return await rest.put_object("demo", "k", b"body")


def caught(
    *answers: bytes | Callable[[Seen], bytes],
    call: Callable[[RestClient], Awaitable[Any]] = put,
    **options: Any,
) -> OssmpError:
    """Run one call against scripted answers; give its exception, after a look for secrets in it."""

    async def scenario() -> OssmpError:
        async with scripted(*answers) as server, httpx.AsyncClient(trust_env=False) as http:
            with pytest.raises(OssmpError) as failure:
                await call(client(server.endpoint, http, **options))
            return failure.value

    error = asyncio.run(scenario())
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))
    for secret in (SECRET, TOKEN):
        assert secret not in shown
    assert error.__suppress_context__ or error.__context__ is None
    return error


class Once(httpx.AsyncByteStream):
    """A body that cannot be sent twice."""

    def __init__(self, data: bytes) -> None:
        self.data: bytes | None = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert self.data is not None, "sent twice"
        data, self.data = self.data, None
        yield data


class Again(Once):
    """One that can, once it was reset."""

    resets = 0

    def reset(self) -> None:
        self.resets += 1
        self.data = b"body"


@pytest.mark.parametrize(
    ("reply", "kind", "code", "retryable", "words"),
    [
        (oss_error(403, "AccessDenied"), AccessDenied, "AccessDenied", False, "oss:PutObject"),
        (
            oss_error(403, "AccessDenied", Endpoint="oss-cn-beijing.aliyuncs.com", Bucket="demo"),
            AccessDenied,
            "AccessDenied",
            False,
            "connect with endpoint='oss-cn-beijing.aliyuncs.com'",
        ),
        (
            oss_error(403, "AccessDenied", "Request has expired."),
            AccessDenied,
            "AccessDenied",
            False,
            "new link",
        ),
        (oss_error(403, "UserDisable"), AccessDenied, "UserDisable", False, "console"),
        (oss_error(404, "NoSuchBucket"), NoSuchBucket, "NoSuchBucket", False, "no bucket demo at 127.0.0.1"),
        (oss_error(500, "InternalError"), ServerError, "InternalError", True, "Said by the server"),
        (oss_error(503, "ServiceUnavailable"), Throttled, "ServiceUnavailable", True, "Said"),
        (oss_error(503, "TotalQpsLimitExceeded"), Throttled, "TotalQpsLimitExceeded", True, "Said"),
        (oss_error(400, "RequestTimeout"), ServerError, "RequestTimeout", True, "try again"),
        (oss_error(400, "IncompleteBody"), ServerError, "IncompleteBody", True, "Said"),
        (
            oss_error(400, "InvalidArgument", ArgumentName="x", ArgumentValue="7"),
            ServerError,
            "InvalidArgument",
            False,
            "ArgumentName x, ArgumentValue 7",
        ),
        (
            oss_error(400, "InvalidArgument", "Invalid signing region in Authorization header."),
            ServerError,
            "InvalidArgument",
            False,
            "signed for region cn-hangzhou",
        ),
        (
            oss_error(418, "BrandNewCode"),
            ServerError,
            "BrandNewCode",
            False,
            "BrandNewCode: Said by the server",
        ),
        (answer(403, x_oss_request_id="ID1"), AccessDenied, "AccessDenied", False, "AccessDenied"),
        (answer(404, b"<html>", Content_Type="text/html"), NotOSS, "NotOSS", False, "text/html"),
        (answer(302, Location="http://elsewhere.example/"), NotOSS, "NotOSS", False, "redirect"),
        (answer(502, b"<html>"), ServerError, "HTTP502", True, "HTTP 502"),
        (answer(503), Throttled, "HTTP503", True, "HTTP 503"),
        (answer(407), TransportError, "TransportError", False, "proxy"),
        (
            answer(200, b"<html>Log in</html>", Content_Type="text/html"),
            NotOSS,
            "NotOSS",
            False,
            "login page",
        ),
        (answer(200, x_oss_request_id="ID1"), NotOSS, "NotOSS", False, "no ETag"),
        (
            answer(404, b"<!DOCTYPE a [<!ENTITY b 'c'>]><Error><Code>&b;</Code></Error>"),
            NotOSS,
            "NotOSS",
            False,
            "404",
        ),
    ],
)
def test_refusals(reply: bytes, kind: type[OssmpError], code: str, retryable: bool, words: str) -> None:
    error = caught(reply)
    assert type(error) is kind
    assert (error.code, error.retryable) == (code, retryable)
    assert words in str(error)
    assert "\n" not in str(error)


def test_ids_are_kept() -> None:
    error = caught(oss_error(400, "InvalidArgument", ec="0017-00000220"))
    assert (error.status, error.request_id, error.ec) == (400, "ID1", "0017-00000220")


def test_echoed_secrets_are_not_shown() -> None:
    error = caught(
        oss_error(403, "SecurityTokenExpired", f"The token {TOKEN} has expired.", SecurityToken=TOKEN)
    )
    assert type(error) is CredentialsExpired
    error = caught(
        oss_error(
            403,
            "SignatureDoesNotMatch",
            f"Not {TOKEN}",
            StringToSign=f"x-oss-security-token:{TOKEN}",
            StringToSignBytes="50 55",
        )
    )
    assert "LTAI…1234" in str(error) and "StringToSign" not in str(error)
    caught(oss_error(400, "InvalidArgument", ArgumentName="t", ArgumentValue=f"a {SECRET} {TOKEN}"))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "7"}, 7.0),
        ({"x_oss_qos_delay_time": "1500"}, 1.5),
        ({"Retry_After": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert caught(answer(503, **headers)).retry_after == seconds


def test_retry_after_as_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    wait = caught(answer(503, Retry_After=later)).retry_after
    assert wait is not None and 0 < wait <= 100


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"x_oss_err": base64.b64encode(b"<Error><Code>NoSuchKey</Code></Error>").decode()}, NoSuchKey),
        ({"x_oss_err": base64.b64encode(b"<Error><Code>NoSuchBucket</Code></Error>").decode()}, NoSuchBucket),
        ({"x_oss_err": "no base64"}, NoSuchKey),
        ({"x_oss_ec": "0015-00000101"}, NoSuchBucket),
        ({}, NoSuchKey),
    ],
)
def test_head_has_no_body(headers: dict[str, str], kind: type[OssmpError]) -> None:
    error = caught(
        answer(404, x_oss_request_id="ID1", **headers), call=lambda rest: rest.head_object("demo", "k")
    )
    assert type(error) is kind
    assert error.request_id == "ID1"


class Endless(httpx.AsyncByteStream):
    """A body without end; counts what was taken of it."""

    taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.taken += 16384
            yield b"x" * 16384


def test_error_bodies_are_read_to_a_limit() -> None:
    body = Endless()

    async def scenario() -> None:
        transport = httpx.MockTransport(lambda request: httpx.Response(400, stream=body))
        async with httpx.AsyncClient(transport=transport) as http:
            with pytest.raises(NotOSS):
                await put(client("http://127.0.0.1", http))

    asyncio.run(scenario())
    assert body.taken <= 64 * 1024


def test_answers_are_read_to_a_limit() -> None:
    reply = answer(200, b" " * (10 << 20) + b" ", x_oss_request_id="ID1")
    error = caught(reply, call=lambda rest: rest.list_objects("demo"))
    assert type(error) is NotOSS and "more than" in str(error)


@pytest.mark.parametrize("body", [b"", b"{}", b"<html/>", b"<ListPartsResult/>", b"<ListBucketResult>"])
def test_listings_that_are_none(body: bytes) -> None:
    error = caught(answer(200, body, x_oss_request_id="ID1"), call=lambda rest: rest.list_objects("demo"))
    assert type(error) is NotOSS


# --- callbacks ----------------------------------------------------------------------------------

CALLBACK = {"x-oss-callback": "e30="}


def test_failed_callback_says_that_the_object_is_there() -> None:
    error = caught(oss_error(203, "CallbackFailed", "Error status : 301.", ec="0007-00000203"))
    assert type(error) is CallbackFailed
    assert (error.status, error.retryable) == (203, False)
    assert "is stored" in str(error) and "Error status : 301" in str(error)


@pytest.mark.parametrize(("body", "value"), [(b'{"a": [1]}', {"a": [1]}), (b"text", "text")])
def test_callback_answers(body: bytes, value: object) -> None:
    async def scenario() -> None:
        reply = answer(200, body, ETag='"AB-1"', x_oss_request_id="ID1", x_oss_hash_crc64ecma="9")
        async with scripted(reply) as server, httpx.AsyncClient(trust_env=False) as http:
            rest = client(server.endpoint, http)
            done = await rest.complete_multipart_upload("demo", "k", "ID", [(1, "AB")], headers=CALLBACK)
            assert (done.callback, done.etag, done.crc64) == (value, "AB-1", 9)
            assert (await rest.put_object("demo", "k", b"", headers=CALLBACK)).callback == value

    asyncio.run(scenario())


# --- the two replays ----------------------------------------------------------------------------


def strict_clock(offset: timedelta) -> Callable[[Seen], bytes]:
    """A server whose clock is off and who refuses other people's time."""

    def reply(seen: Seen) -> bytes:
        now = datetime.now(UTC) + offset
        told = datetime.strptime(seen.headers["x-oss-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs(told - now) > timedelta(minutes=15):
            return oss_error(403, "RequestTimeTooSkewed", ServerTime=now.strftime("%Y-%m-%dT%H:%M:%S.000Z"))
        return FINE

    return reply


@pytest.mark.parametrize("hours", [-5, 30])
def test_clock_is_learned_once(hours: int) -> None:
    async def scenario() -> None:
        async with (
            scripted(strict_clock(timedelta(hours=hours))) as server,
            httpx.AsyncClient(trust_env=False) as http,
        ):
            rest = client(server.endpoint, http)
            assert (await put(rest)).etag == "AB"
            assert [seen.body for seen in server.seen] == [b"body", b"body"]
            await put(rest)
            assert len(server.seen) == 3, "the offset is kept"

    asyncio.run(scenario())


def test_clock_from_the_date_header() -> None:
    then = datetime.now(UTC) - timedelta(hours=2)
    refusal = answer(
        403,
        b"<Error><Code>RequestTimeTooSkewed</Code></Error>",
        Date=format_datetime(then, usegmt=True),
        x_oss_request_id="ID1",
    )

    async def scenario() -> None:
        async with scripted(refusal, FINE) as server, httpx.AsyncClient(trust_env=False) as http:
            await put(client(server.endpoint, http))
            told = datetime.strptime(server.seen[1].headers["x-oss-date"], "%Y%m%dT%H%M%SZ").replace(
                tzinfo=UTC
            )
            assert abs(told - then) < timedelta(minutes=2)

    asyncio.run(scenario())


def test_clock_that_stays_wrong_is_an_error() -> None:
    replies = iter(range(1, 100))

    def reply(seen: Seen) -> bytes:
        wanted = datetime.now(UTC) + timedelta(hours=next(replies))
        return oss_error(403, "RequestTimeTooSkewed", ServerTime=wanted.isoformat())

    assert type(caught(reply)) is ClockSkewed
    assert next(replies) == 3, "sent twice, not more"


@pytest.mark.parametrize("body", [Once(b"body"), Again(b"body")])
def test_only_bodies_that_can_be_are_sent_again(body: Once) -> None:
    async def scenario() -> None:
        async with (
            scripted(strict_clock(timedelta(hours=3))) as server,
            httpx.AsyncClient(trust_env=False) as http,
        ):
            rest = client(server.endpoint, http)
            if isinstance(body, Again):
                await rest.put_object("demo", "k", body, length=4)
                assert (body.resets, len(server.seen)) == (1, 2)
                return
            with pytest.raises(ClockSkewed) as failure:
                await rest.put_object("demo", "k", body, length=4)
            assert failure.value.retryable, "whoever owns the body may send it again"
            await rest.put_object("demo", "k", Once(b"body"), length=4)
            assert len(server.seen) == 2

    asyncio.run(scenario())


def wants_token(token: str) -> Callable[[Seen], bytes]:
    def reply(seen: Seen) -> bytes:
        sent = seen.headers.get("x-oss-security-token")
        return FINE if sent == token else oss_error(403, "SecurityTokenExpired", SecurityToken=sent or "")

    return reply


def test_expired_token_is_refreshed_once_for_all() -> None:
    calls = []

    def fetch() -> Credentials:
        calls.append(1)
        return Credentials("ak", SECRET, f"token-{len(calls)}")

    async def scenario() -> None:
        async with scripted(wants_token("token-2")) as server, httpx.AsyncClient(trust_env=False) as http:
            rest = client(server.endpoint, http, credentials=CallableProvider(fetch))
            results = await asyncio.gather(*(put(rest) for _ in range(8)))
            assert {result.etag for result in results} == {"AB"}
            assert len(calls) == 2, "one first fetch, one refresh"

    asyncio.run(scenario())


def test_token_that_stays_expired_is_an_error() -> None:
    count = iter(range(1, 100))
    provider = CallableProvider(lambda: Credentials("ak", SECRET, f"token-{next(count)}"))
    error = caught(wants_token("never"), credentials=provider)
    assert type(error) is CredentialsExpired
    assert next(count) == 4, "first, refresh for the replay, and one that is of no use any more"


def test_fixed_keys_are_not_tried_again() -> None:
    async def scenario() -> None:
        async with scripted(wants_token("other")) as server, httpx.AsyncClient(trust_env=False) as http:
            with pytest.raises(CredentialsExpired):
                await put(client(server.endpoint, http))
            assert len(server.seen) == 1

    asyncio.run(scenario())


def test_refresh_that_fails() -> None:
    keys = [Credentials("ak", SECRET, "old")]

    def fetch() -> Credentials:
        if keys:
            return keys.pop()
        raise CredentialsError("the desk is closed")

    error = caught(wants_token("new"), credentials=CallableProvider(fetch))
    assert type(error) is CredentialsExpired
    assert "the desk is closed" in str(error)


# --- no answer ----------------------------------------------------------------------------------


def test_nobody_listens() -> None:
    async def scenario(port: int) -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            with pytest.raises(TransportError) as failure:
                await put(client(f"http://127.0.0.1:{port}", http))
            assert f"127.0.0.1:{port} refused the connection" in str(failure.value)
            assert failure.value.retryable

    with socket.socket() as held:  # nobody listens, and nobody else can
        held.bind(("127.0.0.1", 0))
        asyncio.run(scenario(held.getsockname()[1]))


@pytest.mark.filterwarnings("ignore:http.*travel in clear:UserWarning")
def test_unknown_host() -> None:
    async def scenario() -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            with pytest.raises(TransportError) as failure:
                await put(client("http://no-such-host.invalid", http))
            assert "demo.no-such-host.invalid cannot be found" in str(failure.value)

    asyncio.run(scenario())


def test_silence_is_a_response_timeout() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with httpx.AsyncClient(trust_env=False) as http:
                rest = client(f"http://127.0.0.1:{silent.getsockname()[1]}", http, timeout=0.2)
                with pytest.raises(ResponseTimeout) as failure:
                    await put(rest)
                assert "did not answer PutObject within 0.2 s" in str(failure.value)
                assert failure.value.hint

    asyncio.run(scenario())


@pytest.mark.filterwarnings("ignore:http.*travel in clear:UserWarning")
def test_connect_timeout() -> None:
    async def scenario() -> None:
        def refuse(request: httpx.Request) -> httpx.Response:
            assert request.extensions["timeout"]["connect"] == 0.5
            raise httpx.ConnectTimeout("", request=request)

        async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http:
            with pytest.raises(ConnectionTimeout, match=r"no connection to 10\.255\.255\.1 within 0\.5 s"):
                await put(client("http://10.255.255.1", http, connect_timeout=0.5))

    asyncio.run(scenario())


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"SSH-2.0-OpenSSH_9\r\n\r\n"])
def test_broken_answers(reply: bytes) -> None:
    error = caught(lambda seen: reply) if reply != b"HTTP/1.1 200 OK\r\nContent-Le" else caught(_cut(reply))
    assert type(error) is TransportError
    assert "broke during PutObject" in str(error)


def _cut(reply: bytes) -> Callable[[Seen], bytes]:
    return lambda seen: reply + b"\r\n\r\n"


def test_cut_object_is_an_error() -> None:
    reply = answer(200, b"half", length=8, ETag='"A"', x_oss_request_id="ID1", Connection="close")

    async def scenario() -> None:
        async with scripted(reply, b"") as server, httpx.AsyncClient(trust_env=False) as http:
            rest = client(server.endpoint, http, timeout=1.0)
            with pytest.raises(TransportError):
                await rest.get_object("demo", "k")

    asyncio.run(scenario())


def test_tls_to_a_plain_server() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer(400))
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        listener = await asyncio.start_server(plain, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        async with listener, httpx.AsyncClient(trust_env=False) as http:
            with pytest.raises(TransportError, match="does not speak TLS") as failure:
                await put(client(f"https://127.0.0.1:{port}", http))
            assert not failure.value.retryable

    asyncio.run(scenario())


def test_request_headers() -> None:
    async def scenario() -> None:
        async with scripted(FINE) as server, httpx.AsyncClient(trust_env=False) as http:
            await put(client(server.endpoint, http))
            sent = server.seen[0].headers
            assert sent["user-agent"].startswith("ossmp-jupyter/")
            assert (sent["host"], sent["content-length"]) == (f"127.0.0.1:{server.port}", "4")
            assert sent["accept-encoding"] == "identity"
            assert "date" not in sent

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["html", "cut_answer", "reset"])
def test_faults_of_the_embedded_server(kind: str) -> None:
    async def scenario(oss: LocalOSS) -> OssmpError:
        async with httpx.AsyncClient(trust_env=False) as http:
            rest = RestClient(
                connect(
                    endpoint=oss.endpoint,
                    region=oss.region,
                    access_key_id=oss.access_key_id,
                    access_key_secret=oss.access_key_secret,
                    environ={},
                ),
                http,
            )
            with pytest.raises(OssmpError) as failure:
                await rest.init_multipart_upload("demo", "k")
            return failure.value

    with LocalOSS(faults=[{"operation": "InitiateMultipartUpload", "kind": kind}]) as oss:
        error = asyncio.run(scenario(oss))
    assert isinstance(error, NotOSS if kind == "html" else TransportError)


@pytest.mark.parametrize("seconds", [-7200, 7200])
def test_skew_of_the_embedded_server(seconds: int) -> None:
    async def scenario(oss: LocalOSS) -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            rest = RestClient(
                connect(
                    endpoint=oss.endpoint,
                    region=oss.region,
                    access_key_id=oss.access_key_id,
                    access_key_secret=oss.access_key_secret,
                    environ={},
                ),
                http,
            )
            await rest.put_object("demo", "k", b"x")
            assert await rest.get_object("demo", "k") == b"x"
        refused = [entry for entry in oss.journal() if entry["code"] == "RequestTimeTooSkewed"]
        assert len(refused) == 1

    with LocalOSS(faults=[{"kind": "skew", "seconds": seconds}]) as oss:
        asyncio.run(scenario(oss))
