"""The table of states, against the picture in the plan: every arrow, and no other."""

from __future__ import annotations

import itertools

import pytest

from ossmp_jupyter.errors import NoSuchUpload, SourceChanged, TransportError, UploadAborted, UploadInUse
from ossmp_jupyter.transfer.progress import FINAL_STATES, State
from ossmp_jupyter.transfer.upload import TRANSITIONS, UploadTask, _final_state

S = State
# Before something is sent, sending, after: what an upload may do next. Ends and rest come on top.
ARROWS = {
    S.QUEUED: {S.HASHING, S.INITIATING, S.UPLOADING, S.WAITING},
    S.HASHING: {S.INITIATING, S.UPLOADING, S.COMPLETING, S.VERIFYING, S.WAITING},
    S.INITIATING: {S.UPLOADING, S.WAITING},
    S.UPLOADING: {S.HASHING, S.COMPLETING, S.VERIFYING, S.WAITING},
    S.PAUSED: {S.QUEUED, S.HASHING, S.INITIATING, S.UPLOADING, S.COMPLETING, S.VERIFYING},
    S.WAITING: {S.QUEUED, S.HASHING, S.INITIATING, S.UPLOADING, S.COMPLETING, S.VERIFYING},
    S.COMPLETING: {S.HASHING, S.VERIFYING, S.WAITING},
    S.VERIFYING: {S.COMPLETING, S.DONE, S.WAITING},
}
ANYWHERE = {S.PAUSED, S.FAILED, S.ABORTED, S.SOURCE_CHANGED}


def task_in(state: State) -> UploadTask:
    task = object.__new__(UploadTask)
    task.state = state
    task._at_rest = task._at_waiting = lambda: None
    return task


@pytest.mark.parametrize(
    ("before", "after"), list(itertools.product(State, State)), ids=lambda state: state.value
)
def test_each_pair_of_states(before: State, after: State) -> None:
    allowed = before is after or (before not in FINAL_STATES and after in (ARROWS[before] | ANYWHERE))
    task = task_in(before)
    if allowed:
        task._enter(after)
        assert task.state is after
    else:
        with pytest.raises(AssertionError, match=f"cannot go from {before.value} to {after.value}"):
            task._enter(after)
        assert task.state is before


def test_every_state_has_its_row_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    assert set().union(*TRANSITIONS.values()) | {S.QUEUED} == set(State)
    assert all(not TRANSITIONS[state] for state in FINAL_STATES)


def test_done_only_after_verification() -> None:
    assert [state for state in State if S.DONE in TRANSITIONS[state]] == [S.VERIFYING]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (SourceChanged("x"), S.SOURCE_CHANGED),
        (UploadAborted("x"), S.ABORTED),
        (UploadInUse("x"), S.FAILED),
        (NoSuchUpload("x"), S.FAILED),
        (TransportError("x"), S.FAILED),
        (OSError("x"), S.FAILED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_which_end_an_error_is(error: BaseException, state: State) -> None:
    assert _final_state(error) is state
