"""Headrace: the surface people import. Names are loaded on first use; ``import headrace`` itself costs next to nothing.

Only msgspec is needed to describe and run tasks. Nothing here imports the store, control, the agent or the CLI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.author.context import Context, current
    from headrace.author.errors import Canceled, Fail, Retry, Skip, TraceError
    from headrace.author.task import Task, TaskFunction, task
    from headrace.author.trace import first, when

__version__ = "0.1.0"

__all__ = [
    "Canceled",
    "Context",
    "Fail",
    "Retry",
    "Skip",
    "Task",
    "TaskFunction",
    "TraceError",
    "current",
    "first",
    "task",
    "when",
]

_HOMES = {
    "Canceled": "errors",
    "Context": "context",
    "Fail": "errors",
    "Retry": "errors",
    "Skip": "errors",
    "Task": "task",
    "TaskFunction": "task",
    "TraceError": "errors",
    "current": "context",
    "first": "trace",
    "task": "task",
    "when": "trace",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"headrace.author.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
