"""The life of one upload, on whatever event loop it is awaited.

::

    queued → hashing? → initiating → uploading ⇄ paused / waiting_for_credentials
           → completing → verifying → done
    and from anywhere before done: failed (resumable), aborted, source_changed

:data:`TRANSITIONS` is this picture as a table; no other change of state can happen. What is done in
each state is in :mod:`ossmp_jupyter.transfer.steps`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ossmp_jupyter.errors import NoSuchUpload, SourceChanged, UploadAborted
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer.callbacks import CallbackRunner
from ossmp_jupyter.transfer.checkpoint import Checkpoint
from ossmp_jupyter.transfer.core import UploadCore
from ossmp_jupyter.transfer.progress import FINAL_STATES, Progress, State, UploadResult
from ossmp_jupyter.transfer.remote import RemoteSource, RemoteSteps
from ossmp_jupyter.transfer.request import UploadRequest
from ossmp_jupyter.transfer.retry import Clock, RetryPolicy
from ossmp_jupyter.transfer.steps import UploadSteps
from ossmp_jupyter.transfer.streaming import StreamSteps

__all__ = ["RESTING", "TRANSITIONS", "UploadTask"]

_STEPS: dict[str, type[UploadCore]] = {"stream": StreamSteps, RemoteSource.kind: RemoteSteps}
_PATIENCE = 5.0
"""Seconds that an abort waits for the answer to an Initiate."""
RESTING = FINAL_STATES | {State.PAUSED}
"""In these states an upload needs no connection."""
_ENDS = frozenset({State.FAILED, State.ABORTED, State.SOURCE_CHANGED, State.PAUSED})
TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: _ENDS | {State.HASHING, State.INITIATING, State.UPLOADING, State.WAITING},
    State.HASHING: _ENDS
    | {State.INITIATING, State.UPLOADING, State.WAITING, State.COMPLETING, State.VERIFYING},
    State.INITIATING: _ENDS | {State.UPLOADING, State.WAITING},
    State.UPLOADING: _ENDS | {State.HASHING, State.WAITING, State.COMPLETING, State.VERIFYING},
    State.PAUSED: _ENDS
    | {State.QUEUED, State.HASHING, State.INITIATING, State.UPLOADING, State.COMPLETING, State.VERIFYING},
    State.WAITING: _ENDS
    | {State.QUEUED, State.HASHING, State.INITIATING, State.UPLOADING, State.COMPLETING, State.VERIFYING},
    State.COMPLETING: _ENDS | {State.HASHING, State.WAITING, State.VERIFYING},
    State.VERIFYING: _ENDS | {State.WAITING, State.COMPLETING, State.DONE},
    State.DONE: frozenset(),
    State.FAILED: frozenset(),
    State.ABORTED: frozenset(),
    State.SOURCE_CHANGED: frozenset(),
}
"""Which state may follow which. PAUSED is also where an upload rests whose process gives it up."""


class UploadTask:
    """One upload. ``await task.run()`` once; ``pause``, ``resume`` and ``abort`` belong to that loop.

    ``progress()``, ``part_map()`` and ``checkpoint`` may be looked at from any thread. ``at_rest`` is
    called when the upload is paused and when it has ended, ``at_waiting`` when it waits for credentials.
    """

    def __init__(
        self,
        rest: RestClient,
        request: UploadRequest,
        *,
        policy: RetryPolicy | None = None,
        clock: Clock | None = None,
        at_rest: Callable[[], None] = lambda: None,
        at_waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self.request = request
        self.state = State.QUEUED
        self.error: BaseException | None = None
        kind = _STEPS.get(request.found.kind, UploadSteps)
        self._steps: UploadCore = kind(rest, request, self._enter, policy or RetryPolicy(), clock or Clock())
        self._started = time.monotonic()
        self._ended: float | None = None
        self._abort_wanted = self._end_wanted = False
        self._life: asyncio.Task[UploadResult] | None = None
        self._finished = asyncio.Event()
        self._at_rest, self._at_waiting = at_rest, at_waiting

    # ------------------------------------------------------------------ looking at it
    @property
    def upload_id(self) -> str | None:
        """OSS's ID of the multipart upload, once it is known."""
        return self._steps.upload_id

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What could be resumed now; None before OSS gave an upload ID."""
        return self._steps.checkpoint()

    @property
    def warning(self) -> str | None:
        """Something the user should know that did not stop the upload."""
        return self._steps.warning()

    def progress(self) -> Progress:
        """Take a snapshot; cheap, from any thread."""
        elapsed = (self._ended or time.monotonic()) - self._started
        error = str(self.error) if self.error else self._steps.problem
        return self._steps.board.progress(self.state, elapsed, error)

    def part_map(self) -> str:
        """One letter per part; see :meth:`PartBoard.part_map`."""
        return self._steps.board.part_map()

    @property
    def pause_asked(self) -> bool:
        """Whether it rests, or soon will, because somebody said so."""
        return not self._steps.gate.is_open

    # ------------------------------------------------------------------ steering it
    def pause(self) -> None:
        """Stop, whatever the upload does; what is cut off is done again later. Nothing is lost."""
        self._steps.gate.close()

    def resume(self) -> None:
        """Go on after a pause."""
        self._steps.gate.open()

    def renew(self, connection: Connection) -> None:
        """Go on with the credentials of another connection to the same service."""
        self._steps.renew(connection)

    async def abort(self) -> bool:
        """Stop our own requests, abort on the server, confirm that the parts are gone.

        Returns
        -------
        bool
            False when it is too late: the object is being completed, or the upload has ended.

        Raises
        ------
        OssmpError
            If OSS did not delete the parts; the upload has failed then and can be resumed.
        """
        if self.state in (State.FAILED, State.SOURCE_CHANGED) and self.upload_id is not None:
            await self._finished.wait()
            await self._steps.abort_what_is_left()
            return True
        if self.state in FINAL_STATES or self.state in (State.COMPLETING, State.VERIFYING):
            return False
        self._abort_wanted = True
        self._steps.last_word = _PATIENCE
        self._end_life()
        await self._finished.wait()
        if self.state is State.FAILED and self.error is not None:
            raise self.error
        return self.state is State.ABORTED

    async def leave(self) -> None:
        """Stop and keep everything; returns when source and journal are let go."""
        self._end_life()
        await self._finished.wait()

    def _end_life(self) -> None:
        """Cancel, once: a second time would cut off the last word of the first."""
        if self._life is not None and not self._end_wanted:
            self._life.cancel()
        self._end_wanted = True

    # ------------------------------------------------------------------ its life
    async def run(self) -> UploadResult:
        """Live the whole life.

        Raises
        ------
        OssmpError
            See :mod:`ossmp_jupyter.errors`; the state tells whether the upload can be resumed.
        asyncio.CancelledError
            The caller was cancelled: everything is kept, as after a pause.
        """
        callbacks = CallbackRunner(self.request.progress) if self.request.progress else None
        self._steps.callbacks = callbacks
        self._life = asyncio.ensure_future(self._steps.live())
        if self._end_wanted:  # before it began
            self._life.cancel()
        try:
            await asyncio.wait({self._life})
            result = await self._conclude(self._life)
        except asyncio.CancelledError:
            self._end_life()
            await asyncio.wait({self._life})
            self._enter(State.PAUSED)
            raise
        except BaseException as error:
            self.error = error
            self._enter(_final_state(error))
            raise
        else:
            self._enter(State.DONE)
            if callbacks is not None:
                callbacks.put(1.0, self.checkpoint, result)
            return result
        finally:
            self._ended = time.monotonic()
            self._steps.close()
            self._finished.set()
            if callbacks is not None:
                await callbacks.close()

    async def _conclude(self, life: asyncio.Task[UploadResult]) -> UploadResult:
        try:
            return life.result()
        except asyncio.CancelledError:
            if not self._abort_wanted:
                raise
            await self._steps.abort_on_server()
            published = await self._steps.published_after_all()
            if published is not None:
                return published  # it was too late
            raise UploadAborted(
                f"the upload to {self.request.address} was aborted",
                hint="its parts are deleted; run the upload again to start afresh",
            ) from None
        except NoSuchUpload as error:
            self._steps.forget_journal()
            raise UploadAborted(
                f"the upload to {self.request.address} is gone from the server: it was aborted elsewhere",
                hint="run the upload again to start afresh",
                request_id=error.request_id,
            ).concerning(error.operation, attempts=error.attempts) from None

    def _enter(self, state: State) -> None:
        if state is self.state:
            return
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"an upload cannot go from {self.state.value} to {state.value}")
        self.state = state
        if state in RESTING:
            self._at_rest()
        elif state is State.WAITING:
            self._at_waiting()


def _final_state(error: BaseException) -> State:
    if isinstance(error, SourceChanged):
        return State.SOURCE_CHANGED
    return State.ABORTED if isinstance(error, UploadAborted) else State.FAILED
