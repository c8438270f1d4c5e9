"""Keep ipykernel 7.0 to 7.3 from losing requests that arrive while it answers another.

These versions write their replies past the stream that reads requests from the same socket. Such
a send can eat the socket's wake-up (ZMQ_FD is edge-triggered: "after zmq_send, check ZMQ_EVENTS",
zmq_getsockopt(3)). A click or the next cell that arrives in that moment then lies there until
somebody connects anew: https://github.com/ipython/ipykernel/issues/1554. Clicks make such moments
frequent. As in ipykernel 7.4, the replies go through the stream here.
"""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["keep_requests", "lose_requests"]

log = logging.getLogger(__name__)
_NAME = "_send_on_shell_channel"


def keep_requests(kernel: Any) -> None:
    """Mend a running kernel that needs it; any other is left alone.

    Parameters
    ----------
    kernel : ipykernel.kernelbase.Kernel or None
        The kernel, or None outside of one.
    """
    thread = getattr(kernel, "shell_channel_thread", None)
    if thread is None or hasattr(thread, "shell_stream"):  # before 7.0, and from 7.4 on
        return
    try:
        setattr(thread.manager, _NAME, kernel.shell_stream.send_multipart)  # for subshells to come
        _send_by(thread, kernel.shell_stream.send_multipart)
    except Exception:  # private names of ipykernel: without them all is as it was
        log.debug("the kernel's replies could not be moved to its stream", exc_info=True)


def lose_requests(kernel: Any) -> None:
    """Take :func:`keep_requests` back."""
    manager = getattr(getattr(kernel, "shell_channel_thread", None), "manager", None)
    if _NAME not in getattr(manager, "__dict__", {}):
        return
    delattr(manager, _NAME)
    _send_by(kernel.shell_channel_thread, getattr(manager, _NAME))


def _send_by(thread: Any, send: Any) -> None:
    """Give the main shell's replies to ``send``; streams are touched by their own thread only."""
    replies = thread.manager._main_to_shell_channel
    thread.io_loop.add_callback(replies.on_recv, thread.io_loop, send)
