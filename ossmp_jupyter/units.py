"""Sizes, speeds, durations and times: one way to read them, one way to write them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from ossmp_jupyter.errors import InputError

__all__ = [
    "GIB",
    "KIB",
    "MIB",
    "format_duration",
    "format_exact_size",
    "format_size",
    "format_speed",
    "format_time",
    "parse_duration",
    "parse_size",
]

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB")
_FACTORS = {
    "": 1, "B": 1,
    **{unit.upper(): 1024**i for i, unit in enumerate(_BINARY) if i},
    **{unit[0].upper(): 1024**i for i, unit in enumerate(_BINARY) if i},
    **{unit.upper(): 1000**i for i, unit in enumerate(_DECIMAL) if i},
}  # fmt: skip
_SIZE = re.compile(r"\s*(\d{1,40}(?:\.\d{1,40})?)\s*([A-Za-z]*)(?:/s)?\s*")


def parse_size(value: int | float | str, what: str = "size") -> int:
    """Read a number of bytes: ``8388608``, ``"8MiB"``, ``"8M"`` (both binary) or ``"20MB"`` (decimal).

    Parameters
    ----------
    value : int, float or str
        Bytes, or a number with a unit. A trailing ``/s`` is allowed.
    what : str
        Name of the option, for the error message.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    InputError
        If the text is not a size, or is negative.

    Examples
    --------
    >>> parse_size("8MiB"), parse_size("20MB/s"), parse_size(102400)
    (8388608, 20000000, 102400)
    """
    hint = "write bytes or a unit, such as 8388608, 8MiB or 20MB"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise InputError(f"{what} {value!r} is not a size", hint=hint)
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        factor = _FACTORS.get(match[2].upper()) if match else None
        if match is None or factor is None:
            raise InputError(f"{what} {value!r} is not a size", hint=hint)
        return int(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{what} {value!r} is not a size", hint=hint)
    return int(value)


def format_size(size: float) -> str:
    """Write bytes for people, in binary units.

    Examples
    --------
    >>> format_size(0), format_size(102400), format_size(209715200)
    ('0 B', '100.0 KiB', '200.0 MiB')
    """
    value, unit = float(size), 0
    while abs(value) >= 1024 and unit < len(_BINARY) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} B" if unit == 0 else f"{value:.1f} {_BINARY[unit]}"


def format_speed(bytes_per_second: float) -> str:
    """Write a speed for people, in the same units as :func:`format_size`.

    Examples
    --------
    >>> format_speed(20_000_000)
    '19.1 MiB/s'
    """
    return f"{format_size(bytes_per_second)}/s"


def format_exact_size(size: int) -> str:
    """Write bytes twice, for receipts: rounded to read, exact to compare.

    Examples
    --------
    >>> format_exact_size(2_000_000)
    '1.9 MiB (2,000,000 bytes)'
    """
    return f"{format_size(size)} ({size:,} bytes)"


def format_duration(seconds: float) -> str:
    """Write a duration for people: two units at most.

    Examples
    --------
    >>> [format_duration(seconds) for seconds in (0.0004, 0.04, 0.42, 9.3, 60, 75, 7500)]
    ['1 ms', '40 ms', '0.4 s', '9.3 s', '1 min', '1 min 15 s', '2 h 5 min']
    """
    if seconds <= 0:
        return "0 s"
    if seconds < 0.0995:
        return f"{max(1, round(1000 * seconds))} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return _two(f"{minutes} min", rest, "s")
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return _two(f"{hours} h", minutes, "min")
    days, hours = divmod(hours, 24)
    return _two(f"{days} d", hours, "h")


def _two(large: str, number: int, unit: str) -> str:
    return f"{large} {number} {unit}" if number else large


def format_time(moment: datetime | float) -> str:
    """Write a moment for people, in UTC; a number is a Unix time in seconds.

    Examples
    --------
    >>> format_time(86400)
    '1970-01-02 00:00:00 UTC'
    """
    when = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment, UTC)
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


_AGES = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_duration(value: str, what: str = "duration") -> float:
    """Read a duration: ``"7d"``, ``"12h"``, ``"90 min"``, ``"2w"``; returns seconds.

    Raises
    ------
    InputError
        If it is none.

    Examples
    --------
    >>> parse_duration("7d"), parse_duration("1.5 h"), parse_duration("90min")
    (604800.0, 5400.0, 5400.0)
    """
    found = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(s|min|m|h|d|w)\s*", value)
    if found is None:
        raise InputError(f"{what} {value!r} is not a duration", hint="write such as 7d, 12h or 30min")
    return float(found[1]) * _AGES[found[2]]
