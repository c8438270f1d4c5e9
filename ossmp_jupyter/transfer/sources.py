"""What can be read in parts: files and bytes in memory.

A source is opened once, read by many lanes at the same time at any offset, and closed once. It
answers two questions that decide whether an object may be published: *what is it* (the identity,
fixed when it is opened) and *is it certainly still that* (``unchanged``). Where the second answer is
no, the engine opens the source again and proves or disproves the change by its content.
"""

from __future__ import annotations

import inspect
import io
import os
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

from ossmp_jupyter.errors import InputError, SourceChanged, SourceNotReadable
from ossmp_jupyter.oss.checksum import crc64
from ossmp_jupyter.transfer.streams import RemoteBytes, SourceIdentity, StreamSource
from ossmp_jupyter.units import MIB

__all__ = [
    "BytesSource",
    "FileSource",
    "Source",
    "SourceIdentity",
    "crc64_of_range",
    "make_source",
    "read_range",
]


class Source(Protocol):
    """The interface the engine reads from. ``read_into`` is blocking and thread-safe."""

    name: str

    @property
    def path(self) -> str | None:
        """Absolute path, None for a source without one."""

    def open(self) -> SourceIdentity:
        """Open for reading; returns the identity, which holds the size in bytes."""

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill ``view`` from ``offset``; returns the bytes read, 0 at the end."""

    def unchanged(self) -> bool:
        """Whether the source is certainly still what was opened; False means: prove it by content."""

    def close(self) -> None:
        """Let go of the file. Safe to call twice."""


class FileSource:
    """A file on disk, read by position so that all lanes share one descriptor."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(os.path.abspath(os.path.expanduser(os.fspath(path))))
        self.name = self._path.name
        self._fd = -1
        self._identity: SourceIdentity | None = None
        self._lock = threading.Lock()

    @property
    def path(self) -> str | None:
        """Absolute path of the file."""
        return str(self._path)

    def open(self) -> SourceIdentity:
        """Open the file, anew if it is open.

        Raises
        ------
        SourceNotReadable
            No such file, a directory, a device or pipe, or no permission.
        """
        self.close()
        try:
            # O_NONBLOCK: opening a FIFO must not hang the engine; it is refused below.
            flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
            self._fd = os.open(self._path, flags | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise self._refusal(error) from None
        except ValueError as error:  # a NUL character
            raise SourceNotReadable(f"{str(self._path)!r} is not a path: {error}") from None
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise self._refusal_of_kind(found.st_mode)
        self._identity = self._identify(found)
        return self._identity

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill ``view`` from ``offset``; returns the bytes read."""
        try:
            return self._read_into(offset, view)
        except OSError as error:
            raise SourceNotReadable(
                f"{self.name} cannot be read from byte {offset} on: {error.strerror or error}",
                hint="nothing was published; run the upload again when the disk can be read",
            ) from None

    def _read_into(self, offset: int, view: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._fd, [view], offset)
        with self._lock:  # pragma: no cover - platforms without positioned reads
            os.lseek(self._fd, offset, os.SEEK_SET)
            data = os.read(self._fd, len(view))
            view[: len(data)] = data
            return len(data)

    def unchanged(self) -> bool:
        """Compare the path with what was opened.

        The change time (ctime) takes part because it cannot be set back as the modification time
        can: an edit that restores size and mtime is noticed.
        """
        try:
            return self._identify(os.stat(self._path)) == self._identity
        except OSError:
            return False

    def close(self) -> None:
        """Close the descriptor."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _identify(self, found: os.stat_result) -> SourceIdentity:
        return SourceIdentity(
            "file",
            str(self._path),
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
            found.st_ino,
            found.st_dev,
        )

    def _refusal(self, error: OSError) -> SourceNotReadable:
        if isinstance(error, FileNotFoundError):
            hint = _similar(self._path) or f"the working directory is {os.getcwd()}"
            return SourceNotReadable(f"no such file: {self._path}", hint=hint)
        if isinstance(error, IsADirectoryError):
            return self._refusal_of_kind(stat.S_IFDIR)
        if isinstance(error, PermissionError):
            return SourceNotReadable(
                f"no permission to read {self._path}", hint="ask its owner, or copy it where you may read it"
            )
        return SourceNotReadable(f"cannot read {self._path}: {error.strerror or error}")

    def _refusal_of_kind(self, mode: int) -> SourceNotReadable:
        if stat.S_ISDIR(mode):
            return SourceNotReadable(
                f"{self._path} is a directory",
                hint="name the files to upload, or all of them: %oss_upload -r FOLDER DEST/",
            )
        return SourceNotReadable(
            f"{self._path} is not a regular file", hint="save its content to a file and upload that"
        )


class BytesSource:
    """Bytes in memory: ``bytes``, ``bytearray``, ``memoryview``, a NumPy array, ...

    The buffer is not copied. A writable one is proved by content before Complete. Two buffers are two
    sources, even if they are equally long.
    """

    def __init__(self, data: object, name: str = "bytes") -> None:
        if getattr(getattr(data, "dtype", None), "hasobject", False):
            raise InputError(
                "an array of Python objects has no bytes of its own",
                hint="write it to a file and upload that",
            )
        try:
            self._view = memoryview(data).cast("B")  # type: ignore[arg-type]
            self._identity = SourceIdentity("bytes", name, len(self._view), inode=id(data))
        except TypeError:
            raise _no_bytes(data) from None
        self.name = name
        self._data: object = data  # held while open, so that its id means no other buffer

    @property
    def path(self) -> str | None:
        """None: memory has no path."""
        return None

    def open(self) -> SourceIdentity:
        """Return the identity; there is nothing to open."""
        return self._identity

    def read_into(self, offset: int, view: memoryview) -> int:
        """Copy from the buffer."""
        piece = self._view[offset : offset + len(view)]
        view[: len(piece)] = piece
        return len(piece)

    def unchanged(self) -> bool:
        """True for immutable buffers."""
        return self._view.readonly

    def close(self) -> None:
        """Let go of the buffer: its owner may resize it, or have its memory back."""
        self._view.release()
        self._data = None


def _no_bytes(data: object) -> InputError:
    """Say why something is no source, and what to do with it."""
    kind = type(data).__name__
    if data is None:
        return InputError("the source is None", hint="give a path, bytes, or an open binary file")
    if isinstance(data, (list, tuple, set, frozenset)):
        return InputError(
            f"the source is a {kind}", hint="start one upload for each file, or give bytes: b''.join(pieces)"
        )
    if any(hasattr(data, method) for method in ("to_parquet", "to_csv", "write_parquet")):
        return InputError(
            f"a {kind} has no bytes of its own",
            hint="write it to a file, as Parquet for example, and upload that; or give df.to_csv().encode()",
        )
    if hasattr(data, "__array_interface__"):
        return InputError("the array is not contiguous in memory", hint="give numpy.ascontiguousarray(array)")
    return InputError(
        f"an object of type {kind} cannot be uploaded", hint="give a path, bytes, or an open binary file"
    )


def make_source(source: object) -> Source:
    """Turn what the user gave into a source.

    Parameters
    ----------
    source : str, os.PathLike, bytes-like, open binary file, or (async) iterator of bytes
        What to upload. A file on disk is read from its beginning; anything else with a ``read``
        method is read to its end as a stream.

    Raises
    ------
    InputError
        If it cannot be read in parts.

    Examples
    --------
    >>> make_source(b"hello").open().size
    5
    """
    if isinstance(source, (str, os.PathLike)):
        text = os.fspath(source)
        if isinstance(text, bytes):
            raise InputError("the path is bytes", hint="give it as text: os.fsdecode(path)")
        if not text:
            raise InputError("the path is empty", hint="name a file")
        return FileSource(text)
    if isinstance(source, RemoteBytes):
        return source  # type: ignore[return-value]  # every kind of it is a Source
    if hasattr(source, "read"):
        return _from_open_file(source)
    if isinstance(source, (Iterator, AsyncIterator)) or inspect.isgenerator(source):
        return StreamSource(source)
    return BytesSource(source)


def _from_open_file(file: Any) -> Source:
    name = getattr(file, "name", None)
    if getattr(file, "closed", False) is True:
        raise InputError(
            f"the file {name} is closed" if isinstance(name, str) else "the file is closed",
            hint="upload it by its path, or while it is open",
        )
    if isinstance(name, str) and _is_named(file, name):
        if getattr(file, "writable", lambda: False)():
            file.flush()
        return FileSource(name)
    if isinstance(file, io.TextIOBase):
        raise InputError("the file gives text, not bytes", hint="open it with mode 'rb', or encode its text")
    if hasattr(file, "getbuffer"):
        return BytesSource(file.getbuffer())
    return StreamSource(iter(lambda: file.read(MIB), b""))


def _is_named(file: Any, name: str) -> bool:
    """Whether the name still means this file: it may be relative to another working directory."""
    try:
        found = os.fstat(file.fileno())
        return stat.S_ISREG(found.st_mode) and os.path.samestat(found, os.stat(name))
    except (OSError, ValueError):
        return False


def read_range(source: Source, offset: int, length: int) -> Iterator[memoryview]:
    """Read a range in pieces of at most 1 MiB; each view is valid until the next one is taken.

    Blocking: run it in a thread.

    Raises
    ------
    SourceChanged
        If the source ends before the range does.
    """
    buffer = memoryview(bytearray(min(length, 1 * MIB)))
    done = 0
    while done < length:
        count = source.read_into(offset + done, buffer[: min(len(buffer), length - done)])
        if not count:
            raise SourceChanged(
                f"{source.name} became shorter while it was being read",
                hint="nothing was published; run the upload again when the file is at rest",
            )
        yield buffer[:count]
        done += count


def crc64_of_range(source: Source, offset: int, length: int) -> int:
    """CRC-64 of a range as it is now. Blocking: run it in a thread."""
    crc = 0
    for piece in read_range(source, offset, length):
        crc = crc64(piece, crc)
    return crc


def _similar(path: Path) -> str | None:
    import difflib

    try:
        names = os.listdir(path.parent)
    except OSError:
        return None
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.75)
    return f"did you mean {close[0]}?" if close else None
