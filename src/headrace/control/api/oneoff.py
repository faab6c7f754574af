"""A job of one task, made of what ``POST /runs`` was given: a command, a script or a registered task.

Parameters never become part of the document: they are referred to, so that the same command or task is the same
document however often it runs. Called by ``control.api.submit``.
"""

from __future__ import annotations

import json
import re
from typing import Any

from msgspec import UNSET

from headrace.control.api.records import AnyRun
from headrace.control.catalog import package_of, read_catalog
from headrace.core.check import NOT_YET
from headrace.model.definition import JobDefinition, Task
from headrace.model.errors import Invalid, Problem
from headrace.store.port import Reader

_NAME = re.compile(r"[^a-z0-9_-]+")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


async def one_task_job(body: AnyRun, reader: Reader) -> JobDefinition:
    """The definition. Raises Invalid for tasks nobody registered."""
    kind: dict[str, Any] = {}
    if isinstance(body.task, str):
        given = body.package if isinstance(body.package, str) else None
        package = package_of(body.task, given, await read_catalog(reader), "task")
        kind = {"python": body.task, "package": package, "with_": {k: _reference(k) for k in sorted(body.params)}}
    elif body.command is not UNSET:
        kind = {"command": body.command}
    else:
        kind = {"script": body.script, "interpreter": body.interpreter}
    name = body.name if isinstance(body.name, str) else _name(body)
    task = Task(
        name=name,
        env=body.env,
        outputs=body.outputs,
        retries=body.retries,
        timeout=body.timeout,
        agent=body.agent,
        **kind,
    )
    return JobDefinition(name=name, tasks=[task])


def refuse_later(body: AnyRun) -> None:
    """Raises Invalid for fields of the one task that a later version builds."""
    given = {"container": body.container, "resources": body.resources, "secrets": body.secrets or UNSET}
    problems = tuple(Problem(name, NOT_YET + name) for name, value in given.items() if value is not UNSET)
    if problems:
        raise Invalid("1 problem" if len(problems) == 1 else f"{len(problems)} problems", problems=problems)


def _reference(name: str) -> str:
    return f"${{params.{name}}}" if _PLAIN.fullmatch(name) else f"${{params[{json.dumps(name)}]}}"


def _name(body: AnyRun) -> str:
    """A name that people recognise: the function's, the program's, or ``script``."""
    if isinstance(body.task, str):
        text = body.task.rpartition(":")[2].lower().replace("_", "-")
    elif body.command is not UNSET and isinstance(body.command, list):
        text = body.command[0].rpartition("/")[2].lower()
    else:
        text = "script"
    return plain_name(text) or "task"


def plain_name(text: str) -> str:
    """A text as a name of ours: lower case, no spaces; empty when nothing of it is left."""
    return _NAME.sub("-", text.lower()).strip("-_")[:63]
