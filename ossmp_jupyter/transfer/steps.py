"""The upload of a source that can be read at any offset: which step comes when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ossmp_jupyter.errors import IntegrityError, NoSuchUpload, ServerError, SourceChanged, SourceNotReadable
from ossmp_jupyter.oss.messages import HeadResult
from ossmp_jupyter.transfer import outcome as outcomes
from ossmp_jupyter.transfer import past
from ossmp_jupyter.transfer.checkpoint import CheckpointPart
from ossmp_jupyter.transfer.core import UploadCore
from ossmp_jupyter.transfer.growth import Growth
from ossmp_jupyter.transfer.journal import Record
from ossmp_jupyter.transfer.lanes import PartBody
from ossmp_jupyter.transfer.plan import MAX_PARTS, PartRange, Plan, make_plan
from ossmp_jupyter.transfer.progress import State, UploadResult
from ossmp_jupyter.transfer.resume import Agreement, agree, crc64_of_source, fetch_parts

__all__ = ["UploadSteps"]

_REPAIRS = 3


class UploadSteps(UploadCore):
    """Hash, initiate, send, prove, complete: files and bytes in memory."""

    async def live(self) -> UploadResult:
        """Go through all the steps."""
        request, size = self.request, self.board.size
        record = self._recall()
        if record is not None and request.fresh:
            await self._forget(record)
            record = None
        if (known := record) is not None:
            if known.receipt is None:
                self.upload_id = known.header.upload_id or None  # what an abort from now on is about
            published = await self._steady(
                State.HASHING,
                lambda: past.already_published(self._rest, request, known, self._retrier),
            )
            if published is not None:
                return await self._report_published(known, *published)
        plan = make_plan(size, part_size=request.part_size, parallel=request.parallel, simple=request.simple)
        if plan.simple:
            if record is not None:
                await self._forget(record)
                self.upload_id = None
            return await self._put(plan)
        if record is None or not await self._take_up(record):
            await self._initiate(plan)
        for repair in range(_REPAIRS):
            await self._send_parts()
            await self._prove_parts()
            try:
                return await self._complete()
            except (IntegrityError, ServerError) as error:
                if error.code != "InvalidPart" or repair == _REPAIRS - 1:
                    raise
                # The server's parts are not what we remember: look again, send what is missing.
                taken = self.board.plan
                assert isinstance(taken, Plan)
                self.board.relay(await self._agree(taken, self.board.done))
        raise AssertionError("unreachable")

    async def _put(self, plan: Plan) -> UploadResult:
        """Send a small source, or any on request, by one PutObject."""
        request, board = self.request, self.board
        board.lay_out(plan)
        self._call_back(None)
        body = PartBody(self._source, 0, board.size)
        done: list[outcomes.Outcome] = []
        tries = 0

        async def send(again: bool) -> outcomes.Outcome:
            # the proof comes first: a PutObject publishes, and refuses other bytes than those of its MD5
            digest = await asyncio.to_thread(outcomes.md5_of, body)

            async def same() -> bool:
                return digest == await asyncio.to_thread(outcomes.md5_of, body)

            await self._prove_source(board.size, same)
            return await outcomes.put(self._rest, request, body, digest, repeated=again)

        async def put() -> None:
            nonlocal tries
            tries += 1
            again = tries > 1
            done.append(await self._exchange(1, body, lambda: send(again)))

        async def work() -> None:
            await self._retrier.run("PutObject", put)
            board.pending.clear()
            self._confirm(CheckpointPart(1, done[-1].etag, board.size, body.crc64), done[-1])

        await self._run_behind_gate(lambda: bool(board.pending), lambda: [work()])
        expected = outcomes.Expected(
            request.bucket, request.key, board.size, body.crc64 or 0, done[-1].etag or None
        )
        return await self._verify(expected, done[-1])

    async def _take_up(self, record: Record) -> bool:
        """Go on with an earlier run's upload; False where there is nothing to go on with."""
        plan = Plan(self.board.size, record.header.part_size)
        if record.receipt is not None:
            return False
        if plan.count > MAX_PARTS:
            await self._forget(record)
            self.upload_id = None
            return False
        self.upload_id = record.header.upload_id
        # A checkpoint that the user gave is remembered even if the server cannot be asked now.
        self._journal.begin(record.header, record.parts.values())
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
        request = self.request

        async def look() -> Agreement:
            stored = await self._control(
                "ListParts", lambda: fetch_parts(self._rest, request.bucket, request.key, self._id())
            )
            return await agree(stored, self._source, plan, known)

        return dict((await self._steady(State.HASHING, look)).kept)

    async def _send_parts(self) -> None:
        board, limit = self.board, self._limit

        def workers() -> list[Coroutine[Any, Any, None]]:
            failed: list[BaseException] = []
            return [self._worker(rank, failed) for rank in range(min(limit.ceiling, len(board.pending)))]

        growth = Growth(limit, lambda: board.bytes_sent + board.in_flight(), lambda: self.gate.is_open)
        growing = asyncio.ensure_future(growth.run())
        try:
            await self._run_behind_gate(lambda: bool(board.pending), workers)
        finally:
            growing.cancel()

    async def _worker(self, rank: int, failed: list[BaseException]) -> None:
        """Send parts until none is left; what one of the workers ``failed`` with ends all of them."""
        board = self.board
        while True:
            await self._limit.turn(rank, lambda: board.pending)
            if not board.pending or failed:
                return  # what has failed lies in pending again: it is not sent once more before all are ended
            number = board.pending.popleft()
            if not board.pending:
                self._limit.tell()  # nothing is left for those who wait
            try:
                assert isinstance(board.plan, Plan)
                await self._send_place(board.plan.part(number))
            except BaseException as error:
                failed.append(error)
                board.pending.appendleft(number)
                raise

    async def _send_place(self, place: PartRange) -> None:
        await self._send_body(place.number, PartBody(self._source, place.offset, place.length))

    async def _prove_parts(self) -> None:
        """Nothing is completed unless the source is what was sent."""
        sent = outcomes.expected_of(self.request.bucket, self.request.key, self.board.parts_in_order())

        async def same() -> bool:
            now = await self._steady(State.HASHING, lambda: crc64_of_source(self._source, sent.size))
            return now == sent.crc64

        await self._prove_source(sent.size, same)

    async def _prove_source(self, size: int, same: Callable[[], Awaitable[bool]]) -> None:
        """By identity or else by content; the latter of the file that is there now."""
        if await asyncio.to_thread(self._source.unchanged):
            return
        try:
            found = await asyncio.to_thread(self._source.open)
        except SourceNotReadable:
            elsewhere = f", or go on with it elsewhere: %oss_resume {self.upload_id} FILE"
            raise SourceChanged(
                f"{self._source.name} was moved, deleted or locked while it was being uploaded",
                hint="nothing was published; run the upload again when it is back"
                + (elsewhere if self.upload_id else ""),
            ) from None
        if found.size != size or not await same():
            raise SourceChanged(
                f"{self._source.name} changed while it was being uploaded",
                hint="nothing was published; run the upload again, unchanged parts are not sent twice",
            )

    async def _report_published(self, record: Record, crc: int, head: HeadResult) -> UploadResult:
        """Say that an earlier run did it all; nothing travels."""
        self.board.lay_out(Plan(self.board.size, max(record.header.part_size, 1)))
        self._call_back(None)
        self.board.published()
        self._enter(State.VERIFYING)
        receipt = record.receipt or past.receipt_of(head, self.board.size, crc, head.etag, time.time())
        if record.receipt is None:
            self._journal.begin(record.header)
            self._journal.finish(receipt)
        await self._settle(head, record.header, receipt)
        done = outcomes.Outcome(head.etag, head.crc64, head.version_id, request_id=head.request_id)
        return self._result(head.etag, crc, head.crc64 == crc, done, already=True)
