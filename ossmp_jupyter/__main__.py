"""``python -m ossmp_jupyter enable | disable``: auto-load the magics in new kernels, or stop doing so."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from ossmp_jupyter import _autoload
from ossmp_jupyter.errors import OssmpError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ossmp_jupyter",
        description="Load the %oss_ magics in every new Jupyter kernel, or stop doing so.",
        epilog="The embedded OSS has its own command: python -m ossmp_jupyter.localoss --help",
    )
    parser.add_argument("--version", action="version", version=version("ossmp-jupyter"))
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("enable", "new kernels load ossmp_jupyter by themselves"),
        ("disable", "new kernels need %%load_ext ossmp_jupyter again"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        where = command.add_mutually_exclusive_group()
        where.add_argument("--user", action="store_true", help="for this user's default IPython profile")
        where.add_argument(
            "--sys-prefix",
            action="store_true",
            help="for this Python environment (the default in a virtual environment)",
        )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parser().parse_args(argv)
    in_environment = sys.prefix != sys.base_prefix
    path = _autoload.config_path(user=options.user or not (options.sys_prefix or in_environment))
    try:
        if options.command == "enable":
            changed = _autoload.enable(path)
            print(f"{'Enabled' if changed else 'Already enabled'} in {path}")
        else:
            changed = _autoload.disable(path)
            print(f"{'Disabled' if changed else 'Was not enabled'} in {path}")
    except OssmpError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
