from __future__ import annotations

from collections.abc import Iterator

import pytest

from ossmp_jupyter.localoss import LocalOSS
from tests.localoss.client import Client


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalOSS]:
    """One server for a whole module; tests use keys and buckets of their own."""
    with LocalOSS() as oss:
        yield oss


@pytest.fixture
def client(shared: LocalOSS) -> Iterator[Client]:
    made = Client(shared)
    yield made
    made.connection.close()
    shared.set_faults([])
