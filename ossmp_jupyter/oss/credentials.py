"""Credentials and where they come from.

A provider is asked anew before every request, so that rotated keys and tokens are picked up without
a restart: environment variables are read each time, files again once they changed. ``refresh()``
is called when OSS says that the token has expired; however many requests wait for it, from however
many event loops, the work is done once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, runtime_checkable

from ossmp_jupyter.errors import CredentialsError
from ossmp_jupyter.oss.veil import KeyId, Secret, masked, veil
from ossmp_jupyter.units import format_time

__all__ = ["Credentials", "CredentialsNotFound", "CredentialsProvider", "credentials_from_mapping"]


@dataclass(frozen=True, slots=True, init=False)
class Credentials:
    """An access key pair, with the security token of temporary credentials.

    Parameters
    ----------
    access_key_id, access_key_secret : str
        The key pair.
    security_token : str, optional
        The STS token of temporary credentials.
    expires_at : datetime, optional
        When temporary credentials end, with a time zone.

    Notes
    -----
    The fields are texts that do not show themselves: ``credentials.access_key_secret`` in a cell is
    ``'***'``. Credentials cannot be pickled.

    Examples
    --------
    >>> Credentials("LTAI5tExample1234", "a secret", "a token")
    Credentials('LTAI…1234', with a security token)
    """

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None

    def __init__(
        self,
        access_key_id: str,
        access_key_secret: str,
        security_token: str | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        # Written out, and hidden first: a traceback may show the arguments of this very frame.
        access_key_id, access_key_secret = veil(access_key_id), veil(access_key_secret)
        security_token = veil(security_token)
        for name, value in (("ID", access_key_id), ("secret", access_key_secret)):
            if not value or not str(value).strip():
                raise CredentialsError(
                    f"the access key {name} is empty", hint="give both halves of the key pair"
                )
        object.__setattr__(self, "access_key_id", KeyId(_checked("access key ID", access_key_id)))
        object.__setattr__(self, "access_key_secret", _checked("access key secret", access_key_secret))
        token = _checked("security token", security_token) if security_token is not None else None
        object.__setattr__(self, "security_token", token or None)
        object.__setattr__(self, "expires_at", expires_at)

    @property
    def masked_id(self) -> str:
        """Enough of the access key ID to recognise it."""
        return masked(self.access_key_id)

    def __repr__(self) -> str:
        if not hasattr(self, "expires_at"):  # refused half-way
            return "Credentials(?)"
        token = ", with a security token" if self.security_token else ""
        until = f", until {format_time(self.expires_at)}" if self.expires_at else ""
        return f"Credentials({self.masked_id!r}{token}{until})"

    def expire_within(self, span: timedelta) -> bool:
        """Tell whether these credentials end within ``span`` from now; False where no end is known."""
        return self.expires_at is not None and self.expires_at - datetime.now(UTC) <= span


def _checked(what: str, text: object) -> Secret:
    """Take what stands around a pasted key off; refuse what would break a request apart."""
    if not isinstance(text, str):
        raise CredentialsError(f"the {what} is of type {type(text).__name__}", hint="give it as text")
    if not text.strip().isprintable():
        raise CredentialsError(
            f"the {what} holds control characters", hint="copy it again, without line breaks"
        )
    return Secret(text.strip())


class CredentialsNotFound(CredentialsError):
    """This provider has no credentials; a chain asks the next one."""


@runtime_checkable
class CredentialsProvider(Protocol):
    """Where credentials come from. Must work from any event loop and thread."""

    @property
    def source(self) -> str:
        """Say, for people, where the credentials come from."""

    async def get(self) -> Credentials:
        """Return the current credentials; called before every request."""

    async def refresh(self) -> Credentials:
        """Fetch newer credentials; called when OSS says that the token has expired."""


def credentials_from_mapping(answer: Mapping[Any, Any], source: str) -> Credentials:
    """Read credentials from a mapping in any of the spellings Alibaba's tools use."""
    answer = veil(answer)
    fields = {str(name).replace("_", "").replace("-", "").lower(): value for name, value in answer.items()}
    expires = fields.get("expiration") or fields.get("expiresat")
    if isinstance(expires, str):
        try:
            expires = datetime.fromisoformat(expires)
        except ValueError:
            expires = None
        if expires is None:  # not within the except: ValueErrors quote
            raise CredentialsError(f"the {source} gave an expiration that is not an ISO 8601 time")
    if isinstance(expires, datetime) and expires.tzinfo is None:
        expires = expires.replace(tzinfo=UTC)
    return Credentials(
        Secret(fields.get("accesskeyid") or ""),
        Secret(fields.get("accesskeysecret") or ""),
        fields.get("ststoken") or fields.get("securitytoken") or None,
        expires if isinstance(expires, datetime) else None,
    )
