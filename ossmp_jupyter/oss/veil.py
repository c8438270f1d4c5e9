"""Secrets that are used like any other text and never shown.

Tracebacks can show more than messages: IPython's ``%xmode Verbose`` prints the arguments and variables of
every frame, so does whatever reports errors with their variables. A secret in our hands is therefore a text
whose ``repr`` hides it, from the moment it comes in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, Self, TypeVar, cast, overload

from ossmp_jupyter.errors import CredentialsError

__all__ = ["Hidden", "KeyId", "Secret", "Variables", "masked", "veil", "veil_address", "veil_named"]

_T = TypeVar("_T")
_TELLING = ("key", "secret", "token", "password", "credential", "process", "environ")


class _Unpickled:
    """What goes no further than this process: a pickle would hold it in clear."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise CredentialsError(
            "credentials cannot be pickled: they would lie in clear where the pickle goes",
            hint="make the connection anew where it is needed",
        )

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


class Secret(_Unpickled, str):
    """A text that does not show itself; ``str()`` gives it in clear.

    Examples
    --------
    >>> secret = Secret("a secret")
    >>> {"secret": secret}, secret == "a secret", f"<{secret}>"
    ({'secret': '***'}, True, '<a secret>')
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class KeyId(Secret):
    """An access key ID, which shows enough of itself to be recognised.

    Examples
    --------
    >>> KeyId("LTAI5tExample1234")
    'LTAI…1234'
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(masked(self))


def masked(access_key_id: str) -> str:
    """Keep of an access key ID what is needed to recognise it."""
    known = str(access_key_id)
    return known if len(known) <= 8 else f"{known[:4]}…{known[-4:]}"


class Hidden(dict[str, _T]):
    """A dict that does not show what is in it, not even names: a broken file may have keys for names.

    Examples
    --------
    >>> Hidden(a=1)
    {...}
    """

    def __repr__(self) -> str:
        return "{...}"


class Variables(_Unpickled, Mapping[str, str]):
    """Environment variables, those of the process unless given, that are not shown.

    Examples
    --------
    >>> Variables({"OSS_ACCESS_KEY_SECRET": "a secret"})
    <environment variables>
    """

    __slots__ = ("_variables",)

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables: Mapping[str, str] = os.environ if variables is None else variables

    def __getitem__(self, name: str) -> str:
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __repr__(self) -> str:
        return "<environment variables>"


@overload
def veil(value: str) -> Secret: ...
@overload
def veil(value: None) -> None: ...
@overload
def veil(value: _T) -> _T: ...
def veil(value: Any) -> Any:
    """Hide a text, or the texts in a mapping or a list; anything else stays as it is.

    Examples
    --------
    >>> veil({"accessKeySecret": "a secret", "lifetime": 60})
    {'accessKeySecret': '***', 'lifetime': 60}
    """
    if isinstance(value, Mapping):
        return value if isinstance(value, Variables) else {name: veil(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [veil(one) for one in value]
    return Secret(value) if isinstance(value, str) and not isinstance(value, Secret) else value


def veil_named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Hide the values whose names say that they are secrets, and addresses as :func:`veil_address` does.

    Examples
    --------
    >>> veil_named({"region": "cn-hangzhou", "access_key_secret": "a secret"})
    {'region': 'cn-hangzhou', 'access_key_secret': '***'}
    """
    return {
        name: veil(value) if any(word in str(name).lower() for word in _TELLING) else veil_address(value)
        for name, value in values.items()
    }


def veil_address(address: _T) -> _T:
    """Hide an address that holds a user name or a password."""
    return cast("_T", veil(address)) if isinstance(address, str) and "@" in address else address
