"""What every upload does, whatever its source: begin, send a part, complete, verify, abort."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ossmp_jupyter.errors import (
    CredentialsError,
    CredentialsExpired,
    NotFound,
    ObjectReplaced,
    OssmpError,
)
from ossmp_jupyter.oss.messages import HeadResult, InitiateResult
from ossmp_jupyter.transfer import lost, past
from ossmp_jupyter.transfer import outcome as outcomes
from ossmp_jupyter.transfer.checkpoint import CheckpointPart
from ossmp_jupyter.transfer.frame import LAST_WORD, UploadFrame
from ossmp_jupyter.transfer.journal import Header, Receipt, Record
from ossmp_jupyter.transfer.lanes import PartBody
from ossmp_jupyter.transfer.plan import Plan, StreamPlan
from ossmp_jupyter.transfer.progress import State, UploadResult

__all__ = ["UploadCore"]

T = TypeVar("T")


class UploadCore(UploadFrame):
    """Begin, send a part, complete, verify, abort: the steps that all kinds of uploads share."""

    async def _initiate(self, plan: Plan | StreamPlan) -> None:
        await self._steady(State.INITIATING, lambda: self._initiate_now(plan))

    async def _initiate_now(self, plan: Plan | StreamPlan) -> None:
        if self.upload_id is not None:
            return  # the answer came when a pause had begun
        call = asyncio.ensure_future(
            self._control("InitiateMultipartUpload", lambda: self._initiate_once(plan.part_size))
        )
        try:
            answer = await asyncio.shield(call)
        except asyncio.CancelledError:
            # The server may have begun the upload already: learn its ID, so that no orphan stays.
            with contextlib.suppress(OssmpError, asyncio.TimeoutError):
                self._begin(await asyncio.wait_for(call, self.last_word), plan)
            raise
        except OssmpError:
            if not self._lost:
                self.forget_journal()  # OSS refused: there is no upload
            raise
        self._begin(answer, plan)

    async def _initiate_once(self, part_size: int) -> InitiateResult:
        """Begin an upload; until the answer is here, the journal says that it is missing."""
        request, sent = self.request, time.time()
        self._lost.append(sent)
        self._journal.begin(self._header("", part_size))
        try:
            answer = await self._rest.init_multipart_upload(
                request.bucket, request.key, headers=request.options.for_initiate()
            )
        except OssmpError as error:
            if not lost.may_have_begun(error):
                self._lost.remove(sent)
            raise
        self._lost.remove(sent)
        return answer

    def _recall(self) -> Record | None:
        """Lock the journal; what an earlier run of this upload has left to go on with."""
        self._journal.acquire()
        record = past.find_record(self.request, self._journal)
        if record is not None:
            self._lost = list(record.header.lost)
            if not record.header.upload_id and record.receipt is None:
                return None
        return record

    async def _settle(self, head: HeadResult | None, header: Header, receipt: Receipt) -> None:
        """Clear away what Initiates without an answer have left; the object is published already."""
        if not self._lost or head is None:
            return
        with contextlib.suppress(OssmpError):
            request = self.request
            if await lost.settle(self._rest, request.bucket, request.key, self._lost, head, self._retrier):
                self._lost.clear()
                self._journal.begin(dataclasses.replace(header, lost=()))
                self._journal.finish(receipt)

    def _begin(self, answer: InitiateResult, plan: Plan | StreamPlan) -> None:
        self.upload_id = answer.upload_id
        # The upload ID is on disk before the first part travels: a crash leaves no unknown upload.
        self._journal.begin(self._header(answer.upload_id, plan.part_size))
        self.board.lay_out(plan)
        self._call_back(answer)

    async def _exchange(self, number: int, body: PartBody, call: Callable[[], Awaitable[T]]) -> T:
        body.reset()
        self.board.flight[number] = body
        try:
            return await call()
        finally:
            self.board.flight.pop(number, None)

    async def _send_body(self, number: int, body: PartBody) -> None:
        """Send one part until the server has confirmed it."""
        request, upload_id, tries = self.request, self._id(), 0

        async def send() -> None:
            nonlocal tries
            tries += 1
            async with self._limit:
                answer = await self._exchange(
                    number, body, lambda: self._rest.upload_part(
                        request.bucket, request.key, upload_id, number, body,
                        length=body.length, headers=request.options.for_part(),
                    ),
                )  # fmt: skip
            outcomes.check_crc(answer.crc64, body.crc64, answer.request_id)
            self._confirm(CheckpointPart(number, answer.etag, body.length, body.crc64), answer)

        await self._retrier.run(f"UploadPart (part {number})", send)
        if tries > 1:
            self.board.retried.add(number)

    async def _complete(self) -> UploadResult:
        repeated = False
        while True:
            try:
                # Half done is worse than late: a pause gives it some seconds.
                expected, done = await self._steady(State.COMPLETING, self._publish, grace=LAST_WORD)
                return await self._verify(expected, done)
            except ObjectReplaced:
                # Complete was answered with success; if the upload is still there, nothing was done.
                assert self._unproved is not None
                if repeated or not await outcomes.is_open(
                    self._rest, self._id(), self._unproved, self._retrier
                ):
                    raise
                repeated = True

    async def _publish(self) -> tuple[outcomes.Expected, outcomes.Outcome]:
        request, sent = self.request, self.board.parts_in_order()
        parts = await outcomes.stored_parts(self._rest, request, self._id(), sent, self._retrier)
        self._unproved = expected = outcomes.expected_of(request.bucket, request.key, parts)
        headers = request.options.for_complete()
        while True:
            try:
                return expected, await outcomes.complete(
                    self._rest, self._id(), expected, headers, self._retrier
                )
            except (CredentialsError, CredentialsExpired) as error:
                await self._need_credentials(error)

    async def _verify(self, expected: outcomes.Expected, done: outcomes.Outcome) -> UploadResult:
        self._unproved = expected
        verified, head = await self._steady(
            State.VERIFYING,
            lambda: outcomes.verify(self._rest, expected, done, self._retrier),
            grace=LAST_WORD,
            paused_too=True,
        )
        etag = head.etag if head is not None else done.etag
        if self.upload_id is None:  # by PutObject: nothing was noted before
            self._journal.begin(self._header("", max(expected.size, 1)))
        receipt = past.receipt_of(head, expected.size, expected.crc64, etag, time.time())
        self._journal.finish(receipt)
        header = self._header(self.upload_id or "", self._plan().part_size)
        await self._steady(
            State.VERIFYING, lambda: self._settle(head, header, receipt), grace=LAST_WORD, paused_too=True
        )
        return self._result(etag, expected.crc64, verified, done)

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
            finished=time.time(),
        )

    async def abort_on_server(self) -> None:
        """Abort, and return when the parts are really gone.

        Raises
        ------
        OssmpError
            If OSS did not do it: the parts are still there, and so is the journal.
        """
        request, upload_id = self.request, self.upload_id
        if upload_id is None:
            return
        self._aborting = True
        try:
            await past.abort_upload(self._rest, request.bucket, request.key, upload_id, self._retrier)
        except OssmpError as error:
            error.message = (
                f"the upload to {request.address} is stopped, but its parts are still in OSS: {error.message}"
            )
            error.hint = f"abort it once more (%oss_abort {upload_id}), or run the upload again: it goes on"
            raise
        self.forget_journal()

    async def published_after_all(self) -> UploadResult | None:
        """After an abort: the result, if a Complete that a pause cut off was carried out after all."""
        expected = self._unproved
        if expected is None:
            return None
        try:
            head = await self._control(
                "HeadObject", lambda: self._rest.head_object(expected.bucket, expected.key)
            )
        except NotFound:
            return None
        if not expected.is_met_by(head):
            return None
        if self.upload_id is not None:
            self._journal.begin(self._header(self.upload_id, self._plan().part_size))
        self.gate.open()
        return await self._verify(expected, outcomes.Outcome(head.etag, head.crc64, head.version_id))

    async def abort_what_is_left(self) -> None:
        """Abort after the end, unless another run goes on with it by now.

        Raises
        ------
        UploadInUse
            If it does.
        """
        self._journal.acquire()
        try:
            await self.abort_on_server()
        finally:
            self._journal.close()

    async def _forget(self, record: Record) -> None:
        """Drop an earlier run's upload, because a fresh one was asked for."""
        if record.receipt is None:
            request, upload_id = self.request, record.header.upload_id
            await self._steady(
                self._state,
                lambda: past.abort_upload(self._rest, request.bucket, request.key, upload_id, self._retrier),
            )
        self.forget_journal()

    def _confirm(self, part: CheckpointPart, answer: object) -> None:
        self.board.confirm(part)
        self._journal.append(part)
        self._call_back(answer)

    def _call_back(self, answer: object) -> None:
        if self.callbacks is not None:
            fraction = self.board.progress(State.UPLOADING, 0.0, None).fraction
            self.callbacks.put(fraction, self.checkpoint(), answer)
