"""Sources that are elsewhere: a file in a user's browser, read range by range on request.

Two ways lead to OSS. Through this process: a range is fetched, checked and sent from memory. Or
directly: whoever holds the file sends a part by itself with a presigned link, and this process keeps
the keys, begins, completes and verifies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from ossmp_jupyter.errors import NotOSS
from ossmp_jupyter.oss.veil import veil
from ossmp_jupyter.transfer import outcome as outcomes
from ossmp_jupyter.transfer.checkpoint import CheckpointPart
from ossmp_jupyter.transfer.lanes import PartBody
from ossmp_jupyter.transfer.plan import PartRange, Plan
from ossmp_jupyter.transfer.progress import UploadResult
from ossmp_jupyter.transfer.steps import UploadSteps
from ossmp_jupyter.transfer.streams import RemoteBytes, SourceIdentity

__all__ = ["RemoteSource", "RemoteSteps", "SentPart"]

_LINK_LIFE = 3600
"""Seconds for which a part's link is good; each try has a link of its own."""


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part that its holder has sent. ``theirs`` is the server's CRC-64, None where it cannot be seen."""

    etag: str
    crc64: int
    theirs: int | None = None
    request_id: str = ""


class RemoteSource(RemoteBytes, ABC):
    """What the engine needs of a source that is elsewhere; all coroutines run on the upload's loop.

    Parameters
    ----------
    name : str
        The file's name, for people and for the journal: the same name for the same target is the
        same upload, and resume looks at the content.
    size : int
        Bytes.
    mtime_ns : int
        When the file was changed last, as far as its holder tells.
    direct : bool
        Whether the holder sends the parts itself.
    """

    kind = "browser"

    def __init__(self, name: str, size: int, mtime_ns: int = 0, *, direct: bool = False) -> None:
        self.name = name
        self.size = size
        self.direct = direct
        self._identity = SourceIdentity(self.kind, name, size, mtime_ns)
        self._held: memoryview | None = None

    @property
    def path(self) -> str | None:
        """None: the file is not on this machine."""
        return None

    @property
    @abstractmethod
    def waiting(self) -> str | None:
        """What the source waits for, in words for people; None while it can be read."""

    @abstractmethod
    def range(self, offset: int, length: int) -> AbstractAsyncContextManager[memoryview]:
        """Fetch a range; its memory is accounted for until the context ends. Waits as long as it takes."""

    @abstractmethod
    async def crc64(self, offset: int, length: int) -> int:
        """CRC-64 of a range, computed where the file is."""

    @abstractmethod
    async def put(self, url: str, offset: int, length: int) -> SentPart:
        """Have a range sent to a presigned link by whoever holds the file."""

    @abstractmethod
    def again(self) -> RemoteSource:
        """A new source of the same file, for another run."""

    def open(self) -> SourceIdentity:
        """Return the identity; there is nothing to open."""
        return self._identity

    def hold(self, data: memoryview | None) -> None:
        """Keep a whole small file at hand for :meth:`read_into`."""
        self._held = data

    def read_into(self, offset: int, view: memoryview) -> int:
        """Copy from what is held."""
        assert self._held is not None
        piece = self._held[offset : offset + len(view)]
        view[: len(piece)] = piece
        return len(piece)

    def unchanged(self) -> bool:
        """True: what was fetched was sent, and a browser refuses to read a file that was changed."""
        return True

    def close(self) -> None:
        """Let go of what is held. Safe to call twice."""
        self._held = None


class _Range:
    """The bytes of one part, readable by position as often as the part has to be sent."""

    def __init__(self, data: memoryview) -> None:
        self.data = data

    def read_into(self, offset: int, view: memoryview, /) -> int:
        piece = self.data[offset : offset + len(view)]
        view[: len(piece)] = piece
        return len(piece)


class RemoteSteps(UploadSteps):
    """The life of an upload whose bytes are elsewhere: only fetching and sending differ."""

    async def _put(self, plan: Plan) -> UploadResult:
        source = self._remote()
        async with source.range(0, self.board.size) as data:
            source.hold(data)
            return await super()._put(plan)

    async def _send_place(self, place: PartRange) -> None:
        if self._remote().direct:
            await self._send_from_afar(place)
        else:
            async with self._remote().range(place.offset, place.length) as data:
                await self._send_body(place.number, PartBody(_Range(data), 0, len(data)))

    async def _send_from_afar(self, place: PartRange) -> None:
        """Have the holder send one part, until the server has confirmed it."""
        request, upload_id, tries = self.request, self.upload_id, 0
        assert upload_id is not None

        async def send() -> None:
            nonlocal tries
            tries += 1
            # In flight for the part map; what left the browser is known when the part is there.
            self.board.flight[place.number] = PartBody(_Range(memoryview(b"")), 0, 0)
            try:
                url = await self._rest.presign_part(
                    request.bucket, request.key, upload_id, place.number, expires=_LINK_LIFE
                )
                sent = await self._remote().put(veil(url), place.offset, place.length)
            finally:
                self.board.flight.pop(place.number, None)
            if not sent.etag:
                raise NotOSS("the answer to a part has no ETag", hint="look at the bucket's CORS rule")
            outcomes.check_crc(sent.theirs, sent.crc64, sent.request_id)
            self._confirm(CheckpointPart(place.number, sent.etag, place.length, sent.crc64), sent)

        await self._retrier.run(f"UploadPart (part {place.number})", send)
        if tries > 1:
            self.board.retried.add(place.number)

    def _remote(self) -> RemoteSource:
        source = self.request.source
        assert isinstance(source, RemoteSource)
        return source
