"""IPython in a terminal: one line per upload, in our own units, whatever the width; Ctrl-C and going on."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from tqdm.utils import disp_len

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.notebook import bars
from ossmp_jupyter.transfer.progress import Progress, State
from tests.notebook.test_kernel import oss
from tests.notebook.test_text import Running

__all__ = ["oss"]

MB = 1 << 20
PROMPT = 3.0  # seconds: one is promised, and two processes and a terminal may stand still for as long
FIGURES = r"\d+\.\d (MiB|KiB)/s"


class Terminal:
    """IPython behind a pseudo terminal."""

    def __init__(self, oss: LocalOSS, folder: Path, columns: int) -> None:
        environment = {**os.environ, **oss.environment(), "OSSMP_STATE_DIR": str(folder / "state")}
        environment |= {"IPYTHONDIR": str(folder / "ipython"), "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
        environment.pop("COLUMNS", None)
        self.process = pexpect.spawn(
            sys.executable, ["-m", "IPython", "--simple-prompt", "--no-banner", "--no-confirm-exit"],
            cwd=str(folder), env=environment, dimensions=(24, columns), timeout=30, encoding="utf-8",
        )  # fmt: skip
        self.count = 0
        self.prompt()

    def prompt(self) -> str:
        """Wait for the next prompt; what was written before it."""
        self.count += 1
        self.process.expect_exact(f"In [{self.count}]: ")
        return self.process.before or ""

    def send(self, line: str) -> None:
        self.process.sendline(line)
        self.process.expect_exact(f"{line}\r\n")  # its echo

    def run(self, line: str) -> str:
        self.send(line)
        return self.prompt()


def screen(said: str, columns: int) -> list[str]:
    """What stands on a terminal after this; nothing but what we know may be in it, and nothing may wrap."""
    rows, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[A|\r|\n|[^\x1b\r\n]+", said):
        if piece == "\x1b[A":
            row -= 1
        elif piece == "\r":
            column = 0
        elif piece == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        else:
            rows[row] = rows[row][:column].ljust(column) + piece + rows[row][column + len(piece) :]
            column += len(piece)
            assert not ("|" in piece and column >= columns), f"{piece!r} wraps at {columns}"
    assert "\x1b" not in said.replace("\x1b[A", ""), said
    return [text.rstrip() for text in rows]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("big.bin", "second-big-file.bin"):
        (tmp_path / name).write_bytes(os.urandom(8 * MB))
    return tmp_path


@pytest.mark.parametrize("columns", [80, 40])
def test_bars_ctrl_c_and_going_on(oss: LocalOSS, folder: Path, columns: int) -> None:
    terminal = Terminal(oss, folder, columns)
    try:
        terminal.run("%load_ext ossmp_jupyter")
        terminal.run("%oss_connect")
        oss.set_bandwidth("2MB/s")
        terminal.send("%oss_upload big.bin big.bin --part-size 256KiB")
        terminal.process.expect(FIGURES)
        pressed = time.monotonic()
        terminal.process.sendintr()
        said = terminal.prompt()
        assert time.monotonic() - pressed < PROMPT
        assert re.search(r"paused big\.bin → oss://demo/big\.bin \(\w+\): .*%oss_resume u1", said)
        assert "Traceback" not in said

        oss.set_bandwidth("4MB/s")  # seconds in which something is drawn, also where a process stands still
        said = terminal.run("%oss_resume u1")
        drawn = [line for line in said.split("\r") if "|" in line]
        assert drawn and {disp_len(line.rstrip("\n")) for line in drawn} == {columns - 1}
        assert any(re.search(FIGURES, line) for line in drawn)
        (receipt,) = filter(None, screen(said, columns))
        assert re.match(r"oss://demo/big\.bin  8\.0 MiB .* verified, ETag \w+-32, ", receipt)

        oss.set_bandwidth("8MB/s")
        said = terminal.run("%oss_upload big.bin second-big-file.bin two/ --part-size 256KiB")
        first, second, total = filter(None, screen(said, columns))
        assert first.startswith("oss://demo/two/big.bin") and second.startswith("oss://demo/two/second-big")
        assert total.startswith("2 uploads done, 16.0 MiB in ")
        during = screen(said[: said.rindex("|")], columns)
        assert sum("|" in line for line in during) == 2, during
    finally:
        terminal.process.close(force=True)


def test_ctrl_c_in_an_await(oss: LocalOSS, folder: Path) -> None:
    terminal = Terminal(oss, folder, 80)
    try:
        terminal.run("%load_ext ossmp_jupyter")
        terminal.run("from ossmp_jupyter import upload, uploads")
        oss.set_bandwidth("2MB/s")
        cell = "r = await upload('big.bin', 'oss://demo/big.bin', part_size='256KiB')"
        terminal.send(cell)
        end = time.monotonic() + 30
        while not sum(len(one["parts"]) for one in oss.snapshot()["uploads"]):
            assert time.monotonic() < end, "no parts arrive"
            time.sleep(0.05)
        pressed = time.monotonic()
        terminal.process.sendintr()
        said = terminal.prompt()
        assert time.monotonic() - pressed < PROMPT
        assert re.search(r"paused big\.bin → oss://demo/big\.bin \(\w+\): .*%oss_resume u1", said), said
        assert "paused" in terminal.run("uploads()[0].state")
        oss.set_bandwidth(None)
        terminal.run(cell)
        assert "True" in terminal.run("r.verified")
    finally:
        terminal.process.close(force=True)


# ---------------------------------------------------------------- the line itself


@pytest.fixture
def width(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    now = [80]
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((now[0], 24)))
    monkeypatch.setattr(bars, "_PACE", 0.0)
    yield now


STATES = [
    Progress(State.QUEUED, total=100 * MB),
    Progress(State.UPLOADING, total=100 * MB, confirmed=37 * MB, speed=1.5 * MB, eta=42.0),
    Progress(State.UPLOADING, total=9999 * MB, confirmed=9998 * MB, speed=1023.9 * MB, eta=100_000.0),
    Progress(State.UPLOADING, total=37 * MB, confirmed=30 * MB, speed=1.5 * MB, size_known=False),
    Progress(State.WAITING, total=100 * MB, confirmed=37 * MB),
    Progress(State.DONE, total=100 * MB, confirmed=100 * MB),
]


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("name", ["a.bin", "数据集二零二六年十一月.parquet", "model-" * 20, "a\x1b[2J\n.bin"])
def test_every_line_fits(
    width: list[int], capsys: pytest.CaptureFixture[str], columns: int, name: str
) -> None:
    width[0] = columns
    drawing, running = bars.TextBars(), Running(name=name)
    for progress in STATES:
        running.progress = progress
        drawing.update([running])  # type: ignore[list-item]
    drawing.close()
    lines = [line for line in capsys.readouterr().out.split("\r") if "|" in line]
    assert len(lines) == len(STATES)
    assert {disp_len(line) for line in lines} == {columns - 1}
    assert ("waiting for credentials" in lines[4]) == (columns >= 80)
    if columns == 80:
        assert "37.0 MiB of 100.0 MiB, 1.5 MiB/s, 42 s left" in lines[1] or len(name) > 5


def test_nothing_is_drawn_twice_and_nothing_is_left(
    width: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(threading.enumerate())
    drawing, upload = bars.TextBars(), Running()
    for _ in range(3):
        drawing.update(upload.at(10))
    drawn = capsys.readouterr().out
    assert drawn.count("a.bin  10 % |") == 1
    drawing.close()
    assert capsys.readouterr().out.strip("\r ") == ""
    assert set(threading.enumerate()) <= before  # those of earlier tests may end meanwhile
