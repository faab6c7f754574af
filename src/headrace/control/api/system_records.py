"""Failure is in the log: the records of stream ``system`` that say why an attempt, task or run did not succeed.

Pure, and always the same text for the same final cells, so that a log read twice is the same log. Called by
``control.api.logbook``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.control.graphs import Known
from headrace.core.ending import REPEAT
from headrace.core.nodes import Node
from headrace.link.records import LogRecord
from headrace.model.cells import TaskCell
from headrace.model.ids import WHOLE
from headrace.model.states import RUN_FINAL, RunState, TaskState
from headrace.store.rows import RunRow

_SUCCEEDED_BIT = 1 << TaskState.succeeded
_QUIET = frozenset({TaskState.succeeded, TaskState.skipped})
_NAMES_MAX = 20
_TOLD = (TaskState.failed, TaskState.lost, TaskState.canceled, TaskState.skipped)
NAMED = sum(1 << state for state in _TOLD)
"""The states (as bits) whose tasks the run's record names."""


def attempt_record(
    cell: TaskCell, known: Known, seq: int, error: Any, *, cut: str = "", last: bool = True
) -> LogRecord | None:
    """What the log says at the end of an attempt that did not succeed (or of a task that never began).

    ``last``: the cell is the task's own, not an earlier attempt that was kept.
    """
    if cell.state in _QUIET or (cell.state is TaskState.retrying and cell.reason == REPEAT):
        return None
    node = known.graph.nodes[cell.no]
    lines = [_headline(cell, node)]
    if cut:
        lines.append(f"the log before this is cut: {cut}")
    if isinstance(error, dict):
        lines.append(str(error.get("traceback") or f"{error.get('type')}: {error.get('message')}").rstrip("\n"))
    behind = _behind(known, node) if last and _is_last(cell) else []
    if behind:
        lines.append(f"does not begin because of this: {_some(behind)}")
    fields = {
        "state": _word(cell),
        "exit_status": cell.exit_status,
        "attempt": cell.attempt,
        "of": node.retry.max + 1,
        "reason": cell.reason,
    }
    return LogRecord(seq, cell.ended_at or cell.ready_at, "system", _text(lines), "error", "headrace", fields)


def cut_record(cell: TaskCell, seq: int, cut: str) -> LogRecord:
    """What the log says at the end of an attempt that succeeded, when not all of its log is there."""
    return LogRecord(
        seq, cell.ended_at, "system", f"the log before this is cut: {cut}\n".encode(), "warning", "headrace"
    )


def run_record(row: RunRow, known: Known, tasks: Sequence[TaskCell]) -> LogRecord | None:
    """What the log says at the end of a run that did not succeed. ``tasks``: its tasks, groups as one."""
    cell = row.cell
    if cell.state not in RUN_FINAL or cell.state is RunState.succeeded:
        return None
    head = f"run {cell.run} {cell.state.name}" + (f": {cell.reason}" if cell.reason else "")
    lines = [head]
    for state in _TOLD:
        names = [known.graph.nodes[t.no].name for t in tasks if t.state is state]
        if names:
            lines.append(f"{state.name}: {_some(names)}")
    fields = {"state": cell.state.name, "exit_status": cell.exit_status, "reason": cell.reason}
    return LogRecord(1, cell.ended_at, "system", _text(lines), "error", "headrace", fields)


def _headline(cell: TaskCell, node: Node) -> str:
    name = node.name if cell.index == WHOLE else f"{node.name}[{cell.index}]"
    text = f"{name} {_word(cell)}"
    if cell.attempt:
        text = f"{name}: attempt {cell.attempt} of {max(node.retry.max + 1, cell.attempt)} {_word(cell)}"
    details = []
    if cell.exit_status:
        details.append(f"exit status {cell.exit_status}")
    if cell.reason:
        details.append(f"reason {cell.reason}")
    return text + (": " + ", ".join(details) if details else "")


def _word(cell: TaskCell) -> str:
    """How the attempt ended; a cell that waits for its next attempt tells of the one before."""
    if cell.state in {TaskState.failed, TaskState.canceled, TaskState.lost}:
        return cell.state.name
    return "lost" if cell.reason == "lost" else "failed"


def _is_last(cell: TaskCell) -> bool:
    return cell.state in {TaskState.failed, TaskState.lost} and cell.index == WHOLE


def _behind(known: Known, node: Node) -> list[str]:
    """Tasks that need this one's success and nothing else would do."""
    found: list[str] = []
    seen, open_ = {node.no}, [node]
    while open_ and len(found) <= _NAMES_MAX:
        for edge in open_.pop(0).edges:
            if edge.to in seen or edge.any or edge.states != _SUCCEEDED_BIT:
                continue
            seen.add(edge.to)
            following = known.graph.nodes[edge.to]
            found.append(following.name)
            open_.append(following)
    return found


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else ""
    return ", ".join(names[:_NAMES_MAX]) + more


def _text(lines: Sequence[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()
