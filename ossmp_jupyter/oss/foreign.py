"""Waiting for code of the user's that provides credentials, without telling more than it should."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

from ossmp_jupyter.errors import CredentialsError
from ossmp_jupyter.oss.veil import veil

__all__ = ["answer_of"]


async def answer_of(what: str, ask: Callable[[], Awaitable[Any]], *wanted: type) -> Any:
    """Await what the user's code answers; texts in it come back hidden.

    The user's exception may hold anything, in its message and in the variables of its frames. It is not
    chained to ours, not even out of sight; where it was raised is said instead.

    Parameters
    ----------
    what : str
        The user's function or provider, for messages.
    ask : callable
        Makes what is awaited.
    *wanted : type
        What the answer should be.

    Raises
    ------
    CredentialsError
        If the code fails, or answers with something else.
    """
    failure: CredentialsError
    try:
        answer = await ask()
        if isinstance(answer, wanted):
            return veil(answer)
        failure = CredentialsError(
            f"{what} returned a {type(answer).__name__}, not credentials",
            hint="return Credentials(...), or from a function a dict with accessKeyId, accessKeySecret "
            "and stsToken",
        )
        del answer
    except CredentialsError as error:
        failure = error.with_traceback(None)
        failure.__cause__ = failure.__context__ = None
    except Exception as error:
        failure = CredentialsError(
            f"{what} failed with {type(error).__name__}{_place(error.__traceback__)}",
            hint="call it by itself to see why",
        )
    raise failure


def _place(trace: TracebackType | None) -> str:
    """Name line and function where an exception was raised."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" (line {trace.tb_lineno} of {trace.tb_frame.f_code.co_name})" if trace else ""
