"""Which header belongs to which call, and the options of an object.

User metadata is sent as it is when it is plain ASCII. Anything else (other letters, control
characters, blanks at either end) is sent as one RFC 2047 word, ``=?utf-8?B?...?=``, which
:func:`decode_meta_value` turns back into exactly the same text; values that look like such a word
are encoded as well, so that nothing is lost. Readers that do not know the form see the word.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, quote

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss.callback import encode_callback
from ossmp_jupyter.oss.mime import guess_mime
from ossmp_jupyter.units import format_size

__all__ = ["ObjectOptions", "decode_meta_value", "encode_meta_value", "guess_mime", "http_date"]

MAX_META_BYTES = 8 * 1024
MAX_TAGS = 10
_STORAGE_CLASSES = ("Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive")
_ACLS = ("private", "public-read", "public-read-write", "default")
_ENCRYPTIONS = ("AES256", "KMS", "SM4")
_TRAFFIC = (819_200, 838_860_800)
_STORED = ("Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires")
# Headers with an option of their own; given among ``headers`` they move there.
_OPTION_OF = {
    "content-type": "mime",
    "x-oss-storage-class": "storage_class",
    "x-oss-tagging": "tags",
    "x-oss-forbid-overwrite": "forbid_overwrite",
    "x-oss-object-acl": "acl",
    "x-oss-server-side-encryption": "encryption",
    "x-oss-server-side-encryption-key-id": "kms_key_id",
    "x-oss-traffic-limit": "traffic_limit",
    "x-oss-request-payer": "request_payer",
}
_META = "x-oss-meta-"
_META_NAME = re.compile(r"[a-z0-9]+(-+[a-z0-9]+)*")
_WORD = re.compile(r"=\?utf-8\?b\?([A-Za-z0-9+/=]*)\?=", re.IGNORECASE)
_CHARSETS = {
    "utf-8",
    "utf8",
    "utf-16",
    "utf16",
    "ascii",
    "us-ascii",
    "iso-8859-1",
    "latin-1",
    "latin1",
    "gbk",
    "gb2312",
    "gb18030",
    "big5",
    "shift_jis",
    "euc-jp",
    "euc-kr",
    "windows-1252",
    "cp1252",
}
_CONTENT_CODING = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def encode_meta_value(value: str) -> str:
    """Encode one metadata value for its header.

    Examples
    --------
    >>> encode_meta_value("plain"), encode_meta_value("数据")
    ('plain', '=?utf-8?B?5pWw5o2u?=')
    >>> decode_meta_value(encode_meta_value("数据"))
    '数据'
    """
    plain = value.isascii() and value.isprintable() and value == value.strip() and not value.startswith("=?")
    return value if plain else f"=?utf-8?B?{base64.b64encode(value.encode()).decode()}?="


def decode_meta_value(value: str) -> str:
    """Undo :func:`encode_meta_value`; any other value comes back unchanged."""
    match = _WORD.fullmatch(value)
    if match is None:
        return value
    try:
        return base64.b64decode(match[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return value


@dataclass(frozen=True)
class ObjectOptions:
    """How an object is to be stored; checked and put in order when made.

    Parameters
    ----------
    meta : mapping, optional
        User metadata; at most 8 KiB in all. Names of letters, digits and hyphens; numbers become text.
    mime : str, optional
        Content-Type; see :func:`guess_mime`.
    headers : mapping, optional
        ``Cache-Control``, ``Content-Disposition``, ``Content-Encoding``, ``Content-Language``,
        ``Expires`` (datetime, timedelta from the upload, or HTTP date), in any case of letters. OSS headers
        that have an option of their own (``x-oss-storage-class`` ...) are taken as that option.
    storage_class : str, optional
        ``Standard``, ``IA``, ``Archive``, ``ColdArchive``, ``DeepColdArchive``.
    tags : mapping or str, optional
        At most 10 object tags; a text is read as ``k1=v1&k2=v2``, URL-encoded.
    forbid_overwrite : bool, optional
        Fail with ``AlreadyExists`` if the object is there.
    acl : str, optional
        ``private``, ``public-read``, ``public-read-write``, ``default``.
    encryption, kms_key_id : str, optional
        Server-side encryption ``AES256``, ``KMS`` or ``SM4``, and the key for ``KMS``.
    callback : mapping, optional
        Upload callback in ali-oss's form, see :func:`ossmp_jupyter.oss.callback.encode_callback`.
    traffic_limit : int, optional
        Bits per second for each request, 819200 to 838860800.
    request_payer : str, optional
        ``requester``.

    Raises
    ------
    InputError
        If a value is not allowed; before anything is sent.

    Examples
    --------
    >>> options = ObjectOptions(meta={"year": 2020}, headers={"x-oss-storage-class": "IA"}, acl="private")
    >>> options.for_initiate()
    {'x-oss-meta-year': '2020', 'x-oss-storage-class': 'IA'}
    >>> options.for_part(), options.for_complete()
    ({}, {'x-oss-object-acl': 'private'})
    """

    meta: Mapping[str, Any] = field(default_factory=dict)
    mime: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    storage_class: str | None = None
    tags: Mapping[str, Any] | str | None = None
    forbid_overwrite: bool = False
    acl: str | None = None
    encryption: str | None = None
    kms_key_id: str | None = None
    callback: Mapping[str, Any] | None = None
    traffic_limit: int | None = None
    request_payer: str | None = None

    def __post_init__(self) -> None:
        values, stored, meta = _sort_headers(self)
        values["meta"] = _check_meta(meta)
        values["headers"] = {name: _check_stored(name, value) for name, value in stored.items()}
        values["tags"] = _check_tags(values["tags"])
        _check_choices(values)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if self.callback is not None:
            encode_callback(self.callback)

    def for_initiate(self) -> dict[str, str]:
        """Headers of InitiateMultipartUpload."""
        return {**self._stored(), **self._guard(), **self._payer()}

    def for_part(self) -> dict[str, str]:
        """Headers of UploadPart."""
        return {**self._limit(), **self._payer()}

    def for_complete(self) -> dict[str, str]:
        """Headers of CompleteMultipartUpload."""
        return {**self._guard(), **self._published(), **self._payer()}

    def for_put(self) -> dict[str, str]:
        """Headers of PutObject."""
        return {**self._stored(), **self._guard(), **self._published(), **self._limit(), **self._payer()}

    def fingerprint(self) -> str:
        """Stable text that differs when the stored object would; holds no value in clear.

        Examples
        --------
        >>> ObjectOptions().fingerprint() == ObjectOptions(traffic_limit=819200).fingerprint()
        True
        >>> ObjectOptions().fingerprint() == ObjectOptions(mime="text/csv").fingerprint()
        False
        """
        stored = {**self._stored(resolve=False), "acl": self.acl or ""}
        text = json.dumps(sorted(stored.items()), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _stored(self, *, resolve: bool = True) -> dict[str, str]:
        headers = {"Content-Type": self.mime} if self.mime else {}
        for name, value in self.headers.items():
            if isinstance(value, timedelta):
                # A span is resolved at the call, so that the same cell run again means the same object.
                value = http_date(datetime.now(UTC) + value) if resolve else f"+{value.total_seconds()}"  # noqa: PLW2901
            headers[name] = value
        headers |= {f"{_META}{name}": encode_meta_value(value) for name, value in self.meta.items()}
        for name, text in (
            ("x-oss-storage-class", self.storage_class),
            ("x-oss-tagging", _encode_tags(self.tags)),
            ("x-oss-server-side-encryption", self.encryption),
            ("x-oss-server-side-encryption-key-id", self.kms_key_id),
        ):
            if text:
                headers[name] = text
        return headers

    def _guard(self) -> dict[str, str]:
        return {"x-oss-forbid-overwrite": "true"} if self.forbid_overwrite else {}

    def _published(self) -> dict[str, str]:
        headers = {"x-oss-object-acl": self.acl} if self.acl else {}
        return headers | (encode_callback(self.callback) if self.callback is not None else {})

    def _limit(self) -> dict[str, str]:
        return {"x-oss-traffic-limit": str(self.traffic_limit)} if self.traffic_limit else {}

    def _payer(self) -> dict[str, str]:
        return {"x-oss-request-payer": self.request_payer} if self.request_payer else {}


def _sort_headers(options: ObjectOptions) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Move what has an option of its own out of ``headers``; refuse what is not ours to send."""
    values = {name: getattr(options, name) for name in set(_OPTION_OF.values()) | {"tags"}}
    stored: dict[str, Any] = {}
    meta = dict(options.meta)
    for name, value in options.headers.items():
        lower = str(name).strip().lower()
        canonical = next((known for known in _STORED if known.lower() == lower), None)
        if canonical:
            stored[canonical] = value
        elif lower.startswith(_META):
            meta.setdefault(lower.removeprefix(_META), value)
        elif lower in _OPTION_OF:
            option = _OPTION_OF[lower]
            if option in {"forbid_overwrite"}:
                value = str(value).strip().lower() == "true"  # noqa: PLW2901
            elif option == "traffic_limit":
                value = int(value) if str(value).isdigit() else value  # noqa: PLW2901
            if values[option] not in {None, False} and values[option] != value:
                raise InputError(f"{option} and the header {name} disagree", hint="give one of them")
            values[option] = value
        else:
            raise _unknown_header(str(name))
    return values, stored, meta


def _unknown_header(name: str) -> InputError:
    lower = name.strip().lower()
    if lower in {"x-oss-callback", "x-oss-callback-var"}:
        return InputError(
            f"the header {name} is made by the package", hint="give callback={'url': ..., 'body': ...}"
        )
    if lower in {
        "authorization",
        "date",
        "host",
        "content-length",
        "content-md5",
        "transfer-encoding",
        "user-agent",
        "x-oss-date",
        "x-oss-security-token",
        "x-oss-content-sha256",
    }:
        return InputError(f"the header {name} is made by the package", hint="leave it out")
    known = {header.lower(): header for header in (*_STORED, *_OPTION_OF)}
    close = difflib.get_close_matches(lower, known, n=1)
    hint = f"did you mean {known[close[0]]}?" if close else "put your own values into meta"
    return InputError(f"OSS does not store a header {name!r}", hint=hint)


def _text(what: str, value: Any) -> str:
    """Write a value as text: numbers as such, booleans as JavaScript and JSON do."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise InputError(f"{what} is a {type(value).__name__}", hint="give text or a number")


def _check_meta(meta: Mapping[str, Any]) -> dict[str, str]:
    checked: dict[str, str] = {}
    for name, value in meta.items():
        lower = str(name).lower().removeprefix(_META)
        if not _META_NAME.fullmatch(lower):
            raise InputError(
                f"the metadata name {name!r} is not possible",
                hint="use letters, digits and hyphens, no underscore",
            )
        if lower in checked:
            raise InputError(
                f"the metadata name {lower!r} is given twice", hint="OSS ignores upper and lower case"
            )
        checked[lower] = _text(f"the metadata value of {name!r}", value)
    size = sum(len(_META) + len(name) + len(encode_meta_value(value)) for name, value in checked.items())
    if size > MAX_META_BYTES:
        raise InputError(
            f"the metadata takes {format_size(size)} in headers",
            hint="OSS allows 8 KiB; store the rest in an object",
        )
    return checked


def _check_stored(name: str, value: Any) -> str | timedelta:
    if name == "Expires":
        return _check_expires(value)
    text = _text(f"the header {name}", value).strip()
    if name == "Content-Encoding":
        for coding in text.split(","):
            if coding.strip().lower() in _CHARSETS:
                raise InputError(
                    f"Content-Encoding {text!r} names a character set, and browsers would fail to decode the object",
                    hint=f"put it into the type: mime='text/csv; charset={coding.strip().lower()}'",
                )
            if not _CONTENT_CODING.fullmatch(coding.strip()):
                raise InputError(
                    f"Content-Encoding {text!r} is not a coding", hint="write gzip, br, zstd or deflate"
                )
    if name == "Content-Disposition":
        text = _disposition(text)
    if not text.isascii() or not text.isprintable():
        raise InputError(
            f"the header {name} holds characters that a header cannot carry", hint="use plain ASCII"
        )
    return text


def _disposition(text: str) -> str:
    """Write a file name that is not ASCII in RFC 5987's form, with an ASCII name for old readers."""
    if text.isascii():
        return text
    match = re.fullmatch(r"""\s*([A-Za-z-]+)\s*;\s*filename\s*=\s*(?:"([^"]*)"|([^;"]+?))\s*""", text)
    kind, name = (match[1], match[2] if match[2] is not None else match[3]) if match else ("attachment", text)
    if match is None and re.search(r"[;=\"]", text):
        raise InputError(
            f"Content-Disposition {text!r} is not understood", hint='write attachment; filename="name.csv"'
        )
    simple = re.sub(r"[^\x20-\x7e]|[\"\\%]", "_", name)
    return f"{kind}; filename=\"{simple}\"; filename*=UTF-8''{quote(name, safe='')}"


def http_date(moment: datetime) -> str:
    """Write a moment as HTTP does; without a time zone it is taken as local time."""
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


def _check_expires(value: Any) -> str | timedelta:
    if isinstance(value, timedelta):
        if value <= timedelta(0):
            raise InputError("Expires is not in the future", hint="give a positive timedelta")
        return value
    if isinstance(value, datetime):
        return http_date(value)
    text = str(value).strip()
    if isinstance(value, (int, float)) or re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
        raise InputError(
            f"Expires {text} is a number, but HTTP wants a date",
            hint="give a datetime or a timedelta, such as timedelta(hours=1); for caches, Cache-Control max-age "
            "(seconds) says it better",
        )
    try:
        return http_date(parsedate_to_datetime(text))
    except ValueError as error:
        raise InputError(f"Expires {text!r} is not a date", hint="give a datetime or a timedelta") from error


def _check_tags(tags: Mapping[str, Any] | str | None) -> dict[str, str] | None:
    if not tags:
        return None
    pairs = parse_qsl(tags, keep_blank_values=True) if isinstance(tags, str) else list(tags.items())
    if len(pairs) > MAX_TAGS:
        raise InputError(f"{len(pairs)} tags are given", hint="OSS allows 10 for an object")
    checked = {}
    for name, value in pairs:
        text = _text(f"the tag {name!r}", value)
        if not 1 <= len(str(name)) <= 128 or len(text) > 256:
            raise InputError(
                f"the tag {str(name)[:40]!r} is too long or empty",
                hint="names 1-128, values 0-256 characters",
            )
        if str(name) in checked:
            raise InputError(f"the tag {name!r} is given twice", hint="give it once")
        checked[str(name)] = text
    return checked


def _encode_tags(tags: Mapping[str, Any] | str | None) -> str:
    assert not isinstance(tags, str)
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in (tags or {}).items())


def _check_choices(values: dict[str, Any]) -> None:
    """Check the options with a fixed set of values; letters' case is forgiven."""
    for option, allowed in (
        ("storage_class", _STORAGE_CLASSES),
        ("acl", _ACLS),
        ("encryption", _ENCRYPTIONS),
    ):
        value = values[option]
        if value is None:
            continue
        match = next((known for known in allowed if known.lower() == str(value).lower()), None)
        if match is None:
            raise InputError(f"{option} {value!r} does not exist", hint=f"give one of {', '.join(allowed)}")
        values[option] = match
    if values["kms_key_id"] and values["encryption"] != "KMS":
        raise InputError("kms_key_id is given without encryption='KMS'", hint="give both, or neither")
    limit = values["traffic_limit"]
    if limit is not None and (
        isinstance(limit, bool) or not isinstance(limit, int) or not _TRAFFIC[0] <= limit <= _TRAFFIC[1]
    ):
        raise InputError(f"traffic_limit is {limit!r}", hint="give 819200 to 838860800 bits per second")
    if values["request_payer"] not in {None, "requester"}:
        raise InputError(f"request_payer is {values['request_payer']!r}", hint="only 'requester' exists")
    mime = values["mime"]
    if mime is not None and (
        not isinstance(mime, str) or "/" not in mime or not (mime.isascii() and mime.isprintable())
    ):
        raise InputError(f"{mime!r} is not a media type", hint="write it as text/csv or application/json")
