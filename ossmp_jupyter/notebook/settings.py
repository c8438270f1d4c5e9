"""What ``%config OssMagics`` can set; every refusal is one sentence, and the old value stays."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable
from typing import Any

import traitlets
from traitlets import TraitError, TraitType
from traitlets.config import Config, Configurable

from ossmp_jupyter.errors import OssmpError
from ossmp_jupyter.notebook.options import UI_MODES

__all__ = ["MagicSettings", "possible"]


class _Setting(TraitType[Any, Any]):
    """A mixin: ``wants`` says what can be given, ``check`` refuses what the type alone would take."""

    def __init__(
        self, *args: Any, wants: str, check: Callable[[Any], Any] | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._wants, self._check = wants, check
        self.tag(config=True)

    def validate(self, obj: Any, value: Any) -> Any:
        """Return the value to keep."""
        try:
            kept = super().validate(obj, value)  # type: ignore[misc]
            return self._check(kept) if self._check is not None else kept
        except (TraitError, OssmpError):
            raise TraitError(f"OssMagics.{self.name} cannot be {value!r}; {self._wants}") from None


# Named as traitlets' own, for %config shows the names.
class Unicode(_Setting, traitlets.Unicode[Any, Any]):
    def validate(self, obj: Any, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and self.name == "part_size":
            value = str(value)
        return super().validate(obj, value)


class Int(_Setting, traitlets.Int[Any, Any]):
    pass


class Float(_Setting, traitlets.Float[Any, Any]):
    pass


class Enum(_Setting, traitlets.Enum[Any]):
    pass


class Bool(_Setting, traitlets.Bool[Any, Any]):
    pass


def _bucket(text: str) -> str:
    from ossmp_jupyter.oss.address import check_bucket_name

    text = text.strip().removeprefix("oss://").rstrip("/")
    return check_bucket_name(text) if text else text


def _region(text: str) -> str:
    from ossmp_jupyter.oss.address import normalise_region

    text = text.strip()
    if text != text.lower():
        raise TraitError
    return normalise_region(text) if text else text


def _part_size(text: str) -> str:
    from ossmp_jupyter.transfer.plan import check_part_size

    text = text.strip()
    if text:
        check_part_size(int(text) if text.isdecimal() else text)
    return text


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise TraitError
    return number


class MagicSettings(Configurable):
    """The settings of the magics, as ``%config OssMagics`` lists them."""

    ui = Enum(
        UI_MODES, default_value="auto", wants=f"give one of {', '.join(map(repr, UI_MODES))}",
        help="How progress shows when no --ui is given; 'auto' asks the variable OSSMP_UI.",
    )  # fmt: skip
    refresh = Float(
        5.0, min=0.2, max=10.0, check=_finite, wants="give a number from 0.2 to 10",
        help="Updates of the panel per second, 0.2 to 10.",
    )  # fmt: skip
    bucket = Unicode(
        "", check=_bucket, wants="give a bucket's name, such as 'my-bucket'",
        help="What %oss_connect takes when it names no bucket, such as 'my-bucket'.",
    )  # fmt: skip
    region = Unicode(
        "", check=_region, wants="give a region, such as 'cn-hangzhou'",
        help="What %oss_connect takes when it names no region, such as 'cn-hangzhou'.",
    )  # fmt: skip
    part_size = Unicode(
        "", check=_part_size, wants="give 100 KiB to 5 GiB, such as '16MiB'",
        help="Default of --part-size, such as '16MiB'; '' leaves it to the upload.",
    )  # fmt: skip
    parallel = Int(
        0, min=0, max=64, wants="give a whole number from 1 to 64, or 0 to leave it to the upload",
        help="Default of --parallel, 1 to 64; 0 leaves it to the upload.",
    )  # fmt: skip
    timeout = Float(
        0.0, min=0.0, check=_finite, wants="give seconds, or 0 for the default of 60",
        help="Default of --timeout, in seconds; 0 for 60.",
    )  # fmt: skip
    checkpoint = Bool(
        True, wants="give True or False",
        help="Whether uploads keep a checkpoint on disk, without which a crash starts from zero.",
    )  # fmt: skip


def possible(config: Config) -> Config:
    """Leave out of a configuration file's settings those that cannot be, and say so: the rest counts."""
    if "OssMagics" not in config:
        return config
    kept = copy.deepcopy(config)
    for name, value in list(kept.OssMagics.items()):
        trait: Any = MagicSettings.class_traits(config=True).get(name)
        try:
            if trait is not None and isinstance(value, (str, int, float)) and not hasattr(value, "get_value"):
                trait.validate(None, value)
        except TraitError as error:
            print(f"the configuration's {error}", file=sys.stderr)
            del kept.OssMagics[name]
    return kept
