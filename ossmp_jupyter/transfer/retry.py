"""When and how often to try again.

Each request has its own attempts with full jitter (a random pause between nothing and an
exponentially growing bound: spreads the load best after an outage). All requests of an upload share
one budget, a token bucket: repeating is cheap while most requests succeed, and stops soon when
nothing does. A throttled upload also lowers its concurrency.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ossmp_jupyter.errors import (
    ConnectionTimeout,
    CredentialsError,
    CredentialsExpired,
    OssmpError,
    Throttled,
    TransportError,
)
from ossmp_jupyter.units import format_duration

__all__ = ["CONTROL", "AdaptiveLimit", "Clock", "Retrier", "RetryBudget", "RetryPolicy", "never_sent"]

T = TypeVar("T")

_UNREACHED_ATTEMPTS = 4
"""A service that was never reached is down or misspelt: that is said within seconds."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, sleep and chance, as parameters: tests set them, nothing patches them."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits of repeating one request.

    Parameters
    ----------
    attempts : int
        Tries in all.
    base, cap : float
        Seconds: the pause before try *n* + 1 is random below ``min(cap, base * 2**n)``.
    longest_wait : float
        Seconds: a larger Retry-After is cut to this.

    Examples
    --------
    >>> policy = RetryPolicy(base=0.2, cap=20.0)
    >>> policy.pause(0, chance=1.0), policy.pause(30, chance=0.5)
    (0.2, 10.0)
    """

    attempts: int = 10
    base: float = 0.2
    cap: float = 20.0
    longest_wait: float = 60.0

    def pause(self, failures: int, chance: float, retry_after: float | None = None) -> float:
        """Seconds to wait after ``failures`` + 1 failures; ``chance`` is from 0 to 1."""
        jitter = chance * min(self.cap, self.base * 2.0 ** min(failures, 40))
        return max(jitter, min(retry_after or 0.0, self.longest_wait))


CONTROL = RetryPolicy(attempts=8, cap=2.0)
"""For requests without a body: as stubborn as parts, but a server that is down is reported within seconds."""


class RetryBudget:
    """A token bucket: a repeat takes ``cost``, a success gives one token back.

    Examples
    --------
    >>> budget = RetryBudget(capacity=5, cost=2)
    >>> budget.take(), budget.take(), budget.take()
    (True, True, False)
    """

    def __init__(self, capacity: int = 200, cost: int = 2) -> None:
        self.capacity = self.tokens = capacity
        self.cost = cost

    def take(self) -> bool:
        """Pay for one repeat; False when the bucket is empty."""
        if self.tokens < self.cost:
            return False
        self.tokens -= self.cost
        return True

    def give_back(self) -> None:
        """Note a success."""
        self.tokens = min(self.capacity, self.tokens + 1)


class AdaptiveLimit:
    """At most ``limit`` exchanges at a time; halves when throttled, creeps back to ``usual`` with success.

    Parameters
    ----------
    usual : int
        The number to begin with.
    ceiling : int, optional
        How far :meth:`settle_at` may raise it; no further than ``usual`` when omitted.
    """

    def __init__(self, usual: int, ceiling: int | None = None) -> None:
        self.usual = self.limit = usual
        self.ceiling = ceiling or usual
        self._active = self._successes = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._news = asyncio.Event()

    async def __aenter__(self) -> None:
        while self._active >= self.limit:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                self._waiters.remove(waiter)
                self._wake()  # a wake-up may have been meant for us: pass it on
                raise
            self._waiters.remove(waiter)
        self._active += 1

    async def __aexit__(self, *exc_info: object) -> None:
        self._active -= 1
        self._wake()

    def throttled(self) -> None:
        """Halve the limit."""
        self.limit = max(1, self.limit // 2)
        self._successes = 0

    def succeeded(self) -> None:
        """Raise the limit by one after as many successes as it allows exchanges."""
        if self.limit < self.usual:
            self._successes += 1
            if self._successes >= self.limit:
                self._set(self.limit + 1)

    def settle_at(self, usual: int) -> None:
        """Take another number for the usual one; what is under way above it ends in its own time."""
        throttled, self.usual = self.limit < self.usual, min(usual, self.ceiling)
        self._set(min(self.limit, self.usual) if throttled else self.usual)

    async def turn(self, rank: int, left: Callable[[], object]) -> None:
        """Return when the limit leaves room for worker number ``rank`` (from 0), or nothing is ``left``."""
        while left() and rank >= self.limit:
            await self._news.wait()

    def tell(self) -> None:
        """Let those who wait for their :meth:`turn` look again."""
        self._news.set()
        self._news = asyncio.Event()

    def _set(self, limit: int) -> None:
        self.limit, self._successes = limit, 0
        self._wake()
        self.tell()

    def _wake(self) -> None:
        room = self.limit - self._active
        for waiter in list(self._waiters)[: max(room, 0)]:
            if not waiter.done():
                waiter.set_result(None)


def never_sent(error: BaseException) -> bool:
    """Whether the request certainly did not reach the server: there was no connection.

    Examples
    --------
    >>> never_sent(TransportError("refused", code="NotConnected")), never_sent(TransportError("reset"))
    (True, False)
    """
    return isinstance(error, ConnectionTimeout) or (
        isinstance(error, TransportError) and error.code == "NotConnected"
    )


@dataclass(slots=True)
class Retrier:
    """Runs requests of one upload under a policy and the shared budget.

    ``deadline`` is in seconds: an upload in which everything has failed for so long gives up.
    """

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    budget: RetryBudget = field(default_factory=RetryBudget)
    clock: Clock = field(default_factory=Clock)
    deadline: float = 600.0
    retries: int = 0
    on_retry: Callable[[OssmpError, float], None] | None = None
    on_credentials: Callable[[OssmpError], Awaitable[None]] | None = None
    limit: AdaptiveLimit | None = None
    _failing_since: float | None = None
    _reached: bool = False

    async def run(
        self, what: str, request: Callable[[], Awaitable[T]], *, policy: RetryPolicy | None = None
    ) -> T:
        """Await ``request()`` until it succeeds or may not be repeated.

        Raises
        ------
        OssmpError
            The last failure; its message names ``what`` and the number of attempts.
        """
        policy = policy or self.policy
        failures = 0
        while True:
            try:
                answer = await request()
            except (CredentialsError, CredentialsExpired) as error:
                if isinstance(error, CredentialsExpired):
                    error.concerning(what, attempts=failures + 1)
                if self.on_credentials is None:
                    raise
                await self.on_credentials(error)
            except OssmpError as error:
                if isinstance(error, Throttled) and self.limit is not None:
                    self.limit.throttled()
                failures += 1
                pause = self._pause_or_give_up(error, what, failures, policy)
                self.retries += 1
                if self.on_retry is not None:
                    self.on_retry(error, pause)
                await self.clock.sleep(pause)
            else:
                self._failing_since, self._reached = None, True
                self.budget.give_back()
                if self.limit is not None:
                    self.limit.succeeded()
                return answer

    def _pause_or_give_up(self, error: OssmpError, what: str, failures: int, policy: RetryPolicy) -> float:
        if not error.retryable:
            raise error.concerning(what, attempts=failures)
        # From the first failure, not from the last success: a long part or a long pause is no outage.
        if self._failing_since is None:
            self._failing_since = self.clock.now()
        quiet = self.clock.now() - self._failing_since
        reason = None
        self._reached = self._reached or not never_sent(error)
        attempts = policy.attempts if self._reached else min(policy.attempts, _UNREACHED_ATTEMPTS)
        if failures >= attempts:
            reason = f"after {failures} attempts"
        elif not self.budget.take():
            reason = f"after {failures} attempts, with the upload's retry budget used up"
        elif quiet > self.deadline:
            reason = f"after {failures} attempts, with no success for {format_duration(quiet)}"
        if reason is None:
            return policy.pause(failures - 1, self.clock.random(), error.retry_after)
        if failures > 1:
            error.message = f"{what} failed {reason}: {error.message}"
        raise error.concerning(what, attempts=failures)
