"""Checks what tasks wait for: unknown names, impossible conditions, cycles. Linear, and never recursive.

Pure. Called by ``core.check`` only.
"""

from __future__ import annotations

from msgspec import UNSET

from headrace.core.check_texts import Found
from headrace.model.definition import AnyNeed, JobDefinition, Need, Task

MAX_SHOWN = 20
"""How many tasks of a cycle are written out."""


def check_needs(no: int, task: Task, names: dict[str, int], final: set[str], found: Found) -> dict[str, str]:
    """The existing tasks that ``needs`` names, with the path of each entry."""
    named: dict[str, str] = {}
    if task.needs is UNSET:
        return named
    any_of = isinstance(task.needs, AnyNeed)
    entries = task.needs.any if isinstance(task.needs, AnyNeed) else task.needs
    base = f"tasks[{no}].needs.any" if any_of else f"tasks[{no}].needs"
    for at, entry in enumerate(entries):
        path = f"{base}[{at}]"
        name = entry if isinstance(entry, str) else entry.task
        where = path if isinstance(entry, str) else f"{path}.task"
        if name not in names:
            found.add(where, f"there is no task {name!r}{found.near(name, names)}")
        elif name == task.name:
            found.add(where, "a task cannot need itself")
        elif name in final and not task.finally_:
            found.add(where, f"{name!r} is a finally task: it begins when all others have ended")
        else:
            named.setdefault(name, where)
        if isinstance(entry, Need):
            _conditions(entry, path, found)
    return named


def _conditions(need: Need, path: str, found: Found) -> None:
    if need.state is UNSET:
        return
    states = [need.state] if isinstance(need.state, str) else need.state
    if not states:
        found.add(f"{path}.state", "an empty list can never hold; name a state or leave it out")
    elif need.exit is not UNSET and not {"succeeded", "failed", "ended"} & set(states):
        found.add(f"{path}.exit", "only a task that ran to its end has an exit status: this can never hold")


def check_cycles(definition: JobDefinition, edges: list[list[int]], ways: list[dict[str, str]]) -> Found:
    """Every cycle that tasks form, each task in at most one. ``edges[a]`` are the tasks that task a waits for.

    ``ways[a]`` says where each was written: name → path.
    """
    found = Found()
    left = _unfinished(edges)
    visited: dict[int, int] = {}
    for start in sorted(left):
        trail: list[int] = []
        at: int | None = start
        while at is not None and at not in visited:
            visited[at] = start
            trail.append(at)
            at = next((other for other in edges[at] if other in left), None)
        if at is not None and visited[at] == start:
            _report(definition, trail[trail.index(at) :], ways, found)
    return found


def _unfinished(edges: list[list[int]]) -> set[int]:
    """The tasks that could never begin: those on a cycle and those behind one."""
    waiting = [len(needs) for needs in edges]
    dependents: list[list[int]] = [[] for _ in edges]
    for no, needs in enumerate(edges):
        for needed in needs:
            dependents[needed].append(no)
    ready = [no for no, count in enumerate(waiting) if not count]
    while ready:
        for other in dependents[ready.pop()]:
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    return {no for no, count in enumerate(waiting) if count}


def _report(definition: JobDefinition, cycle: list[int], ways: list[dict[str, str]], found: Found) -> None:
    first = cycle.index(min(cycle))
    cycle = cycle[first:] + cycle[:first]
    names = [definition.tasks[no].name for no in cycle]
    if len(names) > MAX_SHOWN:
        names[MAX_SHOWN - 1 : -1] = [f"… ({len(names) - MAX_SHOWN} more) …"]
    chain = " needs ".join([*names, names[0]])
    path = ways[cycle[0]][definition.tasks[cycle[1 % len(cycle)]].name]
    found.add(path, f"tasks wait for each other in a circle: {chain}")
