"""What one embedded server is told at its start, as one immutable value."""

from __future__ import annotations

import enum
import secrets
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "CLOCK_WINDOW",
    "MAX_OBJECT",
    "MAX_PART",
    "MIN_PART",
    "Checksums",
    "Limits",
    "Rotation",
    "Settings",
    "random_keys",
]

MIN_PART = 102_400
MAX_PART = 5 * 1024**3
MAX_OBJECT = MAX_PART
CLOCK_WINDOW = 900


class Checksums(enum.Enum):
    """How much a body is hashed on its way in."""

    FULL = "full"
    """MD5 (the ETag) and CRC-64, as OSS does."""

    CRC = "crc"
    """CRC-64 only; the ETag is made from it. For benchmarks: MD5 costs 20 times as much."""

    NONE = "none"
    """Nothing; no CRC header is sent. Bodies may then be dropped in the kernel."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask of a connection. Times in seconds, sizes in bytes."""

    head_bytes: int = 64 * 1024
    head_timeout: float = 20.0
    idle_timeout: float = 300.0
    body_timeout: float = 60.0
    xml_bytes: int = 4 * 1024**2
    drain_bytes: int = 64 * 1024**2
    drain_seconds: float = 10.0


class Rotation:
    """Security tokens that have expired while the server runs, and the one that took their place."""

    def __init__(self) -> None:
        self.now: str | None = None
        self.expired: frozenset[str] = frozenset()

    def rotate(self, old: str | None, new: str) -> None:
        """From now on ``new`` is the token; the one before it has expired."""
        before = self.now or old
        if before is not None and before != new:
            self.expired |= {before}
        self.now = new
        self.expired -= {new}


@dataclass(frozen=True, slots=True)
class Settings:
    """What one embedded server is told at its start."""

    root: Path
    host: str = "127.0.0.1"
    port: int = 0
    region: str = "cn-hangzhou"
    buckets: tuple[str, ...] = ("demo",)
    access_key_id: str = ""
    access_key_secret: str = field(default="", repr=False)
    security_token: str | None = field(default=None, repr=False)
    rotation: Rotation = field(default_factory=Rotation, repr=False)
    control_token: str = field(default="", repr=False)
    bandwidth: int | None = None
    discard: bool = False
    checksums: Checksums = Checksums.FULL
    allow_private_callback: bool = False
    limits: Limits = Limits()


def random_keys() -> tuple[str, str]:
    """Return a fresh access key pair; the ID says where it comes from."""
    return "LOCAL" + secrets.token_hex(8).upper(), secrets.token_urlsafe(24)
