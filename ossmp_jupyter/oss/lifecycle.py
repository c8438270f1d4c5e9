"""Lifecycle rules of a bucket: as much of them as says what becomes of forgotten multipart uploads.

Source of the rules: OSS API, GetBucketLifecycle and PutBucketLifecycle.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ossmp_jupyter.oss.xml import XmlNode, parse_xml

__all__ = ["LifecycleRule", "clears_uploads", "read_lifecycle"]


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """One rule. ``abort_days`` or ``abort_before`` is set where it aborts unfinished uploads."""

    id: str
    prefix: str = ""
    enabled: bool = True
    abort_days: int | None = None
    abort_before: datetime | None = None

    @property
    def aborts(self) -> bool:
        """Whether it aborts unfinished uploads."""
        return self.enabled and (self.abort_days is not None or self.abort_before is not None)


def read_lifecycle(data: bytes) -> tuple[LifecycleRule, ...]:
    """Read a LifecycleConfiguration.

    Examples
    --------
    >>> read_lifecycle(
    ...     b"<LifecycleConfiguration><Rule><ID>r</ID><Prefix>logs/</Prefix><Status>Enabled</Status>"
    ...     b"<AbortMultipartUpload><Days>7</Days></AbortMultipartUpload></Rule></LifecycleConfiguration>"
    ... )
    (LifecycleRule(id='r', prefix='logs/', enabled=True, abort_days=7, abort_before=None),)
    """
    return tuple(_read_rule(node) for node in parse_xml(data, "LifecycleConfiguration").children("Rule"))


def _read_rule(node: XmlNode) -> LifecycleRule:
    aborts = next(iter(node.children("AbortMultipartUpload")), None)
    return LifecycleRule(
        id=node.text("ID"),
        prefix=node.text("Prefix"),
        enabled=node.text("Status").strip().lower() == "enabled",
        abort_days=None if aborts is None else aborts.optional_number("Days"),
        abort_before=None if aborts is None else aborts.time("CreatedBeforeDate"),
    )


def clears_uploads(rules: Iterable[LifecycleRule], prefix: str = "") -> bool:
    """Whether some rule aborts forgotten uploads of all keys that begin with ``prefix``.

    Examples
    --------
    >>> rules = [LifecycleRule("r", prefix="logs/", abort_days=7)]
    >>> clears_uploads(rules), clears_uploads(rules, "logs/2026/")
    (False, True)
    """
    return any(rule.aborts and prefix.startswith(rule.prefix) for rule in rules)
