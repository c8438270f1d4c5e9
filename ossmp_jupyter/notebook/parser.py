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
import string
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from IPython.core.error import UsageError

__all__ = ["HelpShown", "MagicParser", "closing_brace", "expand", "split_line"]

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
            words = [expand(word, held, namespace) for word, held in split_line(line)]
        except ValueError as error:
            self.error(str(error))
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
                close = difflib.get_close_matches(option, names, n=1, cutoff=0.5)
                advice = f"did you mean {close[0]}?" if close else "no such option"
                self.error(f"unknown option {option}; {advice}")


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
        raise ValueError(f"the line cannot be split: {str(error).lower()}") from None
    return [(word, held) for word in words]


def expand(word: str, held: Sequence[str], namespace: Mapping[str, Any]) -> str:
    """Fill ``{expression}`` and ``$name`` of one argument in; ``{{``, ``}}`` and ``$$`` are literal.

    Raises
    ------
    ValueError
        If a name is unknown or an expression fails, naming it.

    Examples
    --------
    >>> word, held = split_line("logs/{day:02d}/$name")[0]
    >>> expand(word, held, {"day": 7, "name": "a.bin"})
    'logs/07/a.bin'
    """

    def dollar(match: re.Match[str]) -> str:
        name = match[1]
        if name == "$":
            return "$"
        if name not in namespace:
            raise ValueError(f"no variable {name!r} for ${name}; write $${name} for the text itself")
        return str(namespace[name])

    def braces(match: re.Match[str]) -> str:
        text = held[int(match[1])]
        return text[0] if text in ("{{", "}}") else _evaluate(text, namespace)

    pieces = re.split(f"({_OPEN}\\d+{_CLOSE})", word)
    return "".join(_HELD.sub(braces, p) if _HELD.fullmatch(p) else _NAME.sub(dollar, p) for p in pieces)


class _Expressions(string.Formatter):
    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self.namespace = namespace

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[Any, str]:
        # The user's own expression in the user's own kernel, as IPython's {expr} is.
        value = eval(field_name, {"__builtins__": builtins, **self.namespace})
        return value, field_name


def _evaluate(text: str, namespace: Mapping[str, Any]) -> str:
    try:
        if not text[1:-1].strip():
            raise SyntaxError("it is empty")
        return _Expressions(namespace).vformat(text, (), {})
    except Exception as error:
        why = str(error) or type(error).__name__
        raise ValueError(f"cannot fill in {text}: {why}; write {{{{ and }}}} for the characters") from error
