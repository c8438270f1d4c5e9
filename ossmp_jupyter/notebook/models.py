"""Models of widgets, and their end."""

from __future__ import annotations

from typing import Any

__all__ = ["close_model"]


def close_model(model: Any) -> None:
    """Close a widget with its layout and style, which ipywidgets would keep for ever."""
    for part in (getattr(model, "style", None), getattr(model, "layout", None), model):
        if part is not None:
            part.close()
