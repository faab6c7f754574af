"""Core against the reference interpreter, step by step, on random graphs; groups of changes against single ones."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from tests.core.mill import Mill
from tests.property import random_graphs
from tests.reference_interpreter import OVER, Interpreter

from headrace.core.work import Offer
from headrace.model.changes import Abandon, Cancel, Claim, OutcomeKind, Pause, Resume, Settle, Stop, Wake
from headrace.model.definition import JobDefinition
from headrace.model.errors import Refused
from headrace.model.ids import RUN_ITSELF
from headrace.model.states import RUN_FINAL, TASK_FINAL, TASK_LEASED, RunState, TaskState

GRAPHS = 6_000
PARTS = 12


STATE_WORDS = {"failed": {"failed", "lost"}, "ended": OVER}


def told_tasks(doc: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The document in the words of the reference interpreter, every default written out."""
    found = {}
    for task in doc["tasks"]:
        needs = task.get("needs", [])
        found[task["name"]] = {
            "needs": [told_need(need) for need in (needs["any"] if isinstance(needs, dict) else needs)],
            "any": isinstance(needs, dict),
            "when": bool(task.get("when", {"eq": 1})["eq"]),
            "group": "each" in task,
            "count": len(task.get("each", [0])),
            "window": task.get("concurrency", 2_000),
            "retries": task.get("retries", 0),
            "retry_lost": task.get("on_lost", "retry") == "retry",
            "allow_failure": task.get("allow_failure", False),
            "finally": task.get("finally", False),
            "times": task.get("repeat", {}).get("times", 1),
            "inner": "child" if "job" in task else "wait" if "wait" in task else "",
        }
    return found


def told_need(need: Any) -> tuple[str, set[str], str | None]:
    if isinstance(need, str):
        return need, {"succeeded"}, None
    if "state" not in need:
        return need["task"], {"succeeded", "failed"}, need["exit"]  # it ran to its end: never lost
    words = [need["state"]] if isinstance(need["state"], str) else need["state"]
    return need["task"], set().union(*(STATE_WORDS.get(word, {word}) for word in words)), need.get("exit")


class Both:
    """Core and the interpreter, played by the same agents."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.doc = random_graphs.definition(self.dice)
        self.mill = Mill(msgspec.convert(self.doc, JobDefinition), offers=[Offer(1, 7, 10**9)])
        self.mill.waiting = frozenset(node.klass for node in self.mill.graph.nodes)
        self.told = Interpreter(told_tasks(self.doc), stop=self.doc.get("on_failure") == "stop")
        self.plans: dict[Any, list[Any]] = {}
        self.running: list[Any] = []
        self.begun: set[Any] = set()
        self.mill.submit()
        self.time_passes()

    def key(self, unit: Any) -> tuple[int, int, int]:
        name, index = unit
        return (1, self.mill.graph.by_name[name], index if self.told.tasks[name]["group"] else -1)

    def compare(self) -> None:
        units = {}
        for key, cell in self.mill.tasks.items():
            if cell.counts is None and self.mill.graph.nodes[key[1]].each is None:
                units[self.mill.graph.nodes[key[1]].name, 0] = cell
            elif key[2] >= 0:
                units[self.mill.graph.nodes[key[1]].name, key[2]] = cell
        assert sorted(unit for unit, cell in units.items() if cell.state == TaskState.ready) == self.ready()
        if self.mill.run().state not in RUN_FINAL:
            assert (self.mill.run().state == RunState.paused) == self.told.paused
        for name, state in self.told.state.items():
            mine = self.mill.at(name).state
            assert (mine.name if mine in TASK_FINAL else "open") == (state if state in OVER else "open"), name

    def ready(self) -> list[Any]:
        return sorted(unit for unit, state in self.told.units.items() if state == "ready")

    def ask(self) -> None:
        """A person asks for something, where that may be asked."""
        verbs: list[Any] = [Cancel, Stop, Abandon]
        if self.mill.run().state != RunState.stopping:
            verbs += [Pause] * 5
        verb = self.dice.choice(verbs)
        if verb is Pause:
            self.told.paused = True
        else:
            {Cancel: self.told.cancel, Stop: self.told.ask_to_stop, Abandon: self.told.abandon}[verb]()
        self.mill.one(verb(1, "enough"))
        if verb is Abandon:
            for _, order in ((unit, order) for unit, order in self.running if order is not None):
                with pytest.raises(Refused, match="abandoned"):
                    self.mill.one(self.mill.outcome(order))
            self.running.clear()

    def go_on(self) -> None:
        """Nothing of a paused run is given out, whoever tries; then it is resumed."""
        for unit in self.ready():
            self.mill.one(Claim(*self.key(unit)))
        assert not self.mill.dispatches
        self.told.paused = False
        self.told.settle()
        self.mill.one(Resume(1))

    def act(self, *, may_ask: bool) -> bool:
        ready = self.told.may_begin()
        if may_ask and self.dice.random() < 0.06:
            self.ask()
        elif self.told.paused and (not self.running or self.dice.random() < 0.2):
            self.go_on()
        elif ready and (not self.running or self.dice.random() < 0.6):
            unit = self.dice.choice(ready)
            self.told.units[unit] = "running"
            self.mill.one(Claim(*self.key(unit)))
            self.running.append((unit, self.mill.dispatches.pop()))
        elif self.running:
            self.finish(*self.running.pop(self.dice.randrange(len(self.running))))
        else:
            return False
        self.time_passes()
        return True

    def finish(self, unit: Any, order: Any) -> None:
        plan = self.plans.setdefault(unit, random_graphs.plan(self.dice))
        kind, status = plan.pop(0) if plan else ("succeeded", "OK")
        node = self.mill.graph.nodes[self.key(unit)[1]]
        if self.mill.run().intent.name == "cancel" and not node.final:
            kind = self.dice.choice(["canceled", "succeeded", kind])
        if node.inner:
            self.finish_inner(unit, node.source.kind, kind, status)
            return
        self.told.finish(unit, kind, status)
        skip = kind == "skipped"
        told = "succeeded" if skip else kind
        self.mill.one(self.mill.outcome(order, told, exit_status=status, skip=skip))

    def finish_inner(self, unit: Any, work: str, kind: str, status: str | None) -> None:
        """A child says nothing but how its run ended; a wait is over."""
        cell = self.mill.tasks[self.key(unit)]
        if work == "wait":
            self.told.finish(unit, "succeeded", "ok")
            self.mill.now = max(self.mill.now, cell.due_at)
            self.mill.one(Wake(*cell.key))
            return
        kind = kind if kind in {"succeeded", "canceled"} else "failed"
        self.told.finish(unit, kind, status)
        self.mill.one(Settle(*cell.key, cell.epoch, OutcomeKind(kind), 1, 2, exit_status=status))

    def time_passes(self) -> None:
        """What goes on by time alone goes on, but for waits; what needs no agent has begun or ended meanwhile."""
        while timed := [
            cell
            for cell in self.mill.tasks.values()
            if cell.state == TaskState.retrying or (cell.state == TaskState.blocked and cell.due_at)
        ]:
            for cell in timed:
                self.mill.now = max(self.mill.now, cell.due_at)
                self.mill.one(Wake(*cell.key))
        alive = {}
        for key, cell in self.mill.tasks.items():
            node = self.mill.graph.nodes[key[1]]
            if node.inner and cell.state == TaskState.running and cell.counts is None:
                unit = (node.name, max(key[2], 0))
                alive[unit, cell.epoch] = unit
        self.running = [(unit, order) for unit, order in self.running if order is not None or unit in alive.values()]
        self.running += [(unit, None) for name, unit in alive.items() if name not in self.begun]
        self.begun |= alive.keys()


@pytest.mark.parametrize("part", range(PARTS))
def test_core_and_the_reference_interpreter_agree_at_every_step(part: int) -> None:
    steps = 0
    for seed in range(part * GRAPHS // PARTS, (part + 1) * GRAPHS // PARTS):
        both = Both(seed)
        both.compare()
        try:
            while both.act(
                may_ask=seed % 3 == 0
                and both.mill.run().intent.name in {"none", "failure"}
                and both.mill.run().left > 0
            ):
                both.compare()
            run = both.mill.run()
            assert run.state in RUN_FINAL
            assert run.state.name == both.told.result()
            assert (run.live, run.left, run.finals, run.due_at, run.more) == (0, 0, 0, 0, None)
        except BaseException as error:
            error.add_note(f"seed {seed}: {both.doc}")
            raise
        steps += both.mill.steps
    assert steps > 5 * GRAPHS // PARTS


def _drive(doc: dict[str, Any], runs: int, plan_seed: int, size_of: Any) -> dict[Any, Any]:
    """Play several runs of one job; changes come in groups of the given sizes. Without stop and cancel the end does
    not depend on the order."""
    dice = random.Random(plan_seed)
    mill = Mill(msgspec.convert(doc, JobDefinition), offers=[Offer(1, 7, 10**9)])
    mill.waiting = frozenset(node.klass for node in mill.graph.nodes)
    plans: dict[Any, Any] = {}
    for run in range(1, runs + 1):
        mill.submit(run)
    for _ in range(200):
        if all(run.state in RUN_FINAL for run in mill.runs.values()):
            break
        changes: list[Any] = []
        for key, cell in mill.tasks.items():
            if cell.state == TaskState.ready:
                changes.append(Claim(*key))
            elif cell.state == TaskState.retrying or (cell.state == TaskState.blocked and cell.due_at):
                mill.now = max(mill.now, cell.due_at)
                changes.append(Wake(*key))
            elif cell.state in TASK_LEASED and cell.counts is None:
                plan = plans.get(key) or plans.setdefault(key, random_graphs.plan(random.Random(str((plan_seed, key)))))
                said = plan[cell.attempt - 1] if cell.attempt <= len(plan) else ("succeeded", "OK")
                kind = "failed" if said[0] == "refused" else said[0]
                skip = kind == "skipped"
                told = OutcomeKind.succeeded if skip else OutcomeKind(kind)
                changes.append(Settle(*key, cell.epoch, told, 1, 2, exit_status=said[1], skip=skip, digest=b"x"))
        changes.append(Wake(dice.randint(1, runs), RUN_ITSELF))
        dice.shuffle(changes)
        while changes:
            size = size_of(dice)
            mill.ask(*changes[:size])
            changes = changes[size:]
    else:
        raise AssertionError("the runs do not end")
    image = {key: (c.state, c.attempt, c.exit_status, c.failures, c.lost, c.counts) for key, c in mill.tasks.items()}
    ends = {run.run: (run.state, run.failed, run.canceled, run.succeeded, run.live) for run in mill.runs.values()}
    return {**image, **ends}


@pytest.mark.parametrize("part", range(4))
def test_groups_of_random_size_give_what_single_changes_give(part: int) -> None:
    for seed in range(part * 60, part * 60 + 60):
        doc = random_graphs.definition(random.Random(seed))
        doc.pop("on_failure", None)
        single = _drive(doc, 4, seed, lambda dice: 1)
        grouped = _drive(doc, 4, seed, lambda dice: dice.randint(2, 40))
        assert single == grouped, (seed, doc)
