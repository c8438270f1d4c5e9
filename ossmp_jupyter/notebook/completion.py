"""Tab in a magic's line: options, their fixed values, files, upload IDs and ``oss://`` addresses."""

from __future__ import annotations

import glob
import os
import re
import shlex
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from ossmp_jupyter.notebook.options import MAGICS, parser_for

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["matcher_for"]

_LINE = re.compile(rf"(?:^|=)\s*%?({'|'.join(sorted(MAGICS, key=len, reverse=True))})\s+(.*)$")
_PATH_OPTIONS = frozenset({"--checkpoint", "--root"})
_NAME_OPTIONS = frozenset({"--callback", "--progress"})
_TAKES_FILES = frozenset({"oss_upload", "oss_resume"})
_TAKES_IDS = frozenset({"oss_parts", "oss_abort", "oss_pause", "oss_resume", "oss_wait"})
_TAKES_ADDRESSES = frozenset({"oss_upload", "oss_head", "oss_verify", "oss_connect"})
_PATIENCE = 0.5  # seconds for a listing of the bucket; Tab must not hang
_MOST = 100


def matcher_for(shell: InteractiveShell) -> Any:
    """Make the completion matcher of one shell, for ``shell.Completer.custom_matchers``."""

    @context_matcher(identifier="ossmp_jupyter.options")  # type: ignore[untyped-decorator]
    def matcher(context: CompletionContext) -> SimpleMatcherResult:
        found = _LINE.search(context.text_until_cursor)
        if found is None:
            return SimpleMatcherResult(completions=[], suppress=False)
        name, rest = found.groups()
        before, word, raw = _split(rest)
        completions = [
            SimpleCompletion(text=text, type=kind) for text, kind in _complete(shell, name, before, word)
        ]
        return SimpleMatcherResult(completions=completions[:_MOST], suppress=True, matched_fragment=raw)

    return matcher


def _split(rest: str) -> tuple[list[str], str, str]:
    """Words before the cursor's word, that word, and the word as it is typed."""
    raw = re.search(r"(?:\\.|[^\s\\])*$", rest)
    typed = raw[0] if raw else ""
    try:
        before = shlex.split(rest[: len(rest) - len(typed)])
    except ValueError:  # inside quotes
        before = rest.split()[:-1]
    return before, re.sub(r"\\(.)", r"\1", typed) if os.name != "nt" else typed, typed


def _complete(shell: InteractiveShell, name: str, before: list[str], word: str) -> Iterable[tuple[str, str]]:
    parser = parser_for(name)
    last = before[-1] if before else ""
    if parser.takes_value(last):
        if last in _PATH_OPTIONS:
            yield from _paths(word)
        elif last in _NAME_OPTIONS:
            yield from (
                (n, "param")
                for n in shell.user_ns
                if n.startswith(word) and n.isidentifier() and not n.startswith("_")
            )
        else:
            yield from ((choice, "param") for choice in parser.value_choices(last) if choice.startswith(word))
        return
    if word.startswith("-"):
        yield from (
            (text, "param") for text in parser.options if text.startswith(word) and text not in before
        )
        return
    if name in _TAKES_ADDRESSES and ("oss://".startswith(word) or word.startswith("oss://")):
        yield from _addresses(word, name)
    if name in _TAKES_IDS:
        yield from _ids(word)
    if name in _TAKES_FILES and not word.startswith("oss://"):
        yield from _paths(word)


def _paths(word: str) -> Iterable[tuple[str, str]]:
    home = os.path.expanduser(word)
    for path in sorted(glob.glob(glob.escape(home) + "*"))[:_MOST]:
        shown = word + path[len(home) :] + ("/" if os.path.isdir(path) else "")
        yield (shown if os.name == "nt" else re.sub(r"([\s\\'\"{}$])", _escaped, shown)), "path"


def _escaped(match: re.Match[str]) -> str:
    char = match[0]
    return char * 2 if char in "{}$" else "\\" + char


def _ids(word: str) -> Iterable[tuple[str, str]]:
    manager = sys.modules.get("ossmp_jupyter.transfer.manager")
    if manager is not None:
        yield from ((h.id, "upload") for h in manager.uploads() if h.id.startswith(word))


def _addresses(word: str, name: str) -> Iterable[tuple[str, str]]:
    manager = sys.modules.get("ossmp_jupyter.transfer.manager")
    connection = manager.default_connection() if manager is not None else None
    if connection is None or connection.bucket is None:
        yield "oss://", "path"
        return
    root = f"oss://{connection.bucket}/"
    if root.startswith(word):
        yield root, "path"
        return
    if name == "oss_connect" or not word.startswith(root):
        return
    prefix = word.removeprefix(root)
    try:
        future = manager.call(  # type: ignore[union-attr]
            lambda client: client.list_objects(prefix=prefix, delimiter="/", max_keys=_MOST), connection
        )
        page = future.result(timeout=_PATIENCE)
    except Exception:  # Tab shows what it can, errors belong to cells
        return
    yield from ((root + folder, "path") for folder in page.common_prefixes)
    if name == "oss_head":
        yield from ((root + item.key, "path") for item in page.objects)
