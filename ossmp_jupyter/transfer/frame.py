"""What the steps of every upload stand on: source, journal, board, pauses, repeats."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from ossmp_jupyter.errors import OssmpError
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer import outcome as outcomes
from ossmp_jupyter.transfer import past
from ossmp_jupyter.transfer.board import PartBoard
from ossmp_jupyter.transfer.callbacks import CallbackRunner
from ossmp_jupyter.transfer.checkpoint import Checkpoint
from ossmp_jupyter.transfer.gate import Gate
from ossmp_jupyter.transfer.journal import Header, Journal
from ossmp_jupyter.transfer.plan import Plan, StreamPlan
from ossmp_jupyter.transfer.progress import State, UploadResult
from ossmp_jupyter.transfer.renewal import Renewal
from ossmp_jupyter.transfer.request import UploadRequest
from ossmp_jupyter.transfer.retry import CONTROL, AdaptiveLimit, Clock, Retrier, RetryPolicy

__all__ = ["LAST_WORD", "UploadFrame"]

T = TypeVar("T")

LAST_WORD = 1.5
"""Seconds that an Initiate, a Complete or a look at the object has left when it is not wanted any more.

Who interrupts a program has it back within two seconds. What is cut off is found out by the next run.
"""


class UploadFrame(Renewal, ABC):
    """What the steps of an upload share: its source, its journal, its board, its gate.

    Parameters
    ----------
    rest : RestClient
        The service.
    request : UploadRequest
        What to upload; its source is open and is closed by :meth:`close`.
    enter : callable
        Told each state before its step begins.
    policy, clock : RetryPolicy, Clock
        How parts are repeated; time and chance.
    """

    def __init__(
        self,
        rest: RestClient,
        request: UploadRequest,
        enter: Callable[[State], None],
        policy: RetryPolicy,
        clock: Clock,
    ) -> None:
        self.request = request
        self.upload_id: str | None = None
        self.board = PartBoard(request.found.size)
        self.gate = Gate()
        self.callbacks: CallbackRunner | None = None
        self.last_word = LAST_WORD  # of an Initiate; an abort waits longer, for the ID of what it is about
        self._source = request.source
        self._journal = Journal(request.journal)
        self._limit = AdaptiveLimit(request.parallel, request.ceiling)
        retrier = Retrier(policy, clock=clock, on_retry=self._note_retry, limit=self._limit)
        super().__init__(rest, retrier, enter)
        self._lost: list[float] = []
        self._unproved: outcomes.Expected | None = None
        self._started = time.monotonic()

    def checkpoint(self) -> Checkpoint | None:
        """What could be resumed now; None before OSS gave an upload ID."""
        request, plan = self.request, self.board.plan
        if self.upload_id is None or plan is None:
            return None
        return Checkpoint(
            self._source.path, request.bucket, request.key, self.board.size, plan.part_size,
            self.upload_id, tuple(self.board.done.copy().values()), request.connection.identity,
        )  # fmt: skip

    def warning(self) -> str | None:
        """Something the user should know that did not stop the upload."""
        plan = self.board.plan
        words = (
            plan.warning() if isinstance(plan, Plan) else None,
            self._journal.warning,
            self.callbacks.error if self.callbacks else None,
        )
        return "; ".join(word for word in words if word) or None

    def close(self) -> None:
        """Let go of source and journal."""
        self._stop_waiting()
        self._source.close()
        self._journal.close()

    def forget_journal(self) -> None:
        """The upload ID is gone for good; what is not forgotten is that an Initiate has no answer."""
        if self._lost:
            self._journal.begin(self._header("", max(self.board.size, 1)))
        else:
            self._journal.remove()

    @abstractmethod
    async def live(self) -> UploadResult:
        """Go through all the steps."""

    async def _steady(
        self,
        state: State,
        make: Callable[[], Coroutine[Any, Any, T]],
        *,
        grace: float = 0.0,
        paused_too: bool = False,
    ) -> T:
        """Run a step that may be repeated: a pause ends it after ``grace`` seconds, and it begins anew.

        ``paused_too``: its first try is made even where a pause has begun before.
        """
        while True:
            if not paused_too:
                await self._pass_gate()
            paused_too = False
            self._enter(state)
            ended = await self.gate.attempt(make(), lambda: 0.0 if self._state is State.WAITING else grace)
            self._stop_waiting()
            if ended is not None:
                return ended[0]

    async def _pass_gate(self) -> None:
        if not self.gate.is_open:
            self._enter(State.PAUSED)
            await self.gate.wait_open()

    async def _run_behind_gate(
        self, left: Callable[[], bool], make: Callable[[], Iterable[Coroutine[Any, Any, None]]]
    ) -> None:
        """Run work while something is left; a closed gate stops it, an open one lets it begin anew."""
        while left():
            await self._pass_gate()
            self.board.rest_meter()
            self._enter(State.UPLOADING)
            await self.gate.run(make())
            self._stop_waiting()

    async def _control(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        return await self._retrier.run(what, call, policy=CONTROL)

    def _note_retry(self, error: OssmpError, pause: float) -> None:
        self.board.retries = self._retrier.retries
        self.problem = str(error)

    def _header(self, upload_id: str, part_size: int) -> Header:
        return past.header_of(self.request, self.board.size, upload_id, part_size, time.time(), self._lost)

    def _id(self) -> str:
        assert self.upload_id is not None
        return self.upload_id

    def _plan(self) -> Plan | StreamPlan:
        assert self.board.plan is not None
        return self.board.plan
