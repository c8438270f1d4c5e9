"""Scripts of widgets, packed: every saved notebook carries them."""

from __future__ import annotations

import base64
import gzip
import json
from importlib import resources

__all__ = ["module_text", "packed_module", "style_text"]

_HERE = resources.files(__package__)
_UNPACK = """const packed = Uint8Array.from(atob("PACKED"), (c) => c.charCodeAt(0));
const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
const url = URL.createObjectURL(new Blob([await new Response(stream).text()], { type: "text/javascript" }));
const script = await import(url);
URL.revokeObjectURL(url);
"""


def _text(name: str) -> str:
    lines = (line.strip() for line in _HERE.joinpath(name).read_text(encoding="utf-8").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def style_text(*names: str) -> str:
    """Return the style sheets of these names, in their order, as one text.

    Parameters
    ----------
    names : str
        Of the files beside this one, without ``.css``.
    """
    return "\n".join(_text(f"{name}.css") for name in names)


def module_text(name: str) -> str:
    """Return ``name.js`` as a module, with ``name.css`` as its constant CSS.

    Parameters
    ----------
    name : str
        Of the two files beside this one.
    """
    return f"const CSS = {json.dumps(style_text(name))};\n{_text(name + '.js')}"


def packed_module(name: str, use: str) -> str:
    """Make a module that unpacks :func:`module_text`, and then does ``use``.

    Parameters
    ----------
    name : str
        Of the two files.
    use : str
        JavaScript; ``script`` is the unpacked module.
    """
    packed = base64.b64encode(gzip.compress(module_text(name).encode(), 9, mtime=0)).decode()
    return _UNPACK.replace("PACKED", packed) + use
