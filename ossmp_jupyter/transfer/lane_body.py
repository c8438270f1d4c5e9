"""The body of a part request: it names a slice of a source, and whoever sends it reads the bytes."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import httpx

from ossmp_jupyter.errors import SourceChanged
from ossmp_jupyter.oss.checksum import crc64
from ossmp_jupyter.units import MIB, format_size

__all__ = ["CHUNK", "PartBody", "RangeReader", "new_buffer"]

CHUNK = MIB


class RangeReader(Protocol):
    """A source that can be read at any offset by several threads at once."""

    def read_into(self, offset: int, view: memoryview, /) -> int:
        """Fill ``view`` from ``offset`` on and return how many bytes were read; 0 at the end.

        Blocks, and must be safe to call from several threads. A cancelled part waits for the call to return,
        so a reader that can wait for long needs a way of its own to be interrupted.
        """
        ...


def new_buffer(size: int) -> mmap.mmap:
    """Return a page-aligned private buffer.

    The kernel copies into it up to four times faster than into a ``bytearray``, which starts 16 bytes into
    its page.
    """
    if hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size)


class PartBody(httpx.AsyncByteStream):
    """A slice of a source as a request body. The lane reads, checksums and sends it.

    Pass it as ``httpx.Request(..., stream=body)`` with ``Content-Length`` equal to ``length``.
    Any other transport can send it too, by iterating over it.

    Parameters
    ----------
    source : RangeReader
        Where the bytes come from.
    offset, length : int
        The slice, in bytes.

    Attributes
    ----------
    length : int
        Size of the slice in bytes.
    sent : int
        Bytes handed to the socket so far. Goes back to 0 when the body is sent again.
    crc64 : int or None
        CRC-64 of what was read, once all of it was read.

    Examples
    --------
    >>> class Text:
    ...     def read_into(self, offset, view):
    ...         data = b"0123456789"[offset : offset + len(view)]
    ...         view[: len(data)] = data
    ...         return len(data)
    >>> body = PartBody(Text(), offset=2, length=6)
    >>> [bytes(block) for block in body.blocks(memoryview(bytearray(4)))]
    [b'2345', b'67']
    """

    def __init__(self, source: RangeReader, offset: int, length: int) -> None:
        self.source = source
        self.offset = offset
        self.length = length
        self.sent = 0
        self.crc64: int | None = None if length else 0

    def reset(self) -> None:
        """Forget what was sent, before the body is sent again."""
        self.sent = 0
        self.crc64 = None if self.length else 0

    def blocks(self, buffer: memoryview) -> Iterator[memoryview]:
        """Read the slice block by block into ``buffer``; each block is valid until the next is asked for.

        Raises
        ------
        SourceChanged
            If the source ends before the slice does.
        """
        self.reset()
        done = crc = 0
        while done < self.length:
            done, crc, block = self._read(done, crc, buffer)
            yield block

    def _read(self, done: int, crc: int, buffer: memoryview) -> tuple[int, int, memoryview]:
        view = buffer[: min(len(buffer), self.length - done)]
        count = self.source.read_into(self.offset + done, view)
        if count <= 0:
            missing = format_size(self.length - done)
            raise SourceChanged(
                f"the source ended {missing} too early, at byte {self.offset + done}, while it was sent",
                hint="upload it again once nothing writes to it any more",
            )
        block = view[:count]
        crc = crc64(block, crc)
        done += count
        if done == self.length:
            self.crc64 = crc
        return done, crc, block

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the slice in pieces of 1 MiB, each read in a thread, for transports that are not lanes."""
        self.reset()
        done = crc = 0
        buffer = memoryview(new_buffer(min(CHUNK, max(self.length, 1))))
        while done < self.length:
            done, crc, block = await asyncio.to_thread(self._read, done, crc, buffer)
            yield bytes(block)
            self.sent = done
