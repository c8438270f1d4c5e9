"""The kernel's side of files from the browser, against a page written in Python that keeps the protocol."""

from __future__ import annotations

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import nbformat
import pytest

from ossmp_jupyter import Upload
from ossmp_jupyter.errors import (
    InputError,
    IntegrityError,
    NoSuchKey,
    ServerError,
    SourceChanged,
    TransportError,
)
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.notebook.browser_direct import CorsMissing, read_answer
from ossmp_jupyter.notebook.browser_files import FilesModel, Pick, PickView
from ossmp_jupyter.notebook.browser_source import BrowserSource
from ossmp_jupyter.notebook.courier import LARGEST, WINDOW, Answer, Courier, PageFile
from ossmp_jupyter.notebook.panel import Hub
from ossmp_jupyter.notebook.picking import _target
from ossmp_jupyter.notebook.rows import row_of
from ossmp_jupyter.oss.checksum import crc64
from ossmp_jupyter.oss.connection import Connection, connect
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.progress import State
from ossmp_jupyter.transfer.request import prepare_request
from tests.kernels import run_notebook

MIB = 1 << 20
DASHBOARD = Path(__file__).parents[2] / "notebooks" / "dashboard.ipynb"


class Page:
    """What browser.js does, with files in memory and faults on demand."""

    def __init__(self, name: str = "p1") -> None:
        self.name = name
        self.files: dict[str, bytes] = {}
        self.asked: list[dict[str, Any]] = []
        self.waiting: list[dict[str, Any]] = []
        self.busy: dict[int, Any] = {}
        self.most = self.largest = self.answered = 0
        self.holds = False
        self.loses: set[int] = set()  # of the questions, by their order
        self.damages: Callable[[int], bool] = lambda n: False
        self.deaf = False
        manager.engine().run(self._make()).result(20)

    async def _make(self) -> None:
        self.courier = Courier(self.take, lambda: None)
        self.courier.quiet_after = 0.2

    def hello(self) -> None:
        self.say({"t": "hello", "origin": "http://page"})

    def say(self, content: dict[str, Any], data: bytes | None = None) -> None:
        view = memoryview(data) if data is not None else None
        message = {"page": self.name, **content}
        manager.engine().loop.call_soon_threadsafe(self.courier.hear, message, view)

    def take(self, message: dict[str, Any]) -> None:
        if self.deaf:
            return
        if message["t"] == "ping" and self.files:
            self.say({"t": "here", "n": message["n"], "busy": list(self.busy)})
        elif message["t"] == "stop":
            for ticket in message["tickets"]:
                self.busy.pop(ticket, None)
        elif message["t"] == "ask" and message["page"] == self.name:
            self.asked.append(message)
            if len(self.asked) in self.loses:
                return
            self.busy[message["ticket"]] = message
            if message["do"] == "slice":
                slices = [m for m in self.busy.values() if m["do"] == "slice"]
                self.most = max(self.most, len(slices))
                self.largest = max(self.largest, message["n"])
            if self.holds:
                self.waiting.append(message)
            else:  # as a browser: not at once
                manager.engine().loop.call_soon_threadsafe(self._answer, message)

    def leave(self) -> None:
        """Be closed: nothing is said after that, as no page does."""

        def now() -> None:
            self.deaf = True
            self.say({"t": "gone"})  # behind an answer that is on its way

        manager.engine().loop.call_soon_threadsafe(now)

    def release(self) -> None:
        self.holds = False
        for message in self.waiting:
            manager.engine().loop.call_soon_threadsafe(self._answer, message)
        self.waiting.clear()

    def _answer(self, message: dict[str, Any]) -> None:
        if self.busy.pop(message["ticket"], None) is None or self.deaf:
            return
        answer: dict[str, Any] = {"t": "answer", "ticket": message["ticket"]}
        if message["file"] not in self.files:
            self.say({**answer, "error": "NotFoundError"})
            return
        data = self.files[message["file"]][message["off"] : message["off"] + message["n"]]
        answer["crc"] = f"{crc64(data):016x}"
        self.answered += 1
        if message["do"] == "slice" and self.damages(self.answered):
            data = b"\x00" + data[1:]
        self.say(answer, data if message["do"] == "slice" else None)

    def file(self, name: str, data: bytes, mtime: int = 1) -> PageFile:
        known = f"{self.name}-{len(self.files)}"
        self.files[known] = data
        return PageFile(self.name, known, name, len(data), mtime)


@pytest.fixture
def connection(oss: LocalOSS, folder: Path) -> Iterator[Connection]:
    made = connect(
        endpoint=oss.endpoint,
        region=oss.region,
        bucket="demo",
        access_key_id=oss.access_key_id,
        access_key_secret=oss.access_key_secret,
    )
    manager.call(lambda client: client.delete("k.bin"), made).result(10)
    oss.journal(clear=True)
    yield made
    for handle in manager.uploads():
        handle.abort().result(10)
        manager.engine().forget(handle)


@pytest.fixture
def page() -> Page:
    page = Page()
    page.hello()
    return page


def begin(page: Page, file: PageFile, connection: Connection, key: str = "k.bin", **options: Any) -> Upload:
    source = BrowserSource(page.courier, file, connection)
    request = prepare_request(connection, source, key, **{"part_size": MIB, "parallel": 4, **options})
    return manager.engine().start(request, None)


def stored(connection: Connection, key: str = "k.bin") -> bytes:
    return manager.call(lambda client: client.get(key), connection).result(20)


def until(true: Callable[[], object], what: str) -> None:
    for _ in range(2000):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError(what)


def test_slices_become_parts(page: Page, connection: Connection) -> None:
    data = os.urandom(9 * MIB + 77)
    handle = begin(page, page.file("a.bin", data), connection, part_size=3 * MIB)
    result = handle.wait(30)
    assert stored(connection) == data
    assert result.verified and result.parts == 4
    assert page.most <= WINDOW and page.largest <= LARGEST


@pytest.mark.parametrize("size", [0, 1, 5000])
def test_small_files_go_by_one_request(page: Page, connection: Connection, size: int) -> None:
    data = os.urandom(size)
    assert begin(page, page.file("s.bin", data), connection).wait(30).size == size
    assert stored(connection) == data


def test_a_damaged_slice_is_asked_for_again(page: Page, connection: Connection) -> None:
    data = os.urandom(3 * MIB)
    page.damages = lambda n: n == 2
    begin(page, page.file("a.bin", data), connection).wait(30)
    assert stored(connection) == data
    assert len(page.asked) == 4


def test_a_line_that_damages_everything_fails_the_upload(page: Page, connection: Connection) -> None:
    page.damages = lambda n: True
    handle = begin(page, page.file("a.bin", os.urandom(MIB)), connection)
    with pytest.raises(IntegrityError, match="arrives damaged"):
        handle.wait(30)


def test_lost_questions_are_asked_again(page: Page, connection: Connection) -> None:
    data = os.urandom(6 * MIB)
    page.loses = {2, 3}
    begin(page, page.file("a.bin", data), connection).wait(30)
    assert stored(connection) == data


def test_no_more_is_asked_for_than_there_is_room(page: Page, connection: Connection) -> None:
    page.courier.room.size = page.courier.room.free = 2 * MIB
    page.holds = True
    handles = [
        begin(page, page.file(f"{i}.bin", os.urandom(4 * MIB)), connection, f"{i}.bin") for i in range(3)
    ]
    until(lambda: len(page.waiting) == 2, "nothing was asked for")
    threading.Event().wait(0.3)
    assert len(page.waiting) == 2
    page.release()
    for handle in handles:
        handle.wait(30)
    until(lambda: page.courier.room.free == 2 * MIB, "room is lost")


def test_slow_pages_get_small_slices(page: Page) -> None:
    file = page.file("a", b"x")

    async def learn(seconds: float, times: int) -> int:
        for _ in range(times):
            page.courier.took(file, page.courier.slice_of(file), seconds)
        return page.courier.slice_of(file)

    run = manager.engine().run
    assert run(learn(9.0, 9)).result(20) == 256 << 10
    assert run(learn(3.0, 9)).result(20) == 256 << 10
    assert run(learn(0.1, 9)).result(20) == LARGEST


def test_pause_stops_asking(page: Page, connection: Connection) -> None:
    page.holds = True
    data = os.urandom(4 * MIB)
    handle = begin(page, page.file("a.bin", data), connection)
    until(lambda: page.waiting, "nothing asked")
    handle.pause()
    until(lambda: handle.state is State.PAUSED and not page.busy, "the page was not told to stop")
    page.waiting.clear()
    page.holds = False
    handle.resume()
    handle.wait(30)
    assert stored(connection) == data


# ---------------------------------------------------------------------- a page that goes away
def interrupted(page: Page, connection: Connection, data: bytes) -> Upload:
    """An upload whose page is gone in the middle."""
    handle = begin(page, page.file("film.mov", data), connection)
    until(lambda: len(handle.checkpoint.parts if handle.checkpoint else ()) >= 3, "no part was sent")
    page.leave()
    until(lambda: row_of(handle).words == "waiting for the file: choose it again", "not told")
    return handle


@pytest.fixture
def half(page: Page, connection: Connection, oss: LocalOSS) -> tuple[Upload, bytes]:
    oss.set_bandwidth("2MB/s")
    data = os.urandom(16 * MIB)  # seconds to go when the page leaves, on slow machines, too
    handle = interrupted(page, connection, data)
    oss.set_bandwidth(None)
    return handle, data


def chosen_again(page: Page, name: str, data: bytes) -> PageFile:
    page.deaf, page.name = False, "p2"
    page.asked.clear()
    page.hello()
    return page.file(name, data)


def test_the_same_file_chosen_again_goes_on(
    half: tuple[Upload, bytes], page: Page, connection: Connection, oss: LocalOSS
) -> None:
    handle, data = half
    source = handle.request.source
    assert isinstance(source, BrowserSource)
    file = chosen_again(page, "film.mov", data)
    assert source.is_same(file) and not source.is_same(page.file("film.mov", data[:-1]))
    source.bind(file)
    manager.engine().loop.call_soon_threadsafe(page.courier.tell)
    handle.wait(30)
    assert stored(connection) == data
    sent = Counter(line["part_number"] for line in oss.journal() if line["operation"] == "UploadPart")
    fetched = {m["off"] for m in page.asked if m["do"] == "slice"}
    assert len(fetched) <= 16 - 3, "what OSS has was fetched again"
    assert sum(sent.values()) <= 16 + 4


def test_another_content_behind_the_same_name_size_and_time_is_not_published(
    half: tuple[Upload, bytes], page: Page, connection: Connection
) -> None:
    handle, data = half
    source = handle.request.source
    assert isinstance(source, BrowserSource)
    source.bind(chosen_again(page, "film.mov", data[::-1]))
    manager.engine().loop.call_soon_threadsafe(page.courier.tell)
    with pytest.raises(SourceChanged, match="changed while it was being uploaded"):
        handle.wait(30)
    with pytest.raises(NoSuchKey):
        stored(connection)


def test_an_edited_file_takes_over_and_keeps_equal_parts(
    half: tuple[Upload, bytes], page: Page, connection: Connection
) -> None:
    handle, data = half
    edited = bytes(MIB) + data[MIB:]
    page_file = chosen_again(page, "film.mov", edited)
    newer = PageFile(page_file.page, page_file.id, page_file.name, page_file.size, 2)
    second = begin(page, newer, connection)
    result = second.wait(30)
    assert stored(connection) == edited
    assert second is not handle and result.parts_kept >= 2
    assert result.upload_id == handle.upload_id


def test_a_silent_page_is_gone_and_may_come_back(page: Page, connection: Connection) -> None:
    page.courier.gone_after = 0.5
    data = os.urandom(2 * MIB)
    file = page.file("a.bin", data)
    page.deaf = True
    handle = begin(page, file, connection)
    until(lambda: "choose it again" in row_of(handle).words, "the silence was not noticed")
    page.deaf = False
    handle.wait(30)  # by itself
    assert stored(connection) == data


def test_a_file_that_the_browser_cannot_read(page: Page, connection: Connection) -> None:
    file = page.file("a.bin", bytes(MIB))
    page.files = {"other": b""}
    with pytest.raises(SourceChanged, match="choose it again"):
        begin(page, file, connection).wait(30)


# ---------------------------------------------------------------------- parts that the browser sends
def direct(content: dict[str, Any], connection: Connection, url: str | None = None) -> Future[Any]:
    where = url or f"{connection.endpoint.canonical}/demo/k.bin?partNumber=1&x-oss-signature=SECRET"
    crc = {"crc": f"{7:016x}", **content}
    return manager.engine().run(read_answer(Answer(crc), where, connection, "http://page"))


def test_answers_to_parts(connection: Connection) -> None:
    sent = direct({"status": 200, "etag": '"9c2d"', "theirs": "7"}, connection).result(30)
    assert (sent.etag, sent.crc64, sent.theirs) == ("9C2D", 7, 7)
    body = "<Error><Code>NoSuchUpload</Code><Message>gone</Message><RequestId>1</RequestId></Error>"
    with pytest.raises(ServerError) as refused:
        direct({"status": 404, "body": body}, connection).result(30)
    assert refused.value.code == "NoSuchUpload"


def test_a_hidden_etag_names_the_rule_to_paste(connection: Connection) -> None:
    with pytest.raises(CorsMissing) as told:
        direct({"status": 200, "etag": None}, connection).result(30)
    text = str(told.value)
    assert "bucket demo does not show the ETag header" in text
    assert "<AllowedOrigin>http://page</AllowedOrigin>" in text
    assert "<ExposeHeader>ETag</ExposeHeader>" in text
    assert "SECRET" not in text


def test_no_answer_where_the_bucket_would_allow_it_may_be_tried_again(connection: Connection) -> None:
    with pytest.raises(TransportError, match="the browser got no answer") as told:
        direct({"net": "Failed to fetch"}, connection).result(30)
    assert told.value.retryable and "SECRET" not in str(told.value)


class NoCors(BaseHTTPRequestHandler):
    """OSS's answer to a preflight that no rule allows."""

    def do_OPTIONS(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_no_answer_for_want_of_a_rule_names_the_rule(connection: Connection) -> None:
    server = HTTPServer(("127.0.0.1", 0), NoCors)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/demo/k?x-oss-signature=SECRET"
        with pytest.raises(CorsMissing, match="no CORS rule that lets pages upload"):
            direct({"net": "Failed to fetch"}, connection, url).result(30)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# ---------------------------------------------------------------------- where files go
FILE = PageFile("p", "p-1", "a b.txt", 1, 1)


@pytest.mark.parametrize(
    ("destination", "address"),
    [
        ("oss://demo/", "oss://demo/a b.txt"),
        ("oss://demo", "oss://demo/a b.txt"),
        ("oss://demo/dir/", "oss://demo/dir/a b.txt"),
        ("dir/", "dir/a b.txt"),
        ("oss://demo/other.txt", "oss://demo/other.txt"),
    ],
)
def test_destinations(destination: str, address: str) -> None:
    assert _target(Pick([FILE], destination), FILE, alone=True) == address


@pytest.mark.parametrize(("destination", "alone"), [("", True), ("oss://demo/one.txt", False)])
def test_destinations_that_cannot_be(destination: str, alone: bool) -> None:
    with pytest.raises(InputError):
        _target(Pick([FILE], destination), FILE, alone=alone)


def test_scripts_stay_small() -> None:
    assert len(Hub._esm) + len(FilesModel._esm) + len(PickView._esm) < 18_000


@pytest.mark.parametrize("local", [True, False], ids=["local", "environment"])
def test_the_dashboard_runs_headless(local: bool, oss: LocalOSS, folder: Path) -> None:
    notebook = nbformat.read(DASHBOARD, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    if not local:
        for name, value in {**oss.environment(), "OSS_BUCKET": "other"}.items():
            os.environ[name] = value
    try:
        run_notebook(notebook, folder)
    finally:
        for name in oss.environment() | {"OSS_BUCKET": ""}:
            os.environ.pop(name, None)
    said = notebook.cells[1].outputs[0]["text"]
    assert ("the embedded OSS" if local else oss.endpoint) in said
    shown = notebook.cells[2].outputs[0]["data"]
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert re.fullmatch(r"no uploads\n.* run %oss_upload FILE\.", shown["text/plain"])
    kept = json.dumps([notebook.metadata.widgets, [cell.get("outputs") for cell in notebook.cells]])
    assert len(kept) < 20_000, f"the saved notebook holds {len(kept)} bytes of ours"
    assert oss.access_key_secret not in kept


def test_a_box_needs_a_page(connected: Any) -> None:
    error = connected.fails("%oss_pick oss://demo/x/")
    assert "no page here" in str(error)
