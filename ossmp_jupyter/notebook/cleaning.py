"""Cleaning up: first what would be aborted, then, once confirmed, the aborting. A magic and a button."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ossmp_jupyter.errors import InputError, OssmpError
from ossmp_jupyter.notebook.engine import abort_unfinished, connection_now
from ossmp_jupyter.notebook.unfinished import Unfinished, collect, from_journals, merge
from ossmp_jupyter.notebook.waiting import wait_future
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.transfer.progress import FINAL_STATES
from ossmp_jupyter.units import format_duration, format_size, format_time, parse_duration
from ossmp_jupyter.visible import visible

if TYPE_CHECKING:
    import argparse

    from ossmp_jupyter.notebook.panel import Panel
    from ossmp_jupyter.notebook.session import Session
    from ossmp_jupyter.oss.connection import Connection
    from ossmp_jupyter.transfer.client import OSSClient

__all__ = ["Plan", "Sweeper", "abort_all", "abort_older", "find_old"]

_AT_A_TIME = 8
_PRINTED = 50
_LISTED = 10  # in the panel
_PLANS = 8  # shown in as many pages


@dataclass(frozen=True, slots=True)
class Plan:
    """The unfinished uploads of a bucket that are older than asked, as they are when somebody looks.

    Uploads of this kernel that are live, and those another process is sending to, are left out and
    counted in ``in_use``. ``stored`` has what OSS holds of each, by upload ID.
    """

    connection: Connection
    age: float
    chosen: tuple[Unfinished, ...]
    stored: Mapping[str, Unfinished]
    in_use: int

    def summary(self) -> str:
        """Say how many there are."""
        kept = f"; {self.in_use} in use left out" if self.in_use else ""
        older = f" older than {format_duration(self.age)}" if self.age else ""
        if not self.chosen:
            return f"bucket {self.connection.bucket} has no unfinished upload{older}{kept}"
        return f"{_count(len(self.chosen), 'unfinished ')}{older} in bucket {self.connection.bucket}{kept}"


def find_old(connection: Connection, age: float, prefix: str = "") -> Future[Plan]:
    """Ask the connected bucket for what is older than ``age`` seconds; nothing is aborted."""

    async def plan(client: OSSClient) -> Plan:
        return _plan(connection, age, await collect(client, prefix, known=()))

    return manager.call(plan, connection)


def _plan(connection: Connection, age: float, listed: Sequence[Unfinished]) -> Plan:
    journals = [u for u in from_journals(connection) if u.bucket == connection.bucket]
    stored = {u.upload_id: u for u in listed}
    in_use = {u.upload_id for u in journals if u.in_use} | _live()
    old = [u for u in merge(journals, listed, connection.bucket) if u.upload_id in stored and _older(u, age)]
    chosen = tuple(u for u in old if u.upload_id not in in_use)
    return Plan(connection, age, chosen, stored, len(old) - len(chosen))


Failures = list[tuple[Unfinished, OssmpError]]


def abort_all(plan: Plan, aborted: Callable[[Unfinished], None]) -> Future[Failures]:
    """Abort exactly what a plan names, some at a time; what cannot be aborted is the answer."""
    few = asyncio.Semaphore(_AT_A_TIME)

    async def abort(client: OSSClient) -> Failures:
        async def one(upload: Unfinished) -> tuple[Unfinished, OssmpError] | None:
            async with few:
                try:
                    await abort_unfinished(upload)(client)
                except OssmpError as error:
                    return upload, error
            aborted(upload)
            return None

        told = await asyncio.gather(*(one(upload) for upload in plan.chosen))
        return [failure for failure in told if failure is not None]

    return manager.call(abort, plan.connection)


def abort_older(session: Session, args: argparse.Namespace) -> None:
    """Show the bucket's unfinished uploads that are older than asked, and abort them with ``--yes``."""
    age = parse_duration(args.abort_older, "--abort-older")
    connection = connection_now()
    if connection.bucket is None or args.local_only:
        raise InputError(
            "--abort-older needs a bucket to look at",
            hint="run %oss_connect oss://bucket first, and leave --local-only out",
        )
    plan = wait_future(find_old(connection, age, args.prefix), session.shell)
    _print(plan)
    if not plan.chosen:
        return
    if not args.yes:
        print("nothing was aborted: add --yes to abort exactly what is that old then")
        return
    aborting = abort_all(plan, lambda upload: session.board.forget(upload.upload_id))
    failures = wait_future(aborting, session.shell)
    print(_told(plan, failures))
    if failures:
        raise _failure(plan, failures) from failures[0][1]


def _older(upload: Unfinished, age: float) -> bool:
    return upload.age is not None and upload.age >= age


def _live() -> set[str]:
    return {h.upload_id or "" for h in manager.uploads() if h.state not in FINAL_STATES}


def _print(plan: Plan) -> None:
    print(plan.summary())
    if not plan.chosen:
        return
    rows = [_cells(u, plan.stored[u.upload_id]) for u in plan.chosen[:_PRINTED]]
    lines = [("Begun", "Age", "Stored", "Parts", "Upload ID", "Object"), *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(6)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if len(plan.chosen) > _PRINTED:
        print(f"… and {len(plan.chosen) - _PRINTED} more")


def _cells(upload: Unfinished, stored: Unfinished) -> tuple[str, ...]:
    assert upload.begun is not None and upload.age is not None
    return (
        format_time(upload.begun),
        format_duration(upload.age),
        "?" if stored.stored is None else format_size(stored.stored),
        "?" if stored.parts is None else str(stored.parts),
        visible(upload.upload_id),
        visible(upload.address),
    )


def _count(number: int, what: str = "") -> str:
    return f"{number} {what}upload{'' if number == 1 else 's'}"


def _told(plan: Plan, failures: Failures) -> str:
    done = len(plan.chosen) - len(failures)
    return f"aborted {_count(done)}; {'its' if done == 1 else 'their'} parts are deleted"


def _failure(plan: Plan, failures: Failures) -> OssmpError:
    upload, error = failures[0]
    return OssmpError(
        f"{len(failures)} of {len(plan.chosen)} uploads could not be aborted, the first is "
        f"{upload.upload_id}: {error.message}",
        hint="run it again for what is left",
    )


class Sweeper:
    """Cleaning up by the panel's buttons: first what would be aborted, then, once confirmed, just that."""

    def __init__(self, forget: Callable[[str], None]) -> None:
        self._forget = forget
        self._plans: dict[str, Plan] = {}  # that a page shows

    def look(self, panel: Panel, age: float) -> None:
        """Show what is older than ``age`` seconds."""
        connection = connection_now()
        if connection.bucket is None:
            panel.tell("old", {"age": age, "text": "No bucket is connected: there is nothing to look at."})
            return

        def done(answered: Future[Plan]) -> None:
            error = answered.exception()
            if error is not None:
                panel.tell("old", {"age": age, "text": f"The bucket could not be asked: {error}"})
                return
            plan, name = answered.result(), secrets.token_hex(8)
            self._plans = {**dict(list(self._plans.items())[1 - _PLANS :]), name: plan}
            text = plan.summary()
            panel.tell("old", {
                "age": age,
                "plan": name,
                "text": text[0].upper() + text[1:] + ".",
                "count": len(plan.chosen),
                "lines": [_line(upload, plan.stored[upload.upload_id]) for upload in plan.chosen[:_LISTED]],
                "more": max(len(plan.chosen) - _LISTED, 0),
            })  # fmt: skip

        find_old(connection, age).add_done_callback(done)

    def abort(self, panel: Panel, name: str) -> None:
        """Abort what was shown under that name, and nothing else."""
        plan = self._plans.pop(name, None)
        if plan is None:
            panel.say("Look again first: this was aborted already.", bad=True)
            return
        panel.say(f"Aborting {_count(len(plan.chosen))}…")

        def done(answered: Future[Failures]) -> None:
            error = answered.exception()
            failures = [] if error is not None else answered.result()
            if error is not None:
                panel.say(f"Cleaning up failed: {error}", bad=True)
            elif failures:
                panel.say(f"{_failure(plan, failures)}", bad=True)
            else:
                panel.say(_told(plan, failures).capitalize() + ".")
            panel.start()

        abort_all(plan, lambda upload: self._forget(upload.upload_id)).add_done_callback(done)


def _line(upload: Unfinished, stored: Unfinished) -> str:
    held = "" if stored.stored is None else f", {format_size(stored.stored)} stored"
    return f"{upload.address}, {format_duration(upload.age or 0)} old{held}"
