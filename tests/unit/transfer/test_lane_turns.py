"""More uploads than lanes: who waits gets its turn before who comes again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading

import pytest

from ossmp_jupyter.transfer.lanes import LaneTransport, PartBody
from tests.unit.transfer.lanes_support import OK, Peer, Server, Zeros, answer_all, client, put

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_uploads_share_the_lanes_evenly() -> None:
    sent: list[int] = []
    pair = threading.Barrier(2)

    def in_pairs(peer: Peer) -> None:
        """Both lanes are answered at once: while one stands still, the other cannot send all."""
        while peer.request() is not None:
            with contextlib.suppress(threading.BrokenBarrierError):
                pair.wait(10)
            peer.send(OK)

    with Server(in_pairs) as server:
        async with client(LaneTransport(max_lanes=2)) as http:

            async def upload(number: int) -> None:
                for _ in range(10):
                    assert (await put(http, server.url, PartBody(Zeros(), 0, 9))).status_code == 200
                    sent.append(number)

            await asyncio.gather(*(upload(number) for number in range(6)))
    early = [sum(1 for number in itertools.islice(sent, 30) if number == one) for one in range(6)]
    assert min(early) >= 3, f"after half of all parts: {early}"


async def test_a_turn_that_comes_too_late_is_passed_on() -> None:
    with Server(answer_all) as server:
        transport = LaneTransport(max_lanes=1)
        async with client(transport) as http:
            for turns in range(40):  # the cancellation falls on every step of the hand-over
                tasks = [
                    asyncio.create_task(put(http, server.url, PartBody(Zeros(), 0, 9))) for _ in range(4)
                ]
                while not tasks[0].done():
                    await asyncio.sleep(0)
                for _ in range(turns % 8):
                    await asyncio.sleep(0)
                tasks[1].cancel()
                await asyncio.wait(tasks, timeout=20)
                assert all(task.done() for task in tasks), "a lane was lost"
            assert (await put(http, server.url, PartBody(Zeros(), 0, 9))).status_code == 200
            assert transport.lanes == 1
