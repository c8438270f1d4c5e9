"""Corruption and confusion, one named test each.

The numbers are those of the project's list of cases: 1 same-size edit; 2 edit, 3 truncation, 4 growth
during the upload; 5 replaced by rename, or gone; 8 part boundaries; 9 stored corrupt; 10 another uploader
on the same ID; 11 duplicated or re-ordered acknowledgements; 12 holes; 13 journals; 14 the journal's
upload is gone; 15 pages of ListParts; 16 Complete lost, refused, late; 17 abort lost; 18 a rival in
between; 19 a source that fails or is shorter than declared; 21 callback 203; 22 versioning and WORM; 23
hostile keys; 25 captive portals; and rivals of an Initiate without an answer.

Elsewhere: 6, 7 (kinds of sources, sparse, empty) in tests/unit/transfer/test_sources.py and the zero-
bytes scenarios of test_every_request.py; 13 also in tests/crash/test_disk.py; 20 (tokens, clock) as
kinds of test_every_request.py; 24 (transformed answers) in test_hostile.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ossmp_jupyter.errors import (
    AccessDenied,
    AlreadyExists,
    InputError,
    NoSuchUpload,
    NotOSS,
    ObjectReplaced,
    OssmpError,
    SourceChanged,
    UploadAborted,
    UploadInUse,
)
from ossmp_jupyter.oss.messages import InitiateResult
from ossmp_jupyter.transfer.plan import Plan
from ossmp_jupyter.transfer.progress import State
from ossmp_jupyter.transfer.retry import RetryPolicy
from ossmp_jupyter.transfer.upload import UploadTask
from ossmp_jupyter.units import MIB
from tests.faults.auditor import audit, check_sentence, open_uploads
from tests.faults.run import PART, Run, Told, content
from tests.faults.world import World

Body = Callable[[Run], Awaitable[None]]


@pytest.fixture
def run(world: World, request: pytest.FixtureRequest) -> Any:
    made = Run(world, request.node.originalname)
    world.oss.set_faults([])
    world.oss.journal(clear=True)
    yield made
    world.oss.set_faults([])
    world.run(made.clear())


def _go(run: Run, body: Body) -> None:
    run.world.run(body(run))


def _sent(run: Run) -> list[int]:
    return [e["part_number"] for e in run.world.quiet() if e["operation"] == "UploadPart"]


async def _half(run: Run, parts: int = 6) -> Told:
    run.write(content(run.name, parts * PART + 3))
    told = await run.half()
    run.world.quiet()
    return told


def _journal(run: Run) -> Path:
    (found,) = (run.folder / "state" / "journals").glob("*.jsonl")
    return found


def test_01_same_size_edit_between_two_tries(run: Run) -> None:
    async def body(run: Run) -> None:
        await _half(run)
        run.edit(PART + 7)
        told = await run.upload()
        assert told.done and told.result is not None
        assert sorted(_sent(run)) == [2, 4, 5, 6, 7], "only what changed and what was missing travels"
        assert told.result.parts_kept == 2
        await audit(run, told, None)

    _go(run, body)


def test_02_edit_while_it_is_sent(run: Run) -> None:
    async def body(run: Run) -> None:
        run.write(content(run.name, 6 * PART))

        def edit(offset: int) -> None:
            if offset == 4 * PART:
                run.edit(3)

        told = await run.upload(hook=edit, parallel=1)
        assert isinstance(told.error, SourceChanged)
        await audit(run, told, None)

    _go(run, body)


def test_02_edit_back_and_forth_while_it_is_sent(run: Run) -> None:
    """The content is the same in the end, only the times tell: proved by content, published."""

    async def body(run: Run) -> None:
        run.write(content(run.name, 4 * PART))

        def touch(offset: int) -> None:
            if offset == 2 * PART:
                os.utime(run.path)

        told = await run.upload(hook=touch, parallel=1)
        assert told.done
        await audit(run, told, None)

    _go(run, body)


@pytest.mark.parametrize("size", [3 * PART + 50, 100, 0])
def test_03_truncation_while_it_is_sent(run: Run, size: int) -> None:
    async def body(run: Run) -> None:
        run.write(content(run.name, 6 * PART))

        def cut(offset: int) -> None:
            if offset == 3 * PART and len(run.data) > size:
                run.write(run.data[:size])

        told = await run.upload(hook=cut, parallel=1)
        assert isinstance(told.error, SourceChanged), told
        assert "HTTP" not in str(told.error) and "timeout" not in str(told.error).lower()
        await audit(run, told, None)

    _go(run, body)


def test_04_growth_while_it_is_sent(run: Run) -> None:
    async def body(run: Run) -> None:
        run.write(content(run.name, 6 * PART))

        def grow(offset: int) -> None:
            if offset == 5 * PART:
                run.write(run.data + b"x")

        told = await run.upload(hook=grow, parallel=1)
        assert isinstance(told.error, SourceChanged)
        await audit(run, told, None)

    _go(run, body)


@pytest.mark.parametrize("same", [True, False], ids=["same-content", "other-content"])
def test_05_replaced_by_rename_while_it_is_sent(run: Run, same: bool) -> None:
    async def body(run: Run) -> None:
        run.write(content(run.name, 4 * PART))
        new = run.data if same else content("other", 4 * PART)

        def replace(offset: int) -> None:
            if offset == 2 * PART:
                other = run.path.with_name("new")
                other.write_bytes(new)
                other.replace(run.path)
                run.data = new

        told = await run.upload(hook=replace, parallel=1)
        assert told.done if same else isinstance(told.error, SourceChanged), told
        await audit(run, told, None)

    _go(run, body)


@pytest.mark.parametrize("when", [2, 4, 5], ids=["while-hashed", "before-sent", "while-sent"])
@pytest.mark.parametrize("how", ["edited", "edited-behind", "cut", "grown", "renamed"])
def test_05_one_put_of_a_file_that_changes(run: Run, how: str, when: int) -> None:
    """What is published is the file as it was at one moment, or the older object stays."""

    async def body(run: Run) -> None:
        await run.put_before(b"older")
        run.write(content(run.name, 5 * MIB // 2))  # read by the MiB
        was, reads = run.data, 0
        elsewhere = run.path.with_name("elsewhere.bin")
        changes: dict[str, Callable[[], Any]] = {
            "edited": lambda: run.edit(len(was) - 9),
            "edited-behind": lambda: run.edit(0),
            "cut": lambda: run.write(was[:-100_000]),
            "grown": lambda: run.write(was + b"more"),
            "renamed": lambda: run.path.rename(elsewhere),
        }

        def change(offset: int) -> None:
            nonlocal reads
            reads += 1
            if reads == when:
                changes[how]()

        told = await run.upload(hook=change, simple=True)
        run.world.quiet()
        assert reads >= when
        if elsewhere.exists():
            elsewhere.rename(run.path)
        if told.done:
            assert await run.object() in (was, run.data)
        else:
            assert isinstance(told.error, SourceChanged), told
            assert await run.object() == b"older", "nothing was published, it says"
        again = await run.upload(simple=True)
        assert again.done and await run.object() == run.data

    _go(run, body)


@pytest.mark.parametrize("how", ["renamed", "deleted", "locked"])
def test_05_gone_from_its_place_while_it_is_sent(run: Run, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is published under a name that means no such file any more; back in its place, it goes on."""

    async def body(run: Run) -> None:
        await run.put_before(b"older")
        run.write(content(run.name, 4 * PART))
        elsewhere = run.path.with_name("elsewhere.bin")
        opened = os.open

        def refuse(path: Any, *more: Any, **options: Any) -> int:
            if str(path) == str(run.path):
                raise PermissionError(13, "Permission denied")
            return opened(path, *more, **options)

        def go(offset: int) -> None:
            if offset == 2 * PART and run.path.exists():
                if how == "renamed":
                    run.path.rename(elsewhere)
                elif how == "deleted":
                    run.path.unlink()
                else:
                    run.path.chmod(0)  # which root would not notice
                    monkeypatch.setattr(os, "open", refuse)

        told = await run.upload(hook=go, parallel=1)
        monkeypatch.setattr(os, "open", opened)
        assert isinstance(told.error, SourceChanged), told
        assert "moved, deleted or locked" in str(told.error) and str(told.upload_id) in str(told.error)
        if elsewhere.exists():
            elsewhere.rename(run.path)
        elif how == "deleted":
            run.path.write_bytes(run.data)
        else:
            run.path.chmod(0o600)
        run.world.quiet()
        await audit(run, told, None)
        assert _sent(run) == [], "what was sent was sent again"

    _go(run, body)


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART - 1, 2 * PART, 7 * PART, 7 * PART + 1])
def test_08_at_the_edge_of_a_part(run: Run, size: int) -> None:
    async def body(run: Run) -> None:
        run.write(content(run.name, size))
        told = await run.upload(simple=False)
        assert told.result is not None and told.result.parts == -(-size // PART)
        await audit(run, told, None)

    _go(run, body)


def test_08_ten_thousand_parts_are_the_limit() -> None:
    from ossmp_jupyter.transfer.plan import make_plan

    assert make_plan(10_000 * PART, part_size=PART) == Plan(10_000 * PART, PART)
    raised = make_plan(10_000 * PART + 1, part_size=PART)
    assert raised.raised and raised.count <= 10_000


def test_09_part_stored_corrupt(run: Run) -> None:
    """The answer and the ETag are right, what is stored is not: found before Complete, sent again."""

    async def body(run: Run) -> None:
        await run.put_before(b"older")
        run.write(content(run.name, 3 * PART))
        run.world.oss.set_faults(
            [{"kind": "corrupt_part", "operation": "UploadPart", "part_number": 2, "byte": 9}]
        )
        told = await run.upload()
        seen = _sent(run)
        assert told.done and seen.count(2) == 2 and len(seen) == 4
        await audit(run, told, None)

    _go(run, body)


@pytest.mark.parametrize("moment", ["before", "during"])
def test_10_another_uploader_on_the_same_id(run: Run, moment: str) -> None:
    async def body(run: Run) -> None:
        told = await _half(run)
        rest, foreign = run.world.rest(), content("foreign", PART)
        assert told.upload_id is not None

        async def intrude() -> None:
            await rest.upload_part(run.world.bucket, run.key, str(told.upload_id), 2, foreign)

        async def meanwhile(task: Any, life: asyncio.Future[Any]) -> None:
            while not life.done() and task.progress().parts_done < 4:
                await asyncio.sleep(0.0005)
            if not life.done():
                with contextlib.suppress(NoSuchUpload):  # completed by now, on a slow machine
                    await intrude()

        if moment == "before":
            await intrude()
            again = await run.upload()
        else:
            again = await run.upload(meanwhile, parallel=1)
        assert again.done, again
        await audit(run, again, None)

    _go(run, body)


def test_11_every_acknowledgement_comes_late_or_twice(run: Run) -> None:
    async def body(run: Run) -> None:
        run.write(content(run.name, 12 * PART))
        run.world.oss.set_faults([{"kind": "apply_no_answer", "operation": "UploadPart", "every": 3}])
        run.policy = RetryPolicy()
        told = await run.upload(parallel=8)
        run.world.quiet()
        assert told.done
        await audit(run, told, None)

    _go(run, body)


def test_12_hole_in_the_middle(run: Run) -> None:
    async def body(run: Run) -> None:
        run.write(content(run.name, 6 * PART))
        run.world.oss.set_faults([{"kind": "error", "status": 403, "code": "AccessDenied",
                                   "operation": "UploadPart", "part_number": 4, "times": None}])  # fmt: skip
        told = await run.upload(parallel=1)
        assert not told.done
        # another machine has sent the last part: the journal does not know it
        rest = run.world.rest()
        await rest.upload_part(run.world.bucket, run.key, str(told.upload_id), 6, run.data[5 * PART :])
        run.world.quiet()
        again = await run.upload()
        assert again.result is not None and again.result.parts_kept == 4
        assert sorted(_sent(run)) == [4, 5]
        await audit(run, again, None)

    _go(run, body)


def test_13_journal_of_another_bucket(run: Run) -> None:
    async def body(run: Run) -> None:
        await _half(run)
        journal = _journal(run)
        journal.write_text(
            journal.read_text().replace(f'"bucket":"{run.world.bucket}"', '"bucket":"other-bucket"')
        )
        mine = run.folder / "mine.jsonl"
        journal.replace(mine)
        told = await run.upload(checkpoint=str(mine))
        assert isinstance(told.error, InputError) and "other-bucket" in str(told.error)
        check_sentence(told.error)

    _go(run, body)


def test_13_journal_that_claims_too_much(run: Run) -> None:
    """Lines are added for parts that were never stored: the server's list decides."""

    async def body(run: Run) -> None:
        await _half(run)
        with open(_journal(run), "a") as file:
            file.write('{"part":[5,"00000000000000000000000000000000",102400,1]}\n{"part":[6,"F",1,null]}\n')
        told = await run.upload()
        assert told.done and sorted(_sent(run)) == [4, 5, 6, 7]
        await audit(run, told, None)

    _go(run, body)


def test_13_two_writers(run: Run) -> None:
    async def body(run: Run) -> None:
        run.write(content(run.name, 8 * PART))
        run.world.oss.set_bandwidth("500KB/s")  # until the second has ended
        first = asyncio.ensure_future(run.upload())
        while not first.done() and not open_uploads(run):
            await asyncio.sleep(0.005)
        second = await run.upload()
        run.world.oss.set_bandwidth(None)
        assert isinstance(second.error, UploadInUse), second
        check_sentence(second.error)
        told = await first
        assert told.done
        await audit(run, told, None)

    _go(run, body)


@pytest.mark.parametrize("stands", ["nothing", "ours", "somebody-else's"])
def test_14_the_journals_upload_is_gone(run: Run, stands: str) -> None:
    async def body(run: Run) -> None:
        told = await _half(run)
        rest, bucket = run.world.rest(), run.world.bucket
        await rest.abort_multipart_upload(bucket, run.key, str(told.upload_id))
        if stands == "ours":
            await run.put_before(run.data)
        elif stands != "nothing":
            await run.put_before(b"somebody else's")
        again = await run.upload()
        assert again.done, "the same cell again means: this file shall stand there"
        await audit(run, again, None)

    _go(run, body)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("parts", [999, 1000, 1001])
def test_15_pages_of_list_parts(run: Run, parts: int) -> None:
    """Resume at the border of a page: as many stored parts, one more to send."""

    async def body(run: Run) -> None:
        block = content("block", 10 * PART)
        run.write((block * (parts // 10 + 1))[: parts * PART + 1])
        refuse = {"kind": "error", "status": 403, "operation": "UploadPart", "part_number": parts + 1}
        run.world.oss.set_faults([{**refuse, "times": None}])
        # one at a time: what is in flight when a part is refused is cut off
        first = await run.upload(parallel=1)
        assert not first.done
        run.world.quiet()
        told = await run.upload()
        assert told.result is not None and told.result.parts_kept == parts
        assert _sent(run) == [parts + 1]
        assert await run.object() == run.data and not open_uploads(run)

    _go(run, body)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "apply_no_answer"},
        {"kind": "cut_answer"},
        {"kind": "error", "status": 500, "code": "InternalError", "times": 3},
        {"kind": "reset", "times": 3},
        {"kind": "stall"},
        {"kind": "html"},
        {"kind": "answer_no_apply"},
    ],
    ids=lambda fault: fault["kind"],
)
@pytest.mark.parametrize("before", [None, b"older"], ids=["new", "over-an-older-object"])
def test_16_complete_lost_refused_or_late(run: Run, fault: dict[str, Any], before: bytes | None) -> None:
    async def body(run: Run) -> None:
        if before is not None:
            await run.put_before(before)
        run.write(content(run.name, 3 * PART))
        run.timeout = 1.0 if fault["kind"] == "stall" else 10.0
        run.world.oss.set_faults([{**fault, "operation": "CompleteMultipartUpload"}])
        told = await run.upload()
        run.world.quiet()
        assert told.done, told
        await audit(run, told, None)

    _go(run, body)


@pytest.mark.parametrize("fault", ["apply_no_answer", "answer_no_apply", "cut_answer", "reset"])
def test_17_abort_is_lost(run: Run, fault: str) -> None:
    async def body(run: Run) -> None:
        run.write(content(run.name, 8 * PART))
        run.world.oss.set_bandwidth("4MB/s")
        run.world.oss.set_faults([{"kind": fault, "operation": "AbortMultipartUpload"}])

        async def abort(task: Any, life: asyncio.Future[Any]) -> None:
            while task.progress().parts_done < 2:
                await asyncio.sleep(0.001)
            assert await task.abort()

        told = await run.upload(abort)
        run.world.oss.set_bandwidth(None)
        run.world.quiet()
        assert isinstance(told.error, UploadAborted), told
        assert not open_uploads(run)
        await audit(run, told, None)

    _go(run, body)


@pytest.mark.parametrize("when", ["before-complete", "complete-lost"])
def test_18_a_rival_publishes_in_between(run: Run, when: str) -> None:
    """Ours comes last, so it stands there; unless the rival came after a Complete whose answer was lost."""

    async def body(run: Run) -> None:
        run.write(content(run.name, 4 * PART))
        rival, done = content("rival", 2 * PART), False

        def publish(offset: int) -> None:
            nonlocal done
            if offset >= 3 * PART and not done:
                done = True
                asyncio.run_coroutine_threadsafe(
                    run.world.rest().put_object(run.world.bucket, run.key, rival), loop
                ).result(20)

        loop = asyncio.get_running_loop()
        if when == "before-complete":
            told = await run.upload(hook=publish, parallel=1)
            run.world.quiet()
            assert told.done
            await audit(run, told, None)
            return

        async def overtake(task: Any, life: asyncio.Future[Any]) -> None:
            while run.world.bucket + "/" + run.key not in run.world.oss.snapshot()["objects"]:
                await asyncio.sleep(0.001)
            await run.world.rest().put_object(run.world.bucket, run.key, rival)

        run.timeout = 4.0  # the rival needs less
        run.world.oss.set_faults([{"kind": "stall", "operation": "CompleteMultipartUpload"}])
        told = await run.upload(overtake)
        run.world.quiet()
        assert isinstance(told.error, ObjectReplaced), told
        check_sentence(told.error)
        assert await run.object() == rival, "what the rival published is left alone"
        assert not open_uploads(run)

    _go(run, body)


def test_18_forbid_overwrite_and_a_rival(run: Run) -> None:
    async def body(run: Run) -> None:
        run.write(content(run.name, 4 * PART))
        rival, loop, done = b"rival", asyncio.get_running_loop(), False

        def publish(offset: int) -> None:
            nonlocal done
            if not done:
                done = True
                asyncio.run_coroutine_threadsafe(
                    run.world.rest().put_object(run.world.bucket, run.key, rival), loop
                ).result(20)

        told = await run.upload(hook=publish, parallel=1, forbid_overwrite=True)
        assert isinstance(told.error, AlreadyExists), told
        assert await run.object() == rival

    _go(run, body)


@pytest.mark.parametrize("how", ["raises", "shorter"])
def test_19_source_fails_half_way(run: Run, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(run: Run) -> None:
        await run.put_before(b"older")
        run.write(content(run.name, 4 * PART))

        def fail(offset: int) -> None:
            if how == "shorter" and offset >= 2 * PART and len(run.data) > 2 * PART:
                run.write(run.data[: int(1.5 * PART)])

        preadv = os.preadv

        def broken(fd: int, buffers: list[memoryview], offset: int) -> int:
            if offset >= 2 * PART:
                raise OSError(5, "Input/output error")
            return preadv(fd, buffers, offset)

        if how == "raises":
            monkeypatch.setattr(os, "preadv", broken)
        told = await run.upload(hook=fail, parallel=2)
        monkeypatch.undo()
        os.environ["OSSMP_STATE_DIR"] = str(run.folder / "state")
        assert not told.done
        await audit(run, told, None)

    _go(run, body)


def test_21_callback_fails_with_203(run: Run) -> None:
    async def body(run: Run) -> None:
        run.write(content(run.name, 2 * PART))
        run.options = {"callback": run.world.callback("bad")}
        told = await run.upload()
        assert told.result is not None and told.result.callback_error, (
            "stored, and the callback's failure is told"
        )
        await audit(run, told, None)

    _go(run, body)


async def _version(run: Run, status: str) -> None:
    """Switch versioning of the bucket, by our own signed request."""
    body = f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>".encode()
    rest = run.world.rest()
    await rest._bucket("PutBucketVersioning", "PUT", run.world.bucket, {"versioning": ""}, {}, body)


def test_22_a_bucket_with_versions(run: Run) -> None:
    """The result names the version, also where only the answer to Complete was lost."""

    async def body(run: Run) -> None:
        bucket = run.world.bucket
        run.world.oss.bucket = "versioned"
        try:
            await run.world.rest().put_bucket("versioned")
            await _version(run, "Enabled")
            run.write(content(run.name, 3 * PART))
            seen = set()
            for fault in ([], [{"operation": "CompleteMultipartUpload", "kind": "apply_no_answer"}]):
                run.world.oss.set_faults(fault)
                told = await run.upload(fresh=True)
                run.world.oss.set_faults([])
                assert told.result is not None and told.result.verified, told
                head = await run.world.rest().head_object("versioned", run.key)
                assert told.result.version_id and told.result.version_id == head.version_id
                seen.add(head.version_id)
                await audit(run, told, None)
            assert len(seen) == 2
            await run.clear()
            await run.world.rest().delete_bucket("versioned")
        finally:
            run.world.oss.bucket = bucket

    _go(run, body)


@pytest.mark.parametrize("operation", ["InitiateMultipartUpload", "CompleteMultipartUpload"])
def test_22_a_retention_policy_protects_the_object(run: Run, operation: str) -> None:
    """WORM: one clear refusal, the protected object stays, nothing is tried again and again."""

    async def body(run: Run) -> None:
        await run.put_before(b"protected")
        run.write(content(run.name, 3 * PART))
        run.world.oss.set_faults([{"operation": operation, "kind": "error", "status": 409,
                                   "code": "FileImmutable", "times": None}])  # fmt: skip
        told = await run.upload()
        tried = [e for e in run.world.oss.journal() if e["operation"] == operation]
        run.world.quiet()
        assert not told.done and "retention policy" in str(told.error), told
        assert len(tried) == 1
        assert await run.object() == b"protected"
        await audit(run, told, None)

    _go(run, body)


_KEYS = [
    "ünï/码.bin", "with space and  two", "a+b", "100%", "a%2Fb", "what?x=1&y=2", "a#b", "a//b", ".", "..",
    "a/../b", "./a", "quote\"'<>&", "tab\tin", "~tilde*(!)", "k" * 1023, "trailing/.",
    "C:\\windows", "\u200b", "emoji-🎉",
]  # fmt: skip


@pytest.mark.parametrize("key", _KEYS, ids=lambda key: ascii(key)[:24])
def test_23_hostile_keys(run: Run, key: str) -> None:
    async def body(run: Run) -> None:
        run.key = key
        run.write(content(key, 2 * PART))
        told = await run.upload()
        if told.done:
            await audit(run, told, None)
        else:  # refused before a byte moved, or by OSS's own rule, in a sentence
            assert told.error is not None
            check_sentence(told.error)
            assert not open_uploads(run) and isinstance(told.error, OssmpError)
            assert not run.world.oss.snapshot()["objects"]

    _go(run, body)


@pytest.mark.parametrize("operation", ["InitiateMultipartUpload", "UploadPart", "ListParts", "HeadObject"])
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for-good"])
def test_25_captive_portal(run: Run, operation: str, for_good: bool) -> None:
    """HTML with 200: one clear error at once, or right in the end; never taken for an answer of OSS."""

    async def body(run: Run) -> None:
        await run.put_before(b"older")
        run.write(content(run.name, 3 * PART))
        run.world.oss.set_faults([{"kind": "html", "operation": operation, "at": 1,
                                   "times": None if for_good else 1}])  # fmt: skip
        told = await run.upload()
        run.world.quiet()
        assert told.done or isinstance(told.error, NotOSS), told
        await audit(run, told, None)

    _go(run, body)


def test_rivals_of_an_initiate_without_answer(run: Run) -> None:
    """Uploads that others began meanwhile are never aborted; ours, of which no answer told, is."""

    async def body(run: Run) -> None:
        rest, bucket = run.world.rest(), run.world.bucket
        run.write(content(run.name, 3 * PART))
        run.policy = RetryPolicy()
        at_work = await rest.init_multipart_upload(bucket, run.key)
        await rest.upload_part(bucket, run.key, at_work.upload_id, 1, b"a rival's first part")
        longer = await rest.init_multipart_upload(bucket, run.key + ".longer")
        run.world.oss.set_faults([{"kind": "apply_no_answer", "operation": "InitiateMultipartUpload"}])
        told = await run.upload()
        run.world.quiet()
        assert told.done
        left = {upload["upload_id"] for upload in run.world.oss.snapshot()["uploads"]}
        assert left == {at_work.upload_id, longer.upload_id}

    _go(run, body)


def test_more_suspects_than_lost_answers(run: Run) -> None:
    """A rival begins the same key just after us and holds nothing yet: none is touched."""

    async def body(run: Run) -> None:
        rest, bucket = run.world.rest(), run.world.bucket
        run.write(content(run.name, 3 * PART))
        loop, rivals = asyncio.get_running_loop(), list[InitiateResult]()

        def begin(offset: int) -> None:
            if not rivals:
                call = asyncio.run_coroutine_threadsafe(rest.init_multipart_upload(bucket, run.key), loop)
                rivals.append(call.result(20))

        run.world.oss.set_faults([{"kind": "apply_no_answer", "operation": "InitiateMultipartUpload"}])
        told = await run.upload(hook=begin, parallel=1)
        (rival,) = rivals
        run.world.quiet()
        assert told.done and await run.object() == run.data
        left = {upload["upload_id"] for upload in open_uploads(run)}
        assert rival.upload_id in left and len(left) == 2
        assert '"lost":[' in _journal(run).read_text() and '"lost":[]' not in _journal(run).read_text()
        await rest.abort_multipart_upload(bucket, run.key, rival.upload_id)
        again = await run.upload()
        assert again.result is not None and again.result.already_published
        assert not open_uploads(run), "once the rival is gone, the next run clears up"

    _go(run, body)


def _two_workers(run: Run, stream: str) -> UploadTask:
    """An upload of three parts by two workers, of a file or a stream."""
    run.write(content(run.name, 3 * PART))
    run.stream, run.in_memory = stream, bool(stream)
    return run.task(parallel=2)


@pytest.mark.parametrize("stream", ["", "plain"])
def test_a_refused_part_is_not_sent_once_more_by_another_worker(run: Run, stream: str) -> None:
    """That worker's own answer comes in the same moment, before it is told to end."""

    async def body(run: Run) -> None:
        task = _two_workers(run, stream)
        rest = task._steps._rest
        send, moment, asked = rest.upload_part, asyncio.Event(), []

        async def upload_part(*where: Any, **how: Any) -> Any:
            number = where[3]
            asked.append(number)
            if number == 1:
                await moment.wait()
                raise AccessDenied("refused", code="AccessDenied", status=403)
            answer = await send(*where, **how)
            if number == 2:
                moment.set()
                await asyncio.sleep(0)  # it is raised now, and we are next
            return answer

        rest.upload_part = upload_part  # type: ignore[method-assign]
        with pytest.raises(AccessDenied):
            await task.run()
        assert asked.count(1) == 1

    _go(run, body)


@pytest.mark.parametrize("stream", ["", "plain"])
def test_a_part_refused_at_the_moment_of_a_pause_is_sent_after_it(run: Run, stream: str) -> None:
    async def body(run: Run) -> None:
        task = _two_workers(run, stream)
        rest = task._steps._rest
        send, asked = rest.upload_part, []

        async def upload_part(*where: Any, **how: Any) -> Any:
            asked.append(where[3])
            if asked.count(2) == 1 and where[3] == 2:
                task.pause()
                raise AccessDenied("refused", code="AccessDenied", status=403)
            return await send(*where, **how)

        rest.upload_part = upload_part  # type: ignore[method-assign]
        life = asyncio.ensure_future(task.run())
        while task.state is not State.PAUSED:
            await asyncio.sleep(0.001)
        task.resume()
        assert (await life).verified
        assert asked.count(2) == 2
        assert await run.object() == run.data and not open_uploads(run)

    _go(run, body)
