from __future__ import annotations

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from ossmp_jupyter.transfer.board import PartBoard
from ossmp_jupyter.transfer.checkpoint import CheckpointPart
from ossmp_jupyter.transfer.lanes import PartBody
from ossmp_jupyter.transfer.plan import Plan, StreamPlan
from ossmp_jupyter.transfer.progress import FINAL_STATES, Progress, SpeedMeter, State
from ossmp_jupyter.units import MIB


def part(plan: Plan, number: int) -> CheckpointPart:
    return CheckpointPart(number, f"{number:032X}", plan.part(number).length, number)


def look(board: PartBoard, state: State = State.UPLOADING) -> Progress:
    return board.progress(state, 1.0, None)


class Body(PartBody):
    def __init__(self, length: int, sent: int) -> None:
        super().__init__(None, 0, length)  # type: ignore[arg-type]
        self.sent = sent


def board_of(count: int, kept: tuple[int, ...] = ()) -> tuple[PartBoard, Plan]:
    plan = Plan(count * MIB - 5, MIB)
    board = PartBoard(plan.size)
    board.lay_out(plan, {number: part(plan, number) for number in kept})
    return board, plan


def test_an_upload_from_beginning_to_end() -> None:
    board, plan = board_of(3)
    assert board.part_map() == "..."
    assert list(board.pending) == [1, 2, 3]
    board.flight[1] = Body(MIB, 1000)
    assert board.part_map() == "f.."
    now = look(board)
    assert (now.sent, now.confirmed, now.parts_in_flight, now.parts_done, now.parts_total) == (
        1000,
        0,
        1,
        0,
        3,
    )
    board.flight.pop(1)
    board.confirm(part(plan, 1))
    board.retried.add(2)
    board.confirm(part(plan, 2))
    board.confirm(part(plan, 3))
    assert board.part_map() == "drd"
    now = look(board)
    assert (now.confirmed, now.sent, now.total, now.parts_done) == (plan.size, plan.size, plan.size, 3)
    assert now.fraction < 1.0
    assert look(board, State.DONE).fraction == 1.0
    assert [one.number for one in board.parts_in_order()] == [1, 2, 3]
    assert (board.parts_sent, board.bytes_sent) == (3, plan.size)


def test_kept_parts_are_confirmed_but_not_sent() -> None:
    board, plan = board_of(4, kept=(2, 4))
    assert board.part_map() == ".k.k"
    assert list(board.pending) == [1, 3]
    now = look(board)
    assert now.kept == now.confirmed == now.sent == 2 * MIB - 5
    assert (now.parts_kept, now.parts_done, board.bytes_sent) == (2, 2, 0)
    board.confirm(part(plan, 1))
    assert board.bytes_sent == MIB


def test_what_the_server_lost_is_pending_again_and_progress_does_not_go_back() -> None:
    board, plan = board_of(4, kept=(1,))
    for number in (2, 3):
        board.confirm(part(plan, number))
    before = look(board).confirmed
    board.relay({1: part(plan, 1), 3: part(plan, 3)})
    assert look(board).confirmed == before
    assert list(board.pending) == [2, 4]
    assert board.part_map() == "k.d."


def test_what_was_published_before_is_all_there() -> None:
    board, _ = board_of(3)
    board.published()
    now = look(board, State.DONE)
    assert (now.confirmed, now.kept, now.parts_done, now.parts_kept) == (now.total, now.total, 3, 3)
    assert board.part_map() == "kkk"


@given(st.lists(st.tuples(st.sampled_from("fcxr"), st.integers(1, 8), st.integers(0, MIB)), max_size=60))
def test_confirmed_bytes_never_decrease_and_nothing_passes_the_total(
    steps: list[tuple[str, int, int]],
) -> None:
    board, plan = board_of(8)
    last = 0
    for what, number, sent in steps:
        if what == "f":
            board.flight[number] = Body(plan.part(number).length, min(sent, plan.part(number).length))
        elif what == "x":
            board.flight.pop(number, None)
        elif what == "c" and number not in board.done:
            board.flight.pop(number, None)
            board.confirm(part(plan, number))
        elif what == "r":
            board.relay({n: p for n, p in board.done.items() if n != number})
        now = look(board)
        assert now.confirmed >= last
        assert 0 <= now.confirmed <= now.total and 0 <= now.sent <= now.total
        assert 0.0 <= now.fraction < 1.0
        assert len(board.part_map()) == 8
        last = now.confirmed


def test_snapshots_may_be_taken_from_other_threads_all_the_time() -> None:
    board, plan = board_of(2000)
    stop, problems, looks = threading.Event(), [], [0]

    def keep_looking() -> None:
        last = 0
        while not stop.is_set():
            try:
                now = look(board)
                board.part_map()
                assert now.confirmed >= last
                last, looks[0] = now.confirmed, looks[0] + 1
            except BaseException as error:
                problems.append(error)
                return

    threads = [threading.Thread(target=keep_looking) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while not (looks[0] or problems) and time.monotonic() < deadline:
        time.sleep(0.001)  # somebody is looking before the first part is confirmed
    for number in range(1, 2001):
        board.flight[number] = Body(MIB, 5)
        board.flight.pop(number)
        board.confirm(part(plan, number))
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert looks[0] > 0


def test_a_stream_grows_and_has_no_fraction_before_its_end_is_known() -> None:
    board = PartBoard(0)
    board.size_known = False
    board.lay_out(StreamPlan())
    assert [board.grow(100), board.grow(50)] == [1, 2]
    board.confirm(CheckpointPart(1, "E", 100, 1))
    now = look(board)
    assert (now.total, now.confirmed, now.fraction, now.eta) == (150, 100, 0.0, None)
    board.size_known = True
    assert look(board).fraction == 100 / 150


# ---------------------------------------------------------------- values


def test_only_done_is_one() -> None:
    for state in State:
        whole = Progress(state=state, total=10, confirmed=10)
        assert (whole.fraction == 1.0) is (state is State.DONE)
        assert (Progress(state=state).fraction == 1.0) is (state is State.DONE)
    assert {State.DONE, State.FAILED, State.ABORTED, State.SOURCE_CHANGED} == FINAL_STATES


def test_speed_is_of_the_last_seconds_only() -> None:
    now = 0.0
    meter = SpeedMeter(window=5.0, now=lambda: now)
    speeds = []
    for second in range(30):
        now = float(second)
        speeds.append(meter.update(100 * second if second < 15 else 1400))
    assert speeds[14] == 100.0
    assert speeds[-1] == 0.0
    meter.reset()
    assert meter.update(5000) == 0.0


def test_speed_is_never_negative_when_a_part_is_sent_again() -> None:
    times = iter([0.0, 1.0, 2.0])
    meter = SpeedMeter(now=lambda: next(times))
    assert [meter.update(done) for done in (1000, 100, 50)] == [0.0, 0.0, 0.0]
