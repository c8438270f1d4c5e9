"""The faults: what the N-th request of a run meets, once or for good."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["KINDS", "Fault", "Kind"]


@dataclass(frozen=True)
class Kind:
    """One kind of fault; ``timeout`` is the client's, short where silence has to be noticed."""

    name: str
    rule: dict[str, Any] = field(hash=False)
    timeout: float = 10.0
    lies: bool = False
    """The server says things that are not so: what it says about itself proves nothing."""


@dataclass(frozen=True)
class Fault:
    """A kind, at one request or from one request on."""

    kind: Kind
    at: int
    for_good: bool

    @property
    def rules(self) -> list[dict[str, Any]]:
        return [{**self.kind.rule, "at": self.at, "times": None if self.for_good else 1}]

    def __str__(self) -> str:
        return f"{self.kind.name} {'from' if self.for_good else 'at'} request {self.at}"


def _error(status: int, code: str, **more: Any) -> dict[str, Any]:
    return {"kind": "error", "status": status, "code": code, "message": "Injected.", **more}


KINDS = (
    Kind("reset", {"kind": "reset"}),
    Kind("reset-at-byte-0", {"kind": "reset", "byte": 0}),
    Kind("reset-in-body", {"kind": "reset", "byte": 70_000}),
    Kind("stall", {"kind": "stall", "seconds": 2.0}, timeout=0.15),
    Kind("stall-in-body", {"kind": "stall", "byte": 70_000, "seconds": 2.0}, timeout=0.15),
    Kind("500", _error(500, "InternalError")),
    Kind("503", _error(503, "ServiceUnavailable")),
    Kind("503-retry-after", _error(503, "ServiceUnavailable", retry_after=7)),
    Kind("429", _error(429, "QpsLimitExceeded")),
    Kind("400-timeout", _error(400, "RequestTimeout")),
    Kind("403-denied", _error(403, "AccessDenied")),
    Kind("403-expired", _error(403, "SecurityTokenExpired")),
    Kind("cut-answer", {"kind": "cut_answer"}),
    Kind("cut-head", {"kind": "cut_answer", "byte": 0}),
    Kind("apply-no-answer", {"kind": "apply_no_answer"}),
    Kind("answer-no-apply", {"kind": "answer_no_apply"}, lies=True),
    Kind("corrupt-stored", {"kind": "corrupt_part", "byte": 5_000}),
    Kind("corrupt-transit", {"kind": "corrupt_part", "byte": 5_000, "where": "transit"}),
    Kind("wrong-crc", {"kind": "wrong_crc"}, lies=True),
    Kind("wrong-etag", {"kind": "wrong_etag"}, lies=True),
    Kind("no-crc", {"kind": "no_crc"}),
    Kind("forget-upload", {"kind": "forget_upload"}),
    Kind("slow", {"kind": "slow", "bandwidth": 4_000_000}),
    Kind("html", {"kind": "html"}),
    Kind("skew", {"kind": "skew", "seconds": 1300}),
)
