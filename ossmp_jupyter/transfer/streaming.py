"""The upload of a stream: read once, sent from memory while it is read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any

from ossmp_jupyter.errors import NoSuchUpload
from ossmp_jupyter.oss.checksum import crc64
from ossmp_jupyter.oss.messages import PartInfo
from ossmp_jupyter.transfer import outcome as outcomes
from ossmp_jupyter.transfer.checkpoint import CheckpointPart
from ossmp_jupyter.transfer.core import UploadCore
from ossmp_jupyter.transfer.journal import Record
from ossmp_jupyter.transfer.lanes import PartBody
from ossmp_jupyter.transfer.plan import SIMPLE_BELOW, StreamPlan
from ossmp_jupyter.transfer.progress import State, UploadResult
from ossmp_jupyter.transfer.resume import fetch_parts
from ossmp_jupyter.transfer.streams import StreamSource

__all__ = ["StreamSteps"]


class _Buffer:
    """The bytes of one part, readable by position as often as the part has to be sent."""

    def __init__(self, data: memoryview) -> None:
        self.data = data

    def read_into(self, offset: int, view: memoryview, /) -> int:
        piece = self.data[offset : offset + len(view)]
        view[: len(piece)] = piece
        return len(piece)


class StreamSteps(UploadCore):
    """Read, send, complete.

    Run again after a crash, the stream has to be produced again; parts that the server holds already
    with the same number, size and CRC-64 are not sent again.
    """

    async def live(self) -> UploadResult:
        """Go through all the steps."""
        request, source = self.request, self.request.source
        assert isinstance(source, StreamSource)
        record = self._recall()
        if record is not None and (request.fresh or record.receipt is not None):
            await self._forget(record)
            record = None
        plan = StreamPlan(request.part_size, fixed=True) if request.part_size else StreamPlan()
        self.board.size_known = False
        first = await source.take(plan.next_size())
        short = request.simple is None and len(first) < SIMPLE_BELOW
        if short or (request.simple and len(first) < plan.next_size()):
            if record is not None:
                await self._forget(record)
            return await self._put_buffer(first)
        stored = await self._stored(record)
        if self.upload_id is None:
            await self._initiate(plan)
        else:
            self.board.lay_out(plan)
            self._journal.begin(self._header(self.upload_id, plan.part_size))
            self._call_back(None)
        await self._send_stream(source, first, stored)
        return await self._complete()

    async def _put_buffer(self, data: memoryview) -> UploadResult:
        board = self.board
        board.lay_out(StreamPlan(max(len(data), 1)))
        board.grow(len(data))
        board.size_known = True
        self._call_back(None)
        body = PartBody(_Buffer(data), 0, len(data))
        digest = await asyncio.to_thread(outcomes.md5_of, body)
        done: list[outcomes.Outcome] = []
        tries = 0

        async def put() -> None:
            nonlocal tries
            tries += 1
            again = tries > 1
            done.append(
                await self._exchange(
                    1, body, lambda: outcomes.put(self._rest, self.request, body, digest, repeated=again)
                )
            )

        async def work() -> None:
            await self._retrier.run("PutObject", put)
            self._confirm(CheckpointPart(1, done[-1].etag, len(data), body.crc64), done[-1])

        await self._run_behind_gate(lambda: not done, lambda: [work()])
        expected = outcomes.Expected(
            self.request.bucket, self.request.key, len(data), body.crc64 or 0, done[-1].etag or None
        )
        return await self._verify(expected, done[-1])

    async def _stored(self, record: Record | None) -> dict[int, PartInfo]:
        """What an earlier run of this stream has left on the server."""
        if record is None:
            return {}
        request, upload_id = self.request, record.header.upload_id

        async def look() -> list[PartInfo]:
            return await fetch_parts(self._rest, request.bucket, request.key, upload_id)

        try:
            parts = await self._steady(State.HASHING, lambda: self._control("ListParts", look))
        except NoSuchUpload:
            return {}
        self.upload_id = upload_id
        return {part.part_number: part for part in parts}

    async def _send_stream(
        self, source: StreamSource, first: memoryview, stored: dict[int, PartInfo]
    ) -> None:
        back: deque[tuple[int, memoryview]] = deque()  # cut off by a pause, to be sent again
        fresh: asyncio.Queue[tuple[int, memoryview] | None] = asyncio.Queue(1)
        unfinished: set[int] = set()
        reader = asyncio.ensure_future(self._read(source, first, stored, fresh, unfinished))

        async def worker(failed: list[BaseException]) -> None:
            while not failed:  # what one of them has failed with ends all of them
                item = back.popleft() if back else await fresh.get()
                if item is None:
                    fresh.put_nowait(None)  # for the other workers
                    return
                try:
                    await self._send_body(item[0], PartBody(_Buffer(item[1]), 0, len(item[1])))
                except BaseException as error:
                    failed.append(error)
                    back.appendleft(item)
                    raise
                unfinished.discard(item[0])

        async def watch() -> None:
            await asyncio.shield(reader)

        def work() -> list[Coroutine[Any, Any, None]]:
            failed: list[BaseException] = []
            return [watch(), *(worker(failed) for _ in range(self.request.parallel))]

        try:
            await self._run_behind_gate(lambda: bool(unfinished) or not reader.done(), work)
            reader.result()
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(
        self,
        source: StreamSource,
        data: memoryview,
        stored: dict[int, PartInfo],
        fresh: asyncio.Queue[tuple[int, memoryview] | None],
        unfinished: set[int],
    ) -> None:
        """Cut the stream into parts; waits while the workers are behind."""
        board = self.board
        while True:
            number = board.grow(len(data))
            known = stored.get(number)
            crc = await asyncio.to_thread(crc64, data) if known is not None else None
            if known is not None and known.size == len(data) and known.crc64 == crc:
                part = CheckpointPart(number, known.etag, known.size, crc)
                board.keep(part)
                self._journal.append(part)
            else:
                unfinished.add(number)
                await fresh.put((number, data))
            assert isinstance(board.plan, StreamPlan)
            data = await source.take(board.plan.next_size())
            if not data:
                board.size_known = True
                await fresh.put(None)
                return
