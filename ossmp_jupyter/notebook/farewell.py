"""A last word before the kernel ends: what stays in the notebook must be readable without it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

__all__ = ["before_shutdown"]


def before_shutdown(kernel: Any, farewell: Callable[[], None]) -> Callable[[], None]:
    """Call ``farewell`` when somebody shuts the kernel down; returns what undoes this.

    The kernel publishes what ``farewell`` displays before its own last message. It is called on the
    thread of the control channel, and a failure in it does not keep the kernel from ending.
    """
    shut_down = getattr(kernel, "do_shutdown", None)
    if shut_down is None:
        return lambda: None

    def do_shutdown(restart: bool) -> Any:
        with contextlib.suppress(Exception):
            farewell()
        return shut_down(restart)

    kernel.do_shutdown = do_shutdown

    def undo() -> None:
        if vars(kernel).get("do_shutdown") is do_shutdown:
            del kernel.do_shutdown

    return undo
