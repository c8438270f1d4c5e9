"""Credentials that have expired: all requests of an upload wait together until there are new ones."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
import warnings
from collections.abc import Callable

from ossmp_jupyter.errors import OssmpError
from ossmp_jupyter.oss.connection import Connection
from ossmp_jupyter.oss.credentials import Credentials
from ossmp_jupyter.oss.rest import RestClient
from ossmp_jupyter.transfer.progress import Progress, State, waiting_words
from ossmp_jupyter.transfer.retry import Retrier
from ossmp_jupyter.units import format_duration
from ossmp_jupyter.visible import visible

__all__ = ["Renewal", "warn_of_waiting"]

_CREDENTIALS_POLL = 5.0
_CREDENTIALS_WAIT = 1800.0
"""Seconds: how often to look for new credentials, and for how long."""


_PACKAGE = __name__.partition(".")[0] + "."


def warn_of_waiting(address: str, progress: Progress) -> None:
    """Warn that only new credentials help: a program without a panel would wait in silence.

    The warning points to the line outside this package that waits.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    with contextlib.suppress(UserWarning):  # who makes errors of warnings still wants the upload
        warnings.warn(visible(f"{address} is {waiting_words(progress)}"), stacklevel=level)


class Renewal:
    """The part of an upload that waits for credentials.

    Parameters
    ----------
    rest : RestClient
        Whose credentials.
    retrier : Retrier
        It calls for new credentials.
    enter : callable
        Told each state.
    """

    def __init__(self, rest: RestClient, retrier: Retrier, enter: Callable[[State], None]) -> None:
        self.problem: str | None = None
        self._rest = rest
        self._retrier = retrier
        self._tell_state = enter
        self._state = State.QUEUED
        self._renewed = asyncio.Event()
        self._waiting: asyncio.Task[None] | None = None
        self._aborting = False
        retrier.on_credentials = self._need_credentials

    def renew(self, connection: Connection) -> None:
        """Go on with the credentials of another connection to the same service."""
        self._rest.use(dataclasses.replace(connection, timeout=self._rest.connection.timeout))
        self._renewed.set()

    def _enter(self, state: State) -> None:
        self._state = state
        self._tell_state(state)

    def _stop_waiting(self) -> None:
        """Ask no provider any more; the next request that needs credentials begins anew."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def _need_credentials(self, error: OssmpError) -> None:
        """Wait for new credentials; all requests of the upload share one wait.

        Who aborts is waiting for an answer: the provider is asked once.
        """
        if self._aborting:
            used = await self._credentials()
            if await self._credentials(refresh=True) in (None, used):
                raise error
            return
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.ensure_future(self._wait_for_credentials(error))
        await asyncio.shield(self._waiting)

    async def _wait_for_credentials(self, error: OssmpError) -> None:
        before, self.problem = self._state, str(error)
        used = await self._credentials()
        self._renewed.clear()
        self._enter(State.WAITING)
        deadline = self._retrier.clock.now() + _CREDENTIALS_WAIT
        while self._retrier.clock.now() < deadline:
            await self._renewed_or(_CREDENTIALS_POLL)
            if self._renewed.is_set() or await self._credentials(refresh=True) not in (None, used):
                if self._state is State.WAITING:
                    self._enter(before)
                return
        error.hint = (
            f"no new credentials came within {format_duration(_CREDENTIALS_WAIT)}; "
            "connect again with %oss_connect and run the upload again: it goes on where it was"
        )
        error.retryable = False
        if self._state is State.WAITING:
            self._enter(before)
        raise error

    async def _renewed_or(self, seconds: float) -> None:
        """Return when :meth:`renew` was called, or after so many seconds."""
        waits = [
            asyncio.ensure_future(wait) for wait in (self._renewed.wait(), self._retrier.clock.sleep(seconds))
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _credentials(self, *, refresh: bool = False) -> Credentials | None:
        provider = self._rest.connection.credentials
        with contextlib.suppress(OssmpError):
            return await (provider.refresh() if refresh else provider.get())
        return None
