"""npm ali-oss beside us: uploads change hands in both directions; the embedded OSS answers all it asks."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter import upload
from ossmp_jupyter.errors import OssmpError
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.connection import Connection
from tests.localoss.quiet import wait_until_alone
from tests.parity.net import Web
from tests.parity.support import PART, Run, payload, requests_of

pytestmark = [pytest.mark.node, pytest.mark.timeout(360)]  # the first run installs packages
SCRIPT = Path(__file__).with_name("ali_parity.cjs")
Ali = Callable[..., dict[str, Any]]


@pytest.fixture
def ali(node: str, oss: LocalOSS) -> Ali:
    """Run one task of the script and return what it saw."""

    def run(task: str, name: str, *, options: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
        client = {
            "endpoint": oss.endpoint, "bucket": oss.bucket, "region": f"oss-{oss.region}",
            "accessKeyId": oss.access_key_id, "accessKeySecret": oss.access_key_secret, **(options or {}),
        }  # fmt: skip
        told = json.dumps({"task": task, "options": client, "name": name, **config})
        done = subprocess.run(
            [node, str(SCRIPT)], capture_output=True, text=True, timeout=50, check=False,
            env={**os.environ, "ALI_OSS_TEST": told},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen

    return run


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of nine parts, the last one short."""
    path = tmp_path / "source.bin"
    path.write_bytes(payload(8 * PART + 333))
    return path


STOP = {"operation": "UploadPart", "part_number": 6, "kind": "error", "status": 403,
        "code": "AccessDenied", "times": None}  # fmt: skip


def stored_parts(oss: LocalOSS, key: str) -> set[int]:
    """The parts that the server has, once it has read what was cut off."""
    wait_until_alone(oss)
    [found] = [one for one in oss.snapshot()["uploads"] if one["key"] == key]
    return {int(part["part_number"]) for part in found["parts"]} if isinstance(found["parts"], list) else {
        int(number) for number in found["parts"]
    }  # fmt: skip


@pytest.mark.parametrize("form", ["mapping", "file"])
def test_begun_by_ali_oss_goes_on_here(
    ali: Ali,
    run: Run,
    oss: LocalOSS,
    connection: Connection,
    large: Path,
    tmp_path: Path,
    key: str,
    form: str,
) -> None:
    """The checkpoint that its progress callback wrote; only the missing parts are sent."""
    written = tmp_path / "checkpoint.json"
    oss.set_faults([STOP])
    broken = ali("begin", key, file=str(large), checkpointFile=str(written))
    assert broken == {"done": False, "name": "AccessDeniedError", "code": "AccessDenied"}
    oss.set_faults([])
    there = stored_parts(oss, key)
    assert 3 <= len(there) < 9 and 6 not in there
    oss.journal(clear=True)

    choice: Any = written if form == "file" else json.loads(written.read_text())
    result = upload(large, key, connection=connection, checkpoint=choice).wait(30)
    assert result.verified and (result.parts, result.parts_kept) == (9, len(there))
    sent = {entry["part_number"] for entry in requests_of(oss, "UploadPart")}
    assert sent == set(range(1, 10)) - there
    assert run(lambda client: client.get(key)) == large.read_bytes()
    assert requests_of(oss, "InitiateMultipartUpload") == []


def test_begun_here_goes_on_in_ali_oss(
    ali: Ali, run: Run, oss: LocalOSS, connection: Connection, large: Path, tmp_path: Path, key: str
) -> None:
    """``upload.checkpoint.to_ali_oss()``, as JSON: byte-identical, and only the missing parts are sent."""
    oss.set_faults([STOP])
    handle = upload(large, key, connection=connection, part_size=PART, parallel=1, checkpoint=False)
    with pytest.raises(OssmpError):
        handle.wait(30)
    oss.set_faults([])
    assert handle.checkpoint is not None and len(handle.checkpoint.parts) == 5
    written = tmp_path / "ours.json"
    written.write_text(json.dumps(handle.checkpoint.to_ali_oss()))
    oss.journal(clear=True)

    seen = ali("resume", key, file=str(large), checkpointFile=str(written))
    assert (seen["status"], seen["name"]) == (200, key)
    assert seen["progress"][-1] == 1
    assert sorted(entry["part_number"] for entry in requests_of(oss, "UploadPart")) == [6, 7, 8, 9]
    assert run(lambda client: client.get(key)) == large.read_bytes()
    head = run(lambda client: client.head(key))
    assert seen["etag"] == f'"{head.etag}"'


def test_there_and_back_again(
    ali: Ali, run: Run, oss: LocalOSS, connection: Connection, large: Path, tmp_path: Path, key: str
) -> None:
    """Begun here, broken off there, finished here."""
    oss.set_faults([{**STOP, "part_number": 3}])
    handle = upload(large, key, connection=connection, part_size=PART, parallel=1, checkpoint=False)
    with pytest.raises(OssmpError):
        handle.wait(30)
    assert handle.checkpoint is not None
    written = tmp_path / "checkpoint.json"
    written.write_text(json.dumps(handle.checkpoint.to_ali_oss()))
    oss.set_faults([{**STOP, "part_number": 7}])
    with pytest.raises(AssertionError, match="AccessDenied"):
        ali("resume", key, file=str(large), checkpointFile=str(written))
    oss.set_faults([])
    there = stored_parts(oss, key)
    oss.journal(clear=True)
    result = upload(large, key, connection=connection, checkpoint=written).wait(30)
    assert result.verified and result.parts_kept == len(there) > 2
    assert run(lambda client: client.get(key)) == large.read_bytes()


@pytest.mark.parametrize("v4", [False, True])
def test_ali_oss_is_answered_in_every_feature(
    ali: Ali, oss: LocalOSS, application: Web, large: Path, key: str, v4: bool
) -> None:
    base = f"http://127.0.0.1:{application.port}"
    seen = ali(
        "features", key, file=str(large), options={"authorizationV4": v4},
        more={"good": f"{base}/good", "bad": f"{base}/bad"},
    )  # fmt: skip
    assert seen["callback"] == {"data": {"Status": "OK", "path": "/good"}, "status": 200}
    assert application.seen[0]["body"].decode() == f"object={key.replace('/', '%2F')}&var1=value1"
    assert application.seen[0]["headers"]["host"] == "app.example.com"
    head = seen["head"]
    assert (head["x-oss-tagging-count"], head["x-oss-storage-class"]) == ("2", "IA")
    assert (head["x-oss-server-side-encryption"], head["x-oss-meta-year"]) == ("AES256", "2020")
    assert head["content-type"] == "text/plain"
    assert seen["tags"] == {"Tag1": "1", "Tag2": "2"}
    exists = {"name": "FileAlreadyExistsError", "code": "FileAlreadyExists", "status": 409}
    for at in ("overwriteAtInitiate", "overwriteByPut", "overwriteAtComplete"):
        assert seen[at] == exists, at
    assert seen["callbackFailed"] == {"name": "CallbackFailedError", "code": "CallbackFailed", "status": 203}
    assert seen["storedNevertheless"] == str(large.stat().st_size)
    assert seen["uploads"] == [f"{key}-list/z"]
    assert seen["encoded"] == [
        f"{key}-list/a b+c/1".replace("/", "%2F").replace(" ", "%20").replace("+", "%2B")
    ]
    assert seen["notModified"] == 304
    assert seen["precondition"]["status"] == 412
    assert seen["sequential"] == 32
    assert seen["putLink"][0] == 200 and seen["getLink"] == [200, "by link"]
    assert (seen["partLink"], seen["partListed"]) == (200, str(len("a part by link")))
