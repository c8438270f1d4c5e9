"""Progress as text: which lines, how often, and when none."""

from __future__ import annotations

import concurrent.futures as cf
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from ossmp_jupyter.notebook import text
from ossmp_jupyter.transfer.progress import Progress, State


@dataclass
class Running:
    """The little of a handle that a reporter looks at."""

    id: str = "u1"
    name: str = "a.bin"
    progress: Progress = field(default_factory=Progress)
    future: cf.Future[Any] = field(default_factory=cf.Future)

    @property
    def state(self) -> State:
        return self.progress.state

    def at(self, percent: float) -> Any:
        self.progress = Progress(
            State.UPLOADING, total=100 << 20, confirmed=int(percent * (1 << 20)), speed=1e6
        )
        return [self]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    # not the clock of every thread in this process
    monkeypatch.setattr(text, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_lines_at_quarters_and_at_most_one_per_ten_seconds(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    lines, upload = text.Lines(), Running()
    for second in range(100):
        clock[0] = 1000.0 + second
        lines.update(upload.at(second))
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in printed] == [
        "a.bin: 0 %",
        "a.bin: 25 %",
        "a.bin: 50 %",
        "a.bin: 75 %",
    ]


def test_a_fast_upload_prints_little(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    lines, upload = text.Lines(), Running()
    for percent in range(100):
        clock[0] += 0.05
        lines.update(upload.at(percent))
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_many_uploads_share_the_pace(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    lines, uploads = text.Lines(), [Running(f"u{i}", f"{i}.bin") for i in range(20)]
    for second in range(60):
        clock[0] = 1000.0 + second
        for upload in uploads:
            upload.at(second)
        lines.update(uploads)  # type: ignore[arg-type]
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_no_lines_while_somebody_looks_or_may_come(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = False
    lines, upload = text.Lines(lambda: seen, grace=3.0), Running()
    clock[0] = 1002.0
    lines.update(upload.at(30))
    assert capsys.readouterr().out == ""
    seen = True
    clock[0] = 1010.0
    lines.update(upload.at(40))
    assert capsys.readouterr().out == ""
    seen = False
    lines.update(upload.at(50))
    assert "50 %" in capsys.readouterr().out


def test_a_wait_for_credentials_is_said_at_once_and_once(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    lines, upload = text.Lines(grace=3.0), Running()
    why = "the security token has expired; fetch new temporary credentials"
    told = f"a.bin: waiting for credentials: {why}"
    said: list[list[str]] = []
    moments = (
        (1001.0, True),
        (1004.0, False),
        (1005.0, True),
        (1006.0, True),
        (1007.0, False),
        (1008.0, True),
    )
    for now, waits in moments:
        clock[0] = now
        upload.at(10)
        if waits:
            upload.progress = Progress(State.WAITING, total=100, confirmed=10, error=why)
        lines.update([upload])  # type: ignore[list-item]
        said.append(capsys.readouterr().out.splitlines())
    assert said[0] == [], "a page may still say hello"
    assert said[1][0].startswith("a.bin: 10 %")
    assert said[2:] == [[told], [], [], [told]]


def test_states_are_said_in_words() -> None:
    waiting = Progress(State.WAITING, total=10, confirmed=5)
    assert text.progress_line("a", waiting) == "a: waiting for credentials, 50 %, 5 B of 10 B"
