"""One signed request and its answer: sending, the two replays, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx

from ossmp_jupyter.errors import (
    ClockSkewed,
    ConnectionTimeout,
    CredentialsError,
    CredentialsExpired,
    InputError,
    NotOSS,
    OssmpError,
    ResponseTimeout,
    Stalled,
    TransportError,
)
from ossmp_jupyter.oss._answers import MAX_ERROR_BYTES, Asked, error_of, not_oss, server_time
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.oss.credentials import Credentials
from ossmp_jupyter.oss.flight import SingleFlight
from ossmp_jupyter.oss.signing import sign_v1, sign_v4
from ossmp_jupyter.oss.veil import veil
from ossmp_jupyter.oss.xml import MAX_XML_BYTES

__all__ = ["Answer", "Call", "Exchange"]

_PATIENCE = 5


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
        return f"oss://{self.bucket}/{self.key}"

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

    @property
    def request_id(self) -> str:
        """OSS's name for the request."""
        return str(self.headers.get("x-oss-request-id", ""))


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
        try:
            async with asyncio.timeout(self._whole(call)):
                return await self._read(call, limit)
        except TimeoutError:
            raise ResponseTimeout(
                f"{self._host(call)} has not finished its answer to {call.operation} "
                f"after {self._whole(call) or 0:g} s",
                hint="something on the way lets single bytes through; check endpoint, network and proxy",
            ) from None

    def _whole(self, call: Call) -> float | None:
        """Seconds for request and answer together: a time-out between bytes alone can be fed for ever.

        None where a body of unknown speed goes out.
        """
        return _PATIENCE * self.connection.timeout if isinstance(call.body, bytes) else None

    async def _read(self, call: Call, limit: int) -> Answer:
        async with self.open(call) as response:
            with self.transport_errors(call):
                body = await _read_bounded(response, limit + 1)
            if len(body) > limit:
                raise NotOSS(
                    f"{self._host(call)} sent more than {limit} bytes in answer to {call.operation}",
                    hint="check that the endpoint is an OSS endpoint",
                )
            return Answer(response.status_code, response.headers, body)

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[httpx.Response]:
        """Send the call; gives the successful answer with its body still unread."""
        response = await self._send(call)
        try:
            yield response
        finally:
            await response.aclose()

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
                raise not_oss(self._asked(call, credentials), response.status_code, response.headers)
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
        request = self._build(call, credentials)
        with self.transport_errors(call):
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
            with self.transport_errors(call):
                body = await _read_bounded(response, MAX_ERROR_BYTES)
        except OssmpError as failure:
            if response.status_code < 500 and response.status_code != 429:
                return failure, None  # what OSS has to say was lost: a 400 may be worth another try, or not
            body = b""  # the status alone says what happened
        finally:
            await response.aclose()
        error = error_of(self._asked(call, credentials), response.status_code, response.headers, body)
        return error, server_time(response.headers, body)

    def _asked(self, call: Call, credentials: Credentials) -> Asked:
        endpoint = self.connection.endpoint
        return Asked(call.operation, call.target, self._host(call), credentials, endpoint.region)

    def _host(self, call: Call) -> str:
        return self.connection.endpoint.authority(call.bucket)

    @contextmanager
    def transport_errors(self, call: Call) -> Iterator[None]:
        """Turn httpx's exceptions into ours.

        ``from None``: the frames below hold whole requests, tokens included, and IPython can be told
        to print the variables of every frame.
        """
        host = self._host(call)
        try:
            yield
        except OssmpError:
            raise
        except httpx.ConnectTimeout:
            raise ConnectionTimeout(
                f"no connection to {host} within {self.connection.connect_timeout:g} s",
                hint="check endpoint, network and proxy; on a slow line give a longer connect_timeout, "
                "smaller parts (part_size) or fewer at a time (parallel)",
            ) from None
        except httpx.PoolTimeout:
            raise TransportError(
                f"no connection to {host} became free within {self.connection.timeout:g} s",
                hint="run fewer requests at a time, or give a longer timeout",
            ) from None
        except httpx.WriteTimeout:
            raise Stalled(
                f"{host} took no byte of {call.operation} for {self.connection.timeout:g} s",
                hint="try again; on a slow line give a longer timeout, smaller parts (part_size) "
                "or fewer at a time (parallel)",
            ) from None
        except httpx.TimeoutException:
            raise ResponseTimeout(
                f"{host} did not answer {call.operation} within {self.connection.timeout:g} s",
                hint="try again; on a slow line give a longer timeout, smaller parts (part_size) "
                "or fewer at a time (parallel)",
            ) from None
        except httpx.DecodingError:
            raise NotOSS(f"{host} sent an answer to {call.operation} that cannot be decoded") from None
        except httpx.InvalidURL:
            raise InputError(
                f"{call.target} makes no valid URL at {host}", hint="check endpoint and names"
            ) from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise _transport_error(error, host, call.operation, self.connection) from None


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
    return bytes(data[:limit])


def _transport_error(error: Exception, host: str, operation: str, connection: Connection) -> TransportError:
    """Name the cause below httpx's exception, and what can be done about it.

    The code ``NotConnected`` says that nothing was sent: there was no connection.
    """
    before = httpx.ConnectError | httpx.ProxyError | httpx.UnsupportedProtocol
    code = "NotConnected" if isinstance(error, before) else None
    cause: BaseException | None = error
    seen: list[BaseException] = []
    while cause is not None and cause not in seen:
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    text = " ".join(str(one) for one in seen)
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in seen) or "CERTIFICATE_VERIFY" in text:
        return TransportError(
            f"the TLS certificate of {host} is not trusted",
            code=code,
            retryable=False,
            hint="check the endpoint, or name your organisation's certificates: ca_file=... or SSL_CERT_FILE",
        )
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
        return TransportError(
            f"{host} does not speak TLS", code=code, retryable=False, hint="write the endpoint with http://"
        )
    if any(type(one).__name__ == "gaierror" for one in seen) or "getaddrinfo" in text:
        return TransportError(
            f"the host name {host} cannot be found",
            code=code,
            hint="check endpoint, region and bucket name, and the network",
        )
    if isinstance(error, httpx.ProxyError):
        return TransportError(
            f"the proxy refused the way to {host}", code=code, hint="check HTTPS_PROXY and NO_PROXY"
        )
    if isinstance(error, httpx.ConnectError):
        refused = any(isinstance(one, ConnectionRefusedError) for one in seen) or "attempts failed" in text
        what = "refused the connection" if refused else "cannot be reached"
        return TransportError(
            f"{host} {what}", code=code, hint="check endpoint and port, and that the server is running"
        )
    return TransportError(
        f"the connection to {host} broke during {operation} ({type(error).__name__})", hint="try again"
    )
