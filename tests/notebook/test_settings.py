"""%config OssMagics: what is listed, what is refused, and what goes before what."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.notebook.settings import MagicSettings
from ossmp_jupyter.transfer import manager
from tests.notebook.conftest import Shell

NAMES = sorted(MagicSettings.class_traits(config=True))

REFUSED = [
    ("ui", "'loud'", "'auto', 'widget', 'text', 'none'"),
    ("ui", "3", "'auto'"),
    ("refresh", "0", "0.2 to 10"),
    ("refresh", "'fast'", "0.2 to 10"),
    ("refresh", "float('nan')", "0.2 to 10"),
    ("bucket", "'No_Bucket'", "my-bucket"),
    ("bucket", "'oss://demo/key'", "my-bucket"),
    ("bucket", "5", "my-bucket"),
    ("region", "'cn hangzhou'", "cn-hangzhou"),
    ("region", "'CN-Hangzhou'", "cn-hangzhou"),
    ("region", "'https://oss-cn-hangzhou.aliyuncs.com'", "cn-hangzhou"),
    ("part_size", "'1KiB'", "100 KiB to 5 GiB"),
    ("part_size", "'many'", "16MiB"),
    ("part_size", "102399", "100 KiB"),
    ("part_size", "True", "100 KiB"),
    ("parallel", "65", "1 to 64"),
    ("parallel", "-1", "1 to 64"),
    ("parallel", "2.5", "whole number"),
    ("parallel", "'4'", "whole number"),
    ("timeout", "-1", "seconds"),
    ("timeout", "float('inf')", "seconds"),
    ("timeout", "'long'", "seconds"),
    ("checkpoint", "'yes'", "True or False"),
]

TAKEN = [
    ("ui", "'none'", "none"),
    ("refresh", "2", 2.0),
    ("bucket", "'oss://my-bucket/'", "my-bucket"),
    ("region", "'oss-cn-hangzhou'", "cn-hangzhou"),
    ("part_size", "8388608", "8388608"),
    ("part_size", "'1 MiB'", "1 MiB"),
    ("parallel", "64", 64),
    ("timeout", "7.5", 7.5),
    ("checkpoint", "False", False),
]


def value(shell: Shell, name: str) -> object:
    return getattr(shell.ip.find_line_magic("oss_upload").__self__, name)


@pytest.mark.parametrize(("name", "given", "words"), REFUSED)
def test_what_cannot_be_is_refused_in_one_sentence(
    shell: Shell, name: str, given: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = value(shell, name)
    shell.run(f"%config OssMagics.{name} = {given}")  # IPython writes a line and goes on
    # threads of earlier tests may log meanwhile
    (said,) = (one.getMessage() for one in caplog.records if "OssMagics" in one.getMessage())
    assert said.startswith(f"OssMagics.{name} cannot be "), said
    assert words in said and "\n" not in said and "trait" not in said
    assert value(shell, name) == before


@pytest.mark.parametrize(("name", "given", "kept"), TAKEN)
def test_what_can_be_is_taken(shell: Shell, name: str, given: str, kept: object) -> None:
    shell.run(f"%config OssMagics.{name} = {given}")
    assert value(shell, name) == kept


def test_every_setting_is_refused_something_and_listed_with_help(shell: Shell) -> None:
    assert sorted({name for name, _, _ in REFUSED}) == sorted({name for name, _, _ in TAKEN}) == NAMES
    shell.run("%config OssMagics")
    listed = shell.text().split("OssMagics.")[1:]
    assert [text.partition("=")[0] for text in listed] == NAMES
    for text in listed:
        kind, explained, *_ = text.splitlines()
        assert "<_" not in kind
        assert len(explained.strip()) > 20
    guide = (Path(__file__).parents[2] / "docs" / "guide.md").read_text(encoding="utf-8")
    section = guide.partition("## Settings")[2].partition("\n## ")[0]
    assert all(f"`{name}`" in section for name in NAMES)


# ---------------------------------------------------------------------- what goes before what
def connected_to(shell: Shell, line: str = "%oss_connect") -> tuple[str | None, str | None, str]:
    manager.set_default_connection(None)
    shell.run(line)
    said = shell.text()
    connection = manager.default_connection()
    assert connection is not None
    return connection.bucket, connection.endpoint.region, said.rpartition("credentials from ")[2].strip()


def test_option_then_config_then_environment_then_files(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ossutilconfig").write_text(
        "[default]\naccessKeyID = in-file\naccessKeySecret = s\nregion = cn-shanghai\n"
        "[profile work]\naccessKeyID = in-profile\naccessKeySecret = s\nregion = cn-chengdu\n"
    )
    assert connected_to(shell) == (None, "cn-shanghai", "~/.ossutilconfig (profile default)")
    for name, text in {"BUCKET": "from-env", "REGION": "cn-beijing", "ACCESS_KEY_ID": "i",
                       "ACCESS_KEY_SECRET": "s"}.items():  # fmt: skip
        monkeypatch.setenv(f"OSS_{name}", text)
    assert connected_to(shell)[:2] == ("from-env", "cn-beijing")
    assert connected_to(shell)[2].startswith("environment")
    shell.run("%config OssMagics.bucket = 'from-config'\n%config OssMagics.region = 'cn-shenzhen'")
    assert connected_to(shell)[:2] == ("from-config", "cn-shenzhen")
    assert connected_to(shell, "%oss_connect oss://by-option --region cn-hangzhou")[:2] == (
        "by-option",
        "cn-hangzhou",
    )
    shell.run("%config OssMagics.region = ''")
    profile = connected_to(shell, "%oss_connect --profile work")  # names its file before the environment
    assert profile[1:] == ("cn-chengdu", "~/.ossutilconfig (profile work)")


def test_the_look_by_option_then_config_then_environment(
    connected: Shell, folder: Path, oss: LocalOSS, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.bin").write_bytes(os.urandom(1000))
    session = connected.ip.find_line_magic("oss_upload").__self__.session
    monkeypatch.setenv("OSSMP_UI", "none")
    assert session.ui(None) == "none"
    connected.run("%config OssMagics.ui = 'text'")
    assert session.ui(None) == "text"
    assert session.ui("none") == "none"


def test_a_configuration_file(tmp_path: Path) -> None:
    """What can be counts; what cannot be is said in a sentence and does not keep the magics away."""
    profile = tmp_path / "profile_default"
    profile.mkdir()
    (profile / "ipython_config.py").write_text(
        "c = get_config()\nc.OssMagics.parallel = 99\nc.OssMagics.part_size = '1MiB'\n"
    )
    code = (
        "%load_ext ossmp_jupyter\n"
        "m = get_ipython().find_line_magic('oss_upload').__self__\n"
        "print('kept', m.parallel, m.part_size)\n"
        "%config OssMagics.part_size = '2MiB'\n"
        "print('kept', m.parallel, m.part_size)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", "-c", code],
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert [line for line in done.stdout.splitlines() if line.startswith("kept")] == [
        "kept 0 1MiB",
        "kept 0 2MiB",
    ]
    assert "OssMagics.parallel cannot be 99; give a whole number from 1 to 64" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
