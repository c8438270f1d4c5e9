"""How a source is cut into parts: how many, how large, which range."""

from __future__ import annotations

from dataclasses import dataclass

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.units import GIB, KIB, MIB, format_size, parse_size

__all__ = [
    "DEFAULT_PARALLEL",
    "GROWN_PARALLEL",
    "MAX_OBJECT_SIZE",
    "MAX_PARTS",
    "MAX_PART_SIZE",
    "MAX_PUT_SIZE",
    "MIN_PART_SIZE",
    "SIMPLE_BELOW",
    "PartRange",
    "Plan",
    "StreamPlan",
    "check_parallel",
    "check_part_size",
    "make_plan",
]

MAX_PARTS = 10_000
MIN_PART_SIZE = 100 * KIB
MAX_PART_SIZE = 5 * GIB
MAX_PUT_SIZE = 5 * GIB
MAX_OBJECT_SIZE = MAX_PARTS * MAX_PART_SIZE
SIMPLE_BELOW = 100 * KIB
"""Sources smaller than this go by one PutObject, as in ali-oss."""
DEFAULT_PARALLEL = 5
GROWN_PARALLEL = 32
"""How many parts in flight it becomes on long lines, where the user gives no number."""
MAX_PARALLEL = 64
_LEAST = 1 * MIB
_PREFERRED = 8 * MIB
_LARGE = 32 * MIB
_FINE = 64
"""A large source is cut into no fewer parts, so that a failed one costs little of the whole."""


@dataclass(frozen=True, slots=True)
class PartRange:
    """Part ``number`` (from 1) covers ``length`` bytes from ``offset``."""

    number: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The cut of one source. All parts have ``part_size`` bytes but the last.

    Part *k* covers ``(k-1) * part_size ... min(k * part_size, size)``: the rule of ali-oss's
    checkpoints, so that an upload can change hands.
    """

    size: int
    part_size: int
    simple: bool = False
    raised: bool = False

    @property
    def count(self) -> int:
        """Number of parts; an empty source has one empty part."""
        return max(1, -(-self.size // self.part_size))

    def warning(self) -> str | None:
        """Say that the part size is not the one that was asked for.

        Examples
        --------
        >>> make_plan(2_000_000_000, part_size="100KiB").warning()
        'the parts are 256.0 KiB large: with those asked for, the upload would have more than 10,000'
        """
        if not self.raised:
            return None
        size = format_size(self.part_size)
        return f"the parts are {size} large: with those asked for, the upload would have more than 10,000"

    def part(self, number: int) -> PartRange:
        """The range of one part.

        Examples
        --------
        >>> Plan(size=2_500_000, part_size=1_048_576).part(3)
        PartRange(number=3, offset=2097152, length=402848)
        """
        offset = (number - 1) * self.part_size
        return PartRange(number, offset, min(self.part_size, self.size - offset))

    def parts(self) -> tuple[PartRange, ...]:
        """All parts in order."""
        return tuple(self.part(number) for number in range(1, self.count + 1))


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """The cut of a stream of unknown length, as far as it was read.

    Without a part size of the user's the parts grow: they double after every 1,000, so that 10,000
    of them hold more than 7 TiB, while a stream of up to 7.8 GiB needs no more than 8 MiB buffers.
    """

    part_size: int = _PREFERRED
    count: int = 0
    fixed: bool = False

    def next_size(self) -> int:
        """Bytes of the next part, if the stream has as many.

        Raises
        ------
        InputError
            If 10,000 parts were not enough.

        Examples
        --------
        >>> StreamPlan().next_size(), StreamPlan(count=1000).next_size()
        (8388608, 16777216)
        """
        if self.count >= MAX_PARTS:
            raise InputError(
                f"the stream is longer than 10,000 parts of {format_size(self.part_size)}",
                hint="give a larger part size, or none: then the parts grow with the stream",
            )
        return self.part_size if self.fixed else min(self.part_size << (self.count // 1000), MAX_PART_SIZE)

    def grown(self) -> StreamPlan:
        """The plan with one more part."""
        return StreamPlan(self.part_size, self.count + 1, self.fixed)


def check_part_size(value: int | str) -> int:
    """Read and check a part size: 100 KiB to 5 GiB (OSS UploadPart limits).

    Raises
    ------
    InputError
        If it is not a size or is out of bounds.

    Examples
    --------
    >>> check_part_size("8MiB")
    8388608
    """
    size = parse_size(value, "the part size")
    if not MIN_PART_SIZE <= size <= MAX_PART_SIZE:
        raise InputError(
            f"the part size of {size:,} bytes is out of bounds",
            hint="OSS takes parts of 100 KiB to 5 GiB; 8MiB is a good value",
        )
    return size


def check_parallel(value: int | str) -> int:
    """Read and check the number of parts in flight at a time: 1 to 64.

    Examples
    --------
    >>> check_parallel("5")
    5
    """
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if not 1 <= number <= MAX_PARALLEL:
        raise InputError(
            f"parallel {value!r} is not a number of parts in flight",
            hint=f"give a whole number from 1 to {MAX_PARALLEL}",
        )
    return number


def make_plan(
    size: int,
    *,
    part_size: int | str | None = None,
    parallel: int = DEFAULT_PARALLEL,
    simple: bool | None = None,
) -> Plan:
    """Decide how to send ``size`` bytes.

    Parameters
    ----------
    size : int
        Bytes of the source.
    part_size : int or str, optional
        Bytes per part, 100 KiB to 5 GiB; raised where the source would need more than 10,000
        parts (``raised`` says so). Default: 8 MiB, up to 32 MiB from
        512 MiB on (a 64th of the source), less for small sources so that every lane
        has several parts, never below 1 MiB.
    parallel : int
        Parts in flight at a time.
    simple : bool, optional
        True: one PutObject whatever the size; False: multipart even for small sources.
        Default: PutObject below 100 KiB.

    Raises
    ------
    InputError
        If the source is too large for OSS, or the part size is out of bounds.

    Examples
    --------
    >>> make_plan(200_000_000).count
    24
    >>> make_plan(50_000).simple
    True
    """
    if part_size is not None:
        part_size = check_part_size(part_size)
    if size > MAX_OBJECT_SIZE:
        raise InputError(
            f"the source has {format_size(size)}",
            hint="an OSS object holds 48.8 TiB at most; split the source",
        )
    if simple is None:
        simple = size < SIMPLE_BELOW
    if simple:
        if size > MAX_PUT_SIZE:
            raise InputError(
                f"the source has {format_size(size)}, too much for a simple upload",
                hint="PutObject takes 5 GiB at most; leave the simple option out",
            )
        return Plan(size, max(size, 1), simple=True)
    wished = _wished(size, parallel) if part_size is None else part_size
    least = -(-size // MAX_PARTS)
    chosen = wished if wished >= least else _round_up(least, 64 * KIB)
    return Plan(size, chosen, raised=part_size is not None and chosen > part_size)


def _wished(size: int, parallel: int) -> int:
    """Bytes per part where the user does not care: each part costs the same time, however long it is."""
    if size > _FINE * _PREFERRED:
        return min(_LARGE, _round_up(size // _FINE, 4 * MIB))
    return min(_PREFERRED, max(_LEAST, _round_up(size // (4 * parallel), 256 * KIB)))


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
