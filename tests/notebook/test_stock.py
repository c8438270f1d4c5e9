"""The panel of stock widgets by itself; tests/browser/test_hub.py clicks on it in real front ends."""

from __future__ import annotations

import dataclasses
from typing import Any

import ipywidgets
import pytest

from ossmp_jupyter.notebook import stock_html
from ossmp_jupyter.notebook.rows import Row
from ossmp_jupyter.notebook.stock import StockPanel

HOSTILE = "\"><script>'\x1b[31m</b>"


def row(i: int, can: str = "ALP") -> Row:
    name, state = f"{i}.bin", "uploading"
    return Row(f"u{i}", f"{i:032X}", name, f"oss://b/{name}", state, state, i % 100, "1 / 2", can=can)


@pytest.fixture
def rows() -> list[Row]:
    return [row(1), row(2)]


@pytest.fixture
def acts() -> list[tuple[Any, ...]]:
    return []


@pytest.fixture
def panel(rows: list[Row], acts: list[tuple[Any, ...]]) -> StockPanel:
    return StockPanel(lambda: list(rows), lambda _, *act: acts.append(act))


def click(panel: StockPanel, text: str) -> None:
    shown = [one for one in _tree(panel.widget) if getattr(one, "description", "") == text]
    assert len(shown) == 1, text
    shown[0].click()


def _tree(widget: Any) -> list[Any]:
    return [widget, *(deep for child in getattr(widget, "children", ()) for deep in _tree(child))]


def visible(panel: StockPanel, text: str) -> bool:
    def seen(widget: Any) -> bool:
        if widget.layout.display == "none":
            return False
        here = getattr(widget, "description", "") == text or text in str(getattr(widget, "value", ""))
        return here or any(seen(child) for child in getattr(widget, "children", ()))

    return seen(panel.widget)


def test_nothing_that_others_wrote_is_markup() -> None:
    named = {field.name: HOSTILE for field in dataclasses.fields(Row) if field.type == "str"}
    given = {"name": HOSTILE, "address": HOSTILE, "text": HOSTILE, "lines": [HOSTILE], "map": "d1" + HOSTILE}
    shown = [
        stock_html.uploads_html([Row(**named, percent=1.0)], HOSTILE),
        stock_html.title_html({**given, "total": 1, "pages": 1}),
        stock_html.title_html({**given, "receipt": HOSTILE}),
        stock_html.map_html({**given, "pace": HOSTILE, "facts": HOSTILE}),
        stock_html.parts_html({"parts": [[HOSTILE] * 4]}),
        stock_html.found_html(given),
        stock_html.said_html(HOSTILE),
    ]
    assert len(named) >= 10
    for text in shown:
        assert "<script" not in text and "\x1b" not in text, text
        assert "&lt;script&gt;" in text


def test_a_question_stays_as_long_as_its_upload_can_be_aborted(
    panel: StockPanel, rows: list[Row], acts: list[tuple[Any, ...]]
) -> None:
    click(panel, "Abort")
    assert visible(panel, "Abort 1.bin and delete what was sent?") and visible(panel, "Yes, abort")
    rows.insert(0, row(3))
    panel.refresh()
    assert visible(panel, "Yes, abort"), "a new upload took the question away"
    rows[1] = row(1, can="D")
    panel.refresh()
    assert not visible(panel, "Yes, abort"), "it is published"
    rows[1] = row(1)
    click(panel, "Abort")
    click(panel, "Yes, abort")
    assert acts == [("abort", "u1", 0, "")]
    assert not visible(panel, "Yes, abort")


def test_many_uploads_cost_little_and_the_chosen_one_is_shown(panel: StockPanel, rows: list[Row]) -> None:
    rows[:] = [row(i) for i in range(200)]
    panel.refresh()
    assert visible(panel, "and 150 more")
    panel._choice.value = "u180"
    assert visible(panel, 'data-id="u180"') and visible(panel, "and 149 more")
    table = panel._table
    table.observe(lambda change: pytest.fail("drawn again, and nothing has changed"), "value")
    panel.refresh()


def test_it_leaves_no_models(rows: list[Row]) -> None:
    before = set(ipywidgets.widgets.widget._instances)
    panel = StockPanel(lambda: rows, lambda *_: None)
    assert len(set(ipywidgets.widgets.widget._instances) - before) > 50
    panel.close()
    assert set(ipywidgets.widgets.widget._instances) == before
