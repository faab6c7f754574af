"""Everything that is checked when a definition is saved, every problem at once, each with its path.

Pure and linear in the size of the definition. Expects a record, so types and unknown fields were settled by ``codec``;
here are the rules between fields. Called by control at save, by ``headrace check`` and by in-process runs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from operator import attrgetter
from typing import Literal

from msgspec import UNSET

from headrace.core.check_graph import check_cycles, check_needs
from headrace.core.check_kinds import check_kind, idle_fields
from headrace.core.check_texts import Found, Texts, traps
from headrace.core.durations import millis
from headrace.core.expression import parse
from headrace.model.definition import KINDS, KINDS_NOW, Condition, EachOf, JobDefinition, Retries, Task
from headrace.model.errors import Invalid, Problem

NOT_YET = "not available yet: "
"""How the message about a feature of a later version begins."""

PHASE_MAX = 200
_LATER_OF_JOB = ("schedules", "notify", "listeners", "callback")
_LATER_OF_TASK = ("secrets", "secret_files", "resources", "listeners")
_NOTHING_LATER: tuple[object, ...] = ({}, {}, UNSET, [])
_later = attrgetter(*_LATER_OF_TASK)
_kinds = attrgetter(*KINDS)
_OPERATORS = ("eq", "ne", "lt", "le", "gt", "ge", "in_", "glob", "exists")
_JOINS = ("all", "any", "not_")
_REFERENCE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
RUNS_MAX = 10_000
"""Most runs of one job and key at once, where a job says how many."""

_LIMIT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_RETRY_WORD = re.compile(r"exit:.+|timeout|lost|[^\W\d]\w*(?:[.:][^\W\d]\w*)*")


def check(definition: JobDefinition, *, known_tasks: Mapping[str, Collection[str]] | None = None) -> list[Problem]:
    """Every problem of a definition; empty when it can be saved and run.

    ``known_tasks`` maps each reference of a registered task (``reports.sales:clean``) to the packages that have it;
    without it references are not looked up.
    """
    found = Found()
    _job(definition, found)
    names = _names(definition, found)
    final = {task.name for task in definition.tasks if task.finally_}
    texts = Texts(definition, names, found)
    texts.job(definition)
    edges: list[list[int]] = []
    ways: list[dict[str, str]] = []
    for no, task in enumerate(definition.tasks):
        _task(no, task, found)
        if known_tasks is not None and task.python is not UNSET:
            _package(no, task, definition, known_tasks, found)
        needs = check_needs(no, task, names, final, found)
        for name in texts.task(no, task):
            needs.setdefault(name, f"tasks[{no}]")
        edges.append([names[name] for name in needs])
        ways.append(needs)
    found.problems.extend(check_cycles(definition, edges, ways).problems)
    return found.problems


def warnings(definition: JobDefinition) -> list[Problem]:
    """What is allowed and most likely not meant. Never keeps a definition from being saved."""
    found = Found()
    found.problems.extend(traps(definition))
    for no, task in enumerate(definition.tasks):
        if task.label is not UNSET and task.each is UNSET:
            found.add(f"tasks[{no}].label", "a label tells the instances of each apart; this task has only one")
        if isinstance(task.retries, Retries) and not task.retries.max:
            found.add(f"tasks[{no}].retries", "max is 0: no further attempt is made")
        idle_fields(task, f"tasks[{no}]", found)
    return found.problems


def later_fields(what: Literal["job", "task"]) -> tuple[str, ...]:
    """The fields whose behaviour a later version builds: for the reference."""
    if what == "job":
        return _LATER_OF_JOB
    return (*_LATER_OF_TASK, *(kind for kind in KINDS if kind not in KINDS_NOW))


def _job(definition: JobDefinition, found: Found) -> None:
    for field in _LATER_OF_JOB:
        value = getattr(definition, field)
        if value is not UNSET and value:
            found.add(field, f"{NOT_YET}{field} of a job")
    if definition.exclusive and definition.concurrency is not UNSET:
        found.add("exclusive", "exclusive is short for concurrency {max: 1, when_full: refuse}: write one of the two")
    if definition.concurrency is not UNSET and definition.concurrency.max > RUNS_MAX:
        found.add("concurrency.max", f"at most {RUNS_MAX} runs at once are counted")
    for no, phase in enumerate(definition.phases):
        if not 0 < len(phase) <= PHASE_MAX:
            found.add(f"phases[{no}]", f"a phase has a name of at most {PHASE_MAX} characters")
        elif phase in definition.phases[:no]:
            found.add(f"phases[{no}]", f"the phase {phase!r} is there already")
    _duration(definition.timeout, "timeout", found)
    _env(definition.env, "env", found)


def _names(definition: JobDefinition, found: Found) -> dict[str, int]:
    names: dict[str, int] = {}
    for no, task in enumerate(definition.tasks):
        first = names.setdefault(task.name, no)
        if first != no:
            found.add(f"tasks[{no}].name", f"the name {task.name!r} is that of tasks[{first}] already")
    return names


def _task(no: int, task: Task, found: Found) -> None:
    path = f"tasks[{no}]"
    kind = _kind(task, path, found)
    later = _later(task)
    if later != _NOTHING_LATER:
        for field, value in zip(_LATER_OF_TASK, later, strict=True):
            if value is not UNSET and value:
                found.add(f"{path}.{field}", f"{NOT_YET}{field} of a task")
    _belongs(task, kind, path, found)
    if kind in ("job", "wait", "http"):
        check_kind(task, path, found)
    if task.limits:
        _limits(task, path, found)
    if task.cache is not UNSET:
        _duration(task.cache.for_, f"{path}.cache.for", found)
        if kind in ("job", "wait"):
            found.add(f"{path}.cache", "what an agent does is found again: cache the tasks of the child job")
    _durations(task, path, found)
    if task.env:
        _env(task.env, f"{path}.env", found)
    if task.when is not UNSET:
        _condition(task.when, f"{path}.when", found)
    if task.each is not UNSET:
        _each(task, path, found)
    elif task.concurrency is not UNSET:
        found.add(f"{path}.concurrency", "concurrency counts the instances of each; this task has only one")


def _kind(task: Task, path: str, found: Found) -> str:
    """The task's one kind; the empty text, and a problem, when it has none or several."""
    kinds = [kind for kind, given in zip(KINDS, _kinds(task), strict=True) if given is not UNSET]
    for kind in kinds:
        if kind not in KINDS_NOW:
            found.add(f"{path}.{kind}", f"{NOT_YET}tasks of the kind {kind}")
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        found.add(f"{path}.{kinds[1]}", f"a task has exactly one kind; this one has {' and '.join(kinds)}")
    else:
        found.add(path, f"a task needs exactly one kind: {', '.join(KINDS_NOW)}")
    return ""


def _belongs(task: Task, kind: str, path: str, found: Found) -> None:
    """Fields that have a meaning for some kinds only."""
    if not kind:
        return
    if task.interpreter is not UNSET and kind != "script":
        found.add(f"{path}.interpreter", f"an interpreter is for a script; this task is a {kind}")
    if task.with_ and kind not in ("python", "job", "chunk", "service"):
        found.add(f"{path}.with", f"with gives arguments to python tasks; this task is a {kind}: use argv or env")
    if task.package is not UNSET and kind not in ("python", "chunk", "service"):
        found.add(f"{path}.package", f"a package holds python tasks; this task is a {kind}")
    if task.python is not UNSET and not _REFERENCE.fullmatch(task.python):
        found.add(
            f"{path}.python", f"{task.python[:80]!r} is no reference; write module:function, as reports.sales:clean"
        )
    for field, argv in (("command", task.command), ("interpreter", task.interpreter)):
        if argv is not UNSET:
            if not argv[:1] or not argv[0]:
                found.add(f"{path}.{field}", "the program to run is missing")
            for at, text in enumerate(argv):
                if "\0" in text:
                    found.add(f"{path}.{field}[{at}]", "a NUL character cannot be passed to a program")
    for at, pattern in enumerate(task.outputs):
        if pattern.startswith("/") or ".." in pattern.split("/") or not pattern:
            found.add(f"{path}.outputs[{at}]", "a pattern stays within the working folder: neither / first nor ..")


def _durations(task: Task, path: str, found: Found) -> None:
    _duration(task.timeout, f"{path}.timeout", found)
    _duration(task.grace, f"{path}.grace", found)
    _duration(task.delay, f"{path}.delay", found)
    if task.repeat is not UNSET:
        _duration(task.repeat.delay, f"{path}.repeat.delay", found)
        if not task.repeat.times:
            found.add(f"{path}.repeat.times", "a task is done at least once")
    if isinstance(task.retries, Retries):
        base = f"{path}.retries"
        _duration(task.retries.delay, f"{base}.delay", found)
        _duration(task.retries.max_delay, f"{base}.max_delay", found)
        for field, words in (("only", task.retries.only), ("never", task.retries.never)):
            for at, word in enumerate(() if words is UNSET else words):
                if not _RETRY_WORD.fullmatch(word):
                    found.add(f"{base}.{field}[{at}]", f"{word[:80]!r}: write a class name, exit:N, timeout or lost")


def _duration(text: object, path: str, found: Found) -> None:
    if isinstance(text, str):
        try:
            millis(text)
        except Invalid as error:
            found.add(path, error.message)


def _env(env: Mapping[str, str], path: str, found: Found) -> None:
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            found.add(path, f"{name[:80]!r}: an environment name is not empty and has no =, and neither part has NUL")
        elif name.startswith("HEADRACE_"):
            found.add(path, f"{name[:80]!r}: names that begin with HEADRACE_ are set by headrace")


def _limits(task: Task, path: str, found: Found) -> None:
    if task.job is not UNSET or task.wait is not UNSET:
        found.add(f"{path}.limits", "what an agent does takes from limits: put them on the tasks of the child job")
    for name, units in task.limits.items():
        if not _LIMIT_NAME.fullmatch(name):
            found.add(f"{path}.limits", f"{name[:80]!r} is no name of a limit: lower-case letters, digits, _ and -")
        if not units:
            found.add(f"{path}.limits.{name}", "0 units: leave it out, or take at least 1")


def _condition(outer: Condition, path: str, found: Found) -> None:
    todo: list[tuple[str, Condition]] = [(path, outer)]
    while todo:
        where, condition = todo.pop()
        joins = [name for name in _JOINS if getattr(condition, name) is not UNSET]
        operators = [name for name in _OPERATORS if getattr(condition, name) is not UNSET]
        has_value = condition.value is not UNSET
        if len(joins) == 1 and not operators and not has_value:
            todo.extend(_joined(condition, where, found))
        elif joins or len(operators) != 1 or not has_value:
            found.add(where, "write value and one of eq ne lt le gt ge in glob exists; or one of all any not")


def _joined(condition: Condition, path: str, found: Found) -> list[tuple[str, Condition]]:
    if isinstance(condition.not_, Condition):
        return [(f"{path}.not", condition.not_)]
    field, parts = ("all", condition.all) if condition.all is not UNSET else ("any", condition.any)
    if parts is UNSET or not parts:
        found.add(f"{path}.{field}", "an empty list of conditions says nothing")
        return []
    return [(f"{path}.{field}[{at}]", part) for at, part in enumerate(parts)]


def _each(task: Task, path: str, found: Found) -> None:
    if isinstance(task.each, EachOf):
        if (task.each.zip is UNSET) == (task.each.product is UNSET):
            found.add(f"{path}.each", "write a list, or an object with either zip or product")
        for field, lists in (("zip", task.each.zip), ("product", task.each.product)):
            for at, one in enumerate(() if lists is UNSET else lists):
                if not isinstance(one, list):
                    _list_text(one, f"{path}.each.{field}[{at}]", found)
    elif not isinstance(task.each, list):
        _list_text(task.each, f"{path}.each", found)


def _list_text(value: object, path: str, found: Found) -> None:
    """Where a list is wanted, a text must be exactly one expression."""
    if isinstance(value, str):
        try:
            if parse(value).exact:
                return
        except Invalid:
            return
    found.add(path, 'a list is wanted here, or exactly one expression as "${tasks.clean.result}"')


def _package(
    no: int, task: Task, definition: JobDefinition, known: Mapping[str, Collection[str]], found: Found
) -> None:
    reference = str(task.python)
    path = f"tasks[{no}].python"
    given = task.package if task.package is not UNSET else definition.package
    packages = known.get(reference, ())
    if not packages:
        found.add(path, f"{reference!r} is not a task: no registered package has it{found.near(reference, known)}")
    elif given is not UNSET and given not in packages:
        found.add(path, f"the package {given!r} has no task {reference!r}; {', '.join(sorted(packages))} has")
    elif given is UNSET and len(packages) > 1:
        found.add(path, f"several packages have {reference!r}: name one by package: {', '.join(sorted(packages))}")
