"""Whatever comes in, the parsers of foreign text answer with a value or with their own error."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ossmp_jupyter.localoss import LocalOSS
from tests.fuzz.targets import SEEDS, TARGETS

_ODD = [
    b"", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"9" * 5000, b"-1", b"1e999", b"NaN", b"null",
    b"[" * 20_000, b'{"a":' * 5000, b"<a>" * 5000, b"&" * 1000, b"\r\n\r\n", b"%00", b"../" * 50, b"'", b'"',
    b"\\", b"=" * 500, b"${x", b"--" * 100, b"(" * 3000, b"a" * 20_000,
]  # fmt: skip
_SMALL = [odd for odd in _ODD if len(odd) < 60]


@st.composite
def mutated(draw: st.DrawFn, name: str) -> bytes:
    """A seed with pieces taken out, put in, repeated or exchanged; or anything at all."""
    data = bytearray(draw(st.sampled_from([*SEEDS[name], b""])))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 40)))
        data[at:end] = draw(
            st.one_of(st.binary(max_size=12), st.sampled_from(_ODD), st.just(bytes(data[at:end]) * 2))
        )
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_parser(name: str) -> None:
    @settings(max_examples=100 if name == "magic_lines" else 300, deadline=None)
    @given(mutated(name))
    def hold(data: bytes) -> None:
        TARGETS[name](data)

    for seed in (*SEEDS[name], *_ODD):
        TARGETS[name](seed)
    hold()


YEAR = "Sat, 21 Nov 20200000000000000000000006 00:00:00 GMT"
FOUND = {
    "a year that no date holds": ("heads", f"Last-Modified: {YEAR}".encode()),
    "a journal nested 20,000 deep": ("journals", b"[" * 20_000),
    "a configuration nested 20,000 deep": ("configurations", b"[" * 20_000),
    "a size of 5,000 digits": ("sizes", b"9" * 5000),
    "an address of 100,000 characters": ("addresses", b"a" * 100_000),
    "a notebook without cells": ("receipts", b'{"ells":[]}'),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_fuzzing_has_found(name: str) -> None:
    target, data = FOUND[name]
    TARGETS[target](data)


def test_a_date_header_that_no_date_holds() -> None:
    """The same text where the server reads it: a sentence, not the end of the connection."""
    with LocalOSS(["demo"]) as oss:
        request = urllib.request.Request(
            f"{oss.endpoint}/demo/k", headers={"Authorization": "OSS a:b", "Date": YEAR}
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        refused.value.close()
        assert refused.value.code in (400, 403)
