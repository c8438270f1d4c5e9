"""The word before the cursor: what it means, and how to write what follows it.

The parser's rules for quotes, backslashes, ``{expression}`` and ``$name``, for a line that is not finished.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ossmp_jupyter.notebook.parser import closing_brace

__all__ = ["Word", "read_word"]

_NAME = re.compile(r"[A-Za-z_]\w*")
_SIMPLE = re.compile(r"\{\s*([^\W\d]\w*)\s*\}")
_UNQUOTED = re.compile(r"([\s\\'\"{}$])")
_DOUBLY_QUOTED = re.compile(r"([\\\"{}$])")
_SINGLY_QUOTED = re.compile(r"(['{}$])")
_WINDOWS = os.name == "nt"


@dataclass(frozen=True, slots=True)
class Word:
    """The word at the cursor.

    Parameters
    ----------
    before : tuple of str
        The words before it, as the magic would see them.
    raw : str
        As it is typed, quotes included.
    value : str or None
        What it means; None where it holds an expression, which is not evaluated for a Tab.
    quote : str
        The quote that is open, or "".
    name : str or None
        The beginning of a variable's name, after ``$`` or ``{``.
    expression : bool
        Whether the cursor is inside ``{...}``, beyond a plain name: Python's own completion knows more.
    """

    before: tuple[str, ...] = ()
    raw: str = ""
    value: str | None = ""
    quote: str = ""
    name: str | None = None
    expression: bool = False

    def after_equals(self) -> tuple[str, Word]:
        """Split ``--option=value``; the option is "" where the word is nothing of the kind."""
        option, sign, rest = self.raw.partition("=")
        if not option.startswith("--") or not sign or self.value is None:
            return "", self
        value = self.value.partition("=")[2]
        return option, Word(self.before, rest, value, self.quote, self.name, self.expression)

    def completed(self, full: str, *, follow: str = "", ends: bool = True) -> str:
        r"""Write the word so that it means ``full``, which begins with its value.

        What is typed stays as it is. ``follow`` is the text behind the cursor: a closing quote that is there
        already is not written again. ``ends`` is False for a folder, in which one goes on.

        Examples
        --------
        >>> for typed in ("my", '"my', "'my", "my\\ d"):
        ...     print(read_word(typed, {}).completed("my data.bin"))
        my\ data.bin
        "my data.bin"
        'my data.bin'
        my\ data.bin
        """
        rest = full[len(self.value or "") :]
        raw, quote = self.raw, self.quote
        if _WINDOWS and not quote and re.search(r"[\s']", rest):
            raw, quote, rest = "", '"', full  # no backslash escapes a blank there
        elif not quote and raw.endswith("\\") and not _WINDOWS:
            raw = raw[:-1] if (len(raw) - len(raw.rstrip("\\"))) % 2 else raw
        opened = quote if not raw else ""
        closing = quote if quote and ends and not follow.startswith(quote) else ""
        return f"{raw}{opened}{_escape(rest, quote)}{closing}"


def _escape(text: str, quote: str) -> str:
    def write(match: re.Match[str]) -> str:
        char = match[0]
        if char in "{}$":
            return char * 2
        return "'\\''" if quote == "'" else "\\" + char

    if _WINDOWS:
        return re.sub(r"[{}$]", write, text)
    return {"": _UNQUOTED, '"': _DOUBLY_QUOTED, "'": _SINGLY_QUOTED}[quote].sub(write, text)


def read_word(text: str, namespace: Mapping[str, Any]) -> Word:
    r"""Read what stands between the magic's name and the cursor.

    Examples
    --------
    >>> word = read_word("a\\ b.bin \"my da", {})
    >>> word.before, word.value, word.raw, word.quote
    (('a b.bin',), 'my da', '"my da', '"')
    >>> read_word("$fold", {}).name, read_word("{data.sh", {}).expression
    ('fold', True)
    >>> read_word("{folder}/a", {"folder": "logs"}).value
    'logs/a'
    """
    return _Reader(text, namespace).read()


class _Reader:
    def __init__(self, text: str, namespace: Mapping[str, Any]) -> None:
        self._text, self._namespace = text, namespace
        self._at = self._start = 0
        self._before: list[str] = []
        self._value: list[str] | None = None  # None between words
        self._opaque = False
        self._quote = ""

    def read(self) -> Word:
        text = self._text
        while self._at < len(text):
            char = text[self._at]
            if not self._quote and char.isspace():
                self._end_word()
                continue
            if self._value is None:
                self._value, self._start, self._opaque = [], self._at, False
            if char in "{}$":
                cut = self._expansion()
                if cut is not None:
                    return cut
            elif char == "\\" and not _WINDOWS and self._quote != "'":
                self._escaped()
            elif char == self._quote:
                self._quote = ""
                self._at += 1
            elif char in "'\"" and not self._quote:
                self._quote = char
                self._at += 1
            else:
                self._take(char, 1)
        return self._word()

    def _take(self, meaning: str, length: int) -> None:
        assert self._value is not None
        self._value.append(meaning)
        self._at += length

    def _end_word(self) -> None:
        if self._value is not None:
            self._before.append("".join(self._value))
            self._value = None
        self._at += 1

    def _escaped(self) -> None:
        following = self._text[self._at + 1 : self._at + 2]
        if self._quote and following not in ('"', "\\"):
            self._take("\\", 1)  # within double quotes it stands for itself before other characters
        else:
            self._take(following, 2)

    def _expansion(self) -> Word | None:
        """Take ``{{``, ``$$``, ``$name`` or ``{...}``; returns the word where the cursor is inside one."""
        text, at, char = self._text, self._at, self._text[self._at]
        if text[at : at + 2] == char * 2:
            self._take(char, 2)
        elif char == "$":
            return self._dollar()
        elif char == "{":
            return self._brace()
        else:
            self._take(char, 1)
        return None

    def _dollar(self) -> Word | None:
        found = _NAME.match(self._text, self._at + 1)
        end = found.end() if found else self._at + 1
        if end == len(self._text):
            return self._word(name=found[0] if found else "")
        if found is None:
            self._take("$", 1)
        else:
            self._variable(found[0], end)
        return None

    def _brace(self) -> Word | None:
        found = _SIMPLE.match(self._text, self._at)
        if found:
            self._variable(found[1], found.end())
            return None
        end = _closing(self._text, self._at)
        if end is None:
            inside = self._text[self._at + 1 :]
            if not inside or re.fullmatch(r"[^\W\d]\w*", inside):
                return self._word(name=inside)
            return self._word(expression=True)
        self._opaque = True
        self._at = end
        return None

    def _variable(self, name: str, end: int) -> None:
        assert self._value is not None
        value = self._namespace.get(name)
        if isinstance(value, (str, int, os.PathLike)):
            self._value.append(str(value))
        else:
            self._opaque = True
        self._at = end

    def _word(self, *, name: str | None = None, expression: bool = False) -> Word:
        before = tuple(self._before)
        if self._value is None:
            return Word(before)
        unknown = self._opaque or expression or name is not None
        value = None if unknown else "".join(self._value)
        return Word(before, self._text[self._start :], value, self._quote, name, expression)


def _closing(text: str, start: int) -> int | None:
    try:
        return closing_brace(text, start)
    except ValueError:
        return None
