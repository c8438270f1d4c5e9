"""Opt-in auto-load: merge ``jupyter-config/`` into IPython's configuration, and take it out again.

IPython reads ``ipython_kernel_config.json`` from the environment (``<prefix>/etc/ipython``) and from the
user's profile. Both may hold other people's settings, so nothing but our own entries is touched.

Of several files that set the same list IPython takes one, and drops the others. So the entry is in
``extra_extensions``, which nobody writes into files: in ``extensions`` it would switch off what the user's
own ``ipython_config.py`` loads, or be switched off by it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from ossmp_jupyter.errors import InputError

__all__ = ["config_path", "disable", "enable"]

_NAME = "ipython_kernel_config.json"
_ONCE = {"InteractiveShellApp": {"extensions": ["ossmp_jupyter"]}}  # the fragment of 0.1.0


def fragment() -> dict[str, Any]:
    """Return the settings that switch auto-loading on."""
    package = Path(__file__).parent
    # inside the package in a wheel, beside it in a checkout
    for folder in (package / "jupyter-config", package.parent / "jupyter-config"):
        if (folder / _NAME).is_file():
            return _read(folder / _NAME)
    raise InputError(f"{_NAME} is missing from this installation", hint="install ossmp-jupyter again")


def config_path(*, user: bool) -> Path:
    """Return the file to change: the user's default profile, or the current environment's ``etc/ipython``."""
    if user:
        base = os.environ.get("IPYTHONDIR") or Path.home() / ".ipython"
        return Path(base) / "profile_default" / _NAME
    return Path(sys.prefix) / "etc" / "ipython" / _NAME


def enable(path: Path) -> bool:
    """Merge the fragment into the file at `path`; return False if it was there already."""
    config = _read(path)
    merged = _merged(_without(config, _ONCE), fragment())
    if merged == config:
        return False
    _write(path, merged)
    return True


def disable(path: Path) -> bool:
    """Take the fragment out of the file at `path`; return False if nothing of ours was in it."""
    config = _read(path)
    remaining = _without(_without(config, fragment()), _ONCE)
    if remaining == config:
        return False
    if remaining:
        _write(path, remaining)
    else:
        try:
            path.unlink()
        except OSError as error:
            raise _not_written(path, error) from error
    return True


def _merged(config: Any, ours: Any) -> Any:
    if isinstance(ours, dict):
        if not isinstance(config, dict):
            raise _unexpected(config)
        return {**config, **{k: _merged(config[k], v) if k in config else v for k, v in ours.items()}}
    if isinstance(ours, list):
        if not isinstance(config, list):
            raise _unexpected(config)
        return [*config, *(item for item in ours if item not in config)]
    return ours


def _without(config: Any, ours: Any) -> Any:
    """Return `config` minus `ours`; what this empties goes, what was empty before stays."""
    if isinstance(config, dict) and isinstance(ours, dict):
        left = {}
        for key, value in config.items():
            rest = _without(value, ours[key]) if key in ours else value
            if rest or rest == value:
                left[key] = rest
        return left
    if isinstance(config, list) and isinstance(ours, list):
        return [item for item in config if item not in ours]
    return config


def _unexpected(found: Any) -> InputError:
    return InputError(
        f"the IPython configuration holds {type(found).__name__} where a list or an object belongs",
        hint="correct that file by hand, then run the command again",
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint="check its permissions") from error
    try:
        config = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}", hint="correct it by hand first") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} does not hold a JSON object", hint="correct it by hand first")
    return config


def _write(path: Path, config: dict[str, Any]) -> None:
    """Replace the file in one step, so that a kernel that starts meanwhile reads the old or the new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = path.resolve()  # a symlinked configuration stays a symlink
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
        with tempfile.NamedTemporaryFile(
            "w", dir=target.parent, prefix=".ossmp-", delete=False, encoding="utf-8"
        ) as temporary:
            temporary.write(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        Path(temporary.name).chmod(mode)
        Path(temporary.name).replace(target)
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write {path}: {error.strerror}", hint="use --user, or run this as the environment's owner"
    )
