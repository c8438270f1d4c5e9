"""The connection that calls use when none is named: what ``%oss_connect`` sets."""

from __future__ import annotations

from ossmp_jupyter.oss.connection import Connection, connect

__all__ = ["current_connection", "default_connection", "set_default_connection"]

_default: Connection | None = None


def set_default_connection(connection: Connection | None) -> None:
    """Set what uploads and clients of this process use from now on; None forgets it."""
    global _default  # noqa: PLW0603 - the one setting of the process, as the user's kernel has one
    _default = connection


def default_connection() -> Connection | None:
    """What :func:`set_default_connection` was given last."""
    return _default


def current_connection() -> Connection:
    """Return the default connection, or one made from environment and configuration files.

    Raises
    ------
    InputError, CredentialsError
        If nothing says where to connect.
    """
    return _default if _default is not None else connect()
