"""Texts of others, made harmless to look at: names of objects may hold whatever anybody put there."""

from __future__ import annotations

import re

__all__ = ["visible"]

# Controls (terminals obey them), line breaks, marks that turn the direction of writing, halves of characters
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Write what would steer a terminal, or lie about the order of letters, as an escape.

    Examples
    --------
    >>> visible("报告 2026.csv"), visible("a\x1b[31mb")
    ('报告 2026.csv', 'a\\x1b[31mb')
    """
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
