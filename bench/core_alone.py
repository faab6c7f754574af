"""Core alone: one job with 100,000 parallel tasks, and a chain of 100, without store, link or agent.

Prints CPU µs per instance of submit with expansion, claim and settle, and the MiB that the cells take. Run by hand:
`.venv/bin/python bench/core_alone.py [--tasks N]`. What it measures is only what `reach`, `step` and `apply` cost.
"""

from __future__ import annotations

import argparse
import gc
import time
import tracemalloc
from collections import deque
from typing import Any

import msgspec

from headrace.core.graph import compile as compile_job
from headrace.core.reaching import reach
from headrace.core.stepping import apply, step
from headrace.core.work import Dispatch, Follow, Offer, Working
from headrace.model.cells import RunInput, Value
from headrace.model.changes import Change, OutcomeKind, Settle, Submit
from headrace.model.definition import JobDefinition

NOW = 1_000_000_000
TASKS_MAX = 50_000
"""A definition holds no more."""

Document = dict[str, Any]


def task(name: str, **more: Any) -> Document:
    return {"name": name, "command": ["true"], **more}


def shapes(count: int) -> dict[str, tuple[Document, Document]]:
    """Name → (definition, parameters)."""
    items = [f"region-{no:06}" for no in range(count)]
    show = ["echo", "${item}"]
    return {
        "each, list in the definition": ({"tasks": [task("g", each=items, command=show)]}, {}),
        "each, list in the parameters": ({"tasks": [task("g", each="${params.all}", command=show)]}, {"all": items}),
        "each, result of a task": (
            {"tasks": [task("list"), task("g", each="${tasks.list.result}", command=show)]},
            {},
        ),
        "explicit tasks": ({"tasks": [task(f"t{no}") for no in range(min(count, TASKS_MAX))]}, {}),
        "chain of 100": (
            {"tasks": [task(f"t{no}", **({"needs": [f"t{no - 1}"]} if no else {})) for no in range(100)]},
            {},
        ),
    }


class Alone:
    """Everything at hand, one change at a time; counts CPU time per kind of change."""

    def __init__(self, document: Document, room: int) -> None:
        self.graph = compile_job(msgspec.convert({"name": "alone", **document}, JobDefinition))
        self.working = Working(offers=[Offer(1, 1, room, slots=room)])
        self.items: dict[Any, list[Any]] = {}
        self.orders: deque[Dispatch] = deque()
        self.spent: dict[str, float] = {}
        self.steps: dict[str, int] = {}

    def decide(self, change: Change) -> None:
        todo = deque([change])
        while todo:
            change = todo.popleft()
            began = time.process_time_ns()
            keys = reach(self.graph, self.working.runs.get(1), change)
            if keys.items is not None and keys.items[0] in self.items:
                key, first, most = keys.items
                self.working.items = {(key, first): self.items[key][first : first + most]}
            decided = step(self.graph, self.working, change, NOW, 0.5)
            apply(self.working, decided)
            kind = type(change).__name__
            self.spent[kind] = self.spent.get(kind, 0.0) + (time.process_time_ns() - began) / 1000
            self.steps[kind] = self.steps.get(kind, 0) + 1
            for command in decided.commands:
                if isinstance(command, Follow):
                    todo.append(command.change)
                elif isinstance(command, Dispatch):
                    self.orders.append(command)

    def run(self, params: Document, items: list[Any]) -> None:
        given = RunInput(1, 1, "alone", 1, NOW, msgspec.json.encode(params))
        self.working.inputs[1] = given
        self.decide(Submit(given))
        listed = [node.no for node in self.graph.nodes if node.name == "list"]
        while self.orders:
            order = self.orders.popleft()
            result = None
            if listed and order.key[1] == listed[0]:
                text = msgspec.json.encode(items)
                self.items[order.key] = items
                result = Value(len(text), "inline" if len(text) < 1000 else "aside", None, "", False, len(items))
            self.working.offers[0].free += 1
            told = Settle(*order.key, order.epoch, OutcomeKind.succeeded, NOW, NOW, "0", 0, result=result)
            self.decide(told)


def measure(name: str, document: Document, params: Document, count: int) -> None:
    items = [f"region-{no:06}" for no in range(count)]
    alone = Alone(document, 10**9)
    gc.collect()
    gc.disable()
    alone.run(params, items)
    gc.enable()
    total = sum(alone.spent.values())
    parts = ", ".join(f"{kind.lower()} {us / count:.1f}" for kind, us in alone.spent.items())
    state = alone.working.runs[1].state.name
    del alone
    print(f"{name:32} {total / count:6.1f} µs each ({parts}); run {state}", end="; ", flush=True)
    tracemalloc.start()
    alone = Alone(document, 10**9)
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    alone.run(params, items)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"cells {(held - before) / 2**20:.0f} MiB, peak + {(peak - held) / 2**20:.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--only", default="")
    chosen = parser.parse_args()
    for name, (document, params) in shapes(chosen.tasks).items():
        if chosen.only in name:
            explicit = {"chain of 100": 100, "explicit tasks": min(chosen.tasks, TASKS_MAX)}
            measure(name, document, params, explicit.get(name, chosen.tasks))


if __name__ == "__main__":
    main()
