"""Failure is in the log, also in control's own: one line for each attempt, task or run that ended otherwise than succeeded.

Bounded: of a flood only the first lines of each span are written, and then how many were left out. Told by the ledger
after the commit; never decides anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from msgspec import Struct

from headrace.control.graphs import Known
from headrace.core.ending import REPEAT
from headrace.model.cells import RunCell, TaskCell
from headrace.model.facts import AnyFact, RunEnded, TaskEnded, TaskRetrying
from headrace.model.ids import WHOLE
from headrace.model.states import RunState, TaskState

LINES_MAX = 50
"""So many lines are written in one span."""
SPAN_S = 10.0

log = logging.getLogger("headrace.control.failures")


class Bad(Struct, frozen=True):
    """A committed fact to be told, with what names it. ``task``: None for the run itself."""

    known: Known
    run: RunCell
    fact: RunEnded | TaskEnded | TaskRetrying
    task: TaskCell | None = None


def is_bad(fact: AnyFact) -> bool:
    """Whether an attempt, a task or a run has ended otherwise than succeeded by this."""
    kind = fact.__class__
    if kind is TaskEnded:
        return fact.state is not TaskState.succeeded and fact.state is not TaskState.skipped  # type: ignore[union-attr]  # told by kind
    if kind is RunEnded:
        return fact.state is not RunState.succeeded  # type: ignore[union-attr]  # told by kind
    return kind is TaskRetrying and fact.reason != REPEAT  # type: ignore[union-attr]  # told by kind


def line_of(bad: Bad) -> str:
    """``run 7 (nightly), task fetch: attempt 2 of 4 failed: exit status 6``."""
    graph, fact, task = bad.known.graph, bad.fact, bad.task
    run = f"run {bad.run.run} ({graph.name})"
    if isinstance(fact, RunEnded) or task is None:
        state = fact.state.name if isinstance(fact, RunEnded) else bad.run.state.name
        return run + f" {state}" + _why(bad.run.exit_status, bad.run.reason)
    node = graph.nodes[task.no]
    name = node.name if task.index == WHOLE else f"{node.name}[{task.index}]"
    state = fact.state.name if isinstance(fact, TaskEnded) else "lost" if fact.reason == "lost" else "failed"
    attempt = f": attempt {fact.attempt} of {max(node.retry.max + 1, fact.attempt)}" if fact.attempt else ""
    again = ", and is tried again" if isinstance(fact, TaskRetrying) else ""
    return f"{run}, task {name}{attempt} {state}{_why(task.exit_status, fact.reason or task.reason)}{again}"


def _why(exit_status: str | None, reason: str | None) -> str:
    parts = ([f"exit status {exit_status}"] if exit_status else []) + ([f"reason {reason}"] if reason else [])
    return ": " + ", ".join(parts) if parts else ""


class Failures:
    """Writes the lines. Used inside a running loop."""

    def __init__(self) -> None:
        self._written = 0
        self._left_out = 0
        self._span: asyncio.TimerHandle | None = None

    def tell(self, found: Sequence[Bad]) -> None:
        """What a commit has made so."""
        if self._span is None:
            self._span = asyncio.get_running_loop().call_later(SPAN_S, self._over)
        room = max(0, LINES_MAX - self._written)
        for bad in found[:room]:
            log.warning("%s", line_of(bad))
        self._written += min(room, len(found))
        self._left_out += max(0, len(found) - room)

    def _over(self) -> None:
        self._span = None
        if self._left_out:
            log.warning("%d more attempts, tasks and runs ended badly in %.0f s", self._left_out, SPAN_S)
        self._written = self._left_out = 0
