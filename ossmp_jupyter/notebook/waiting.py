"""A cell that waits for uploads: live buttons, a prompt stop button, and one clear end."""

from __future__ import annotations

import asyncio
import concurrent.futures as cf
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ossmp_jupyter.notebook.pump import Interrupts, open_pump
from ossmp_jupyter.notebook.text import Reporter
from ossmp_jupyter.transfer.progress import State
from ossmp_jupyter.visible import visible

if TYPE_CHECKING:
    from ossmp_jupyter.transfer.manager import Upload

__all__ = ["pause_uploads", "serving", "serving_await", "wait_future", "wait_uploads"]

TICK = 0.05
_MOST_LINES = 5  # about paused uploads
T = TypeVar("T")


def wait_uploads(handles: Sequence[Upload], shell: Any, reporter: Reporter) -> None:
    """Wait until every upload has ended, in whichever way; failures stay in the handles.

    Raises
    ------
    KeyboardInterrupt
        The stop button: the uploads still running are paused, nothing is aborted.
    """
    try:
        _wait([handle.future for handle in handles], shell, lambda: reporter.update(handles))
    except KeyboardInterrupt:
        reporter.close()
        pause_uploads(handles)
        raise
    finally:
        reporter.close()


def wait_future(future: cf.Future[T], shell: Any, *, to_the_end: bool = False) -> T:
    """Wait for one answer of the engine with live buttons, and return it.

    Parameters
    ----------
    to_the_end : bool
        Whether the request goes on when nobody waits any more; else the stop button ends it, too.

    Raises
    ------
    OssmpError
        Whatever the engine answered with.
    KeyboardInterrupt
        The stop button.
    """
    try:
        _wait([future], shell, lambda: None)
    except KeyboardInterrupt:
        if not to_the_end:
            future.cancel()
        raise
    return future.result()


@contextmanager
def serving(shell: Any) -> Iterator[Callable[[], bool]]:
    """Yield what to call on every tick of a wait: serves the buttons, then lets the stop button through.

    It returns whether it has spent the tick's time already.
    """
    with open_pump(shell) as serve, Interrupts() as interrupts:

        def tick() -> bool:
            serve()
            interrupts.check()
            return _let_tasks_run()

        yield tick
        interrupts.check()


@contextmanager
def serving_await(shell: Any, in_cell: Callable[[], bool]) -> Iterator[Callable[[], None]]:
    """Do as :func:`serving` does, for an ``await``, but only while a cell runs.

    An ``await`` may outlive its cell, in a task. The cells after it must not wait for that one.
    """
    with ExitStack() as cell:
        serve: Callable[[], int] | None = None

        def tick() -> None:
            nonlocal serve
            if not in_cell():
                cell.close()
                serve = None
                return
            if serve is None:
                serve = cell.enter_context(open_pump(shell))
            serve()

        yield tick


def _let_tasks_run() -> bool:
    """Run the kernel's own tasks for a tick, where the user has applied nest_asyncio2 (extra ``nest``)."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return False
    # Not with the older nest_asyncio: the kernel would never answer again (ipykernel 7.1 to 7.4).
    if not hasattr(asyncio, "_nest_asyncio2") or not hasattr(loop, "_nest_deferred"):
        return False
    loop.run_until_complete(asyncio.sleep(TICK))
    return True


def _wait(futures: Sequence[cf.Future[Any]], shell: Any, on_tick: Any) -> None:
    with serving(shell) as tick:
        while True:
            spent = tick()
            on_tick()
            # Never an untimed wait: on Windows nothing could interrupt it.
            if not cf.wait(futures, timeout=0 if spent else TICK).not_done:
                return


def pause_uploads(handles: Sequence[Upload]) -> None:
    """Pause what still runs, and say how it goes on."""
    # Jupyter interrupts before every restart and shutdown, so an interrupt must never abort. No network here.
    said: list[str] = []
    for handle in handles:
        if handle.future.done():
            continue
        published = handle.state in (State.COMPLETING, State.VERIFYING)
        handle.pause()
        if published:
            said.append(
                f"stopped waiting while {handle.address} is being published: run this cell again to see it"
            )
            continue
        kept = f" ({handle.upload_id})" if handle.upload_id else ""
        said.append(
            f"paused {handle.name} → {handle.address}{kept}: run this cell again, or %oss_resume {handle.id}"
        )
    if len(said) > _MOST_LINES:
        said = [f"paused {len(said)} uploads: run this cell again to go on; %oss_uploads shows them"]
    if said:
        print("\n".join(map(visible, said)))
