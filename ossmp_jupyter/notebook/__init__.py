"""IPython and widgets: the magics, the panel, waiting cells, text. Nothing heavy is imported here."""

from __future__ import annotations

__all__: list[str] = []
