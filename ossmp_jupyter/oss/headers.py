"""Which header belongs to which call, and the options of an object.

User metadata is sent as it is when it is plain ASCII. Anything else (other letters, control
characters, blanks at either end) is sent as one RFC 2047 word, ``=?utf-8?B?...?=``, which
:func:`decode_meta_value` turns back into exactly the same text; values that look like such a word
are encoded as well, so that nothing is lost. Readers that do not know the form see the word.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss._object_checks import (
    META,
    check_choices,
    check_meta,
    check_stored,
    check_tags,
    decode_meta_value,
    encode_meta_value,
    encode_tags,
    http_date,
)
from ossmp_jupyter.oss.callback import encode_callback
from ossmp_jupyter.oss.mime import guess_mime

__all__ = ["ObjectOptions", "decode_meta_value", "encode_meta_value", "guess_mime", "http_date"]

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
    "x-oss-server-side-data-encryption": "data_encryption",
    "x-oss-traffic-limit": "traffic_limit",
    "x-oss-request-payer": "request_payer",
}


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
    data_encryption : str, optional
        ``SM4``: with ``KMS``, what the data itself is encrypted with.
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
    data_encryption: str | None = None

    def __post_init__(self) -> None:
        for name, kinds in (("meta", Mapping), ("headers", Mapping), ("tags", (Mapping, str, type(None)))):
            if not isinstance(getattr(self, name), kinds):
                raise InputError(
                    f"{name} is of type {type(getattr(self, name)).__name__}", hint="give a dict"
                )
        values, stored, meta = _sort_headers(self)
        values["meta"] = check_meta(meta)
        values["headers"] = {name: check_stored(name, value) for name, value in stored.items()}
        values["tags"] = check_tags(values["tags"])
        check_choices(values)
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
        headers |= {f"{META}{name}": encode_meta_value(value) for name, value in self.meta.items()}
        for name, text in (
            ("x-oss-storage-class", self.storage_class),
            ("x-oss-tagging", encode_tags(self.tags)),
            ("x-oss-server-side-encryption", self.encryption),
            ("x-oss-server-side-encryption-key-id", self.kms_key_id),
            ("x-oss-server-side-data-encryption", self.data_encryption),
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
        elif lower.startswith(META):
            meta.setdefault(lower.removeprefix(META), value)
        elif lower in _OPTION_OF:
            option = _OPTION_OF[lower]
            if option in {"forbid_overwrite"}:
                value = str(value).strip().lower() == "true"  # noqa: PLW2901
            elif option == "traffic_limit":
                value = int(value) if str(value).isdigit() else value  # noqa: PLW2901
            before = values[option]
            if before not in (None, False, {}, "") and before != (
                check_tags(value) if option == "tags" and not isinstance(before, str) else value
            ):
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
