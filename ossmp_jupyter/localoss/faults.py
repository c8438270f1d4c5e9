"""The fault plan: which requests go wrong, and how.

A plan is a JSON list of rules. A rule names a ``kind`` and an ``operation`` (``"*"``, the default, for any),
and picks requests of that operation by counting them, so that the same order of requests meets the same
faults:

- ``at``: the N-th matching request, from 1 (the default); with ``"times": null`` that one and all after it
- ``every``: each N-th matching request
- ``probability``: each with this chance, drawn from ``seed`` (default 0) and the request's number, repeatable
- ``part_number``: only this part; ``key``: only this object
- ``times``: how often at most, null for good. Default 1 with ``at``; for good with ``every`` and
  ``probability``, and for the kinds ``slow`` and ``skew`` without ``at``
- ``byte``: at this byte of the request body, never if the body is shorter; without it after the body, before
  the answer

Kinds:

- ``reset``: RST, nothing applied
- ``stall``: silence for ``seconds`` (default 3600), then on as if nothing had been
- ``error``: answers ``status`` (500), ``code`` (InternalError), ``message``, and Retry-After if there is a
  ``retry_after`` (seconds); nothing applied
- ``cut_answer``: applied; the answer ends after ``byte`` bytes of its body (default half). An answer without
  a body is cut in its head, there ``byte`` counts from the head's beginning
- ``apply_no_answer``: applied; RST instead of the answer
- ``answer_no_apply``: a good answer, nothing applied
- ``corrupt_part``: one bit of the stored part is flipped: ListParts and Complete see the CRC of the wrong
  bytes, the answer and the ETag are those of the right ones. With ``"where": "transit"`` it is flipped before
  the server looks, so that the answer tells
- ``wrong_crc``, ``wrong_etag``, ``no_crc``: that header of the answer is wrong, or missing
- ``forget_upload``: the upload named in the request is gone before the request is served
- ``slow``: this request's body at ``bandwidth`` (bytes per second, or such as ``"1MB/s"``)
- ``html``: 200 with a page of HTML, nothing applied
- ``skew``: the server's clock is off by ``seconds`` while it serves the request
- ``expire_token``: from this request on the security token has expired, and ``token`` is the valid one

Examples
--------
>>> plan = FaultPlan(read_rules([{"operation": "UploadPart", "at": 2, "kind": "reset", "byte": 65536}]))
>>> [len(plan.strikes("UploadPart", key="k", part_number=n)) for n in (1, 2, 3)]
[0, 1, 0]
"""

from __future__ import annotations

import enum
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.localoss.call import Operation
from ossmp_jupyter.units import parse_size

__all__ = ["FaultPlan", "Kind", "Rule", "Strike", "read_rules"]


class Kind(enum.Enum):
    """What goes wrong."""

    RESET = "reset"
    STALL = "stall"
    ERROR = "error"
    CUT_ANSWER = "cut_answer"
    APPLY_NO_ANSWER = "apply_no_answer"
    ANSWER_NO_APPLY = "answer_no_apply"
    CORRUPT_PART = "corrupt_part"
    WRONG_CRC = "wrong_crc"
    WRONG_ETAG = "wrong_etag"
    NO_CRC = "no_crc"
    FORGET_UPLOAD = "forget_upload"
    SLOW = "slow"
    HTML = "html"
    SKEW = "skew"
    EXPIRE_TOKEN = "expire_token"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the plan; see the module's docstring. ``times`` None means for good."""

    kind: Kind
    operation: str = "*"
    at: int | None = None
    every: int | None = None
    probability: float | None = None
    seed: int = 0
    part_number: int | None = None
    key: str | None = None
    times: int | None = 1
    byte: int | None = None
    seconds: float = 3600.0
    status: int = 500
    code: str = "InternalError"
    message: str = ""
    retry_after: float | None = None
    bandwidth: int | None = None
    where: str = "stored"
    token: str = ""

    def picks(self, number: int) -> bool:
        """Tell whether the rule means the ``number``-th matching request."""
        if self.every is not None:
            return number % self.every == 0
        if self.probability is not None:
            return random.Random(f"{self.seed}:{number}").random() < self.probability
        return number >= (self.at or 1)


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault that hits one request."""

    rule: Rule

    @property
    def kind(self) -> Kind:
        """Return what goes wrong."""
        return self.rule.kind


_NAMES = {item.name for item in fields(Rule)}
_OPERATIONS = {"*", *(operation.value for operation in Operation)}
_NUMBERS = ("at", "every", "part_number", "times", "byte", "status", "seed")


def read_rules(value: object) -> tuple[Rule, ...]:
    """Check a plan that came as JSON.

    Raises
    ------
    InputError
        Naming the rule and what is wrong with it.
    """
    if not isinstance(value, list):
        raise InputError(
            "the fault plan is not a list", hint='write [{"operation": "UploadPart", "kind": "reset"}]'
        )
    return tuple(_read_rule(number, rule) for number, rule in enumerate(value, 1))


def _read_rule(number: int, rule: object) -> Rule:
    if not isinstance(rule, Mapping):
        raise InputError(f"rule {number} of the fault plan is not an object")
    given: dict[str, Any] = dict(rule)
    if unknown := set(given) - _NAMES:
        raise InputError(
            f"rule {number} of the fault plan has an unknown member {min(unknown)!r}",
            hint=f"known are {', '.join(sorted(_NAMES))}",
        )
    try:
        given["kind"] = Kind(given.get("kind"))
    except ValueError:
        raise InputError(
            f"rule {number} of the fault plan has no known kind ({given.get('kind')!r})",
            hint=f"known are {', '.join(kind.value for kind in Kind)}",
        ) from None
    if given.get("operation", "*") not in _OPERATIONS:
        raise InputError(
            f"rule {number} of the fault plan names an unknown operation {given['operation']!r}",
            hint=f"known are {', '.join(sorted(_OPERATIONS))}",
        )
    for name in _NUMBERS:
        if given.get(name) is not None and (
            not isinstance(given[name], int) or given[name] < (name == "every")
        ):
            raise InputError(
                f"rule {number} of the fault plan: {name} is {given[name]!r}, not a whole number"
            )
    if given.get("bandwidth") is not None:
        given["bandwidth"] = parse_size(given["bandwidth"], "bandwidth")
    lasting = given["kind"] in (Kind.SLOW, Kind.SKEW) and given.get("at") is None
    if lasting or given.get("every") is not None or given.get("probability") is not None:
        given.setdefault("times", None)
    return Rule(**given)


@dataclass(slots=True)
class _Count:
    seen: int = 0
    struck: int = 0


@dataclass(slots=True)
class FaultPlan:
    """The rules in force and how often each has matched and struck."""

    rules: Sequence[Rule] = ()
    _counts: list[_Count] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.set(self.rules)

    def set(self, rules: Sequence[Rule]) -> None:
        """Put new rules in force; counting begins anew."""
        with self._lock:
            self.rules = tuple(rules)
            self._counts = [_Count() for _ in self.rules]

    def strikes(self, operation: str, *, key: str, part_number: int | None) -> tuple[Strike, ...]:
        """Count one request and return the faults that hit it."""
        if not self.rules:
            return ()
        hits: list[Strike] = []
        with self._lock:
            for rule, count in zip(self.rules, self._counts, strict=True):
                if rule.operation not in ("*", operation) or rule.key not in (None, key):
                    continue
                if rule.part_number not in (None, part_number):
                    continue
                count.seen += 1
                if rule.picks(count.seen) and (rule.times is None or count.struck < rule.times):
                    count.struck += 1
                    hits.append(Strike(rule))
        return tuple(hits)
