from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss.callback import encode_callback
from ossmp_jupyter.oss.headers import ObjectOptions, decode_meta_value, encode_meta_value, guess_mime

CALLBACK = {
    "url": "http://app.example.com/数?x=1;https://b.example.com",
    "host": "app.example.com",
    "body": "bucket=${bucket}&var=${x:who}",
    "contentType": "application/x-www-form-urlencoded",
    "customValue": {"who": "me", "n": 7, "x:flag": True},
    "callbackSNI": True,
}
EVERYTHING = ObjectOptions(
    meta={"a": 1}, mime="text/csv", headers={"cache-control": "no-cache"}, storage_class="ia", tags={"t": ""},
    forbid_overwrite=True, acl="private", encryption="kms", kms_key_id="key",
    callback=CALLBACK, traffic_limit=819200,
    request_payer="requester",
)  # fmt: skip
STORED = {
    "Content-Type": "text/csv", "Cache-Control": "no-cache", "x-oss-meta-a": "1", "x-oss-storage-class": "IA",
    "x-oss-tagging": "t=", "x-oss-server-side-encryption": "KMS",
    "x-oss-server-side-encryption-key-id": "key",
}  # fmt: skip
GUARD = {"x-oss-forbid-overwrite": "true"}
PAYER = {"x-oss-request-payer": "requester"}
LIMIT = {"x-oss-traffic-limit": "819200"}


def test_every_header_goes_to_its_call_only() -> None:
    published = {"x-oss-object-acl": "private", **encode_callback(CALLBACK)}
    assert EVERYTHING.for_initiate() == {**STORED, **GUARD, **PAYER}
    assert EVERYTHING.for_part() == {**LIMIT, **PAYER}
    assert EVERYTHING.for_complete() == {**GUARD, **published, **PAYER}
    assert EVERYTHING.for_put() == {**STORED, **GUARD, **published, **LIMIT, **PAYER}


def test_nothing_by_default() -> None:
    plain = ObjectOptions()
    assert plain.for_initiate() == plain.for_part() == plain.for_complete() == plain.for_put() == {}


def test_headers_with_an_option_of_their_own() -> None:
    options = ObjectOptions(
        headers={
            "Content-Type": "text/csv", "x-oss-storage-class": "Archive", "x-oss-tagging": "a=1&b%20c=",
            "X-OSS-Forbid-Overwrite": "true", "x-oss-object-acl": "private", "x-oss-meta-Who": "me",
            "x-oss-server-side-encryption": "AES256", "x-oss-traffic-limit": "819200",
        }
    )  # fmt: skip
    assert options.mime == "text/csv"
    assert (options.storage_class, options.acl, options.forbid_overwrite) == ("Archive", "private", True)
    assert options.tags == {"a": "1", "b c": ""}
    assert (options.meta, options.traffic_limit, options.headers) == ({"who": "me"}, 819200, {})
    assert options.for_initiate()["x-oss-tagging"] == "a=1&b%20c="
    assert replace(options) == options, "checking twice changes nothing"


def test_replace_keeps_encoded_values() -> None:
    options = ObjectOptions(
        meta={"who": "数据"}, headers={"Content-Disposition": "数.csv", "Expires": timedelta(1)}
    )
    assert replace(options, acl="private").for_put()["x-oss-meta-who"] == options.for_put()["x-oss-meta-who"]


@given(st.text(max_size=60))
def test_meta_values_are_reversible(text: str) -> None:
    encoded = encode_meta_value(text) if not any(0xD800 <= ord(c) < 0xE000 for c in text) else "x"
    assert encoded.isascii() and (encoded.isprintable() and encoded == encoded.strip())
    if encoded != "x":
        assert decode_meta_value(encoded) == text


@pytest.mark.parametrize("text", ["=?utf-8?B?!?=", "=?utf-8?B?/w==?=", "=?gbk?B?eA==?=", "", "plain", "=?"])
def test_values_of_others_come_back_unchanged(text: str) -> None:
    assert decode_meta_value(text) == text


def test_meta_as_the_official_example_has_it() -> None:
    assert ObjectOptions(meta={"year": 2020, "people": "test", "ok": True}).for_put() == {
        "x-oss-meta-year": "2020", "x-oss-meta-people": "test", "x-oss-meta-ok": "true",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"meta": {"a_b": 1}}, "no underscore"),
        ({"meta": {"": 1}}, "not possible"),
        ({"meta": {"a": 1, "A": 2}}, "given twice"),
        ({"meta": {"a": [1]}}, "is a list"),
        ({"meta": {"a": "x" * 8193}}, "OSS allows 8 KiB"),
        ({"meta": {"a": "数" * 2048}}, "OSS allows 8 KiB"),
        ({"headers": {"Content-Encoding": "utf-8"}}, "mime='text/csv; charset=utf-8'"),
        ({"headers": {"Content-Encoding": "gzip, UTF8"}}, "character set"),
        ({"headers": {"Content-Encoding": "g zip"}}, "not a coding"),
        ({"headers": {"Expires": "1000"}}, "give a datetime or timedelta"),
        ({"headers": {"Expires": 3600000}}, "is a number"),
        ({"headers": {"Expires": "soon"}}, "is not a date"),
        ({"headers": {"Expires": timedelta(0)}}, "not in the future"),
        ({"headers": {"Cache-Control": "a\r\nX-Evil: 1"}}, "cannot carry"),
        ({"headers": {"Cache-Control": "缓存"}}, "cannot carry"),
        ({"headers": {"Content-Disposition": "inline; name=数"}}, "is not understood"),
        ({"headers": {"Cache-Contol": "x"}}, "did you mean Cache-Control?"),
        ({"headers": {"x-oss-storage-clas": "IA"}}, "did you mean x-oss-storage-class?"),
        ({"headers": {"X-Mine": "1"}}, "into meta"),
        ({"headers": {"Authorization": "x"}}, "made by the package"),
        ({"headers": {"x-oss-callback": "x"}}, "give callback="),
        ({"headers": {"Content-Type": "a/b"}, "mime": "c/d"}, "disagree"),
        ({"mime": "csv"}, "not a media type"),
        ({"mime": "text/csv\r\nx"}, "not a media type"),
        ({"storage_class": "Cold"}, "Standard, IA, Archive"),
        ({"acl": "public"}, "public-read-write"),
        ({"encryption": "AES"}, "AES256, KMS, SM4"),
        ({"kms_key_id": "x"}, "without the encryption KMS"),
        ({"traffic_limit": 1000}, "819200 to 838860800"),
        ({"traffic_limit": True}, "819200 to 838860800"),
        ({"headers": {"x-oss-traffic-limit": "fast"}}, "819200 to 838860800"),
        ({"request_payer": "me"}, "only 'requester'"),
        ({"tags": {str(n): "" for n in range(11)}}, "OSS allows 10"),
        ({"tags": {"a" * 129: ""}}, "too long"),
        ({"tags": "a=1&a=2"}, "given twice"),
        ({"callback": {"url": "http://a"}}, "no body"),
    ],
)
def test_refused(options: Mapping[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        ObjectOptions(**options)
    assert words in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    "value",
    [
        datetime(2030, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
        datetime(2030, 1, 2, 11, 4, 5, tzinfo=timezone(timedelta(hours=8))),
        "Wed, 02 Jan 2030 03:04:05 GMT",
    ],
)
def test_expires(value: object) -> None:
    assert ObjectOptions(headers={"Expires": value}).for_put()["Expires"] == "Wed, 02 Jan 2030 03:04:05 GMT"


def test_expires_as_a_span() -> None:
    options = ObjectOptions(headers={"expires": timedelta(hours=1)})
    moment = parsedate_to_datetime(options.for_initiate()["Expires"])
    assert timedelta(minutes=59) < moment - datetime.now(UTC) <= timedelta(hours=1)


@pytest.mark.parametrize(
    ("given_text", "sent"),
    [
        ("attachment", "attachment"),
        ('inline; filename="a.csv"', 'inline; filename="a.csv"'),
        (
            'inline; filename="数据.csv"',
            "inline; filename=\"__.csv\"; filename*=UTF-8''%E6%95%B0%E6%8D%AE.csv",
        ),
        ("attachment; filename=数.csv", "attachment; filename=\"_.csv\"; filename*=UTF-8''%E6%95%B0.csv"),
        ("数 据.csv", "attachment; filename=\"_ _.csv\"; filename*=UTF-8''%E6%95%B0%20%E6%8D%AE.csv"),
    ],
)
def test_content_disposition(given_text: str, sent: str) -> None:
    assert ObjectOptions(headers={"Content-Disposition": given_text}).for_put()["Content-Disposition"] == sent


def test_fingerprint() -> None:
    assert (
        ObjectOptions().fingerprint()
        == ObjectOptions(traffic_limit=819200, forbid_overwrite=True).fingerprint()
    )
    span = {"Expires": timedelta(hours=1)}
    assert ObjectOptions(headers=span).fingerprint() == ObjectOptions(headers=span).fingerprint()
    spanned = ObjectOptions(headers=span)
    fixed = ObjectOptions(headers={"Expires": spanned.for_put()["Expires"]})
    assert spanned.fingerprint() != fixed.fingerprint(), "a span stays the same span at another time"
    a, b = ObjectOptions(meta={"a": "1", "b": "2"}), ObjectOptions(meta={"b": "2", "a": "1"})
    assert a.fingerprint() == b.fingerprint()
    different = [
        ObjectOptions(), a, ObjectOptions(mime="a/b"), ObjectOptions(acl="private"),
        ObjectOptions(tags="a=1"),
        ObjectOptions(storage_class="IA"), ObjectOptions(headers=span), ObjectOptions(encryption="AES256"),
    ]  # fmt: skip
    assert len({options.fingerprint() for options in different}) == len(different)


# --- callback -----------------------------------------------------------------------------------


def decoded(headers: Mapping[str, str], name: str) -> Any:
    return json.loads(base64.b64decode(headers[name], validate=True))


def test_callback() -> None:
    headers = encode_callback(CALLBACK)
    assert decoded(headers, "x-oss-callback") == {
        "callbackUrl": "http://app.example.com/%E6%95%B0?x=1;https://b.example.com",
        "callbackHost": "app.example.com",
        "callbackBody": "bucket=${bucket}&var=${x:who}",
        "callbackBodyType": "application/x-www-form-urlencoded",
        "callbackSNI": True,
    }
    assert decoded(headers, "x-oss-callback-var") == {"x:who": "me", "x:n": "7", "x:flag": "true"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": ""}, "no url"),
        ({"url": 7}, "no url"),
        ({"url": "http://a;;http://b"}, "no url"),
        ({"url": ";".join(["http://a"] * 6)}, "at most five"),
        ({"url": "ftp://a"}, "not an http"),
        ({"body": ""}, "no body"),
        ({"contentType": "text/xml"}, "application/json"),
        ({"customValue": {"Who": "x"}}, "lower case"),
        ({"customValue": ["x"]}, "not a dict"),
        ({"callbackUrl": "x"}, "no member 'callbackUrl'"),
        ({"body": "x" * 6000}, "5 KB"),
    ],
)
def test_callback_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        encode_callback({"url": "http://a", "body": "b", **change})


# --- types --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mime"),
    [
        ("a/b.parquet", "application/vnd.apache.parquet"),
        ("C:\\data\\x.CSV", "text/csv"),
        ("x.csv.gz", "application/gzip"),
        ("x.tar.zst", "application/zstd"),
        ("x.ipynb", "application/x-ipynb+json"),
        ("x.jsonl", "application/jsonl"),
        ("x.geojson", "application/geo+json"),
        ("store.zarr/", "application/vnd.zarr"),
        (".csv", "application/octet-stream"),
        ("csv", "application/octet-stream"),
        ("a.b/c", "application/octet-stream"),
        ("x.unknown", "application/octet-stream"),
    ],
)
def test_guess_mime(name: str, mime: str) -> None:
    assert guess_mime(name) == mime


FORMATS = (
    "parquet arrow feather csv tsv json jsonl ndjson npy npz h5 hdf5 nc zarr safetensors onnx geojson ipynb "
    "pt pkl avro orc duckdb sqlite gz zst yaml toml md"
)


@pytest.mark.parametrize("extension", FORMATS.split(" "))
def test_data_formats_have_a_type(extension: str) -> None:
    mime = guess_mime(f"x.{extension}")
    assert mime != "application/octet-stream"
    assert ObjectOptions(mime=mime).mime == mime
