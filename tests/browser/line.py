"""A line between browser and Jupyter that a test can cut."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

__all__ = ["Line"]


class Line:
    """A line between browser and Jupyter that can be cut: every connection breaks, new ones are refused."""

    def __init__(self, port: int) -> None:
        self._port, self._open = port, threading.Event()
        self._open.set()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._open.is_set():
                    near.close()
                    continue
                try:
                    far = socket.create_connection(("127.0.0.1", self._port))
                except OSError:  # the next one may fare better
                    near.close()
                    continue
                self._sockets |= {near, far}
                if not self._open.is_set():  # it was cut in just this moment
                    self._break(near, far)
                threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError, ValueError):
                while True:
                    for ready in select.select([near, far], [], [])[0]:
                        data = ready.recv(1 << 16)
                        if not data:
                            return
                        (far if ready is near else near).sendall(data)
        finally:
            for one in (near, far):
                self._sockets.discard(one)
                one.close()

    def cut(self) -> None:
        self._open.clear()
        self._break(*list(self._sockets))

    @staticmethod
    def _break(*sockets: socket.socket) -> None:
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._open.set()

    def close(self) -> None:
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(10)  # else it could accept from the next listener that gets this file number
        self._listener.close()
