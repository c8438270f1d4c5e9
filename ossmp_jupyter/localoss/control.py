"""The control endpoint of tests and launcher: same port, ``/_localoss/``, loopback peers with the token only.

A bucket's name cannot begin with an underscore, so no object is ever hidden by it.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.localoss.call import Answer
from ossmp_jupyter.localoss.errors_xml import DropConnection, Refused
from ossmp_jupyter.localoss.faults import read_rules
from ossmp_jupyter.localoss.request import Body, Head, Wire
from ossmp_jupyter.units import parse_size

if TYPE_CHECKING:
    from ossmp_jupyter.localoss.service import Service

__all__ = ["PREFIX", "Lifelines", "control"]

PREFIX = b"/_localoss/"


class Lifelines:
    """Counts the clients that want this server alive; afterwards it may end."""

    def __init__(self, grace: float = 10.0) -> None:
        self._lock = threading.Lock()
        self._grace = grace
        self._count = 0
        self._idle_since = time.monotonic()
        self._closed = False

    def enter(self) -> bool:
        """Count one client in; False when the server is already ending."""
        with self._lock:
            if self._closed:
                return False
            self._count += 1
            return True

    def leave(self) -> None:
        """Count one client out."""
        with self._lock:
            self._count -= 1
            self._idle_since = time.monotonic()

    def wait(self, stopped: threading.Event) -> None:
        """Return once nobody has been here for the grace time, or when told to stop."""
        while not stopped.wait(0.2):
            with self._lock:
                if self._count == 0 and time.monotonic() - self._idle_since > self._grace:
                    self._closed = True
                    return


def _is_loopback(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _json(value: object, status: int = 200) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(value).encode())


def control(service: Service, head: Head, body: Body, wire: Wire, peer: str) -> Answer:
    """Serve one control request."""
    token = head.get("x-localoss-token")
    allowed = hmac.compare_digest(token.encode(), service.settings.control_token.encode())
    if not _is_loopback(peer) or not allowed or "origin" in head.headers:
        return _json({"error": "the control endpoint serves loopback clients with its token only"}, 403)
    name = head.path.removeprefix(PREFIX).decode("ascii", "replace")
    action = _ACTIONS.get((head.method, name))
    if action is None:
        return _json({"error": f"no control action {head.method} {name}"}, 404)
    try:
        text = body.read_all(service.settings.limits.xml_bytes)
        return action(service, head, json.loads(text) if text else None, wire)
    except (InputError, ValueError, Refused, RecursionError) as error:
        return _json({"error": str(error)}, 400)


def _journal(service: Service, head: Head, value: Any, wire: Wire) -> Answer:
    return _json(service.journal.entries(clear=head.parameter("clear") == "1"))


def _faults(service: Service, head: Head, value: Any, wire: Wire) -> Answer:
    rules = read_rules(value)
    service.faults.set(rules)
    return _json({"rules": len(rules)})


def _bandwidth(service: Service, head: Head, value: Any, wire: Wire) -> Answer:
    wanted = value.get("bandwidth") if isinstance(value, dict) else None
    service.pace.set(None if wanted is None else parse_size(wanted, "bandwidth"))
    return _json({"bandwidth": service.pace.rate})


def _token(service: Service, head: Head, value: Any, wire: Wire) -> Answer:
    new = value.get("token") if isinstance(value, dict) else None
    if not isinstance(new, str) or not new:
        raise InputError("the new security token is missing")
    service.settings.rotation.rotate(service.settings.security_token, new)
    return _json({"rotated": True})


def _snapshot(service: Service, head: Head, value: Any, wire: Wire) -> Answer:
    return _json(service.store.snapshot())


def _ping(service: Service, head: Head, value: Any, wire: Wire) -> Answer:
    return _json(service.description())


def _stop(service: Service, head: Head, value: Any, wire: Wire) -> Answer:
    service.stopped.set()
    return _json({"stopping": True})


def _hold(service: Service, head: Head, value: Any, wire: Wire) -> Answer:
    """Keep the connection open until the client goes: its process may die in any way, the kernel tells us."""
    if not service.lifelines.enter():
        return _json({"error": "the server is ending"}, 503)
    try:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{}\n")
        wire.sock.settimeout(None)
        while wire.sock.recv(64):
            pass
    except OSError:
        pass
    finally:
        service.lifelines.leave()
    raise DropConnection(reset=False)


_ACTIONS: dict[tuple[str, str], Callable[[Service, Head, Any, Wire], Answer]] = {
    ("GET", "journal"): _journal,
    ("POST", "faults"): _faults,
    ("POST", "bandwidth"): _bandwidth,
    ("POST", "token"): _token,
    ("GET", "snapshot"): _snapshot,
    ("GET", "ping"): _ping,
    ("GET", "hold"): _hold,
    ("POST", "stop"): _stop,
}
