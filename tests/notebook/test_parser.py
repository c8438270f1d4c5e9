"""Magic lines: quotes, blanks, expansion, and errors that say what is wrong in one line."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.error import UsageError

from ossmp_jupyter.notebook.options import MAGICS, parser_for
from ossmp_jupyter.notebook.parser import HelpShown, expand, split_line

UPLOAD = parser_for("oss_upload")


def items(line: str, **namespace: Any) -> list[str]:
    found: list[str] = UPLOAD.parse_magic(line, namespace).items
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('"a b.bin" oss://b/k', ["a b.bin", "oss://b/k"]),
        ("my\\ data.bin oss://b/k", ["my data.bin", "oss://b/k"]),
        ("a.bin --parallel 3 oss://b/k", ["a.bin", "oss://b/k"]),
        ("a.bin oss://b/#x", ["a.bin", "oss://b/#x"]),
        ("-- -a.bin k", ["-a.bin", "k"]),
        ("{{a}}.bin $$x", ["{a}.bin", "$x"]),
        ("数据.bin oss://b/键", ["数据.bin", "oss://b/键"]),
    ],
)
def test_words(line: str, expected: list[str]) -> None:
    assert items(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{path} k", ["my file.bin", "k"]),
        ("$path k", ["my file.bin", "k"]),
        ('{table["a b"]} k', ["7", "k"]),
        ("{table['a b']:03d}.bin k", ["007.bin", "k"]),
        ("{path!r} k", ["'my file.bin'", "k"]),
        ("{len(path)} k", ["11", "k"]),
        ("x{path}y$path. k", ["xmy file.bin" + "ymy file.bin.", "k"]),
        ('"{path} $path" k', ["my file.bin my file.bin", "k"]),
        ("'{path}' k", ["my file.bin", "k"]),  # quotes keep words together, no more
        ("{odd} $odd", ["it's {a} $5", "it's {a} $5"]),  # what is filled in is not read again
        ("cost$5.bin k$ $$5", ["cost$5.bin", "k$", "$5"]),
        ("{dash} k", ["-x.bin", "k"]),  # no option: a variable holds it
        ("{where} {where.stem}", ["dir/a.csv", "a"]),
        ("{paths} d/", ["a.bin", "b c.bin", "d/"]),
        ("$paths d/", ["a.bin", "b c.bin", "d/"]),
        ("{[str(p).upper() for p in paths]} d/", ["A.BIN", "B C.BIN", "d/"]),
        ('{"a:b"} k', ["a:b", "k"]),
        ("{(lambda: 3)()} k", ["3", "k"]),
        ("{f'{number}!'} k", ["7!", "k"]),
        ('{table["a b"]:>{number}} k', ["      7", "k"]),
        ("{path!r:>15} k", ["  'my file.bin'", "k"]),
        ("{number != 8} k", ["True", "k"]),
        ("{None!s} k", ["None", "k"]),
        ("a {{}}/{number}", ["a", "{}/7"]),
    ],
)
def test_expansion_is_per_argument(line: str, expected: list[str]) -> None:
    values = {
        "path": "my file.bin", "table": {"a b": 7}, "odd": "it's {a} $5", "dash": "-x.bin", "number": 7,
        "where": Path("dir/a.csv"), "paths": ["a.bin", Path("b c.bin")],
    }  # fmt: skip
    assert items(line, **values) == expected


def test_an_expression_is_evaluated_once() -> None:
    assert items("{next(numbers)} x{next(numbers)}", numbers=iter(range(9))) == ["0", "x1"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{nobody}", ["{nobody}", "'nobody' is not defined"]),
        ("$nobody", ["no variable 'nobody'", "$$nobody"]),
        ("{table['z']}", ["{table['z']}", "KeyError: 'z'"]),
        ("{1/0}", ["division by zero"]),
        ("{7:%Y}", ["{7:%Y}", "%Y"]),
        ("{a b}", ["invalid syntax", "{{"]),
        ("{nothing}", ["{nothing} is None"]),
        ("x/$nothing", ["$nothing is None"]),
        ("{table}", ["{table}", "dict", "upload()"]),
        ("{data}", ["{data}", "bytes", "upload()"]),
        ("x/{paths}", ["list", "alone"]),
        ("{[]}", ["empty"]),
        ("{paths + [None]}", ["an item of {paths + [None]} is None"]),
        ("{print}", ["builtin_function_or_method"]),
        ("a k --callback {table}", ["--callback takes a variable's name"]),
        ("{(i for i in paths)}", ["generator"]),
    ],
)
def test_what_cannot_be_filled_in_is_named(line: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        items(line, table={}, nothing=None, data=b"x", paths=["a"])
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "\n" not in text and "shows all options" not in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a --partsize 8MiB k", ["--partsize", "did you mean --part-size?"]),
        ("a k --metadata x=y", ["--metadata", "--meta"]),
        ("a k --nonsense-at-all", ["unknown option --nonsense-at-all ("]),
        ("a k -z", ["unknown option -z"]),
        ("a k --part-size", ["--part-size", "expected one argument"]),
        ("a k --ui pictures", ["--ui", "pictures", "auto"]),
        ("'a k", ["no closing quotation"]),
        ("{nobody} k", ["{nobody}", "'nobody' is not defined"]),
        ("$HOME k", ["HOME", "$$HOME"]),
        ("{ k", ["{{"]),
        ("a } k", ["}}"]),
        ("{} k", ["{}", "empty"]),
        ("{1/0} k", ["division by zero"]),
    ],
)
def test_errors_are_one_line(line: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        items(line)
    text = str(caught.value)
    assert text.startswith("%oss_upload: ")
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_help_is_shown_and_nothing_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("-h", "a b --help"):
        with pytest.raises(HelpShown):
            items(line)
        assert capsys.readouterr().out.startswith("usage: %oss_upload SOURCE... DEST [options]")


@pytest.mark.parametrize("name", MAGICS)
def test_every_option_is_explained(name: str) -> None:
    parser = parser_for(name)
    text = parser.format_help()
    assert text.startswith(f"usage: %{name}")
    assert "%%" not in text
    for action in parser._actions:
        assert action.help, f"{name}: {action.dest} has no help"


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs", "Cc", "Co"]), min_size=1), min_size=1))
def test_quoting_as_a_shell_does_gives_every_word_back(words: list[str]) -> None:
    quoted = [shlex.quote(word.replace("{", "{{").replace("}", "}}").replace("$", "$$")) for word in words]
    assert [expand(word, held, {}) for word, held in split_line(" ".join(quoted))] == words
