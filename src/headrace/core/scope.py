"""Where the values of ``${…}`` come from: params, other tasks, the run, the moment it is for, the item.

Pure. Reads what a draft has at hand; whoever renders has asked ``Draft.at_hand`` before.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from headrace.core.draft import Draft
from headrace.core.expression import MISSING, walk
from headrace.model.cells import RunCell, RunInput, TaskCell, Value
from headrace.model.states import TASK_FINAL

_encode = msgspec.json.Encoder().encode
_NO_INPUT = RunInput(0, 0, None, None, 0)


class RunScope:
    """The scope of one run, or of one instance of a group."""

    __slots__ = ("draft", "instance")

    def __init__(self, draft: Draft, instance: TaskCell | None = None) -> None:
        self.draft = draft
        self.instance = instance

    def lookup(self, root: str, path: tuple[str | int, ...]) -> Any:
        """The value at a path, or ``MISSING``."""
        if root == "params":
            return walk(self._params(), path)
        if root == "tasks":
            return self._task(path)
        if root == "run":
            return self._run(path)
        if root == "fire":
            return fire_value(self._input().created_at, path)
        return self._item(root, path)

    def _params(self) -> Any:
        kept, given = self.draft.working.params, self._input()
        if given.run not in kept:
            kept[given.run] = msgspec.json.decode(given.params)
        return kept[given.run]

    def _input(self) -> RunInput:
        return self.draft.given or _NO_INPUT

    def _task(self, path: tuple[str | int, ...]) -> Any:
        no = self.draft.graph.by_name.get(str(path[0])) if path else None
        cell = None if no is None else self.draft.task(no)
        if no is None or cell is None or len(path) < 2 or cell.state not in TASK_FINAL:
            return MISSING
        if path[1] == "result":
            absent = cell.result is None and cell.counts is None
            return MISSING if absent else walk(self.draft.value(no), path[2:])
        if len(path) == 2 and path[1] == "exit_status":
            return MISSING if cell.exit_status is None else cell.exit_status
        return cell.state.name if path[1:] == ("state",) else MISSING

    def _run(self, path: tuple[str | int, ...]) -> Any:
        given = self._input()
        known: dict[str, Any] = {
            "id": self.draft.run.run,
            "job": given.job or self.draft.graph.name,
            "url": f"{self.draft.working.place}/runs/{self.draft.run.run}",
            "labels": labels_of(self.draft.run, given),
        }
        return walk(known, path) if path else MISSING

    def _item(self, root: str, path: tuple[str | int, ...]) -> Any:
        instance = self.instance
        if instance is None:
            return MISSING
        if root == "index":
            return MISSING if path else instance.index
        return walk(item_of(instance), path)


def labels_of(run: RunCell, given: RunInput) -> dict[str, str]:
    """The labels of a run: those that it was given, unless they were changed since."""
    changed = run.more.labels if run.more is not None else None
    return given.labels if changed is None else changed


def item_of(instance: TaskCell) -> Any:
    """The decoded item of an instance."""
    item = instance.item
    return None if item is None or item.data is None else msgspec.json.decode(item.data)


def item_value(item: Any) -> Value:
    """An item as it is kept in the cell of its instance."""
    data = _encode(item)
    return Value(len(data), "inline", data)


def fire_value(created_at: int, path: tuple[str | int, ...]) -> Any:
    """What ``${fire…}`` gives without a schedule: the moment of submit, in UTC."""
    moment = datetime.fromtimestamp(created_at // 1_000_000, UTC)
    known: dict[str, Any] = {
        "instant": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "date": moment.date().isoformat(),
        "business_date": moment.date().isoformat(),
        "late": 0,
    }
    return walk(known, path) if path else MISSING
