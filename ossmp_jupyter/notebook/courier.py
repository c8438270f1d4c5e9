"""Questions to the pages that hold a user's files, and their answers.

A page is asked for ranges; it never sends by itself, so nothing piles up: at most :data:`WINDOW` slices
are under way, and no slice is asked for before there is room for it. What is asked may be lost with a
connection, and a page may be gone for good: pings tell which.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from ossmp_jupyter.units import KIB, MIB

__all__ = ["LARGEST", "SLICE", "WINDOW", "Answer", "Courier", "Gone", "Lost", "PageFile", "Room"]

WINDOW = 4
"""Slices under way at a time, over all files."""
LARGEST = 4 * MIB
"""Bytes of the largest slice: Jupyter servers cut the connection above 10 MiB, proxies may sooner."""
SLICE = 1 * MIB
_SMALLEST = 256 * KIB
_FAST, _SLOW = 1.5, 6.0
"""Seconds: a slice that takes less is doubled, one that takes more is halved."""
_QUIET, _GONE = 4.0, 30.0
"""Seconds without a word from a page: when to ping it, when to take it for gone."""


class Gone(Exception):
    """The page is away: closed, loaded anew, or cut off for long."""


class Lost(Exception):
    """The question or its answer was lost with a connection; the page is there."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file that somebody chose in a page; the page knows it by ``id``."""

    page: str
    id: str
    name: str
    size: int
    mtime_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page answered; ``data`` holds a slice."""

    content: Mapping[str, Any]
    data: memoryview = field(default_factory=lambda: memoryview(b""))


@dataclass(slots=True)
class _Page:
    name: str
    origin: str = ""
    here: bool = True
    heard: float = 0.0
    slice: int = SLICE


@dataclass(slots=True)
class _Question:
    page: _Page
    pings: int
    future: asyncio.Future[Answer]


class Room:
    """So many bytes may be held at a time; first come, first served.

    Examples
    --------
    >>> async def two() -> int:
    ...     room = Room(10)
    ...     async with room.take(6):
    ...         return room.free
    >>> asyncio.run(two())
    4
    """

    def __init__(self, size: int) -> None:
        self.size = self.free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, wanted: int) -> AsyncIterator[None]:
        """Hold ``wanted`` bytes, all there is for a larger wish."""
        wanted = min(wanted, self.size)
        if self._waiting or self.free < wanted:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((wanted, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._give(wanted)
                else:
                    self._waiting.remove((wanted, turn))
                    self._give(0)
                raise
        else:
            self.free -= wanted
        try:
            yield
        finally:
            self._give(wanted)

    def _give(self, back: int) -> None:
        self.free += back
        while self._waiting and self._waiting[0][0] <= self.free:
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self.free -= wanted
                turn.set_result(None)


class Courier:
    """Asks pages and hears their answers. Everything but ``present`` belongs to the engine's loop.

    Parameters
    ----------
    send : callable
        Hands a message to all pages; returns at once, from any thread.
    changed : callable
        Called when a page has come or gone.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None], changed: Callable[[], None]) -> None:
        self.window = asyncio.Semaphore(WINDOW)
        self.readers = asyncio.Semaphore(2)
        self.room = Room(8 * LARGEST)
        self.gone_after = _GONE
        self.quiet_after = _QUIET
        self._send = send
        self._changed = changed
        self._pages: dict[str, _Page] = {}
        self._questions: dict[int, _Question] = {}
        self._tickets = self._pings = self._waiters = 0
        self._news = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ asking
    def present(self, file: PageFile | None) -> bool:
        """Whether the page of a file is there, as far as is known. From any thread."""
        page = self._pages.get(file.page) if file is not None else None
        return page is not None and page.here

    def silence(self, file: PageFile) -> float:
        """Seconds since the page of a file was heard; see :meth:`ping`. From any thread."""
        page = self._pages.get(file.page)
        return time.monotonic() - page.heard if page is not None else 0.0

    def origin(self, file: PageFile) -> str:
        """Where the file's page comes from, such as ``https://hub.example.com``."""
        page = self._pages.get(file.page)
        return page.origin if page is not None else ""

    def slice_of(self, file: PageFile) -> int:
        """Bytes to ask for at once."""
        page = self._pages.get(file.page)
        return page.slice if page is not None else SLICE

    def took(self, file: PageFile, size: int, seconds: float) -> None:
        """Learn from one slice how large the next ones may be."""
        page = self._pages.get(file.page)
        if page is None or size < page.slice:
            return
        if seconds < _FAST:
            page.slice = min(page.slice * 2, LARGEST)
        elif seconds > _SLOW:
            page.slice = max(page.slice // 2, _SMALLEST)

    async def ask(self, file: PageFile, **content: Any) -> Answer:
        """Ask the page of a file.

        Raises
        ------
        Gone
            The page is away.
        Lost
            Ask again.
        """
        page = self._pages.get(file.page)
        if page is None or not page.here:
            raise Gone
        if not any(question.page is page for question in self._questions.values()):
            page.heard = time.monotonic()  # nothing was to be heard from it till now
        self._tickets += 1
        ticket = self._tickets
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._questions[ticket] = _Question(page, self._pings, future)
        self._send({"t": "ask", "page": page.name, "file": file.id, "ticket": ticket, **content})
        self._keep_watch()
        try:
            return await future
        except asyncio.CancelledError:
            self._send({"t": "stop", "page": page.name, "tickets": [ticket]})
            raise
        finally:
            del self._questions[ticket]

    async def news(self) -> None:
        """Return when a page has come or gone, or a file was chosen."""
        event = self._news
        self._waiters += 1
        self._keep_watch()
        try:
            await event.wait()
        finally:
            self._waiters -= 1

    def tell(self) -> None:
        """Wake everyone who waits for news."""
        self._news.set()
        self._news = asyncio.Event()
        self._changed()

    # ------------------------------------------------------------------ hearing
    def hear(self, content: Mapping[str, Any], data: memoryview | None = None) -> None:
        """Take in what a page said."""
        name, kind = str(content.get("page")), content.get("t")
        page = self._pages.get(name)
        if page is None:
            page = self._pages[name] = _Page(name)
        page.heard = time.monotonic()
        if kind == "gone":
            self._leave(page)
            return
        if kind == "hello":
            page.origin = str(content.get("origin") or "")
            self.ping()  # another page may be this one, loaded anew
        returned, page.here = not page.here, True
        if kind == "answer":
            self._settle(int(content.get("ticket") or 0), content, data)
        elif kind == "here":
            self._compare(page, int(content.get("n") or 0), set(content.get("busy") or ()))
        if returned:
            self.tell()

    def _settle(self, ticket: int, content: Mapping[str, Any], data: memoryview | None) -> None:
        question = self._questions.get(ticket)
        if question is not None and not question.future.done():
            question.future.set_result(Answer(content, memoryview(b"") if data is None else data))

    def _compare(self, page: _Page, ping: int, busy: set[int]) -> None:
        """Messages keep their order: what was asked before the ping and is not being done is lost."""
        for ticket, question in self._questions.items():
            lost = question.page is page and question.pings < ping and ticket not in busy
            if lost and not question.future.done():
                question.future.set_exception(Lost())

    def _leave(self, page: _Page) -> None:
        if not page.here:
            return
        page.here = False
        for question in self._questions.values():
            if question.page is page and not question.future.done():
                question.future.set_exception(Gone())
        self.tell()

    # ------------------------------------------------------------------ watching
    def _keep_watch(self) -> None:
        if self._watch is None or self._watch.done():
            self._watch = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        pinged = time.monotonic()
        while self._questions or self._waiters:
            await asyncio.sleep(self.quiet_after / 4)
            now = time.monotonic()
            asked = {question.page.name: question.page for question in self._questions.values()}
            for page in asked.values():
                if now - page.heard > self.gone_after:
                    self._leave(page)
            silent = any(now - page.heard > self.quiet_after for page in asked.values())
            if (silent or self._waiters) and now - pinged > self.quiet_after:
                pinged = now
                self.ping()

    def ping(self) -> None:
        """Have every page that has files say that it is there."""
        self._pings += 1
        self._send({"t": "ping", "n": self._pings})
