"""What a failed task was given, for the story of a failure: its definition filled in with what the run's view shows.

Only for people to read: a value that the view does not show stays as it was written. Called by ``cli.follow``.
"""

from __future__ import annotations

import shlex
from typing import Any

from headrace.cli.terminal import clean, short
from headrace.client import flow
from headrace.client.sync import Client
from headrace.core.expression import MISSING, ExpressionError, MissingValue, json_text, render, walk
from headrace.core.groups import NotItems, listed
from headrace.model import views
from headrace.model.errors import HeadraceError


class Inputs:
    """Of the tasks of one run."""

    def __init__(self, client: Client, run: views.RunView) -> None:
        self._client, self._run = client, run
        self._tasks: dict[str, dict[str, Any]] = {}
        try:
            document = client.do(flow.definition(run.id))
        except HeadraceError:
            return
        self._tasks = {task["name"]: task for task in document.get("tasks", ())}

    def of(self, task: views.TaskView) -> str:
        """One line, or nothing where it was given nothing."""
        document = self._tasks.get(task.name)
        if document is None:
            return ""
        seen = _Seen(self._run, task, document)
        parts = []
        if "command" in document:
            argv = seen.filled(document["command"])
            parts.append(clean(shlex.join(json_text(word) for word in argv)))
        kinds = (document.get("with"), document.get("env"), document.get("job"), document.get("http"))
        for given in kinds:
            if isinstance(given, dict):
                parts += [f"{clean(name)}={short(seen.filled(value))}" for name, value in given.items()]
        return ", ".join(parts)

    def instance(self, task: views.TaskView) -> views.TaskView | None:
        """The first instance that failed, among those that are looked at."""
        try:
            return self._client.do(flow.failed_instance(self._run.id, task.name))
        except HeadraceError:
            return None


class _Seen:
    """What expressions may read of a run as it is shown."""

    def __init__(self, run: views.RunView, task: views.TaskView, document: dict[str, Any]) -> None:
        self._run, self._task, self._document = run, task, document

    def filled(self, value: Any) -> Any:
        """The value with what is known filled in; as it was written where something is not."""
        if isinstance(value, list):
            return [self.filled(one) for one in value]
        try:
            return render(value, self)
        except (MissingValue, ExpressionError):
            return value

    def lookup(self, root: str, path: tuple[str | int, ...]) -> Any:
        """``core.expression.Scope``."""
        if root == "params":
            return walk(self._run.params, path)
        if root == "tasks" and len(path) > 1:
            return self._of_task(str(path[0]), path[1:])
        if root == "run":
            known = {"id": self._run.id, "job": self._run.job, "labels": self._run.labels}
            return walk(known, path)
        if root == "index" and self._task.index is not None:
            return self._task.index
        if root == "item" and self._task.index is not None and "each" in self._document:
            return self._item(self._task.index, path)
        return MISSING

    def _of_task(self, name: str, path: tuple[str | int, ...]) -> Any:
        for task in self._run.tasks:
            if task.name == name and task.result_omitted is None:
                known = {"result": task.result, "exit_status": task.exit_status, "state": task.state}
                return walk(known, path)
        return MISSING

    def _item(self, index: int, path: tuple[str | int, ...]) -> Any:
        try:
            items = listed(self.filled(self._document["each"]))
        except NotItems:
            return MISSING
        return walk(items.at(index), path) if index < items.total else MISSING
