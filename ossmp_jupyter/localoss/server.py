"""The sockets: one listening, a thread per connection.

Why neither cheroot nor ``http.server``: cheroot hands the path on decoded, reads the socket through a
buffered reader of its own and gives idle connections to a shared pool, so that a reset at byte B of a body, a
cut answer or a body received by ``recv_into`` needs its private parts. ``http.server`` collapses a leading
``//`` and parses heads with the email package. What is left of either after that is the accept loop of
``socketserver``, which is the part used here; HTTP/1.1 framing is one small module
(:mod:`ossmp_jupyter.localoss.request`) that keeps the path raw and the socket in hand. Threads win over an
event loop because receiving, hashing and writing all let the GIL go.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading
import traceback
from pathlib import Path

from ossmp_jupyter.localoss.request import Wire
from ossmp_jupyter.localoss.service import Service

__all__ = ["LocalServer"]


class _Handler(socketserver.BaseRequestHandler):
    server: LocalServer

    def handle(self) -> None:
        service = self.server.service
        peer = str(self.client_address[0])
        wire = Wire(self.request, service.settings.limits)
        try:
            while not service.stopped.is_set() and service.serve_one(wire, peer):
                pass
        except OSError:
            pass  # the client has gone
        except Exception:
            self._report()
            wire.reset()
        finally:
            wire.close()

    def _report(self) -> None:
        """Write a defect of this server to its standard error; a traceback holds no heads and no bodies."""
        with contextlib.suppress(OSError, ValueError):
            traceback.print_exc(file=sys.stderr)


class LocalServer(socketserver.ThreadingTCPServer):
    """The listening socket and its threads."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, service: Service) -> None:
        self.service = service
        settings = service.settings
        self.address_family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        super().__init__((settings.host, settings.port), _Handler)
        service.port = int(self.server_address[1])

    def run(self) -> None:
        """Serve until :attr:`Service.stopped` is set."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
        thread.start()
        self.service.stopped.wait()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet about a client that went away; defects are reported by the handler."""

    @property
    def root(self) -> Path:
        """Return the folder everything is stored in."""
        return self.service.settings.root
