"""What a decided step means for a group of changes: the working set after it, the rows to write, what is to follow.

Decides nothing and never asks the store. Made and called by ``control.group`` only, one per commit.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, structs

from headrace.control.changes.result import Result
from headrace.control.failures import Bad, is_bad
from headrace.control.graphs import Known
from headrace.control.loading import Loader
from headrace.control.recording import Mark, Recorder
from headrace.core.classes import base_of
from headrace.core.limits import account, account_run
from headrace.core.stepping import apply
from headrace.core.work import Command, Dispatch, Follow, Step, Tell, Waits, Working
from headrace.model.cells import RunCell
from headrace.model.changes import Change, Origin, Submit
from headrace.model.states import RunState, TaskState

Done = tuple[Step, RunCell | None, list[Any]]
"""A step that was taken, the run before it, and what stood where its tasks stand now."""


class Taken(Struct, frozen=True):
    """How much had been taken at a moment."""

    recorded: Mark
    commands: int
    bad: int
    follows: dict[Origin, int]


class Taker:
    """``commands`` are to be handed on after the commit; ``follows`` are to be decided next; ``bad`` ended badly."""

    def __init__(self, working: Working, loader: Loader, recorder: Recorder) -> None:
        self.commands: list[Command] = []
        self.follows: dict[Origin, list[Change]] = {}
        self.bad: list[Bad] = []
        self._working = working
        self._loader = loader
        self._recorder = recorder

    def mark(self) -> Taken:
        """For ``forget``."""
        follows = {who: len(changes) for who, changes in self.follows.items()}
        return Taken(self._recorder.mark(), len(self.commands), len(self.bad), follows)

    def forget(self, mark: Taken, done: list[Done]) -> None:
        """None of these steps was taken, and nothing after the mark was recorded."""
        self._undo(done)
        self._recorder.forget(mark.recorded)
        del self.commands[mark.commands :], self.bad[mark.bad :]
        self.follows = {who: self.follows[who][:count] for who, count in mark.follows.items()}

    def take(self, known: Known, change: Change, decided: Step, origin: Origin, undo: list[Done] | None) -> Result:
        """Lay a decided step over the working set and write down what it means for the store."""
        if known.one and not decided.values and decided.run is not None and len(decided.tasks) == 1:
            return self._take_one(known, change, decided, decided.run, origin, undo)
        working = self._working
        before = working.runs.get(change.run)
        tasks = decided.tasks
        here = working.tasks
        olds = [here.get((cell.run, cell.no, cell.index)) for cell in tasks]
        if undo is not None:
            undo.append((decided, before, olds))
        if tasks or decided.run is not None or decided.facts:
            decided = self._recorder.step(known, working, change, decided, before, olds, origin)
            apply(working, decided)
            if decided.ticks:
                self._recorder.ticks(decided.ticks)
            if isinstance(change, Submit):
                working.inputs[change.run] = change.input
            elif decided.run is not None and decided.run.ended_at:
                self._loader.over(change.run)
            if None in olds:
                new = self._loader.new_tasks
                new.update([(c.run, c.no, c.index) for c, old in zip(tasks, olds, strict=True) if old is None])
            for fact in decided.facts:
                if is_bad(fact):
                    self._ended_badly(known, change.run, fact)
        self._command(decided, origin)
        return Result(change.run, working.runs.get(change.run), bool(tasks) or decided.run is not None)

    def _take_one(
        self, known: Known, change: Change, decided: Step, run: RunCell, origin: Origin, undo: list[Done] | None
    ) -> Result:
        """The same for a run of one task of which both cells have moved: most steps are of this kind."""
        working = self._working
        task = decided.tasks[0]
        key = (task.run, task.no, task.index)
        old = working.tasks.get(key)
        if undo is not None:
            undo.append((decided, working.runs.get(run.run), [old]))
        self._recorder.one(change, decided, run, task, old, origin)
        if task.more is not None or run.more is not None:
            apply(working, decided)
            self._recorder.ticks(decided.ticks)
        working.runs[run.run] = run
        working.tasks[key] = task
        if old is None:
            self._loader.new_tasks.add(key)
        if isinstance(change, Submit):
            working.inputs[run.run] = change.input
        elif run.ended_at:
            self._loader.over(run.run)
        if (run.ended_at and run.state is not RunState.succeeded) or task.state is TaskState.retrying:
            for fact in decided.facts:
                if is_bad(fact):
                    self._ended_badly(known, run.run, fact)
        self._command(decided, origin)
        return Result(run.run, run, True)

    def page(self, decided: Step, origin: Origin) -> None:
        """The same for instances of one group that have succeeded: no run, no command, nothing that stands aside."""
        self._recorder.page(decided, origin)
        here = self._working.tasks
        for cell in decided.tasks:
            here[cell.run, cell.no, cell.index] = cell

    def _ended_badly(self, known: Known, run: int, fact: Any) -> None:
        """To be told after the commit."""
        working = self._working
        self.bad.append(Bad(known, working.runs[run], fact, working.tasks.get((run, fact.no, fact.index))))

    def _command(self, decided: Step, origin: Origin) -> None:
        for command in decided.commands:
            if isinstance(command, Waits) and command.placement is not None:
                self._recorder.klass(base_of(command.klass), command.placement)
            if isinstance(command, Follow):
                self.follows.setdefault(origin, []).append(command.change)
            else:
                self.commands.append(command)
                if isinstance(command, Tell):
                    self._recorder.tell(command.message)

    def _undo(self, done: list[Done]) -> None:
        working = self._working
        for decided, before, olds in reversed(done):
            for cell, old in zip(decided.tasks, olds, strict=True):
                if cell.more is not None:
                    account(working, cell, old or structs.replace(cell, state=TaskState.blocked))
                if old is None:
                    working.tasks.pop(cell.key, None)
                    self._loader.new_tasks.discard(cell.key)
                else:
                    working.tasks[cell.key] = old
            if decided.run is not None:
                if decided.run.more is not None:
                    account_run(working, decided.run, before or structs.replace(decided.run, state=RunState.canceled))
                if before is None:
                    working.runs.pop(decided.run.run, None)
                    working.inputs.pop(decided.run.run, None)
                    working.params.pop(decided.run.run, None)
                else:
                    working.runs[before.run] = before
            for key, _ in decided.values:
                working.values.pop(key, None)
            self._give_back(decided)

    def _give_back(self, decided: Step) -> None:
        for command in decided.commands:
            if isinstance(command, Dispatch):
                for offer in self._working.offers:
                    if (offer.agent, offer.boot) == (command.agent, command.boot):
                        offer.free += 1
                        break
