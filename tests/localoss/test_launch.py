"""The process: its start, its end, its sharing between kernels."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ossmp_jupyter.errors import InputError, OssmpError, TransportError
from ossmp_jupyter.localoss import LocalOSS, attach_local
from ossmp_jupyter.localoss.attach import default_root
from ossmp_jupyter.localoss.cli import _stop_on_signals
from tests.localoss.client import Client


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


# -- the command line


def test_the_ready_line(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "ossmp_jupyter.localoss",
        "--root",
        str(tmp_path),
        "--bucket",
        "aaa",
        "--bucket",
        "bbb",
        "--region",
        "oss-cn-shanghai",
        "--access-key-id",
        "ID",
        "--access-key-secret",
        "SECRET",
    ]
    # no terminal and no pipe: a server on the command line must not end because of that
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    told = json.loads(server.stdout.readline())
    assert set(told) == {
        "endpoint",
        "region",
        "bucket",
        "access_key_id",
        "access_key_secret",
        "control",
        "control_token",
        "root",
    }
    assert (told["region"], told["bucket"], told["root"]) == ("cn-shanghai", "aaa", str(tmp_path))
    assert (told["access_key_id"], told["access_key_secret"]) == ("ID", "SECRET")
    assert told["endpoint"].startswith("http://127.0.0.1:")
    time.sleep(0.3)
    assert server.poll() is None
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=20) == 0
    server.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_at_any_moment(number: signal.Signals) -> None:
    """Also while the main thread is about to wait, with the lock of what it waits for in its hands."""
    stopped = threading.Event()
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        _stop_on_signals(stopped)
        with stopped._cond:  # type: ignore[attr-defined]
            signal.raise_signal(number)
        assert stopped.wait(30)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bucket", "Bad_Name"], "The specified bucket is not valid. (Bad_Name)"),
        (["--bandwidth", "fast"], "--bandwidth 'fast' is not a size"),
        (["--faults", "/nowhere.json"], "No such file"),
        (["--port", "TAKEN"], "Address already in use"),
    ],
)
def test_a_start_that_fails_says_why(arguments: list[str], words: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        given = [port if argument == "TAKEN" else argument for argument in arguments]
        command = [sys.executable, "-m", "ossmp_jupyter.localoss", "--root", str(tmp_path), *given]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("localoss: ") and words in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_package_costs_nothing() -> None:
    code = (
        "import sys, ossmp_jupyter.localoss\n"
        "print([name for name in sys.modules if name.startswith('ossmp_jupyter.localoss')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "['ossmp_jupyter.localoss']"


# -- LocalOSS


def test_it_listens_on_loopback_with_fresh_keys() -> None:
    with LocalOSS() as one, LocalOSS() as two:
        assert one.access_key_secret != two.access_key_secret and one.access_key_id != two.access_key_id
        addresses = {
            c.laddr.ip for c in psutil.Process(one.pid).net_connections() if c.status == psutil.CONN_LISTEN
        }
        assert addresses == {"127.0.0.1"}
        assert one.access_key_secret not in repr(one)
        # neither key nor token stands where every user of the machine can read it
        assert one.access_key_secret not in str(psutil.Process(one.pid).cmdline())
        assert one.environment()["OSS_ENDPOINT"] == one.endpoint
        assert Client(one).request("PUT", "k", body=b"").status == 200


def test_keys_and_tokens_given_stay_off_the_command_line() -> None:
    with LocalOSS(access_key_id="my-id", access_key_secret="my-secret", security_token="my-token") as oss:
        assert (
            "my-secret" not in (words := str(psutil.Process(oss.pid).cmdline())) and "my-token" not in words
        )
        assert (oss.access_key_id, oss.access_key_secret) == ("my-id", "my-secret")
        assert oss.environment()["OSS_SESSION_TOKEN"] == "my-token"


def test_the_block_ends_the_process() -> None:
    with LocalOSS() as oss:
        assert running(oss.pid)
    assert not running(oss.pid)
    oss.stop()
    with pytest.raises(TransportError, match="does not answer"):
        oss.journal()


def test_a_users_interrupt_does_not_reach_it() -> None:
    with LocalOSS() as oss:
        assert os.getsid(oss.pid) != os.getsid(0)


@pytest.mark.parametrize("how", ["exit", "kill", "forget"])
def test_it_never_outlives_its_owner(how: str) -> None:
    owner = python(f"""
        import os, signal, sys
        from ossmp_jupyter.localoss import LocalOSS
        oss = LocalOSS().start()
        print(oss.pid, oss.root, flush=True)
        if {how!r} == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    out, _ = owner.communicate(timeout=30)
    pid, root = out.split()
    until(lambda: not running(int(pid)))
    if how != "kill":
        assert not Path(root).exists()


def test_files_of_the_working_directory_do_not_shadow_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("secrets", "http", "json", "socketserver"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    with LocalOSS() as oss:
        assert oss.snapshot()["buckets"] == ["demo"]


@pytest.mark.parametrize("buckets", ["demo", ()])
def test_buckets_is_a_list(buckets: object) -> None:
    with pytest.raises(InputError, match="buckets"):
        LocalOSS(buckets=buckets)  # type: ignore[arg-type]


def test_a_failed_start_is_one_sentence() -> None:
    with pytest.raises(OssmpError, match=r"did not start: localoss: The specified bucket is not valid"):
        LocalOSS(buckets=["Bad_Name"]).start()


# -- attach_local


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "shared"
    attach_local(tmp_path / "shared").stop()


def note_server(folder: Path, endpoint: str) -> None:
    """Note a server of the folder that is not there any more."""
    folder.mkdir()
    told = {
        "endpoint": endpoint,
        "region": "cn-hangzhou",
        "bucket": "demo",
        "access_key_id": "ID",
        "access_key_secret": "SECRET",
        "control_token": "another",
        "root": str(folder),
    }
    (folder / "ready.json").write_text(json.dumps(told))


def test_kernels_share_one_server(folder: Path) -> None:
    handle = attach_local(folder)
    assert attach_local(str(folder)) is handle
    assert (handle.bucket, handle.identity) == ("demo", f"localoss:{folder}")
    ready = folder / "ready.json"
    assert stat.S_IMODE(ready.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert handle.access_key_secret not in repr(handle)
    other = python(f"""
        from ossmp_jupyter.localoss.launch import attach_local
        handle = attach_local({str(folder)!r}, bandwidth="20MB/s")
        print(handle.endpoint, handle.access_key_id)
    """)
    out, _ = other.communicate(timeout=30)
    assert out.split() == [handle.endpoint, handle.access_key_id]
    assert handle._control("GET", "ping")["endpoint"] == handle.endpoint


def test_many_kernels_at_once_start_one_server(folder: Path) -> None:
    code = f"""
        import sys
        from ossmp_jupyter.localoss.launch import attach_local
        handle = attach_local({str(folder)!r})
        print(handle.endpoint, flush=True)
        sys.stdin.readline()
    """
    kernels = [python(code) for _ in range(4)]
    endpoints = {kernel.stdout.readline() for kernel in kernels if kernel.stdout}
    for kernel in kernels:
        kernel.communicate("done\n", timeout=30)
    assert len(endpoints) == 1


def port_that_nobody_is_given() -> int:
    """A free port below those that systems hand out: it stays free while a server is away."""
    for port in random.sample(range(10_000, 30_000), 100):
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("all ports are taken")


@pytest.mark.slow
def test_it_ends_after_the_last_kernel_and_comes_back_the_same(folder: Path) -> None:
    """The kernel dies by SIGKILL, nobody says goodbye; a new one finds the same port, keys and objects."""
    note_server(folder, f"http://127.0.0.1:{port_that_nobody_is_given()}")
    kernel = python(f"""
        import os, signal, sys
        from ossmp_jupyter.localoss.launch import attach_local
        handle = attach_local({str(folder)!r})
        print(handle.endpoint, handle.access_key_id, handle.access_key_secret, flush=True)
        sys.stdin.readline()
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert kernel.stdout is not None and kernel.stdin is not None
    told = kernel.stdout.readline().split()
    server = [
        p for p in psutil.process_iter() if str(folder) in " ".join(_command(p)) and "--shared" in _command(p)
    ]
    assert len(server) == 1
    killed = time.monotonic()
    kernel.stdin.write("\n")
    kernel.stdin.flush()
    kernel.wait(timeout=30)
    kernel.stdin.close()
    kernel.stdout.close()
    assert running(server[0].pid)  # a restarted kernel finds it alive
    until(lambda: not running(server[0].pid), 40)
    assert time.monotonic() - killed > 8
    handle = attach_local(folder)
    assert [handle.endpoint, handle.access_key_id, handle.access_key_secret] == told


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_server_that_died_is_replaced(folder: Path) -> None:
    handle = attach_local(folder)
    client = Client(handle)  # type: ignore[arg-type]
    client.request("PUT", "kept", body=b"hello")
    client.connection.close()
    handle.stop()
    again = attach_local(folder)
    assert again is not handle and again.identity == handle.identity
    assert again.access_key_secret == handle.access_key_secret
    client = Client(again)  # type: ignore[arg-type]
    assert client.request("GET", "kept").body == b"hello"
    client.connection.close()


def test_a_broken_ready_file_is_no_obstacle(folder: Path) -> None:
    folder.mkdir()
    (folder / "ready.json").write_text("{")
    assert attach_local(folder).snapshot()["buckets"] == ["demo"]


def test_a_stranger_at_the_old_port_is_not_taken_for_it(folder: Path) -> None:
    with LocalOSS() as stranger:
        note_server(folder, stranger.endpoint)
        handle = attach_local(folder)
        assert handle.endpoint != stranger.endpoint
        assert (handle.access_key_id, handle.access_key_secret) == ("ID", "SECRET")


def test_bandwidth_is_set_on_the_running_server(folder: Path) -> None:
    handle = attach_local(folder)
    attach_local(folder, bandwidth="1MB/s")
    assert handle._control("POST", "bandwidth", {"bandwidth": "1MB/s"}) == {"bandwidth": 1_000_000}
    with pytest.raises(InputError, match="bandwidth 'fast' is not a size"):
        attach_local(folder, bandwidth="fast")


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be used for the embedded OSS"):
        attach_local(tmp_path / "file" / "below")


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OSSMP_LOCALOSS_ROOT", str(tmp_path / "mine"))
    assert default_root() == tmp_path / "mine"
    monkeypatch.delenv("OSSMP_LOCALOSS_ROOT")
    assert default_root().parts[-2:] == ("ossmp-jupyter", "localoss")
