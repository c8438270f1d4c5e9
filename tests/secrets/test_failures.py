"""Whatever fails, and however its traceback is printed: no key is in it."""

from __future__ import annotations

import re

import pytest

from ossmp_jupyter.errors import CredentialsError, InputError, OssmpError
from tests.secrets.conftest import World
from tests.secrets.failing import ANSWERS, ARGUMENTS, EXPECTED, FILES, PROVIDERS, Fail
from tests.secrets.shown import shown_of_error

ALL = {**ANSWERS, **ARGUMENTS, **PROVIDERS, **FILES}


@pytest.mark.parametrize("name", ALL)
def test_failure(world: World, name: str) -> None:
    fail: Fail = ALL[name]
    with pytest.raises(BaseException) as caught:
        fail(world)
    said = f"{type(caught.value).__name__}: {caught.value}"
    if name in EXPECTED:
        assert re.match(EXPECTED[name], said), said
    else:
        assert isinstance(
            caught.value, OssmpError if "embedded" in name else InputError | CredentialsError
        ), said
    world.canaries.check(shown_of_error(caught.value))
