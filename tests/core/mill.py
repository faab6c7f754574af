"""A store of dictionaries around the pure core: loads exactly what ``reach`` names, applies what ``step`` decides.

Every step is checked against the tables and the versions; what was not named by ``reach`` is not there. Tests own one
mill per job version and play the agents themselves.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from headrace.core.draft import decoded
from headrace.core.graph import compile as compile_job
from headrace.core.reaching import reach
from headrace.core.results import group_result, result_keys, run_result
from headrace.core.stepping import apply, step
from headrace.core.tables import GROUP_MOVES, allowed
from headrace.core.work import Alarm, Dispatch, Follow, Keys, Offer, Step, StopAttempt, Tell, Working
from headrace.model.cells import RunCell, RunInput, TaskCell, Value
from headrace.model.changes import Cancel, Change, Claim, Lose, OutcomeKind, Settle, Started, Submit, Wake
from headrace.model.definition import JobDefinition
from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.model.states import RUN_FINAL, TASK_FINAL, RunState, TaskState

S = 1_000_000


def job(*tasks: dict[str, Any], **more: Any) -> JobDefinition:
    full = [
        task if {"python", "script", "job", "wait", "http"} & set(task) else {"command": ["true"], **task}
        for task in tasks
    ]
    return msgspec.convert({"name": "job", "tasks": full, **more}, JobDefinition)


def value(data: Any) -> Value:
    text = msgspec.json.encode(data)
    return Value(len(text), "inline", text, "", False, len(data) if isinstance(data, list) else -1)


class Mill:
    def __init__(self, definition: JobDefinition, *, room: int = 1000, offers: list[Offer] | None = None) -> None:
        self.graph = compile_job(definition)
        self.offers = offers if offers is not None else ([Offer(1, 7, room, slots=room)] if room else [])
        self.runs: dict[int, RunCell] = {}
        self.tasks: dict[Any, TaskCell] = {}
        self.inputs: dict[int, RunInput] = {}
        self.values: dict[Any, Value] = {}
        self.dispatches: deque[Dispatch] = deque()
        self.stops: list[StopAttempt] = []
        self.alarms: list[Alarm] = []
        self.tells: list[Any] = []
        self.facts: list[Any] = []
        self.now = 1_000 * S
        self.dice = 0.5
        self.waiting: frozenset[int] = frozenset()
        self.steps = 0
        self.moves: set[tuple[Any, Any]] = set()

    # the ledger's part

    def ask(self, *changes: Change) -> list[Step | Exception]:
        """One group: the changes, each with its own answer, then what follows from them in further groups."""
        answers, follows = self._group(list(changes))
        while follows:
            _, follows = self._group(follows)
        return answers

    def one(self, change: Change) -> Step:
        answer = self.ask(change)[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _group(self, changes: list[Change]) -> tuple[list[Step | Exception], list[Change]]:
        working = self._working()
        for change in changes:
            self._load(working, change)
        answers: list[Step | Exception] = []
        follows: list[Change] = []
        for change in changes:
            before = (dict(working.runs), dict(working.tasks), dict(working.values), [o.free for o in self.offers])
            try:
                decided = step(self.graph, working, change, self.now, self.dice)
            except Exception as error:
                assert before == (working.runs, working.tasks, working.values, [o.free for o in self.offers])
                answers.append(error)
                continue
            self._check(working, change, decided)
            apply(working, decided)
            self._write(change, decided)
            answers.append(decided)
            follows.extend(command.change for command in decided.commands if isinstance(command, Follow))
        return answers, follows

    def _working(self) -> Working:
        return Working(offers=self.offers, waiting=self.waiting)

    def _load(self, working: Working, change: Change) -> None:
        run = self.runs.get(change.run)
        keys = reach(self.graph, run, change)
        if run is not None:
            working.runs[run.run] = run
        self._load_keys(working, keys, change.run)

    def _load_keys(self, working: Working, keys: Keys, run: int) -> None:
        if keys.input and run in self.inputs:
            working.inputs[run] = self.inputs[run]
        if keys.members:
            rows = sorted(key for key in self.tasks if key[0] == run and key[1:] > keys.members_after)
            working.members[run] = rows[: keys.members_max]
        for key in (*keys.tasks, *working.members.get(run, ())):
            if key in self.tasks:
                working.tasks[key] = self.tasks[key]
        for key in keys.values:
            if (found := self._raw(key)) is not None:
                working.values[key] = found
        for key in keys.gather:
            cell = self.tasks[key]
            total = cell.counts.total if cell.counts else 0
            rows = [self.tasks[key[0], key[1], i] for i in range(total) if (key[0], key[1], i) in self.tasks]
            working.values[key] = group_result([(row, self._raw(row.key)) for row in rows], total)
        if keys.items and self._raw(keys.items[0]) is not None:
            source, first, most = keys.items
            working.items[source, first] = self._value(source)[first : first + most]

    def _raw(self, key: Any) -> Value | None:
        cell = self.tasks.get(key)
        if cell is None or cell.result is None:
            return None
        return cell.result if cell.result.data is not None else self.values[key]

    def _value(self, key: Any) -> Any:
        raw = self._raw(key)
        return None if raw is None else decoded(raw)

    def _check(self, working: Working, change: Change, decided: Step) -> None:
        self.steps += 1
        for cell in decided.tasks:
            old = working.tasks.get(cell.key)
            assert old is not None or cell.key not in self.tasks, "a cell was made that reach had not named"
            assert cell.version == (old.version + 1 if old else 1)
            if old is not None:
                assert allowed(old.state, cell.state), (old.state, cell.state, change)
                if old.counts is not None or cell.counts is not None:
                    assert old.state is cell.state or (old.state, cell.state) in GROUP_MOVES, (old, cell, change)
                assert cell.epoch >= old.epoch
                self.moves.add((old.state, cell.state))
        if decided.run is not None:
            old_run = working.runs.get(decided.run.run)
            assert decided.run.version == (old_run.version + 1 if old_run else 1)
            if old_run is not None:
                assert allowed(old_run.state, decided.run.state)
                self.moves.add((old_run.state, decided.run.state))
            if decided.run.state is not RunState.abandoned:
                assert (decided.run.state in RUN_FINAL) == (decided.run.left + decided.run.finals == 0)

    def _write(self, change: Change, decided: Step) -> None:
        if isinstance(change, Submit):
            self.inputs[change.run] = change.input
        if decided.run is not None:
            self.runs[decided.run.run] = decided.run
        for cell in decided.tasks:
            self.tasks[cell.key] = cell
        self.values.update(dict(decided.values))
        self.facts.extend(decided.facts)
        for command in decided.commands:
            if isinstance(command, Dispatch):
                self.dispatches.append(command)
            elif isinstance(command, StopAttempt):
                self.stops.append(command)
            elif isinstance(command, Alarm):
                self.alarms.append(command)
            elif isinstance(command, Tell):
                self.tells.append(command.message)

    # what tests ask

    def submit(self, run: int = 1, *, priority: int = 0, job_name: str | None = "job", **params: Any) -> Step:
        text = msgspec.json.encode(params)
        return self.one(Submit(RunInput(run, 1, job_name, 1, self.now, text, priority=priority)))

    def take(self) -> Dispatch:
        return self.dispatches.popleft()

    def outcome(self, order: Dispatch, kind: str = "succeeded", result: Any = None, **more: Any) -> Settle:
        run, no, index = order.key
        kept = value(result) if result is not None else None
        more = {"exit_status": "0" if kind == "succeeded" else "1", "digest": kind.encode() * 2, **more}
        times = {"started_at": self.now, "ended_at": self.now}
        return Settle(run, no, index, order.epoch, OutcomeKind(kind), **times, result=kept, **more)

    def settle(self, order: Dispatch, kind: str = "succeeded", result: Any = None, **more: Any) -> Step:
        for offer in self.offers:
            if offer.agent == order.agent:
                offer.free += 1
        return self.one(self.outcome(order, kind, result, **more))

    def child_ends(self, start: Any, kind: str = "succeeded", result: Any = None, **more: Any) -> Step:
        """What the outbox loop makes of the end of a child."""
        kept = value(result) if result is not None else None
        key = (start.run, start.no, start.index, start.epoch)
        return self.one(Settle(*key, OutcomeKind(kind), self.now, self.now, result=kept, **more))

    def play(self, work: Any = None) -> None:
        """Do all work there is; ``work(name, dispatch)`` gives (kind, result) or fields; time passes when nothing runs."""
        while True:
            while self.dispatches:
                order = self.take()
                said = work(self.graph.nodes[order.key[1]].name, order) if work else "succeeded"
                said = said if isinstance(said, tuple) else (said, None)
                self.settle(order, said[0], said[1], **(said[2] if len(said) > 2 else {}))
            if not (self.claim_all() or self.wake_next()):
                return

    def claim_all(self) -> bool:
        ready = [cell for cell in self.tasks.values() if cell.state == TaskState.ready]
        for cell in sorted(ready, key=lambda cell: cell.rank):
            self.one(Claim(*cell.key))
        return bool(self.dispatches)

    def wake_next(self) -> bool:
        due = [(cell.due_at, *cell.key) for cell in self.tasks.values() if cell.due_at and cell.state not in TASK_FINAL]
        if not due:
            return False
        at, run, no, index = min(due)
        self.now = max(self.now, at)
        self.one(Wake(run, no, index))
        return True

    def at(self, name: str, index: int = WHOLE, run: int = 1) -> TaskCell:
        return self.tasks[run, self.graph.by_name[name], index]

    def states(self, run: int = 1) -> dict[str, str]:
        return {node.name: self.tasks[run, node.no, WHOLE].state.name for node in self.graph.nodes}

    def run(self, run: int = 1) -> RunCell:
        return self.runs[run]

    def result(self, run: int = 1) -> Any:
        working = Working()
        self._load_keys(working, result_keys(self.graph, run), run)
        return run_result(self.graph, working, self.runs[run])


__all__ = [
    "RUN_ITSELF", "WHOLE", "Cancel", "Claim", "Lose", "Mill", "Offer", "RunState", "S", "Started", "Submit", "TaskState",
    "Wake", "job", "value",
]  # fmt: skip
