"""Random definitions and random agents for them, from one seed."""

from __future__ import annotations

import random
from typing import Any

EXITS = ("OK", "EMPTY", "1")
GLOBS = (*EXITS, "E*", "[!E]*", "?")
STATES = ("succeeded", "failed", "skipped", "canceled", "ended")


def definition(dice: random.Random) -> dict[str, Any]:
    """A document with conditions, fan-out, handlers, ``finally`` tasks, retries."""
    count = dice.randint(1, 9)
    tasks = [_task(dice, no, count) for no in range(count)]
    finals = {task["name"] for task in tasks if task.get("finally")}
    for task in tasks:
        _need(dice, task, tasks[: int(task["name"][1:])], finals)
    doc: dict[str, Any] = {"name": "random", "tasks": tasks}
    if dice.random() < 0.35:
        doc["on_failure"] = "stop"
    return doc


def _task(dice: random.Random, no: int, count: int) -> dict[str, Any]:
    task: dict[str, Any] = {"name": f"t{no}", "command": ["true"]}
    if dice.random() < 0.15:
        task = {"name": f"t{no}", **dice.choice([{"job": "other"}, {"job": "other"}, {"wait": {"for": "1s"}}])}
    if dice.random() < 0.1:
        task["repeat"] = {"times": dice.randint(1, 3), "delay": dice.choice(["0s", "1s"])}
    if dice.random() < 0.08:
        task["delay"] = "1s"
    if dice.random() < 0.25:
        task["each"] = list(range(dice.choice([0, 1, 2, 3, 5])))
        if dice.random() < 0.5:
            task["concurrency"] = dice.randint(1, 3)
    if dice.random() < 0.3:
        task["retries"] = dice.randint(1, 2)
    if dice.random() < 0.15:
        task["allow_failure"] = True
    if dice.random() < 0.12:
        task["finally"] = True
    if dice.random() < 0.1:
        task["when"] = {"value": 1, "eq": dice.randint(0, 1)}
    if dice.random() < 0.15:
        task["on_lost"] = "fail"
    return task


def _need(dice: random.Random, task: dict[str, Any], before: list[dict[str, Any]], finals: set[str]) -> None:
    names = [other["name"] for other in before if task.get("finally") or other["name"] not in finals]
    chosen = [name for name in names if dice.random() < 0.4][:4]
    needs: list[Any] = []
    for name in chosen:
        kind = dice.random()
        if kind < 0.5:
            needs.append(name)
        elif kind < 0.85:
            states = dice.sample(STATES, dice.randint(1, 2))
            needs.append({"task": name, "state": states[0] if len(states) == 1 else states})
        elif kind < 0.95:
            needs.append({"task": name, "exit": dice.choice(GLOBS)})
        else:
            needs.append({"task": name, "state": "ended", "exit": dice.choice(GLOBS)})
    if needs:
        task["needs"] = {"any": needs} if dice.random() < 0.25 else needs


def plan(dice: random.Random, *, refuse: bool = True) -> list[tuple[str, str | None]]:
    """What the attempts of one task will say, in order; then they succeed."""
    found: list[tuple[str, str | None]] = []
    for _ in range(dice.choice([0, 0, 1, 1, 2, 3])):
        kind = dice.choice(["failed", "failed", "lost", "refused", "skipped", "succeeded"])
        if (kind == "lost" and ("lost", None) in found[-2:]) or (kind == "refused" and not refuse):
            kind = "failed"
        found.append((kind, None if kind == "lost" else dice.choice(EXITS)))
    return found
