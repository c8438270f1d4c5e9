"""Roles, OIDC and credentials URIs, by Alibaba's own library (extra ``credentials``).

The library's default chain is put together here from its public providers, because the ready-made one
forgets when credentials expire, reads the environment only once, when it is imported, and leaves a
scheduler's thread behind.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ossmp_jupyter.errors import CredentialsError
from ossmp_jupyter.oss.credentials import Credentials, CredentialsNotFound
from ossmp_jupyter.oss.flight import SingleFlight
from ossmp_jupyter.oss.veil import Variables

__all__ = ["AlibabaCredentialsProvider"]

_KEEP = timedelta(minutes=1)
_EARLY = timedelta(minutes=15)  # the library itself renews that long before the end
_Maker = Callable[[], Any]


class AlibabaCredentialsProvider:
    """What ``alibabacloud-credentials`` finds, in the order of its own default chain.

    OIDC (RRSA), the profiles of ``~/.aliyun/config.json`` (roles, CloudSSO, ...),
    ``~/.alibabacloud/credentials.ini``, the RAM role of an ECS instance (IMDSv2, then v1), a credentials
    URI; all steered by the ``ALIBABA_CLOUD_*`` variables that the library documents.

    Parameters
    ----------
    environ : mapping, optional
        Instead of the process's environment variables.
    profile : str, optional
        This profile of the two files, and nothing else.

    Examples
    --------
    >>> AlibabaCredentialsProvider().source
    'alibabacloud-credentials'
    """

    def __init__(self, environ: Mapping[str, str] | None = None, *, profile: str | None = None) -> None:
        self._environ = environ = Variables(environ)
        self._profile = profile
        self._lock = threading.Lock()
        self._flight: SingleFlight[Credentials] = SingleFlight()
        self._chosen: tuple[str, Any] | None = None
        self._known: tuple[Credentials, datetime] | None = None
        self.source = "alibabacloud-credentials"

    async def get(self) -> Credentials:
        """Return the current credentials; the library is asked, in a thread, once a minute at most.

        Raises
        ------
        CredentialsNotFound
            If the library is not installed, or finds nothing.
        CredentialsError
            If a source that had credentials does not give newer ones.
        """
        known = self._known
        if known is not None and datetime.now(UTC) < known[1]:
            return known[0]
        return await self._flight.run(lambda: asyncio.to_thread(self._ask))

    async def refresh(self) -> Credentials:
        """Ask anew, with a provider that holds no cached answer; once for all who wait."""

        def renew() -> Credentials:
            self._chosen = None
            return self._ask()

        return await self._flight.run(lambda: asyncio.to_thread(renew))

    def _ask(self) -> Credentials:
        with self._lock:
            found = self._found()
            until = datetime.now(UTC) + _KEEP
            if found.expires_at is not None:
                until = min(until, found.expires_at - _EARLY)
            self._known = (found, until)
            return found

    def _found(self) -> Credentials:
        try:
            from alibabacloud_credentials import provider as library
        except ImportError as error:
            raise CredentialsNotFound("alibabacloud-credentials is not installed") from error
        with _quietly():
            if self._chosen is not None:
                name, chosen = self._chosen
                return self._again(name, chosen)
            return self._first(library)

    def _first(self, library: Any) -> Credentials:
        tried: list[str] = []
        files = _files(library, self._environ, self._profile)
        for name, make in files if self._profile else _chain(library, self._environ, files):
            try:
                chosen = make()
                credentials = self._read(name, chosen)
            except Exception as error:
                tried.append(f"{name}: {type(error).__name__}")
                continue
            self._chosen = (name, chosen)
            return credentials
        where = f" ({', '.join(tried)})" if tried else ""
        raise CredentialsNotFound(f"alibabacloud-credentials found none{where}")

    def _again(self, name: str, chosen: Any) -> Credentials:
        try:
            return self._read(name, chosen)
        except Exception as error:
            kind = type(error).__name__
        raise CredentialsError(
            f"the {name} gave no newer credentials ({kind})", hint="try again; if it stays so, look there"
        )

    def _read(self, name: str, chosen: Any) -> Credentials:
        found = chosen.get_credentials()
        seconds = found.get_expiration()
        credentials = Credentials(
            found.get_access_key_id() or "",
            found.get_access_key_secret() or "",
            found.get_security_token() or None,
            None if seconds is None else datetime.fromtimestamp(seconds, UTC),
        )
        self.source = f"alibabacloud-credentials ({name})"
        return credentials


# The library's errors and log lines quote whole answers and whole addresses, keys included.
_TALKATIVE = ("credentials", "alibabacloud-tea", "urllib3.connectionpool", "urllib3.util.retry")
_asking = threading.local()


@contextmanager
def _quietly() -> Iterator[None]:
    """Ask the library in this thread: nothing is logged meanwhile, and no redirect followed.

    A redirect would take the token of the instance's metadata, or that of the pod, to whoever sent it.
    """
    _prepare()
    _asking.now = True
    try:
        yield
    finally:
        _asking.now = False


@functools.cache
def _prepare() -> None:
    """Give requests and loggers a look at :data:`_asking`; for everybody else they stay what they are."""
    from requests import Session

    sessions: Any = Session
    follow = sessions.resolve_redirects

    @functools.wraps(follow)
    def resolve_redirects(*args: Any, **options: Any) -> Iterator[Any]:
        return iter(()) if getattr(_asking, "now", False) else follow(*args, **options)

    sessions.resolve_redirects = resolve_redirects
    logging.getLogger("credentials").setLevel(logging.CRITICAL)  # it also logs each provider that has none
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(lambda record: not getattr(_asking, "now", False))


_Makers = Iterator[tuple[str, _Maker]]


def _given(environ: Mapping[str, str], name: str) -> str | None:
    return environ.get(f"ALIBABA_CLOUD_{name}") or None


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return (_given(environ, name) or "").lower() == "true"


def _files(library: Any, environ: Mapping[str, str], profile: str | None) -> _Makers:
    """Name the library's providers that read files, where these are there, and how to make them."""
    home = Path.home()
    config = home / ".aliyun" / "config.json"
    if not _is_set(environ, "CLI_PROFILE_DISABLED") and config.is_file():
        yield (
            "profile of ~/.aliyun/config.json",
            lambda: library.CLIProfileCredentialsProvider(
                profile_name=profile or _given(environ, "PROFILE"), profile_file=str(config)
            ),
        )
    ini = Path(_given(environ, "CREDENTIALS_FILE") or home / ".alibabacloud" / "credentials.ini")
    if ini.is_file():
        yield (
            "profile of credentials.ini",
            lambda: library.ProfileCredentialsProvider(
                profile_file=str(ini), profile_name=profile or _given(environ, "PROFILE") or "default"
            ),
        )


def _chain(library: Any, environ: Mapping[str, str], files: _Makers) -> _Makers:
    """Name all of the library's providers in its own order; what is switched off is left out."""
    role, oidc = _given(environ, "ROLE_ARN"), _given(environ, "OIDC_PROVIDER_ARN")
    token = _given(environ, "OIDC_TOKEN_FILE")
    if role and oidc and token:
        yield (
            "OIDC role",
            lambda: library.OIDCRoleArnCredentialsProvider(
                role_arn=role,
                oidc_provider_arn=oidc,
                oidc_token_file_path=token,
                role_session_name=_given(environ, "ROLE_SESSION_NAME"),
                sts_region_id=_given(environ, "STS_REGION"),
            ),
        )
    yield from files
    if not _is_set(environ, "ECS_METADATA_DISABLED"):
        yield (
            "RAM role of the ECS instance",
            lambda: library.EcsRamRoleCredentialsProvider(
                role_name=_given(environ, "ECS_METADATA"),
                disable_imds_v1=_is_set(environ, "IMDSV1_DISABLED"),
                async_update_enabled=False,
            ),
        )
    if uri := _given(environ, "CREDENTIALS_URI"):
        yield "credentials URI", lambda: library.URLCredentialsProvider(uri=uri)
