"""Uploads that an Initiate without an answer may have left behind.

When the answer to InitiateMultipartUpload is lost, or the process dies before it comes, the server may
hold an upload whose ID nobody knows. Nothing can mark it as ours: the key is all that
ListMultipartUploads shows, and another writer may begin an upload of the same key in the same second. So
the choice is:

*Never adopt.* To send parts to an ID that may be a rival's would mix two uploads, and the rival would
fail for it. The Initiate is repeated instead, and we work with an ID that an answer gave to us.

*Remember on disk.* The time of each Initiate is in the journal before the request goes out and leaves it
with the answer. Whatever is killed, the next run of the cell knows that there may be something to clear
away.

*Abort late, and only what holds nothing.* When the object is published, uploads of exactly this key are
looked for that were begun (in the server's time) while an Initiate of ours was unanswered, that no
journal of this machine knows, and that hold no part. There must not be more of them than Initiates
without an answer, else one is certainly a rival's and none is touched. Each must be older than
:data:`QUIET` seconds and *still* hold no part: a live rival has stored its first part by then. Even a
rival that is slower loses no stored byte, and only if it began in the very second in which our answer
was lost. What is left alone holds no part and costs nothing; ``%oss_uploads`` shows it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime

from ossmp_jupyter.errors import NoSuchUpload, NotOSS, OssmpError, ServerError, Throttled, TransportError
from ossmp_jupyter.oss.messages import HeadResult
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer.journal import known_upload_ids
from ossmp_jupyter.transfer.past import abort_upload
from ossmp_jupyter.transfer.retry import Retrier, never_sent

__all__ = ["QUIET", "may_have_begun", "settle"]

QUIET = 10.0
"""Seconds that an upload must have been without a part before it is aborted as ours."""
_SLACK = 2.0
"""Seconds: OSS tells times in whole seconds, in Date and in Initiated."""


def may_have_begun(error: BaseException) -> bool:
    """Whether the server may have begun an upload although the Initiate failed so.

    Examples
    --------
    >>> may_have_begun(TransportError("the connection broke")), may_have_begun(Throttled("slow down"))
    (True, False)
    """
    if isinstance(error, Throttled) or never_sent(error):
        return False
    if isinstance(error, NotOSS) and error.status is not None and not error.request_id:
        return False  # a whole answer, and none of OSS's: a login page, a web server
    if isinstance(error, ServerError):
        return (error.status or 0) >= 500
    return isinstance(error, TransportError | NotOSS) or not isinstance(error, OssmpError)


async def settle(
    rest: RestClient, bucket: str, key: str, sent: Sequence[float], head: HeadResult, retrier: Retrier
) -> bool:
    """Clear away what Initiates without an answer have left.

    Parameters
    ----------
    sent : sequence of float
        Unix times by this machine's clock at which those Initiates were sent.
    head : HeadResult
        Just received: its Date tells how the server's clock differs from ours.

    Returns
    -------
    bool
        False while it cannot be told whose the uploads are.

    Raises
    ------
    OssmpError
        If the server could not be asked.
    """
    ahead = _seconds_ahead(head)
    if ahead is None:
        return False
    suspects = await _suspects(rest, bucket, key, sent, ahead, retrier)
    if not suspects:
        return True
    if len(suspects) > len(sent):
        return False
    await retrier.clock.sleep(max(0.0, max(sent) + QUIET - time.time()))
    still = await _suspects(rest, bucket, key, sent, ahead, retrier)
    for upload_id in suspects:
        if upload_id in still:
            await abort_upload(rest, bucket, key, upload_id, retrier)
    return True


def _seconds_ahead(head: HeadResult) -> float | None:
    try:
        return parsedate_to_datetime(head.headers["date"]).timestamp() - time.time()
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


async def _suspects(
    rest: RestClient, bucket: str, key: str, sent: Sequence[float], ahead: float, retrier: Retrier
) -> list[str]:
    """Uploads of the key, begun when ours may have been, in no journal, without a part."""
    reach = rest.connection.timeout + rest.connection.connect_timeout + _SLACK
    known = known_upload_ids()

    def fits(initiated: datetime | None) -> bool:
        if initiated is None:
            return False
        begun = initiated.timestamp() - ahead
        return any(moment - _SLACK <= begun <= moment + reach for moment in sent)

    found = [
        upload_id
        for upload_id, initiated in await _open_uploads(rest, bucket, key, retrier)
        if upload_id not in known and fits(initiated)
    ]
    return [upload_id for upload_id in found if await _is_empty(rest, bucket, key, upload_id, retrier)]


async def _open_uploads(
    rest: RestClient, bucket: str, key: str, retrier: Retrier
) -> Collection[tuple[str, datetime | None]]:
    found: list[tuple[str, datetime | None]] = []
    after, seen = ("", ""), set[tuple[str, str]]()
    while True:
        page = await retrier.run(
            "ListMultipartUploads",
            lambda after=after: rest.list_uploads(  # type: ignore[misc]
                bucket, prefix=key, key_marker=after[0], upload_id_marker=after[1]
            ),
        )
        found += [(upload.upload_id, upload.initiated) for upload in page.uploads if upload.key == key]
        seen.add(after)
        after = (page.next_key_marker, page.next_upload_id_marker)
        # Keys come in order: behind the key itself only longer ones follow.
        if not page.is_truncated or after in seen or after[0] > key:
            return found


async def _is_empty(rest: RestClient, bucket: str, key: str, upload_id: str, retrier: Retrier) -> bool:
    try:
        page = await retrier.run("ListParts", lambda: rest.list_parts(bucket, key, upload_id, max_parts=1))
    except NoSuchUpload:
        return False
    return not page.parts
