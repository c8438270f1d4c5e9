"""A real Jupyter server that offers JupyterLab and Notebook 7, for the tests that drive a browser."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["JupyterServer", "free_port"]

_SETTINGS = {
    # all cells in the DOM, no virtual scrolling
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    # a kernel that is slow to answer is waited for
    "@jupyterlab/completer-extension/manager": {"providerTimeout": 20_000},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def free_port() -> int:
    """A port that is free now; until a server has it, somebody else may take it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class JupyterServer:
    """A Jupyter server of its own that offers both front ends; kernels inherit `environment`.

    With `python`, of an environment of its own, only the kernels run in this one, as on a hub.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        python: Path | None = None,
    ) -> None:
        self.folder = folder
        self._python = sys.executable if python is None else str(python)
        self.kernel = "python3" if python is None else "project"
        self._settings = {**_SETTINGS, **(settings or {})}
        self.notebooks = folder / "notebooks"
        self.token = secrets.token_hex(16)
        self._environment = dict(environment or {})
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> JupyterServer:
        for name in ("notebooks", "home"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for plugin, values in self._settings.items():
            path = self.folder / "settings" / f"{plugin}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        if self._python != sys.executable:
            self._offer_this_environment()
        # kernels talk over sockets in it (see tests/kernels.py); their paths have to be short
        self._runtime = tempfile.mkdtemp(prefix="jupyter-")
        try:
            for _ in range(5):
                self._start(free_port())
                if self._is_ready(90):
                    return self
        except BaseException:
            self.__exit__()
            raise
        raise RuntimeError(f"the Jupyter server ended: {self.log()[-3000:]}")

    def _start(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        command = [
            *(self._python, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"),
            "--ServerApp.port_retries=0",
            "--KernelManager.transport=ipc",
            f"--ServerApp.root_dir={self.notebooks}",
            "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True",
            "--LabApp.news_url=",
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--allow-root")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=self._variables(),
                cwd=self.notebooks,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _offer_this_environment(self) -> None:
        spec = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "Project",
            "language": "python",
            "env": {"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        }
        path = self.folder / "data" / "kernels" / self.kernel / "kernel.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(spec))

    def _variables(self) -> dict[str, str]:
        folders = {
            "HOME": "home",
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        ours = {name: str(self.folder / value) for name, value in folders.items()}
        inherited = dict(os.environ)
        if self._python != sys.executable:
            inherited.pop("PYTHONPATH", None)  # the server's environment is its own
        ours |= {"JUPYTER_RUNTIME_DIR": self._runtime, "JUPYTER_TOKEN": self.token}
        return {**inherited, **ours, **self._environment}

    def _is_ready(self, seconds: float) -> bool:
        """Wait until it serves; False if it has ended because somebody else took its port meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            assert self._process is not None
            if self._process.poll() is not None:
                if "already in use" in self.log():
                    return False
                raise RuntimeError(f"the Jupyter server ended: {self.log()[-3000:]}")
            try:
                self.api("GET", "/api/status")
                return True
            except OSError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the Jupyter server did not start: {self.log()[-3000:]}") from None
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(Exception):
                for kernel in self.api("GET", "/api/kernels"):
                    self.api("DELETE", f"/api/kernels/{kernel['id']}")
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        shutil.rmtree(self._runtime, ignore_errors=True)

    def api(self, method: str, path: str) -> Any:
        """Call the server's REST API."""
        request = urllib.request.Request(
            self.url + path, method=method, headers={"Authorization": f"token {self.token}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def log(self) -> str:
        """What the server and its kernels printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""
