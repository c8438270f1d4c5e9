"""Receipts of what was published, and ``verify()``, which holds them against the bucket."""

from __future__ import annotations

import concurrent.futures as cf
from collections.abc import Iterable

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.transfer.defaults import current_connection
from ossmp_jupyter.transfer.handle import Upload
from ossmp_jupyter.transfer.manager import call, uploads
from ossmp_jupyter.transfer.progress import UploadResult
from ossmp_jupyter.transfer.request import resolve_target
from ossmp_jupyter.transfer.verify import Check, Published, known_receipts

__all__ = ["newest", "receipt_of_address", "receipts_of_process", "verify"]

_TICK = 0.1


def verify(
    what: UploadResult | Published | Upload | str, *, deep: bool = False, connection: Connection | None = None
) -> Check:
    """Look whether an object is still what was published.

    Parameters
    ----------
    what : UploadResult, Published, Upload or str
        A result, a receipt, a finished upload, or an address (``oss://bucket/key``, or a key of the
        connection's bucket), for which the newest receipt of this process or machine counts; they
        are kept for 30 days.
    deep : bool
        Read the whole object and compute its CRC-64, instead of asking for what the server remembers.
    connection : Connection, optional
        Default: what ``%oss_connect`` or :func:`set_default_connection` set, else the environment.

    Returns
    -------
    Check
        ``ok`` says whether it is the same, ``words`` what was found; printed, it is a line.

    Raises
    ------
    InputError
        If nothing is known of the object.
    OssmpError
        If the server cannot be asked.

    Examples
    --------
    >>> from ossmp_jupyter import connect, upload, verify
    >>> from ossmp_jupyter.localoss import LocalOSS
    >>> with LocalOSS() as server:
    ...     connection = connect(environ=server.environment())
    ...     result = upload(b"a,b", f"oss://{server.bucket}/t.csv", connection=connection).wait()
    ...     check = verify(result, connection=connection)
    >>> check.ok, check.words
    (True, '3 B (3 bytes), CRC-64 7379760610014455100 as the server says')
    """
    chosen = connection or current_connection()
    receipt = _receipt_of(what, chosen)
    future = call(lambda oss: oss.verify(receipt, deep=deep), chosen)
    while not future.done():
        cf.wait([future], timeout=_TICK)  # never untimed: on Windows nothing could interrupt it
    return future.result()


def _receipt_of(what: object, connection: Connection) -> Published:
    if isinstance(what, Upload):
        if what.result is None:
            raise InputError(f"the upload to {what.address} is {what.state.value}", hint="wait for it first")
        what = what.result
    if isinstance(what, UploadResult):
        return Published.of(what)
    if isinstance(what, Published):
        return what
    if isinstance(what, str):
        return receipt_of_address(what, connection)
    raise InputError(
        f"nothing of type {type(what).__name__} was published", hint="give a result, a receipt or an address"
    )


def receipts_of_process() -> list[Published]:
    """One receipt for each object that this process has published."""
    results = (handle.result for handle in uploads())
    return newest(Published.of(result) for result in results if result is not None)


def receipt_of_address(address: str, connection: Connection) -> Published:
    """The newest receipt of an object: this process's, or one that a journal of this machine keeps.

    Raises
    ------
    InputError
        If there is none.
    """
    bucket, key = resolve_target(connection, address, None)
    for receipt in newest([*known_receipts(connection.identity), *receipts_of_process()]):
        if (receipt.bucket, receipt.key) == (bucket, key):
            return receipt
    raise InputError(
        f"no receipt of oss://{bucket}/{key} is known on this machine (they are kept for 30 days)",
        hint=f"give the file: %oss_verify FILE oss://{bucket}/{key}, or the notebook that uploaded it",
    )


def newest(receipts: Iterable[Published]) -> list[Published]:
    """One receipt for each object, the newest (which comes last)."""
    return list({receipt.address: receipt for receipt in receipts}.values())
