"""The scan finds what is planted, whatever form it has; so that finding nothing means something."""

from __future__ import annotations

import base64
import html
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tests.secrets.canary import Canaries, leavings, new_canaries
from tests.secrets.shown import shown_of_error

KEYS = new_canaries(("proxy password", "pw-0123456789abcdef"))

WRITTEN: dict[str, Callable[[str], object]] = {
    "in clear": lambda key: f"the key is {key}.",
    "bytes": lambda key: b"\x80\xff" + key.encode(),
    "repr": lambda key: repr({"key": key}),
    "JSON": lambda key: json.dumps({"key": key}),
    "JSON in JSON": lambda key: json.dumps(json.dumps({"key": key})),
    "HTML": html.escape,
    "quoted": lambda key: quote(key, safe=""),
    "quoted as a form": quote_plus,
    "quoted twice": lambda key: quote(quote(key, safe=""), safe=""),
    "hex": lambda key: key.encode().hex(),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 in a document": lambda key: base64.b64encode(f'{{"k": "{key}"}}'.encode()).decode(),
    "base64 for addresses": lambda key: base64.urlsafe_b64encode(f"xy{key}".encode()).decode(),
    "cut at its end": lambda key: key[:17],
    "cut at its beginning": lambda key: f"...{key[-17:]}",
    "coloured": lambda key: f"\x1b[31m{key[:9]}\x1b[0m\x1b[1;32m{key[9:]}\x1b[0m",
    "a pickle": pickle.dumps,
}


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("name", ["access_key_id", "access_key_secret", "security_token"])
def test_a_planted_key_is_found(name: str, written: str) -> None:
    key: str = getattr(KEYS, name)
    leaks = KEYS.scan({"there": WRITTEN[written](key)})
    assert [leak.where for leak in leaks] == ["there"], written
    assert key not in str(leaks[0])


def test_nothing_else_is_found() -> None:
    other = new_canaries()
    texts = {form: write(other.access_key_secret) for form, write in WRITTEN.items()}
    assert KEYS.scan(texts | {"masked": KEYS.access_key_id[:4] + "…" + KEYS.access_key_id[-4:]}) == []


def test_other_values_are_found() -> None:
    (leak,) = KEYS.scan({"there": "http://me:pw-0123456789abcdef@proxy"})
    assert leak.canary == "proxy password"


def test_a_key_in_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_text(KEYS.security_token)
    assert [leak.where for leak in KEYS.scan(leavings(tmp_path))] == ["the file deep/file"]


class Careless:
    """Keeps a key where tracebacks show it."""

    def __init__(self, keys: Canaries) -> None:
        self.keys = keys

    def message(self) -> None:
        raise ValueError(f"{self.keys.access_key_secret} is wrong")

    def cause(self) -> None:
        try:
            self.message()
        except ValueError as error:
            raise RuntimeError("it failed") from error

    def context(self) -> None:
        try:
            self.message()
        except ValueError:
            raise RuntimeError("it failed") from None

    def note(self) -> None:
        error = ValueError("no")
        error.add_note(self.keys.security_token)
        raise error

    def attribute(self) -> None:
        error = ValueError("no")
        error.key = self.keys.security_token  # type: ignore[attr-defined]
        raise error


@pytest.mark.parametrize("how", ["message", "cause", "context", "note", "attribute"])
def test_a_careless_exception_is_found(how: str) -> None:
    with pytest.raises(Exception) as caught:
        getattr(Careless(KEYS), how)()
    assert KEYS.scan(shown_of_error(caught.value))


def test_variables_of_frames_are_found(tmp_path: Path) -> None:
    """In a module of its own: frames of tests are left out."""
    source = tmp_path / "careless.py"
    source.write_text("def fail(key):\n    held = key + '!'\n    raise ValueError('no')\n")
    module: dict[str, Callable[[str], None]] = {}
    exec(compile(source.read_text(), source, "exec"), module)
    with pytest.raises(ValueError) as caught:
        module["fail"](KEYS.access_key_secret)
    where = {leak.where for leak in KEYS.scan(shown_of_error(caught.value))}
    assert where >= {"Verbose traceback", "traceback with all variables"}
    assert not where & {"Plain traceback", "Context traceback", "logging.exception"}


def test_the_check_fails_and_names_the_place_only() -> None:
    with pytest.raises(AssertionError, match=r"security token \(in clear\) in the log") as caught:
        KEYS.check({"the log": f"key {KEYS.security_token}", "elsewhere": "nothing"})
    assert KEYS.scan({"the message": str(caught.value)}) == []
