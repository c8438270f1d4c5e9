"""A proxy with user name and password: uploads pass it, and the password is shown nowhere."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from ossmp_jupyter import OSSClient, upload
from ossmp_jupyter.errors import OssmpError, TransportError
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.transfer.request import prepare_request
from ossmp_jupyter.transfer.retry import RetryPolicy
from ossmp_jupyter.transfer.upload import UploadTask
from tests.faults.auditor import check_sentence
from tests.faults.world import VirtualClock
from tests.parity.net import Proxy
from tests.secrets.conftest import HOST, USER, World, take
from tests.secrets.failing import PART, client_of
from tests.secrets.shown import shown_of_error, shown_of_value

pytestmark = pytest.mark.filterwarnings("ignore:http.*travel in clear")
SCHEMES = ("http", "https")


def through(world: World, scheme: str, **settings: object) -> Connection:
    return world.connection(endpoint=f"{scheme}://{HOST}", **settings)


def refused(world: World, scheme: str, *, simple: bool = False) -> OssmpError:
    """Upload by an engine that gives up soon."""

    async def act(client: OSSClient) -> object:
        request = prepare_request(client.connection, world.file(), "k", part_size=PART, simple=simple)
        clock = VirtualClock().clock()
        return await UploadTask(client._rest, request, policy=RetryPolicy(attempts=3), clock=clock).run()

    with pytest.raises(OssmpError) as caught:
        client_of(world, act, endpoint=f"{scheme}://{HOST}")
    world.canaries.check(shown_of_error(caught.value))
    check_sentence(caught.value)
    return caught.value


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_upload_by_way_of_it(world: World, proxy: Proxy, scheme: str) -> None:
    """Multipart and simple, by the engine; everything that can be looked at is."""
    connection = through(world, scheme)
    handle = upload(world.file(), "k", connection=connection, part_size=PART)
    result = handle.wait(30)
    assert result.verified and result.parts == 3
    assert upload(b"small", "s", connection=connection).wait(30).verified
    assert {name.partition(":")[0] for name in proxy.hosts} == {f"demo.{HOST}"} and not proxy.refused
    values = {"connection": connection, "handle": handle, "result": result, "progress": handle.progress,
              "checkpoint": handle.checkpoint}  # fmt: skip
    for name, value in values.items():
        world.canaries.check(shown_of_value(name, value))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("simple", [False, True], ids=["multipart", "put"])
def test_a_wrong_password(world: World, proxy: Proxy, scheme: str, simple: bool) -> None:
    """One sentence with the proxy's name; once, since another try would only lock the account."""
    proxy.login = "somebody:else"
    error = refused(world, scheme, simple=simple)
    assert type(error) is TransportError and not error.retryable
    assert f"the proxy http://127.0.0.1:{proxy.port} refused the user name or password (HTTP 407)" in str(
        error
    )
    assert f"correct them in {scheme.upper()}_PROXY" in str(error)
    assert USER not in str(error) and proxy.refused == 1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_password(world: World, proxy: Proxy, scheme: str) -> None:
    take(world, f"127.0.0.1:{proxy.port}")
    error = refused(world, scheme)
    assert f"the proxy http://127.0.0.1:{proxy.port} asks for user name and password" in str(error)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_proxy_that_is_not_there(world: World, proxy: Proxy, scheme: str) -> None:
    with socket.socket() as taken:  # bound and never listening: refused, and nobody else can have it
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        take(world, f"me:{world.password}@127.0.0.1:{port}")
        error = refused(world, scheme)
    assert f"the proxy http://127.0.0.1:{port} cannot be reached" in str(error)
    assert f"check {scheme.upper()}_PROXY and NO_PROXY" in str(error)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_password_that_expires_during_an_upload(world: World, proxy: Proxy, scheme: str) -> None:
    """The parts, too, say so; they take the ordinary way, no lane."""

    async def act(client: OSSClient) -> object:
        begun = await client.init_multipart_upload("k")
        proxy.login = "somebody:else"
        await client._http._transport.aclose()  # its connections through the proxy were let in already
        return await client.upload_part("k", begun.upload_id, 1, b"x" * PART)

    with pytest.raises(TransportError, match=r"refused the user name or password \(HTTP 407\)") as caught:
        client_of(world, act, endpoint=f"{scheme}://{HOST}")
    assert "[UploadPart (part 1)]" in str(caught.value)
    world.canaries.check(shown_of_error(caught.value))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_request_that_is_cancelled(world: World, proxy: Proxy, scheme: str) -> None:
    """The frames of the HTTP library hold what is sent to the proxy; no traceback shows it."""
    world.oss.set_faults([{"kind": "stall", "seconds": 5}])

    async def act(client: OSSClient) -> object:
        async with asyncio.timeout(0.5):
            return await client.list_objects()

    with pytest.raises(TimeoutError) as caught:
        client_of(world, act, endpoint=f"{scheme}://{HOST}")
    world.canaries.check(shown_of_error(caught.value))


def test_an_address_that_is_none(world: World, proxy: Proxy, tmp_path: Path) -> None:
    take(world, f"me:{world.password}@127.0.0.1:port")
    error = refused(world, "http")
    assert "the proxy of the environment cannot be used" in str(error)
