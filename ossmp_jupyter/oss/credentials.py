"""Credentials and where they come from.

A provider is asked anew before every request, so that rotated keys and tokens are picked up without
a restart: environment variables are read each time, files again once they changed. ``refresh()``
is called when OSS says that the token has expired; however many requests wait for it, from however
many event loops, the work is done once.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, runtime_checkable

from ossmp_jupyter.errors import CredentialsError
from ossmp_jupyter.oss.flight import SingleFlight
from ossmp_jupyter.oss.foreign import answer_of
from ossmp_jupyter.oss.veil import KeyId, Secret, Variables, masked, veil
from ossmp_jupyter.units import format_time

__all__ = [
    "CallableProvider",
    "ChainProvider",
    "Credentials",
    "CredentialsNotFound",
    "CredentialsProvider",
    "EnvironmentProvider",
    "GuardedProvider",
    "StaticProvider",
    "as_provider",
]

_REFRESH_BEFORE = timedelta(minutes=5)


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


class StaticProvider:
    """Credentials that were given and never change.

    Examples
    --------
    >>> provider = StaticProvider(Credentials("ak", "sk"))
    >>> asyncio.run(provider.get())
    Credentials('ak')
    """

    def __init__(self, credentials: Credentials, source: str = "given in the call") -> None:
        self._credentials = credentials
        self.source = source

    def __repr__(self) -> str:
        return f"StaticProvider({self._credentials!r})"

    async def get(self) -> Credentials:
        """Return the credentials."""
        return self._credentials

    async def refresh(self) -> Credentials:
        """Return the same credentials; there is nowhere to get newer ones."""
        return self._credentials


class EnvironmentProvider:
    """``OSS_ACCESS_KEY_ID``, ``OSS_ACCESS_KEY_SECRET``, ``OSS_SESSION_TOKEN``; then ``ALIBABA_CLOUD_*``.

    The variables are read at every request, so that ``%env`` in a notebook takes effect at once.

    Examples
    --------
    >>> provider = EnvironmentProvider({"OSS_ACCESS_KEY_ID": "ak", "OSS_ACCESS_KEY_SECRET": "sk"})
    >>> asyncio.run(provider.get()), provider.source
    (Credentials('ak'), 'environment variables OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET')
    """

    _SETS = (
        ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"),
    )

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = environ = Variables(environ)
        self.source = "environment variables"

    async def get(self) -> Credentials:
        """Read the variables.

        Raises
        ------
        CredentialsNotFound
            If none of the variables is set.
        CredentialsError
            If only one half of a pair is set.
        """
        for id_name, secret_name, token_name in self._SETS:
            access_key_id, secret = self._read(id_name), self._read(secret_name)
            if access_key_id and secret:
                token = self._read(token_name) or None
                names = (id_name, secret_name) + ((token_name,) if token else ())
                self.source = f"environment variables {', '.join(names)}"
                return Credentials(access_key_id, secret, token)
            if access_key_id or secret:
                there, missing = (id_name, secret_name) if access_key_id else (secret_name, id_name)
                raise CredentialsError(f"{there} is set but {missing} is not", hint="set both, or neither")
        raise CredentialsNotFound("OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET are not set")

    async def refresh(self) -> Credentials:
        """Read the variables again."""
        return await self.get()

    def _read(self, name: str) -> Secret:
        return Secret(self._environ.get(name, "").strip())


class CallableProvider:
    """Credentials from a function of the caller's, such as one that asks an STS service.

    Parameters
    ----------
    function : callable
        Sync or async, without arguments; returns :class:`Credentials` or a mapping as ali-oss's
        ``refreshSTSToken`` does: ``accessKeyId``, ``accessKeySecret``, ``stsToken`` (or
        ``securityToken``), and optionally ``expiration`` (datetime or ISO 8601 text); first letters in
        either case. A sync function runs in a thread.
    lifetime : timedelta, optional
        How long credentials without an expiration are used before the function is asked again.

    Examples
    --------
    >>> provider = CallableProvider(lambda: {"accessKeyId": "ak", "accessKeySecret": "sk", "stsToken": "t"})
    >>> asyncio.run(provider.get())
    Credentials('ak', with a security token)
    """

    def __init__(self, function: Callable[[], Any], *, lifetime: timedelta | None = None) -> None:
        self._function = function
        self._lifetime = lifetime
        self._flight: SingleFlight[Credentials] = SingleFlight()
        self._current: Credentials | None = None
        self._renew_at: datetime | None = None
        self.source = f"function {getattr(function, '__name__', type(function).__name__)}"

    async def get(self) -> Credentials:
        """Return the current credentials; asks the function when there are none, or they are about to end."""
        current = self._current
        due = self._renew_at is not None and datetime.now(UTC) >= self._renew_at
        if current is None or due or current.expire_within(_REFRESH_BEFORE):
            try:
                return await self.refresh()
            except Exception:
                # Newer ones can wait while the old ones still work.
                if current is None or current.expire_within(timedelta(0)):
                    raise
        assert current is not None
        return current

    async def refresh(self) -> Credentials:
        """Ask the function, once for all who wait.

        Raises
        ------
        CredentialsError
            If the function fails or returns no credentials.
        """
        return await self._flight.run(self._ask)

    async def _ask(self) -> Credentials:
        what = f"the {self.source} that provides credentials"
        answer = await answer_of(what, self._call, Credentials, Mapping)
        credentials = (
            answer if isinstance(answer, Credentials) else credentials_from_mapping(answer, self.source)
        )
        self._current = credentials
        self._renew_at = datetime.now(UTC) + self._lifetime if self._lifetime is not None else None
        return credentials

    async def _call(self) -> Any:
        if inspect.iscoroutinefunction(self._function):
            return await self._function()
        answer = await asyncio.to_thread(self._function)
        return await answer if inspect.isawaitable(answer) else answer


class GuardedProvider:
    """A provider of the user's own, kept from telling more than it should when it fails.

    Examples
    --------
    >>> GuardedProvider(StaticProvider(Credentials("ak", "sk"), source="my desk"))
    <credentials from my desk>
    """

    def __init__(self, provider: CredentialsProvider) -> None:
        self._provider = provider

    @property
    def source(self) -> str:
        """What the provider itself says."""
        return str(self._provider.source)

    def __repr__(self) -> str:
        return f"<credentials from {self.source}>"

    async def get(self) -> Credentials:
        """Return the current credentials.

        Raises
        ------
        CredentialsError
            If the provider fails, however.
        """
        return await self._ask(self._provider.get)

    async def refresh(self) -> Credentials:
        """Fetch newer credentials; errors as :meth:`get`."""
        return await self._ask(self._provider.refresh)

    async def _ask(self, ask: Callable[[], Awaitable[object]]) -> Credentials:
        found: Credentials = await answer_of(
            f"the credentials provider {type(self._provider).__name__}", ask, Credentials
        )
        return found


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


class ChainProvider:
    """The first of several providers that has credentials; ``source`` says which one.

    A provider that has none is passed over; one that is there but broken (half a key pair, an
    unreadable file) is an error, so that nobody uploads with other keys than meant.

    Examples
    --------
    >>> chain = ChainProvider([EnvironmentProvider({}), StaticProvider(Credentials("ak", "sk"))])
    >>> asyncio.run(chain.get()), chain.source
    (Credentials('ak'), 'given in the call')
    """

    def __init__(self, providers: Sequence[CredentialsProvider]) -> None:
        self._providers = tuple(providers)
        self._used: CredentialsProvider | None = None

    @property
    def source(self) -> str:
        """The source of the provider that answered last."""
        return self._used.source if self._used else "not looked up yet"

    async def get(self) -> Credentials:
        """Return the credentials of the first provider that has any.

        Raises
        ------
        CredentialsError
            If none has; the message lists what was looked at.
        """
        return await self._first(lambda provider: provider.get())

    async def refresh(self) -> Credentials:
        """Refresh the first provider that has credentials."""
        return await self._first(lambda provider: provider.refresh())

    async def _first(self, ask: Callable[[CredentialsProvider], Awaitable[Credentials]]) -> Credentials:
        tried = []
        for provider in self._providers:
            try:
                credentials = await ask(provider)
            except CredentialsNotFound as error:
                tried.append(error.message)
                continue
            self._used = provider
            return credentials
        raise CredentialsError(
            f"no OSS credentials were found ({'; '.join(tried)})",
            hint="set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, run 'ossutil config', "
            "or give access_key_id and access_key_secret",
        )


def as_provider(credentials: object) -> CredentialsProvider:
    """Make a provider of what a caller gave: a provider, credentials, a mapping or a function.

    Raises
    ------
    CredentialsError
        If it is none of these.
    """
    if isinstance(credentials, Credentials):
        return StaticProvider(credentials)
    if isinstance(credentials, Mapping):
        return StaticProvider(credentials_from_mapping(credentials, "mapping"))
    if isinstance(credentials, CredentialsProvider):
        own = type(credentials).__module__.startswith("ossmp_jupyter.")
        return credentials if own else GuardedProvider(credentials)
    if callable(credentials):
        return CallableProvider(credentials)
    kind = "str" if isinstance(credentials, str) else type(credentials).__name__
    raise CredentialsError(
        f"a {kind} cannot provide credentials",
        hint="give Credentials(...), a provider with get() and refresh(), or a function",
    )
