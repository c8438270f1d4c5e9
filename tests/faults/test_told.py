"""What fails for good says so in one error: operation, part, attempts, last code and OSS's request ID."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ossmp_jupyter.errors import IntegrityError, ObjectReplaced, OssmpError, UploadAborted
from ossmp_jupyter.notebook.short_errors import render
from tests.faults.auditor import check_sentence
from tests.faults.kinds import KINDS, Kind
from tests.faults.run import PART, Run, content
from tests.faults.world import World

_STEPS = (
    "InitiateMultipartUpload", "UploadPart", "ListParts", "CompleteMultipartUpload", "HeadObject",
    "PutObject",
)  # fmt: skip
_HEADLESS = {"reset", "reset-at-byte-0", "reset-in-body", "stall", "stall-in-body", "apply-no-answer"}
"""Kinds after which no head of an answer comes, and so no request ID."""
_HARMLESS = {
    "*": {"no-crc", "slow", "skew"},
    "InitiateMultipartUpload": {
        "corrupt-stored", "corrupt-transit", "wrong-crc", "wrong-etag", "forget-upload",
    },
    "UploadPart": {"wrong-etag"},
    "PutObject": {"corrupt-stored", "wrong-etag", "forget-upload"},
}  # fmt: skip
"""Kinds that an upload survives, or that strike nothing it needs."""


async def _ended(
    world: World, operation: str, kind: Kind
) -> tuple[BaseException | None, list[dict[str, Any]]]:
    """Upload while every request of this operation fails; the error, and what the server was asked."""
    # A server that stands still for a moment has not counted what it has not read: more patience here.
    run = Run(world, "told", timeout=max(kind.timeout, 0.5))
    try:
        run.write(content("told", PART - 1 if operation == "PutObject" else 3 * PART))
        world.oss.journal(clear=True)
        world.oss.set_faults([{**kind.rule, "operation": operation, "times": None}])
        told = await run.upload(parallel=2)
        return told.error, world.quiet()
    finally:
        await run.clear()


@pytest.mark.parametrize("operation", _STEPS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_fails_for_good_is_told(world: World, operation: str, kind: Kind) -> None:
    error, asked = world.run(_ended(world, operation, kind))
    assert any(entry["fault"] for entry in asked)
    if error is None:
        needed = {"InitiateMultipartUpload", "UploadPart", "PutObject"}
        assert operation not in needed or kind.name in _HARMLESS["*"] | _HARMLESS[operation]
        return
    check_sentence(error)
    assert isinstance(error, OssmpError) and error.operation is not None
    text = str(error)
    named = re.search(rf"\b({'|'.join(_STEPS)})\b( \(part (\d+)\))?", text)
    assert named, text
    if error.operation.startswith("UploadPart"):
        assert re.search(r"UploadPart \(part [123]\)", text), text
    if isinstance(error, IntegrityError | ObjectReplaced | UploadAborted) and not error.retryable:
        return  # what several answers say together, not the last one
    number = re.search(r"\(part (\d+)\)", text)
    tries = [
        entry for entry in asked
        if entry["operation"] == error.operation.split(" ")[0]
        and entry["part_number"] == (int(number.group(1)) if number else None)
    ]  # fmt: skip
    # What goes out on a kept connection that is closed by then is sent again at once: that is no attempt.
    assert error.attempts in {len(tries), len(tries) - 1}, f"{len(tries)} requests: {text}"
    assert re.search(rf"\b{error.attempts} attempts?\b", text), text
    last = tries[-1]
    if last["code"]:
        assert last["code"] in text
    cut = kind.name == "cut-answer" and operation in {"InitiateMultipartUpload", "ListParts"}
    if cut or (last["status"] is not None and kind.name not in _HEADLESS):
        assert last["request_id"] in text, text
        assert "\n".join(render(error)).count(last["request_id"]) == 1, "said twice in a cell"
