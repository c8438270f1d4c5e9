"""What a page really shows: the contrast of texts and graphics with their ground, and what sticks out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Locator

__all__ = ["covered", "faint", "sticking_out"]

_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def _ask(panel: Locator, name: str) -> Any:
    return panel.evaluate(f"(root) => ({_SCRIPT[_SCRIPT.index('({') :].rstrip()}).{name}(root)")


def faint(panel: Locator) -> tuple[list[Any], int]:
    """What has too little contrast, as ``[what, ratio, least]``, and how much was looked at."""
    found = _ask(panel, "faint")
    return [one for one in found if one[1] < one[2]], len(found)


def sticking_out(panel: Locator) -> list[str]:
    """What reaches beyond the panel's own width."""
    out: list[str] = _ask(panel, "sticking")
    return out


def covered(panel: Locator) -> tuple[list[str], int]:
    """Texts and controls that cover each other or are cut off, and how many were looked at."""
    out: list[str]
    out, looked = _ask(panel, "overlapping")
    return out, looked
