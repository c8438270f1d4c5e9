"""Links without keys: what they say of their end is true, and no cell shows them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.notebook.links import Link, link_end
from ossmp_jupyter.oss.credentials import Credentials
from ossmp_jupyter.oss.providers import StaticProvider
from ossmp_jupyter.transfer import manager
from tests.notebook.conftest import Shell


@pytest.fixture
def published(connected: Shell, folder: Path) -> Shell:
    (folder / "a b.bin").write_bytes(b"content")
    connected.run("%oss_upload 'a b.bin' 'dir/a b.bin' -q")
    connected.text()
    return connected


def test_a_link_works_without_keys_and_is_not_shown(published: Shell) -> None:
    before = datetime.now(UTC)
    link: Link = published.value("%oss_link 'dir/a b.bin' --expires 2h")
    assert httpx.get(str(link.url), trust_env=False).content == b"content"
    assert timedelta(seconds=-2) <= link.ends - before - timedelta(hours=2) < timedelta(minutes=1)
    assert link_end(link.url) == link.ends

    published.run("link = %oss_link 'dir/a b.bin'\nlink")
    published.run("link.url")
    shown = published.text()
    assert "link to oss://demo/dir/a b.bin, works until " in shown
    assert "signature" not in shown.lower(), shown
    published.run("print(link.url)")
    assert "x-oss-signature=" in published.text()


def test_what_cannot_be_linked(published: Shell) -> None:
    assert "NoSuchKey" in str(published.fails("%oss_link dir/nothing"))
    assert "7 days" in str(published.fails("%oss_link 'dir/a b.bin' --expires 8d"))
    assert "--expires" in str(published.fails("%oss_link 'dir/a b.bin' --expires soon"))


@pytest.mark.parametrize("signature", ["v1", "v4"])
def test_a_link_ends_with_the_token_that_signed_it(
    shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch, signature: str
) -> None:
    now = datetime.now(UTC)
    with LocalOSS(buckets=("demo",), security_token="a token of STS") as oss:
        for name, value in oss.environment().items():
            monkeypatch.setenv(name, value)
        (folder / "a.bin").write_bytes(b"content")
        shell.run(f"%oss_connect oss://demo --signature {signature}\n%oss_upload a.bin oss://demo/a.bin -q")
        link: Link = shell.value("%oss_link a.bin")
        assert httpx.get(str(link.url), trust_env=False).content == b"content"
        assert "whose end is not known" in link.words()

        for minutes in (10, 600, -1):
            ends = now + timedelta(minutes=minutes)
            keys = Credentials(oss.access_key_id, oss.access_key_secret, oss.security_token, ends)
            manager.set_default_connection(
                replace(manager.current_connection(), credentials=StaticProvider(keys))
            )
            if minutes < 0:
                assert "the security token has ended" in str(shell.fails("%oss_link a.bin"))
                continue
            link = shell.value("%oss_link a.bin")
            assert httpx.get(str(link.url), trust_env=False).content == b"content"
            assert (link.ends == ends) == (minutes == 10)
            assert ("when the security token ends" in link.words()) == (minutes == 10)
