"""Links that work without keys, with their true end: ``%oss_link``, and *Copy link* in the panel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from ossmp_jupyter.errors import CredentialsError
from ossmp_jupyter.notebook.engine import connection_now
from ossmp_jupyter.notebook.waiting import wait_future
from ossmp_jupyter.oss.veil import Secret, veil
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.request import resolve_target
from ossmp_jupyter.units import format_time, parse_duration

if TYPE_CHECKING:
    import argparse

    from ossmp_jupyter.notebook.session import Session
    from ossmp_jupyter.oss.credentials import Credentials
    from ossmp_jupyter.transfer.client import OSSClient

__all__ = ["Link", "link_end", "make_link", "show_link"]


@dataclass(frozen=True, slots=True, repr=False)
class Link:
    """A link by which anybody can download an object.

    Parameters
    ----------
    address : str
        ``oss://bucket/key``.
    url : str
        The link, a text that does not show itself: ``print(link.url)`` does.
    ends : datetime
        When it stops working, at the latest.
    why : str
        What else has to be said about its end or where it works.

    Examples
    --------
    >>> Link("oss://b/k", "https://...", datetime(2026, 3, 1, 14, 5, tzinfo=UTC))
    link to oss://b/k, works until 2026-03-01 14:05:00 UTC; print(_.url) shows it
    """

    address: str
    url: str
    ends: datetime
    why: str = ""

    def __repr__(self) -> str:
        return f"link to {self.address}, {self.words()}; print(_.url) shows it"

    def words(self) -> str:
        """Until when it works, for people.

        Examples
        --------
        >>> Link("oss://b/k", "", datetime(2026, 3, 1, 14, 5, tzinfo=UTC), "inside only").words()
        'works until 2026-03-01 14:05:00 UTC, inside only'
        """
        return f"works until {format_time(self.ends)}{self.why and ', '}{self.why}"


def link_end(url: str) -> datetime:
    """When a presigned link ends, as it says itself.

    Examples
    --------
    >>> link_end("https://b/k?x-oss-date=20260301T140000Z&x-oss-expires=300").isoformat()
    '2026-03-01T14:05:00+00:00'
    >>> link_end("https://b/k?Expires=60").isoformat()
    '1970-01-01T00:01:00+00:00'
    """
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    if "Expires" in query:  # V1
        return datetime.fromtimestamp(int(query["Expires"]), UTC)
    begun = datetime.strptime(query["x-oss-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return begun + timedelta(seconds=int(query["x-oss-expires"]))


async def make_link(client: OSSClient, address: str, seconds: int) -> Link:
    """Make a link to an object that is there.

    Raises
    ------
    NotFound
        If there is no such object.
    CredentialsError
        If the security token that would sign it has ended.
    """
    await client.head(address)
    provider = client.connection.credentials
    signer = await provider.get()
    while True:
        url = veil(await client.presign(address, expires=seconds))
        now = await provider.get()
        if now == signer:
            break
        signer = now  # renewed meanwhile: which of the two signed it?
    bucket, key = resolve_target(client.connection, address, None, literal=True)
    return _told(f"oss://{bucket}/{key}", url, signer)


def _told(address: str, url: Secret, signer: Credentials) -> Link:
    ends, why = link_end(url), []
    if signer.expires_at is not None and signer.expires_at < ends:
        ends, token = signer.expires_at.astimezone(UTC), "when the security token ends"
        if ends <= datetime.now(UTC):
            raise CredentialsError(
                "the security token has ended, and so would the link", hint="run %oss_connect with new keys"
            )
        why.append(token)
    elif signer.security_token and signer.expires_at is None:
        why.append("or less: it ends with the security token, whose end is not known here")
    if "-internal" in (urlsplit(url).hostname or ""):
        why.append("inside Alibaba Cloud only")
    return Link(address, url, ends, ", ".join(why))


def show_link(session: Session, args: argparse.Namespace) -> Link:
    """Make a link and return it; the cell shows until when it works, and not the link."""
    seconds = int(parse_duration(args.expires, "--expires"))
    connection = connection_now()
    return wait_future(
        manager.call(lambda client: make_link(client, args.key, seconds), connection), session.shell
    )
