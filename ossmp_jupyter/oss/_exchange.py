"""One signed request and its answer: sending, the two replays, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import httpx

from ossmp_jupyter.errors import (
    ClockSkewed,
    CredentialsError,
    CredentialsExpired,
    InputError,
    NotOSS,
    OssmpError,
)
from ossmp_jupyter.oss._answers import MAX_ERROR_BYTES, Asked, error_of, not_oss, server_time
from ossmp_jupyter.oss._failures import PATIENCE, dripping, transport_errors
from ossmp_jupyter.oss._heads import bytes_of, required_etag
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.oss.credentials import Credentials
from ossmp_jupyter.oss.flight import SingleFlight
from ossmp_jupyter.oss.signing import sign_v1, sign_v4
from ossmp_jupyter.oss.veil import veil
from ossmp_jupyter.oss.xml import MAX_XML_BYTES

__all__ = ["Answer", "Call", "Exchange"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One REST call before it is signed; ``length`` belongs to a stream body."""

    operation: str
    method: str
    bucket: str
    key: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | httpx.AsyncByteStream = field(default=b"", repr=False)
    length: int | None = None

    @property
    def target(self) -> str:
        """The bucket or object, for people."""
        return f"oss://{self.bucket}/{self.key}" if self.bucket else "oss://"

    @property
    def what(self) -> str:
        """The operation, for people; of a part with its number."""
        number = self.query.get("partNumber")
        return f"{self.operation} (part {number})" if number else self.operation

    def replayable(self) -> bool:
        """Tell whether the body can be sent a second time."""
        if isinstance(self.body, bytes):
            return True
        return bool(getattr(self.body, "replayable", False)) or callable(getattr(self.body, "reset", None))

    def rewind(self) -> None:
        """Make the body ready to be sent again."""
        reset = getattr(self.body, "reset", None)
        if callable(reset):
            reset()


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer, read to its end."""

    status: int
    headers: httpx.Headers
    body: bytes
    what: str
    request_id: str

    def parse(self, reader: Callable[[bytes], T]) -> T:
        """Read the body with a function of :mod:`ossmp_jupyter.oss.xml`."""
        with _concerning(self.what, self.request_id):
            return reader(self.body)

    @property
    def etag(self) -> str:
        """The ETag; NotOSS if there is none."""
        with _concerning(self.what, self.request_id):
            return required_etag(self.headers, self.what)

    def expect_nothing(self) -> None:
        """Raise NotOSS if the answer holds something: what came was not OSS's, and nothing may be done."""
        if self.body.strip():
            raise NotOSS(
                f"the answer to {self.what} holds a text, which OSS's never does",
                hint="check that the endpoint is OSS's own, and that no login page or proxy is in the way",
            ).concerning(self.what, request_id=self.request_id)


class Exchange:
    """Signs, sends, and turns every answer that is not a success into an exception.

    Retries nothing, with two exceptions: a request refused because of the clock is signed again with the
    server's time, and one refused because of an expired token is signed again with fresh credentials, each
    once, and only if its body can be sent again. What was learned about the clock is kept.
    """

    def __init__(self, connection: Connection, http: httpx.AsyncClient) -> None:
        self.connection = connection
        self._http = http
        self._clock_offset = timedelta(0)
        self._renewal: SingleFlight[Credentials] = SingleFlight()
        self._used: Credentials | None = None

    def now(self) -> datetime:
        """The time, as the server sees it as far as we know."""
        return datetime.now(UTC) + self._clock_offset

    async def read(self, call: Call, *, limit: int = MAX_XML_BYTES) -> Answer:
        """Send the call and read its answer.

        Raises
        ------
        OssmpError
            Any of the tree; NotOSS if the answer is longer than ``limit`` bytes.
        """
        async with self._patient(call, self._whole(call)):
            return await self._read(call, limit)

    @asynccontextmanager
    async def _patient(self, call: Call, whole: float | None) -> AsyncIterator[None]:
        """A limit of ``whole`` seconds: what comes byte by byte keeps those between bytes quiet for ever."""
        try:
            async with asyncio.timeout(whole):
                yield
        except TimeoutError:
            raise dripping(self._host(call), call.operation, whole or 0).concerning(call.what) from None

    def _whole(self, call: Call) -> float | None:
        """Seconds for request and answer together: a time-out between bytes alone can be fed for ever.

        None where a body of unknown speed goes out.
        """
        return PATIENCE * self.connection.timeout if isinstance(call.body, bytes) else None

    async def _read(self, call: Call, limit: int) -> Answer:
        response = await self._send(call)
        try:
            with self.reading(call, response):
                async with self._patient(call, PATIENCE * self.connection.timeout):
                    body = await _read_bounded(response, limit + 1)
                if len(body) > limit:
                    raise NotOSS(
                        f"{self._host(call)} sent more than {limit} bytes in answer to {call.operation}",
                        hint="check that the endpoint is an OSS endpoint",
                    )
        finally:
            await response.aclose()
        name = self._asked(call).request_id(response.headers)
        return Answer(response.status_code, response.headers, body, call.what, name)

    @contextmanager
    def reading(self, call: Call, response: httpx.Response | None = None) -> Iterator[None]:
        """Turn what goes wrong on the way into an error that says what was asked."""
        name = self._asked(call).request_id(response.headers) if response is not None else ""
        with _concerning(call.what, name), transport_errors(call, self._host(call), self.connection):
            yield

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[httpx.Response]:
        """Send the call; gives the successful answer with its body still unread."""
        async with self._patient(call, self._whole(call)):
            response = await self._send(call)
        try:
            yield response
        finally:
            await response.aclose()

    async def pieces(
        self, call: Call, response: httpx.Response, byte_range: tuple[int, int] | None
    ) -> AsyncIterator[bytes]:
        """The body of an opened answer to GetObject, piece by piece."""
        with self.reading(call, response):
            async for piece in bytes_of(response, byte_range):
                yield piece

    async def _send(self, call: Call) -> httpx.Response:
        credentials = await self.connection.credentials.get()
        replayed: set[type[OssmpError]] = set()
        while True:
            signed_ahead = self._clock_offset
            response = await self._transmit(call, credentials)
            if response.is_success and response.status_code != 203:
                if "x-oss-request-id" in response.headers or "etag" in response.headers:
                    return response
                await response.aclose()
                asked = self._asked(call, credentials)
                raise not_oss(asked, response.status_code, response.headers).concerning(call.what)
            error, moment = await self._refusal(call, credentials, response)
            fresh = await self._remedy(error, credentials, moment, signed_ahead)
            if fresh is None:
                raise error
            if type(error) in replayed or not call.replayable():
                # Whoever owns the body may send it again, now with the right clock or token.
                error.retryable = True
                raise error
            replayed.add(type(error))
            credentials = fresh
            call.rewind()

    async def _remedy(
        self, error: OssmpError, used: Credentials, moment: datetime | None, signed_ahead: timedelta
    ) -> Credentials | None:
        """Correct what made OSS refuse the request; None if nothing could be corrected.

        ``signed_ahead`` is the correction that the refused request was signed with: another request may have
        found a better one meanwhile.
        """
        if isinstance(error, ClockSkewed) and moment is not None:
            offset = moment - datetime.now(UTC)
            if abs(offset - signed_ahead) < timedelta(seconds=5):
                return None
            self._clock_offset = offset
            return used
        if isinstance(error, CredentialsExpired):
            try:
                current = await self._renewed(used)
            except CredentialsError as failure:
                error.hint = f"fresh credentials could not be fetched either: {failure.message}"
                return None
            return current if current != used else None
        return None

    async def _renewed(self, used: Credentials) -> Credentials:
        """Return newer credentials than ``used``; all requests that were refused share one refresh.

        Providers of users need not know how to share: it is done here.
        """
        provider, asked = self.connection.credentials, False

        async def renew() -> Credentials:
            nonlocal asked
            asked = True
            current = await provider.get()
            # Where they differ, another request or another upload has fetched newer ones meanwhile.
            return current if current != used else await provider.refresh()

        current = await self._renewal.run(renew)
        if current == used and not asked:  # we joined requests that had been signed with still older ones
            current = await self._renewal.run(renew)
        return current

    async def _transmit(self, call: Call, credentials: Credentials) -> httpx.Response:
        self._used = credentials
        request = self._build(call, credentials)
        with self.reading(call):
            return await self._http.send(request, stream=True, follow_redirects=False)

    def _build(self, call: Call, credentials: Credentials) -> httpx.Request:
        connection = self.connection
        endpoint = connection.endpoint
        headers = {
            "Host": endpoint.authority(call.bucket),
            "User-Agent": connection.user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            **call.headers,
        }
        if isinstance(call.body, bytes):
            if call.body or call.method in {"PUT", "POST"}:
                headers["Content-Length"] = str(len(call.body))
        elif call.length is not None:
            headers["Content-Length"] = str(call.length)
        else:
            headers["Transfer-Encoding"] = "chunked"
        if connection.request_payer:
            headers["x-oss-request-payer"] = "requester"
        headers |= veil(self._signature(call, headers, credentials))
        timeout = httpx.Timeout(connection.timeout, connect=connection.connect_timeout)
        with contextlib.suppress(UnicodeEncodeError):  # which holds the whole value
            return httpx.Request(
                call.method,
                endpoint.url(call.bucket, call.key, call.query),
                headers=headers,
                content=call.body if isinstance(call.body, bytes) else None,
                stream=None if isinstance(call.body, bytes) else call.body,
                extensions={"timeout": timeout.as_dict()},
            )
        raise InputError(
            f"a header of {call.operation} on {call.target} is not ASCII",
            hint="pass it through ObjectOptions, which encodes it",
        )

    def _signature(self, call: Call, headers: Mapping[str, str], credentials: Credentials) -> dict[str, str]:
        connection = self.connection
        if connection.signature == "v1":
            return sign_v1(
                call.method,
                call.bucket,
                call.key,
                query=call.query,
                headers=headers,
                credentials=credentials,
                now=self.now(),
            )
        return sign_v4(
            call.method,
            call.bucket,
            call.key,
            query=call.query,
            headers=headers,
            credentials=credentials,
            now=self.now(),
            region=connection.endpoint.region or "",
        )

    async def _refusal(
        self, call: Call, credentials: Credentials, response: httpx.Response
    ) -> tuple[OssmpError, datetime | None]:
        """Read an answer that is not a success: the exception, and the server's clock."""
        try:
            with self.reading(call, response):
                body = await _read_bounded(response, MAX_ERROR_BYTES)
        except OssmpError as failure:
            if response.status_code < 500 and response.status_code != 429:
                return failure, None  # what OSS has to say was lost: a 400 may be worth another try, or not
            body = b""  # the status alone says what happened
        finally:
            await response.aclose()
        error = error_of(self._asked(call, credentials), response.status_code, response.headers, body)
        return error.concerning(call.what), server_time(response.headers, body)

    def _asked(self, call: Call, credentials: Credentials | None = None) -> Asked:
        region = self.connection.endpoint.region
        return Asked(call.operation, call.target, self._host(call), credentials or self._used, region)

    def _host(self, call: Call) -> str:
        return self.connection.endpoint.authority(call.bucket)


@contextmanager
def _concerning(what: str, request_id: str = "") -> Iterator[None]:
    """Let an error name the operation and, where an answer has begun, OSS's request ID."""
    try:
        yield
    except OssmpError as error:
        error.concerning(what, request_id=request_id)
        raise


async def _read_bounded(response: httpx.Response, limit: int) -> bytes:
    """Read at most ``limit`` bytes of a body, also of one that a proxy has compressed."""
    data = bytearray()
    async for chunk in response.aiter_raw():
        data += chunk
        if len(data) >= limit:
            break
    if response.headers.get("content-encoding", "").strip().lower() in {"gzip", "x-gzip", "deflate"}:
        try:
            return zlib.decompressobj(wbits=47).decompress(data, limit)  # 47: either of the two, by its head
        except zlib.error as error:
            raise httpx.DecodingError(str(error)) from None
    del data[limit:]
    return bytes(data)
