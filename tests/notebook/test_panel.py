"""The panel without a browser: what it sends, when, and what a saved notebook keeps of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from tqdm.utils import disp_len

from ossmp_jupyter.notebook import panel as panel_module
from ossmp_jupyter.notebook.panel import Hub, Panel
from ossmp_jupyter.notebook.rows import Row, html_table, row_of, row_of_unfinished, text_table
from ossmp_jupyter.notebook.unfinished import Unfinished
from ossmp_jupyter.transfer.progress import Progress, State


def row(identity: str, percent: float = 0.0, state: str = "uploading", **more: Any) -> Row:
    return Row(
        id=identity, upload_id="ID" + identity, name=f"{identity}.bin", address=f"oss://b/{identity}",
        state=state, words=state, percent=percent, size="1 / 2", can=more.pop("can", "ALP"), **more,
    )  # fmt: skip


class Stage:
    """A panel whose rows the test decides, and the messages it sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[tuple[float, dict[str, Any]]] = []
        self.rows: list[Row] = []
        self.acted: list[tuple[str, str, int]] = []
        self.rested = self.looks = 0
        monkeypatch.setattr(Hub, "send", lambda _, content: self.sent.append((time.monotonic(), content)))
        self.panel = Panel(self._look, self._act, hz=10, at_rest=self._rest)

    def _look(self) -> list[Row]:
        self.looks += 1
        return list(self.rows)

    def _act(self, panel: Panel, verb: str, upload: str, page: int, file: str) -> None:
        if verb == "explode":
            raise ValueError("it exploded")
        self.acted.append((verb, upload, page))

    def _rest(self) -> None:
        self.rested += 1

    def messages(self, kind: str = "rows") -> list[dict[str, Any]]:
        return [content for _, content in list(self.sent) if content["t"] == kind]

    def until(self, true: Callable[[], object], what: str) -> None:
        end = time.monotonic() + 30
        while not true():
            assert time.monotonic() < end, what
            time.sleep(0.01)

    def click(self, **content: Any) -> None:
        self.panel.hub._handle_custom_msg(content, [])


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage(monkeypatch)
    yield stage
    stage.panel.close()


def test_only_changed_rows_travel(stage: Stage) -> None:
    stage.rows = [row("u2"), row("u1")]
    stage.panel.start()
    stage.until(stage.messages, "nothing sent")
    first = stage.messages()[0]
    assert first["order"] == ["u2", "u1"]
    assert [r["id"] for r in first["rows"]] == ["u2", "u1"]
    stage.rows = [row("u2", 50.0), row("u1")]
    # before the change there may have been a heartbeat
    changes = lambda: [message for message in stage.messages()[1:] if message["rows"]]  # noqa: E731
    stage.until(changes, "the change was not sent")
    second = changes()[0]
    assert [r["id"] for r in second["rows"]] == ["u2"]
    assert "order" not in second


def test_twenty_uploads_make_one_message_per_tick(stage: Stage) -> None:
    start = time.monotonic()
    stage.panel.start()
    for step in range(100):
        stage.rows = [row(f"u{i}", float(step)) for i in range(20)]
        time.sleep(0.01)
    sent = len(stage.messages())
    ticks = (time.monotonic() - start) * 10
    assert 3 <= sent <= ticks + 2


def test_a_heartbeat_while_nothing_changes(stage: Stage) -> None:
    stage.rows = [row("u1")]
    began = time.monotonic()  # the first message's own time would be later than the tick that made it
    stage.panel.start()
    stage.until(lambda: len(stage.messages()) >= 2, "no heartbeat")
    assert stage.messages()[1]["rows"] == []
    assert stage.messages()[1]["active"]
    assert stage.sent[1][0] - began >= 1.9


def test_at_rest_nothing_is_sent_and_the_last_state_is_kept(stage: Stage) -> None:
    stage.rows = [row("u1")]
    stage.panel.start()
    stage.until(stage.messages, "nothing sent")
    stage.rows = [row("u1", 100.0, "done", can="")]
    stage.until(lambda: stage.rested, "not at rest")
    assert stage.panel.hub.rows[0]["state"] == "done"
    count = len(stage.messages())
    assert not stage.messages()[-1]["active"]
    time.sleep(2.5)
    assert len(stage.messages()) == count


def test_hello_brings_everything(stage: Stage) -> None:
    stage.rows = [row("u1", 100.0, "done", can="")]
    stage.panel.start()
    stage.until(stage.messages, "nothing sent")
    assert not stage.panel.seen.is_set()
    stage.click(t="hello", page="p", hidden=False)
    assert stage.panel.seen.is_set()
    stage.until(lambda: len(stage.messages()) == 2, "no answer to hello")
    assert [r["id"] for r in stage.messages()[1]["rows"]] == ["u1"]
    assert stage.messages()[1]["order"] == ["u1"]
    assert [m["n"] for m in stage.messages()] == [1, 2], "a page could not see that it missed one"


def test_what_changes_at_rest_is_kept_too(stage: Stage) -> None:
    stage.rows = [row("u1", 50.0, "paused", can="AR")]
    stage.panel.start()
    stage.until(stage.messages, "nothing sent")
    stage.rows = [row("u1", 50.0, "aborted", can="")]
    stage.until(lambda: len(stage.messages()) == 2, "the change was not sent")
    stage.until(lambda: stage.panel.hub.rows[0]["state"] == "aborted", "the file would still say paused")


def test_one_page_that_looks_is_enough_for_the_full_pace(stage: Stage) -> None:
    def pace() -> tuple[int, float]:
        """Messages while every look finds something new, and the seconds it took."""
        began, before = time.monotonic(), len(stage.messages())
        while (passed := time.monotonic() - began) < 1.5:
            stage.rows = [row("u1", passed)]
            time.sleep(0.01)
        told = len(stage.messages()) - before
        return told, time.monotonic() - began

    def quick() -> bool:
        """Whether it is told ten times a second; a process that stood still meanwhile may try again."""
        return pace()[0] >= 4

    stage.rows = [row("u1")]
    stage.panel.start()
    for page in ("one", "two"):
        stage.click(t="hello", page=page, hidden=False)
    stage.click(t="hidden", page="one", hidden=True)
    stage.until(quick, "a hidden page slows the other one down")
    stage.click(t="hidden", page="two", hidden=True)
    told, seconds = pace()
    assert told <= seconds + 2, "nobody looks, and the panel talks as before"
    stage.click(t="hello", page="three", hidden=False)
    stage.until(quick, "a new page is told as little as a hidden one")


def test_clicks_reach_the_engine_and_errors_the_status_line(stage: Stage) -> None:
    stage.panel.start()
    stage.click(t="do", do="parts", id="u1", page=2)
    assert stage.acted == [("parts", "u1", 2)]
    stage.click(t="do", do="explode", id="u1")
    stage.click(t="do", do="parts", id="u1", page="many")
    stage.click(t="unheard of")
    stage.click(t=None)
    stage.until(lambda: len(stage.messages("say")) == 2, "the error was lost")
    assert all(said["bad"] for said in stage.messages("say"))
    assert stage.messages("say")[0]["text"] == "it exploded"


def test_a_click_is_followed_by_quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.rows = [row("u1")]
    panel = Panel(stage._look, lambda *_: None, hz=0.01)  # nothing but the click makes it look
    panel.start()
    try:
        stage.until(lambda: stage.looks == 2, "it does not look at once")  # its own, and that of the start
        panel.hub._handle_custom_msg({"t": "do", "do": "pause", "id": "u1"}, [])
        stage.until(lambda: stage.looks >= 5, "the effect would be seen at the next tick only")
    finally:
        panel.close()
        stage.panel.close()


def test_a_broken_tick_does_not_end_the_panel(stage: Stage) -> None:
    stage.rows = None  # type: ignore[assignment]
    stage.panel.start()
    stage.until(lambda: stage.looks, "no tick was broken")
    stage.rows = [row("u1")]
    stage.until(stage.messages, "the ticker died")


def test_views_show_their_rows_and_share_one_script(stage: Stage) -> None:
    stage.rows = [row("u2"), row("u1")]
    one, everything = stage.panel.view(["u1"]), stage.panel.view()
    assert [r.id for r in one.shown()] == ["u1"]
    assert [r.id for r in everything.shown()] == ["u2", "u1"]
    data, _ = one._repr_mimebundle_() or ({}, {})
    assert data["text/plain"] == text_table([row("u1")])
    assert data["text/html"] == html_table([row("u1")])
    assert "application/vnd.jupyter.widget-view+json" in data
    # a saved notebook carries the script once, and each view
    assert len(Hub._esm) < 8000
    assert len(str(one.get_state())) < 1500


def test_closing_ends_the_thread(stage: Stage) -> None:
    stage.panel.start()
    thread = stage.panel._thread
    assert thread is not None
    stage.panel.close()
    thread.join(20)
    assert not thread.is_alive()
    stage.panel.start()  # a late answer of the engine must not bring it back
    assert stage.panel._thread is thread


# ---------------------------------------------------------------------- the static tables
def test_foreign_names_are_escaped_in_html() -> None:
    evil = Row("u1", "", "<img src=x onerror=alert(1)>", "oss://b/<script>", "failed", "failed", 0.0, "1 B",
               error="<b>bold</b>")  # fmt: skip
    shown = html_table([evil])
    for tag in ("<img", "<script", "<b>"):
        assert tag not in shown
    assert "&lt;script&gt;" in shown


def test_columns_of_the_text_table_stand_below_each_other() -> None:
    long = row("u1", state="failed", error="e" * 300, retries=3)
    wide = Row(
        id="u2", upload_id="IDu2", name="数据集.csv", address="oss://b/数据", state="uploading",
        words="uploading", percent=1.0, size="1 B / 2 B", parts="1/2", retries=1,
    )  # fmt: skip
    head, first, second = text_table([long, wide]).splitlines()
    assert head.split("  ")[-1] == "State" and first.endswith("e" * 300)
    assert "   3 retried  " in first and "  1/2, 1 retried  " in second
    place = [disp_len(line[: line.index(word)]) for line, word in zip((head, first, second),
             ("Upload ID", "IDu1", "IDu2"), strict=True)]  # fmt: skip
    assert len(set(place)) == 1, place


def test_tables_without_uploads() -> None:
    assert text_table([]) == "no uploads"
    assert "no uploads" in html_table([])


@pytest.mark.parametrize("state", [State.COMPLETING, State.VERIFYING, State.FAILED, State.DONE])
def test_only_what_is_verified_is_at_100_percent(state: State) -> None:
    """In the message to the page, in tables, and of what earlier runs left with all its parts."""
    handle = SimpleNamespace(
        id="u1", upload_id="ID1", name="a.bin", address="oss://b/a", result=None, error=None,
        request=SimpleNamespace(source=None), progress=Progress(state, total=10**9, confirmed=10**9),
    )  # fmt: skip
    left = Unfinished("ID", "b", "k", source="s", size=10**9, confirmed=10**9)
    for shown in (row_of(handle), row_of_unfinished(left)):  # type: ignore[arg-type]
        told = "100 %" if state is State.DONE and shown.id == handle.id else "99 %"
        assert (shown.percent == 100.0) == (told == "100 %")
        assert told in text_table([shown]) and ("100 %" in text_table([shown])) == (told == "100 %")


@pytest.mark.parametrize("deaf", [False, True])
def test_a_page_that_is_gone_is_told_little(monkeypatch: pytest.MonkeyPatch, deaf: bool) -> None:
    """The Jupyter server keeps all of it, and drops the last of some thousands when the page is back."""
    clock = [1000.0]
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(panel_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(Hub, "send", lambda _, content: sent.append(content))
    monkeypatch.setattr(Panel, "start", lambda _: None)  # the test ticks
    panel = Panel(list, lambda *_: None, deaf=lambda: deaf)

    def told(seconds: int, state: str = "uploading") -> int:
        sent.clear()
        for _ in range(5 * seconds):
            clock[0] += 0.2
            panel.tick([row("u1", clock[0], state, can="" if state == "done" else "AP")])
            panel._flush()
        return len(sent)

    def word(kind: str) -> None:
        panel.hub._handle_custom_msg({"t": kind, "page": "one"}, [])

    try:
        word("hello")
        assert told(29) == 5 * 29
        word("here")
        assert told(29) == 5 * 29, "a page that says that it is there is not believed"
        told(2)
        # other code may block the kernel, and the page speaks unheard: its panel has to move
        assert told(60) == pytest.approx(30 if deaf else 2, abs=1)
        word("hello")
        assert told(1) == 5 and "order" in sent[0], "a page that is back waits"
        told(32)
        assert told(1, "done") == 1, "the end is told late"
    finally:
        panel.close()
