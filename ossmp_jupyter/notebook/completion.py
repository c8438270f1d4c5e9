"""Tab in a magic's line: options and their values, names, files, upload IDs, buckets and keys.

Tab never raises, never prints, and waits for a server less than a second; what cannot be known in that time
is not offered.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from ossmp_jupyter.notebook.options import MAGICS, parser_for
from ossmp_jupyter.notebook.word import Word, read_word

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ossmp_jupyter.notebook.magics import OssMagics
    from ossmp_jupyter.notebook.parser import MagicParser

__all__ = ["matcher_for"]

_LINE = re.compile(
    rf"(?:^|=|%%?time\s)\s*%?({'|'.join(sorted(MAGICS, key=len, reverse=True))})\s+(.*)$", re.DOTALL
)
_SETTING = re.compile(r"^\s*%?config\s+OssMagics\.(\w+)\s*=\s*(\S*)$")
_PATIENCE = 0.8  # seconds in all for what a server is asked; Tab must not hang
_MOST = 100


@dataclass(frozen=True, slots=True)
class Offer:
    """What the word could mean. ``ends`` is False where one goes on typing: a folder, a bucket."""

    value: str
    kind: str
    ends: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """A magic's line up to the cursor."""

    magics: OssMagics
    magic: str
    parser: MagicParser
    word: Word
    deadline: float = field(default_factory=lambda: time.monotonic() + _PATIENCE)

    @property
    def value(self) -> str:
        """What the word means so far."""
        return self.word.value or ""


Offers = Callable[[Line], Iterator[Offer]]


class _Nothing:
    """No completions, in a form that IPython takes for some: or else it would offer Python's names."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[SimpleCompletion]:
        return iter(())


def matcher_for(shell: InteractiveShell) -> Any:
    """Make the completion matcher of one shell, for ``shell.Completer.custom_matchers``."""
    magics: OssMagics = shell.magics_manager.registry["OssMagics"]

    @context_matcher(identifier="ossmp_jupyter.options")  # type: ignore[untyped-decorator]
    def matcher(context: CompletionContext) -> SimpleMatcherResult:
        try:
            return _match(magics, context)
        except Exception:  # Tab shows what it can; errors belong to cells
            return SimpleMatcherResult(completions=[], suppress=False)

    return matcher


def _match(magics: OssMagics, context: CompletionContext) -> SimpleMatcherResult:
    found = _LINE.search(_continued(context))
    if found is None:
        return _setting(magics, context)
    name, rest = found.groups()
    word = read_word(rest, magics.shell.user_ns)
    if word.expression or not context.text_until_cursor.endswith(word.raw):
        return SimpleMatcherResult(completions=[], suppress=False)
    option, typed = word.after_equals()
    follow = context.line_with_cursor[context.cursor_position :]
    texts: dict[str, str] = {}
    if word.name is not None:
        start = typed.raw[: len(typed.raw) - len(word.name)]
        texts = {start + name: "param" for name in _visible(magics) if name.startswith(word.name)}
    elif word.value is not None:
        line = Line(magics, name, parser_for(name), typed)
        for offer in itertools.islice(_offers(line, option), _MOST):
            texts[typed.completed(offer.value, follow=follow, ends=offer.ends)] = offer.kind
    completions: Any = [SimpleCompletion(text=text, type=kind) for text, kind in texts.items()] or _Nothing()
    return SimpleMatcherResult(completions=completions, suppress=True, matched_fragment=typed.raw)


def _setting(magics: OssMagics, context: CompletionContext) -> SimpleMatcherResult:
    """Complete ``%config OssMagics.ui = 'te``: the values of what has a fixed list of them."""
    found = _SETTING.search(context.text_until_cursor)
    trait: Any = magics.traits(config=True).get(found[1]) if found else None
    values: list[object] = list(getattr(trait, "values", ())) or ([True, False] if trait is not None and
                           isinstance(getattr(magics, trait.name), bool) else [])  # fmt: skip
    if found is None or not values:
        return SimpleMatcherResult(completions=[], suppress=False)
    texts = (repr(value).replace("'", found[2][:1] if found[2][:1] == '"' else "'") for value in values)
    completions = [SimpleCompletion(text=text, type="param") for text in texts if text.startswith(found[2])]
    return SimpleMatcherResult(completions=completions, suppress=True, matched_fragment=found[2])


def _continued(context: CompletionContext) -> str:
    """The line up to the cursor, with those before it that a backslash joins to it."""
    text = context.text_until_cursor
    for line in reversed(context.full_text.split("\n")[: context.cursor_line]):
        if not line.rstrip().endswith("\\"):
            break
        text = f"{line.rstrip()[:-1]} {text}"
    return text


def _offers(line: Line, option: str) -> Iterator[Offer]:
    """All that the word could become, what is typed so far included."""
    before = line.word.before
    last = before[-1] if before else ""
    literal = "--" in before
    if not option and not literal and line.parser.takes_value(last):
        option = last
    if option:
        yield from (o for o in _values(line, option) if o.value.startswith(line.value))
        if line.parser.needs_value(option) or option != last:
            return
    if line.value.startswith("-") and not literal:
        yield from _options(line)
        return
    places = _PLACES.get(line.magic, ())
    index = len(line.parser.positionals(before))
    if index >= len(places) and line.magic in _REPEATS:
        index = len(places) - 1
    for offers in places[index] if index < len(places) else ():
        for offer in offers(line):
            if offer.value.startswith("-") and not literal:
                continue  # it would be taken for an option
            if offer.value.startswith(line.value):
                yield offer


def _options(line: Line) -> Iterator[Offer]:
    for text in line.parser.options:
        if text.startswith(line.value) and (text not in line.word.before or line.parser.is_repeatable(text)):
            yield Offer(text, "param")


# ---------------------------------------------------------------------- values of options
def _values(line: Line, option: str) -> Iterator[Offer]:
    if option in _FIXED:
        from ossmp_jupyter.oss import _object_checks as known

        words = list(getattr(known, _FIXED[option]))
    elif option in _NAMED:
        wanted = _NAMED[option]
        words = [name for name, value in _visible(line.magics).items() if wanted(value)]
    elif option == "--profile":
        from ossmp_jupyter.oss.config_files import profile_names

        words = profile_names()
    elif option in _PATHS:
        yield from _PATHS[option](line)
        return
    else:
        words = line.parser.value_choices(option)
    yield from (Offer(word, "param") for word in words)


def _visible(magics: OssMagics) -> dict[str, Any]:
    """The user's own variables, those with an underscore last."""
    hidden = magics.shell.user_ns_hidden
    mine = {name: value for name, value in magics.shell.user_ns.items()
            if name.isidentifier() and name not in hidden and not name.startswith("__")}  # fmt: skip
    return dict(sorted(mine.items(), key=lambda item: (item[0].startswith("_"), item[0])))


# ---------------------------------------------------------------------- files
def _files(line: Line) -> Iterator[Offer]:
    typed = line.value
    if typed.startswith("oss://"):
        return
    home = os.path.expanduser(typed)
    for path in sorted(glob.glob(glob.escape(home) + "*")):
        value = typed + path[len(home) :]
        if not typed and value.startswith("-"):
            value = "./" + value
        folder = os.path.isdir(path)
        yield Offer(value + "/" if folder else value, "path", ends=not folder)


def _folders(line: Line) -> Iterator[Offer]:
    return (offer for offer in _files(line) if not offer.ends)


# ---------------------------------------------------------------------- uploads
def _ids(line: Line) -> Iterator[Offer]:
    """IDs of uploads that the magic can do something about; the file's name says which is which."""
    from ossmp_jupyter.notebook.rows import row_of_unfinished
    from ossmp_jupyter.notebook.unfinished import from_journals
    from ossmp_jupyter.transfer.defaults import default_connection

    rows = line.magics.session.board.rows()
    known = {row.upload_id for row in rows}
    if line.magic not in ("oss_pause", "oss_wait"):
        rows += [
            row_of_unfinished(u) for u in from_journals(default_connection()) if u.upload_id not in known
        ]
    for row in rows:
        elsewhere = row.state == "unfinished"
        if line.magic == "oss_wait":
            fits = not row.ended
        else:
            fits = _NEEDS[line.magic] in row.can or (elsewhere and line.magic == "oss_resume")
        if fits and not {row.id, row.upload_id} & set(line.word.before):
            text = row.id if row.id.startswith(line.value) else row.upload_id
            yield Offer(text, row.address.rpartition("/")[2] if elsewhere else row.name)


# ---------------------------------------------------------------------- buckets and keys
def _buckets(line: Line) -> Iterator[Offer]:
    return (Offer(f"oss://{name}", "path") for name in _bucket_names(line))


def _objects(line: Line, *, objects: bool = True) -> Iterator[Offer]:
    """Keys of the connected bucket, and whole addresses; one level of folders at a time."""
    typed = line.value
    if typed and not typed.startswith("oss://"):
        if "oss://".startswith(typed):
            yield from _roots(line)
        yield from _keys(line, None, typed, "", objects)
    elif "/" in typed.removeprefix("oss://"):
        bucket, _, prefix = typed.removeprefix("oss://").partition("/")
        yield from _keys(line, bucket, prefix, f"oss://{bucket}/", objects)
    else:
        yield from _roots(line)
        if not typed:
            yield from _keys(line, None, "", "", objects)


def _object_folders(line: Line) -> Iterator[Offer]:
    return _objects(line, objects=False)


def _prefixes(line: Line) -> Iterator[Offer]:
    return _keys(line, None, line.value, "", objects=True)


def _roots(line: Line) -> Iterator[Offer]:
    return (Offer(f"oss://{name}/", "path", ends=False) for name in _bucket_names(line))


def _keys(line: Line, bucket: str | None, prefix: str, root: str, objects: bool) -> Iterator[Offer]:
    page = _ask(
        line, lambda oss: oss.list_objects(prefix=prefix, delimiter="/", max_keys=_MOST, bucket=bucket)
    )
    if page is None:
        return
    yield from (Offer(root + folder, "path", ends=False) for folder in page.common_prefixes)
    if objects:
        yield from (Offer(root + item.key, "path") for item in page.objects if item.key != prefix)


def _bucket_names(line: Line) -> list[str]:
    """The connected bucket, those of the settings, and what the account has in this region."""
    from ossmp_jupyter.oss.address import AddressStyle
    from ossmp_jupyter.transfer.defaults import default_connection

    connection = default_connection()
    names = [connection.bucket if connection else None, line.magics.bucket, os.environ.get("OSS_BUCKET")]
    if connection is not None and connection.endpoint.style is not AddressStyle.CNAME:
        typed = line.value.removeprefix("oss://") if line.value.startswith("oss://") else ""
        page = _ask(line, lambda oss: oss.list_buckets(prefix=typed))
        names += [
            bucket.name for bucket in (page.buckets if page else ())
            if line.magic == "oss_connect" or bucket.region in (connection.endpoint.region, "")
        ]  # fmt: skip
    return sorted({name for name in names if name})


def _ask(line: Line, question: Callable[[Any], Any]) -> Any:
    """Ask the connected service; None where it has no answer in time, or none at all."""
    from ossmp_jupyter.transfer import manager

    connection = manager.default_connection()
    if connection is None:
        return None
    future = manager.call(question, connection)
    try:
        return future.result(timeout=max(line.deadline - time.monotonic(), 0.05))
    except Exception:
        return None
    finally:
        future.cancel()


_FIXED = {"--storage-class": "STORAGE_CLASSES", "--acl": "ACLS", "--encryption": "ENCRYPTIONS"}
_NAMED: dict[str, Callable[[Any], bool]] = {
    "--callback": lambda value: isinstance(value, Mapping),
    "--progress": callable,
    "-o": lambda value: True,
}
_PATHS: dict[str, Offers] = {
    "--ca-file": _files,
    "--checkpoint": _files,
    "--root": _folders,
    "--prefix": _prefixes,
}
_NEEDS = {"oss_abort": "A", "oss_parts": "L", "oss_pause": "P", "oss_resume": "R"}
_PLACES: dict[str, tuple[tuple[Offers, ...], ...]] = {
    "oss_connect": ((_buckets,),),
    "oss_upload": ((_files,), (_files, _objects)),
    "oss_pick": ((_object_folders,),),
    "oss_parts": ((_ids,),),
    "oss_abort": ((_ids,),),
    "oss_pause": ((_ids,),),
    "oss_resume": ((_ids,), (_files,)),
    "oss_wait": ((_ids,),),
    "oss_head": ((_objects,),),
    "oss_link": ((_objects,),),
    "oss_verify": ((_files, _objects),),
}
_REPEATS = frozenset({"oss_upload", "oss_wait", "oss_verify"})
