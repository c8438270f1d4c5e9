"""%oss_verify: the receipts of this kernel, this machine or a saved notebook, held against the bucket."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ossmp_jupyter.errors import InputError, ObjectReplaced
from ossmp_jupyter.notebook.engine import connection_now
from ossmp_jupyter.notebook.rows import read_final_line
from ossmp_jupyter.notebook.waiting import wait_future
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.published import newest, receipt_of_address, receipts_of_process
from ossmp_jupyter.transfer.request import resolve_target
from ossmp_jupyter.transfer.resume import crc64_of_source
from ossmp_jupyter.transfer.sources import FileSource
from ossmp_jupyter.transfer.verify import Check, Published
from ossmp_jupyter.units import MIB, format_size

if TYPE_CHECKING:
    import argparse

    from ossmp_jupyter.notebook.session import Session
    from ossmp_jupyter.transfer.client import OSSClient

__all__ = ["receipts_of_notebook", "verify"]

_LARGEST_NOTEBOOK = 256 * MIB


def verify(session: Session, args: argparse.Namespace) -> Any:
    """Check what the arguments name, print a line for each, and raise if one is not what was published."""
    receipts = _receipts(session, args.items)
    checks: list[Check] = []
    for receipt in receipts:
        checks.append(wait_future(_ask(receipt, args.deep), session.shell))
        if not args.quiet:
            print(checks[-1])
    bad = [check for check in checks if not check.ok]
    if bad:
        what = str(bad[0].published.address) if len(checks) == 1 else f"{len(bad)} of {len(checks)} objects"
        said = f": {bad[0].words}" if len(bad) == 1 else ""
        raise ObjectReplaced(f"{what} cannot be confirmed{said}", hint="upload again what should stand there")
    return session.shown(checks)


def _ask(receipt: Published, deep: bool) -> Future[Check]:
    async def ask(client: OSSClient) -> Check:
        return await client.verify(receipt, deep=deep)

    return manager.call(ask, connection_now())


def _receipts(session: Session, items: list[str]) -> list[Published]:
    if not items:
        found = receipts_of_process()
        if not found:
            raise InputError(
                "this kernel has published nothing yet",
                hint="name an object, a notebook with receipts, or a file and its object: "
                "%oss_verify FILE oss://bucket/key",
            )
        return found
    if len(items) == 1 and items[0].endswith(".ipynb") and os.path.isfile(os.path.expanduser(items[0])):
        return receipts_of_notebook(os.path.expanduser(items[0]))
    if len(items) == 2 and not items[0].startswith("oss://"):
        return [_of_file(session, *items)]
    return [_known(item) for item in items]


def _known(item: str) -> Published:
    try:
        return receipt_of_address(item, connection_now())
    except InputError:
        if not item.endswith(".ipynb"):
            raise
    raise InputError(
        f"there is no notebook {item} here, and no receipt of an object of that name",
        hint=f"the working directory is {os.getcwd()}",
    )


def _of_file(session: Session, file: str, target: str) -> Published:
    """The receipt that a file would get, computed now."""
    source = FileSource(os.path.expanduser(file))
    bucket, key = resolve_target(connection_now(), target, source.name)

    async def compute(_: OSSClient) -> Published:
        try:
            size = source.open().size
            return Published(bucket, key, size, await crc64_of_source(source, size))
        finally:
            source.close()

    return wait_future(manager.call(compute, connection_now()), session.shell)


def receipts_of_notebook(path: str) -> list[Published]:
    """Read the receipts that uploads left in a saved notebook. Nothing of it is run.

    Raises
    ------
    InputError
        If it is no notebook, or holds no receipt.
    """
    if os.path.getsize(path) > _LARGEST_NOTEBOOK:
        raise InputError(f"{path} is larger than {format_size(_LARGEST_NOTEBOOK)}", hint="is it a notebook?")
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        texts = list(_texts(content))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{path} is no notebook", hint="give a saved .ipynb file") from None
    found = newest(
        receipt for text in texts for line in text.split("\n") if (receipt := read_final_line(line))
    )
    if not found:
        raise InputError(
            f"{path} holds no receipts", hint="they are the lines that %oss_upload prints when it is done"
        )
    return found


def _texts(content: Any) -> Iterator[str]:
    for cell in content["cells"]:
        for output in cell.get("outputs", ()):
            text = output.get("text", "")  # a string, or a list of its lines
            yield text if isinstance(text, str) else "".join(text)
