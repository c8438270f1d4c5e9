"""A connection: which service, whose keys, which bucket, which signature, how long to wait."""

from __future__ import annotations

import os
import ssl
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from ossmp_jupyter.errors import CredentialsError, InputError
from ossmp_jupyter.oss.address import Endpoint, check_bucket_name, normalise_region
from ossmp_jupyter.oss.config_files import default_chain, ossutil_settings
from ossmp_jupyter.oss.credentials import Credentials, CredentialsProvider
from ossmp_jupyter.oss.providers import StaticProvider, as_provider
from ossmp_jupyter.oss.veil import Variables, veil, veil_address

__all__ = ["Connection", "connect", "default_user_agent"]

SignatureVersion = Literal["v4", "v1"]


def default_user_agent() -> str:
    """``ossmp-jupyter/<version>``."""
    try:
        return f"ossmp-jupyter/{version('ossmp-jupyter')}"
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "ossmp-jupyter/0"


@dataclass(frozen=True)
class Connection:
    """Everything a client needs to know; made by :func:`connect`.

    Parameters
    ----------
    endpoint : Endpoint
        The service.
    credentials : CredentialsProvider
        Asked before every request.
    bucket : str, optional
        The bucket that calls without one mean.
    signature : {"v4", "v1"}
        Signature version.
    timeout, connect_timeout : float
        Seconds without progress on an open connection; seconds to open one.
    user_agent : str
        The User-Agent header.
    identity : str
        Names the service in journals; the endpoint's canonical text unless given.
    ca_file : str, optional
        Certificates of the authorities to trust, instead of the usual ones.
    request_payer : bool
        Say in every request that its sender pays, for buckets that want it so.

    Examples
    --------
    >>> keys = StaticProvider(Credentials("ak", "sk"))
    >>> endpoint = Endpoint.parse("https://oss-cn-hangzhou.aliyuncs.com")
    >>> connection = Connection(endpoint, keys, bucket="my-data")
    >>> connection.endpoint.region, connection.signature, connection.identity
    ('cn-hangzhou', 'v4', 'https://oss-cn-hangzhou.aliyuncs.com')
    """

    endpoint: Endpoint
    credentials: CredentialsProvider
    bucket: str | None = None
    signature: SignatureVersion = "v4"
    timeout: float = 60.0
    connect_timeout: float = 10.0
    user_agent: str = ""
    identity: str = ""
    ca_file: str | None = None
    request_payer: bool = False

    def __post_init__(self) -> None:
        if not self.user_agent:
            object.__setattr__(self, "user_agent", default_user_agent())
        if not self.identity:
            object.__setattr__(self, "identity", self.endpoint.canonical)

    def __repr__(self) -> str:
        bucket = f", bucket={self.bucket!r}" if self.bucket else ""
        return f"Connection({self.endpoint.canonical!r}{bucket}, credentials from {self.credentials.source})"


def connect(
    *,
    endpoint: str | Endpoint | None = None,
    region: str | None = None,
    bucket: str | None = None,
    access_key_id: str | None = None,
    access_key_secret: str | None = None,
    security_token: str | None = None,
    credentials: object = None,
    profile: str | None = None,
    signature: str = "v4",
    timeout: float = 60.0,
    connect_timeout: float = 10.0,
    cname: bool = False,
    path_style: bool | None = None,
    internal: bool = False,
    accelerate: bool = False,
    dualstack: bool = False,
    user_agent: str | None = None,
    identity: str | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    request_payer: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Connection:
    """Describe a connection; nothing is sent yet.

    What is not given comes from ``OSS_REGION``, ``OSS_ENDPOINT`` and ``OSS_BUCKET``, then from the
    ossutil configuration; keys from :func:`ossmp_jupyter.oss.config_files.default_chain`.

    Parameters
    ----------
    endpoint, region : str, optional
        At least one must be known. See :meth:`Endpoint.parse`, also for ``cname``, ``path_style``,
        ``internal``, ``accelerate`` and ``dualstack``.
    bucket : str, optional
        Default bucket.
    access_key_id, access_key_secret, security_token : str, optional
        Fixed credentials.
    credentials : provider, Credentials, mapping or function, optional
        Instead of the three above.
    profile : str, optional
        Profile of the ossutil or aliyun configuration; goes before the environment.
    signature : {"v4", "v1"}, optional
        Signature version.
    timeout, connect_timeout : float, optional
        Seconds.
    user_agent, identity, ca_file, request_payer : optional
        See :class:`Connection`. The variable ``SSL_CERT_FILE`` does what ``ca_file`` does.
    environ : mapping, optional
        Instead of the process's environment variables.

    Raises
    ------
    InputError
        If the service is not known or an argument makes no sense.
    CredentialsError
        If half a key pair is given, or keys and ``credentials`` both.

    Examples
    --------
    >>> connect(region="oss-cn-hangzhou", bucket="my-data", access_key_id="ak", access_key_secret="sk")
    Connection('https://oss-cn-hangzhou.aliyuncs.com', bucket='my-data', credentials from given in the call)
    """
    # First of all: a traceback may show the arguments of this very frame.
    access_key_id, access_key_secret, security_token = map(
        veil, (access_key_id, access_key_secret, security_token)
    )
    credentials, endpoint, env = veil(credentials), veil_address(endpoint), Variables(environ)
    environ = env
    if signature not in {"v4", "v1"}:
        raise InputError(f"there is no signature version {signature!r}", hint="give 'v4' or 'v1'")
    timeout, connect_timeout = _seconds("timeout", timeout), _seconds("connect_timeout", connect_timeout)
    provider = _provider(access_key_id, access_key_secret, security_token, credentials, profile, env)
    bucket = bucket or env.get("OSS_BUCKET") or None
    if bucket:
        check_bucket_name(bucket)
    if not isinstance(endpoint, Endpoint):
        if endpoint or not (internal or accelerate or dualstack):
            endpoint, region, cname, path_style = _fill(
                endpoint, region, bucket, cname, path_style, profile, env
            )
        else:  # one of the region's special endpoints is wanted, so a configured endpoint does not count
            region = region or _default_region(bucket, profile, env)
        endpoint = Endpoint.parse(
            endpoint,
            region=region,
            internal=internal,
            accelerate=accelerate,
            dualstack=dualstack,
            cname=cname,
            path_style=path_style,
        )
    if signature == "v4" and endpoint.region is None:
        raise InputError(
            f"the region of {endpoint.host} is not known, and V4 signatures need it",
            hint="give region='cn-hangzhou' (or your bucket's), set OSS_REGION, or use signature='v1'",
        )
    _warn_of_plain_http(endpoint)
    return Connection(
        endpoint,
        provider,
        bucket,
        "v4" if signature == "v4" else "v1",
        timeout,
        connect_timeout,
        user_agent or "",
        identity or "",
        _ca_file(ca_file),
        request_payer,
    )


_PACKAGE = __name__.partition(".")[0] + "."
_told: set[str] = set()


def _warn_of_plain_http(endpoint: Endpoint) -> None:
    """Once for each host that is not this machine: what goes there by http can be read on the way.

    The warning points to the line outside this package that made the connection: ``connect``, ``OSSClient``,
    or ``upload`` with variables.
    """
    if endpoint.scheme != "http" or endpoint.is_loopback or endpoint.host in _told:
        return
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(
        f"http://{endpoint.host}: data, key ID and token travel in clear, readable on the way (the key's "
        f"secret does not travel); write https:// unless the line is your own",
        stacklevel=level,
    )
    _told.add(endpoint.host)  # not before: whoever makes errors of warnings is told each time


def _ca_file(path: str | os.PathLike[str] | None) -> str | None:
    if path is None:
        return None
    full = os.path.abspath(os.path.expanduser(os.fspath(path)))
    if not os.path.isfile(full):
        raise InputError(f"there is no file {full}", hint="name a PEM file with the authorities to trust")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(full)
    except OSError as error:
        why = "holds no certificate" if isinstance(error, ssl.SSLError) else "cannot be read"
        raise InputError(f"{full} {why}", hint="name a PEM file with the authorities to trust") from None
    return full


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise InputError(f"{name} is {value!r}", hint="give seconds, more than 0")
    return float(value)


def _provider(
    access_key_id: str | None,
    access_key_secret: str | None,
    security_token: str | None,
    credentials: object,
    profile: str | None,
    environ: Mapping[str, str],
) -> CredentialsProvider:
    given = any((access_key_id, access_key_secret, security_token))
    if credentials is not None:
        if given:
            raise CredentialsError("keys and credentials are both given", hint="give one of them")
        return as_provider(credentials)
    if not given:
        return default_chain(profile, environ=environ)
    if not access_key_id or not access_key_secret:
        missing = "access_key_secret" if access_key_id else "access_key_id"
        raise CredentialsError(
            f"{missing} is missing", hint="give access_key_id and access_key_secret together"
        )
    return StaticProvider(Credentials(access_key_id, access_key_secret, security_token or None))


def _fill(
    endpoint: str | None,
    region: str | None,
    bucket: str | None,
    cname: bool,
    path_style: bool | None,
    profile: str | None,
    environ: Mapping[str, str],
) -> tuple[str | None, str | None, bool, bool | None]:
    """Fill in endpoint and region. What is given decides; a default that contradicts it is left out."""
    if endpoint:
        return endpoint, region or _unless_known(endpoint, environ.get("OSS_REGION")), cname, path_style
    settings = ossutil_settings(profile, bucket=bucket, environ=environ)
    sources: list[tuple[str | None, str | None, str | None]] = [
        (veil_address(environ.get("OSS_ENDPOINT")), environ.get("OSS_REGION"), None)
    ]
    if settings is not None:
        entry = (settings.endpoint, settings.region, settings.style)
        sources = [entry, *sources] if profile else [*sources, entry]
    for candidate, its_region, style in sources:
        if candidate and (region is None or _fits(candidate, region)):
            region = region or _unless_known(candidate, its_region)
            return candidate, region, cname or style == "cname", True if style == "path" else path_style
        if its_region and not region:
            region = its_region
    return None, region, cname, path_style


def _default_region(bucket: str | None, profile: str | None, environ: Mapping[str, str]) -> str | None:
    settings = ossutil_settings(profile, bucket=bucket, environ=environ)
    configured = settings.region if settings else None
    return (configured or environ.get("OSS_REGION")) if profile else (environ.get("OSS_REGION") or configured)


def _unless_known(endpoint: str, region: str | None) -> str | None:
    """A default region, unless the endpoint itself says another."""
    known = Endpoint.parse(endpoint, cname=True).region
    return known or region or None


def _fits(endpoint: str, region: str) -> bool:
    known = Endpoint.parse(endpoint, cname=True).region
    return known is None or known == normalise_region(region)
