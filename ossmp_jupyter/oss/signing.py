"""Signatures of OSS requests: V4 (the default), V1, and presigned URLs of both.

Everything here is a pure function: a request in, headers or query parameters out. A server that
verifies uses the same functions as the client that signs: :func:`string_to_sign_v1`,
:func:`canonical_request_v4`, :func:`string_to_sign_v4`, :func:`signature_v1` and
:func:`signature_v4` take what came over the wire (decoded key and query, raw list of additional
headers) and give back what must compare equal.

Keys and query values are *decoded* texts throughout; ``bucket`` is part of the signature whatever
the addressing style.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss.credentials import Credentials
from ossmp_jupyter.units import format_duration

__all__ = [
    "ALGORITHM_V4",
    "MAX_EXPIRES_V4",
    "UNSIGNED_PAYLOAD",
    "V1_SUBRESOURCES",
    "AuthorizationV4",
    "canonical_request_v4",
    "parse_authorization_v1",
    "parse_authorization_v4",
    "presign_v1",
    "presign_v4",
    "sign_v1",
    "sign_v4",
    "signature_v1",
    "signature_v4",
    "signing_key_v4",
    "string_to_sign_v1",
    "string_to_sign_v4",
]

ALGORITHM_V4 = "OSS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
MAX_EXPIRES_V4 = 7 * 24 * 3600
_SIGNED_BY_DEFAULT = ("content-type", "content-md5")

# The union of what the official SDKs and the documentation sign; no single SDK has them all.
V1_SUBRESOURCES = frozenset(
    """
    uploads uploadId partNumber sequential acl append position delete tagging objectMeta symlink restore
    versioning versions versionId callback callback-var continuation-token security-token x-oss-process
    x-oss-traffic-limit x-oss-request-payer
    response-content-type response-content-language response-expires response-cache-control
    response-content-disposition response-content-encoding
    location bucketInfo stat cors logging website referer lifecycle encryption policy requestPayment qos
    qosInfo cname comp inventory inventoryId worm wormId wormExtend replication replicationProgress
    replicationLocation transferAcceleration resourceGroup style styleName metaQuery httpsConfig accessPoint
    accessPointPolicy publicAccessBlock redundancyTransition regionList cloudboxes img live status vod
    startTime endTime link group objectInfo asyncFetch x-oss-async-process bucketArchiveDirectRead
    requesterQosInfo qosRequester resourcePoolInfo resourcePool resourcePoolBuckets x-oss-ac-source-ip
    x-oss-ac-subnet-mask x-oss-ac-vpc-id x-oss-ac-forward-allow x-oss-access-point-name
    x-oss-write-get-object-response x-oss-target-redundancy-type x-oss-redundancy-transition-taskid
    """.split()  # noqa: SIM905
)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value.strip() for name, value in headers.items()}


# --- V1 ---------------------------------------------------------------------------------------


def string_to_sign_v1(
    method: str,
    bucket: str,
    key: str,
    *,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    date: str = "",
) -> str:
    r"""Build the V1 string to sign.

    Parameters
    ----------
    method, bucket, key : str
        HTTP verb, bucket (empty for ListBuckets) and decoded key (empty for bucket calls).
    query : mapping of str to str
        Decoded query; parameters that V1 does not sign are ignored.
    headers : mapping of str to str
        Request headers; names in any case.
    date : str, optional
        The Date line: the ``Expires`` number of a presigned URL. By default ``x-oss-date``, else ``Date``.

    Examples
    --------
    >>> string_to_sign_v1("GET", "b", "k", query={"uploadId": "7", "max-parts": "2"}, headers={"Date": "D"})
    'GET\n\n\nD\n/b/k?uploadId=7'
    """
    lower = _lower(headers)
    date = date or lower.get("x-oss-date") or lower.get("date", "")
    oss_headers = "".join(f"{name}:{lower[name]}\n" for name in sorted(lower) if name.startswith("x-oss-"))
    signed = sorted(name for name in query if name in V1_SUBRESOURCES)
    resource = f"/{bucket}/{key}" if bucket else "/"
    if signed:
        resource += "?" + "&".join(f"{name}={query[name]}" if query[name] else name for name in signed)
    md5, mime = lower.get("content-md5", ""), lower.get("content-type", "")
    return f"{method}\n{md5}\n{mime}\n{date}\n{oss_headers}{resource}"


def signature_v1(secret: str, string_to_sign: str) -> str:
    r"""Sign a V1 string: base64 of HMAC-SHA1.

    Examples
    --------
    >>> signature_v1("sk", "GET\n\n\n1699807420\n/bucket/key?versionId=versionId")
    'dcLTea+Yh9ApirQ8o8dOPqtvJXQ='
    """
    return base64.b64encode(hmac.digest(secret.encode(), string_to_sign.encode(), "sha1")).decode()


def sign_v1(
    method: str,
    bucket: str,
    key: str,
    *,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    credentials: Credentials,
    now: datetime,
) -> dict[str, str]:
    """Return the headers that V1 adds: ``x-oss-date``, ``Authorization`` and the security token.

    The date travels as ``x-oss-date`` because proxies may rewrite ``Date``.
    """
    added = {"x-oss-date": format_datetime(now.astimezone(UTC), usegmt=True)}
    if credentials.security_token:
        added["x-oss-security-token"] = credentials.security_token
    text = string_to_sign_v1(method, bucket, key, query=query, headers={**headers, **added})
    added["Authorization"] = (
        f"OSS {credentials.access_key_id}:{signature_v1(credentials.access_key_secret, text)}"
    )
    return added


def presign_v1(
    method: str,
    bucket: str,
    key: str,
    *,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    credentials: Credentials,
    expires_at: int,
) -> dict[str, str]:
    """Return the whole query (decoded) of a V1 presigned URL that ends at ``expires_at`` (Unix seconds)."""
    signed = dict(query)
    if credentials.security_token:
        signed["security-token"] = credentials.security_token
    text = string_to_sign_v1(method, bucket, key, query=signed, headers=headers, date=str(expires_at))
    signature = signature_v1(credentials.access_key_secret, text)
    return {
        **signed,
        "OSSAccessKeyId": credentials.access_key_id,
        "Expires": str(expires_at),
        "Signature": signature,
    }


def parse_authorization_v1(value: str) -> tuple[str, str] | None:
    """Read ``OSS <id>:<signature>``; None if the text is not that.

    Examples
    --------
    >>> parse_authorization_v1("OSS ak:c2ln")
    ('ak', 'c2ln')
    """
    scheme, _, rest = value.strip().partition(" ")
    access_key_id, colon, signature = rest.strip().partition(":")
    return (access_key_id, signature) if scheme == "OSS" and access_key_id and colon and signature else None


# --- V4 ---------------------------------------------------------------------------------------


def canonical_request_v4(
    method: str,
    bucket: str,
    key: str,
    *,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    additional_headers: str | Iterable[str] = (),
    payload: str = UNSIGNED_PAYLOAD,
) -> str:
    """Build the V4 canonical request.

    Parameters
    ----------
    method, bucket, key : str
        HTTP verb, bucket (empty for ListBuckets) and decoded key (empty for bucket calls).
    query : mapping of str to str
        The whole decoded query; ``x-oss-signature`` is left out by itself.
    headers : mapping of str to str
        Request headers; names in any case. Those that V4 does not sign are ignored.
    additional_headers : str or iterable of str, optional
        Names to sign besides the usual ones; a text such as ``"abc;zabc"`` is taken as sent.
    payload : str, optional
        Value of ``x-oss-content-sha256``.
    """
    lower = _lower(headers)
    if isinstance(additional_headers, str):
        listed = additional_headers
        extra = {name.lower() for name in additional_headers.split(";") if name}
    else:
        extra = _additional_names(lower, additional_headers)
        listed = ";".join(sorted(extra))
    canonical_headers = "".join(
        f"{name}:{lower[name]}\n"
        for name in sorted(lower)
        if name.startswith("x-oss-") or name in _SIGNED_BY_DEFAULT or name in extra
    )
    uri = quote(f"/{bucket}/{key}" if bucket else "/", safe="/")
    return f"{method}\n{uri}\n{_canonical_query(query)}\n{canonical_headers}\n{listed}\n{payload}"


def _additional_names(lower: Mapping[str, str], names: Iterable[str]) -> set[str]:
    """Keep the additional names that are present and not signed anyway."""
    wanted = {name.lower() for name in names}
    return {n for n in wanted if n in lower and n not in _SIGNED_BY_DEFAULT and not n.startswith("x-oss-")}


def _canonical_query(query: Mapping[str, str]) -> str:
    pairs = sorted(
        (quote(name, safe=""), quote(value, safe=""))
        for name, value in query.items()
        if name != "x-oss-signature"
    )
    return "&".join(f"{name}={value}" if value else name for name, value in pairs)


def string_to_sign_v4(canonical_request: str, timestamp: str, region: str, product: str = "oss") -> str:
    """Build the V4 string to sign; ``timestamp`` is ``yyyymmddThhmmssZ``, ``region`` is ``cn-hangzhou``."""
    scope = f"{timestamp[:8]}/{region}/{product}/aliyun_v4_request"
    return f"{ALGORITHM_V4}\n{timestamp}\n{scope}\n{sha256(canonical_request.encode()).hexdigest()}"


def _hmac_sha256(key: bytes, text: str) -> bytes:
    # Not hmac.digest: that lets the GIL go for a microsecond of work, and getting it back while lanes are
    # busy takes a hundred
    return hmac.new(key, text.encode(), "sha256").digest()


@lru_cache(maxsize=8)
def signing_key_v4(secret: str, date: str, region: str, product: str = "oss") -> bytes:
    """Derive the V4 signing key of one day (``yyyymmdd``), region and product."""
    key = f"aliyun_v4{secret}".encode()
    for part in (date, region, product, "aliyun_v4_request"):
        key = _hmac_sha256(key, part)
    return key


def signature_v4(secret: str, string_to_sign: str) -> str:
    """Sign a V4 string (lower-case hex); day, region and product are read from the string's scope line.

    Examples
    --------
    >>> text = string_to_sign_v4("GET", "20231216T162057Z", "cn-hangzhou")
    >>> len(signature_v4("sk", text))
    64
    """
    date, region, product, _ = string_to_sign.split("\n")[2].split("/")
    return _hmac_sha256(signing_key_v4(secret, date, region, product), string_to_sign).hex()


def sign_v4(
    method: str,
    bucket: str,
    key: str,
    *,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    credentials: Credentials,
    now: datetime,
    region: str,
    additional_headers: Iterable[str] = (),
    product: str = "oss",
) -> dict[str, str]:
    """Return the headers that V4 adds: date, payload mark, ``Authorization`` and the security token."""
    timestamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"x-oss-date": timestamp, "x-oss-content-sha256": UNSIGNED_PAYLOAD}
    if credentials.security_token:
        added["x-oss-security-token"] = credentials.security_token
    full = {**headers, **added}
    extra = sorted(_additional_names(_lower(full), additional_headers))
    request = canonical_request_v4(method, bucket, key, query=query, headers=full, additional_headers=extra)
    text = string_to_sign_v4(request, timestamp, region, product)
    scope = text.split("\n")[2]
    listed = f"AdditionalHeaders={';'.join(extra)}," if extra else ""
    signature = signature_v4(credentials.access_key_secret, text)
    added["Authorization"] = (
        f"{ALGORITHM_V4} Credential={credentials.access_key_id}/{scope},{listed}Signature={signature}"
    )
    return added


def presign_v4(
    method: str,
    bucket: str,
    key: str,
    *,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    credentials: Credentials,
    now: datetime,
    expires: int,
    region: str,
    additional_headers: Iterable[str] = (),
    product: str = "oss",
) -> dict[str, str]:
    """Return the whole query (decoded) of a V4 presigned URL, valid ``expires`` seconds from ``now``.

    Raises
    ------
    InputError
        If ``expires`` is not within 1 second and 7 days.
    """
    if not 1 <= expires <= MAX_EXPIRES_V4:
        raise InputError(
            f"a V4 link cannot be valid for {format_duration(expires)}",
            hint="give 1 to 604800 seconds (7 days)",
        )
    timestamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{timestamp[:8]}/{region}/{product}/aliyun_v4_request"
    extra = sorted(_additional_names(_lower(headers), additional_headers))
    full = {
        **query,
        "x-oss-signature-version": ALGORITHM_V4,
        "x-oss-credential": f"{credentials.access_key_id}/{scope}",
        "x-oss-date": timestamp,
        "x-oss-expires": str(expires),
    }
    if extra:
        full["x-oss-additional-headers"] = ";".join(extra)
    if credentials.security_token:
        full["x-oss-security-token"] = credentials.security_token
    request = canonical_request_v4(method, bucket, key, query=full, headers=headers, additional_headers=extra)
    text = string_to_sign_v4(request, timestamp, region, product)
    return {**full, "x-oss-signature": signature_v4(credentials.access_key_secret, text)}


@dataclass(frozen=True, slots=True)
class AuthorizationV4:
    """What a V4 ``Authorization`` header says; ``additional_headers`` exactly as sent, None if absent."""

    access_key_id: str
    date: str
    region: str
    product: str
    signature: str
    additional_headers: str | None = None


def parse_authorization_v4(value: str) -> AuthorizationV4 | None:
    """Read a V4 ``Authorization`` header by names, not positions; None if the text is not one.

    Examples
    --------
    >>> text = "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request, Signature=ab"
    >>> parse_authorization_v4(text).region
    'cn-hangzhou'
    """
    scheme, _, rest = value.strip().partition(" ")
    fields = {}
    for item in rest.split(","):
        name, equals, text = item.strip().partition("=")
        if equals:
            fields[name] = text
    scope = fields.get("Credential", "").rsplit("/", 4)
    if (
        scheme != ALGORITHM_V4
        or len(scope) != 5
        or scope[4] != "aliyun_v4_request"
        or not fields.get("Signature")
    ):
        return None
    return AuthorizationV4(
        scope[0], scope[1], scope[2], scope[3], fields["Signature"], fields.get("AdditionalHeaders")
    )
