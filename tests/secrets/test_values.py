"""No public value shows a key: repr, format, pretty-printing, attributes, copies, pickles."""

from __future__ import annotations

import asyncio
import copy
import json
import multiprocessing
import pickle
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter import OSSClient, upload
from ossmp_jupyter.errors import CredentialsError
from ossmp_jupyter.oss._exchange import Call
from ossmp_jupyter.oss.config_files import AliyunConfigProvider, OssutilConfigProvider, default_chain
from ossmp_jupyter.oss.credentials import Credentials
from ossmp_jupyter.oss.providers import CallableProvider, EnvironmentProvider, StaticProvider, as_provider
from ossmp_jupyter.oss.roles import AlibabaCredentialsProvider
from tests.secrets.canary import Canaries
from tests.secrets.conftest import World
from tests.secrets.shown import shown_of_value


class Desk:
    """A provider of a user's own."""

    source = "a desk"

    def __init__(self, keys: Credentials) -> None:
        self.keys = keys

    async def get(self) -> Credentials:
        return self.keys

    refresh = get


def _ossutil(world: World) -> OssutilConfigProvider:
    keys = world.canaries
    path = world.folder / "ossutilconfig"
    path.write_text(
        f"[Credentials]\naccessKeyID={keys.access_key_id}\naccessKeySecret={keys.access_key_secret}\n"
        f"stsToken={keys.security_token}\n"
    )
    return OssutilConfigProvider(path, environ={})


def _aliyun(world: World) -> AliyunConfigProvider:
    keys = world.canaries
    profile = {"name": "p", "mode": "StsToken", "access_key_id": keys.access_key_id,
               "access_key_secret": keys.access_key_secret, "sts_token": keys.security_token}  # fmt: skip
    path = world.folder / "config.json"
    path.write_text(json.dumps({"current": "p", "profiles": [profile]}))
    return AliyunConfigProvider(path, environ={})


PROVIDERS: dict[str, Callable[[World], Any]] = {
    "static": lambda w: StaticProvider(Credentials(**w.canaries.settings())),
    "environment": lambda w: EnvironmentProvider(w.canaries.environment()),
    "function": lambda w: CallableProvider(w.canaries.answer),
    "mapping": lambda w: as_provider(w.canaries.answer()),
    "own": lambda w: as_provider(Desk(Credentials(**w.canaries.settings()))),
    "ossutil": _ossutil,
    "aliyun": _aliyun,
    "library": lambda w: AlibabaCredentialsProvider(w.canaries.environment()),
    "chain": lambda w: default_chain(environ=w.canaries.environment()),
}


@pytest.mark.parametrize("kind", PROVIDERS)
def test_providers(world: World, kind: str) -> None:
    provider = PROVIDERS[kind](world)
    if kind != "library":
        found = asyncio.run(provider.get())
        assert found.access_key_secret == world.canaries.access_key_secret
        assert found.security_token == world.canaries.security_token
        world.canaries.check(shown_of_value("credentials", found))
    world.canaries.check(shown_of_value(kind, provider) | {"source": provider.source})
    shown = shown_of_value("connection", world.connection(credentials=provider))
    world.canaries.check(shown)


def test_values_of_an_upload(world: World) -> None:
    connection = world.connection()
    handle = upload(world.file(), "k", connection=connection, part_size=102_400, meta={"a": "b"})
    result = handle.wait(30)

    async def heads() -> list[Any]:
        async with OSSClient(connection) as client:
            begun = await client.init_multipart_upload("other")
            part = await client.upload_part("other", begun.upload_id, 1, b"x" * 102_400)
            listed = await client.list_uploads(), await client.list_parts("other", begun.upload_id)
            await client.abort_multipart_upload("other", begun.upload_id)
            return [client, begun, part, *listed, await client.head("k"), await client.list_objects(),
                    client._rest]  # fmt: skip

    values = [handle, handle.request, handle.progress, handle.checkpoint, result, world.oss, connection,
              connection.endpoint, Call("PutObject", "PUT", "b", headers={"a": "b"}),
              *asyncio.run(heads())]  # fmt: skip
    for value in values:
        world.canaries.check(shown_of_value(type(value).__name__, value))
    assert handle.checkpoint is not None
    world.canaries.check({"the checkpoint's dict": json.dumps(handle.checkpoint.to_dict())})
    assert pickle.loads(pickle.dumps(result)) == result


def test_a_presigned_link_is_asked_for(world: World) -> None:
    """It carries ID and token, as the protocol wants it, never the secret; who serves it notes neither."""

    async def link(signature: str) -> str:
        async with OSSClient(world.connection(signature=signature)) as client:
            await client.put("k", b"here")
            return await client.presign("k")

    for signature in ("v1", "v4"):
        address = asyncio.run(link(signature))
        found = world.canaries.scan({"the link": address})
        assert {leak.canary for leak in found} == {"access key ID", "security token"}
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.read() == b"here"
    assert [one["operation"] for one in world.oss.journal()].count("GetObject") == 2


def test_credentials_are_copied_and_not_pickled(canaries: Canaries) -> None:
    keys = Credentials(**canaries.settings())
    assert copy.deepcopy(keys) == copy.copy(keys) == keys
    with pytest.raises(CredentialsError, match="cannot be pickled"):
        pickle.dumps(keys)


def test_the_server_of_the_keys_shows_none(world: World) -> None:
    """``ps`` and the process's environment, which outlive everything that was printed."""
    process = Path(f"/proc/{world.oss.pid}")
    if not process.exists():
        pytest.skip("there is no /proc here")
    told = {name: (process / name).read_bytes() for name in ("cmdline", "environ", "status", "comm")}
    assert b"localoss" in told["cmdline"]
    world.canaries.check(told)


def test_the_server_does_not_inherit_the_users_keys(world: World) -> None:
    from ossmp_jupyter.localoss import LocalOSS

    for name, value in world.canaries.environment().items():
        world.patch.setenv(name, value)
        world.patch.setenv(name.replace("OSS_", "ALIBABA_CLOUD_"), value)
    with LocalOSS() as server:
        told = {name: Path(f"/proc/{server.pid}/{name}").read_bytes() for name in ("cmdline", "environ")}
    world.canaries.check(told)


def test_other_processes_get_no_keys(world: World) -> None:
    """A connection does not go to a worker of multiprocessing: it would pass through a pipe in clear."""
    # A shell of another test may have left a __main__ of its own that multiprocessing cannot name.
    world.patch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=print, args=(world.connection(),))
    with pytest.raises(CredentialsError, match="anew") as refused:
        process.start()
    world.canaries.check({"the refusal": str(refused.value)})
