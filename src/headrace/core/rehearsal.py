"""A job for a test: the same graph, its work replaced by nothing, or by a line that says what would have been done.

Pure. Conditions, fan-out, order and handlers are those of the job; nothing of its work, its child runs, secrets, limits
or files is touched. What reads a result that nobody made gets a text in its place. Called where runs are made, and by
in-process runs.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Any, Literal

import msgspec
from msgspec import UNSET, structs

from headrace.core.render import DEFAULT_INTERPRETER, program_places
from headrace.model.definition import JobDefinition, Task

How = Literal["noop", "print"]

NOTHING = ["true"]
SHOWN_MAX = 10_000
"""Characters of a script that are shown."""

_RESULT = re.compile(r"(?<!\$)\$\{([^{}]*\btasks[.\[][^{}]*\bresult\b[^{}]*)\}")
_FROM_RESULT = re.compile(r"\btasks[.\[][^{}]*\bresult\b")
_TASK = re.compile(r"\btasks\.([a-z0-9][a-z0-9_-]*)")


def rehearsed(definition: JobDefinition, how: How) -> JobDefinition:
    """The definition of a test run."""
    tasks = [_task(task, how) for task in definition.tasks]
    return structs.replace(
        definition,
        tasks=tasks,
        env={name: _readable(text) for name, text in definition.env.items()},
        result=UNSET,
        concurrency=UNSET,
        exclusive=False,
        package=UNSET,
        packages={},
        schedules=[],
        notify=[],
    )


def _task(task: Task, how: How) -> Task:
    """The task with other work; what decides whether and when it is done stays."""
    kept: dict[str, Any] = {
        "name": task.name,
        "description": task.description,
        "needs": task.needs,
        "when": _texts(task.when),
        "label": task.label,
        "concurrency": task.concurrency,
        "allow_failure": task.allow_failure,
        "finally_": task.finally_,
        "priority": task.priority,
        "agent": task.agent,
        "on_lost": task.on_lost,
    }
    if task.each is not UNSET:
        source = msgspec.to_builtins(task.each)
        kept |= _items(task, source)
    return Task(command=_command(task) if how == "print" else NOTHING, **kept)


def _items(task: Task, source: Any) -> dict[str, Any]:
    """Its items; one stands for all where they are what an earlier task would have made."""
    text = json.dumps(source)
    if not _FROM_RESULT.search(text):
        return {"each": task.each}
    needs = [] if task.needs is UNSET or not isinstance(task.needs, list) else list(task.needs)
    named = {need if isinstance(need, str) else need.task for need in needs}
    needs += [name for name in dict.fromkeys(_TASK.findall(text)) if name not in named]
    return {
        "each": ["(item)"],
        "needs": task.needs if not isinstance(task.needs, list) and task.needs is not UNSET else needs,
    }


def _command(task: Task) -> list[str]:
    """What says what would have been done."""
    if task.command is not UNSET:
        raw = program_places(tuple(task.command))
        # Program text is never rendered, here as little as in the job.
        words = [word if place in raw else _readable(word) for place, word in enumerate(task.command)]
        return ["echo", "would run:", *(shlex.quote(word) if "${" not in word else word for word in words)]
    if task.script is not UNSET:
        interpreter = DEFAULT_INTERPRETER if task.interpreter is UNSET else tuple(task.interpreter)
        return ["echo", f"would give to {shlex.join(interpreter)}:\n{_shown(task.script)}"]
    if task.python is not UNSET:
        return ["echo", f"would call {task.python} with", _readable(json.dumps(task.with_))]
    for kind in ("container", "job", "wait", "approve", "http"):
        value = getattr(task, kind)
        if value is not UNSET:
            return ["echo", f"would do {kind}:", _readable(json.dumps(msgspec.to_builtins(value)))]
    return NOTHING


def _shown(text: str) -> str:
    """Text that is never rendered, as it stands there."""
    short = text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…"
    return short.replace("${", "$${")


def _readable(text: str) -> str:
    """Results that nobody made read as a text; everything else is rendered as it would be."""
    return _RESULT.sub(lambda found: found[0] if "??" in found[1] else f'${{{found[1]} ?? "(result)"}}', text)


def _texts(value: Any) -> Any:
    if value is UNSET:
        return UNSET
    plain = msgspec.to_builtins(value)
    return msgspec.convert(_walked(plain), type(value))


def _walked(value: Any) -> Any:
    if isinstance(value, str):
        return _readable(value)
    if isinstance(value, dict):
        return {key: _walked(one) for key, one in value.items()}
    return [_walked(one) for one in value] if isinstance(value, list) else value
