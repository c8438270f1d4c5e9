"""A file chosen in a browser, as a source of the engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ossmp_jupyter.errors import IntegrityError, SourceChanged, TransportError
from ossmp_jupyter.notebook.browser_direct import read_answer
from ossmp_jupyter.notebook.courier import Answer, Courier, Gone, Lost, PageFile
from ossmp_jupyter.oss.checksum import crc64, crc64_combine
from ossmp_jupyter.transfer.remote import RemoteSource, SentPart
from ossmp_jupyter.units import MIB

if TYPE_CHECKING:
    from ossmp_jupyter.oss.connection import Connection

__all__ = ["BrowserSource"]

_WAITING = "waiting for the file: choose it again"
_DAMAGED = 3
_STRIPE = 64 * MIB


class BrowserSource(RemoteSource):
    """Ranges of one file of a page.

    Parameters
    ----------
    courier : Courier
        Who asks the pages.
    file : PageFile
        The file.
    connection : Connection
        The service, for the errors of parts that the browser sends itself.
    direct : bool
        Whether the browser sends the parts itself.
    """

    def __init__(
        self, courier: Courier, file: PageFile, connection: Connection, *, direct: bool = False
    ) -> None:
        super().__init__(file.name, file.size, file.mtime_ms * 1_000_000, direct=direct)
        self.file = file
        self._courier = courier
        self._connection = connection
        self._proved = True
        self._closed = False

    @property
    def waiting(self) -> str | None:
        """Words when no page has the file any more."""
        return None if self._closed or self._courier.present(self.file) else _WAITING

    def is_same(self, file: PageFile) -> bool:
        """Whether a file looks like this one: its name, size and time."""
        mine = (self.file.name, self.file.size, self.file.mtime_ms)
        return mine == (file.name, file.size, file.mtime_ms)

    def bind(self, file: PageFile) -> None:
        """Go on with the file chosen again; its content is proved before anything is published."""
        self.file, self._proved = file, False

    def again(self) -> BrowserSource:
        """A new source of the same file."""
        return BrowserSource(self._courier, self.file, self._connection, direct=self.direct)

    def unchanged(self) -> bool:
        """Whether it is still what was chosen first; a file chosen again is proved by content."""
        return self._proved

    def close(self) -> None:
        """Let go of the file."""
        self._closed = True
        super().close()

    # ------------------------------------------------------------------ reading
    @asynccontextmanager
    async def range(self, offset: int, length: int) -> AsyncIterator[memoryview]:
        """Fetch a range, in slices; waits while no page has the file."""
        while True:
            file = await self._present()
            async with self._courier.room.take(length):
                try:
                    data = await self._fetch(file, offset, length)
                except Gone:
                    continue
                yield data
                return

    async def crc64(self, offset: int, length: int) -> int:
        """CRC-64 of a range, computed in the browser."""
        whole, at = 0, 0
        while at < length:
            size = min(_STRIPE, length - at)
            async with self._courier.readers:
                answer = await self._ask("crc", offset + at, size)
            whole = crc64_combine(whole, _crc_of(answer), size)
            at += size
        return whole

    async def put(self, url: str, offset: int, length: int) -> SentPart:
        """Have the browser send a part."""
        file = await self._present()
        try:
            answer = await self._courier.ask(file, do="put", off=offset, n=length, url=url)
        except (Gone, Lost):
            await self._present()
            raise TransportError("the page was away while it sent a part", retryable=True) from None
        self._check_readable(answer)
        return await read_answer(answer, url, self._connection, self._courier.origin(file))

    async def _fetch(self, file: PageFile, offset: int, length: int) -> memoryview:
        size = self._courier.slice_of(file)
        if length <= size:
            return await self._slice(file, offset, length)
        part = memoryview(bytearray(length))

        async def piece(at: int) -> None:
            data = await self._slice(file, offset + at, min(size, length - at))
            part[at : at + len(data)] = data

        pieces = [asyncio.ensure_future(piece(at)) for at in range(0, length, size)]
        try:
            await asyncio.gather(*pieces)
        finally:
            for one in pieces:
                one.cancel()
            await asyncio.gather(*pieces, return_exceptions=True)
        return part

    async def _slice(self, file: PageFile, offset: int, length: int) -> memoryview:
        async with self._courier.window:
            damaged = 0
            while damaged < _DAMAGED:
                began = time.monotonic()
                try:
                    answer = await self._courier.ask(file, do="slice", off=offset, n=length)
                except Lost:
                    continue
                self._check_readable(answer)
                if len(answer.data) == length and await asyncio.to_thread(crc64, answer.data) == _crc_of(
                    answer
                ):
                    self._courier.took(file, length, time.monotonic() - began)
                    return answer.data
                damaged += 1
        raise IntegrityError(
            f"{self.name} arrives damaged: the browser's checksum of a slice differs from the kernel's",
            hint="something between browser and kernel changes what passes; look at proxies and extensions",
        )

    async def _ask(self, do: str, offset: int, length: int) -> Answer:
        while True:
            file = await self._present()
            try:
                answer = await self._courier.ask(file, do=do, off=offset, n=length)
            except (Gone, Lost):
                continue
            self._check_readable(answer)
            return answer

    async def _present(self) -> PageFile:
        while not self._courier.present(self.file):
            await self._courier.news()
        return self.file

    def _check_readable(self, answer: Answer) -> None:
        if "error" in answer.content:
            raise SourceChanged(
                f"the browser can read {self.name} no longer ({answer.content['error']}): "
                "it was changed, moved or deleted after it was chosen",
                hint="choose it again; unchanged parts are not sent twice",
            )


def _crc_of(answer: Answer) -> int:
    return int(str(answer.content.get("crc") or "0"), 16)
