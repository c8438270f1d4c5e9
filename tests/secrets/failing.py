"""Ways to fail, each by the public interface, with keys that are canaries."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from ossmp_jupyter import LocalOSS, OSSClient, upload
from ossmp_jupyter.oss.config_files import AliyunConfigProvider, OssutilConfigProvider, default_chain
from ossmp_jupyter.oss.credentials import Credentials
from ossmp_jupyter.oss.providers import CallableProvider, EnvironmentProvider
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer.lanes import PartBody
from ossmp_jupyter.transfer.progress import State
from ossmp_jupyter.transfer.request import prepare_request
from ossmp_jupyter.transfer.retry import RetryPolicy
from ossmp_jupyter.transfer.upload import UploadTask
from tests.faults.world import VirtualClock
from tests.secrets.conftest import World

__all__ = ["ANSWERS", "ARGUMENTS", "EXPECTED", "FILES", "PROVIDERS", "Fail"]

PART = 102_400
Fail = Callable[[World], object]


def client_of(world: World, act: Callable[[OSSClient], Coroutine[Any, Any, Any]], **settings: Any) -> Any:
    connection = world.connection(**settings)

    async def whole() -> Any:
        async with OSSClient(connection) as client:
            return await act(client)

    del settings  # which this frame's traceback would show
    return asyncio.run(whole())


def engine_of(world: World, source: object = None, **settings: Any) -> Any:
    """An upload that gives up soon, with its whole life on the stack."""

    async def act(client: OSSClient) -> Any:
        given = world.file() if source is None else source
        request = prepare_request(client.connection, given, "k", part_size=PART, simple=False)
        clock = VirtualClock().clock()
        return await UploadTask(client._rest, request, policy=RetryPolicy(attempts=3), clock=clock).run()

    return client_of(world, act, **settings)


def other(world: World) -> str:
    """A key that is wrong and must not be shown either: the canary with its ends exchanged."""
    return world.canaries.access_key_secret[::-1]


def with_fault(world: World, fail: Callable[[], object], **rule: Any) -> object:
    world.oss.set_faults([{"times": None, **rule}])
    return fail()


# ------------------------------------------------------------------ what the server answers
def denied(world: World) -> object:
    echo = json.dumps(world.canaries.settings())
    return with_fault(
        world, lambda: engine_of(world), kind="error", status=403, code="AccessDenied", message=echo
    )


def expired(world: World) -> object:
    world.oss.expire_token("another")
    return client_of(world, lambda client: client.head("k"))


def expired_and_not_renewed(world: World) -> object:
    calls: list[int] = []

    def desk() -> dict[str, str]:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError(f"no more: {world.canaries.answer()}")
        return world.canaries.answer()

    world.oss.expire_token("another")
    return client_of(world, lambda client: client.head("k"), credentials=desk)


def refused_callback(world: World) -> object:
    async def act(client: OSSClient) -> object:
        begun = await client.init_multipart_upload("k")
        part = await client.upload_part("k", begun.upload_id, 1, b"x" * PART)
        callback = {"url": "http://127.0.0.1:9/", "body": "k=${object}"}
        parts = [(1, part.etag)]
        return await client.complete_multipart_upload("k", begun.upload_id, parts, callback=callback)

    return client_of(world, act)


class BrokenSource:
    """A reader of a user's own that fails while a lane sends."""

    def read_into(self, offset: int, view: memoryview) -> int:
        raise OSError("the disk is gone")


def broken_reader(world: World) -> object:
    """The lane's own frames hold the whole request."""

    async def act(client: OSSClient) -> object:
        begun = await client.init_multipart_upload("k")
        rest: RestClient = client._rest
        body = PartBody(BrokenSource(), 0, PART)
        return await rest.upload_part("demo", "k", begun.upload_id, 1, body, length=PART)

    return client_of(world, act)


def broken_stream(world: World) -> object:
    def pieces() -> Any:
        yield b"x" * PART
        raise ValueError("the generator failed")

    return engine_of(world, pieces())


def interrupted(world: World) -> object:
    """The stop button while a request is under way: the frames below are httpx's own."""
    world.oss.set_faults([{"kind": "stall", "seconds": 5}])

    def press() -> None:
        end = time.monotonic() + 20
        while not world.oss.journal() and time.monotonic() < end:
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=press).start()
    return client_of(world, lambda client: client.put("k", b"x" * 1000))


def cancelled(world: World) -> object:
    world.oss.set_faults([{"kind": "stall", "seconds": 5}])

    async def act(client: OSSClient) -> object:
        async with asyncio.timeout(0.3):
            return await client.list_objects()

    return client_of(world, act)


def waiting(world: World) -> object:
    """An upload that waits for new keys says why; it is aborted then."""
    world.oss.expire_token("another")
    handle = upload(world.file(), "k", connection=world.connection(), part_size=PART)
    end = time.monotonic() + 20
    while handle.state is not State.WAITING and time.monotonic() < end:
        time.sleep(0.01)
    world.canaries.check({"progress": repr(handle.progress), "handle": repr(handle)})
    handle.abort().result(20)
    return handle.wait(20)


ANSWERS: dict[str, Fail] = {
    "wrong key ID": lambda w: engine_of(w, access_key_id=w.canaries.access_key_id[:-1] + "x"),
    "wrong secret": lambda w: engine_of(w, access_key_secret=other(w)),
    "wrong secret, V1": lambda w: engine_of(w, access_key_secret=other(w), signature="v1"),
    "wrong secret, HEAD": lambda w: client_of(w, lambda c: c.head("k"), access_key_secret=other(w)),
    "wrong token": lambda w: engine_of(w, security_token=w.canaries.security_token[::-1]),
    "expired token": expired,
    "expired token, not renewed": expired_and_not_renewed,
    "waiting for keys": waiting,
    "denied": denied,
    "no such bucket": lambda w: client_of(w, lambda c: c.head("oss://nowhere/k")),
    "reset": lambda w: with_fault(w, lambda: engine_of(w), operation="UploadPart", kind="reset"),
    "reset at the beginning": lambda w: with_fault(
        w, lambda: engine_of(w), operation="InitiateMultipartUpload", kind="reset"
    ),
    "reset of one call": lambda w: with_fault(
        w, lambda: client_of(w, lambda c: c.list_objects()), kind="reset"
    ),
    "errors for good": lambda w: with_fault(
        w, lambda: engine_of(w), operation="UploadPart", kind="error", status=500
    ),
    "a page of HTML": lambda w: with_fault(w, lambda: engine_of(w), kind="html"),
    "damaged": lambda w: with_fault(
        w, lambda: engine_of(w), operation="UploadPart", kind="corrupt_part", where="transit"
    ),
    "callback refused": refused_callback,
    "nobody there": lambda w: engine_of(w, endpoint="http://127.0.0.1:9"),
    "broken reader": broken_reader,
    "broken stream": broken_stream,
    "interrupted": interrupted,
    "cancelled": cancelled,
}


EXPECTED = {
    "wrong key ID": "AccessDenied: .*InvalidAccessKeyId",
    "wrong secret": "AccessDenied: .*Initiate.*SignatureDoesNotMatch",
    "wrong secret, V1": "AccessDenied: .*Initiate.*SignatureDoesNotMatch",
    "wrong secret, HEAD": "AccessDenied: .*HeadObject.*SignatureDoesNotMatch",
    "wrong token": "AccessDenied: .*InvalidSecurityToken",
    "expired token": "CredentialsExpired: .*expired",
    "expired token, not renewed": r"CredentialsExpired: .*failed with RuntimeError \(line \d+ of desk\)",
    "waiting for keys": "UploadAborted",
    "denied": "AccessDenied: .*access_key_id",
    "no such bucket": "NoSuchBucket",
    "reset": "TransportError: UploadPart.*after 3 attempts",
    "reset at the beginning": "TransportError: Initiate.*after 8 attempts",
    "reset of one call": "TransportError: .*ListObjects",
    "errors for good": "ServerError: UploadPart.*after 3 attempts",
    "a page of HTML": "NotOSS",
    "damaged": "IntegrityError",
    "callback refused": "CallbackFailed",
    "nobody there": "TransportError: .*refused the connection",
    "broken reader": "OSError: the disk is gone",
    "broken stream": "SourceFailed",
    "interrupted": "KeyboardInterrupt",
    "cancelled": "TimeoutError",
    "an unknown setting": "TypeError",
}
"""What the failures are: so that none of them is another than it means to be."""


# ------------------------------------------------------------------ arguments
def _client(world: World, **settings: Any) -> object:
    return OSSClient(**{"endpoint": "http://127.0.0.1:9", "region": "cn-hangzhou", "bucket": "demo",
                        "environ": world.canaries.environment(), **settings})  # fmt: skip


def _presign(world: World, expires: int, **settings: Any) -> object:
    return client_of(world, lambda client: client.presign("k", expires=expires), **settings)


def _bad_plan(world: World) -> object:
    world.oss.set_faults([{"kind": "no such kind"}])
    return None


ARGUMENTS: dict[str, Fail] = {
    "secret missing": lambda w: w.connection(access_key_secret=None),
    "ID missing": lambda w: w.connection(access_key_id=None),
    "keys twice": lambda w: w.connection(credentials=w.canaries.answer(), access_key_secret=other(w)),
    "line break in the secret": lambda w: w.connection(
        access_key_secret=w.canaries.access_key_secret.replace("+", "\n")
    ),
    "line break in the token": lambda w: Credentials(
        w.canaries.access_key_id, w.canaries.access_key_secret, w.canaries.security_token.replace("+", "\r\n")
    ),
    "empty ID": lambda w: Credentials(" ", w.canaries.access_key_secret, w.canaries.security_token),
    "a token that is not ASCII": lambda w: client_of(
        w, lambda client: client.head("k"), security_token=w.canaries.security_token + "é"
    ),
    "broken expiration": lambda w: w.connection(
        credentials={**w.canaries.answer(), "Expiration": w.canaries.access_key_secret}
    ),
    "half a mapping": lambda w: w.connection(credentials={"AccessKeySecret": w.canaries.access_key_secret}),
    "a list": lambda w: w.connection(credentials=list(w.canaries.answer().values())),
    "a text": lambda w: w.connection(credentials=w.canaries.access_key_secret),
    "a bad time-out": lambda w: _client(w, **w.canaries.settings(), timeout=-1),
    "a bad signature": lambda w: _client(w, **w.canaries.settings(), signature="v9"),
    "an unknown setting": lambda w: _client(w, **w.canaries.settings(), secret=w.canaries.access_key_secret),
    "half a pair": lambda w: _client(w, access_key_secret=w.canaries.access_key_secret),
    "half a pair of variables": lambda w: asyncio.run(
        EnvironmentProvider({"OSS_ACCESS_KEY_SECRET": w.canaries.access_key_secret}).get()
    ),
    "no region": lambda w: _client(w, endpoint="http://oss.example.com", region=None),
    "a bad region": lambda w: _client(w, region="no region"),
    "keys in the endpoint": lambda w: _client(
        w, endpoint=f"https://me:{w.password}@oss-cn-hangzhou.aliyuncs.com"
    ),
    "keys in the endpoint, badly": lambda w: _client(
        w, endpoint=f"https://me:{w.password}/@oss-cn-hangzhou.aliyuncs.com"
    ),
    "keys in OSS_ENDPOINT": lambda w: _client(
        w,
        endpoint=None,
        environ={"OSS_ENDPOINT": f"http://me:{w.password}@h:port", "OSS_REGION": "x"},
    ),
    "a bad part size": lambda w: upload(b"x", "k", connection=w.connection(), part_size="no"),
    "no file": lambda w: upload("nowhere.bin", "k", connection=w.connection()),
    "a link for too long": lambda w: _presign(w, 10**9),
    "a link for no time": lambda w: _presign(w, 0, signature="v1"),
    "an embedded OSS that does not start": lambda w: LocalOSS(
        buckets=("NO BUCKET",), **w.canaries.settings()
    ).start(),
    "an embedded OSS with bad arguments": lambda w: LocalOSS(buckets=(), **w.canaries.settings()),
    "a bad fault plan": _bad_plan,
}  # fmt: skip


# ------------------------------------------------------------------ providers of users
class Own:
    """A provider of the user's own that fails as told, with keys in its variables."""

    source = "my own"

    def __init__(self, answer: Callable[[], object]) -> None:
        self.answer = answer

    async def get(self) -> Any:
        return self.answer()

    async def refresh(self) -> Any:
        return self.answer()


def _raises(world: World, kind: type[Exception] = RuntimeError) -> Callable[[], object]:
    def desk() -> object:
        answer = world.canaries.answer()
        try:
            raise KeyError(answer["SecurityToken"])
        except KeyError as error:
            error.add_note(answer["AccessKeySecret"])
            raise kind(f"a strange answer: {answer}") from error

    return desk


def _head(world: World, credentials: object) -> object:
    return client_of(world, lambda client: client.head("k"), credentials=credentials)


def _in_upload(world: World, credentials: object) -> object:
    return upload(world.file(), "k", connection=world.connection(credentials=credentials)).wait(30)


async def _later(world: World) -> object:
    raise ValueError(str(world.canaries.answer()))


PROVIDERS: dict[str, Fail] = {
    "function raises": lambda w: _head(w, _raises(w)),
    "coroutine raises": lambda w: _head(w, lambda: _later(w)),
    "provider raises": lambda w: _head(w, Own(_raises(w))),
    "provider raises in a link": lambda w: _presign(w, 60, credentials=Own(_raises(w))),
    "function returns a list": lambda w: _head(w, lambda: list(w.canaries.answer().values())),
    "function returns a text": lambda w: _head(w, lambda: w.canaries.access_key_secret),
    "function returns half": lambda w: _head(w, lambda: {"AccessKeySecret": w.canaries.access_key_secret}),
    "function returns a broken expiration": lambda w: _head(
        w, lambda: {**w.canaries.answer(), "Expiration": w.canaries.access_key_secret}
    ),
    "function returns a line break": lambda w: _head(
        w, lambda: {**w.canaries.answer(), "SecurityToken": w.canaries.security_token.replace("+", "\n")}
    ),
    "provider returns a mapping": lambda w: _head(w, Own(w.canaries.answer)),
    "lifetime": lambda w: _head(w, CallableProvider(_raises(w), lifetime=timedelta(minutes=1))),
}


# ------------------------------------------------------------------ configuration files
def _file(world: World, name: str, text: str) -> None:
    path = world.folder / "home" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def ossutil(text: str) -> Fail:
    def fail(world: World) -> object:
        keys = world.canaries
        filled = text.replace("<s>", keys.access_key_secret).replace("<i>", keys.access_key_id)
        _file(world, ".ossutilconfig", filled)
        return asyncio.run(OssutilConfigProvider(environ={}).get())

    return fail


def aliyun(make: Callable[[World], object]) -> Fail:
    def fail(world: World) -> object:
        made = make(world)
        _file(world, ".aliyun/config.json", made if isinstance(made, str) else json.dumps(made))
        return asyncio.run(AliyunConfigProvider(environ={}).get())

    return fail


def _profile(world: World, **members: object) -> dict[str, object]:
    keys = world.canaries
    base = {"name": "p", "mode": "StsToken", "access_key_id": keys.access_key_id,
            "access_key_secret": keys.access_key_secret, "sts_token": keys.security_token}  # fmt: skip
    return {"current": "p", "profiles": [{**base, **members}]}


def whole_chain(world: World) -> object:
    """Nothing complete anywhere, keys in every file: the message lists what was looked at."""
    world.patch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
    keys = world.canaries
    _file(world, ".ossutilconfig", f"[profile x]\naccessKeySecret={keys.access_key_secret}\n")
    _file(world, ".aliyun/config.json", json.dumps(_profile(world, mode="RamRoleArn")))
    _file(world, ".alibabacloud/credentials.ini", f"[default]\ntype=sts\n{keys.security_token}\n")
    return asyncio.run(default_chain(environ={"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}).get())


FILES: dict[str, Fail] = {
    "a line without a sign": ossutil("[Credentials]\naccessKeyID=<i>\n<s>\n"),
    "no section": ossutil("accessKeySecret=<s>\n"),
    "no bracket": ossutil("[Credentials\naccessKeySecret=<s>\n"),
    "half": ossutil("[Credentials]\naccessKeySecret=<s>\n"),
    "a role": ossutil("[default]\nmode=RamRoleArn\naccessKeyID=<i>\naccessKeySecret=<s>\n"),
    "no profile": ossutil("[profile other]\naccessKeyID=<i>\naccessKeySecret=<s>\n"),
    "binary": ossutil("[Credentials]\naccessKeySecret=<s>\n\0\x7f["),
    "aliyun, half": aliyun(lambda w: _profile(w, access_key_id="")),
    "aliyun, other mode": aliyun(lambda w: _profile(w, mode="CloudSSO", token=w.canaries.security_token)),
    "aliyun, cut": aliyun(lambda w: json.dumps(_profile(w))[:-4]),
    "aliyun, odd": aliyun(lambda w: {"current": "p", "profiles": [w.canaries.access_key_secret]}),
    "aliyun, a number for a key": aliyun(lambda w: _profile(w, access_key_id=7)),
    "aliyun, no such profile": aliyun(lambda w: {**_profile(w), "current": "q"}),
    "the whole chain": whole_chain,
}  # fmt: skip
