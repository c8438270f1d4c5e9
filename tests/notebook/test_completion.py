"""Tab, through a real kernel's ``complete_request``: what stands in the line afterwards, and how soon."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.config_files import profile_names
from tests.notebook.test_kernel import Kernel, new_kernel

pytestmark = pytest.mark.timeout(150)

JEDI = ("%config Completer.use_jedi = True", "%config Completer.use_jedi = False")
FILES = ("data.bin", "my data.bin", "it's.bin", "cost$5.bin", "br{a}.bin", 'q"q.bin', "-dash.bin", "cert.pem")


@dataclass
class Tab:
    """A kernel to press Tab in."""

    kernel: Kernel
    oss: LocalOSS
    folder: Path

    def __call__(self, typed: str) -> list[str]:
        """Press Tab at the ``|`` of the line (or cell); the lines that choosing each offer would make."""
        line, _, after = typed.partition("|")
        code = line + after
        reply = self.kernel.client.complete(code, len(line), reply=True, timeout=60)["content"]
        assert reply["status"] == "ok"
        start, end = reply["cursor_start"], reply["cursor_end"]
        return [code[:start] + match + code[end:] for match in reply["matches"]]

    def comes_to(self, typed: str, wanted: list[str]) -> list[str]:
        """Press Tab again while offers are missing, as a user would: a server that is late is left out."""
        for _ in range(10):
            if not set(found := self(typed)) < set(wanted):
                break
            time.sleep(0.3)
        return found


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    folder = tmp_path_factory.mktemp("tab")
    for name in FILES:
        (folder / name).write_bytes(os.urandom(120_000))
    (folder / "my folder").mkdir()
    (folder / "my folder" / "in side.bin").write_bytes(b"")
    with LocalOSS(buckets=("demo", "other")) as oss, new_kernel(oss, folder) as kernel:
        done = kernel.run(
            "%oss_upload data.bin year/2026/a.bin -q\n"
            "%oss_upload data.bin 'year/with blank.bin' -q\n"
            "%oss_upload data.bin oss://other/other.bin -q\n"
            "fold, forty, hook, call_me = 'my folder', 40, print, {'callbackUrl': 'x'}"
        )
        assert done["status"] == "ok"
        yield Tab(kernel, oss, folder)


@pytest.mark.parametrize("mode", JEDI, ids=["jedi", "no jedi"])
def test_what_stands_in_the_line_afterwards(tab: Tab, mode: str) -> None:
    assert tab.kernel.run(mode)["status"] == "ok"
    wrong = {
        line: (found, expected)
        for line, expected in TABLE.items()
        if (found := tab.comes_to(line, expected)) != expected
    }
    assert wrong == {}


U = "%oss_upload data.bin "
TABLE = {
    # options and their values
    "%oss_upload a k --pa|": ["%oss_upload a k --parallel", "%oss_upload a k --part-size"],
    "%oss_upload a k --part-size 1MiB --part|": [],  # once is enough
    "%oss_upload a k --meta a=b --me|": ["%oss_upload a k --meta a=b --meta"],
    U + "k --storage-class I|": [U + "k --storage-class IA"],
    U + "k --storage-class=De|": [U + "k --storage-class=DeepColdArchive"],
    U + "k --acl public|": [U + "k --acl public-read", U + "k --acl public-read-write"],
    U + "k --encryption |": [U + f"k --encryption {name}" for name in ("AES256", "KMS", "SM4")],
    U + "k --ui t|": [U + "k --ui text"],
    U + "k --part-size |": [],  # no list of sizes, and none of Python's names either
    "%oss_connect --signature |": ["%oss_connect --signature v1", "%oss_connect --signature v4"],
    "%oss_connect --ca-file ce|": ["%oss_connect --ca-file cert.pem"],
    "%oss_connect --local --root my|": ["%oss_connect --local --root my\\ folder/"],
    U + "k --checkpoint=my\\ fo|": [U + "k --checkpoint=my\\ folder/"],
    "%config OssMagics.ui = 'te|": ["%config OssMagics.ui = 'text'"],
    '%config OssMagics.ui = "n|': ['%config OssMagics.ui = "none"'],
    "%config OssMagics.checkpoint = |": [f"%config OssMagics.checkpoint = {v}" for v in (False, True)],
    "%config OssMagics.ch|": ["%config OssMagics.checkpoint"],
    # variables
    U + "k --callback |": [U + "k --callback call_me"],
    U + "k --progress ho|": [U + "k --progress hook"],
    U + "k -o fo|": [U + "k -o fold", U + "k -o forty"],
    "%oss_upload $fol|": ["%oss_upload $fold"],
    "%oss_upload x/{fo|": ["%oss_upload x/{fold", "%oss_upload x/{forty"],
    "%oss_upload $fold/in|": ["%oss_upload $fold/in\\ side.bin"],
    '%oss_upload "{fold}/in|': ['%oss_upload "{fold}/in side.bin"'],
    "%oss_upload {open(fold)}/in|": [],  # nothing is evaluated for a Tab
    # paths
    "%oss_upload da|": ["%oss_upload data.bin"],
    "%oss_upload my|": ["%oss_upload my\\ data.bin", "%oss_upload my\\ folder/"],
    "%oss_upload my\\ d|": ["%oss_upload my\\ data.bin"],
    "%oss_upload my\\|": ["%oss_upload my\\ data.bin", "%oss_upload my\\ folder/"],
    '%oss_upload "my d|': ['%oss_upload "my data.bin"'],
    "%oss_upload 'my d|": ["%oss_upload 'my data.bin'"],
    '%oss_upload "my d|"': ['%oss_upload "my data.bin"'],  # the page had closed the quote already
    '%oss_upload "my d| oss://demo/': ['%oss_upload "my data.bin" oss://demo/'],
    '%oss_upload "my f|': ['%oss_upload "my folder/'],
    '%oss_upload "my folder/i|': ['%oss_upload "my folder/in side.bin"'],
    "%oss_upload it|": ["%oss_upload it\\'s.bin"],
    "%oss_upload 'it|": ["%oss_upload 'it'\\''s.bin'"],
    "%oss_upload co|": ["%oss_upload cost$$5.bin"],
    "%oss_upload br|": ["%oss_upload br{{a}}.bin"],
    "%oss_upload br{{|": ["%oss_upload br{{a}}.bin"],
    '%oss_upload "q|': ['%oss_upload "q\\"q.bin"'],
    "%oss_upload -- -d|": ["%oss_upload -- -dash.bin"],
    "%oss_upload ./-|": ["%oss_upload ./-dash.bin"],
    "%oss_upload data.bin c|": [U + "cert.pem", U + "cost$$5.bin"],
    "x = %oss_upload da|": ["x = %oss_upload data.bin"],
    "oss_upload da|": ["oss_upload data.bin"],
    "%time %oss_upload da|": ["%time %oss_upload data.bin"],
    "%oss_upload data.bin \\\n  cer|": ["%oss_upload data.bin \\\n  cert.pem"],
    "y = 1\n%oss_upload da|\nz = 2": ["y = 1\n%oss_upload data.bin\nz = 2"],
    "%oss_resume u1 da|": ["%oss_resume u1 data.bin"],
    "%oss_verify cer|": ["%oss_verify cert.pem"],
    # buckets, one level of keys at a time
    U + "os|": [U + "oss://demo/", U + "oss://other/"],
    U + "oss://d|": [U + "oss://demo/"],
    U + "oss://demo/|": [U + "oss://demo/year/"],
    U + "ye|": [U + "year/"],
    U + '"oss://demo/year/w|': [U + '"oss://demo/year/with blank.bin"'],
    "%oss_connect oss://o|": ["%oss_connect oss://other"],
    "%oss_head ye|": ["%oss_head year/"],
    "%oss_head year/|": ["%oss_head year/2026/", "%oss_head year/with\\ blank.bin"],
    "%oss_head oss://other/|": ["%oss_head oss://other/other.bin"],
    "%oss_verify oss://demo/year/2026/|": ["%oss_verify oss://demo/year/2026/a.bin"],
    "%oss_pick oss://demo/|": ["%oss_pick oss://demo/year/"],
    "%oss_pick oss://demo/year/|": ["%oss_pick oss://demo/year/2026/"],
    "%oss_uploads --prefix y|": ["%oss_uploads --prefix year/"],
    "%oss_head nosuch|": [],
}


def test_the_home_folder(tab: Tab) -> None:
    assert tab("%oss_upload ~|") == ["%oss_upload ~/"]
    home = {"%oss_upload ~/" + p.name for p in Path.home().iterdir() if p.name.isidentifier()}
    assert home <= {line.rstrip("/") for line in tab("%oss_upload ~/|")}


def test_uploads_that_run_and_that_are_unfinished(tab: Tab) -> None:
    """By what each magic can do; also those that an earlier kernel left."""
    tab.oss.set_faults([{"operation": "UploadPart", "kind": "stall", "times": None}])  # they run on and on
    kernel = tab.kernel
    done = kernel.run(
        "a = %oss_upload 'my data.bin' slow -b -q\n"
        "b = %oss_upload cert.pem left -b -q\n"
        "import time\n"
        "while not (a.upload_id and b.upload_id): time.sleep(0.02)\n"
        "b.pause()\n"
        "while b.state.value != 'paused': time.sleep(0.02)\n"
        "print('IDs', a.id, b.id, b.upload_id)"
    )
    assert done["status"] == "ok"
    said = next(s["content"]["text"] for s in reversed(kernel.said) if s["msg_type"] == "stream")
    running, paused, upload_id = said.split()[1:]
    try:
        assert tab("%oss_pause |") == [f"%oss_pause {running}"]
        assert tab("%oss_resume |") == [f"%oss_resume {paused}"]
        assert tab("%oss_wait |") == [f"%oss_wait {running}", f"%oss_wait {paused}"]
        assert tab(f"%oss_wait {running} |") == [f"%oss_wait {running} {paused}"]
        assert tab("%oss_abort |") == [f"%oss_abort {running}", f"%oss_abort {paused}"]
        assert tab(f"%oss_parts {upload_id[:5]}|") == [f"%oss_parts {upload_id}"]
        assert kernel.run(
            "b.release()\nfrom ossmp_jupyter.transfer import manager\nmanager.engine().forget(b)"
        )
        assert tab("%oss_resume |") == [f"%oss_resume {upload_id}"]  # by its journal
        assert tab(f"%oss_abort {upload_id[:5]}|") == [f"%oss_abort {upload_id}"]
        assert tab("%oss_pause |") == [f"%oss_pause {running}"]

        begun = "manager.call(lambda oss: oss.init_multipart_upload('elsewhere')).result(20).upload_id"
        reply = kernel.run(f"other = {begun}\n%oss_uploads --ui none\nprint('begun', other)")
        assert reply["status"] == "ok"
        streams = [s["content"]["text"] for s in kernel.said if s["msg_type"] == "stream"]
        other = next(text for text in streams if text.startswith("begun")).split()[1]
        assert f"%oss_parts {other}" in tab("%oss_parts |")  # the bucket was listed a moment ago
    finally:
        tab.oss.set_faults([])
        kernel.run(f"%oss_abort {running}\n%oss_abort {upload_id}\n%oss_abort {{other}}")


def test_python_is_completed_as_ever(tab: Tab) -> None:
    tab.kernel.run(JEDI[0])
    assert "print" in tab("pri|")
    assert "%oss_upload {fold.upper" in tab("%oss_upload {fold.up|")


def test_a_server_that_does_not_answer_holds_nobody_up_and_nothing_is_printed(tab: Tab) -> None:
    tab.kernel.listen()
    before = len(tab.kernel.said)
    for rule in (
        {"operation": "*", "kind": "stall", "times": None},
        {"operation": "*", "kind": "reset", "times": None},
        {"operation": "*", "kind": "error", "status": 403, "code": "AccessDenied", "times": None},
        {"operation": "*", "kind": "html", "times": None},
    ):
        tab.oss.set_faults([rule])
        began = time.monotonic()
        assert tab("%oss_head year/|") == []
        assert tab(U + "oss://|") == [U + "oss://demo/"]  # what is known without asking
        assert time.monotonic() - began < 8, f"Tab waited for {rule['kind']}"
    tab.oss.set_faults([])
    back = ["%oss_head year/2026/"]
    assert tab.comes_to("%oss_head year/2|", back) == back
    tab.kernel.listen()
    loud = [s for s in tab.kernel.said[before:] if s["msg_type"] in ("stream", "error", "display_data")]
    assert loud == []


def test_profiles_of_the_configuration_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert profile_names({}) == []
    (tmp_path / ".ossutilconfig").write_text(
        "[default]\naccessKeyID = x\n[profile Work]\nregion = r\n[buckets b]\nregion = r\n"
        "[Bucket-Endpoint]\nb = e\n"
    )
    (tmp_path / ".aliyun").mkdir()
    (tmp_path / ".aliyun" / "config.json").write_text(
        '{"profiles": [{"name": "night"}, {"name": "default"}]}'
    )
    assert profile_names({}) == ["default", "night", "work"]
    (tmp_path / ".ossutilconfig").write_text("broken")
    assert profile_names({}) == ["default", "night"]
