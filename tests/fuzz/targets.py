"""One function per parser of foreign text: it takes bytes, and fails if anything undocumented happens.

Hypothesis (``test_parsers.py``) and coverage-guided fuzzing (``python -m tests.fuzz.run``) share them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from IPython.core.error import UsageError

from ossmp_jupyter.errors import InputError, NotOSS, OssmpError
from ossmp_jupyter.localoss.errors_xml import Refused
from ossmp_jupyter.localoss.faults import read_rules
from ossmp_jupyter.localoss.request import parse_head
from ossmp_jupyter.notebook.options import MAGICS, parser_for
from ossmp_jupyter.notebook.parser import HelpShown
from ossmp_jupyter.notebook.rows import read_final_line
from ossmp_jupyter.notebook.verifying import receipts_of_notebook
from ossmp_jupyter.oss import xml
from ossmp_jupyter.oss._heads import head_of
from ossmp_jupyter.oss.address import Endpoint, ObjectAddress
from ossmp_jupyter.oss.config_files import AliyunConfigProvider, OssutilConfigProvider, ossutil_settings
from ossmp_jupyter.oss.lifecycle import read_lifecycle
from ossmp_jupyter.oss.signing import parse_authorization_v4
from ossmp_jupyter.transfer.checkpoint import Checkpoint
from ossmp_jupyter.transfer.journal import Journal
from ossmp_jupyter.units import parse_duration, parse_size

__all__ = ["SEEDS", "TARGETS", "Target"]

Target = Callable[[bytes], None]

_SCRATCH = Path(tempfile.mkdtemp(prefix="ossmp-fuzz-"))
_ANSWERS = (
    xml.read_initiate,
    xml.read_complete,
    xml.read_copy_part,
    xml.read_uploads_page,
    xml.read_parts_page,
    xml.read_objects_page,
    read_lifecycle,
)


def _sentence(error: OssmpError) -> None:
    """An error is one line of readable length, whatever came in."""
    said = str(error)
    assert said.strip(), "an error without words"
    assert "\n" not in said, said
    assert len(said) < 1000, f"{len(said)} characters"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def answers(data: bytes) -> None:
    """XML answers of OSS, and XML requests to the embedded one."""
    for read in _ANSWERS:
        try:
            read(data)
        except NotOSS as error:
            _sentence(error)
    told = xml.parse_error(data)
    assert told is None or all(isinstance(value, str) for value in told.values())


def journals(data: bytes) -> None:
    """A journal file of any content is read, passed over, or spoken of; never an error."""
    path = _SCRATCH / "journal.jsonl"
    path.write_bytes(data)
    journal = Journal(path)
    record = journal.load()
    if record is not None:
        record.checkpoint()
        again = Journal(_SCRATCH / "again.jsonl")
        again.begin(record.header, record.parts.values())
        if record.receipt is not None:
            again.finish(record.receipt)
        again.close()
        assert Journal(again.path).load() == record


def checkpoints(data: bytes) -> None:
    """Checkpoints as JSON, ali-oss's and ours."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(content, Mapping):
        try:
            Checkpoint.from_mapping(content, bucket="demo")
        except InputError as error:
            _sentence(error)


def configurations(data: bytes) -> None:
    """Configuration files with keys, of ossutil and of the aliyun command."""
    path = _SCRATCH / "config"
    path.write_bytes(data)
    for provider in (OssutilConfigProvider(path), AliyunConfigProvider(path)):
        try:
            _drive(provider.get())
        except OssmpError as error:
            _sentence(error)
    try:
        ossutil_settings(path)
    except OssmpError as error:
        _sentence(error)


def _drive(coroutine: object) -> None:
    try:
        coroutine.send(None)  # type: ignore[attr-defined]  # these providers never wait
    except StopIteration:
        return


def magic_lines(data: bytes) -> None:
    """Lines of all magics. Braces are left out: they hold Python, which would be run."""
    line = _text(data).replace("{", "").replace("}", "")
    for name in MAGICS:
        try:
            parser_for(name).parse_magic(line, {"name": "value", "number": 7})
        except (InputError, UsageError) as error:
            assert str(error).strip()
        except HelpShown:
            pass


def addresses(data: bytes) -> None:
    """Addresses of objects and services."""
    text = _text(data)
    try:
        address = ObjectAddress.parse(text)
        assert ObjectAddress.parse(str(address)) == address
    except InputError as error:
        _sentence(error)
    for more in ({}, {"region": text[:20]}, {"cname": True}, {"path_style": True}):
        try:
            Endpoint.parse(text, **more).url("bucket", "key")  # type: ignore[arg-type]
        except InputError as error:
            _sentence(error)


def request_heads(data: bytes) -> None:
    """What clients send to the embedded OSS."""
    try:
        head = parse_head(data)
    except Refused:
        return
    value = head.headers.get("authorization")
    if value is not None:
        parse_authorization_v4(value)


def authorizations(data: bytes) -> None:
    """The Authorization header of V4."""
    parse_authorization_v4(_text(data))


def fault_plans(data: bytes) -> None:
    """Fault plans as JSON."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        read_rules(content)
    except InputError as error:
        assert str(error).strip()


def sizes(data: bytes) -> None:
    """Sizes and durations."""
    text = _text(data)
    for read in (parse_size, parse_duration):
        try:
            assert read(text) >= 0
        except InputError as error:
            _sentence(error)


def heads(data: bytes) -> None:
    """Headers of an answer: missing and senseless ones are passed over."""
    lines = (line.partition(":") for line in data.decode("latin-1").splitlines())
    head = head_of({name.strip().lower(): value.strip() for name, _, value in lines})
    assert head.last_modified is None or isinstance(head.last_modified, datetime)


def receipts(data: bytes) -> None:
    """Saved notebooks, and single lines of them."""
    read_final_line(_text(data))
    path = _SCRATCH / "saved.ipynb"
    path.write_bytes(data)
    try:
        receipts_of_notebook(str(path))
    except InputError as error:
        _sentence(error)


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        answers, journals, checkpoints, configurations, magic_lines, addresses, request_heads, authorizations,
        fault_plans, sizes, heads, receipts,
    )
}  # fmt: skip

_HEADER = (
    b'{"version":1,"upload":{"endpoint":"e","bucket":"b","key":"k","source":"s","kind":"file","size":300000,'
    b'"part_size":102400,"upload_id":"ID","options":"","created":1.0,"lost":[]}}\n'
)
SEEDS: dict[str, list[bytes]] = {
    "answers": [
        b'<?xml version="1.0"?><ListPartsResult><Bucket>b</Bucket><EncodingType>url</EncodingType><Part>'
        b"<PartNumber>1</PartNumber><ETag>&quot;A&quot;</ETag><Size>7</Size></Part></ListPartsResult>",
        b"<InitiateMultipartUploadResult><UploadId>I</UploadId></InitiateMultipartUploadResult>",
        b"<Error><Code>NoSuchKey</Code></Error>",
        b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><ListPartsResult>&d;</ListPartsResult>',
        b"<LifecycleConfiguration><Rule><AbortMultipartUpload><Days>7</Days></AbortMultipartUpload></Rule>"
        b"</LifecycleConfiguration>",
    ],
    "journals": [
        _HEADER,
        _HEADER + b'{"part":[1,"ETAG",102400,18446744073709551615]}\n'
        b'{"receipt":{"size":3,"crc64":1,"etag":"E","last_modified":"","finished":1.5}}\n',
    ],
    "checkpoints": [
        b'{"file":"f","name":"k","fileSize":300000,"partSize":102400,"uploadId":"I",'
        b'"doneParts":[{"number":1,"etag":"\\"A\\""}]}',
    ],
    "configurations": [
        b"[Credentials]\naccessKeyID=a\naccessKeySecret=b\nstsToken=c\nendpoint=oss-cn-hangzhou.aliyuncs.com\n",
        b'{"current":"p","profiles":[{"name":"p","mode":"AK","access_key_id":"a","access_key_secret":"b"}]}',
    ],
    "magic_lines": [
        b"a.bin oss://b/k --part-size 8MiB --meta k=v -o x --mime 'a b'",
        b"--abort-older 7d --yes",
        b"$name $$",
    ],
    "addresses": [b"oss://bucket/a/b c", b"https://oss-cn-hangzhou.aliyuncs.com:443", b"http://[::1]:80"],
    "request_heads": [
        b"PUT /b/k?partNumber=1&uploadId=I HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
        b"Authorization: OSS4-HMAC-SHA256 Credential=a/20260101/r/oss/aliyun_v4_request,Signature=aa",
    ],
    "authorizations": [
        b"OSS4-HMAC-SHA256 Credential=a/20260101/cn-hangzhou/oss/aliyun_v4_request,Signature=0123",
    ],
    "fault_plans": [
        b'[{"kind":"error","operation":"UploadPart","at":3,"times":null,"status":503,"code":"SlowDown"}]',
        b'[{"kind":"slow","bandwidth":"1MB/s"},{"kind":"reset","every":2,"byte":65536},{"kind":"skew","seconds":9}]',
    ],
    "sizes": [b"8MiB", b"20 MB/s", b"7d", b"1.5h", b"99999999999999999999PB"],
    "heads": [
        b"ETag: A\nLast-Modified: Sat, 21 Nov 2026 00:00:00 GMT\nx-oss-hash-crc64ecma: 7\nContent-Length: 3",
    ],
    "receipts": [
        b"oss://b/k  1.0 KiB (1,024 bytes) in 0.1 s, 1 part, CRC-64 7 verified, ETag A-1",
        b'{"cells":[{"outputs":[{"text":["a","b"]},{"text":"c"}]}]}',
    ],
}  # fmt: skip
