"""What a group's steps mean for the store: changed cells, history, values, attempts, commits: one batch.

Decides nothing and does no IO. Called by ``control.group`` only, once per decided step: this is hot.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct, structs

from headrace.control.changes.named import Decided
from headrace.control.graphs import Known
from headrace.core.nodes import Placement
from headrace.core.work import Step, Working
from headrace.model.cells import ASIDE_MAX, RunCell, RunInput, TaskCell, Value
from headrace.model.changes import Change, Lose, Origin, OutcomeKind, Settle, Started, Submit
from headrace.model.facts import AnyFact, OutcomeRejected
from headrace.model.ids import RUN_ITSELF, WHOLE, TaskKey
from headrace.model.limits import LimitKey
from headrace.model.messages import CHILD, AnyMessage
from headrace.model.states import TASK_FINAL, TASK_LEASED, TaskState
from headrace.store.images import encode_message
from headrace.store.rows import (
    Answer,
    ArtifactRow,
    AttemptRow,
    Batch,
    ChildRow,
    CommitRow,
    Entity,
    HistoryRow,
    LogSegment,
    NewRun,
    OutboxRow,
    UseKey,
)

ROW_SIZE = 250
"""Bytes that a row is reckoned with in the bound of a commit."""

_encode_class = msgspec.msgpack.Encoder().encode

WHY_MAX = 500


class Mark(Struct, frozen=True):
    """How much had been recorded at a moment."""

    lengths: tuple[int, ...]
    rows: int
    size: int


class Recorder:
    """Gathers a batch. ``commit`` is the first of the commit numbers it may use, one per origin."""

    def __init__(self, *, now: int, node: int, commit: int) -> None:
        self.rows = 0
        self.size = 0
        self.now = now
        self._node = node
        self._next = commit
        self._commits: dict[Origin, int] = {}
        self._new_runs: dict[int, RunInput] = {}
        self._runs: dict[int, None] = {}
        self._new_tasks: dict[TaskKey, None] = {}
        self._tasks: dict[TaskKey, None] = {}
        self._values: dict[TaskKey, Value] = {}
        self._history: list[HistoryRow] = []
        self._attempts: list[AttemptRow] = []
        self._outbox: list[OutboxRow] = []
        self._children: list[ChildRow] = []
        self._given_back: list[UseKey] = []
        self._entities: dict[tuple[str, str, int], Entity] = {}
        self._artifacts: dict[tuple[int, int, int, str], ArtifactRow] = {}
        self._out = Batch(now)

    def mark(self) -> Mark:
        """For ``forget``."""
        return Mark(tuple(len(part) for part in self._parts()), self.rows, self.size)

    def forget(self, mark: Mark) -> None:
        """Nothing after the mark was recorded."""
        for part, length in zip(self._parts(), mark.lengths, strict=True):
            while len(part) > length:
                if isinstance(part, dict):
                    part.popitem()
                else:
                    part.pop()
        self.rows, self.size = mark.rows, mark.size

    def _parts(
        self,
    ) -> tuple[
        dict[int, RunInput]
        | dict[int, None]
        | dict[TaskKey, None]
        | dict[TaskKey, Value]
        | list[HistoryRow]
        | list[AttemptRow]
        | list[OutboxRow]
        | list[ChildRow]
        | list[UseKey],
        ...,
    ]:
        return (
            self._new_runs, self._runs, self._new_tasks, self._tasks, self._values, self._history, self._attempts,
            self._outbox, self._children, self._given_back,
        )  # fmt: skip

    def step(
        self,
        known: Known,
        working: Working,
        change: Change,
        decided: Step,
        before: RunCell | None,
        olds: Sequence[TaskCell | None],
        origin: Origin,
    ) -> Step:
        """Record a step; gives it as it is to be applied (a run of one task is one entity: its version is the run's)."""
        commit = self._commits.get(origin) or self._commit(origin)
        if known.one and decided.run is None and before is not None:
            decided = structs.replace(decided, run=structs.replace(before, version=before.version + 1))
        if decided.values:
            decided = self._keep_values(decided)
        run = decided.run
        if isinstance(change, Submit):
            self._new_runs[change.run] = change.input
            self.size += len(change.input.params)
            if change.input.more is not None:
                self._child(change.input)
        elif run is not None and run.run not in self._new_runs:
            self._runs[run.run] = None
        for cell, old in zip(decided.tasks, olds, strict=True):
            key = (cell.run, cell.no, cell.index)
            if old is None:
                self._new_tasks[key] = None
            elif key not in self._new_tasks:
                self._tasks[key] = None
            if old is not None and old.counts is None and old.state in TASK_LEASED and cell.state not in TASK_FINAL:
                self._attempt(change, old, cell)
        if known.one and run is not None:
            task = decided.tasks[0] if decided.tasks else working.tasks.get((run.run, 0, WHOLE))
            self._history.append(
                HistoryRow(run.run, RUN_ITSELF, WHOLE, run.version, self.now, commit, decided.facts, run, task)
            )
            self.rows += 3
            self.size += ROW_SIZE * 3
        else:
            self._many(change.run, decided, commit)
        return decided

    def one(
        self, change: Change, decided: Step, run: RunCell, task: TaskCell, old: TaskCell | None, origin: Origin
    ) -> None:
        """The same as ``step`` for a run of one task of which both cells have moved, without values aside."""
        commit = self._commits.get(origin) or self._commit(origin)
        key = (task.run, task.no, task.index)
        if isinstance(change, Submit):
            self._new_runs[change.run] = change.input
            self.size += len(change.input.params)
            if change.input.more is not None:
                self._child(change.input)
        elif run.run not in self._new_runs:
            self._runs[run.run] = None
        if old is None:
            self._new_tasks[key] = None
        else:
            if key not in self._new_tasks:
                self._tasks[key] = None
            if old.state in TASK_LEASED and task.state not in TASK_FINAL and old.counts is None:
                self._attempt(change, old, task)
        self._history.append(
            HistoryRow(run.run, RUN_ITSELF, WHOLE, run.version, self.now, commit, decided.facts, run, task)
        )
        self.rows += 3
        self.size += ROW_SIZE * 3

    def page(self, decided: Step, origin: Origin) -> None:
        """The same for instances of one group: each cell with the fact in its place, behind them the group's without."""
        commit = self._commits.get(origin) or self._commit(origin)
        new, moved, history, at = self._new_tasks, self._tasks, self._history, self.now
        told: list[tuple[AnyFact, ...]] = [(fact,) for fact in decided.facts]
        for cell, facts in zip(decided.tasks, [*told, ()], strict=True):
            key = (cell.run, cell.no, cell.index)
            if key not in new:
                moved[key] = None
            history.append(HistoryRow(cell.run, cell.no, cell.index, cell.version, at, commit, facts, None, cell))
        self.rows += 2 * len(decided.tasks)
        self.size += 2 * ROW_SIZE * len(decided.tasks)

    def reject(self, working: Working, change: Settle | Started, run: RunCell, why: str, origin: Origin) -> None:
        """An outcome that could not be applied: a fact of its run, and nothing else."""
        commit = self._commits.get(origin) or self._commit(origin)
        fact = OutcomeRejected(change.no, change.index, change.epoch, why[:WHY_MAX])
        marked = structs.replace(run, version=run.version + 1)
        working.runs[run.run] = marked
        if run.run not in self._new_runs:
            self._runs[run.run] = None
        self._history.append(
            HistoryRow(run.run, RUN_ITSELF, WHOLE, marked.version, self.now, commit, (fact,), marked,
                       working.tasks.get((run.run, 0, WHOLE)))
        )  # fmt: skip
        self.rows += 2

    def named(self, decided: Decided, origin: Origin) -> None:
        """What a named change writes."""
        commit = self._commits.get(origin) or self._commit(origin)
        out = self._out
        for entity in decided.entities:
            self._entities[entity.kind, entity.name, entity.version] = structs.replace(entity, commit=commit)
        out.documents.extend(decided.documents)
        out.classes.extend(decided.classes)
        self.segments(decided.segments)
        self.artifacts(decided.artifacts)
        out.outbox.extend(decided.outbox)
        out.told.extend(decided.told)
        out.over.extend(decided.over)
        self.rows += 1 + len(decided.told) + len(decided.over) + len(decided.entities)
        self.size += sum(len(document.body) for document in decided.documents)

    def segments(self, rows: Sequence[LogSegment]) -> None:
        """Pieces of logs."""
        self._out.segments.extend(rows)
        self.rows += len(rows)
        self.size += sum(len(segment.data or b"") for segment in rows)

    def cursor(self, entity: Entity) -> None:
        """The row of an agent whose cursor has moved: no history, unless this commit has some of that version."""
        key = (entity.kind, entity.name, entity.version)
        told = self._entities.get(key)
        self._entities[key] = entity if told is None else structs.replace(entity, facts=told.facts, commit=told.commit)
        self.rows += 1

    def artifacts(self, rows: Sequence[ArtifactRow]) -> None:
        """Files that attempts left: one row a file, the last one told."""
        for row in rows:
            self._artifacts[row.run, row.no, row.index, row.path] = row
        self.rows += len(rows)

    def tell(self, message: AnyMessage) -> None:
        """A message to be delivered after the commit."""
        self._outbox.append(OutboxRow(CHILD, str(message.run), encode_message(message), 0))
        self.rows += 1

    def _child(self, given: RunInput) -> None:
        """The row by which a parent's attempt finds its run."""
        if given.more is not None and (parent := given.more.parent) is not None:
            self._children.append(ChildRow(parent.run, parent.no, parent.index, parent.epoch, given.run))

    def told(self, seq: int) -> None:
        """A message was delivered: by this commit."""
        self._out.told.append(seq)
        self.rows += 1

    def klass(self, klass: int, placement: Placement) -> None:
        """A class that is made of a run, so that no document has told it."""
        row = (klass, _encode_class(placement))
        if row not in self._out.classes:
            self._out.classes.append(row)
            self.rows += 1

    def ticks(self, ticks: Sequence[tuple[LimitKey, int]]) -> None:
        """Rates whose instant a start has moved."""
        self._out.ticks.update(ticks)

    def answer(self, answer: Answer) -> None:
        """An answer to give again."""
        self._out.answers.append(answer)
        self.rows += 1
        self.size += len(answer.body)

    def batch(self, working: Working) -> Batch:
        """The newest image of every cell that was touched, and all that goes with them."""
        self._out.at = self.now
        out, runs, tasks = self._out, working.runs, working.tasks
        out.commits = [CommitRow(no, self.now, self._node, o.actor, o.source, o.why) for o, no in self._commits.items()]
        out.new_runs = [NewRun(given, runs[run]) for run, given in self._new_runs.items()]
        out.runs = [runs[run] for run in self._runs]
        out.new_tasks = [tasks[key] for key in self._new_tasks]
        out.tasks = [tasks[key] for key in self._tasks]
        out.history = self._history
        out.values = list(self._values.items())
        out.attempts = self._attempts
        out.outbox.extend(self._outbox)
        out.children = self._children
        out.artifacts = list(self._artifacts.values())
        out.given_back = self._given_back
        out.entities = list(self._entities.values())
        return out

    @property
    def submitted(self) -> int:
        """New runs."""
        return len(self._new_runs)

    @property
    def empty(self) -> bool:
        """Nothing is to be written."""
        return self.rows == 0

    def _commit(self, origin: Origin) -> int:
        number = self._next
        self._next += 1
        self._commits[origin] = number
        self.rows += 1
        return number

    def _many(self, run: int, decided: Step, commit: int) -> None:
        facts: dict[tuple[int, int], list[AnyFact]] = {}
        for fact in decided.facts:
            facts.setdefault((fact.no, fact.index), []).append(fact)
        rows, at = self._history, len(self._history)
        for cell in decided.tasks:
            told = tuple(facts.get((cell.no, cell.index), ()))
            rows.append(HistoryRow(run, cell.no, cell.index, cell.version, self.now, commit, told, None, cell))
        if decided.run is not None:
            told = tuple(facts.get((RUN_ITSELF, WHOLE), ()))
            row = HistoryRow(run, RUN_ITSELF, WHOLE, decided.run.version, self.now, commit, told, decided.run)
            rows.insert(
                len(rows) if decided.run.ended_at else at, row
            )  # events: its end is the last that is told of it
        self.rows += 2 + 2 * len(decided.tasks)
        self.size += ROW_SIZE * (1 + 2 * len(decided.tasks))

    def _keep_values(self, decided: Step) -> Step:
        """Values that stand aside; where result and error of one attempt both would, the error stays in its cell."""
        seen: dict[TaskKey, Value] = {}
        tasks = list(decided.tasks)
        for key, value in decided.values:
            if key in seen:
                inline = structs.replace(value, place="inline")
                tasks = [structs.replace(c, error=inline) if c.key == key else c for c in tasks]
            else:
                seen[key] = value
                self.size += value.size
        self._values.update(seen)
        self.rows += len(seen)
        return structs.replace(decided, tasks=tuple(tasks), values=tuple(seen.items()))

    def _attempt(self, change: Change, old: TaskCell, cell: TaskCell) -> None:
        """An attempt that another one follows keeps what it said, its error in full; what it held is given back."""
        if old.more is not None and cell.state not in TASK_LEASED:
            self._given_back += [(name, key, *old.key) for name, key, _ in old.more.takes]
        if isinstance(change, Lose):
            said = structs.replace(old, state=TaskState.lost, reason=change.reason, ended_at=self.now)
        elif isinstance(change, Settle) and change.kind != OutcomeKind.refused:
            said = structs.replace(
                old,
                state=_said_state(change.kind),
                exit_status=change.exit_status,
                exit_code=change.exit_code,
                signal=change.signal,
                reason=change.reason or ("timeout" if change.kind == OutcomeKind.timeout else None),
                error=_in_full(change.error),
                started_at=change.started_at,
                ended_at=change.ended_at,
                seal=change.seal,
            )
        else:
            return
        self._attempts.append(AttemptRow(old.run, old.no, old.index, old.attempt, said))
        self.rows += 1


def _said_state(kind: OutcomeKind) -> TaskState:
    """An attempt that succeeded is followed by another one where a task is done several times."""
    if kind == OutcomeKind.succeeded:
        return TaskState.succeeded
    return TaskState.lost if kind == OutcomeKind.lost else TaskState.failed


def _in_full(value: Value | None) -> Value | None:
    if value is None or value.data is None or value.size > ASIDE_MAX:
        return value
    return structs.replace(value, place="inline")
