from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossmp_jupyter.errors import AccessDenied, OssmpError, ServerError, Throttled, TransportError
from ossmp_jupyter.transfer.retry import AdaptiveLimit, Clock, Retrier, RetryBudget, RetryPolicy


class Time:
    """A clock that moves only when somebody sleeps."""

    def __init__(self, chance: float | Callable[[], float] = 1.0) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        pick = chance if callable(chance) else lambda: chance
        self.clock = Clock(now=lambda: self.now, sleep=self.sleep, random=pick)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def failing(*errors: OssmpError | None) -> Callable[[], Awaitable[str]]:
    """A request that fails as told, then succeeds."""
    left = list(errors)

    async def request() -> str:
        error = left.pop(0) if left else None
        if error is not None:
            raise error
        return "done"

    return request


def broken() -> TransportError:
    return TransportError("the connection was reset")


# ---------------------------------------------------------------- pauses


@given(st.integers(0, 1000), st.floats(0, 1), st.floats(0.001, 5), st.floats(5, 100))
def test_a_pause_lies_between_nothing_and_the_exponential_bound(
    failures: int, chance: float, base: float, cap: float
) -> None:
    pause = RetryPolicy(base=base, cap=cap).pause(failures, chance)
    assert 0 <= pause <= min(cap, base * 2.0 ** min(failures, 60)) * (1 + 1e-9)


def test_the_jitter_is_full_and_uniform() -> None:
    policy, rng = RetryPolicy(base=1.0, cap=20.0), random.Random(7)
    pauses = [policy.pause(4, rng.random()) for _ in range(20_000)]
    shares = [sum(i * 1.6 <= pause < (i + 1) * 1.6 for pause in pauses) / len(pauses) for i in range(10)]
    assert all(abs(share - 0.1) < 0.01 for share in shares)


@given(st.floats(0, 1e6), st.floats(0, 1))
def test_retry_after_is_the_least_pause_and_is_cut_at_the_longest_wait(
    retry_after: float, chance: float
) -> None:
    policy = RetryPolicy(base=0.2, cap=20, longest_wait=60)
    pause = policy.pause(2, chance, retry_after)
    assert pause >= min(retry_after, 60)
    assert pause <= max(60, 20)


async def test_retry_after_of_the_server_is_honoured() -> None:
    time = Time(chance=0.0)
    answer = await Retrier(clock=time.clock).run("it", failing(Throttled("slow down", retry_after=7.5)))
    assert answer == "done"
    assert time.slept == [7.5]


async def test_pauses_of_one_request_grow() -> None:
    time = Time()
    await Retrier(clock=time.clock).run("it", failing(*[broken() for _ in range(7)]))
    assert time.slept == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8]


# ---------------------------------------------------------------- when to give up


async def test_what_cannot_help_is_not_repeated() -> None:
    time = Time()
    with pytest.raises(AccessDenied):
        await Retrier(clock=time.clock).run("it", failing(AccessDenied("no")))
    assert time.slept == []


async def test_the_attempts_are_counted_and_named() -> None:
    time = Time()
    retrier = Retrier(RetryPolicy(attempts=3), clock=time.clock)
    with pytest.raises(
        TransportError, match=r"UploadPart \(part 3\) failed after 3 attempts: the connection was reset"
    ):
        await retrier.run("UploadPart (part 3)", failing(*[broken() for _ in range(9)]))
    assert len(time.slept) == retrier.retries == 2


async def test_a_service_that_was_never_reached_is_given_up_soon_and_a_lost_one_is_not() -> None:
    def down() -> TransportError:
        return TransportError("h refused the connection", code="NotConnected")

    time = Time()
    retrier = Retrier(clock=time.clock)
    with pytest.raises(TransportError, match="failed after 4 attempts"):
        await retrier.run("PutObject", failing(*[down() for _ in range(99)]))
    assert time.now - 1000 < 2
    for known in (None, broken()):  # an answer, or a connection that broke: the service is there
        time = Time()
        retrier = Retrier(clock=time.clock)
        await retrier.run("it", failing(known))
        with pytest.raises(TransportError, match="failed after 10 attempts"):
            await retrier.run("PutObject", failing(*[down() for _ in range(99)]))


async def test_the_budget_is_shared_and_ends_the_repeats() -> None:
    time = Time()
    retrier = Retrier(RetryPolicy(attempts=100), RetryBudget(capacity=10, cost=2), time.clock)
    with pytest.raises(TransportError, match="retry budget used up"):
        await retrier.run("it", failing(*[broken() for _ in range(99)]))
    assert retrier.retries == 5


async def test_successes_refill_the_budget() -> None:
    budget = RetryBudget(capacity=4, cost=2)
    assert budget.take() and budget.take() and not budget.take()
    for _ in range(10):
        budget.give_back()
    assert budget.tokens == 4
    retrier = Retrier(budget=budget, clock=Time().clock)
    for _ in range(50):  # one failure for every three successes goes on for ever
        await retrier.run("it", failing(broken()))
        await retrier.run("it", failing())


async def test_an_outage_longer_than_the_deadline_ends_the_upload() -> None:
    time = Time()
    retrier = Retrier(
        RetryPolicy(attempts=1000, base=50, cap=50), RetryBudget(10_000), time.clock, deadline=600
    )
    with pytest.raises(TransportError, match="with no success for 10"):
        await retrier.run("it", failing(*[broken() for _ in range(500)]))
    assert 600 <= time.now - 1000 <= 700


async def test_a_long_request_is_not_an_outage() -> None:
    """A part of several GiB takes longer than the deadline; its first failure is still repeated."""
    time = Time()
    retrier = Retrier(clock=time.clock, deadline=600)
    tries = 0

    async def long_then_good() -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            time.now += 3600
            raise broken()
        return "done"

    assert await retrier.run("it", long_then_good) == "done"


async def test_a_long_pause_is_not_an_outage() -> None:
    time = Time()
    retrier = Retrier(clock=time.clock, deadline=600)
    await retrier.run("it", failing())
    time.now += 86_400
    assert await retrier.run("it", failing(broken())) == "done"


async def test_every_repeat_is_told() -> None:
    told: list[tuple[str, float]] = []
    retrier = Retrier(clock=Time().clock, on_retry=lambda error, pause: told.append((error.message, pause)))
    await retrier.run("it", failing(broken(), broken()))
    assert told == [("the connection was reset", 0.2), ("the connection was reset", 0.4)]


async def test_throttling_halves_the_limit_and_success_brings_it_back() -> None:
    limit = AdaptiveLimit(8)
    retrier = Retrier(clock=Time().clock, limit=limit)
    await retrier.run(
        "it", failing(Throttled("x"), Throttled("x"), Throttled("x"), Throttled("x"), Throttled("x"))
    )
    assert limit.limit == 2  # down to 1; the success raised it by one
    for _ in range(100):
        await retrier.run("it", failing())
    assert limit.limit == 8
    await retrier.run("it", failing(ServerError("x", retryable=True)))
    assert limit.limit == 8


# ---------------------------------------------------------------- AdaptiveLimit


async def test_never_more_than_the_limit_at_a_time() -> None:
    limit, active, most = AdaptiveLimit(3), 0, 0

    async def one() -> None:
        nonlocal active, most
        async with limit:
            active += 1
            most = max(most, active)
            await asyncio.sleep(0.001)
            active -= 1

    await asyncio.gather(*(one() for _ in range(30)))
    assert most == 3


async def test_a_wake_up_is_passed_on_when_its_receiver_was_cancelled_meanwhile() -> None:
    limit = AdaptiveLimit(1)
    entered: list[str] = []

    async def one(name: str) -> None:
        async with limit:
            entered.append(name)

    await limit.__aenter__()
    first, second = asyncio.ensure_future(one("first")), asyncio.ensure_future(one("second"))
    await asyncio.sleep(0)
    await limit.__aexit__()  # wakes the first, which has not run yet ...
    first.cancel()  # ... and never will
    await asyncio.wait_for(second, 20)
    assert entered == ["second"]


async def test_workers_above_the_limit_wait_for_their_turn_and_for_the_end() -> None:
    limit, left = AdaptiveLimit(2, 6), [1]
    assert limit.ceiling == 6
    ranks = [asyncio.ensure_future(limit.turn(rank, lambda: left)) for rank in range(6)]
    await asyncio.sleep(0)
    assert [task.done() for task in ranks] == [True] * 2 + [False] * 4
    limit.settle_at(4)
    await asyncio.sleep(0)
    assert [task.done() for task in ranks] == [True] * 4 + [False] * 2
    left.clear()
    limit.tell()
    await asyncio.gather(*ranks)


async def test_a_throttled_limit_is_not_raised_by_another_usual_number() -> None:
    limit = AdaptiveLimit(8, 32)
    limit.throttled()
    limit.settle_at(12)
    assert (limit.limit, limit.usual) == (4, 12)
    limit.settle_at(2)
    assert (limit.limit, limit.usual) == (2, 2)
    limit.settle_at(99)
    assert (limit.limit, limit.usual) == (32, 32)


@given(st.integers(0, 10_000))
def test_no_wake_up_is_lost_however_workers_come_go_and_are_cancelled(seed: int) -> None:
    async def scenario() -> None:
        rng = random.Random(seed)
        limit = AdaptiveLimit(rng.randint(1, 4))
        active = 0

        async def one() -> None:
            nonlocal active
            async with limit:
                active += 1
                try:
                    for _ in range(rng.randint(0, 3)):
                        await asyncio.sleep(0)
                    if rng.random() < 0.2:
                        limit.throttled()
                    else:
                        limit.succeeded()
                finally:
                    active -= 1

        tasks = [asyncio.ensure_future(one()) for _ in range(12)]
        for _ in range(rng.randint(0, 20)):
            if rng.random() < 0.4:
                rng.choice(tasks).cancel()
            await asyncio.sleep(0)
            assert active <= limit.ceiling
        _, waiting = await asyncio.wait(tasks, timeout=20)
        assert not waiting, "a worker waits for ever"
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(scenario())
