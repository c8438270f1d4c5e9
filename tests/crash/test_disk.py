"""The journal cannot be written: the upload goes on, with one warning."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

import pytest

from tests.crash.conftest import Crashes


def _finish(crashes: Crashes, **more: object) -> list[str]:
    process = crashes.start(**more)  # type: ignore[arg-type]
    out, err = process.communicate(timeout=40)
    if process.returncode == 77:
        pytest.skip("root cannot give up its power here")
    assert process.returncode == 0, out + err
    lines = out.splitlines()
    assert any(line.startswith("done") for line in lines), out + err
    assert "Traceback" not in err, err
    assert crashes.stored() == crashes.data and not crashes.uploads()
    return [line for line in lines if line.startswith("warning")]


_STOP_AT_20 = [
    {
        "operation": "UploadPart",
        "at": 20,
        "times": None,
        "kind": "error",
        "status": 403,
        "code": "AccessDenied",
    }
]


def without_roots_power() -> None:
    """In a user namespace root is an ordinary owner of files: it has to keep to their modes."""
    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).unshare(0x10000000):
        os._exit(77)


def _no_large_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python itself has it
    resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))


@pytest.mark.slow
def test_disk_full(crashes: Crashes) -> None:
    """The limit strikes in the middle: the header fits, the 64 parts do not."""
    warnings = _finish(crashes, preexec=_no_large_files)
    assert len(warnings) == 1 and "cannot be saved" in warnings[0], warnings


@pytest.mark.slow
def test_disk_full_and_killed_later(crashes: Crashes) -> None:
    """What the journal lacks, the server's list has."""
    crashes.oss.set_faults([{"operation": "UploadPart", "at": 40, "times": None, "kind": "error",
                             "status": 403, "code": "AccessDenied"}])  # fmt: skip
    process = crashes.start(preexec=_no_large_files)
    process.communicate(timeout=40)
    assert process.returncode == 1
    stored = {part["part_number"] for part in crashes.uploads()[0]["parts"]}
    assert len(stored) >= 35
    crashes.oss.set_faults([])
    crashes.oss.journal(clear=True)
    assert _finish(crashes) == []
    sent = {e["part_number"] for e in crashes.oss.journal() if e["operation"] == "UploadPart"}
    assert not sent & stored, "stored parts were sent again"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["/proc/nowhere", "/sys/kernel", "file"])
def test_no_place_for_journals(crashes: Crashes, where: str) -> None:
    if where == "file":
        crashes.state.write_bytes(b"a file stands where the folder should be")
        where = str(crashes.state)
    warnings = _finish(crashes, OSSMP_STATE_DIR=where)
    assert len(warnings) == 1 and "cannot be saved" in warnings[0], warnings


@pytest.mark.slow
def test_read_only_folder(crashes: Crashes) -> None:
    journals = crashes.state / "journals"
    journals.mkdir(parents=True)
    journals.chmod(0o555)
    warnings = _finish(crashes, preexec=without_roots_power)
    journals.chmod(0o755)
    assert len(warnings) == 1 and "cannot be saved" in warnings[0], warnings


@pytest.mark.slow
def test_journal_that_became_read_only(crashes: Crashes) -> None:
    """The earlier run's journal can be read, and not be written any more."""
    crashes.oss.set_faults(_STOP_AT_20)
    crashes.start().communicate(timeout=40)
    crashes.oss.set_faults([])
    crashes.oss.journal(clear=True)
    journals = crashes.state / "journals"
    journals.chmod(0o555)
    warnings = _finish(crashes, preexec=without_roots_power)
    journals.chmod(0o755)
    assert len(warnings) == 1 and "cannot be saved" in warnings[0], warnings
    sent = [e for e in crashes.oss.journal() if e["operation"] == "UploadPart"]
    assert len(sent) <= 64 - 15, "what the journal tells was not used"


_DAMAGES = (
    "empty", "torn-header", "torn-part", "bit-flipped-header", "bit-flipped-part", "binary", "newer-version",
)  # fmt: skip


def _damage(text: bytes, how: str) -> bytes:
    lines = text.splitlines(keepends=True)
    return {
        "empty": b"",
        "torn-header": lines[0][: len(lines[0]) // 2],
        "torn-part": b"".join(lines[:5]) + lines[5][:9],
        "bit-flipped-header": text[:30] + bytes([text[30] ^ 1]) + text[31:],
        "bit-flipped-part": b"".join(lines[:4])
        + lines[4].replace(b'"part"', b'"pbrt"')
        + b"".join(lines[5:]),
        "binary": bytes(range(256)) * 20,
        "newer-version": text.replace(b'{"version":1', b'{"version":99', 1),
    }[how]


@pytest.mark.slow
@pytest.mark.parametrize("how", _DAMAGES)
def test_damaged_journal(crashes: Crashes, how: str) -> None:
    """The upload goes on and ends right, whatever the file says."""
    crashes.oss.set_faults(_STOP_AT_20)
    process = crashes.start()
    process.communicate(timeout=40)
    crashes.oss.set_faults([])
    (journal,) = crashes.state.glob("journals/*.jsonl")
    journal.write_bytes(_damage(journal.read_bytes(), how))
    process = crashes.start()
    out, err = process.communicate(timeout=40)
    assert process.returncode == 0 and "Traceback" not in err, out + err
    assert crashes.stored() == crashes.data
    left = crashes.uploads()
    if how in ("torn-part", "bit-flipped-part"):
        assert not left and "warning" not in out
    elif how == "empty":
        assert len(left) == 1  # nothing is known, not even that there was something
    else:
        # Its ID is lost with the header. It is shown by %oss_uploads, and the warning says so.
        assert len(left) == 1 and out.count("warning") == 1, (left, out)
