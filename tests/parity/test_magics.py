"""The same parameters from a cell: %oss_upload and %oss_connect in a real IPython shell."""

from __future__ import annotations

import atexit
import contextlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from ossmp_jupyter.errors import OssmpError
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.oss.providers import CallableProvider
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.checkpoint import Checkpoint
from tests.parity.net import Web
from tests.parity.support import PART, Run, connection_to, payload, requests_of


@pytest.fixture
def ip(oss: LocalOSS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """A shell with the extension, connected to the embedded OSS, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
    for name, value in oss.environment().items():
        monkeypatch.setenv(name, value)
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell(config=config)
    shell.run_line_magic("load_ext", "ossmp_jupyter")
    shell.run_line_magic("oss_connect", "")
    yield shell
    shell.run_line_magic("unload_ext", "ossmp_jupyter")
    for handle in manager.uploads():
        with contextlib.suppress(Exception):
            handle.abort().result(10)
            handle.future.exception(10)  # too late to abort: the server must outlive it
    shell.atexit_operations()
    atexit.unregister(shell.atexit_operations)


def cell(ip: InteractiveShell, text: str) -> Any:
    done = ip.run_cell(text)
    done.raise_error()
    return done.result


def test_every_option_of_a_cell(ip: InteractiveShell, oss: LocalOSS, run: Run, application: Web) -> None:
    """One line with all of them: what is stored, and which progress calls came."""
    Path("data.csv").write_bytes(payload(3 * PART))
    events: list[tuple[float, int | None]] = []

    async def note(fraction: float, checkpoint: Checkpoint | None, response: object) -> None:
        events.append((fraction, len(checkpoint.parts) if checkpoint else None))

    ip.user_ns["note"] = note
    ip.user_ns["tell"] = {"url": f"http://127.0.0.1:{application.port}/good", "body": "k=${object}"}
    cell(
        ip,
        "result = %oss_upload data.csv dir/{1+1}/ --part-size 100KiB --parallel 2 --meta owner=数据 "
        "--meta year=2020 --mime 'text/csv; charset=utf-8' --header 'Cache-Control: no-cache' "
        "--header 'Expires: Wed, 02 Jan 2030 03:04:05 GMT' --storage-class IA --tag a=b --tag c=d "
        "--acl private --encryption KMS --kms-key-id key1 --traffic-limit 838860800 --forbid-overwrite "
        "--callback tell --progress note --checkpoint my.journal --timeout 30 -q",
    )
    result = ip.user_ns["result"]
    assert (result.key, result.parts, result.verified) == ("dir/2/data.csv", 3, True)
    assert result.callback == {"Status": "OK", "path": "/good"}
    head = run(lambda client: client.head("dir/2/data.csv"))
    assert head.meta == {"owner": "数据", "year": "2020"}
    assert head.content_type == "text/csv; charset=utf-8"
    assert head.headers["cache-control"] == "no-cache"
    assert head.headers["expires"] == "Wed, 02 Jan 2030 03:04:05 GMT"
    assert (head.storage_class, head.headers["x-oss-tagging-count"]) == ("IA", "2")
    assert head.headers["x-oss-server-side-encryption-key-id"] == "key1"
    assert [kept for _, kept in events] == [0, 1, 2, 3, 3]
    assert (events[0][0], events[-1][0]) == (0.0, 1.0)
    assert Path("my.journal").is_file()


def test_progress_from_a_cell_sync(ip: InteractiveShell) -> None:
    Path("small").write_bytes(b"x")
    cell(ip, "seen = []\ndef show(p, cpt, res):\n    seen.append(p)")
    cell(ip, "%oss_upload small small --progress show -q")
    assert (ip.user_ns["seen"][0], ip.user_ns["seen"][-1]) == (0.0, 1.0)


def test_a_raised_part_size_is_said_in_the_cell(
    ip: InteractiveShell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ossmp_jupyter.transfer import plan

    monkeypatch.setattr(plan, "MAX_PARTS", 2)
    Path("data.bin").write_bytes(payload(3 * PART))
    cell(ip, "%oss_upload data.bin raised --part-size 100KiB --ui text")
    captured = capsys.readouterr()
    assert "the parts are 192.0 KiB large" in captured.out + captured.err


def test_an_ali_oss_checkpoint_file_from_a_cell(ip: InteractiveShell, oss: LocalOSS) -> None:
    """--checkpoint FILE takes what ali-oss's progress callback wrote."""
    Path("data.bin").write_bytes(payload(4 * PART))
    oss.set_faults([{"operation": "UploadPart", "part_number": 3, "kind": "error", "status": 403,
                     "code": "AccessDenied", "times": None}])  # fmt: skip
    with pytest.raises(OssmpError):
        cell(ip, "%oss_upload data.bin moved --part-size 100KiB --parallel 1 --no-checkpoint -q -o handle")
    oss.set_faults([])
    Path("theirs.json").write_text(json.dumps(ip.user_ns["handle"].checkpoint.to_ali_oss()))
    oss.journal(clear=True)
    cell(ip, "result = %oss_upload data.bin moved --checkpoint theirs.json -q")
    assert ip.user_ns["result"].parts_kept == 2
    assert sorted(entry["part_number"] for entry in requests_of(oss, "UploadPart")) == [3, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--part-size 1KiB", "100 KiB to 5 GiB"),
        ("--header 'Content-Encoding: utf-8'", "charset=utf-8"),
        ("--header 'Expires: 3600000'", "milliseconds"),
        ("--meta a_b=1", "use letters, digits and hyphens"),
        ("--traffic-limit 1", "819200"),
    ],
)
def test_checks_from_a_cell(ip: InteractiveShell, oss: LocalOSS, options: str, message: str) -> None:
    Path("data.bin").write_bytes(b"x")
    oss.journal(clear=True)
    with pytest.raises(OssmpError, match=message):
        cell(ip, f"%oss_upload data.bin k {options}")
    assert requests_of(oss) == []


# ------------------------------------------------------------------ %oss_connect


def test_connect_says_source_and_expiry_and_no_secret(
    ip: InteractiveShell, oss: LocalOSS, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell(ip, f"%oss_connect oss://demo --endpoint {oss.endpoint} --region oss-cn-hangzhou")
    said = capsys.readouterr().out
    assert "credentials from environment variables OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET" in said
    assert "expire" not in said
    monkeypatch.setenv("OSS_SESSION_TOKEN", "the/token")
    cell(ip, f"%oss_connect oss://demo --endpoint {oss.endpoint} --region cn-hangzhou")
    said += capsys.readouterr().out
    assert "with a security token that does not say when it expires" in said

    ends = datetime.now(UTC) + timedelta(hours=1, minutes=2)
    provider = CallableProvider(
        lambda: {"accessKeyId": oss.access_key_id, "accessKeySecret": oss.access_key_secret,
                 "stsToken": "the/token", "expiration": ends}
    )  # fmt: skip
    manager.set_default_connection(connection_to(oss, credentials=provider))
    cell(ip, "%oss_connect")
    expiring = capsys.readouterr().out
    assert f"which expire at {ends:%Y-%m-%d %H:%M:%S} UTC (in 1 h" in expiring
    for text in (said, expiring):
        assert oss.access_key_secret not in text and "the/token" not in text


def test_connect_prints_the_cors_rule(
    ip: InteractiveShell, oss: LocalOSS, capsys: pytest.CaptureFixture[str]
) -> None:
    """The document can be read; what it exposes is what a bucket with it exposes to a page."""
    cell(ip, "%oss_connect --cors https://hub.example.com")
    said = capsys.readouterr().out
    assert "bucket demo" in said and "Exposed Headers: ETag, x-oss-request-id" in said
    rule = ElementTree.fromstring(said[said.index("<CORSConfiguration>") :])[0]
    fields: dict[str, list[str]] = {}
    for item in rule:
        fields.setdefault(item.tag, []).append(item.text or "")
    assert fields["AllowedOrigin"] == ["https://hub.example.com"]
    assert set(fields["AllowedMethod"]) == {"GET", "PUT", "POST", "DELETE", "HEAD"}
    assert fields["AllowedHeader"] == ["*"]
    assert {"ETag", "x-oss-request-id", "x-oss-hash-crc64ecma"} <= set(fields["ExposeHeader"])
    assert "*" not in fields["ExposeHeader"]
    answer = httpx.get(f"{oss.endpoint}/demo/none", headers={"Origin": "https://hub.example.com"})
    assert answer.headers["access-control-expose-headers"].split(", ") == fields["ExposeHeader"]
    before = httpx.options(
        f"{oss.endpoint}/demo/k",
        headers={"Origin": "https://hub.example.com", "Access-Control-Request-Method": "PUT"},
    )
    assert before.status_code == 200
    cell(ip, "%oss_connect --cors")
    assert "<AllowedOrigin>*</AllowedOrigin>" in capsys.readouterr().out
    with pytest.raises(OssmpError, match="is not an origin"):
        cell(ip, "%oss_connect --cors hub.example.com/path")


def test_connect_special_endpoints(ip: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    for option, host in (
        ("--internal", "https://oss-cn-hangzhou-internal.aliyuncs.com"),
        ("--accelerate", "https://oss-accelerate.aliyuncs.com"),
        ("--dualstack", "https://cn-hangzhou.oss.aliyuncs.com"),
    ):
        cell(ip, f"%oss_connect oss://demo --region oss-cn-hangzhou {option}")
        assert f"connected to {host}, bucket demo" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.* is waiting for credentials")
def test_new_credentials_from_a_cell_let_a_waiting_upload_go_on(
    ip: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """%oss_connect after %env: the upload that waits for credentials continues by itself."""
    with LocalOSS(security_token="first") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        cell(ip, "%oss_connect")
        manager.set_default_connection(connection_to(server))
        server.set_faults([{"operation": "UploadPart", "at": 2, "kind": "expire_token", "token": "second"}])
        Path("data.bin").write_bytes(payload())
        cell(ip, "handle = %oss_upload data.bin waiting --part-size 100KiB -b -q")
        handle = ip.user_ns["handle"]
        while handle.state.value != "waiting_for_credentials":
            assert not handle.future.done()
            time.sleep(0.01)
        monkeypatch.setenv("OSS_SESSION_TOKEN", "second")
        cell(ip, f"%oss_connect oss://demo --endpoint {server.endpoint} --region cn-hangzhou")
        assert handle.wait(30).verified
        manager.stop_engine()
