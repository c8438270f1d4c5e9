"""Keep widget buttons alive while a cell blocks the kernel's main thread.

Comm messages that wait in the kernel's main shell queue are dispatched from inside the waiting
cell; every other message (the next cells, completion) stays queued, in order. This works on
ipykernel 6.29 to 7.4, with subshells on or off, without nest_asyncio. It uses private names of
ipykernel, so any surprise ends the pump, and the caller's ticked wait goes on without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any

__all__ = ["CommPump", "Interrupts", "end_of_cell", "open_pump", "pumping"]

log = logging.getLogger(__name__)
_REPLAYED: set[asyncio.Future[Any]] = set()
_COMM = frozenset({"comm_open", "comm_msg", "comm_close"})


class Interrupts:
    """Hold SIGINT back while messages are in our hands, so that an interrupt can lose none.

    The waiting loop asks :attr:`pending` on every tick. A second interrupt goes through at once,
    for the case that somebody's widget handler hangs.
    """

    def __init__(self) -> None:
        self.pending = False
        self._previous: Any = None

    def __enter__(self) -> Interrupts:
        # Someone else's handler (a debugger, an event loop) is left alone.
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._previous = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.pending:
            raise KeyboardInterrupt
        self.pending = True

    def check(self) -> None:
        """Raise KeyboardInterrupt if one came in."""
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt


def _drive(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine that never really suspends: comm handlers are synchronous."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("a comm handler suspended")


class CommPump:
    """Dispatches waiting comm messages when called; use as a context manager, on the main thread.

    Parameters
    ----------
    kernel : ipykernel.kernelbase.Kernel
        The running kernel.

    Raises
    ------
    RuntimeError
        If this is not a kernel whose queues we know.
    """

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self._held: list[Any] = []
        self._saved: Callable[[Any], Any] | None = None
        self._copy = False
        # 7.0 has a msg_queue as well: the shell channel's thread decides
        thread = getattr(kernel, "shell_channel_thread", None)
        self._stream = thread.manager._shell_channel_to_main.to_stream if thread else None
        if thread is None and not hasattr(kernel, "msg_queue"):
            raise RuntimeError("neither a shell channel thread nor a message queue")

    def __enter__(self) -> CommPump:
        if self._stream is not None:
            self._saved, self._copy = self._stream._recv_callback, self._stream._recv_copy
            self._stream.on_recv(self._held.append, copy=self._copy)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._stream is None or self._saved is None:
            return
        saved, self._saved = self._saved, None
        self._stream.on_recv(saved, copy=self._copy)
        held, self._held = self._held, []
        for message in held:  # they run after this cell, in the order they came
            answer = saved(message)
            if inspect.isawaitable(answer):
                task = asyncio.ensure_future(answer)
                _REPLAYED.add(task)  # the loop itself holds tasks weakly
                task.add_done_callback(_REPLAYED.discard)

    def __call__(self) -> int:
        """Dispatch what waits; return how many messages there were."""
        messages = self._take()
        if not messages:
            return 0
        kernel = self.kernel
        parent, ident = kernel.get_parent("shell"), kernel._parent_ident["shell"]
        with _no_handler_hooks(kernel):
            try:
                for message in messages:
                    _drive(kernel.dispatch_shell(message))
            finally:
                kernel.set_parent(ident, parent, "shell")  # the cell's output stays in the cell
        return len(messages)

    def _is_comm(self, message: Any) -> bool:
        try:
            session = self.kernel.session
            _, frames = session.feed_identities(message, copy=False)
            header = frames[1]
            return session.unpack(getattr(header, "bytes", header))["msg_type"] in _COMM
        except Exception:
            return False

    def _take(self) -> list[Any]:
        comms: list[Any] = []
        if self._stream is not None:
            self._stream.flush()
            messages, self._held[:] = list(self._held), []
            for message in messages:
                (comms if self._is_comm(message) else self._held).append(message)
            return comms
        kernel, keep = self.kernel, []
        kernel.shell_stream.flush()
        while not kernel.msg_queue.empty():
            item = kernel.msg_queue.get_nowait()
            arguments = item[2]
            if arguments and self._is_comm(arguments[0]):
                comms.append(arguments[0])
            else:
                keep.append(item)
        for item in keep:
            kernel.msg_queue.put_nowait(item)
        return comms


@contextlib.contextmanager
def _no_handler_hooks(kernel: Any) -> Iterator[None]:
    # ipykernel's hooks save the SIGINT handler in ONE slot. Nested in a running cell they would
    # leave the idle kernel with Python's own handler, and the next interrupt would end it.
    names = [name for name in ("pre_handler_hook", "post_handler_hook") if name not in vars(kernel)]
    for name in names:
        setattr(kernel, name, lambda: None)
    try:
        yield
    finally:
        for name in names:
            with contextlib.suppress(AttributeError):
                delattr(kernel, name)


class _Shared:
    """The one pump of the process: two at a time would give the kernel's queue back in the wrong order."""

    def __init__(self, kernel: Any) -> None:
        self.users = 0
        self.pump: CommPump | None = CommPump(kernel).__enter__()

    def serve(self) -> int:
        if self.pump is None:
            return 0
        try:
            return self.pump()
        except Exception:
            log.debug("the comm pump stopped", exc_info=True)
            self.close()
            return 0

    def close(self) -> None:
        closing, self.pump = self.pump, None
        if closing is not None:
            _close(closing)


_shared: _Shared | None = None  # touched by the main thread only


@contextlib.contextmanager
def open_pump(shell: Any) -> Iterator[Callable[[], int]]:
    """Yield a function that serves waiting comm messages; where there is no kernel it does nothing."""
    global _shared  # noqa: PLW0603 - a process has one kernel
    kernel = getattr(shell, "kernel", None)
    mine: _Shared | None = None
    if kernel is not None and threading.current_thread() is threading.main_thread():
        try:
            mine = _shared = _shared or _Shared(kernel)
        except Exception:
            log.debug("no comm pump", exc_info=True)
    if mine is None:
        yield lambda: 0
        return
    mine.users += 1
    try:
        yield mine.serve
    finally:
        mine.users -= 1
        if mine.users == 0:
            _let_go(mine)


def pumping() -> bool:
    """Whether comm messages are served while a cell waits."""
    shared = _shared
    return shared is not None and shared.pump is not None


def end_of_cell() -> None:
    """Give the kernel's queue back, whoever still awaits: only a running cell may hold other cells up."""
    if _shared is not None:
        _let_go(_shared)


def _let_go(shared: _Shared) -> None:
    global _shared  # noqa: PLW0603
    if _shared is shared:
        _shared = None
    shared.close()


def _close(pump: CommPump) -> None:
    try:
        pump.__exit__()
    except Exception:
        log.warning("the kernel's message queue could not be given back", exc_info=True)
