"""Which parts are done, in flight, still to do: the book-keeping of one upload.

Written by the upload's event loop only; read by any thread. Readers take copies, so that a part that
finishes meanwhile cannot disturb them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from ossmp_jupyter.transfer.checkpoint import CheckpointPart
from ossmp_jupyter.transfer.lanes import PartBody
from ossmp_jupyter.transfer.plan import Plan, StreamPlan
from ossmp_jupyter.transfer.progress import Progress, SpeedMeter, State

__all__ = ["PartBoard"]


class PartBoard:
    """The parts of one upload.

    Parameters
    ----------
    size : int
        Bytes of the source.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.size_known = True
        self._all_there = False
        self.plan: Plan | StreamPlan | None = None
        self.done: dict[int, CheckpointPart] = {}
        self.kept: frozenset[int] = frozenset()
        self.retried: set[int] = set()
        self.flight: dict[int, PartBody] = {}
        self.pending: deque[int] = deque()
        self.parts_sent = self.bytes_sent = 0
        self.retries = 0
        self._confirmed = self._kept_bytes = self._highest = 0
        self._meter = SpeedMeter()

    def lay_out(self, plan: Plan | StreamPlan, kept: Mapping[int, CheckpointPart] | None = None) -> None:
        """Begin with a plan and the parts that need not travel."""
        self.plan = plan
        self.done = dict(kept or {})
        self.kept = frozenset(self.done)
        self.pending = deque(number for number in range(1, plan.count + 1) if number not in self.done)
        self._confirmed = self._kept_bytes = _total(self.done.values())
        self._highest = max(self._highest, self._confirmed)

    def grow(self, length: int) -> int:
        """Add one part of a stream; returns its number."""
        assert isinstance(self.plan, StreamPlan)
        self.plan = self.plan.grown()
        self.size += length
        return self.plan.count

    def keep(self, part: CheckpointPart) -> None:
        """Note a part of a stream that an earlier run has sent."""
        self.done[part.number] = part
        self.kept |= {part.number}
        self._confirmed += part.size
        self._kept_bytes += part.size
        self._highest = max(self._highest, self._confirmed)

    def relay(self, agreed: Mapping[int, CheckpointPart]) -> None:
        """Go on with what the server really holds, in the middle of an upload."""
        assert self.plan is not None
        before = self.kept
        self.lay_out(self.plan, agreed)
        self.kept = before & frozenset(agreed)
        self._kept_bytes = sum(agreed[number].size for number in self.kept)

    def published(self) -> None:
        """Everything is there already, from an earlier run."""
        self._all_there = True
        self._confirmed = self._kept_bytes = self._highest = self.size

    def confirm(self, part: CheckpointPart) -> None:
        """Note a part that the server has confirmed."""
        self.done[part.number] = part
        self.parts_sent += 1
        self.bytes_sent += part.size
        self._confirmed += part.size
        self._highest = max(self._highest, self._confirmed)

    def parts_in_order(self) -> list[CheckpointPart]:
        """The confirmed parts by number."""
        return [self.done[number] for number in sorted(self.done)]

    def rest_meter(self) -> None:
        """Forget the speed: after a pause the old one says nothing."""
        self._meter.reset()

    def in_flight(self) -> int:
        """Bytes that have left and are not confirmed."""
        return sum(body.sent for body in self.flight.copy().values())

    def progress(self, state: State, elapsed: float, error: str | None) -> Progress:
        """Take a snapshot."""
        sent = min(self._confirmed + self.in_flight(), self.size)
        # What was kept from before did not travel: it must not count as speed.
        speed = self._meter.update(sent - self._kept_bytes)
        moving = state is State.UPLOADING
        # A byte in flight is half there: it has left, but nobody has confirmed it.
        left = self.size - (self._confirmed + sent) / 2
        count = self.plan.count if self.plan else 0
        return Progress(
            state=state,
            total=self.size,
            confirmed=self._highest,
            sent=sent,
            kept=self._kept_bytes,
            parts_total=count,
            parts_done=count if self._all_there else len(self.done),
            parts_in_flight=len(self.flight),
            parts_kept=count if self._all_there else len(self.kept),
            retries=self.retries,
            speed=speed if moving else 0.0,
            eta=left / speed if moving and speed > 0 and self.size_known else None,
            elapsed=elapsed,
            error=error,
            size_known=self.size_known,
        )

    def part_map(self) -> str:
        """One letter per part: ``.`` to do, ``f`` in flight, ``d`` done, ``r`` retried, ``k`` kept."""
        if self.plan is None:
            return ""
        letters = ["k" if self._all_there else "."] * self.plan.count
        for number in self.flight.copy():
            letters[number - 1] = "f"
        for number in self.done.copy():
            letters[number - 1] = "k" if number in self.kept else "r" if number in self.retried else "d"
        return "".join(letters)


def _total(parts: Iterable[CheckpointPart]) -> int:
    return sum(part.size for part in parts)
