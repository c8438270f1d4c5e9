"""How each kind of fault is carried out, before, while and after a request is served."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ossmp_jupyter.localoss.call import Answer, Call, Operation
from ossmp_jupyter.localoss.errors_xml import DropConnection, Refused
from ossmp_jupyter.localoss.faults import Kind, Rule, Strike
from ossmp_jupyter.localoss.pace import Pace, PaceGate
from ossmp_jupyter.localoss.request import Wire
from ossmp_jupyter.oss.checksum import crc64

__all__ = ["after", "before", "cut_point"]

_HTML = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body><h1>It works!</h1></body></html>\n"


class _AtByte:
    """Do something when the body reaches a byte."""

    def __init__(self, byte: int, action: Callable[[], None]) -> None:
        self._byte, self._action, self._done = byte, action, False

    def before(self, position: int, wanted: int) -> int:
        if self._done or position + wanted <= self._byte:
            return wanted
        if position < self._byte:
            return self._byte - position
        self._done = True
        self._action()
        return wanted

    def after(self, position: int, data: memoryview) -> None:
        """Nothing to see."""


class _Flip:
    def __init__(self, byte: int) -> None:
        self._byte = byte

    def before(self, position: int, wanted: int) -> int:
        return wanted

    def after(self, position: int, data: memoryview) -> None:
        if position <= self._byte < position + len(data):
            data[self._byte - position] ^= 0x01


def _drop(*, reset: bool) -> Callable[[], None]:
    def action() -> None:
        raise DropConnection(reset=reset)

    return action


def before(call: Call) -> None:
    """Carry out what must happen before and while the request is served."""
    for strike in call.strikes:
        rule = strike.rule
        match strike.kind:
            case Kind.SKEW:
                call.skew += rule.seconds
            case Kind.SLOW:
                call.wire.narrow()
                call.body.gates.append(PaceGate(Pace(rule.bandwidth or 1024)))
            case Kind.ANSWER_NO_APPLY:
                call.apply = False
            case Kind.CORRUPT_PART if rule.where == "transit":
                call.body.gates.append(_Flip(rule.byte or 0))
            case Kind.RESET | Kind.STALL if rule.byte is not None and not call.body.done:
                call.body.gates.append(_AtByte(rule.byte, _action(call.wire, rule)))
            case Kind.RESET | Kind.ERROR | Kind.HTML:
                _swallow(call)
                _end(strike)
            case Kind.FORGET_UPLOAD:
                _forget(call)


def _action(wire: Wire, rule: Rule) -> Callable[[], None]:
    if rule.kind is Kind.RESET:
        return _drop(reset=True)
    return lambda: wire.sleep(rule.seconds)


def _swallow(call: Call) -> None:
    while call.body.read_into(call.wire.buffer):
        pass


def _end(strike: Strike) -> None:
    rule = strike.rule
    if strike.kind is Kind.RESET:
        raise DropConnection(reset=True)
    if strike.kind is Kind.HTML:
        raise HtmlInstead
    headers = {} if rule.retry_after is None else {"Retry-After": f"{rule.retry_after:g}"}
    raise Refused(rule.code, rule.message, status=rule.status, headers=headers)


class HtmlInstead(Exception):
    """The request is answered with a page of HTML, as a captive portal or a wrong endpoint would."""

    answer = Answer(200, {"Content-Type": "text/html"}, _HTML)


def _forget(call: Call) -> None:
    try:
        upload = call.store.upload(call.bucket, call.key, call.upload_id, "")
        call.store.drop_upload(upload)
    except Refused:
        return


def after(call: Call, answer: Answer) -> Answer:
    """Carry out what must happen once the request was served, before the answer goes out."""
    for strike in call.strikes:
        rule = strike.rule
        match strike.kind:
            case Kind.STALL if rule.byte is None or not call.body.position:
                call.wire.sleep(rule.seconds)
            case Kind.APPLY_NO_ANSWER:
                raise DropConnection(reset=True)
            case Kind.WRONG_CRC if "x-oss-hash-crc64ecma" in answer.headers:
                answer.headers["x-oss-hash-crc64ecma"] = str(int(answer.headers["x-oss-hash-crc64ecma"]) ^ 1)
            case Kind.NO_CRC:
                answer.headers.pop("x-oss-hash-crc64ecma", None)
            case Kind.WRONG_ETAG if "ETag" in answer.headers:
                wrong = '"' + ("F" if answer.headers["ETag"][1] != "F" else "E") + answer.headers["ETag"][2:]
                answer.body = answer.body.replace(answer.headers["ETag"].encode(), wrong.encode())
                answer.headers["ETag"] = wrong
            case Kind.CORRUPT_PART if rule.where != "transit" and call.operation is Operation.UPLOAD_PART:
                _corrupt(call, rule.byte or 0)
    return answer


def _corrupt(call: Call, byte: int) -> None:
    upload = call.store.upload(call.bucket, call.key, call.upload_id, "")
    part = upload.parts[int(call.head.parameter("partNumber") or 0)]
    path = call.store.path(upload.upload_id, part)
    data = bytearray(path.read_bytes())
    if not data:
        return
    data[min(byte, len(data) - 1)] ^= 0x01
    path.write_bytes(data)
    call.store.replace_part(upload, dataclasses.replace(part, crc64=crc64(data)))


def cut_point(call: Call, head: bytes, length: int) -> int | None:
    """Return after how many bytes of the whole answer the connection ends, or None."""
    for strike in call.strikes:
        if strike.kind is Kind.CUT_ANSWER:
            byte = strike.rule.byte
            if not length:  # nothing but a head to cut
                return len(head) // 2 if byte is None else min(byte, len(head) - 1)
            return len(head) + min(length // 2 if byte is None else byte, length - 1)
    return None
