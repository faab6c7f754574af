"""A job gone through in this process with nothing done: which tasks would be done, in which order, with what.

The rules are those of a run (``core``); the work of each task is a line that says what it would be. Called by
``author.job`` only, which imports it with the first call.
"""

from __future__ import annotations

from typing import Any

from headrace.author.local import LocalRun
from headrace.core.rehearsal import rehearsed
from headrace.core.work import Dispatch
from headrace.model.changes import OutcomeKind, Settle
from headrace.model.definition import JobDefinition
from headrace.model.ids import WHOLE
from headrace.model.states import TaskState


def rehearse(definition: JobDefinition, params: dict[str, Any]) -> list[str]:
    """One line per attempt that would be made, in order; then one per task that would not be done."""
    run = Rehearsal(
        rehearsed(definition, "print"), dict.fromkeys((task.name for task in definition.tasks), None), params
    )
    turns = run.turns()
    try:
        order = next(turns)
        while True:
            order = turns.send(run.attempt(order) if isinstance(order, Dispatch) else order())
    except StopIteration:
        return [*run.said, *run.skipped()]


class Rehearsal(LocalRun):
    """One run of which nothing is done. ``said``: what would be, in order."""

    said: list[str]

    def attempt(self, order: Dispatch) -> Settle:
        """Say what it would be, and call that a success."""
        if not hasattr(self, "said"):
            self.said = []
        index = "" if order.key[2] == WHOLE else f"[{order.key[2]}]"
        self.said.append(f"{order.spec.task}{index}: {' '.join(order.spec.argv[1:])}")
        now = self._now()
        return Settle(*order.key, order.epoch, OutcomeKind.succeeded, now, now, exit_status="0")

    def skipped(self) -> list[str]:
        """The tasks that would not be done."""
        cells = sorted(self._working.tasks.values(), key=lambda cell: cell.key)
        names = self._graph.nodes
        return [f"{names[c.no].name}: skipped ({c.reason})" for c in cells if c.state == TaskState.skipped]
