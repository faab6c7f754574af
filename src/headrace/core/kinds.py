"""The sources of tasks that are no command, script or Python: child runs, waits, HTTP requests.

Pure. What of them is rendered becomes the ``args`` of the source, so that expressions, needs and reads are found as
those of any other task. Called when a graph is compiled.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, to_builtins

from headrace.core.durations import millis
from headrace.core.render import Source
from headrace.model import definition as doc

HTTP_TASK = "headrace.author.web:request"
"""The function that does an ``http`` task, in a runner of the agent's own modules."""


def kind_of(task: doc.Task) -> str:
    """The kind of a task; the empty text when it has none."""
    return next((kind for kind in doc.KINDS if getattr(task, kind) is not UNSET), "")


def child_of(task: doc.Task) -> doc.ChildJob:
    """The child job of a task of that kind, ``with`` among its parameters."""
    given = task.job
    child = doc.ChildJob(name=given) if isinstance(given, str) else given
    if isinstance(child, doc.ChildJob):
        return child
    raise AssertionError(f"task {task.name} runs no job")


def special_source(definition: doc.JobDefinition, task: doc.Task, kind: str) -> Source | None:
    """The source of a task of one of these kinds; None for the others."""
    if kind == "job":
        child = child_of(task)
        version = 0 if child.version is UNSET else child.version
        return _source(definition, task, kind, {**child.params, **task.with_}, target=child.name, version=version)
    if kind == "wait":
        return _source(definition, task, kind, to_builtins(task.wait))
    if kind == "http":
        return _source(definition, task, "python", to_builtins(task.http), target=HTTP_TASK)
    return None


def _source(
    definition: doc.JobDefinition,
    task: doc.Task,
    kind: str,
    args: dict[str, Any],
    *,
    target: str = "",
    version: int = 0,
) -> Source:
    done_by_agent = kind == "python"
    return Source(
        kind=kind,
        task=task.name,
        job=definition.name,
        target=target,
        args=args,
        env={**definition.env, **task.env} if done_by_agent else {},
        timeout_ms=0 if task.timeout is UNSET else millis(task.timeout),
        grace_ms=10_000 if task.grace is UNSET else millis(task.grace),
        label="" if task.label is UNSET else task.label,
        on_lost=task.on_lost,
        on_disconnect="" if task.on_disconnect is UNSET else task.on_disconnect,
        version=version,
    )
