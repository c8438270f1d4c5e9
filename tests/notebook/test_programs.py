"""Programs, as people write them: a script, ``asyncio.run``, a thread; Ctrl-C, and the same program again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.checksum import crc64
from tests.localoss.quiet import wait_until_alone
from tests.notebook.test_kernel import oss

__all__ = ["oss"]

pytestmark = pytest.mark.timeout(120)

MB = 1 << 20
PARTS = 32
HOW = 'upload("big.bin", "big.bin", part_size="256KiB")'

SCRIPT = f"""
from ossmp_jupyter import upload
result = {HOW}.wait()
print("done", result.verified)
"""

ASYNC = f"""
import asyncio
from ossmp_jupyter import upload
async def main():
    print("done", (await {HOW}).verified)
asyncio.run(main())
"""

CLIENT = """
import asyncio
from ossmp_jupyter import OSSClient
async def main():
    async with OSSClient() as oss:
        result = await oss.multipart_upload("big.bin", "big.bin", part_size="256KiB")
        head = await oss.head("big.bin")
        print("done", result.verified and head.size == result.size)
asyncio.run(main())
"""

THREAD = f"""
import threading
from ossmp_jupyter import upload
thread = threading.Thread(target=lambda: print("done", {HOW}.wait().verified))
thread.start()
thread.join()
"""

PROGRAMS = {"script": SCRIPT, "asyncio.run": ASYNC, "client": CLIENT, "thread": THREAD}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "big.bin").write_bytes(os.urandom(8 * MB))
    return tmp_path


def start(oss: LocalOSS, folder: Path, program: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OSS")}
    environment = {**clean, **oss.environment(), "OSSMP_STATE_DIR": str(folder / "state")}
    path = folder / "program.py"
    path.write_text(program)
    return subprocess.Popen(
        [sys.executable, str(path)], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def stored(oss: LocalOSS) -> set[int]:
    return {part["part_number"] for upload in oss.snapshot()["uploads"] for part in upload["parts"]}


def until_stored(oss: LocalOSS, process: subprocess.Popen[str], parts: int) -> None:
    end = time.monotonic() + 30
    while len(stored(oss)) < parts:
        assert process.poll() is None and time.monotonic() < end, "no parts arrive"
        time.sleep(0.01)


def at_rest(oss: LocalOSS) -> set[int]:
    """What is stored once the server has dealt with all that was sent.

    It may not even have read the head of a request whose client is dead, so its journal is not enough; but
    it lets go of a connection only when there is nothing more to be read from it.
    """
    wait_until_alone(oss)
    return stored(oss)


@pytest.mark.parametrize("number", [1, 7])
def test_a_program_that_does_not_wait_is_told(oss: LocalOSS, folder: Path, number: int) -> None:
    oss.set_bandwidth("2MB/s")
    program = (
        "from ossmp_jupyter import upload\n"
        f"handles = [upload('big.bin', f'{{n}}.bin', part_size='256KiB') for n in range({number})]\n"
        "upload(b'small', 'small.bin').wait()\nprint('end')"
    )
    out, err = start(oss, folder, program).communicate(timeout=30)
    assert out == "end\n"
    what = "big.bin → oss://demo/0.bin is" if number == 1 else "7 uploads are"
    told, hint = err.splitlines()
    assert told.startswith(f"{what} not published: the program ended before ")
    assert hint == "Run it again to go on, and wait for the end: upload(...).wait()"
    oss.set_bandwidth(None)
    again = program.replace("print(", "[handle.wait() for handle in handles]\nprint(")
    assert start(oss, folder, again).communicate(timeout=30) == ("end\n", "")
    assert len(oss.snapshot()["objects"]) == number + 1 and oss.snapshot()["uploads"] == []


@pytest.mark.parametrize("how", PROGRAMS)
def test_a_wait_for_credentials_is_not_silent(oss: LocalOSS, folder: Path, how: str) -> None:
    expired = {"kind": "error", "status": 403, "code": "SecurityTokenExpired"}
    oss.set_faults([{"operation": "UploadPart", "times": None, **expired}])
    process = start(oss, folder, PROGRAMS[how])
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        line = process.stderr.readline()
    finally:
        process.kill()
        process.communicate(timeout=30)
    assert "UserWarning: oss://demo/big.bin is waiting for credentials: " in said
    assert "the security token has expired" in said and "fetch new temporary credentials" in said
    assert how == "client" or "upload(" in line, line  # it points to the line that waits


@pytest.mark.parametrize("how", PROGRAMS)
def test_ctrl_c_and_the_same_program_again(oss: LocalOSS, folder: Path, how: str) -> None:
    oss.set_bandwidth("1MB/s")
    process = start(oss, folder, PROGRAMS[how])
    until_stored(oss, process, 4)
    pressed = time.monotonic()
    process.send_signal(signal.SIGINT)
    first, err = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in err
    if how != "thread":  # whether Python waits for a thread of the user's own depends on its version
        assert time.monotonic() - pressed < 3.0  # the prompt's second, and one each for two slow processes
        assert err.rstrip().splitlines()[-1] == "KeyboardInterrupt"
        assert err.count("Traceback (most recent call last)") <= 2, err  # asyncio.run shows its cause, too
        assert process.returncode == -signal.SIGINT  # as of every program that SIGINT has ended
        assert "done" not in first
        for noise in ("Exception ignored", "never retrieved", "destroyed"):
            assert noise not in err, err
    kept = at_rest(oss)

    oss.set_bandwidth(None)
    oss.journal(clear=True)
    again = start(oss, folder, PROGRAMS[how])
    out, err = again.communicate(timeout=30)
    assert (again.returncode, out.split(), err) == (0, ["done", "True"], "")
    sent = Counter(e["part_number"] for e in oss.journal() if e["operation"] == "UploadPart")
    if "done" in first:
        assert how == "thread" and not kept and not sent
    else:
        assert 4 <= len(kept) < PARTS
        assert set(sent).isdisjoint(kept) and set(sent) | kept == set(range(1, PARTS + 1))
    found = oss.snapshot()
    assert found["uploads"] == []
    (stored_object,) = found["objects"].values()
    assert int(stored_object["crc64"]) == crc64((folder / "big.bin").read_bytes())


@pytest.mark.parametrize("operation", ["InitiateMultipartUpload", "CompleteMultipartUpload"])
def test_ctrl_c_while_the_server_is_silent(oss: LocalOSS, folder: Path, operation: str) -> None:
    oss.set_faults([{"operation": operation, "kind": "stall", "seconds": 60, "times": None}])
    process = start(oss, folder, PROGRAMS["client"])
    end = time.monotonic() + 30
    while not any(entry["operation"] == operation for entry in oss.journal()):
        assert process.poll() is None and time.monotonic() < end, "it is not asked"
        time.sleep(0.01)
    pressed = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - pressed < 4.5  # 1.5 s for the answer, the rest for slow machines
    assert err.rstrip().splitlines()[-1] == "KeyboardInterrupt"
    oss.set_faults([])
    out, err = start(oss, folder, PROGRAMS["client"]).communicate(timeout=30)
    assert (out.split(), err) == (["done", "True"], "")
    assert oss.snapshot()["uploads"] == []
