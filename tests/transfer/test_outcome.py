"""What became of Complete, and whether the object there is ours: by a server that answers wrongly or not."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter.errors import (
    AlreadyExists,
    IntegrityError,
    ObjectReplaced,
    ServerError,
    UploadAborted,
)
from ossmp_jupyter.oss.checksum import crc64
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer import outcome
from ossmp_jupyter.transfer.checkpoint import CheckpointPart
from ossmp_jupyter.transfer.client import OSSClient
from ossmp_jupyter.transfer.retry import Clock, Retrier
from tests.transfer.support import PART, Bucket

DATA = [os.urandom(PART), os.urandom(PART), os.urandom(5000)]


async def at_once(seconds: float) -> None:
    """No waiting between attempts."""


async def completed(
    oss: Bucket,
    meanwhile: Callable[[OSSClient, str, outcome.Expected], Awaitable[object]] | None = None,
    **headers: str,
) -> tuple[outcome.Outcome, outcome.Expected]:
    """Begin an upload, store its parts, let something happen, complete it."""
    async with OSSClient(oss.connection) as client:
        begun = await client.init_multipart_upload("data.bin")
        parts = []
        for number, data in enumerate(DATA, 1):
            answer = await client.upload_part("data.bin", begun.upload_id, number, data)
            parts.append(CheckpointPart(number, answer.etag, len(data), crc64(data)))
        expected = outcome.expected_of(oss.name, "data.bin", parts)
        if meanwhile is not None:
            await meanwhile(client, begun.upload_id, expected)
        retrier = Retrier(clock=Clock(sleep=at_once))
        rest: RestClient = client.rest_with(None)
        done = await outcome.complete(rest, begun.upload_id, expected, headers, retrier)
        verified, _ = await outcome.verify(rest, expected, done, retrier)
        assert verified
        return done, expected


async def test_a_good_answer(oss: Bucket) -> None:
    done, expected = await completed(oss)
    assert expected.crc64 == crc64(b"".join(DATA)) == done.crc64
    assert (done.etag, expected.size, expected.address) == (expected.etag, 2 * PART + 5000, oss.address())
    assert len(oss.requests("CompleteMultipartUpload")) == 1


@pytest.mark.parametrize(
    ("rule", "completes"),
    [
        ({"kind": "apply_no_answer"}, 1),
        ({"kind": "reset"}, 2),
        ({"kind": "reset", "times": 3}, 4),
        ({"kind": "error", "status": 500, "code": "InternalError"}, 2),
        ({"kind": "error", "status": 503, "code": "ServiceUnavailable", "retry_after": 30}, 2),
        ({"kind": "error", "status": 504, "code": "GatewayTimeout"}, 2),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
async def test_a_lost_or_bad_answer_is_cleared_up(oss: Bucket, rule: dict[str, Any], completes: int) -> None:
    async def fault(*_: object) -> None:
        oss.fault("CompleteMultipartUpload", **rule)

    await completed(oss, fault)
    assert len(oss.requests("CompleteMultipartUpload")) == completes


async def test_a_cut_answer_of_an_applied_complete(oss: Bucket) -> None:
    async def fault(*_: object) -> None:
        oss.fault("CompleteMultipartUpload", "cut_answer")

    await completed(oss, fault)


async def test_an_upload_that_is_gone_with_our_object_there_is_a_success(oss: Bucket) -> None:
    async def elsewhere(client: OSSClient, upload_id: str, expected: outcome.Expected) -> None:
        await client.complete_multipart_upload("data.bin", upload_id, expected.parts)

    done, expected = await completed(oss, elsewhere)
    assert done.etag == expected.etag


async def test_our_bytes_under_another_etag_are_ours(oss: Bucket) -> None:
    """The checksum decides, not how it was assembled."""

    async def elsewhere(client: OSSClient, upload_id: str, expected: outcome.Expected) -> None:
        await client.abort_multipart_upload("data.bin", upload_id)
        await client.put("data.bin", b"".join(DATA))

    await completed(oss, elsewhere)


async def test_an_upload_that_is_gone_with_another_writers_object_there(oss: Bucket) -> None:
    async def elsewhere(client: OSSClient, upload_id: str, expected: outcome.Expected) -> None:
        await client.abort_multipart_upload("data.bin", upload_id)
        await client.put("data.bin", os.urandom(expected.size))

    with pytest.raises(ObjectReplaced, match="another writer's object is there"):
        await completed(oss, elsewhere)


async def test_an_upload_that_is_gone_with_nothing_there_was_aborted(oss: Bucket) -> None:
    async def elsewhere(client: OSSClient, upload_id: str, expected: outcome.Expected) -> None:
        await client.abort_multipart_upload("data.bin", upload_id)

    with pytest.raises(UploadAborted, match="aborted elsewhere"):
        await completed(oss, elsewhere)


async def test_a_server_that_never_completes_is_given_up_with_all_parts_kept(oss: Bucket) -> None:
    async def fault(*_: object) -> None:
        oss.fault("CompleteMultipartUpload", "error", status=500, code="InternalError", times=None)

    with pytest.raises(
        ServerError, match=r"failed after 10 attempts.*only the last step is repeated"
    ) as caught:
        await completed(oss, fault)
    assert caught.value.request_id
    assert [len(one["parts"]) for one in oss.uploads()] == [3]


async def test_a_refusal_is_final(oss: Bucket) -> None:
    async def occupy(client: OSSClient, *_: object) -> None:
        await client.put("data.bin", b"x")

    with pytest.raises(AlreadyExists):
        await completed(oss, occupy, **{"x-oss-forbid-overwrite": "true"})
    assert len(oss.requests("CompleteMultipartUpload")) == 1
    assert oss.get() == b"x"


async def test_a_forbidden_overwrite_with_a_lost_answer_is_ours(oss: Bucket) -> None:
    async def fault(*_: object) -> None:
        oss.fault("CompleteMultipartUpload", "apply_no_answer")

    await completed(oss, fault, **{"x-oss-forbid-overwrite": "true"})


@pytest.mark.parametrize("kind", ["wrong_crc", "html", "wrong_etag"])
async def test_an_answer_that_is_wrong_or_not_oss_is_cleared_up_by_looking(oss: Bucket, kind: str) -> None:
    async def fault(*_: object) -> None:
        oss.fault("CompleteMultipartUpload", kind)

    _, expected = await completed(oss, fault)
    assert oss.head().crc64 == expected.crc64


async def test_an_object_that_differs_from_what_was_sent_is_not_called_a_success(oss: Bucket) -> None:
    async def corrupt(client: OSSClient, upload_id: str, expected: outcome.Expected) -> None:
        oss.server.set_faults([{"operation": "UploadPart", "kind": "corrupt_part"}])
        await client.upload_part(
            "data.bin", upload_id, 2, DATA[1]
        )  # the answer is right, what is stored is not

    with pytest.raises((IntegrityError, ObjectReplaced, ServerError)):
        await completed(oss, corrupt)


# ---------------------------------------------------------------- whole uploads


@pytest.mark.parametrize("simple", [False, True])
def test_a_server_without_checksums_is_believed_by_etag_but_not_called_verified(
    oss: Bucket, file: Path, simple: bool
) -> None:
    oss.fault("*", "no_crc", every=1)
    result = oss.start(file, simple=simple).wait(30)
    oss.server.set_faults([])
    assert (result.verified, oss.get()) == (False, file.read_bytes())


def test_a_complete_that_was_answered_but_not_done_is_done_again(oss: Bucket, file: Path) -> None:
    oss.fault("CompleteMultipartUpload", "answer_no_apply")
    assert oss.start(file).wait(30).verified
    assert oss.get() == file.read_bytes()


def test_parts_that_the_server_lost_are_sent_again(oss: Bucket, file: Path) -> None:
    oss.server.set_faults(
        [{"operation": "UploadPart", "kind": "answer_no_apply", "part_number": number} for number in (2, 5)]
    )
    result = oss.start(file).wait(30)
    assert (result.verified, oss.get()) == (True, file.read_bytes())


def test_a_part_that_was_damaged_under_way_is_sent_again(oss: Bucket, file: Path) -> None:
    oss.server.set_faults(
        [{"operation": "UploadPart", "kind": "corrupt_part", "where": "transit", "part_number": 3}]
    )
    handle = oss.start(file)
    result = handle.wait(30)
    assert (result.verified, result.retries, oss.get()) == (True, 1, file.read_bytes())
    assert handle.part_map() == "ddrddd"


@pytest.mark.parametrize("part_size", [PART, None])
def test_a_forbidden_overwrite_with_a_lost_answer_is_a_success_of_ours(
    oss: Bucket, part_size: int | None
) -> None:
    """The repeated request is told that the object exists: it is the one the first request made."""
    data = os.urandom(3 * PART if part_size else 1000)
    oss.server.set_faults(
        [{"operation": name, "kind": "apply_no_answer"} for name in ("PutObject", "CompleteMultipartUpload")]
    )
    result = oss.start(data, part_size=part_size, forbid_overwrite=True).wait(30)
    assert (result.verified, oss.get()) == (True, data)


@pytest.mark.parametrize("part_size", [PART, None])
def test_a_forbidden_overwrite_is_an_error_when_the_object_is_anothers(
    oss: Bucket, part_size: int | None
) -> None:
    oss.start(b"theirs", part_size=None).wait(30)
    data = os.urandom(3 * PART if part_size else 1000)
    with pytest.raises(AlreadyExists):
        oss.start(data, part_size=part_size, forbid_overwrite=True).wait(30)
    assert oss.get() == b"theirs"
