"""One upload of a fault run: its source, its target, and what the user was told in the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ossmp_jupyter.errors import OssmpError
from ossmp_jupyter.transfer.checkpoint import Checkpoint
from ossmp_jupyter.transfer.progress import UploadResult
from ossmp_jupyter.transfer.request import prepare_request
from ossmp_jupyter.transfer.retry import RetryPolicy
from ossmp_jupyter.transfer.upload import UploadTask
from tests.faults.world import PART, POLICY, VirtualClock, World, content

Step = Callable[[UploadTask], Any]


@dataclass
class Told:
    """How an upload ended, in the eyes of its user."""

    result: UploadResult | None = None
    error: BaseException | None = None
    upload_id: str | None = None
    journaled: bool = True

    @property
    def done(self) -> bool:
        return self.result is not None

    def __str__(self) -> str:
        return "done" if self.done else f"{type(self.error).__name__}: {self.error}"


@dataclass
class Run:
    """State of one run. ``data`` is what the source holds now, ``before`` what stood at the key."""

    world: World
    name: str
    timeout: float = 10.0
    options: dict[str, Any] = field(default_factory=dict)
    policy: RetryPolicy = POLICY
    data: bytes = b""
    before: bytes | None = None
    in_memory: bool = False
    stream: str = ""
    """``plain`` or ``async``: an iterator of unknown length, made anew for each try; with ``in_memory``."""
    taken: bool = False
    """The key is taken and may not be overwritten: no upload can succeed."""
    folder: Path = field(init=False)
    clocks: int = 0

    def __post_init__(self) -> None:
        self.folder = self.world.fresh_folder()
        self.key = f"{self.name}/{self.world.count}"
        self.path = self.folder / "source.bin"

    # ------------------------------------------------------------------ the source
    def write(self, data: bytes) -> None:
        """Give the source this content, in place."""
        self.data = data
        if not self.in_memory:
            with open(self.path, "r+b" if self.path.exists() else "wb") as file:
                file.write(data)
                file.truncate()

    def edit(self, offset: int, length: int = 10) -> None:
        """Change bytes without changing size and modification time."""
        stat = os.stat(self.path)
        changed = bytearray(self.data)
        for at in range(offset, min(offset + length, len(changed))):
            changed[at] ^= 0xFF
        self.write(bytes(changed))
        os.utime(self.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    async def put_before(self, data: bytes) -> None:
        """Let an older object stand at the key."""
        self.before = data
        await self.world.rest().put_object(self.world.bucket, self.key, data)

    # ------------------------------------------------------------------ uploading
    def task(self, hook: Callable[[int], None] | None = None, **changes: Any) -> UploadTask:
        options = {"part_size": PART, "parallel": 4, **self.options, **changes}
        source: object = bytearray(self.data) if self.in_memory else str(self.path)
        if self.stream:
            source = _pieces(self.data) if self.stream == "plain" else _async_pieces(self.data)
        target = f"oss://{self.world.bucket}/{self.key}"
        request = prepare_request(self.world.connection, source, target, **options)
        if hook is not None:
            read_into = request.source.read_into

            def hooked(offset: int, view: memoryview) -> int:
                hook(offset)
                return read_into(offset, view)

            request.source.read_into = hooked  # type: ignore[method-assign]
        self.clocks += 1
        clock = VirtualClock(f"{self.name}:{self.clocks}").clock()
        return UploadTask(self.world.rest(self.timeout), request, policy=self.policy, clock=clock)

    async def upload(
        self,
        meanwhile: Callable[[UploadTask, asyncio.Future[Any]], Any] | None = None,
        hook: Callable[[int], None] | None = None,
        **changes: Any,
    ) -> Told:
        """Upload, perhaps with somebody else doing something meanwhile."""
        try:
            task = self.task(hook, **changes)
        except OssmpError as error:
            return Told(error=error)
        life = asyncio.ensure_future(task.run())
        if meanwhile is not None:
            await meanwhile(task, life)
        told = Told(journaled=task.request.journal is not None)
        try:
            told.result = await life
        except (OssmpError, asyncio.CancelledError) as error:
            told.error = error
        checkpoint: Checkpoint | None = task.checkpoint
        told.upload_id = checkpoint.upload_id if checkpoint else task.upload_id
        return told

    async def half(self) -> Told:
        """Upload until the fourth request for a part is refused for good; leaves a resumable upload."""
        oss = self.world.oss
        oss.set_faults([{"operation": "UploadPart", "at": 4, "times": None, "kind": "error",
                         "status": 403, "code": "AccessDenied"}])  # fmt: skip
        told = await self.upload(parallel=1)
        oss.set_faults([])
        assert not told.done and told.upload_id, f"the run was not interrupted: {told}"
        return told

    async def object(self) -> bytes | None:
        """What stands at the key."""
        from ossmp_jupyter.errors import NotFound

        try:
            return await self.world.rest().get_object(self.world.bucket, self.key)
        except NotFound:
            return None

    async def clear(self) -> None:
        """Leave nothing behind for the next run."""
        rest = self.world.rest()
        with contextlib.suppress(OssmpError):
            await rest.delete_object(self.world.bucket, self.key)
        for upload in self.world.oss.snapshot()["uploads"]:
            with contextlib.suppress(OssmpError):
                await rest.abort_multipart_upload(upload["bucket"], upload["key"], upload["upload_id"])
        shutil.rmtree(self.folder, ignore_errors=True)


def _pieces(data: bytes) -> Iterator[bytes]:
    """Pieces whose borders are never those of parts, empty ones among them."""
    for at in range(0, len(data), 33_333):
        yield data[at : at + 33_333]
        yield b""


async def _async_pieces(data: bytes) -> AsyncIterator[bytes]:
    for piece in _pieces(data):
        await asyncio.sleep(0)
        yield piece


async def until(task: UploadTask, life: asyncio.Future[Any], parts: int) -> bool:
    """Wait until so many parts are done; False if the upload ended before."""
    while not life.done():
        if task.progress().parts_done >= parts:
            return True
        await asyncio.sleep(0.0005)
    return False


__all__ = ["PART", "Run", "Told", "content", "until"]
