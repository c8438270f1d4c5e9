"""Streams: sources that can be read once only, from front to end, and whose length nobody knows."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ossmp_jupyter.errors import InputError, OssmpError, SourceFailed
from ossmp_jupyter.units import format_size

__all__ = ["RemoteBytes", "SourceIdentity", "StreamSource"]

_END = object()


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """What a source was when it was opened; equal identities read the same file state."""

    kind: str
    name: str
    size: int
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0
    device: int = 0


class RemoteBytes(ABC):
    """Bytes that are elsewhere: resume asks their holder for checksums instead of reading them."""

    @abstractmethod
    async def crc64(self, offset: int, length: int) -> int:
        """CRC-64 of a range, computed where the bytes are."""


class StreamSource:
    """An iterator or asynchronous iterator of bytes, of any chunk sizes.

    A plain iterator runs in one thread of its own, so that a slow one holds up nothing; an
    asynchronous one on the loop of the upload. Reading waits while the parts read before are not
    confirmed: memory is bounded by (parallel + 1) parts, whatever the length.
    """

    def __init__(self, chunks: Iterator[object] | AsyncIterator[object], name: str = "stream") -> None:
        self.name = name
        self._chunks = chunks
        self._left: memoryview = memoryview(b"")
        self._read = 0
        self._thread: ThreadPoolExecutor | None = None

    @property
    def path(self) -> str | None:
        """None: a stream has no path."""
        return None

    def open(self) -> SourceIdentity:
        """Return the identity; the size of 0 stands for unknown. Each iterator is a source of its own."""
        return SourceIdentity("stream", self.name, 0, inode=id(self._chunks))

    def read_into(self, offset: int, view: memoryview) -> int:
        """Not possible: the engine sends a stream from buffers of its own."""
        raise AssertionError("a stream cannot be read by position")

    def unchanged(self) -> bool:
        """True: what was read was sent, and nothing can be read twice."""
        return True

    def close(self) -> None:
        """Let go of the thread. Safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False, cancel_futures=True)

    async def take(self, size: int) -> memoryview:
        """Return the next ``size`` bytes; fewer at the end, none after it.

        Raises
        ------
        SourceFailed
            If the iterator raised.
        InputError
            If it yielded something else than bytes.
        """
        part = memoryview(bytearray(size))
        done = 0
        while done < size:
            if not self._left:
                chunk = await self._next()
                if chunk is None:
                    break
                self._left = chunk
                continue
            count = min(size - done, len(self._left))
            part[done : done + count] = self._left[:count]
            self._left = self._left[count:]
            done += count
        return part[:done]

    async def _next(self) -> memoryview | None:
        try:
            if isinstance(self._chunks, AsyncIterator):
                chunk = await anext(self._chunks, _END)
            else:
                if self._thread is None:
                    self._thread = ThreadPoolExecutor(1, thread_name_prefix="ossmp-stream")
                chunk = await asyncio.get_running_loop().run_in_executor(
                    self._thread, next, self._chunks, _END
                )
        except OssmpError:
            raise
        except Exception as error:  # the user's code: any error
            raise SourceFailed(
                f"the stream failed after {format_size(self._read)}: {type(error).__name__}: {error}",
                hint="nothing was published; what was sent is kept for the next run",
            ) from error
        if chunk is _END:
            return None
        try:
            data = memoryview(chunk).cast("B")  # type: ignore[arg-type]
        except TypeError:
            raise InputError(
                f"the stream yielded a {type(chunk).__name__} after {format_size(self._read)}",
                hint="yield bytes; text.encode() makes them",
            ) from None
        self._read += len(data)
        return data
