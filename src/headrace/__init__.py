"""Headrace: the surface people import. Names are loaded on first use; ``import headrace`` itself costs next to nothing.

Only msgspec is needed to describe and run tasks. Nothing here imports the store, control, the agent or the CLI.
"""

from __future__ import annotations

TYPE_CHECKING = False
"""As in ``typing``, whose import would cost more than all the rest of this file."""

if TYPE_CHECKING:
    from typing import Any

    from headrace.author.builder import Job
    from headrace.author.context import Context, current
    from headrace.author.errors import Canceled, Fail, Retry, RunFailed, Skip, TraceError
    from headrace.author.job import JobFunction, job
    from headrace.author.kinds import approve, command, container, http, run_job, script, wait
    from headrace.author.parameters import Param
    from headrace.author.task import Task, TaskFunction, task
    from headrace.author.trace import first, when
    from headrace.client.aio import AsyncClient
    from headrace.client.sync import Client

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "Canceled",
    "Client",
    "Context",
    "Fail",
    "Job",
    "JobFunction",
    "Param",
    "Retry",
    "RunFailed",
    "Skip",
    "Task",
    "TaskFunction",
    "TraceError",
    "approve",
    "command",
    "container",
    "current",
    "first",
    "http",
    "job",
    "run_job",
    "script",
    "task",
    "wait",
    "when",
]

_HOMES = {
    "AsyncClient": "client.aio",
    "Client": "client.sync",
    "Canceled": "author.errors",
    "Context": "author.context",
    "Fail": "author.errors",
    "Job": "author.builder",
    "JobFunction": "author.job",
    "Param": "author.parameters",
    "Retry": "author.errors",
    "RunFailed": "author.errors",
    "Skip": "author.errors",
    "Task": "author.task",
    "TaskFunction": "author.task",
    "TraceError": "author.errors",
    "approve": "author.kinds",
    "command": "author.kinds",
    "container": "author.kinds",
    "current": "author.context",
    "first": "author.trace",
    "http": "author.kinds",
    "job": "author.job",
    "run_job": "author.kinds",
    "script": "author.kinds",
    "task": "author.task",
    "wait": "author.kinds",
    "when": "author.trace",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"headrace.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
