from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.transfer.plan import (
    MAX_OBJECT_SIZE,
    MAX_PART_SIZE,
    MAX_PARTS,
    MAX_PUT_SIZE,
    MIN_PART_SIZE,
    SIMPLE_BELOW,
    Plan,
    StreamPlan,
    check_parallel,
    check_part_size,
    make_plan,
)
from ossmp_jupyter.units import GIB, KIB, MIB

sizes = st.one_of(
    st.integers(0, 4 * MIB),
    st.integers(0, MAX_OBJECT_SIZE),
    st.builds(lambda k, d: max(0, k * MIB + d), st.integers(0, 20_000), st.integers(-2, 2)),
    st.sampled_from([0, 1, SIMPLE_BELOW - 1, SIMPLE_BELOW, MAX_OBJECT_SIZE - 1, MAX_OBJECT_SIZE]),
)
part_sizes = st.one_of(
    st.none(), st.integers(MIN_PART_SIZE, MAX_PART_SIZE), st.sampled_from(["100KiB", "8MiB"])
)


@given(sizes, part_sizes, st.integers(1, 64))
def test_parts_of_any_source_keep_to_the_limits_of_oss(
    size: int, part_size: int | None, parallel: int
) -> None:
    plan = make_plan(size, part_size=part_size, parallel=parallel, simple=False)
    assert 1 <= plan.count <= MAX_PARTS
    assert plan.part_size <= MAX_PART_SIZE
    assert plan.part_size >= MIN_PART_SIZE
    last = plan.part(plan.count)
    assert last.offset + last.length == size
    assert 0 <= last.length <= plan.part_size
    assert last.length > 0 or size == 0


@given(st.integers(0, 40 * MIB), st.integers(MIN_PART_SIZE, 4 * MIB))
def test_parts_cover_the_source_exactly_once_by_the_rule_of_ali_oss(size: int, part_size: int) -> None:
    plan = make_plan(size, part_size=part_size, simple=False)
    parts = plan.parts()
    assert [part.number for part in parts] == list(range(1, plan.count + 1))
    end = 0
    for part in parts:
        assert part.offset == end == (part.number - 1) * plan.part_size
        assert part.length == min(plan.part_size, size - end)
        end += part.length
    assert end == size


@given(sizes, st.integers(MIN_PART_SIZE, MAX_PART_SIZE))
def test_a_part_size_is_taken_as_given_or_raised_and_said_to_be(size: int, part_size: int) -> None:
    plan = make_plan(size, part_size=part_size, simple=False)
    fits = -(-size // part_size) <= MAX_PARTS
    assert (plan.part_size == part_size) is fits
    assert plan.raised is not fits


def test_the_10_001st_part_raises_the_part_size() -> None:
    exact = make_plan(MAX_PARTS * MIN_PART_SIZE, part_size=MIN_PART_SIZE)
    assert (exact.count, exact.raised) == (10_000, False)
    more = make_plan(MAX_PARTS * MIN_PART_SIZE + 1, part_size=MIN_PART_SIZE)
    assert more.count <= MAX_PARTS
    assert more.raised
    assert more.part_size - MIN_PART_SIZE <= 64 * KIB


@pytest.mark.parametrize(
    ("size", "simple"), [(0, True), (SIMPLE_BELOW - 1, True), (SIMPLE_BELOW, False), (MIB, False)]
)
def test_small_sources_go_by_one_put(size: int, simple: bool) -> None:
    assert make_plan(size).simple is simple
    assert make_plan(size, simple=not simple).simple is not simple


def test_an_empty_source_has_one_empty_part() -> None:
    plan = make_plan(0, simple=False)
    assert [(part.number, part.offset, part.length) for part in plan.parts()] == [(1, 0, 0)]


@given(st.integers(20 * MIB, 500 * MIB), st.integers(1, 16))
def test_by_default_each_lane_gets_several_parts_of_1_to_8_mib(size: int, parallel: int) -> None:
    plan = make_plan(size, parallel=parallel)
    assert MIB <= plan.part_size <= 8 * MIB
    assert plan.count >= min(2 * parallel, size // (2 * MIB))


@given(st.integers(512 * MIB + 1, 64 * 1024 * MIB), st.integers(1, 64))
def test_large_sources_have_larger_parts_but_never_few(size: int, parallel: int) -> None:
    plan = make_plan(size, parallel=parallel)
    assert 8 * MIB <= plan.part_size <= 32 * MIB
    assert plan.part_size % (4 * MIB) == 0
    assert plan.count >= 43


def test_what_oss_cannot_hold_is_refused() -> None:
    assert make_plan(MAX_OBJECT_SIZE).count == MAX_PARTS
    with pytest.raises(InputError, match=r"48\.8 TiB"):
        make_plan(MAX_OBJECT_SIZE + 1)
    assert make_plan(MAX_PUT_SIZE, simple=True).simple
    with pytest.raises(InputError, match="5 GiB"):
        make_plan(MAX_PUT_SIZE + 1, simple=True)


@pytest.mark.parametrize("good", [MIN_PART_SIZE, MAX_PART_SIZE, "100KiB", "8 MiB", "1GiB", str(MIB)])
def test_part_sizes_within_the_bounds(good: int | str) -> None:
    assert MIN_PART_SIZE <= check_part_size(good) <= MAX_PART_SIZE


@pytest.mark.parametrize(
    "bad",
    [
        0,
        -1,
        MIN_PART_SIZE - 1,
        "99KiB",
        MAX_PART_SIZE + 1,
        "6GiB",
        "many",
        "",
        "8 MiB x",
        "-8MiB",
        "NaN",
        1.5,
        True,
    ],
)
def test_part_sizes_out_of_bounds_or_not_sizes_are_one_clear_sentence(bad: object) -> None:
    with pytest.raises(InputError) as caught:
        check_part_size(bad)  # type: ignore[arg-type]
    assert "part size" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("given_value", "number"), [(1, 1), (64, 64), ("5", 5)])
def test_parallel(given_value: int | str, number: int) -> None:
    assert check_parallel(given_value) == number


@pytest.mark.parametrize("bad", [0, 65, -1, "five", "", 2.5, None])
def test_parallel_out_of_bounds(bad: object) -> None:
    with pytest.raises(InputError, match="parallel"):
        check_parallel(bad)  # type: ignore[arg-type]


def test_the_parts_of_a_stream_grow_so_that_it_may_be_terabytes_long() -> None:
    plan, total = StreamPlan(), 0
    for _ in range(MAX_PARTS):
        size = plan.next_size()
        assert size <= MAX_PART_SIZE
        total += size
        plan = plan.grown()
    assert total > 7 * 1024 * GIB
    with pytest.raises(InputError, match=r"10,000 parts"):
        plan.next_size()


def test_a_part_size_of_the_users_stays_for_the_whole_stream() -> None:
    plan = StreamPlan(MIB, count=9_999, fixed=True)
    assert plan.next_size() == MIB
    with pytest.raises(InputError):
        plan.grown().next_size()


def test_part_of_a_plan() -> None:
    assert Plan(10, 4).part(3).length == 2
