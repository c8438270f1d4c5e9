"""Who asks, and did they sign? V1 and V4, in the header or in the URL (protocol sheet, section 2)."""

from __future__ import annotations

import hmac
import re
from calendar import timegm
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ossmp_jupyter.localoss.call import Call, xml_date
from ossmp_jupyter.localoss.config import CLOCK_WINDOW
from ossmp_jupyter.localoss.errors_xml import Refused, access_denied, invalid_argument
from ossmp_jupyter.oss.signing import (
    ALGORITHM_V4,
    MAX_EXPIRES_V4,
    AuthorizationV4,
    canonical_request_v4,
    parse_authorization_v1,
    parse_authorization_v4,
    signature_v1,
    signature_v4,
    string_to_sign_v1,
    string_to_sign_v4,
)

__all__ = ["authenticate"]

_V1_PARAMETERS = ("OSSAccessKeyId", "Signature", "Expires")
_V4_VERSION = "x-oss-signature-version"
_STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")


def authenticate(call: Call) -> None:
    """Refuse whoever did not sign this very request with this server's keys.

    Raises
    ------
    Refused
        With the codes and messages of OSS.
    """
    authorization = call.head.headers.get("authorization")
    query = dict(call.head.query)
    by_url_v1 = any(name in query for name in _V1_PARAMETERS)
    by_url_v4 = query.get(_V4_VERSION) == ALGORITHM_V4
    if authorization is not None and (by_url_v1 or by_url_v4):
        raise invalid_argument(
            "Authorization header and query-string authentication must not be used together.",
            "Authorization",
            "",
        )
    if by_url_v4:
        _check_url_v4(call, query)
    elif by_url_v1:
        _check_url_v1(call, query)
    elif authorization is None:
        raise access_denied(
            "You have no right to access this object because of bucket acl.", ec="0003-00000001"
        )
    elif authorization.startswith(ALGORITHM_V4):
        _check_header_v4(call, authorization, query)
    else:
        _check_header_v1(call, authorization, query)


def _signed_headers(call: Call) -> dict[str, str]:
    """Return the headers as their sender wrote them: UTF-8, which reached us as Latin-1."""
    return {
        name: value.encode("latin-1").decode("utf-8", "replace") for name, value in call.head.headers.items()
    }


def _check_identity(call: Call, access_key_id: str, token: str | None) -> None:
    settings = call.settings
    wanted = settings.rotation.now or settings.security_token
    if not hmac.compare_digest(access_key_id.encode(), settings.access_key_id.encode()) or (
        wanted is not None and token is None
    ):
        raise Refused("InvalidAccessKeyId", extra={"OSSAccessKeyId": access_key_id})
    if token is not None and token in settings.rotation.expired:
        # OSS really echoes the token here: clients have to keep error bodies out of their logs
        raise Refused("SecurityTokenExpired", ec="0002-00000007", extra={"SecurityToken": token})
    if not hmac.compare_digest((token or "").encode(), (wanted or "").encode()):
        raise Refused("InvalidSecurityToken")


def _header_token(call: Call) -> str | None:
    # alibabacloud-oss-v2 puts the token of a V1 request into a header called "security-token".
    return call.head.headers.get("x-oss-security-token", call.head.headers.get("security-token"))


def _check_window(call: Call, moment: float) -> None:
    if abs(call.now - moment) > CLOCK_WINDOW:
        extra = {
            "MaxAllowedSkewMilliseconds": str(CLOCK_WINDOW * 1000),
            "RequestTime": xml_date(moment),
            "ServerTime": xml_date(call.now),
        }
        raise Refused("RequestTimeTooSkewed", extra=extra)


def _mismatch(call: Call, provided: str, text: str, canonical: str | None = None) -> Refused:
    extra = {
        "OSSAccessKeyId": call.settings.access_key_id,
        "SignatureProvided": provided,
        "StringToSign": text,
        "StringToSignBytes": text.encode().hex(" ").upper(),
    }
    if canonical is not None:
        extra["CanonicalRequest"] = canonical
    return Refused("SignatureDoesNotMatch", extra=extra)


def _compare(call: Call, provided: str, expected: str, text: str, canonical: str | None = None) -> None:
    if not hmac.compare_digest(provided.encode("utf-8", "replace"), expected.encode()):
        raise _mismatch(call, provided, text, canonical)


# -- V1


def _check_header_v1(call: Call, authorization: str, query: Mapping[str, str]) -> None:
    parsed = parse_authorization_v1(authorization)
    if parsed is None:
        raise invalid_argument("Authorization header is invalid.", "Authorization", "")
    access_key_id, signature = parsed
    if query.get("security-token") is not None:
        raise invalid_argument(
            "The security token must not be given in the query string.", ec="0002-00000010"
        )
    stamp = call.head.headers.get("x-oss-date", call.head.headers.get("date"))
    if stamp is None:
        raise access_denied("OSS authentication requires a valid Date.")
    try:
        moment = parsedate_to_datetime(stamp).timestamp()
    except (TypeError, ValueError, OverflowError):
        raise invalid_argument("OSS authentication requires a valid Date.", "Date", stamp) from None
    _check_identity(call, access_key_id, _header_token(call))
    _check_window(call, moment)
    text = string_to_sign_v1(
        call.head.method, call.bucket, call.key, query=query, headers=_signed_headers(call)
    )
    _compare(call, signature, signature_v1(call.settings.access_key_secret, text), text)


def _check_url_v1(call: Call, query: Mapping[str, str]) -> None:
    if not all(query.get(name) for name in _V1_PARAMETERS):
        raise access_denied(
            "Query-string authentication requires the Signature, Expires and OSSAccessKeyId parameters."
        )
    expires = query["Expires"]
    if not re.fullmatch(r"[0-9]{1,15}", expires):
        raise access_denied("Invalid date (should be seconds since epoch): " + expires, ec="0002-00000070")
    if "x-oss-security-token" in call.head.headers:
        if "security-token" in query:
            raise invalid_argument("The security token must be given once.", ec="0002-00000010")
        raise Refused("InvalidRequest", "Security-token must be provided by query string parameter.")
    _check_identity(call, query["OSSAccessKeyId"], query.get("security-token"))
    if int(expires) < call.now:
        extra = {"Expires": xml_date(int(expires)), "ServerTime": xml_date(call.now)}
        raise access_denied("Request has expired.", ec="0002-00000069", extra=extra)
    text = string_to_sign_v1(
        call.head.method, call.bucket, call.key, query=query, headers=_signed_headers(call), date=expires
    )
    _compare(call, query["Signature"], signature_v1(call.settings.access_key_secret, text), text)


# -- V4


def _moment_v4(stamp: str | None) -> float:
    if stamp is None:
        raise access_denied("OSS authentication requires a valid Date.")
    try:
        if not _STAMP.fullmatch(stamp):
            raise ValueError(stamp)
        return float(timegm(datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timetuple()))
    except ValueError:
        raise invalid_argument("OSS authentication requires a valid Date.", "x-oss-date", stamp) from None


def _check_scope(call: Call, parsed: AuthorizationV4, stamp: str) -> None:
    if parsed.region != call.settings.region:
        raise invalid_argument(
            "Invalid signing region in Authorization header.",
            "Authorization",
            parsed.region,
            ec="0002-00000226",
        )
    if parsed.product != "oss":
        raise invalid_argument(
            "Invalid signing product in Authorization header.", "Authorization", parsed.product
        )
    if parsed.date != stamp[:8]:
        raise invalid_argument("Invalid signing date in Authorization header.", "Authorization", parsed.date)


def _check_additional(call: Call, listed: str | None) -> str:
    if listed is None:
        return ""
    if not listed or listed.endswith(";"):
        raise invalid_argument(
            "The AdditionalHeaders are not valid.", "AdditionalHeaders", listed, ec="0002-00000209"
        )
    for name in listed.split(";"):
        if "_" in name:
            raise invalid_argument(
                "The AdditionalHeaders are not valid.", "AdditionalHeaders", listed, ec="0002-00000211"
            )
        if name.lower() not in call.head.headers:
            raise invalid_argument(
                "The AdditionalHeaders are not valid.", "AdditionalHeaders", listed, ec="0002-00000210"
            )
    return listed


def _check_header_v4(call: Call, authorization: str, query: Mapping[str, str]) -> None:
    parsed = parse_authorization_v4(authorization)
    if parsed is None:
        raise invalid_argument("Authorization header is invalid.", "Authorization", "")
    payload = call.head.headers.get("x-oss-content-sha256")
    if payload != "UNSIGNED-PAYLOAD":
        raise invalid_argument(
            "The x-oss-content-sha256 header must be UNSIGNED-PAYLOAD.", "x-oss-content-sha256", payload or ""
        )
    stamp = call.head.headers.get("x-oss-date")
    moment = _moment_v4(stamp)
    _check_identity(call, parsed.access_key_id, _header_token(call))
    _check_scope(call, parsed, stamp or "")
    _check_window(call, moment)
    _verify_v4(call, parsed, query, stamp or "", payload)


def _check_url_v4(call: Call, query: Mapping[str, str]) -> None:
    required = ("x-oss-credential", "x-oss-date", "x-oss-expires", "x-oss-signature")
    if missing := [name for name in required if not query.get(name)]:
        raise invalid_argument(
            f"The query parameter {missing[0]} is missing.", missing[0], "", ec="0002-00000215"
        )
    expires = query["x-oss-expires"]
    if not re.fullmatch(r"[0-9]{1,9}", expires) or not 1 <= int(expires) <= MAX_EXPIRES_V4:
        raise invalid_argument(
            "The value of x-oss-expires is not valid.", "x-oss-expires", expires, ec="0002-00000232"
        )
    listed = query.get("x-oss-additional-headers")
    extra = "" if listed is None else f",AdditionalHeaders={listed}"
    parsed = parse_authorization_v4(
        f"{ALGORITHM_V4} Credential={query['x-oss-credential']},Signature={query['x-oss-signature']}{extra}"
    )
    if parsed is None:
        raise invalid_argument("The credential is not valid.", "x-oss-credential", query["x-oss-credential"])
    moment = _moment_v4(query["x-oss-date"])
    _check_identity(call, parsed.access_key_id, query.get("x-oss-security-token"))
    _check_scope(call, parsed, query["x-oss-date"])
    if moment > call.now + CLOCK_WINDOW:
        _check_window(call, moment)
    if moment + int(expires) < call.now:
        told = {"Expires": xml_date(moment + int(expires)), "ServerTime": xml_date(call.now)}
        raise access_denied("Request has expired.", extra=told)
    _verify_v4(call, parsed, query, query["x-oss-date"], "UNSIGNED-PAYLOAD")


def _verify_v4(
    call: Call, parsed: AuthorizationV4, query: Mapping[str, str], stamp: str, payload: str
) -> None:
    canonical = canonical_request_v4(
        call.head.method,
        call.bucket,
        call.key,
        query=query,
        headers=_signed_headers(call),
        additional_headers=_check_additional(call, parsed.additional_headers),
        payload=payload,
    )
    text = string_to_sign_v4(canonical, stamp, parsed.region, parsed.product)
    _compare(call, parsed.signature, signature_v4(call.settings.access_key_secret, text), text, canonical)
