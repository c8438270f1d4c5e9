"""Bad input: one clear sentence each, and nothing left behind, here or on the server."""

from __future__ import annotations

import contextlib
import http.server
import io
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ossmp_jupyter.errors import (
    AccessDenied,
    InputError,
    NoSuchBucket,
    NotOSS,
    OssmpError,
    SourceNotReadable,
    TransportError,
)
from ossmp_jupyter.oss.connection import connect
from ossmp_jupyter.transfer.manager import upload
from ossmp_jupyter.transfer.progress import State
from tests.transfer.support import PART, Bucket, make_connection, make_file, state_files

ROOT = Path(__file__).parents[2]


def one_sentence(said: str) -> str:
    assert "\n" not in said
    assert 20 < len(said) < 600, said
    assert "Traceback" not in said and "Error(" not in said
    return said


def refused_at_once(oss: Bucket, kind: type[OssmpError], source: object, **options: Any) -> str:
    """By the call itself: no handle, no request."""
    oss.server.journal(clear=True)
    with pytest.raises(kind) as caught:
        upload(source, options.pop("target", oss.address()), connection=oss.connection, **options)
    assert type(caught.value) is kind
    assert oss.server.journal() == []
    assert state_files() == []
    return one_sentence(str(caught.value))


def fails(oss: Bucket, kind: type[OssmpError], source: object, **options: Any) -> str:
    """By the server's answer, or by the lack of one."""
    handle = oss.start(source, **options)
    with pytest.raises(kind) as caught:
        handle.wait(50)
    assert handle.state is State.FAILED
    assert handle.error is caught.value
    assert handle.progress.error == str(caught.value)
    assert state_files() == []
    said = one_sentence(str(caught.value))
    assert oss.server.access_key_secret not in said
    return said


# ---------------------------------------------------------------- sources


def test_no_such_file(oss: Bucket, tmp_path: Path) -> None:
    (tmp_path / "results.parquet").touch()
    said = refused_at_once(oss, SourceNotReadable, tmp_path / "result.parquet")
    assert said == f"no such file: {tmp_path}/result.parquet; did you mean results.parquet?"


def test_a_directory(oss: Bucket, tmp_path: Path) -> None:
    said = refused_at_once(oss, SourceNotReadable, tmp_path)
    assert said.startswith(f"{tmp_path} is a directory; name the files")


def test_a_fifo(oss: Bucket, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in refused_at_once(oss, SourceNotReadable, tmp_path / "pipe")


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="no user IDs here")
def test_an_unreadable_file(oss: Bucket, tmp_path: Path) -> None:
    """From a process that really may not read it."""
    path = make_file(tmp_path, 10)
    for folder in [tmp_path, *tmp_path.parents][:4]:
        folder.chmod(0o755)
    path.chmod(0)
    script = (
        "import os, sys\n"
        "from ossmp_jupyter.errors import SourceNotReadable\n"
        "from ossmp_jupyter.transfer.manager import upload\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: upload(sys.argv[1], sys.argv[2])\n"
        "except SourceNotReadable as error: print(error)\n"
    )
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), oss.address()], capture_output=True, text=True, check=True,
        cwd=ROOT,
        env={**os.environ, **oss.server.environment(), "OSSMP_STATE_DIR": str(state), "HOME": str(state)},
    )  # fmt: skip
    assert one_sentence(done.stdout.strip()).startswith(f"no permission to read {path}; ask its owner")
    assert os.listdir(state) == []
    assert oss.is_untouched()


@pytest.mark.parametrize("bad", [5, None, 3.5, "", {"a": 1}])
def test_what_is_no_source(oss: Bucket, bad: object) -> None:
    refused_at_once(oss, InputError, bad)


class DataFrame:
    def to_csv(self) -> str:
        return ""


def _closed(path: Path) -> object:
    with open(path, "rb") as file:
        return file


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "the source is None"),
        (5, "an object of type int cannot be uploaded"),
        (["a.bin"], "the source is a list; start one upload for each file"),
        (DataFrame(), "a DataFrame has no bytes of its own; write it to a file"),
        (np.arange(10)[::2], "not contiguous in memory; give numpy.ascontiguousarray"),
        (np.array([object()]), "an array of Python objects has no bytes"),
        (np.array([(1, "a")], dtype=[("n", int), ("o", object)]), "an array of Python objects has no bytes"),
        (io.StringIO("text"), "the file gives text, not bytes; open it with mode 'rb'"),
        (_closed(Path(__file__)), "test_bad_input.py is closed; upload it by its path"),
        ("", "the path is empty; name a file"),
    ],
    ids=["None", "int", "list", "DataFrame", "strided", "objects", "records", "text", "closed", "empty"],
)
def test_each_says_what_to_do_instead(oss: Bucket, source: object, words: str) -> None:
    assert words in refused_at_once(oss, InputError, source)


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (None, "the target is None; write oss://bucket/key"),
        (5, "the target is of type int"),
        ("", "the target is empty"),
        ("s3://other/key", "an s3:// address; write oss://bucket/key"),
        ("https://b.oss-cn-hangzhou.aliyuncs.com/k?Signature=planted", "an https:// address"),
    ],
)
def test_what_is_no_target(oss: Bucket, file: Path, target: Any, words: str) -> None:
    said = refused_at_once(oss, InputError, file, target=target)
    assert words in said
    assert "planted" not in said  # a signed link is as good as a key


@pytest.mark.parametrize(
    "bucket", ["", "ab", "Upper", "under_score", "-x-", "x" * 64, "with space", "a.b", "ünï"]
)
def test_a_bad_bucket_name(oss: Bucket, file: Path, bucket: str) -> None:
    said = refused_at_once(oss, InputError, file, target=f"oss://{bucket}/key")
    assert "bucket" in said


@pytest.mark.parametrize("key", ["/leading", "\\leading", "k" * 1024, "ü" * 512, "a\ud800b"])
def test_a_bad_key(oss: Bucket, file: Path, key: str) -> None:
    refused_at_once(oss, InputError, file, target=f"oss://{oss.name}/{key}")


def test_no_key_at_all(oss: Bucket) -> None:
    assert "names no object" in refused_at_once(oss, InputError, b"x", target=f"oss://{oss.name}")
    assert "names no object" in refused_at_once(oss, InputError, b"x", target=f"oss://{oss.name}/")


def test_no_bucket_at_all(oss: Bucket) -> None:
    with pytest.raises(InputError, match="names no bucket; write oss://bucket/key"):
        upload(b"x", "key", connection=oss.with_(bucket=None).connection)


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    "part_size",
    [0, -1, PART - 1, "99KiB", "5GiB1", 5 * 2**30 + 1, "6GB", "many", "", "8 MiB MiB", 1.5, True, [8]],
)
def test_a_bad_part_size(oss: Bucket, file: Path, part_size: Any) -> None:
    said = refused_at_once(oss, InputError, file, part_size=part_size)
    assert "part size" in said


@pytest.mark.parametrize("parallel", [0, 65, -1, "many", 2.5])
def test_a_bad_number_of_lanes(oss: Bucket, file: Path, parallel: Any) -> None:
    assert "parallel" in refused_at_once(oss, InputError, file, parallel=parallel)


def test_progress_that_cannot_be_called(oss: Bucket, file: Path) -> None:
    assert "progress is not a function" in refused_at_once(oss, InputError, file, progress="bar")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"acl": "everybody"}, "the acl 'everybody' does not exist; give one of private"),
        ({"storage_class": "Cheap"}, "the storage class 'Cheap' does not exist"),
        ({"meta": {"a b": "c"}}, "the metadata name 'a b' is not possible"),
        ({"meta": [1]}, "meta is of type list; give a dict"),
        ({"headers": 5}, "headers is of type int; give a dict"),
        ({"tags": 5}, "tags is of type int; give a dict"),
        ({"mime": "text/ plain"}, "'text/ plain' is not a media type"),
        ({"mime": "nonsense"}, "'nonsense' is not a media type"),
        ({"timeout": -1}, "the timeout -1 is not possible; give seconds"),
        ({"timeout": "long"}, "the timeout 'long' is not possible"),
        ({"timeout": float("nan")}, "the timeout nan"),
        ({"checkpoint": 5}, "the checkpoint is of type int"),
        ({"callback": {}}, "the callback has no url"),
        ({"partsize": 5}, "an upload has no option 'partsize'; did you mean part_size?"),
        ({"zzz": 5}, "an upload has no option 'zzz'; there are acl, callback"),
    ],
)
def test_bad_object_options(oss: Bucket, file: Path, options: Any, words: str) -> None:
    assert words in refused_at_once(oss, InputError, file, **options)


def test_a_connection_that_is_none(oss: Bucket, file: Path) -> None:
    with pytest.raises(InputError, match="the connection is of type str; give what connect"):
        upload(file, oss.address(), connection=oss.name)  # type: ignore[arg-type]


# ---------------------------------------------------------------- the service says no


@pytest.mark.parametrize("simple", [False, True])
@pytest.mark.parametrize("signature", ["v4", "v1"])
def test_a_wrong_secret(oss: Bucket, file: Path, simple: bool, signature: str) -> None:
    wrong = make_connection(oss.server, oss.name, access_key_secret="wrong-secret-0123", signature=signature)
    said = fails(Bucket(oss.server, oss.name, wrong), AccessDenied, file, simple=simple)
    assert "wrong-secret-0123" not in said
    assert oss.is_untouched()
    assert (
        len([one for one in oss.server.journal() if one["bucket"] == oss.name]) <= 2
    )  # tried again in vain: no


def test_an_unknown_key_id(oss: Bucket, file: Path) -> None:
    wrong = make_connection(oss.server, oss.name, access_key_id="LTAI-nobody")
    fails(Bucket(oss.server, oss.name, wrong), AccessDenied, file)
    assert oss.is_untouched()


@pytest.mark.parametrize("simple", [False, True])
def test_no_such_bucket(oss: Bucket, file: Path, simple: bool) -> None:
    missing = Bucket(oss.server, "no-such-bucket-here", oss.connection)
    said = fails(missing, NoSuchBucket, file, simple=simple)
    assert "no-such-bucket-here" in said


# ---------------------------------------------------------------- no service at all


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as taken:  # bound and never listening: refused, and nobody else can have it
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def elsewhere(oss: Bucket, port: int) -> Bucket:
    connection = connect(
        endpoint=f"http://127.0.0.1:{port}",
        region="cn-hangzhou",
        access_key_id="a",
        access_key_secret="b",
        timeout=3.0,
    )
    return Bucket(oss.server, oss.name, connection)


@pytest.mark.parametrize("size", [1000, 3 * PART])
def test_a_server_that_is_down_is_said_so_within_seconds(
    oss: Bucket, tmp_path: Path, closed_port: int, size: int
) -> None:
    started = time.monotonic()
    said = fails(elsewhere(oss, closed_port), TransportError, make_file(tmp_path, size), part_size=None)
    took = time.monotonic() - started
    assert f"127.0.0.1:{closed_port}" in said
    assert took < 15, "seconds, not minutes"


class Page(http.server.BaseHTTPRequestHandler):
    """A web page, whatever is asked: a captive portal, a proxy, a typo in the endpoint."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        body = b"<!doctype html><html><title>Welcome</title><p>Please log in.</html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_PUT = do_GET = do_HEAD = do_DELETE = do_POST

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def web_server() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("size", [1000, 3 * PART])
def test_an_endpoint_that_is_not_oss(oss: Bucket, tmp_path: Path, web_server: int, size: int) -> None:
    said = fails(elsewhere(oss, web_server), NotOSS, make_file(tmp_path, size), part_size=None)
    assert "OSS" in said
    assert "<html>" not in said


def test_an_endpoint_that_speaks_no_http(oss: Bucket, file: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        stop = threading.Event()

        def greet() -> None:
            while not stop.is_set():
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), peer:  # it may have gone already
                    peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                    peer.recv(65536)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        handle = elsewhere(oss, listener.getsockname()[1]).start(file)
        with pytest.raises(TransportError, match="broke during InitiateMultipartUpload") as caught:
            handle.wait(50)
        one_sentence(str(caught.value))
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.filterwarnings("ignore:http.*travel in clear:UserWarning")
def test_a_name_that_does_not_exist(oss: Bucket, file: Path) -> None:
    connection = connect(
        endpoint="http://oss.invalid", region="cn-hangzhou", access_key_id="a", access_key_secret="b"
    )
    said = fails(Bucket(oss.server, oss.name, connection), TransportError, file)
    assert "oss.invalid" in said
