"""What the stock panel shows, as HTML in the clothes of our own panel, whose style sheet it borrows."""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ossmp_jupyter.notebook.rows import Row
from ossmp_jupyter.notebook.scripts import style_text
from ossmp_jupyter.visible import visible

__all__ = [
    "found_html",
    "map_html",
    "parts_html",
    "said_html",
    "style_html",
    "title_html",
    "uploads_html",
]

_HEAD = ("Upload", "State", "Progress", "Speed", "Parts", "Upload ID")
_PARTS = ("Part", "Size", "ETag", "CRC-64")
_LEGEND = {"d": "done", "k": "kept from before", "r": "sent again", "f": "under way", ".": "to do"}


def style_html() -> str:
    """Return the style sheets, for one widget that shows nothing else."""
    return f"<style>{style_text('panel', 'stock')}</style>"


def uploads_html(rows: Sequence[Row], chosen: str | None, more: int = 0) -> str:
    """Write the rows as a table with bars.

    Parameters
    ----------
    rows : sequence of Row
        What to show.
    chosen : str or None
        The ID of the row that the buttons act on.
    more : int
        How many rows there are that are not shown.
    """
    if not rows:
        return _box('<div class="ossmp-empty">No uploads.</div>')
    head = "".join(f'<th scope="col"{_number(i in (3, 4))}>{title}</th>' for i, title in enumerate(_HEAD))
    body = "".join(_row(row, row.id == chosen) for row in rows)
    rest = f'<div class="ossmp-minor">and {more} more</div>' if more else ""
    table = f'<table class="ossmp-uploads" aria-label="Uploads"><thead><tr>{head}</tr></thead>{body}</table>'
    return _wide(_box(table + rest))


def _row(row: Row, chosen: bool) -> str:
    percent = math.floor(row.percent)
    size = f"{percent} %, {row.size}" if "/" in row.size else row.size
    retries = f"{row.retries} retried" if row.retries else ""
    bar = (
        f'<div class="ossmp-bar" role="progressbar" aria-valuenow="{percent}" aria-label="{_safe(row.name)}"'
        f' aria-valuetext="{_safe(size or row.words)}">'
        f'<div style="transform:scaleX({row.percent / 100:.3f})"></div></div>'
    )
    upload = row.upload_id
    short = f"{upload[:8]}…" if len(upload) > 12 else upload
    cells = (
        f'<td class="ossmp-name"><div title="{_safe(row.name)}">{_safe(row.name)}</div>'
        f'<div class="ossmp-minor" title="{_safe(row.address)}">→ {_safe(row.address)}</div></td>',
        f'<td class="ossmp-state">{_safe(row.words)}{_minor(retries)}</td>',
        f"<td>{bar}{_minor(size)}</td>",
        f"<td{_number(True)}>{_safe(row.speed)}{_minor(row.eta and f'{row.eta} left')}</td>",
        f"<td{_number(True)}>{_safe(row.parts)}</td>",
        f'<td title="{_safe(upload)}"><code>{_safe(short)}</code></td>',
    )
    error = f'<tr class="ossmp-below"><td class="ossmp-error" colspan="6">{_safe(row.error)}</td></tr>'
    marks = f'data-id="{_safe(row.id)}" data-state="{_safe(row.state)}" data-upload-id="{_safe(upload)}"'
    selected = ' class="ossmp-selected"' if chosen else ""
    return f"<tbody{selected}><tr {marks}>{''.join(cells)}</tr>{error if row.error else ''}</tbody>"


def title_html(content: Mapping[str, Any]) -> str:
    """Write the head of an upload's details.

    Examples
    --------
    >>> done = {"name": "a", "address": "oss://b/a", "receipt": "2 parts"}
    >>> "%oss_link oss://b/a<" in title_html(done)
    True
    >>> "%oss_link ADDRESS<" in title_html({**done, "address": "oss://b/a b"})
    True
    """
    name, address = _safe(content["name"]), _safe(content["address"])
    if "receipt" in content:
        plain = re.fullmatch(r"[\w./:=+-]+", content["address"])  # others would need quotes
        command = f"%oss_link {address if plain else 'ADDRESS'}"
        link = f"<code>{command}</code> makes a link that works without keys."
        receipt = f'<div class="ossmp-receipt">{_safe(content["receipt"])}</div>'
        return _box(f"<strong>{name}</strong> → {address}{receipt}<div>{link}</div>")
    pages = f", page {content['page'] + 1} of {content['pages']}" if content["pages"] > 1 else ""
    count = content["total"] or "none yet"
    return _box(f"<strong>Parts of {name}: {count}{pages}</strong> → {address}")


def map_html(content: Mapping[str, Any]) -> str:
    """Write which parts are where as one bar, and how fast it goes.

    Examples
    --------
    >>> print(map_html({"map": "d2.1", "pace": "1.0 MiB/s", "facts": "5 s so far"}).count("<i "))
    2
    """
    runs = [(letter, int(count)) for letter, count in re.findall(r"([dkrf.])(\d+)", content["map"])]
    sums: Counter[str] = Counter()
    for letter, count in runs:
        sums[letter] += count
    legend = ", ".join(f"{sums[letter]} {words}" for letter, words in _LEGEND.items() if sums[letter])
    bar = "".join(f'<i data-part-state="{letter}" style="flex:{count}"></i>' for letter, count in runs)
    return _box(
        f'<div class="ossmp-runs" role="img" aria-label="Parts: {legend}">{bar}</div>'
        f'<div class="ossmp-minor">{legend}; {_safe(content["pace"])} now, {_safe(content["facts"])}</div>'
    )


def parts_html(content: Mapping[str, Any]) -> str:
    """Write the table of an upload's parts; nothing where there are none."""
    if not content.get("parts"):
        return ""
    head = "".join(f'<th scope="col"{_number(i != 2)}>{title}</th>' for i, title in enumerate(_PARTS))
    rows = (
        f"<tr><td{_number(True)}>{_safe(part)}</td><td{_number(True)}>{_safe(size)}</td>"
        f"<td><code>{_safe(etag)}</code></td><td{_number(True)}>{_safe(crc)}</td></tr>"
        for part, size, etag, crc in content["parts"]
    )
    table = f'<table class="ossmp-parts"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return _wide(_box(f'<div class="ossmp-scroll">{table}</div>'))


def found_html(content: Mapping[str, Any]) -> str:
    """Write what cleaning up would abort."""
    more = [f"and {content['more']} more"] if content.get("more") else []
    lines = "".join(f"<li>{_safe(line)}</li>" for line in [*content.get("lines", ()), *more])
    return _box(f"{_safe(content['text'])}<ul>{lines}</ul>" if lines else _safe(content["text"]))


def said_html(text: str, *, bad: bool = False) -> str:
    """Write a sentence for the status line, or a question."""
    warning = " ossmp-bad" if bad else ""
    return _box(f'<div class="ossmp-status{warning}" role="status">{_safe(text)}</div>')


def _box(inner: str) -> str:
    return f'<div class="ossmp-panel ossmp-stock">{inner}</div>'


def _wide(inner: str) -> str:
    """What looks otherwise in narrow columns."""
    return f'<div class="ossmp-width">{inner}</div>'


def _safe(text: object) -> str:
    return html.escape(visible(str(text)))


def _minor(text: str) -> str:
    return f'<div class="ossmp-minor">{_safe(text)}</div>' if text else ""


def _number(is_one: bool) -> str:
    return ' class="ossmp-number"' if is_one else ""
