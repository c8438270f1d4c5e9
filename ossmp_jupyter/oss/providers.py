"""Where credentials come from: given, environment, a function, a chain of these."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ossmp_jupyter.errors import CredentialsError
from ossmp_jupyter.oss.credentials import (
    Credentials,
    CredentialsNotFound,
    CredentialsProvider,
    credentials_from_mapping,
)
from ossmp_jupyter.oss.flight import SingleFlight
from ossmp_jupyter.oss.foreign import answer_of
from ossmp_jupyter.oss.veil import Secret, Variables

__all__ = [
    "CallableProvider",
    "ChainProvider",
    "EnvironmentProvider",
    "GuardedProvider",
    "StaticProvider",
    "as_provider",
]

_REFRESH_BEFORE = timedelta(minutes=5)


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
