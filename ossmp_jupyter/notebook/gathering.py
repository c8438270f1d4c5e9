"""Which files a line of %oss_upload means, and where each goes: names, patterns, folders."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ossmp_jupyter.errors import InputError, SourceNotReadable

__all__ = ["Gathered", "gather"]

_CLUTTER = ".ipynb_checkpoints"
_MOST = 200
"""Files of one line: each is an upload of its own, with a row in the panel and an open file."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a line names. ``pairs`` are (source, target); ``many`` says that a list was meant."""

    pairs: tuple[tuple[str, str], ...]
    many: bool
    notes: tuple[str, ...] = ()


def gather(items: Sequence[str], *, recursive: bool = False) -> Gathered:
    """Sort the words of a line into sources and their targets; the last word is the destination.

    Parameters
    ----------
    items : sequence of str
        Files, patterns such as ``*.csv``, with ``recursive`` folders, and the destination.
    recursive : bool
        Whether a folder means all files below it; their paths within it are kept.

    Raises
    ------
    InputError
        If a part is missing, no file matches, or two sources would become one object.

    Examples
    --------
    >>> gather(["a.bin", "oss://bucket/dir/"]).pairs
    (('a.bin', 'oss://bucket/dir/'),)
    """
    sources, target = _sources_and_target(items)
    pairs: list[tuple[str, str]] = []
    notes: list[str] = []
    many = len(sources) > 1
    for source in sources:
        path = os.path.expanduser(source)
        if os.path.isdir(path) and recursive:
            found: list[tuple[str, str]] = [(one, target + inside) for one, inside in _below(path, notes)]
            many = True
        elif glob.has_magic(source) and not os.path.lexists(path):
            found = [(one, target) for one in _matching(path, source)]
            many = True
        else:
            found = [(path, target)]
        pairs += found
        if len(pairs) > _MOST:
            raise InputError(
                f"these are more than {_MOST} files", hint="pack them into one archive, or loop over them"
            )
    if many and not target.endswith("/"):
        raise InputError(
            f"{len(sources)} sources need a destination that ends in /, and {target!r} does not"
            if len(sources) > 1
            else f"several files need a destination that ends in /, and {target!r} does not",
            hint="put quotes around a name with blanks in it" if len(sources) > 1 else f"write {target}/",
        )
    _refuse_twins(pairs)
    return Gathered(tuple(pairs), many, tuple(notes))


def _sources_and_target(items: Sequence[str]) -> tuple[list[str], str]:
    hint = "write %oss_upload FILE oss://bucket/key"
    if len(items) < 2:
        missing = "a source and a destination are" if not items else "a destination is"
        if items and items[0].startswith("oss://"):
            missing = "a source is"
        raise InputError(f"{missing} missing", hint=hint)
    *sources, target = items
    for source in sources:
        if source.startswith("oss://"):
            raise InputError(
                f"{source!r} is an object's address, where a file is expected",
                hint="a line has one destination, its last word",
            )
        if re.match(r"\w+://", source) and not os.path.lexists(source):
            raise InputError(
                f"{source!r} is an address, where a file is expected", hint="save it as a file first"
            )
    if any(ord(char) < 32 or ord(char) == 127 for char in target):
        raise InputError(
            f"the destination {target[:80]!r} holds a line break or another control character",
            hint="leave it out: name.strip() takes it off a line that was read",
        )
    return sources, target + "/" if re.fullmatch(r"oss://[^/]+", target) else target


def _below(folder: str, notes: list[str]) -> Iterator[tuple[str, str]]:
    """All files below a folder, with their paths inside it."""
    count = 0
    for root, folders, files in os.walk(folder, onerror=_refuse):
        if _CLUTTER in folders:  # Jupyter puts one beside every notebook: nobody means it
            folders.remove(_CLUTTER)
            notes.append(f"{os.path.join(root, _CLUTTER)} was left out")
        folders.sort()
        notes += [
            f"{os.path.join(root, name)} is a link to a folder and was left out"
            for name in folders
            if os.path.islink(os.path.join(root, name))
        ]
        for name in sorted(files):
            path = os.path.join(root, name)
            yield path, os.path.relpath(path, folder).replace(os.sep, "/")
            count += 1
            if count > _MOST:
                return
    if not count:
        raise SourceNotReadable(f"there is no file in {folder}", hint="name a folder that holds some")


def _refuse(error: OSError) -> None:
    raise SourceNotReadable(f"{error.filename} cannot be read: {error.strerror}", hint="nothing was uploaded")


def _matching(path: str, pattern: str) -> list[str]:
    found = sorted(one for one in glob.glob(path, recursive=True) if not os.path.isdir(one))
    if not found:
        raise SourceNotReadable(f"no file matches {pattern}", hint=f"the working directory is {os.getcwd()}")
    return found


def _refuse_twins(pairs: Sequence[tuple[str, str]]) -> None:
    seen: dict[str, str] = {}
    for source, target in pairs:
        full = target + os.path.basename(source) if target.endswith("/") else target
        if full in seen:
            raise InputError(
                f"{seen[full]} and {source} would both become {full}", hint="upload them to two places"
            )
        seen[full] = source
