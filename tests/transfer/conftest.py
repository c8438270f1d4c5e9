from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.transfer import manager
from tests.transfer.support import Bucket, make_connection, make_file

_names = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine tests on a loop of their own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(scope="session")
def server() -> Iterator[LocalOSS]:
    """One process per worker; each test has a bucket of its own in it."""
    with LocalOSS(buckets=("first",)) as running:
        yield running


@pytest.fixture
def oss(server: LocalOSS) -> Iterator[Bucket]:
    name = f"bucket-{next(_names)}"
    connection = make_connection(server, name)
    manager.call(lambda client: client.put_bucket(name), connection).result(30)
    server.journal(clear=True)
    yield Bucket(server, name, connection)
    server.set_faults([])
    server.set_bandwidth(None)
    manager.stop_engine(20)  # what is cut off half-way would meet the next test
    manager.set_default_connection(None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of six parts."""
    return make_file(tmp_path)
