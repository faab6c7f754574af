"""``Job("name").task("a", …)``: a definition written step by step, without tracing. Expressions are written as ``${…}``.

Pure; every call gives a new builder. Called by users.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from headrace.author.job import JobOptions, as_definition, job_fields
from headrace.author.task import Task, TaskFunction, fields_of, reference_of
from headrace.author.trace import document
from headrace.model.definition import JobDefinition

TASK_OWN = ("command", "script", "interpreter", "python", "container", "job", "wait", "approve", "http", "needs", "when", "each", "with_")  # fmt: skip


class Job:
    """A job under construction."""

    def __init__(self, name: str, /, *, params: Mapping[str, Any] | None = None, **options: Unpack[JobOptions]) -> None:
        self._fields: dict[str, Any] = {"name": name, **job_fields({k: v for k, v in options.items() if k != "name"})}
        if params is not None:
            self._fields["params"] = dict(params)
        self._tasks: tuple[dict[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The job's name."""
        return str(self._fields["name"])

    def task(self, name: str, work: TaskFunction[..., Any] | type[Task] | None = None, **fields: Any) -> Job:
        """The same job with one task more: ``work`` or one of the kinds by name, and any field of a task."""
        own = {("with" if k == "with_" else k): document(fields.pop(k), []) for k in TASK_OWN if k in fields}
        written = {"name": name, **fields_of(fields), **own}
        if work is not None:
            written["python"] = work.reference if isinstance(work, TaskFunction) else reference_of(work)
        made = Job(self.name)
        made._fields = self._fields
        made._tasks = (*self._tasks, written)
        return made

    def result(self, expression: Any) -> Job:
        """The same job with this result."""
        made = Job(self.name)
        made._fields = {**self._fields, "result": expression}
        made._tasks = self._tasks
        return made

    def definition(self) -> JobDefinition:
        """The document. Raises Invalid."""
        return as_definition({**self._fields, "tasks": list(self._tasks)})
