"""States and snapshots of an upload: immutable values that any thread may look at."""

from __future__ import annotations

import enum
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ossmp_jupyter.units import format_size

__all__ = ["FINAL_STATES", "Progress", "SpeedMeter", "State", "UploadResult", "waiting_words"]


class State(enum.Enum):
    """Where an upload is in its life (docs/design.md, section 3).

    Examples
    --------
    >>> State("paused") is State.PAUSED, State.PAUSED in FINAL_STATES
    (True, False)
    """

    QUEUED = "queued"
    HASHING = "hashing"
    INITIATING = "initiating"
    UPLOADING = "uploading"
    PAUSED = "paused"
    WAITING = "waiting_for_credentials"
    COMPLETING = "completing"
    VERIFYING = "verifying"
    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"
    SOURCE_CHANGED = "source_changed"


FINAL_STATES = frozenset({State.DONE, State.FAILED, State.ABORTED, State.SOURCE_CHANGED})


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot of one upload. Sizes in bytes, times in seconds, speed in bytes per second.

    ``confirmed`` never decreases within a run; ``sent`` may, when a part is sent again. While a stream
    of unknown length is read ``total`` is what was read so far and ``size_known`` is False.

    Examples
    --------
    >>> Progress(State.UPLOADING, total=8_000_000, confirmed=2_000_000, parts_total=4, parts_done=1).fraction
    0.25
    """

    state: State = State.QUEUED
    total: int = 0
    confirmed: int = 0
    sent: int = 0
    kept: int = 0
    parts_total: int = 0
    parts_done: int = 0
    parts_in_flight: int = 0
    parts_kept: int = 0
    retries: int = 0
    speed: float = 0.0
    eta: float | None = None
    elapsed: float = 0.0
    error: str | None = None
    size_known: bool = True

    @property
    def fraction(self) -> float:
        """Confirmed share, 0 to 1; exactly 1.0 only when the upload is verified and done.

        Examples
        --------
        >>> Progress(total=200, confirmed=50).fraction
        0.25
        """
        if self.state is State.DONE:
            return 1.0
        if not self.total or not self.size_known:
            return 0.0
        return min(self.confirmed / self.total, 0.9999)


def waiting_words(progress: Progress) -> str:
    """Say what an upload waits for, why, and what to do.

    Examples
    --------
    >>> waiting_words(Progress(State.WAITING, error="the token has expired; renew it"))
    'waiting for credentials: the token has expired; renew it'
    """
    return f"waiting for credentials: {progress.error or 'run %oss_connect with new ones'}"


@dataclass(frozen=True, slots=True, repr=False)
class UploadResult:
    """What was published, and how sure we are.

    ``verified`` is True only when the server's own CRC-64 of the whole object equals ours.
    ``already_published`` says that nothing had to be sent. ``callback_error`` is set where the
    object is stored but the application's callback failed (HTTP 203). ``finished`` is a Unix time in
    seconds.

    Examples
    --------
    >>> result = UploadResult("b", "k", 3, "5D9C68C6C50ED3D02A2FCF54F63993B6", 11, True, 0.1, 1)
    >>> result
    <UploadResult oss://b/k: 3 B, 1 part, CRC-64 verified, ETag 5D9C68C6C50ED3D02A2FCF54F63993B6>
    >>> result.crc64, result.bytes_sent, result.already_published
    (11, 0, False)
    """

    bucket: str
    key: str
    size: int
    etag: str
    crc64: int
    verified: bool
    elapsed: float
    parts: int
    parts_kept: int = 0
    parts_sent: int = 0
    bytes_sent: int = 0
    retries: int = 0
    upload_id: str | None = None
    version_id: str | None = None
    callback: object = None
    callback_error: str | None = None
    already_published: bool = False
    request_id: str = ""
    finished: float = 0.0

    @property
    def address(self) -> str:
        """The object's ``oss://bucket/key`` address.

        Examples
        --------
        >>> UploadResult("b", "a/k", 0, "", 0, True, 0.1, 1).address
        'oss://b/a/k'
        """
        return f"oss://{self.bucket}/{self.key}"

    def __repr__(self) -> str:
        sure = "CRC-64 verified" if self.verified else "not verified by the server"
        parts = "1 part" if self.parts == 1 else f"{self.parts} parts"
        return f"<UploadResult {self.address}: {format_size(self.size)}, {parts}, {sure}, ETag {self.etag}>"


class SpeedMeter:
    """Bytes per second over a sliding window, fed by whoever takes snapshots, from any thread.

    Examples
    --------
    >>> times = iter([0.0, 1.0, 2.0])
    >>> meter = SpeedMeter(now=lambda: next(times))
    >>> [meter.update(done) for done in (0, 100, 400)]
    [0.0, 100.0, 200.0]
    """

    def __init__(self, window: float = 5.0, now: Callable[[], float] = time.monotonic) -> None:
        self._window = window
        self._now = now
        self._samples: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()

    def update(self, done: int) -> float:
        """Note ``done`` bytes in all; returns bytes per second."""
        now = self._now()
        with self._lock:
            samples = self._samples
            if not samples or now - samples[-1][0] >= 0.1:
                samples.append((now, done))
            while len(samples) > 2 and now - samples[1][0] >= self._window:
                samples.popleft()
            since, before = samples[0]
        return max(0.0, (done - before) / (now - since)) if now - since >= 0.1 else 0.0

    def reset(self) -> None:
        """Forget the past: after a pause the old speed says nothing."""
        with self._lock:
            self._samples.clear()
