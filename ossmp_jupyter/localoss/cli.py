"""The command line of the embedded server, and its life as a process."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import json
import os
import secrets
import signal
import sys
import tempfile
import threading
from _thread import start_new_thread
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ossmp_jupyter.errors import InputError, OssmpError
from ossmp_jupyter.localoss.buckets import check_bucket_name
from ossmp_jupyter.localoss.config import Checksums, Limits, Settings, random_keys
from ossmp_jupyter.localoss.errors_xml import Refused
from ossmp_jupyter.localoss.faults import Rule, read_rules
from ossmp_jupyter.localoss.server import LocalServer
from ossmp_jupyter.localoss.service import Service
from ossmp_jupyter.localoss.variables import LOCK_VARIABLE, SECRET_VARIABLE, TOKEN_VARIABLE
from ossmp_jupyter.units import parse_size

__all__ = ["main"]

_LOCK_SECONDS = 10.0  # a server that is just ending gives its folder up within this


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    parse = argparse.ArgumentParser(
        prog="python -m ossmp_jupyter.localoss", description="An embedded OSS for demos and tests."
    )
    add = parse.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=0, help="port to listen on (default: any free one)")
    add("--root", type=Path, help="folder to store everything in (default: a temporary one)")
    add("--bucket", action="append", metavar="NAME", help="bucket to create (default: demo); may be repeated")
    add("--region", default="cn-hangzhou", help="region for V4 signatures (default: %(default)s)")
    add("--access-key-id", metavar="ID", help="access key ID (default: a random one)")
    add(
        "--access-key-secret",
        metavar="SECRET",
        help=f"its secret (default: ${SECRET_VARIABLE}, or a random one)",
    )
    add("--security-token", metavar="T", help=f"demand this STS token (default: ${TOKEN_VARIABLE}, or none)")
    add(
        "--keys-from-stdin",
        action="store_true",
        help="read access_key_id, access_key_secret and security_token from a line of JSON instead",
    )
    add("--bandwidth", metavar="SPEED", help="limit of all connections together, such as 20MB/s")
    add(
        "--discard", action="store_true", help="drop bodies, for benchmarks; they are counted and checksummed"
    )
    add(
        "--checksums",
        choices=[item.value for item in Checksums],
        help="what to compute of each body (default: full; with --discard: crc)",
    )
    add(
        "--head-timeout",
        type=float,
        default=Limits().head_timeout,
        metavar="SECONDS",
        help="how long the head of a request may take (default: %(default)g)",
    )
    add("--faults", type=Path, metavar="FILE", help="fault plan, a JSON file")
    add("--allow-private-callback", action="store_true", help="send upload callbacks to loopback addresses")
    add(
        "--watch-stdin",
        action="store_true",
        help="end when standard input ends (with the process that started us)",
    )
    add("--shared", action="store_true", help="end some 10 s after the last attached client has gone")
    return parse


def read_settings(argv: Sequence[str] | None) -> tuple[Settings, argparse.Namespace, tuple[Rule, ...]]:
    """Read the command line into settings; the random parts are filled in."""
    given = parser().parse_args(argv)
    key_id, key_secret = random_keys()
    keys = json.loads(sys.stdin.readline() or "{}") if given.keys_from_stdin else {}
    checksums = given.checksums or ("crc" if given.discard else "full")
    buckets = tuple(given.bucket or ("demo",))
    for name in buckets:
        check_bucket_name(name)
    settings = Settings(
        root=(given.root or Path(tempfile.mkdtemp(prefix="localoss-"))).expanduser().resolve(),
        host=given.host,
        port=given.port,
        region=given.region.removeprefix("oss-"),
        buckets=buckets,
        access_key_id=keys.get("access_key_id") or given.access_key_id or key_id,
        access_key_secret=keys.get("access_key_secret")
        or given.access_key_secret
        or os.environ.pop(SECRET_VARIABLE, "")
        or key_secret,
        security_token=keys.get("security_token")
        or given.security_token
        or os.environ.pop(TOKEN_VARIABLE, "")
        or None,
        control_token=secrets.token_urlsafe(24),
        bandwidth=None if given.bandwidth is None else parse_size(given.bandwidth, "--bandwidth"),
        discard=given.discard,
        checksums=Checksums(checksums),
        allow_private_callback=given.allow_private_callback,
        limits=Limits(head_timeout=given.head_timeout),
    )
    rules: tuple[Rule, ...] = ()
    if given.faults is not None:
        rules = read_rules(json.loads(given.faults.read_text(encoding="utf-8")))
    return settings, given, rules


def _lock_root(root: Path) -> None:
    """Make sure that no other server uses the folder; the lock lasts as long as this process."""
    import filelock

    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = filelock.FileLock(root / ".server.lock")
    try:
        lock.acquire(timeout=float(os.environ.get(LOCK_VARIABLE, _LOCK_SECONDS)))
    except filelock.Timeout:
        raise InputError(
            f"another embedded OSS is using {root}", hint="end it, or name another folder"
        ) from None
    atexit.register(lock.release)


def _bind(settings: Settings) -> LocalServer:
    service = Service(settings)
    try:
        return LocalServer(service)
    except OSError:
        if not settings.port:
            raise
    service.settings = replace(settings, port=0)
    return LocalServer(service)


def _watch_stdin(stopped: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    stopped.set()


def _stop_on_signals(stopped: threading.Event) -> None:
    """Let SIGTERM and SIGINT set the event.

    In a thread of its own, made without a lock: a handler interrupts the main thread anywhere, and where that
    is about to wait for the event, it holds the event's lock. To set it there would wait for ever.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: start_new_thread(stopped.set, ()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server until it is told to end; return the exit status."""
    try:
        settings, given, rules = read_settings(argv)
        _lock_root(settings.root)
        server = _bind(settings) if given.shared else LocalServer(Service(settings))
    except (OssmpError, OSError, ValueError) as error:
        print(f"localoss: {error}", file=sys.stderr)
        return 2
    except Refused as refused:
        print(f"localoss: {refused.message} ({refused.extra.get('BucketName', '')})", file=sys.stderr)
        return 2
    service = server.service
    service.faults.set(rules)
    _stop_on_signals(service.stopped)
    if given.watch_stdin:
        threading.Thread(target=_watch_stdin, args=(service.stopped,), daemon=True).start()
    print(json.dumps(service.description()), flush=True)
    if given.shared:
        threading.Thread(target=_end_with_last_lifeline, args=(service,), daemon=True).start()
    server.run()
    return 0


def _end_with_last_lifeline(service: Service) -> None:
    service.lifelines.wait(service.stopped)
    service.stopped.set()
