r"""Magic lines: splitting, expansion of names, and the argument parser.

``IPython.core.magic_arguments`` keeps quotes and splits ``my\ data.bin``, which is exactly what
Tab inserts; and IPython's own expansion is all or nothing. So: shell-like splitting first, then
each argument is expanded by itself, then argparse.
"""

from __future__ import annotations

import argparse
import builtins
import difflib
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any, NoReturn

from IPython.core.error import UsageError

__all__ = ["HelpShown", "MagicParser", "closing_brace", "expand", "fill", "split_line"]

_NAME = re.compile(r"\$(\$|[A-Za-z_]\w*)")
_OPEN, _CLOSE = "\ue000", "\ue001"  # private-use characters stand for a {...} while the line is split
_PLAIN = "\ue002"  # marks a word after --: no option, whatever it begins with
_HELD = re.compile(f"{_OPEN}(\\d+){_CLOSE}")


class HelpShown(Exception):
    """``-h`` printed the help; there is nothing else to do."""


class MagicParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line in the cell and never end the kernel."""

    def __init__(self, name: str, arguments: str, description: str, epilog: str = "") -> None:
        # argparse expands percent signs in its texts, so the magic's own is doubled for it
        super().__init__(
            prog=name,
            usage=f"%%{name} {arguments}",
            description=description,
            epilog=epilog or None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise IPython's one-line error instead of ending the process."""
        raise UsageError(f"%{self.prog}: {message} (%{self.prog}? shows all options)")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Raise :class:`HelpShown` instead of ending the process."""
        raise HelpShown(message or "")

    @property
    def options(self) -> list[str]:
        """All option strings, short ones too, for completion."""
        return [text for action in self._actions for text in action.option_strings]

    def takes_value(self, option: str) -> bool:
        """Whether an option is followed by a value."""
        action = self._option_string_actions.get(option)
        return action is not None and action.nargs != 0

    def needs_value(self, option: str) -> bool:
        """Whether what follows an option can be nothing but its value."""
        return self.takes_value(option) and self._option_string_actions[option].nargs != "?"

    def is_repeatable(self, option: str) -> bool:
        """Whether an option may be given several times."""
        return isinstance(self._option_string_actions.get(option), argparse._AppendAction)

    def value_choices(self, option: str) -> list[str]:
        """The words an option accepts, where there is a fixed list."""
        action = self._option_string_actions.get(option)
        return [str(choice) for choice in action.choices] if action is not None and action.choices else []

    def positionals(self, words: Sequence[str]) -> list[str]:
        """Those of the words that are neither options nor their values."""
        found: list[str] = []
        words = list(words)
        while words:
            word = words.pop(0)
            if word == "--":
                return found + words
            if not word.startswith("-") or word == "-":
                found.append(word)
            elif self.needs_value(word) and words:
                words.pop(0)
        return found

    def parse_magic(self, line: str, namespace: Mapping[str, Any]) -> argparse.Namespace:
        """Split, expand and parse a magic's line.

        Raises
        ------
        UsageError
            One line, for anything that is wrong.
        HelpShown
            After ``-h`` or ``--help``.
        """
        try:
            words = self._filled(line, namespace)
        except ValueError as error:
            raise UsageError(f"%{self.prog}: {error}") from None
        self._refuse_unknown(words)
        if "--" in words:  # argparse's intermixed parsing loses it between its two passes
            end = words.index("--")
            words = words[:end] + [_PLAIN + word for word in words[end + 1 :]]
        known, rest = self.parse_known_intermixed_args(words)
        if rest:
            self.error(f"unexpected argument {rest[0].removeprefix(_PLAIN)!r}")
        for name, value in vars(known).items():
            setattr(known, name, _unmarked(value))
        return known

    def _filled(self, line: str, namespace: Mapping[str, Any]) -> list[str]:
        words: list[str] = []
        for word, held in split_line(line):
            is_value = bool(words) and self.needs_value(words[-1])
            try:
                filled = fill(word, held, namespace)
            except ValueError:
                if is_value and self._option_string_actions[words[-1]].metavar == "NAME":
                    raise ValueError(
                        f"{words[-1]} takes a variable's name, not its value; leave out the braces or the $"
                    ) from None
                raise
            for text in filled:
                # a name that begins with - is no option because a variable holds it
                hidden = text.startswith("-") and not word.startswith("-") and not is_value
                words.append(_PLAIN + text if hidden else text)
        return words

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        # Before argparse: it reports a missing positional first, which hides the misspelt option.
        expects_value = False
        for word in words:
            if word == "--":
                return
            if expects_value:
                expects_value = False
                continue
            option = word.split("=", 1)[0]
            if option in self._option_string_actions:
                expects_value = self.takes_value(option) and "=" not in word
            elif word.startswith("-") and len(word) > 1 and word[:2] not in self._option_string_actions:
                names = [name for name in self.options if name.startswith("--")]
                close = difflib.get_close_matches(option, names, n=1, cutoff=0.65)
                self.error(f"unknown option {option}" + (f"; did you mean {close[0]}?" if close else ""))


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(one) for one in value]
    return value.removeprefix(_PLAIN) if isinstance(value, str) else value


def _hold_braces(line: str) -> tuple[str, list[str]]:
    """Take each ``{...}`` out of the line, so that quotes and blanks inside do not split it."""
    out: list[str] = []
    held: list[str] = []
    i = 0
    while i < len(line):
        pair = line[i : i + 2]
        if pair in ("{{", "}}"):
            held.append(pair)
            out.append(f"{_OPEN}{len(held) - 1}{_CLOSE}")
            i += 2
        elif line[i] == "{":
            end = closing_brace(line, i)
            held.append(line[i:end])
            out.append(f"{_OPEN}{len(held) - 1}{_CLOSE}")
            i = end
        elif line[i] == "}":
            raise ValueError("a } without its {; write }} for the character itself")
        else:
            out.append(line[i])
            i += 1
    return "".join(out), held


def closing_brace(line: str, start: int) -> int:
    """Find the end of the ``{...}`` that begins at ``start``; ValueError where it has none."""
    depth, quote = 0, ""
    for i in range(start, len(line)):
        char = line[i]
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "{}":
            depth += 1 if char == "{" else -1
            if depth == 0:
                return i + 1
    raise ValueError("a { without its }; write {{ for the character itself")


def split_line(line: str) -> list[tuple[str, list[str]]]:
    r"""Split a line as a shell does; each word comes with the ``{...}`` texts taken out of it.

    Examples
    --------
    >>> [word for word, held in split_line(r"'a b.bin' my\ data.bin --part-size 8MiB")]
    ['a b.bin', 'my data.bin', '--part-size', '8MiB']
    """
    text, held = _hold_braces(line)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    if os.name == "nt":
        lexer.escape = ""  # a Windows path is full of backslashes
    try:
        words = list(lexer)
    except ValueError as error:
        hint = 'put quotes around a name with a quotation mark in it: "it\'s.csv"'
        raise ValueError(f"the line cannot be split: {str(error).lower()}; {hint}") from None
    return [(word, held) for word in words]


def fill(word: str, held: Sequence[str], namespace: Mapping[str, Any]) -> list[str]:
    """Fill one argument in, as :func:`expand` does; one that is nothing but a list becomes several.

    Examples
    --------
    >>> word, held = split_line("{paths}")[0]
    >>> fill(word, held, {"paths": ["a.bin", "b c.bin"]})
    ['a.bin', 'b c.bin']
    """
    whole, name, spec = _HELD.fullmatch(word), _NAME.fullmatch(word), None
    if whole and held[int(whole[1])] not in ("{{", "}}"):
        text = held[int(whole[1])]
        value, spec = _value_of(text, namespace)
    elif name and name[1] != "$":
        text, value = word, _variable(name[1], namespace)
    else:
        return [expand(word, held, namespace)]
    if spec is not None or not isinstance(value, (list, tuple)):
        return [_written(text, value, spec, namespace)]
    if not value:
        raise ValueError(f"{text} is empty: there is nothing to fill in")
    return [_as_text(f"an item of {text}", item) for item in value]


def expand(word: str, held: Sequence[str], namespace: Mapping[str, Any]) -> str:
    """Fill ``{expression}`` and ``$name`` of one argument in; ``{{``, ``}}`` and ``$$`` are literal.

    Raises
    ------
    ValueError
        If a name is unknown, an expression fails, or its value is not text, naming it.

    Examples
    --------
    >>> word, held = split_line("logs/{day:02d}/$name")[0]
    >>> expand(word, held, {"day": 7, "name": "a.bin"})
    'logs/07/a.bin'
    """

    def dollar(match: re.Match[str]) -> str:
        return "$" if match[1] == "$" else _as_text(match[0], _variable(match[1], namespace))

    def braces(match: re.Match[str]) -> str:
        text = held[int(match[1])]
        return text[0] if text in ("{{", "}}") else _evaluate(text, namespace)

    pieces = re.split(f"({_OPEN}\\d+{_CLOSE})", word)
    return "".join(_HELD.sub(braces, p) if _HELD.fullmatch(p) else _NAME.sub(dollar, p) for p in pieces)


def _variable(name: str, namespace: Mapping[str, Any]) -> Any:
    if name not in namespace:
        raise ValueError(f"there is no variable {name!r} for ${name}; write $${name} for the text itself")
    return namespace[name]


def _as_text(what: str, value: Any) -> str:
    """Write a value as a part of the line; what would make no name is refused, not written as its repr."""
    if isinstance(value, str):
        return value
    if value is None:
        raise ValueError(f"{what} is None; give it a value, or write {{...!s}} for the word")
    if hasattr(value, "__len__") or hasattr(value, "__next__") or callable(value):
        kind = type(value).__name__
        if isinstance(value, (list, tuple)):
            raise ValueError(f"{what} is a {kind}; alone in its place it becomes several arguments")
        raise ValueError(f"{what} is of type {kind}, not text; save it to a file, or call upload() in Python")
    return str(value)


def _evaluate(text: str, namespace: Mapping[str, Any]) -> str:
    return _written(text, *_value_of(text, namespace), namespace)


def _written(text: str, value: Any, spec: str | None, namespace: Mapping[str, Any]) -> str:
    """Write the value of a ``{...}``, formatted as in an f-string where it has a format."""
    if spec is None:
        return _as_text(text, value)
    try:
        nested = re.sub(r"\{[^{}]*\}", lambda match: _evaluate(match[0], namespace), spec)
        return format(value, nested)
    except (TypeError, ValueError) as error:
        raise ValueError(f"cannot fill in {text}: {error}") from None


def _value_of(text: str, namespace: Mapping[str, Any]) -> tuple[Any, str | None]:
    """The value of ``{expression!conversion:format}``, converted, and the format; None where there is none.

    It is the user's own expression in the user's own kernel, as IPython's ``{expr}`` is.
    """
    try:
        code, convert, spec = _taken_apart(text[1:-1].strip())
        value = eval(code, {"__builtins__": builtins, **namespace})
    except SyntaxError as error:
        why = error.msg if text[1:-1].strip() else "it is empty"
    except NameError as error:
        why = str(error)
    except Exception as error:
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    else:
        return (_CONVERSIONS[convert](value), spec or "") if convert else (value, spec)
    raise ValueError(f"cannot fill in {text}: {why}; write {{{{ and }}}} for the characters")


_CONVERSIONS: dict[str, Callable[[Any], str]] = {"r": repr, "s": str, "a": ascii}
_ENDS = re.compile(r"!([rsa])(?=:|$)|:")


def _taken_apart(text: str) -> tuple[CodeType, str, str | None]:
    """Expression, conversion and format of a replacement field, as Python itself would part them."""
    try:
        return compile(text, "<argument>", "eval"), "", None
    except SyntaxError as error:
        wrong = error
    for end in _ENDS.finditer(text):
        try:
            code = compile(text[: end.start()].strip(), "<argument>", "eval")
        except SyntaxError:
            continue
        spec = text[end.end() :].removeprefix(":") if end[1] else text[end.end() :]
        return code, end[1] or "", spec
    raise wrong
