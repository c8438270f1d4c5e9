"""All that an exception, or any value, can show of itself."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import pprint
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from IPython.core.ultratb import FormattedTB
from IPython.lib.pretty import pretty

__all__ = ["shown_of_error", "shown_of_value"]

_TESTS = str(Path(__file__).parents[1])
_MODES = ("Plain", "Context", "Verbose", "Minimal")


def chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and everything that hangs on it, also what tracebacks leave out."""
    seen: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is None or any(one is other for other in seen):
            continue
        seen.append(one)
        yield one
        pending += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def shown_of_error(error: BaseException) -> dict[str, str]:
    """Messages, notes, attributes, and tracebacks in every mode, with the variables of all frames."""
    texts: dict[str, str] = {}
    for depth, one in enumerate(chain(error)):
        name = f"{type(one).__name__} at depth {depth}"
        texts[f"str of {name}"] = str(one)
        texts[f"notes of {name}"] = " ".join(getattr(one, "__notes__", ()))
        texts[f"repr of {name}"] = repr(one)
    texts |= shown_of_value("the error", error)
    trace = _without_tests(error.__traceback__)
    for mode in _MODES:
        lines = FormattedTB(mode=mode).structured_traceback(type(error), error, trace)
        texts[f"{mode} traceback"] = "\n".join(lines)
    render = getattr(error, "_render_traceback_", None)
    if render is not None:
        texts["short error"] = "\n".join(render())
    clean = error.with_traceback(trace)
    told = traceback.TracebackException.from_exception(clean, capture_locals=True)
    texts["traceback with all variables"] = "".join(told.format())
    texts["logging.exception"] = _logged(clean)
    return texts


def _without_tests(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of the test, whose variables are the keys."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_TESTS):
        trace = trace.tb_next
    return trace


def _logged(error: BaseException) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.Logger("of the user's")
    logger.addHandler(handler)
    try:
        raise error
    except BaseException:
        logger.exception("it failed")
    return stream.getvalue()


def shown_of_value(name: str, value: object) -> dict[str, object]:
    """``repr`` and its relatives, a copy's ones, and the pickle (which may be refused)."""
    texts: dict[str, object] = {
        f"repr of {name}": repr(value),
        f"format of {name}": f"{value}" if not isinstance(value, str) else "",
        f"pretty {name}": pretty(value),
        f"pprint of {name}": pprint.pformat(value),
        f"variables of {name}": pprint.pformat(getattr(value, "__dict__", {})),
    }
    for how in (copy.copy, copy.deepcopy):
        try:
            texts[f"{how.__name__} of {name}"] = repr(how(value))
        except Exception as refusal:
            texts[f"{how.__name__} of {name}"] = str(refusal)
    for protocol in (0, pickle.HIGHEST_PROTOCOL):
        try:
            texts[f"pickle {protocol} of {name}"] = pickle.dumps(value, protocol)
        except Exception as refusal:
            texts[f"pickle {protocol} of {name}"] = str(refusal)
    return texts
