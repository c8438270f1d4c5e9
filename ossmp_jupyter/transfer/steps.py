"""What one upload does, step by step; which step comes when is :meth:`UploadSteps.live`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from ossmp_jupyter.errors import NoSuchUpload, OssmpError, ServerError, SourceChanged
from ossmp_jupyter.oss.messages import HeadResult, InitiateResult
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer import outcome as outcomes
from ossmp_jupyter.transfer import past
from ossmp_jupyter.transfer.board import PartBoard
from ossmp_jupyter.transfer.callbacks import CallbackRunner
from ossmp_jupyter.transfer.checkpoint import Checkpoint, CheckpointPart
from ossmp_jupyter.transfer.gate import Gate
from ossmp_jupyter.transfer.journal import Header, Journal, Record
from ossmp_jupyter.transfer.lanes import PartBody
from ossmp_jupyter.transfer.plan import MAX_PARTS, Plan, make_plan
from ossmp_jupyter.transfer.progress import State, UploadResult
from ossmp_jupyter.transfer.request import UploadRequest
from ossmp_jupyter.transfer.resume import agree, crc64_of_source, fetch_parts
from ossmp_jupyter.transfer.retry import AdaptiveLimit, Clock, Retrier, RetryPolicy

__all__ = ["UploadSteps"]

T = TypeVar("T")

_CONTROL = RetryPolicy(attempts=4)
"""For requests without a body: a server that is down is reported within seconds."""
_REPAIRS = 3
_ABORT_CHECKS = 5
_LAST_WORD = 5.0
"""Seconds to wait for the answer to an Initiate that is not wanted any more."""


class UploadSteps:
    """The steps of one upload and what they share.

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
        self.problem: str | None = None
        self.board = PartBoard(request.found.size)
        self.gate = Gate()
        self.callbacks: CallbackRunner | None = None
        self._rest = rest
        self._enter = enter
        self._source = request.source
        self._journal = Journal(request.journal)
        self._limit = AdaptiveLimit(request.parallel)
        self._retrier = Retrier(policy, clock=clock, on_retry=self._note_retry, limit=self._limit)
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
        return self._journal.warning or (self.callbacks.error if self.callbacks else None)

    def close(self) -> None:
        """Let go of source and journal."""
        self._source.close()
        self._journal.close()

    def forget_journal(self) -> None:
        """The upload ID is gone for good."""
        self._journal.remove()

    async def live(self) -> UploadResult:
        """Go through all the steps."""
        request, size = self.request, self.board.size
        self._journal.acquire()
        record = past.find_record(request, self._journal)
        if record is not None and request.fresh:
            await self._forget(record)
            record = None
        if record is not None:
            self._enter(State.HASHING)
            published = await past.already_published(self._rest, request, record, self._retrier)
            if published is not None:
                return self._report_published(record, *published)
        plan = make_plan(size, part_size=request.part_size, parallel=request.parallel, simple=request.simple)
        if plan.simple:
            return await self._put(plan)
        if record is None or not await self._take_up(record):
            await self._initiate(plan)
        for repair in range(_REPAIRS):
            await self._send_parts()
            await self._prove_source()
            try:
                return await self._complete()
            except ServerError as error:
                if error.code != "InvalidPart" or repair == _REPAIRS - 1:
                    raise
                # The server's parts are not what we remember: look again, send what is missing.
                self.board.relay(await self._agree(self._plan(), self.board.done))
        raise AssertionError("unreachable")

    async def _put(self, plan: Plan) -> UploadResult:
        """Send a small source, or any on request, by one PutObject."""
        request, board = self.request, self.board
        board.lay_out(plan)
        self._call_back(None)
        body = PartBody(self._source, 0, board.size)
        done: list[outcomes.Outcome] = []

        async def put() -> None:
            done.append(await self._exchange(1, body, lambda: outcomes.put(self._rest, request, body)))

        async def work() -> None:
            await self._retrier.run("PutObject", put)
            board.pending.clear()
            self._confirm(CheckpointPart(1, done[-1].etag, board.size, body.crc64), done[-1])

        await self._run_behind_gate(lambda: [work()])
        await self._prove_source()
        expected = outcomes.Expected(
            request.bucket, request.key, board.size, body.crc64 or 0, done[-1].etag or None
        )
        self._journal.begin(self._header("", plan.part_size))
        return await self._verify(expected, done[-1])

    async def _initiate(self, plan: Plan) -> None:
        request = self.request
        self._enter(State.INITIATING)
        call = asyncio.ensure_future(
            self._control(
                "InitiateMultipartUpload",
                lambda: self._rest.init_multipart_upload(
                    request.bucket, request.key, headers=request.options.for_initiate()
                ),
            )
        )
        try:
            answer = await asyncio.shield(call)
        except asyncio.CancelledError:
            # The server may have begun the upload already: learn its ID, so that no orphan stays.
            with contextlib.suppress(OssmpError, asyncio.TimeoutError):
                self._begin(await asyncio.wait_for(call, _LAST_WORD), plan)
            raise
        self._begin(answer, plan)

    def _begin(self, answer: InitiateResult, plan: Plan) -> None:
        self.upload_id = answer.upload_id
        # The upload ID is on disk before the first part travels: a crash leaves no unknown upload.
        self._journal.begin(self._header(answer.upload_id, plan.part_size))
        self.board.lay_out(plan)
        self._call_back(answer)

    async def _take_up(self, record: Record) -> bool:
        """Go on with an earlier run's upload; False where there is nothing to go on with."""
        plan = Plan(self.board.size, record.header.part_size)
        if record.receipt is not None:
            return False
        if plan.count > MAX_PARTS:
            await self._forget(record)
            return False
        self.upload_id = record.header.upload_id
        try:
            agreed = await self._agree(plan, record.parts)
        except NoSuchUpload:
            self.upload_id = None
            return False
        self.board.lay_out(plan, agreed)
        self._journal.begin(self._header(record.header.upload_id, plan.part_size), agreed.values())
        self._call_back(None)
        return True

    async def _agree(self, plan: Plan, known: dict[int, CheckpointPart]) -> dict[int, CheckpointPart]:
        request, upload_id = self.request, self.upload_id
        assert upload_id is not None
        self._enter(State.HASHING)
        stored = await self._control(
            "ListParts", lambda: fetch_parts(self._rest, request.bucket, request.key, upload_id)
        )
        return dict((await agree(stored, self._source, plan, known)).kept)

    async def _send_parts(self) -> None:
        count = min(self.request.parallel, len(self.board.pending))
        await self._run_behind_gate(lambda: [self._worker() for _ in range(count)])

    async def _worker(self) -> None:
        board = self.board
        while board.pending:
            number = board.pending.popleft()
            try:
                await self._send_part(number)
            except BaseException:
                board.pending.appendleft(number)
                raise

    async def _send_part(self, number: int) -> None:
        request, place, upload_id = self.request, self._plan().part(number), self.upload_id
        assert upload_id is not None
        body = PartBody(self._source, place.offset, place.length)

        async def send() -> None:
            async with self._limit:
                answer = await self._exchange(
                    number, body, lambda: self._rest.upload_part(
                        request.bucket, request.key, upload_id, number, body,
                        length=place.length, headers=request.options.for_part(),
                    ),
                )  # fmt: skip
            outcomes.check_crc(answer.crc64, body.crc64, answer.request_id)
            self._confirm(CheckpointPart(number, answer.etag, place.length, body.crc64), answer)

        before = self._retrier.retries
        await self._retrier.run(f"UploadPart (part {number})", send)
        if self._retrier.retries != before:
            self.board.retried.add(number)

    async def _exchange(self, number: int, body: PartBody, call: Callable[[], Awaitable[T]]) -> T:
        body.reset()
        self.board.flight[number] = body
        try:
            return await call()
        finally:
            self.board.flight.pop(number, None)

    async def _run_behind_gate(self, make: Callable[[], Iterable[Coroutine[Any, Any, None]]]) -> None:
        """Run work until nothing is pending; a closed gate stops it, an open one lets it begin anew."""
        while self.board.pending:
            if not self.gate.is_open:
                self._enter(State.PAUSED)
                await self.gate.wait_open()
            self.board.rest_meter()
            self._enter(State.UPLOADING)
            await self.gate.run(make())

    async def _prove_source(self) -> None:
        """Nothing is completed unless the source is what was sent, by identity or else by content."""
        if await asyncio.to_thread(self._source.unchanged):
            return
        self._enter(State.HASHING)
        await asyncio.to_thread(self._source.close)
        found = await asyncio.to_thread(self._source.open)
        sent = outcomes.expected_of(self.request.bucket, self.request.key, self.board.parts_in_order())
        if found.size != sent.size or await crc64_of_source(self._source, found.size) != sent.crc64:
            raise SourceChanged(
                f"{self._source.name} changed while it was being uploaded",
                hint="nothing was published; run the upload again, unchanged parts are not sent twice",
            )

    async def _complete(self) -> UploadResult:
        request, upload_id = self.request, self.upload_id
        assert upload_id is not None
        self._enter(State.COMPLETING)
        expected = outcomes.expected_of(request.bucket, request.key, self.board.parts_in_order())
        done = await outcomes.complete(
            self._rest, upload_id, expected, request.options.for_complete(), self._retrier
        )
        return await self._verify(expected, done)

    async def _verify(self, expected: outcomes.Expected, done: outcomes.Outcome) -> UploadResult:
        self._enter(State.VERIFYING)
        verified, head = await outcomes.verify(self._rest, expected, done, self._retrier)
        etag = head.etag if head is not None else done.etag
        self._journal.finish(past.receipt_of(head, expected.size, expected.crc64, etag, time.time()))
        return self._result(etag, expected.crc64, verified, done)

    def _report_published(self, record: Record, crc: int, head: HeadResult) -> UploadResult:
        """Say that an earlier run did it all; nothing travels."""
        self.board.lay_out(Plan(self.board.size, max(record.header.part_size, 1)))
        self.board.published()
        self._enter(State.VERIFYING)
        if record.receipt is None:
            self._journal.begin(record.header)
            self._journal.finish(past.receipt_of(head, self.board.size, crc, head.etag, time.time()))
        done = outcomes.Outcome(head.etag, head.crc64, head.version_id, request_id=head.request_id)
        return self._result(head.etag, crc, head.crc64 == crc, done, already=True)

    def _result(
        self, etag: str, crc: int, verified: bool, done: outcomes.Outcome, *, already: bool = False
    ) -> UploadResult:
        board, request = self.board, self.request
        return UploadResult(
            bucket=request.bucket,
            key=request.key,
            size=board.size,
            etag=etag,
            crc64=crc,
            verified=verified,
            elapsed=time.monotonic() - self._started,
            parts=self._plan().count,
            parts_kept=len(board.kept),
            parts_sent=board.parts_sent,
            bytes_sent=board.bytes_sent,
            retries=self._retrier.retries,
            upload_id=self.upload_id,
            version_id=done.version_id,
            callback=done.callback,
            callback_error=done.callback_error,
            already_published=already,
            request_id=done.request_id,
        )

    async def abort_on_server(self) -> None:
        """Abort, then look until the parts are really gone: a part that was under way may land late."""
        request, upload_id = self.request, self.upload_id
        if upload_id is None:
            return
        for check in range(_ABORT_CHECKS):
            await past.abort_upload(self._rest, request.bucket, request.key, upload_id, self._retrier)
            try:
                await self._control(
                    "ListParts",
                    lambda: self._rest.list_parts(request.bucket, request.key, upload_id, max_parts=1),
                )
            except NoSuchUpload:
                self._journal.remove()
                return
            await asyncio.sleep(0.2 * 2**check)

    async def _forget(self, record: Record) -> None:
        """Drop an earlier run's upload, because a fresh one was asked for."""
        if record.receipt is None:
            request, upload_id = self.request, record.header.upload_id
            await past.abort_upload(self._rest, request.bucket, request.key, upload_id, self._retrier)
        self._journal.remove()

    async def _control(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        return await self._retrier.run(what, call, policy=_CONTROL)

    def _confirm(self, part: CheckpointPart, answer: object) -> None:
        self.board.confirm(part)
        self._journal.append(part)
        self._call_back(answer)

    def _call_back(self, answer: object) -> None:
        if self.callbacks is not None:
            fraction = self.board.progress(State.UPLOADING, 0.0, None).fraction
            self.callbacks.put(fraction, self.checkpoint(), answer)

    def _note_retry(self, error: OssmpError, pause: float) -> None:
        self.board.retries = self._retrier.retries
        self.problem = str(error)

    def _header(self, upload_id: str, part_size: int) -> Header:
        return past.header_of(self.request, self.board.size, upload_id, part_size, time.time())

    def _plan(self) -> Plan:
        assert self.board.plan is not None
        return self.board.plan
