"""Keys that are looked for: in clear, in pieces, and in every form in which a text may be written down."""

from __future__ import annotations

import base64
import html
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, quote_plus

__all__ = ["Canaries", "Leak", "leavings", "new_canaries"]

_WINDOW, _STEP = 12, 6  # 17 characters in a row are always found, however the text was cut
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Leak:
    """A key that was found where none may be. Its repr tells the place, not the key."""

    canary: str
    form: str
    where: str
    before: str

    def __str__(self) -> str:
        return f"{self.canary} ({self.form}) in {self.where}, after {self.before!r}"


@dataclass(frozen=True)
class Canaries:
    """A key pair and a security token like none other, with what must not be shown of them."""

    access_key_id: str
    access_key_secret: str
    security_token: str
    more: tuple[tuple[str, str], ...] = ()
    """Other names and values that are looked for, such as the password of a proxy."""

    def __repr__(self) -> str:
        return "<canaries>"

    def settings(self) -> dict[str, str]:
        """The keys as ``connect`` takes them."""
        return {
            "access_key_id": self.access_key_id,
            "access_key_secret": self.access_key_secret,
            "security_token": self.security_token,
        }

    def environment(self) -> dict[str, str]:
        """The keys as variables."""
        names = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN")
        return dict(zip(names, self.settings().values(), strict=True))

    def answer(self) -> dict[str, str]:
        """The keys as STS hands them out."""
        return {
            "AccessKeyId": self.access_key_id,
            "AccessKeySecret": self.access_key_secret,
            "SecurityToken": self.security_token,
        }

    @cached_property
    def _needles(self) -> list[tuple[str, str, str]]:
        canaries = (
            ("access key ID", self.access_key_id),
            ("access key secret", self.access_key_secret),
            ("security token", self.security_token),
            *self.more,
        )
        return [
            (name, form, piece)
            for name, value in canaries
            for form, text in forms(value).items()
            for piece in _windows(text)
        ]

    def scan(self, texts: Mapping[str, object] | Iterable[tuple[str, object]]) -> list[Leak]:
        """Look for all forms of all keys in named texts (or bytes); one leak per name and key."""
        found: dict[tuple[str, str], Leak] = {}
        for where, text in texts.items() if isinstance(texts, Mapping) else texts:
            plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
            plain = _ANSI.sub("", plain)
            for name, form, piece in self._needles:
                at = plain.find(piece)
                if at >= 0 and (where, name) not in found:
                    found[where, name] = Leak(name, form, where, plain[max(at - 60, 0) : at])
        return list(found.values())

    def check(self, texts: Mapping[str, object] | Iterable[tuple[str, object]]) -> None:
        """Fail with the places where a key was found."""
        leaks = self.scan(texts)
        assert not leaks, "keys were shown: " + "; ".join(map(str, leaks))


def forms(value: str) -> dict[str, str]:
    """All the ways in which a text may stand in another."""
    data = value.encode()
    found = {
        "in clear": value,
        "in small letters": value.lower(),
        "backwards": value[::-1],
        "repr": repr(value)[1:-1],
        "JSON": json.dumps(value)[1:-1],
        "JSON in JSON": json.dumps(json.dumps(value))[3:-3],
        "HTML": html.escape(value),
        "quoted": quote(value, safe=""),
        "quoted as a path": quote(value),
        "quoted as a form": quote_plus(value),
        "quoted twice": quote(quote(value, safe=""), safe=""),
        "hex": data.hex(),
        "HEX": data.hex(" ").upper(),
    }
    for shift in range(3):  # base64 of a text that holds it, wherever it stands in there
        encoded = base64.b64encode(b"\0" * shift + data).decode()
        found[f"base64 at {shift}"] = encoded[4 if shift else 0 : -4]
        found[f"base64url at {shift}"] = found[f"base64 at {shift}"].translate(str.maketrans("+/", "-_"))
    return found


def _windows(text: str) -> list[str]:
    last = max(len(text) - _WINDOW, 0)
    return [text[at : at + _WINDOW] for at in [*range(0, last, _STEP), last]]


def new_canaries(*more: tuple[str, str]) -> Canaries:
    """Keys as real ones look, with characters that the forms of writing change, far from each other."""

    def between(*signs: str) -> str:
        return "".join(f"{secrets.token_hex(4)}{sign}" for sign in signs)

    return Canaries(
        "LTAI5t" + secrets.token_hex(9).upper(),
        between("/", "+", "'", '"', "<", "&", "é", "="),
        "CAIS" + between("/", "+", "'", '"', "<", "&", "=="),
        more,
    )


def leavings(*folders: Path) -> dict[str, object]:
    """Everything that lies in some folders, names included."""
    found: dict[str, object] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            found[f"the name of {path.name[:20]}"] = str(path.relative_to(folder))
            if path.is_file():
                found[f"the file {path.relative_to(folder)}"] = path.read_bytes()
    return found
