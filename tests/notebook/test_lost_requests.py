"""Requests that arrive while the kernel sends a reply: each is answered, on every version of ipykernel."""

from __future__ import annotations

import os
import queue
import random
import time
from pathlib import Path

from ossmp_jupyter.localoss import LocalOSS
from tests.notebook.test_kernel import Kernel, kernel, oss

__all__ = ["kernel", "oss"]

PAIRS = 400  # without the remedy 7.0 and 7.3 lost one of the first 60
SENDER = "get_ipython().kernel.shell_channel_thread.manager.__dict__.get('_send_on_shell_channel')"


def answers(kernel: Kernel, pairs: int) -> None:
    client, dice = kernel.client, random.Random(7)
    for pair in range(pairs):
        client.execute("0", silent=True)
        until = time.perf_counter() + dice.random() * 0.002  # a sleep is too coarse to meet the moment
        while time.perf_counter() < until:
            pass
        client.shell_channel.send(client.session.msg("comm_info_request", {}))
        for _ in range(2):
            try:
                client.get_shell_msg(timeout=20)
            except queue.Empty:
                raise AssertionError(f"a request of pair {pair} was lost") from None


def test_a_request_that_meets_a_reply_is_not_lost(kernel: Kernel, oss: LocalOSS, tmp_path: Path) -> None:
    answers(kernel, PAIRS)


def test_the_kernel_is_left_as_it_was(kernel: Kernel, oss: LocalOSS, tmp_path: Path) -> None:
    version = os.environ.get("OSSMP_TEST_IPYKERNEL", "")
    if version.startswith(("7.0", "7.1", "7.2", "7.3")):
        assert kernel.run(f"assert {SENDER}")["status"] == "ok"
    if version.startswith("7."):
        assert kernel.run(f"%unload_ext ossmp_jupyter\nassert not {SENDER}")["status"] == "ok"
    assert kernel.run("%reload_ext ossmp_jupyter\n40 + 2")["status"] == "ok"
    answers(kernel, 20)
