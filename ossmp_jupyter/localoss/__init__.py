"""An embedded, strict, fault-injecting OSS for demos and tests, in its own process.

Examples
--------
>>> from ossmp_jupyter.localoss import LocalOSS
>>> with LocalOSS(buckets=("demo",)) as oss:
...     oss.bucket, oss.snapshot()["uploads"]
('demo', [])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ossmp_jupyter.localoss.launch import LocalHandle, LocalOSS, attach_local

__all__ = ["LocalHandle", "LocalOSS", "attach_local"]


def __getattr__(name: str) -> Any:
    """Import the launcher at first use, so that importing this package costs nothing."""
    if name in __all__:
        from ossmp_jupyter.localoss import launch

        return getattr(launch, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
