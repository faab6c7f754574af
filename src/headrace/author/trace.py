"""The tracer: collects the tasks that a job's body adds, in order, under names of their own.

Holds nothing but the document that is being written. One tracer per trace, found through a context variable; it does
no work and never calls a task. Called by ``task``, ``kinds`` and ``job``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

from headrace.author.errors import TraceError
from headrace.author.handles import Comparison, Handle, expression_of, here, needs_of, paths_of
from headrace.author.values import builtins

TRACER: ContextVar[Tracer | None] = ContextVar("headrace_tracer", default=None)
"""The trace that is being made here; None everywhere else."""

NAME_MAX = 63


class Tracer:
    """The document of one job while its body runs. ``works`` keeps which object each Python task came from."""

    def __init__(self) -> None:
        self.tasks: list[dict[str, Any]] = []
        self.works: dict[str, Any] = {}
        self.conditions: list[Comparison] = []
        self._names: set[str] = set()

    def name(self, wanted: str) -> str:
        """``wanted`` as a task name: ``_`` becomes ``-``; taken ones get ``-2``, ``-3`` …"""
        base = task_name(wanted)
        name, n = base, 1
        while name in self._names:
            n += 1
            name = f"{base[: NAME_MAX - 7]}-{n}"
        self._names.add(name)
        return name

    def add(self, wanted: str, fields: dict[str, Any], work: object = None) -> Handle:
        """Add a task with these fields (handles inside become expressions) and give the handle of its result."""
        name = self.name(wanted)
        needs: list[Any] = list(fields.pop("needs", ()))
        conditions = [*self.conditions, *fields.pop("conditions", ())]
        written = {key: document(value, needs) for key, value in fields.items()}
        if conditions:
            for source in (s for c in conditions for s in c.sources):
                needs.extend(needs_of(source))
            parts = [c.document for c in conditions]
            written["when"] = builtins(parts[0] if len(parts) == 1 else {"all": parts})
        if needs:
            written["needs"] = joined(needs)
        self.tasks.append({"name": name, **written})
        if work is not None:
            self.works[name] = work
        return Handle((f"tasks.{name}.result",))


def task_name(wanted: str) -> str:
    """The task name that a Python name gives."""
    name = re.sub(r"[^a-z0-9-]+", "-", wanted.lower()).strip("-")
    return name[:NAME_MAX] or "task"


def joined(needs: list[Any]) -> list[Any]:
    """The same needs, each once, in order."""
    found: list[Any] = []
    for need in needs:
        short = need["task"] if isinstance(need, dict) and set(need) == {"task"} else need
        if short not in found:
            found.append(short)
    return found


def document(value: object, needs: list[Any]) -> Any:
    """A value as the document writes it: handles at any depth become ``${…}``, all else JSON."""
    if isinstance(value, Handle):
        needs.extend(needs_of(value))
        return expression_of(value)
    if isinstance(value, Comparison):
        bool(value)
    if isinstance(value, dict):
        return {_key(key): document(item, needs) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [document(item, needs) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: document(getattr(value, f.name), needs) for f in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct):
        names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        return {
            wire: document(getattr(value, name), needs)
            for name, wire in names
            if getattr(value, name) is not msgspec.UNSET
        }
    return builtins(value)


def _key(key: object) -> str:
    """A key of a dict that is passed on, as JSON has it. Raises TraceError for one that could not come back as it was."""
    if isinstance(key, tuple | list | set | frozenset | dict | Handle) or key is None:
        file, line = here()
        kind = "the result of a task" if isinstance(key, Handle) else f"{type(key).__name__} ({repr(key)[:80]})"
        raise TraceError(
            f"a dict that is passed to a task has a key of type {kind}, and JSON has texts as keys: "
            "make it a text or a number, or pass a list of pairs",
            file,
            line,
        )
    return str(key)


def tracing(what: str) -> Tracer:
    """The current tracer, for things that make sense in a job's body only. Raises TraceError elsewhere."""
    found = TRACER.get()
    if found is None:
        file, line = here()
        raise TraceError(f"{what} works only in the body of a @job", file, line)
    return found


@contextmanager
def when(condition: Comparison | Handle) -> Iterator[None]:
    """In a job's body: the tasks added inside begin only if this holds when the job runs, else they are skipped.

    ``with when(kind == "pdf"): …``; join conditions by ``&``, ``|``, ``~``. A bare handle means: is true.
    """
    tracer = tracing("when(…)")
    if isinstance(condition, Handle):
        condition = condition == True  # noqa: E712  # reason: builds the condition document
    if not isinstance(condition, Comparison):
        file, line = here()
        raise TraceError("when(…) takes a comparison of a parameter or a task's result", file, line)
    tracer.conditions.append(condition)
    try:
        yield
    finally:
        tracer.conditions.pop()


def first(*choices: Any) -> Any:
    """In a job's body: the result of the first of these that was not skipped."""
    tracing("first(…)")
    handles = [c for c in choices if isinstance(c, Handle)]
    if len(handles) != len(choices) or not handles:
        file, line = here()
        raise TraceError("first(…) takes results of tasks", file, line)
    paths = tuple(path for h in handles for path in paths_of(h))
    tasks = dict.fromkeys(p.split(".")[1] for p in paths if p.startswith("tasks."))
    return Handle(paths, tuple({"task": t, "state": ["succeeded", "skipped"]} for t in tasks))
