"""The magics. Thin: parse the line, hand over to the session, show errors shortly.

Nothing heavy is imported here; httpx and the widgets come with the first magic that needs them.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class, needs_local_scope, no_var_expand

from ossmp_jupyter.errors import OssmpError
from ossmp_jupyter.notebook.options import parser_for
from ossmp_jupyter.notebook.parser import HelpShown
from ossmp_jupyter.notebook.settings import MagicSettings, possible
from ossmp_jupyter.notebook.short_errors import shorten

if TYPE_CHECKING:
    import argparse

    from IPython.core.interactiveshell import InteractiveShell

    from ossmp_jupyter.notebook.session import Session

__all__ = ["OssMagics"]

_Run = Callable[["OssMagics", "argparse.Namespace", dict[str, Any]], Any]


def _magic(run: _Run) -> Callable[..., Any]:
    """Turn ``run(self, args, namespace)`` into a line magic with our parser, help and errors."""
    name = run.__name__

    @functools.wraps(run)
    def magic(self: OssMagics, line: str, local_ns: dict[str, Any] | None = None) -> Any:
        namespace = {**self.shell.user_ns, **(local_ns or {})}
        try:
            return run(self, parser_for(name).parse_magic(line, namespace), namespace)
        except HelpShown:
            return None
        except (OssmpError, KeyboardInterrupt) as error:
            shorten(error)
            raise

    magic.__doc__ = f"{run.__doc__}\n\n{parser_for(name).format_help()}"
    return line_magic(needs_local_scope(no_var_expand(magic)))


@magics_class
class OssMagics(Magics, MagicSettings):
    """Upload files to Alibaba Cloud OSS from a notebook; ``%config OssMagics`` lists what can be set."""

    shell: InteractiveShell

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell=shell, config=possible(shell.config))
        self._session: Session | None = None
        self.matcher: Any = None  # the completion that belongs to these magics
        self._cell = ""
        self.in_cell = False

    @property
    def session(self) -> Session:
        """Everything behind the magics; made, with its imports, at first use."""
        if self._session is None:
            from ossmp_jupyter.notebook.session import Session

            self._session = Session(self.shell, self)
        return self._session

    def note_cell(self, info: Any) -> None:
        """Remember the cell that is about to run (IPython's ``pre_run_cell`` event)."""
        self._cell = info.raw_cell or ""
        self.in_cell = True

    def end_cell(self, result: Any = None) -> None:
        """Note that the cell has ended (IPython's ``post_run_cell`` event)."""
        self.in_cell = False
        if self._session is not None:
            self._session.end_cell()
        stopped = isinstance(getattr(result, "error_in_exec", None), KeyboardInterrupt)
        uploaded = "ossmp_jupyter.transfer.handle" in sys.modules
        if stopped and uploaded and getattr(self.shell, "kernel", None) is None:
            from ossmp_jupyter.notebook.waiting import pause_uploads
            from ossmp_jupyter.transfer.handle import awaited

            pause_uploads(awaited())  # in a terminal Ctrl-C stops the loop, and who awaits never learns of it

    def ends_the_cell(self) -> bool:
        """Whether one of our magics is the cell's last line, so that IPython would display its value."""
        lines = self._cell.rstrip().splitlines()
        return bool(lines) and re.match(r"\s*%?oss_", lines[-1]) is not None

    def close(self) -> None:
        """Let go of panel and local OSS, if there were any."""
        if self._session is not None:
            self._session.close()
            self._session = None

    @_magic
    def oss_connect(self, args: argparse.Namespace, namespace: dict[str, Any]) -> None:
        """Choose the service, the bucket and the credentials."""
        from ossmp_jupyter.notebook.connecting import connect

        connect(self.session, args)

    @_magic
    def oss_upload(self, args: argparse.Namespace, namespace: dict[str, Any]) -> Any:
        """Upload one or more files and wait for them."""
        from ossmp_jupyter.notebook.uploading import upload

        return upload(self.session, args, namespace)

    @_magic
    def oss_uploads(self, args: argparse.Namespace, namespace: dict[str, Any]) -> None:
        """Show all uploads and act on them."""
        from ossmp_jupyter.notebook.looking import show_uploads

        show_uploads(self.session, args)

    @_magic
    def oss_pick(self, args: argparse.Namespace, namespace: dict[str, Any]) -> None:
        """Upload files of your own computer: drop or choose them in a box."""
        from ossmp_jupyter.notebook.picking import pick

        pick(self.session, args)

    @_magic
    def oss_parts(self, args: argparse.Namespace, namespace: dict[str, Any]) -> Any:
        """List the parts OSS holds of an upload."""
        from ossmp_jupyter.notebook.looking import show_parts

        return show_parts(self.session, args)

    @_magic
    def oss_abort(self, args: argparse.Namespace, namespace: dict[str, Any]) -> None:
        """Abort one upload."""
        from ossmp_jupyter.notebook.uploading import abort

        abort(self.session, args)

    @_magic
    def oss_pause(self, args: argparse.Namespace, namespace: dict[str, Any]) -> None:
        """Pause one upload."""
        from ossmp_jupyter.notebook.uploading import pause

        pause(self.session, args)

    @_magic
    def oss_resume(self, args: argparse.Namespace, namespace: dict[str, Any]) -> Any:
        """Resume one upload."""
        from ossmp_jupyter.notebook.uploading import resume

        return resume(self.session, args)

    @_magic
    def oss_wait(self, args: argparse.Namespace, namespace: dict[str, Any]) -> Any:
        """Wait for uploads that run in the background."""
        from ossmp_jupyter.notebook.uploading import wait

        return wait(self.session, args)

    @_magic
    def oss_head(self, args: argparse.Namespace, namespace: dict[str, Any]) -> Any:
        """Show an object's metadata."""
        from ossmp_jupyter.notebook.looking import show_head

        return show_head(self.session, args)

    @_magic
    def oss_verify(self, args: argparse.Namespace, namespace: dict[str, Any]) -> Any:
        """Check that objects are still what was published."""
        from ossmp_jupyter.notebook.verifying import verify

        return verify(self.session, args)

    @_magic
    def oss_link(self, args: argparse.Namespace, namespace: dict[str, Any]) -> Any:
        """Make a link to an object that works without keys for a while."""
        from ossmp_jupyter.notebook.links import show_link

        return show_link(self.session, args)
