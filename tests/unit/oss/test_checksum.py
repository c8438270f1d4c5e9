from __future__ import annotations

import hashlib
import timeit

import crcmod
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossmp_jupyter.oss import checksum
from ossmp_jupyter.oss.checksum import crc64, crc64_combine, multipart_etag

ORACLE = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, rev=True, xorOut=0xFFFFFFFFFFFFFFFF)

VALUES = [
    (b"", 0),
    (b"123456789", 11051210869376104954),
    (b"a", 3675645893302102789),
    (b"\0", 2282658103124508505),
    (b"0123456789", 2838902930144391966),
    (b"hello world", 5981764153023615706),
    (bytes(range(256)), 8232944260754389680),
    (b"a" * 102400, 12696911168479852064),
    (b"\0" * 102400, 15337097285471591505),
]


@pytest.mark.parametrize(("data", "expected"), VALUES)
def test_known_values(data: bytes, expected: int) -> None:
    assert crc64(data) == crc64(bytearray(data)) == crc64(memoryview(data)) == expected
    assert checksum._load_crcmod()(data, 0) == expected, "the fallback must agree"


@pytest.mark.parametrize(
    ("crc_a", "crc_b", "length", "expected"),
    [
        (6748440630437108969, 6285347597771850461, 5, 12811388247244714686),
        (12696911168479852064, 16208029625697213207, 1000, 10189816783531802777),
        (3231342946509354535, 0, 0, 3231342946509354535),
        (0, 3231342946509354535, 3, 3231342946509354535),
    ],
)
def test_known_combinations(crc_a: int, crc_b: int, length: int, expected: int) -> None:
    assert crc64_combine(crc_a, crc_b, length) == expected


@given(st.lists(st.binary(max_size=3000), max_size=6))
def test_parts_combine_to_the_whole(parts: list[bytes]) -> None:
    combined = 0
    for part in parts:
        assert crc64(part) == ORACLE(part)
        combined = crc64_combine(combined, crc64(part), len(part))
    assert combined == ORACLE(b"".join(parts))


@given(st.binary(max_size=500), st.binary(max_size=500))
def test_going_on_from_a_value(a: bytes, b: bytes) -> None:
    assert crc64(b, crc64(a)) == ORACLE(a + b)


@given(st.binary(max_size=20), st.integers(0, 2**45), st.integers(0, 2**45))
def test_appending_is_additive(data: bytes, first: int, second: int) -> None:
    """Lengths far beyond memory: appending zeros in two steps is the same as at once."""
    crc = crc64(data)
    assert crc64_combine(crc64_combine(crc, 0, first), 0, second) == crc64_combine(crc, 0, first + second)


def test_combining_repeated_lengths_is_cheap() -> None:
    crc64_combine(1, 2, 8 << 20)
    runs = 500
    best = (
        min(timeit.repeat(lambda: crc64_combine(12696911168479852064, 1, 8 << 20), number=runs, repeat=5))
        / runs
    )
    print(f"combine: {best * 1e6:.1f} microseconds")
    assert checksum._appending.cache_info().hits >= runs


@pytest.mark.parametrize(
    ("etags", "expected"),
    [
        (
            ["4DE8075FB607DF4D13FBC480EA488EFA", "AF947EC157726CEA88ED83B3C989063B"],
            "1C787C506EABFB9B45EAAA8DB039F4B2-2",
        ),
        (
            [
                '"3349DC700140D7F86A078484278075A9"',
                "8efda8be206636a695359836fe0a0e0a",
                "8C315065167132444177411FDA149B92",
            ],
            "B864DB6A936D376F9F8D3ED3BBE540DD-3",
        ),
    ],
)
def test_multipart_etag(etags: list[str], expected: str) -> None:
    assert multipart_etag(etags) == expected


def test_multipart_etag_from_bytes() -> None:
    etags = [hashlib.md5(data).hexdigest() for data in (b"a" * 102400, b"b" * 1000)]
    assert multipart_etag(etags) == "090978F3FDABF992C84535BA4A870EE0-2"
