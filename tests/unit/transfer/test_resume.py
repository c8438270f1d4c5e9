from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossmp_jupyter.errors import SourceChanged
from ossmp_jupyter.oss.checksum import crc64
from ossmp_jupyter.oss.messages import PartInfo
from ossmp_jupyter.transfer.checkpoint import CheckpointPart
from ossmp_jupyter.transfer.plan import Plan
from ossmp_jupyter.transfer.resume import Agreement, agree, crc64_of_source
from ossmp_jupyter.transfer.sources import BytesSource, FileSource
from ossmp_jupyter.units import KIB, MIB

SIZE = 100 * KIB
DATA = os.urandom(5 * SIZE + 17)
PLAN = Plan(len(DATA), SIZE)


def piece(number: int, data: bytes = DATA) -> bytes:
    place = PLAN.part(number)
    return data[place.offset : place.offset + place.length]


def stored(number: int, data: bytes | None = None, *, crc: bool = True) -> PartInfo:
    content = piece(number) if data is None else data
    etag = hashlib.md5(content).hexdigest().upper()
    return PartInfo(number, etag, len(content), crc64(content) if crc else None)


def noted(number: int, data: bytes | None = None) -> CheckpointPart:
    content = piece(number) if data is None else data
    return CheckpointPart(number, hashlib.md5(content).hexdigest().upper(), len(content), crc64(content))


async def settle(server: list[PartInfo], journal: dict[int, CheckpointPart], data: bytes = DATA) -> Agreement:
    return await agree(server, BytesSource(data), Plan(len(data), SIZE), journal)


async def test_all_three_agree() -> None:
    result = await settle([stored(n) for n in range(1, 7)], {n: noted(n) for n in range(1, 7)})
    assert sorted(result.kept) == [1, 2, 3, 4, 5, 6]
    assert result.kept[6] == CheckpointPart(6, stored(6).etag, 17, crc64(piece(6)))
    assert result.resent == {}


async def test_holes_are_fine() -> None:
    result = await settle([stored(5), stored(2)], {2: noted(2)})
    assert sorted(result.kept) == [2, 5]


async def test_without_a_journal_the_servers_list_and_the_local_bytes_suffice() -> None:
    result = await settle([stored(1), stored(3)], {})
    assert sorted(result.kept) == [1, 3]


async def test_an_edit_of_the_same_size_costs_the_part_it_is_in() -> None:
    edited = bytearray(DATA)
    edited[2 * SIZE + 5] ^= 1
    result = await settle([stored(n) for n in range(1, 7)], {n: noted(n) for n in range(1, 7)}, bytes(edited))
    assert sorted(result.kept) == [1, 2, 4, 5, 6]
    assert result.resent == {3: "its content changed"}


async def test_what_only_the_journal_remembers_is_sent_again() -> None:
    result = await settle([stored(1)], {1: noted(1), 2: noted(2)})
    assert (sorted(result.kept), result.resent) == ([1], {2: "not on the server"})


async def test_a_journal_that_remembers_other_bytes_is_not_trusted_over() -> None:
    result = await settle([stored(1)], {1: noted(1, b"other")})
    assert (result.kept, result.resent) == ({}, {1: "the journal remembers other bytes"})


async def test_an_ali_oss_checkpoint_without_crc_does_not_stand_in_the_way() -> None:
    result = await settle([stored(1)], {1: CheckpointPart(1, "E", SIZE, None)})
    assert sorted(result.kept) == [1]


async def test_parts_of_another_size_are_sent_again() -> None:
    result = await settle([stored(1, DATA[:1000]), stored(6)], {})
    assert (sorted(result.kept), result.resent) == ([6], {1: "its size differs"})


async def test_a_source_that_grew_keeps_all_but_the_former_last_part() -> None:
    result = await settle(
        [stored(n) for n in range(1, 7)], {n: noted(n) for n in range(1, 7)}, DATA + b"x" * SIZE
    )
    assert sorted(result.kept) == [1, 2, 3, 4, 5]
    assert result.resent == {6: "its size differs"}


async def test_a_source_that_shrank_keeps_what_is_still_whole() -> None:
    journal = {n: noted(n) for n in range(1, 7)}
    result = await settle([stored(n) for n in range(1, 7)], journal, DATA[: 2 * SIZE + 9])
    assert (sorted(result.kept), result.resent) == ([1, 2], {3: "its size differs"})


async def test_a_server_without_crc_is_believed_by_md5() -> None:
    other = bytes(SIZE)
    result = await settle([stored(1, crc=False), stored(2, other, crc=False)], {})
    assert (sorted(result.kept), result.resent) == ([1], {2: "its content changed"})
    assert result.kept[1].crc64 == crc64(piece(1))


async def test_a_source_that_shrinks_while_it_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(DATA)
    source = FileSource(path)
    source.open()
    os.truncate(path, 1000)
    with pytest.raises(SourceChanged):
        await agree([stored(n) for n in range(1, 7)], source, PLAN, {})
    source.close()


async def test_crc_of_a_source_of_several_stripes(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.write(b"begin")
        file.truncate(130 * MIB)
        file.seek(129 * MIB)
        file.write(b"end")
    source = FileSource(path)
    found = source.open()
    expected = 0
    with path.open("rb") as file:
        while block := file.read(MIB):
            expected = crc64(block, expected)
    assert await crc64_of_source(source, found.size) == expected
    assert await crc64_of_source(source, 0) == 0
    source.close()


@given(st.data())
def test_kept_parts_are_exactly_those_whose_bytes_are_on_the_server(data: st.DataObject) -> None:
    edited = bytearray(DATA)
    for place in data.draw(st.lists(st.integers(0, len(DATA) - 1), max_size=3)):
        edited[place] ^= 0x80
    now = bytes(edited)
    on_server = data.draw(st.lists(st.integers(1, 6), unique=True))
    remembered = data.draw(st.lists(st.integers(1, 6), unique=True))
    result = asyncio.run(
        settle(
            [stored(n, crc=data.draw(st.booleans())) for n in on_server],
            {n: noted(n) for n in remembered},
            now,
        )
    )
    assert set(result.kept) == {n for n in on_server if piece(n, now) == piece(n)}
    assert not set(result.kept) & set(result.resent)
