from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ossmp_jupyter.errors import CredentialsError
from ossmp_jupyter.oss.credentials import Credentials, CredentialsNotFound
from ossmp_jupyter.oss.flight import SingleFlight
from ossmp_jupyter.oss.providers import (
    CallableProvider,
    ChainProvider,
    EnvironmentProvider,
    StaticProvider,
    as_provider,
)

SECRET, TOKEN = "canary-secret-7f3a", "canary-token-91bc"
KEYS = Credentials("LTAI5tExample1234", SECRET, TOKEN, datetime(2030, 1, 1, tzinfo=UTC))


def test_nothing_shows_the_secret() -> None:
    for shown in (repr(KEYS), str(KEYS), f"{KEYS}", repr(StaticProvider(KEYS)), repr([KEYS])):
        assert SECRET not in shown and TOKEN not in shown
        assert "LTAI…1234" in shown and "LTAI5tExample1234" not in shown
    assert "until 2030-01-01" in repr(KEYS)


def test_pasted_white_space_is_dropped() -> None:
    keys = Credentials(" ak\n", "sk \n", "  ")
    assert (keys.access_key_id, keys.access_key_secret, keys.security_token) == ("ak", "sk", None)


@pytest.mark.parametrize(
    "arguments", [("", "sk"), ("ak", " "), ("ak", f"{SECRET}\nx"), ("ak", "sk", f"{TOKEN}\r\nx")]
)
def test_impossible_credentials(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CredentialsError) as caught:
        Credentials(*arguments)
    assert SECRET not in str(caught.value) and TOKEN not in str(caught.value)


def test_environment_is_read_each_time() -> None:
    environ: dict[str, str] = {}
    provider = EnvironmentProvider(environ)
    with pytest.raises(CredentialsNotFound):
        asyncio.run(provider.get())
    environ |= {"ALIBABA_CLOUD_ACCESS_KEY_ID": "a2", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s2",
                "ALIBABA_CLOUD_SECURITY_TOKEN": "t2"}  # fmt: skip
    assert asyncio.run(provider.get()) == Credentials("a2", "s2", "t2")
    assert "ALIBABA_CLOUD_SECURITY_TOKEN" in provider.source
    environ |= {"OSS_ACCESS_KEY_ID": "a1", "OSS_ACCESS_KEY_SECRET": "s1"}
    assert asyncio.run(provider.get()) == Credentials("a1", "s1"), "OSS_* go first, and tokens are not mixed"
    environ["OSS_SESSION_TOKEN"] = "t1"
    assert asyncio.run(provider.refresh()) == Credentials("a1", "s1", "t1")
    del environ["OSS_ACCESS_KEY_SECRET"]
    with pytest.raises(CredentialsError, match="OSS_ACCESS_KEY_ID is set but OSS_ACCESS_KEY_SECRET is not"):
        asyncio.run(provider.get())


def test_chain_says_which_was_used() -> None:
    environ: dict[str, str] = {}
    chain = ChainProvider([EnvironmentProvider(environ), StaticProvider(KEYS, "the second")])
    assert asyncio.run(chain.get()) == KEYS
    assert chain.source == "the second"
    environ |= {"OSS_ACCESS_KEY_ID": "a1", "OSS_ACCESS_KEY_SECRET": "s1"}
    assert asyncio.run(chain.get()) == Credentials("a1", "s1")
    assert "OSS_ACCESS_KEY_ID" in chain.source


def test_chain_does_not_pass_over_what_is_broken() -> None:
    chain = ChainProvider([EnvironmentProvider({"OSS_ACCESS_KEY_ID": "half"}), StaticProvider(KEYS)])
    with pytest.raises(CredentialsError, match="OSS_ACCESS_KEY_SECRET is not"):
        asyncio.run(chain.get())


def test_empty_chain_lists_what_was_tried() -> None:
    with pytest.raises(CredentialsError, match=r"no OSS credentials were found .*are not set") as caught:
        asyncio.run(ChainProvider([EnvironmentProvider({})]).get())
    assert caught.value.hint and "ossutil config" in caught.value.hint


ALI_OSS = {"accessKeyId": "ak", "accessKeySecret": "sk", "stsToken": "t"}


async def coroutine() -> dict[str, str]:
    return ALI_OSS


@pytest.mark.parametrize(
    "function",
    [
        lambda: ALI_OSS,
        coroutine,
        lambda: {"AccessKeyId": "ak", "AccessKeySecret": "sk", "SecurityToken": "t"},
        lambda: {"access_key_id": "ak", "access_key_secret": "sk", "security_token": "t"},
        lambda: Credentials("ak", "sk", "t"),
    ],
)
def test_functions(function: Callable[[], Any]) -> None:
    assert asyncio.run(as_provider(function).get()) == Credentials("ak", "sk", "t")


def test_functions_are_asked_again_in_time() -> None:
    asked: list[int] = []

    def fetch() -> dict[str, object]:
        asked.append(1)
        life = timedelta(minutes=1) if len(asked) == 1 else timedelta(hours=1)
        return {**ALI_OSS, "stsToken": f"t{len(asked)}", "expiration": (datetime.now(UTC) + life).isoformat()}

    provider = CallableProvider(fetch)
    tokens = [asyncio.run(provider.get()).security_token for _ in range(3)]
    assert tokens == ["t1", "t2", "t2"]


def test_function_that_fails_while_the_old_keys_still_work() -> None:
    answers = [Credentials("ak", "sk", "old", datetime.now(UTC) + timedelta(minutes=1))]
    provider = CallableProvider(answers.pop)
    assert asyncio.run(provider.get()).security_token == "old"
    assert asyncio.run(provider.get()).security_token == "old"
    with pytest.raises(CredentialsError):
        asyncio.run(provider.refresh())


def test_lifetime() -> None:
    asked: list[int] = []
    provider = CallableProvider(lambda: asked.append(1) or ALI_OSS, lifetime=timedelta(0))
    asyncio.run(provider.get())
    asyncio.run(provider.get())
    assert len(asked) == 2


def failing() -> None:
    raise RuntimeError(f"my key is {SECRET}")


@pytest.mark.parametrize(
    "function", [failing, lambda: None, lambda: {}, lambda: {**ALI_OSS, "expiration": "tomorrow"}]
)
def test_functions_that_fail(function: Callable[[], Any]) -> None:
    with pytest.raises(CredentialsError) as caught:
        asyncio.run(CallableProvider(function).get())
    assert SECRET not in str(caught.value)


def test_as_provider() -> None:
    provider = StaticProvider(KEYS)
    assert as_provider(provider) is provider
    assert asyncio.run(as_provider(KEYS).get()) is KEYS
    assert asyncio.run(as_provider(ALI_OSS).get()) == Credentials("ak", "sk", "t")
    with pytest.raises(CredentialsError, match="a int cannot provide credentials"):
        as_provider(7)


# --- one flight for many loops ------------------------------------------------------------------


def test_one_flight_across_loops_in_threads() -> None:
    flight: SingleFlight[int] = SingleFlight()
    started = threading.Barrier(4)
    asked: list[int] = []
    runs: list[int] = []
    results: list[int] = []

    async def work() -> int:
        runs.append(1)
        while len(asked) < 40:  # it lasts until the last one asks
            await asyncio.sleep(0.01)
        return len(runs)

    async def ask() -> int:
        asked.append(1)
        return await flight.run(work)

    async def many() -> list[int]:
        return await asyncio.gather(*(ask() for _ in range(10)))

    def thread() -> None:
        started.wait()
        results.extend(asyncio.run(many()))

    threads = [threading.Thread(target=thread) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(results) == 40
    assert len(runs) == max(results) <= 4, "the last to ask in each other thread may come after the landing"


def test_followers_share_the_failure() -> None:
    flight: SingleFlight[int] = SingleFlight()
    runs: list[int] = []

    async def work() -> int:
        runs.append(1)
        await asyncio.sleep(0.01)
        raise ValueError("no")

    async def scenario() -> None:
        outcomes = await asyncio.gather(*(flight.run(work) for _ in range(5)), return_exceptions=True)
        assert [type(one) for one in outcomes] == [ValueError] * 5
        assert len(runs) == 1
        with pytest.raises(ValueError, match="no"):
            await flight.run(work)
        assert len(runs) == 2, "a failure is not remembered"

    asyncio.run(scenario())


def test_a_cancelled_leader_is_replaced() -> None:
    flight: SingleFlight[str] = SingleFlight()
    runs: list[int] = []

    async def work() -> str:
        runs.append(1)
        await asyncio.sleep(0.05)
        return "fine"

    async def scenario() -> None:
        leader = asyncio.create_task(flight.run(work))
        await asyncio.sleep(0)
        followers = [asyncio.create_task(flight.run(work)) for _ in range(3)]
        await asyncio.sleep(0)
        leader.cancel()
        assert await asyncio.gather(*followers) == ["fine"] * 3
        assert leader.cancelled()
        assert len(runs) == 2

    asyncio.run(scenario())


def test_a_cancelled_follower_leaves_the_others_alone() -> None:
    flight: SingleFlight[str] = SingleFlight()

    async def work() -> str:
        await asyncio.sleep(0.05)
        return "fine"

    async def scenario() -> None:
        tasks = [asyncio.create_task(flight.run(work)) for _ in range(4)]
        await asyncio.sleep(0.01)
        tasks[2].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(one) for one in outcomes] == ["fine", "fine", "", "fine"]

    asyncio.run(scenario())


def test_a_leader_whose_loop_ends_is_replaced() -> None:
    flight: SingleFlight[str] = SingleFlight()
    leading = threading.Event()

    async def never() -> str:
        leading.set()
        await asyncio.sleep(3600)
        return "never"

    async def fine() -> str:
        return "fine"

    def short_lived() -> None:
        async def main() -> None:
            task = asyncio.create_task(flight.run(never))
            await asyncio.sleep(0.2)  # the loop ends with the task still running
            assert not task.done()

        asyncio.run(main())

    thread = threading.Thread(target=short_lived)
    thread.start()
    assert leading.wait(30)
    began = time.monotonic()
    assert asyncio.run(asyncio.wait_for(flight.run(fine), 20)) == "fine"
    assert time.monotonic() - began < 20
    thread.join()
