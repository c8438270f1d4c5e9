"""The checks of an object's options: metadata, stored headers, tags, fixed choices."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, quote

from ossmp_jupyter.errors import InputError

__all__ = [
    "ACLS",
    "ENCRYPTIONS",
    "META",
    "STORAGE_CLASSES",
    "check_choices",
    "check_meta",
    "check_stored",
    "check_tags",
    "decode_meta_value",
    "encode_meta_value",
    "encode_tags",
    "http_date",
]

MAX_META_BYTES = 8 * 1024
MAX_TAGS = 10
STORAGE_CLASSES = ("Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive")
ACLS = ("private", "public-read", "public-read-write", "default")
ENCRYPTIONS = ("AES256", "KMS", "SM4")
_TRAFFIC = (819_200, 838_860_800)
META = "x-oss-meta-"
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
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+/[A-Za-z0-9!#$%&'*+.^_`|~-]+(\s*;[\x20-\x7e]*)?")
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


def _text(what: str, value: Any) -> str:
    """Write a value as text: numbers as such, booleans as JavaScript and JSON do."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise InputError(f"{what} is a {type(value).__name__}", hint="give text or a number")


def check_meta(meta: Mapping[str, Any]) -> dict[str, str]:
    """Check names, values and the size of user metadata."""
    checked: dict[str, str] = {}
    for name, value in meta.items():
        lower = str(name).lower().removeprefix(META)
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
    size = sum(len(META) + len(name) + len(encode_meta_value(value)) for name, value in checked.items())
    if size > MAX_META_BYTES:
        raise InputError(
            f"the metadata takes {size} bytes in headers",
            hint="OSS allows 8 KiB; store the rest in an object",
        )
    return checked


def check_stored(name: str, value: Any) -> str | timedelta:
    """Check one of the headers that OSS stores."""
    if name == "Expires":
        return _check_expires(value)
    text = _text(f"the header {name}", value).strip()
    if name == "Content-Encoding":
        for coding in text.split(","):
            if coding.strip().lower() in _CHARSETS:
                raise InputError(
                    f"Content-Encoding {text!r} names a character set, which browsers cannot decode",
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
            f"Expires {text} is a number, but HTTP wants a date (ali-oss's documentation says milliseconds)",
            hint=f"give a datetime or timedelta(milliseconds={text}), or an HTTP date; "
            "or use Cache-Control: max-age=SECONDS",
        )
    for read in (parsedate_to_datetime, datetime.fromisoformat):  # the latter is what str(datetime) writes
        try:
            return http_date(read(text))
        except (ValueError, OverflowError):
            continue
    raise InputError(f"Expires {text!r} is not a date", hint="give a datetime, a timedelta or an HTTP date")


def check_tags(tags: Mapping[str, Any] | str | None) -> dict[str, str] | None:
    """Check object tags."""
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


def encode_tags(tags: Mapping[str, Any] | str | None) -> str:
    """Write tags as their header does."""
    assert not isinstance(tags, str)
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in (tags or {}).items())


def check_choices(values: dict[str, Any]) -> None:
    """Check the options with a fixed set of values; letters' case is forgiven."""
    for option, allowed in (
        ("storage_class", STORAGE_CLASSES),
        ("acl", ACLS),
        ("encryption", ENCRYPTIONS),
    ):
        value = values[option]
        if value is None:
            continue
        match = next((known for known in allowed if known.lower() == str(value).lower()), None)
        if match is None:
            what = option.replace("_", " ")
            raise InputError(f"the {what} {value!r} does not exist", hint=f"give one of {', '.join(allowed)}")
        values[option] = match
    if values["data_encryption"] is not None:
        if str(values["data_encryption"]).upper() != "SM4" or values["encryption"] != "KMS":
            raise InputError(
                f"data_encryption is {values['data_encryption']!r}",
                hint="only 'SM4' exists, and only together with encryption='KMS'",
            )
        values["data_encryption"] = "SM4"
    if values["kms_key_id"] and values["encryption"] != "KMS":
        raise InputError("a KMS key is named without the encryption KMS", hint="give both, or neither")
    limit = values["traffic_limit"]
    if limit is not None and (
        isinstance(limit, bool) or not isinstance(limit, int) or not _TRAFFIC[0] <= limit <= _TRAFFIC[1]
    ):
        raise InputError(
            f"the traffic limit {limit!r} is not possible", hint="give 819200 to 838860800 bits per second"
        )
    if values["request_payer"] not in {None, "requester"}:
        raise InputError(f"request_payer is {values['request_payer']!r}", hint="only 'requester' exists")
    mime = values["mime"]
    if mime is not None and (not isinstance(mime, str) or not _MEDIA_TYPE.fullmatch(mime)):
        raise InputError(f"{mime!r} is not a media type", hint="write it as text/csv or application/json")
