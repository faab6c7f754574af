"""docs/reference/python.md: everything that ``headrace`` exports, with signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from types import ModuleType
from typing import Any

import headrace
from headrace.author.job import JobOptions
from headrace.author.task import TaskOptions
from headrace.client import ahandle, anouns, handle, nouns
from headrace.model import errors
from pages.words import GENERATED, prose, table

INTRO = """# Python

`from headrace import …`. The package itself needs msgspec only and is imported in milliseconds; names are loaded on
first use. Signatures are as they are written; options of tasks and jobs are the fields of the
[definition document](definition.md), in Python's types.
"""
GROUPS = {
    "Jobs and tasks": ("task", "job", "TaskFunction", "JobFunction", "Task", "Job", "Param"),
    "In a job's body": ("when", "first", "command", "script", "container", "approve", "wait", "http", "run_job"),
    "Inside a task": ("Context", "current", "Fail", "Retry", "Skip", "Canceled"),
    "Client": ("Client", "AsyncClient"),
    "Errors of authors": ("TraceError", "RunFailed"),
}
LATER = re.compile(r"not available yet")


def page() -> str:
    """The whole page. Raises AssertionError when a name that is exported has no group."""
    named = [name for names in GROUPS.values() for name in names]
    assert sorted(named) == sorted(headrace.__all__), set(named) ^ set(headrace.__all__)
    parts = [GENERATED, INTRO]
    for group, names in GROUPS.items():
        parts.append(f"## {group}\n")
        for name in names:
            parts += _told(name, getattr(headrace, name))
        if group == "Jobs and tasks":
            parts += _options("task", TaskOptions) + _options("job", JobOptions)
        if group == "Client":
            for inner in (
                handle.Run,
                handle.RunTask,
                ahandle.AsyncRun,
                ahandle.AsyncRunTask,
                *_nouns(nouns),
                *_nouns(anouns),
            ):
                parts += _told(inner.__name__, inner)
    return "\n".join([*parts, *_errors()])


def _nouns(module: ModuleType) -> list[type]:
    """The classes of a module that have lists, as they are written."""
    return [thing for thing in vars(module).values() if inspect.isclass(thing) and "list" in vars(thing)]


def _told(name: str, thing: Any) -> list[str]:
    if inspect.isclass(thing):
        call = _signature(thing.__init__, bound=True) if "__init__" in vars(thing) else "()"
        return [
            f"### {name}\n",
            f"```python\nclass {name}{call.partition(' -> ')[0]}\n```\n",
            prose(thing.__doc__) + "\n",
            _members(thing),
        ]
    return [f"### {name}\n", f"```python\n{name}{_signature(thing)}\n```\n", prose(thing.__doc__) + "\n"]


def _members(thing: type) -> str:
    rows = []
    for name, member in vars(thing).items():
        if name.startswith("_") and name != "__call__":
            continue
        inner = member.fget if isinstance(member, property) else getattr(member, "func", member)
        if not callable(inner) or not inner.__doc__:
            continue
        shown = name if inner is not member else f"{name}{_signature(member, bound=True)}"
        rows.append((f"`{shown}`", prose(inner.__doc__)))
    return table(("member", "means"), rows)


def _signature(thing: Any, *, bound: bool = False) -> str:
    """As it is written in the source: annotations are texts there."""
    signature = inspect.signature(thing)
    kept = list(signature.parameters.values())[1:] if bound else list(signature.parameters.values())
    return str(signature.replace(parameters=kept)).replace("'", "")


def _options(what: str, options: Any) -> list[str]:
    rows = [
        (f"`{name}`", f"`{getattr(kind, '__forward_arg__', kind)}`") for name, kind in options.__annotations__.items()
    ]
    return [f"### Options of `@{what}`\n", prose(options.__doc__) + "\n", table(("option", "type"), rows)]


def _errors() -> list[str]:
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.HeadraceError)]
    rows = [
        (f"`{kind.__name__}`", f"`{kind.__bases__[0].__name__}`", str(kind.status), prose(kind.__doc__))
        for kind in kinds
    ]
    words = "Everything that Headrace raises on purpose, in `headrace.model.errors`. The status is that of its HTTP answer.\n"
    return ["## The tree of errors\n", words, table(("error", "is a", "status", "means"), rows)]
