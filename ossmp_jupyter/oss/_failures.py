"""From what the HTTP library raises to the exception that says what is wrong."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from ossmp_jupyter.errors import (
    ConnectionTimeout,
    InputError,
    NotOSS,
    OssmpError,
    ResponseTimeout,
    Stalled,
    TransportError,
)
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.units import format_duration

if TYPE_CHECKING:
    from ossmp_jupyter.oss._exchange import Call

__all__ = ["PATIENCE", "dripping", "transport_errors"]

PATIENCE = 5
"""So many times the time-out between bytes, a whole answer may take: bytes can be fed one by one for ever."""


def dripping(host: str, what: str, seconds: float) -> ResponseTimeout:
    """Make the exception for an answer to ``what`` that goes on and on."""
    return ResponseTimeout(
        f"{host} has not finished its answer to {what} after {format_duration(seconds)}",
        hint="something on the way lets single bytes through; check endpoint, network and proxy",
    )


@contextmanager
def transport_errors(call: Call, host: str, connection: Connection) -> Iterator[None]:
    """Turn httpx's exceptions into ours.

    ``from None``: the frames below hold whole requests, tokens included, and IPython can be told
    to print the variables of every frame.
    """
    try:
        yield
    except OssmpError:
        raise
    except httpx.ConnectTimeout:
        raise ConnectionTimeout(
            f"no connection to {host} within {format_duration(connection.connect_timeout)}",
            hint="check endpoint, network and proxy; on a slow line give a longer connect_timeout, "
            "smaller parts (part_size) or fewer at a time (parallel)",
        ) from None
    except httpx.PoolTimeout:
        raise TransportError(
            f"no connection to {host} became free within {format_duration(connection.timeout)}",
            hint="run fewer requests at a time, or give a longer timeout",
        ) from None
    except httpx.WriteTimeout:
        raise Stalled(
            f"{host} took no byte of {call.operation} for {format_duration(connection.timeout)}",
            hint="try again; on a slow line give a longer timeout, smaller parts (part_size) "
            "or fewer at a time (parallel)",
        ) from None
    except httpx.TimeoutException:
        raise ResponseTimeout(
            f"{host} did not answer {call.operation} within {format_duration(connection.timeout)}",
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
        raise _transport_error(error, host, call.operation, connection) from None


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
