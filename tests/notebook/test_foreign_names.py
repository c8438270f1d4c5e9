"""Names that others gave their objects: whatever is in them, no terminal is steered and a line stays one."""

from __future__ import annotations

import asyncio
import re

from ossmp_jupyter import OSSClient
from ossmp_jupyter.localoss import LocalOSS
from tests.notebook.conftest import Shell
from tests.parity.support import connection_to

NAMES = ("a\x1b[31mred\nsecond line", "b\u009b2J", "c\u202egnp.exe", "d\r\x1b]0;title\x07")
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


async def _leave(oss: LocalOSS) -> None:
    async with OSSClient(connection_to(oss)) as client:
        for name in NAMES:
            begun = await client.init_multipart_upload(name)
            await client.upload_part(name, begun.upload_id, 1, b"x" * 102_400)


def test_they_are_written_as_escapes(connected: Shell, oss: LocalOSS) -> None:
    asyncio.run(_leave(oss))
    connected.run("%oss_uploads --ui text")
    listed = connected.text()
    assert len(listed.splitlines()) == 1 + len(NAMES)
    assert r"oss://demo/a\x1b[31mred\nsecond line " in listed
    error = connected.fails(f"get_ipython().run_line_magic('oss_head', {NAMES[1]!r})")
    connected.run("%oss_uploads --abort-older 0s")
    connected.run("%oss_uploads --abort-older 0s --yes")
    for text in (listed, str(error), connected.text()):
        assert not STEERING.search(text), repr(text)
