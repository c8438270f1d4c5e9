"""Kernels that no other program can take the ports of.

jupyter_client picks free TCP ports and lets them go again; the kernel takes them half a second later. With
many servers and kernels started side by side, somebody else has one of them by then, once in some thousand
kernels. Sockets in a folder of their own cannot be taken; ZeroMQ treats both alike.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from typing import Any

import papermill
from nbclient import NotebookClient
from traitlets.config import Config

__all__ = ["OUTPUT_SECONDS", "own_sockets", "run_notebook", "run_papermill"]

OUTPUT_SECONDS = 30
"""How long outputs, on a channel of their own, may come after the reply; nbclient loses what takes 4 s."""


@contextlib.contextmanager
def own_sockets() -> Iterator[dict[str, str]]:
    """Traits of a KernelManager; the folder is a short one, as paths of sockets have to be."""
    with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
        yield {"transport": "ipc", "ip": f"{folder}/k"}


def run_notebook(notebook: Any, folder: object, *, timeout: int = 50, **traits: Any) -> None:
    """Execute a notebook in ``folder`` by nbclient."""
    with own_sockets() as sockets:
        NotebookClient(
            notebook, timeout=timeout, iopub_timeout=OUTPUT_SECONDS,
            resources={"metadata": {"path": str(folder)}}, config=Config(KernelManager=sockets), **traits,
        ).execute()  # fmt: skip


def run_papermill(source: object, target: object, folder: object) -> None:
    """Execute a notebook in ``folder`` by papermill."""
    with own_sockets() as sockets:
        papermill.execute_notebook(
            source, target, cwd=str(folder), progress_bar=False, kernel_name="python3",
            iopub_timeout=OUTPUT_SECONDS, config=Config(KernelManager=sockets),
        )  # fmt: skip
