"""Bad input: one clear sentence in the cell, nothing left behind on the server or on disk."""

from __future__ import annotations

import http.server
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.error import UsageError

from ossmp_jupyter import errors
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.transfer import manager
from tests.notebook.conftest import Shell

LOCAL = [
    ("%oss_upload nosuch.bin k", errors.SourceNotReadable, ["nosuch.bin"]),
    ("%oss_upload . k", errors.SourceNotReadable, ["directory"]),
    ("%oss_upload a.bin oss://Bad_Bucket/k", errors.InputError, ["Bad_Bucket", "3 to 63"]),
    ("%oss_upload a.bin oss://demo//lead", errors.InputError, ["/lead"]),
    ("%oss_upload a.bin 'oss://demo/" + "k" * 1024 + "'", errors.InputError, ["1023"]),
    ("%oss_upload a.bin k --part-size 99KiB", errors.InputError, ["100 KiB"]),
    ("%oss_upload a.bin k --part-size 6GiB", errors.InputError, ["5 G"]),
    ("%oss_upload a.bin k --part-size much", errors.InputError, ["part size", "much", "8MiB"]),
    ("%oss_upload a.bin k --partsize 1MiB", UsageError, ["--partsize", "--part-size"]),
    ("%oss_upload a.bin k --parallel 0", errors.InputError, ["parallel", "0"]),
    ("%oss_upload a.bin", errors.InputError, ["destination"]),
    ("%oss_upload", errors.InputError, ["source", "destination"]),
    ("%oss_upload a.bin b.bin key", errors.InputError, ["ends in /", "'key'"]),
    ("%oss_upload a.bin nosuch.bin dir/", errors.SourceNotReadable, ["nosuch.bin"]),
    ("%oss_upload a.bin k --meta novalue", errors.InputError, ["--meta", "novalue", "K=V"]),
    ("%oss_upload a.bin k --header novalue", errors.InputError, ["--header", "novalue"]),
    ("%oss_upload a.bin k --callback nobody", errors.InputError, ["nobody", "no such variable"]),
    ("%oss_upload a.bin k --callback number", errors.InputError, ["number", "type int", "a dict"]),
    ("%oss_upload a.bin k --progress number", errors.InputError, ["number", "not a function"]),
    ("%oss_upload a.bin k --callback {1}", errors.InputError, ["'1'", "variable's name"]),
    ("%oss_upload a.bin k -o 1x", errors.InputError, ["1x"]),
    ("%oss_upload a.bin k --checkpoint c --no-checkpoint", errors.InputError, ["exclude each other"]),
    ("%oss_upload a.bin k --storage-class Gold", errors.InputError, ["Gold"]),
    ("%oss_upload a.bin k --acl everybody", errors.InputError, ["everybody"]),
    ("%oss_upload a.bin k --timeout -1", errors.InputError, ["-1"]),
    ("%oss_upload {nobody} k", UsageError, ["nobody"]),
    ("%oss_upload 'a.bin k", UsageError, ["quotation", "put quotes around"]),
    ("%oss_upload https://example.com/a.bin k", errors.InputError, ["is an address", "save it as a file"]),
    ("%oss_abort nosuch", errors.InputError, ["'nosuch'", "%oss_uploads"]),
    ("%oss_pause nosuch", errors.InputError, ["'nosuch'"]),
    ("%oss_resume nosuch", errors.InputError, ["'nosuch'"]),
    ("%oss_parts nosuch", errors.InputError, ["'nosuch'"]),
    ("%oss_wait nosuch", errors.InputError, ["'nosuch'"]),
    ("%oss_abort", UsageError, ["ID"]),
    ("%oss_head nosuch", errors.NoSuchKey, ["nosuch"]),
    ("%oss_upload '' k", errors.InputError, ["the path is empty"]),
    ("%oss_upload a.bin ''", errors.InputError, ["target is empty", "oss://bucket/key"]),
    ("%oss_upload a.bin s3://demo/k", errors.InputError, ["s3://", "oss://bucket/key"]),
    ("%oss_upload a.bin https://demo.example.com/k", errors.InputError, ["https://", "oss://bucket/key"]),
    ("%oss_upload a.bin {broken}", errors.InputError, ["line break", "strip()"]),
    ("%oss_upload a.bin oss:///k", errors.InputError, ["bucket name"]),
    ("%oss_upload /dev/null k", errors.SourceNotReadable, ["not a regular file"]),
    ("%oss_upload pipe k", errors.SourceNotReadable, ["not a regular file", "save its content"]),
    ("%oss_upload a.bin k --part-size 0", errors.InputError, ["0 bytes", "100 KiB"]),
    ("%oss_upload a.bin k --part-size 10KB", errors.InputError, ["10,000 bytes", "100 KiB"]),
    ("%oss_upload a.bin k --part-size 1x", errors.InputError, ["'1x'", "8MiB"]),
    ("%oss_upload a.bin k --parallel 1000", errors.InputError, ["1000", "1 to 64"]),
    ("%oss_upload a.bin k --parallel two", errors.InputError, ["'two'", "1 to 64"]),
    ("%oss_upload a.bin k --timeout long", errors.InputError, ["'long'", "seconds"]),
    ("%oss_upload a.bin k --traffic-limit slow", errors.InputError, ["'slow'", "bits per second"]),
    ("%oss_upload a.bin k --meta own_er=me", errors.InputError, ["'own_er'", "hyphens"]),
    ("%oss_upload a.bin k --meta 数据=me", errors.InputError, ["'数据'", "letters"]),
    ("%oss_upload a.bin k --mime nonsense", errors.InputError, ["'nonsense'", "text/csv"]),
    ("%oss_upload a.bin k --header 'X-Odd: 1'", errors.InputError, ["'X-Odd'", "meta"]),
    ("%oss_upload a.bin k --encryption ROT13", errors.InputError, ["'ROT13'", "AES256"]),
    ("%oss_upload a.bin k --kms-key-id x", errors.InputError, ["KMS"]),
    ("%oss_upload a.bin k --tag a", errors.InputError, ["--tag", "K=V"]),
    ("%oss_upload a.bin k --callback nothing", errors.InputError, ["callback has no url"]),
    ("%oss_upload a.bin k -x", UsageError, ["unknown option -x", "shows all options"]),
    ("%oss_upload a.bin {nothing_at_all} k", UsageError, ["nothing_at_all"]),
    ("%oss_verify nosuch", errors.InputError, ["no receipt", "%oss_verify FILE"]),
    ("%oss_verify nosuch.ipynb", errors.InputError, ["no notebook nosuch.ipynb", "working directory"]),
    ("%oss_uploads --abort-older soon", errors.InputError, ["'soon'", "7d"]),
    ("%oss_uploads --yes", errors.InputError, ["--abort-older"]),
    ("%oss_head", UsageError, ["KEY"]),
    ("%oss_pick", errors.InputError, ["no page", "%oss_upload FILE"]),
    ("%oss_connect oss://Bad_Bucket", errors.InputError, ["Bad_Bucket", "3 to 63"]),
    ("%oss_connect --region 'cn hangzhou'", errors.InputError, ["'cn hangzhou'", "cn-hangzhou"]),
    ("%oss_connect --endpoint http://host/path", errors.InputError, ["path", "scheme and host"]),
    ("%oss_connect --endpoint ftp://host", errors.InputError, ["'ftp'", "https"]),
    (
        "%oss_connect --region cn-beijing --endpoint oss-cn-hangzhou.aliyuncs.com",
        errors.InputError,
        ["agree"],
    ),
    ("%oss_connect --endpoint b.oss-cn-hangzhou.aliyuncs.com", errors.InputError, ["b as the bucket"]),
    ("%oss_connect --ca-file a.bin", errors.InputError, ["holds no certificate", "PEM"]),
    ("%oss_connect --ca-file nosuch.pem", errors.InputError, ["nosuch.pem", "PEM"]),
    ("%oss_connect --signature v5", UsageError, ["v5", "v4"]),
    ("%oss_connect --internal --accelerate", UsageError, ["not allowed with"]),
    ("%oss_connect --endpoint 127.0.0.1 --cname --path-style", errors.InputError, ["exclude each other"]),
    ("%oss_connect demo extra", UsageError, ["'extra'"]),
    ("%oss_connect oss://demo/key", errors.InputError, ["names an object"]),
    ("%oss_connect oss:/demo", errors.InputError, ["'oss:/demo'", "write oss://demo"]),
    ("%oss_connect --local --bandwidth 20", errors.InputError, ["20 is less than 1 KiB/s", "20MB/s"]),
    ("%oss_connect --root somewhere", errors.InputError, ["--local"]),
    ("%oss_connect --local --region r", errors.InputError, ["exclude each other"]),
]


@pytest.mark.parametrize(("cell", "kind", "words"), LOCAL, ids=[cell[:60] for cell, _, _ in LOCAL])
def test_what_can_be_known_here(
    connected: Shell, oss: LocalOSS, folder: Path, cell: str, kind: type[Exception], words: list[str]
) -> None:
    (folder / "a.bin").write_bytes(os.urandom(200_000))
    (folder / "b.bin").write_bytes(os.urandom(200_000))
    os.mkfifo(folder / "pipe")
    connected.ip.user_ns.update(number=7, nothing={}, broken="name\n")
    before = oss.snapshot()
    error = connected.fails(cell)
    assert isinstance(error, kind), repr(error)
    said = connected.text()
    assert all(word in str(error) for word in words), str(error)
    assert error.args[0] in said
    assert len(said.splitlines()) <= 5, said
    assert "Traceback" not in said
    assert oss.snapshot() == before
    assert not list((folder.parent / "state").rglob("*.jsonl"))
    assert [handle for handle in manager.uploads() if not handle.future.done()] == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(connected: Shell, folder: Path) -> None:
    (folder / "secret.bin").write_bytes(b"x")
    (folder / "secret.bin").chmod(0)
    assert isinstance(connected.fails("%oss_upload secret.bin k"), errors.SourceNotReadable)


def test_no_such_bucket(connected: Shell, oss: LocalOSS, folder: Path) -> None:
    (folder / "a.bin").write_bytes(os.urandom(200_000))
    error = connected.fails("%oss_upload a.bin oss://never-made/k")
    assert isinstance(error, errors.NoSuchBucket)
    assert "never-made" in str(error)
    assert oss.snapshot()["uploads"] == []


def test_several_beginnings_of_one_id(connected: Shell, folder: Path) -> None:
    (folder / "a.bin").write_bytes(os.urandom(1000))
    connected.run("%oss_upload a.bin one -q\n%oss_upload a.bin two -q")
    error = connected.fails("%oss_parts u")
    assert isinstance(error, errors.InputError)
    assert "'u' is the beginning of" in str(error) and "give more of the ID" in str(error)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("AccessDenied", errors.AccessDenied, ["InitiateMultipartUpload", "oss://demo/k", "permission"]),
        ("UserDisable", errors.ServerError, ["UserDisable"]),
        ("InvalidBucketName", errors.ServerError, ["InvalidBucketName"]),
    ],
)
def test_what_the_service_refuses(
    connected: Shell, oss: LocalOSS, folder: Path, code: str, kind: type[Exception], words: list[str]
) -> None:
    (folder / "a.bin").write_bytes(os.urandom(200_000))
    oss.set_faults([{"operation": "InitiateMultipartUpload", "kind": "error", "status": 403, "code": code,
                     "times": None}])  # fmt: skip
    error = connected.fails("%oss_upload a.bin k --ui none")
    assert isinstance(error, kind), repr(error)
    assert all(word in str(error) for word in words), str(error)
    said = connected.text()
    assert "request ID" in said and len(said.splitlines()) <= 3, said


def test_wrong_keys(shell: Shell, oss: LocalOSS, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.bin").write_bytes(os.urandom(200_000))
    for name, value in oss.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "a-secret-that-is-wrong")
    shell.run("%oss_connect oss://demo")
    error = shell.fails("%oss_upload a.bin k")
    assert isinstance(error, errors.AccessDenied)
    assert error.request_id
    said = shell.text()
    assert error.request_id in said
    assert "a-secret-that-is-wrong" not in said
    assert oss.snapshot()["uploads"] == []


def test_no_keys_at_all(shell: Shell) -> None:
    error = shell.fails("%oss_connect oss://demo --region cn-hangzhou")
    assert isinstance(error, errors.CredentialsError)
    assert "OSS_ACCESS_KEY_ID" in str(error)
    assert manager.default_connection() is None


def test_not_connected(shell: Shell, folder: Path) -> None:
    (folder / "a.bin").write_bytes(b"x")
    error = shell.fails("%oss_upload a.bin oss://demo/k")
    assert isinstance(error, errors.InputError)
    assert "%oss_connect" in str(error)


def test_a_server_that_is_down(shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.bin").write_bytes(os.urandom(200_000))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("OSS_ACCESS_KEY_ID", "id")
        monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "secret")
        shell.run(f"%oss_connect oss://demo --endpoint {address} --region cn-hangzhou")
        error = shell.fails("%oss_upload a.bin k")
    assert isinstance(error, errors.TransportError)
    assert "127.0.0.1" in str(error)


class _Portal(http.server.BaseHTTPRequestHandler):
    """A captive portal: HTML with status 200, whatever one asks."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        page = b"<html><body>Please log in</body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    do_POST = do_PUT = do_GET = _answer

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def portal() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Portal) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_an_endpoint_that_is_not_oss(
    shell: Shell, folder: Path, portal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.bin").write_bytes(os.urandom(200_000))
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "secret")
    shell.run(f"%oss_connect oss://demo --endpoint {portal} --region cn-hangzhou")
    error = shell.fails("%oss_upload a.bin k")
    assert isinstance(error, errors.NotOSS)
    assert "127.0.0.1" in str(error)


def test_errors_of_python_calls_show_the_users_lines_alone(
    connected: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "helpers.py").write_text(
        "from ossmp_jupyter import upload\ndef send(what):\n    return upload(what, 'k')\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    connected.fails("import helpers\nhelpers.send(5)")
    lines = [line for line in connected.text().splitlines() if line.strip()]
    assert [line.strip() for line in lines[1::2][:2]] == ["helpers.send(5)", "return upload(what, 'k')"]
    assert "helpers.py, line 3, in send" in lines[2]
    assert lines[4].startswith("InputError: ") and lines[5].startswith("  → ")
    assert len(lines) == 6, lines
    # the user's own mistake in a generator is shown where it is
    connected.fails("from ossmp_jupyter import upload\nupload((1 / n for n in [0]), 'k').wait()")
    said = connected.text()
    assert "ZeroDivisionError" in said and "in <genexpr>" in said
    assert len(said.splitlines()) <= 8, said
    connected.run("%xmode Verbose")
    connected.fails("upload(5, 'k')")
    assert "make_source" in connected.text()  # whoever wants it all
    connected.run("%xmode Context")


def test_without_the_extension_errors_are_pythons(connected: Shell) -> None:
    connected.run("from ossmp_jupyter import upload\n%unload_ext ossmp_jupyter")
    connected.fails("upload(5, 'k')")
    assert "Traceback" in connected.text()
