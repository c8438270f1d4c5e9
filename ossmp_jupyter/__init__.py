"""Fast, resumable multipart uploads to Alibaba Cloud OSS, from notebooks and scripts.

In a notebook: ``%load_ext ossmp_jupyter``, then ``%oss_upload FILE oss://bucket/key``.
In a program::

    from ossmp_jupyter import connect, upload
    result = upload("data.bin", "oss://my-bucket/data.bin", connection=connect(region="cn-hangzhou")).wait()

Names are imported at first use, so that loading the extension costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ossmp_jupyter.errors import OssmpError
    from ossmp_jupyter.localoss import LocalOSS
    from ossmp_jupyter.oss.connection import Connection, connect
    from ossmp_jupyter.oss.credentials import Credentials
    from ossmp_jupyter.oss.messages import HeadResult
    from ossmp_jupyter.transfer.checkpoint import Checkpoint
    from ossmp_jupyter.transfer.client import OSSClient
    from ossmp_jupyter.transfer.manager import Upload, set_default_connection, upload, uploads
    from ossmp_jupyter.transfer.progress import Progress, State, UploadResult
    from ossmp_jupyter.transfer.published import verify

__all__ = [
    "Checkpoint",
    "Connection",
    "Credentials",
    "HeadResult",
    "LocalOSS",
    "OSSClient",
    "OssmpError",
    "Progress",
    "State",
    "Upload",
    "UploadResult",
    "connect",
    "set_default_connection",
    "upload",
    "uploads",
    "verify",
]

_HOMES = {
    "Checkpoint": "transfer.checkpoint",
    "Connection": "oss.connection",
    "Credentials": "oss.credentials",
    "HeadResult": "oss.messages",
    "LocalOSS": "localoss",
    "OSSClient": "transfer.client",
    "OssmpError": "errors",
    "Progress": "transfer.progress",
    "State": "transfer.progress",
    "Upload": "transfer.manager",
    "UploadResult": "transfer.progress",
    "connect": "oss.connection",
    "set_default_connection": "transfer.manager",
    "upload": "transfer.manager",
    "uploads": "transfer.manager",
    "verify": "transfer.published",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Bring the magics: ``%load_ext ossmp_jupyter``."""
    from ossmp_jupyter.notebook.extension import load

    load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Take the magics away: ``%unload_ext ossmp_jupyter``. Uploads are paused and can be resumed."""
    from ossmp_jupyter.notebook.extension import unload

    unload(ipython)
