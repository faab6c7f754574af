"""What an executor is: the agent's way to run one kind of attempt (command, script, python).

An executor starts work, stops it, and tells what happened through a ``Report``. It never decides: timeouts, grace,
slots, order and outcomes belong to ``agent.attempts``. Everything here is called on the event loop's own thread.
The simulator has executors of its own; this file must therefore never touch files, sockets or processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from headrace.link.records import Artifact, Assignment, AttemptName
from headrace.model.changes import OutcomeKind


class Ending(Struct, frozen=True):
    """How an attempt ended, as its executor saw it. Instants are microseconds UTC.

    ``kind`` is what the work did by itself (succeeded, failed, canceled, lost, refused); the agent turns it into
    ``timeout`` or ``canceled`` where it had asked for the end. ``result`` is a JSON text of any size (the agent puts a
    large one aside by digest), or ``result_digest`` and ``result_size`` name bytes already put into the agent's blobs.
    ``result_lines``: the bytes are JSON Lines with ``result_count`` items. ``error`` is the JSON text of
    ``{type, message, traceback, frames, cause}``. ``progress`` is the JSON text last reported, if any.
    """

    kind: OutcomeKind
    started_at: int
    ended_at: int
    exit_status: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    result: bytes | None = None
    error: bytes | None = None
    error_types: tuple[str, ...] = ()
    stop_retry: bool = False
    skip: bool = False
    retry_after: int | None = None
    reason: str | None = None
    artifacts: tuple[Artifact, ...] = ()
    result_digest: str = ""
    result_size: int = 0
    result_lines: bool = False
    result_count: int = -1
    progress: bytes = b""


class Report(Protocol):
    """Given to an executor per attempt; every method is called on the loop thread, and none of them raises."""

    def started(self, at: int) -> None:
        """The work has begun at ``at``: the timeout counts from here. Once; may be left out when it never began."""

    def log(
        self,
        stream: str,
        data: bytes,
        *,
        at: int,
        level: str = "",
        logger: str = "",
        fields: dict[str, Any] | None = None,
    ) -> None:
        """One piece of log, of any size: stdout, stderr, log (structured) or system. Ignored after ``ended``."""

    def said(self, text: bytes) -> None:
        """The work says how far it is, or which phase begins: JSON text."""

    def ended(self, end: Ending) -> None:
        """It is over, and nothing of it is left running. Once; later calls are ignored."""


class Place(Protocol):
    """Where an attempt's files are. Nothing exists on disk until ``make`` is called, so idle work costs nothing.

    All are absolute paths under one folder that belongs to this attempt alone; the agent removes it after ``ended``.
    """

    @property
    def work(self) -> str:
        """The empty working folder."""

    @property
    def outputs(self) -> str:
        """``$HEADRACE_OUTPUTS``: every file in it becomes an artifact."""

    @property
    def inputs(self) -> str:
        """``$HEADRACE_INPUTS``: files of earlier tasks."""

    @property
    def result(self) -> str:
        """``$HEADRACE_RESULT``: the file a command writes its JSON result to."""

    @property
    def exit_status(self) -> str:
        """``$HEADRACE_EXIT_STATUS``: the file a command writes its exit status text to."""

    def make(self) -> None:
        """Make the folders and put the input files in place. Idempotent. Raises OSError, or LinkError for a missing
        input.
        """

    def bring(self) -> asyncio.Future[None] | None:
        """Begin to put the input files in place beside the loop, where that may take long; else None. ``make`` raises what
        went wrong. Before the future is done the place must not be cleared.
        """

    def leave(self) -> None:
        """The files are not needed any more: what ``bring`` began may stop where it is."""

    def harvest(self, globs: Sequence[str] = ()) -> tuple[Artifact, ...]:
        """The files left in ``outputs`` and those under ``work`` that match, kept in the agent's blobs by digest.

        Links are not followed out of the folder. Empty when ``make`` was never called. May take long: call it in a
        thread when files are large. Raises OSError.
        """


class Executor(Protocol):
    """Runs attempts of one kind."""

    def start(self, a: Assignment, report: Report, place: Place) -> None:
        """Begin this attempt; never blocks, never raises: what goes wrong is told by ``report.ended``."""

    def start_many(self, batch: Sequence[tuple[Assignment, Report, Place]]) -> None:
        """Begin many at once: a runner gets them in frames of up to 64."""

    def ask(self, name: AttemptName, reason: str) -> None:
        """Politely ask it to end (SIGTERM, CancelledError); nothing happens when it is unknown or over."""

    def kill(self, name: AttemptName) -> None:
        """End it now, with its whole process tree; ``report.ended`` follows."""

    async def close(self) -> None:
        """Kill what is left and free everything; no report is called afterwards."""
