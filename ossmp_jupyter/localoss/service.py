"""One request from its head to its answer: route, faults, signature, operation, journal."""

from __future__ import annotations

import contextlib
import errno
import sys
import threading
import time
import traceback
from http import HTTPStatus
from typing import Any

from ossmp_jupyter.localoss import strikes
from ossmp_jupyter.localoss.auth import authenticate
from ossmp_jupyter.localoss.call import Answer, Call, Operation, http_date
from ossmp_jupyter.localoss.config import Settings
from ossmp_jupyter.localoss.control import PREFIX, Lifelines, control
from ossmp_jupyter.localoss.cors import cors_headers, preflight
from ossmp_jupyter.localoss.errors_xml import DropConnection, Refused, error_header, error_xml
from ossmp_jupyter.localoss.faults import FaultPlan, Kind
from ossmp_jupyter.localoss.journal import Journal
from ossmp_jupyter.localoss.pace import Pace, PaceGate
from ossmp_jupyter.localoss.request import Body, Head, Wire, join_headers, parse_head
from ossmp_jupyter.localoss.router import HANDLERS, check_names, route
from ossmp_jupyter.localoss.store import Store

__all__ = ["Service"]

_BODILESS = (204, 304)
_DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.EMFILE, errno.ENOENT)


class Service:
    """Everything the connections of one server share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.root)
        self.faults = FaultPlan()
        self.journal = Journal()
        self.pace = Pace(settings.bandwidth)
        self.lifelines = Lifelines()
        self.stopped = threading.Event()
        self.port = settings.port
        for name in settings.buckets:
            self.store.create_bucket(name, time.time())

    def description(self) -> dict[str, Any]:
        """Return the ready line's facts."""
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        address = f"http://{host}:{self.port}"
        return {
            "endpoint": address,
            "region": self.settings.region,
            "bucket": self.settings.buckets[0] if self.settings.buckets else None,
            "access_key_id": self.settings.access_key_id,
            "access_key_secret": self.settings.access_key_secret,
            "control": f"{address}/_localoss/",
            "control_token": self.settings.control_token,
            "root": str(self.settings.root),
        }

    # -- one connection

    def serve_one(self, wire: Wire, peer: str) -> bool:
        """Serve one request; True when the connection can take another."""
        try:
            raw = wire.read_head()
            if raw is None:
                return False
            head = parse_head(raw)
            body = Body(wire, head)
        except Refused as refused:
            _refuse_connection(wire, refused)
            return False
        if head.path.startswith(PREFIX):
            answer = control(self, head, body, wire, peer)
            wire.drain(body)
            keep = head.keep_alive and body.done
            _send(wire, head, answer, extra=(), close=not keep)
            return keep
        call = Call(head, body, wire, self.store, self.settings)
        if self.pace.rate is not None:
            wire.narrow()
        body.gates.append(PaceGate(self.pace))
        return self._serve_call(call)

    def _serve_call(self, call: Call) -> bool:
        problem: Refused | None = None
        try:
            route(call)
        except Refused as refused:
            problem = refused
        number = call.head.parameter("partNumber") or ""
        part_number = int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else None
        call.strikes = self.faults.strikes(call.operation.value, key=call.key, part_number=part_number)
        for strike in call.strikes:
            if strike.kind is Kind.EXPIRE_TOKEN:
                self.settings.rotation.rotate(self.settings.security_token, strike.rule.token)
        entry = self.journal.begin(
            call.head,
            operation=call.operation.value,
            bucket=call.bucket,
            key=call.key,
            upload_id=call.upload_id,
            part_number=part_number,
            request_id=call.request_id,
            fault="+".join(strike.kind.value for strike in call.strikes) or None,
        )
        status: int | None = None
        code: str | None = None
        try:
            answer, refusal = self._answer(call, problem)
            code = refusal.code if refusal else None
            keep = self._finish(call, answer, close=bool(refusal and refusal.close))
            status = answer.status
            return keep
        except DropConnection as drop:
            if drop.reset:
                call.wire.reset()
            return False
        finally:
            call.held.close()
            self.journal.end(entry, status=status, code=code, bytes_in=call.body.position)

    def _answer(self, call: Call, problem: Refused | None) -> tuple[Answer, Refused | None]:
        try:
            if problem is not None:
                raise problem
            strikes.before(call)
            answer = self._operate(call)
            return strikes.after(call, answer), None
        except DropConnection:
            raise
        except Refused as refused:
            return _error_answer(call, refused), refused
        except strikes.HtmlInstead as html:
            return html.answer, None
        except OSError as error:
            if error.errno not in _DISK_TROUBLE:
                raise  # the client has gone
            trouble = Refused("InternalError", f"The embedded OSS cannot use its folder: {error.strerror}.")
            return _error_answer(call, trouble), trouble
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            defect = f"The embedded OSS failed with {type(error).__name__}; its standard error tells where."
            trouble = Refused("InternalError", defect)
            return _error_answer(call, trouble), trouble

    def _operate(self, call: Call) -> Answer:
        if call.operation is Operation.OPTIONS:
            return preflight(call.head)
        check_names(call)
        authenticate(call)
        return HANDLERS[call.operation](call)

    def _finish(self, call: Call, answer: Answer, *, close: bool) -> bool:
        """Send the answer and leave the connection clean: the rest of the body read, or all closed."""
        close = close or not call.head.keep_alive or call.body.waiting_for_continue
        if not close:
            call.wire.drain(call.body)
            close = not call.body.done
        extra = (
            ("Server", "AliyunOSS"),
            ("Date", http_date(call.now)),
            ("x-oss-request-id", call.request_id),
            ("x-oss-server-time", str(int((time.monotonic() - call.started) * 1000))),
            *cors_headers(call.head).items(),
        )
        _send(call.wire, call.head, answer, extra=extra, close=close, call=call, pace=self.pace)
        if close and not call.body.done:
            call.wire.linger()
        return not close


def _error_answer(call: Call, refused: Refused) -> Answer:
    document = error_xml(refused, request_id=call.request_id, host=call.host)
    headers = dict(refused.headers)
    if refused.ec:
        headers["x-oss-ec"] = refused.ec
    if refused.status == 304:
        return Answer(304, headers)
    headers["Content-Type"] = "application/xml"
    if call.head.method == "HEAD":
        headers["x-oss-err"] = error_header(document)
    return Answer(refused.status, headers, document)


def _refuse_connection(wire: Wire, refused: Refused) -> None:
    """Answer something that was no request; then the connection has to end."""
    document = error_xml(refused, request_id="0" * 24, host="")
    head = join_headers(
        refused.status,
        _reason(refused.status),
        (
            ("Server", "AliyunOSS"),
            ("Content-Type", "application/xml"),
            ("Content-Length", str(len(document))),
            ("Connection", "close"),
        ),
    )
    with contextlib.suppress(OSError):
        wire.send(head + document)
        wire.linger()


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _send(
    wire: Wire,
    head: Head,
    answer: Answer,
    *,
    extra: tuple[tuple[str, str], ...],
    close: bool,
    call: Call | None = None,
    pace: Pace | None = None,
) -> None:
    length = len(answer.body) if answer.length is None else answer.length
    headers = [*extra, *answer.headers.items()]
    if answer.status not in _BODILESS:
        headers.append(("Content-Length", str(length)))
    headers.append(("Connection", "close" if close else "keep-alive"))
    raw = join_headers(answer.status, _reason(answer.status), headers)
    has_body = head.method != "HEAD" and answer.status not in _BODILESS
    cut = None if call is None else strikes.cut_point(call, raw, length if has_body else 0)
    if cut is not None:
        _send_cut(wire, raw, answer, cut)
    if answer.stream is None or not has_body:
        wire.send(raw + (answer.body if has_body else b""))
        return
    wire.send(raw)
    for piece in answer.stream:
        view = memoryview(piece)
        while view:
            granted = pace.take(len(view)) if pace is not None else len(view)
            wire.send(view[:granted])
            view = view[granted:]


def _send_cut(wire: Wire, raw: bytes, answer: Answer, cut: int) -> None:
    wire.send(raw[:cut])
    left = cut - len(raw)
    if left > 0 and answer.stream is None:
        wire.send(answer.body[:left])
    elif answer.stream is not None:
        for piece in answer.stream:
            wire.send(memoryview(piece)[: max(0, left)])
            left -= len(piece)
            if left <= 0:
                break
    raise DropConnection(reset=False)
