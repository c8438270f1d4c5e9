"""Random requests, signed by us and by alibabacloud-oss-v2's own signers, must be signed alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlsplit

from alibabacloud_oss_v2 import types as sdk
from alibabacloud_oss_v2.signer import SignerV1, SignerV4
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ossmp_jupyter.oss.credentials import Credentials
from ossmp_jupyter.oss.signing import V1_SUBRESOURCES, presign_v1, presign_v4, sign_v1, sign_v4

MANY = settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ANY = st.characters(exclude_categories=("Cs",))
METHODS = st.sampled_from(["GET", "PUT", "POST", "HEAD", "DELETE"])
KEYS = st.text(ANY, min_size=1, max_size=40)
BUCKETS = st.from_regex(r"[a-z0-9][a-z0-9-]{1,20}[a-z0-9]", fullmatch=True)
NAMES = st.sampled_from(
    ["uploads", "uploadId", "partNumber", "prefix", "delimiter", "max-keys", "acl", "x-oss-process"]
)
QUERIES = st.dictionaries(NAMES | st.text(ANY, min_size=1, max_size=8), st.text(ANY, max_size=12), max_size=6)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Content-Type",
            "content-md5",
            "x-oss-meta-a",
            "X-Oss-Meta-B",
            "x-oss-object-acl",
            "Cache-Control",
            "abc",
            "Host",
        ]
    ),
    VALUES,
    max_size=6,
)
KEY_PAIRS = st.builds(Credentials, st.from_regex(r"[A-Za-z0-9]{4,24}", fullmatch=True), VALUES)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(
    lambda t: t.replace(microsecond=0, tzinfo=UTC)
)
TOKENS = st.none() | VALUES


def sdk_request(method: str, key: str, query: dict[str, str], headers: dict[str, str]) -> sdk.HttpRequest:
    pairs = [quote(n, safe="") + (f"={quote(v, safe='')}" if v else "") for n, v in query.items()]
    url = f"https://b.example.com/{quote(key, safe='/')}" + (f"?{'&'.join(pairs)}" if pairs else "")
    return sdk.HttpRequest(method, url, headers=dict(headers))


def sdk_context(
    bucket: str, key: str, request: sdk.HttpRequest, credentials: Credentials, now: datetime, region: str = ""
) -> sdk.SigningContext:
    keys = sdk.Credentials(
        credentials.access_key_id, credentials.access_key_secret, credentials.security_token
    )
    context = sdk.SigningContext(
        product="oss",
        region=region,
        bucket=bucket,
        key=key,
        request=request,
        credentials=keys,
        signing_time=now,
    )
    context.sub_resource = sorted(V1_SUBRESOURCES)
    return context


def sdk_query(request: sdk.HttpRequest) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request.url).query.replace("+", "%2B"), keep_blank_values=True))


@MANY
@given(METHODS, BUCKETS, KEYS, QUERIES, HEADERS, KEY_PAIRS, TIMES)
def test_v1_header(
    method: str,
    bucket: str,
    key: str,
    query: dict[str, str],
    headers: dict[str, str],
    credentials: Credentials,
    now: datetime,
) -> None:
    added = sign_v1(method, bucket, key, query=query, headers=headers, credentials=credentials, now=now)
    request = sdk_request(method, key, query, {**headers, "x-oss-date": added["x-oss-date"]})
    SignerV1().sign(sdk_context(bucket, key, request, credentials, now))
    assert added["Authorization"] == request.headers["Authorization"]


@MANY
@given(METHODS, BUCKETS, KEYS, QUERIES, HEADERS, KEY_PAIRS, TOKENS, TIMES)
def test_v4_header(
    method: str,
    bucket: str,
    key: str,
    query: dict[str, str],
    headers: dict[str, str],
    pair: Credentials,
    token: str | None,
    now: datetime,
) -> None:
    credentials = Credentials(pair.access_key_id, pair.access_key_secret, token)
    added = sign_v4(
        method,
        bucket,
        key,
        query=query,
        headers=headers,
        credentials=credentials,
        now=now,
        region="cn-hangzhou",
        additional_headers=("abc", "Host", "Content-Type", "absent"),
    )
    request = sdk_request(method, key, query, headers)
    context = sdk_context(bucket, key, request, credentials, now, "cn-hangzhou")
    context.additional_headers = {"abc", "Host", "Content-Type", "absent"}
    SignerV4().sign(context)
    assert added["Authorization"] == request.headers["Authorization"]


@MANY
@given(METHODS, BUCKETS, KEYS, QUERIES, HEADERS, KEY_PAIRS, TOKENS, st.integers(1, 604800), TIMES)
def test_links(
    method: str,
    bucket: str,
    key: str,
    query: dict[str, str],
    headers: dict[str, str],
    pair: Credentials,
    token: str | None,
    expires: int,
    now: datetime,
) -> None:
    credentials = Credentials(pair.access_key_id, pair.access_key_secret, token)
    ends = now + timedelta(seconds=expires)

    request = sdk_request(method, key, query, headers)
    context = sdk_context(bucket, key, request, credentials, now, "cn-hangzhou")
    context.auth_method_query, context.expiration_time = True, ends
    SignerV4().sign(context)
    ours = presign_v4(
        method,
        bucket,
        key,
        query=query,
        headers=headers,
        credentials=credentials,
        now=now,
        expires=expires,
        region="cn-hangzhou",
    )
    assert ours == sdk_query(request)

    request = sdk_request(method, key, query, headers)
    context = sdk_context(bucket, key, request, credentials, now)
    context.auth_method_query, context.expiration_time = True, ends
    SignerV1().sign(context)
    ours = presign_v1(
        method,
        bucket,
        key,
        query=query,
        headers=headers,
        credentials=credentials,
        expires_at=int(ends.timestamp()),
    )
    assert ours == sdk_query(request)
