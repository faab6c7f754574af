"""One step while it is being decided: new images over the working set, which stays untouched until the end.

Pure and private to core: made by ``core.stepping`` per change, thrown away after it. Only ``finish`` touches anything
outside: it takes the places that were claimed from their offers, as the step's last act.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from headrace.core.limits import left_gate, released, waits_at_gate
from headrace.core.nodes import Graph, Node, Reads
from headrace.core.work import Alarm, Command, Ended, Follow, Freed, Step, Tell, Working
from headrace.model.cells import INLINE_MAX, RunCell, RunMore, TaskCell, Value
from headrace.model.changes import Wake
from headrace.model.facts import AnyFact, RunChanged, RunEnded
from headrace.model.ids import RUN_ITSELF, WHOLE, TaskKey
from headrace.model.limits import LimitKey
from headrace.model.messages import ChildEnded
from headrace.model.states import RUN_FINAL, RunState, StopIntent

SWEPT_BY = frozenset({StopIntent.cancel, StopIntent.timeout, StopIntent.stop, StopIntent.abandon})
"""Intents under which what never began ends ``canceled`` by the sweep."""

BY_WISH = frozenset({StopIntent.cancel, StopIntent.timeout, StopIntent.abandon})
"""Intents under which nothing waits for a person any more."""

_INDEX_BITS = 24
_HOLDING = 7
"""In the name of a page, where an intent would stand: a page of the sweep that follows a pause or a resume."""


class Draft:
    """New images, facts and commands of one step."""

    __slots__ = (
        "brought",
        "commands",
        "dice",
        "facts",
        "fresh",
        "given",
        "graph",
        "now",
        "run",
        "run_changed",
        "taken",
        "tasks",
        "ticks",
        "values",
        "working",
    )

    def __init__(self, graph: Graph, working: Working, run: RunCell, now: int, dice: float) -> None:
        self.graph = graph
        self.working = working
        self.now = now
        self.dice = dice
        self.run = run
        self.run_changed = False
        self.given = working.inputs.get(run.run)
        """What the run was given, if it was loaded."""
        self.tasks: dict[TaskKey, TaskCell] = {}
        self.facts: list[AnyFact] = []
        self.commands: list[Command] = []
        self.values: list[tuple[TaskKey, Value]] = []
        self.taken: dict[int, int] = {}
        self.ticks: dict[LimitKey, int] = {}
        self.brought: dict[TaskKey, Value] = {}
        self.fresh: dict[TaskKey, Any] = {}
        """Decoded values of this step and of cells, so that each text is decoded once."""

    def task(self, no: int, index: int = WHOLE) -> TaskCell | None:
        """The newest image of a task of this run, if it was loaded."""
        key = (self.run.run, no, index)
        return self.tasks.get(key) or self.working.tasks.get(key)

    def put(self, cell: TaskCell) -> None:
        """A new cell."""
        self.tasks[(cell.run, cell.no, cell.index)] = cell

    def change(self, cell: TaskCell, **fields: Any) -> TaskCell:
        """A changed cell; its version rises by one per step, however often it changes."""
        key = (cell.run, cell.no, cell.index)
        if key not in self.tasks:
            fields["version"] = cell.version + 1
        changed = replace(cell, **fields)
        self.tasks[key] = changed
        return changed

    def change_run(self, **fields: Any) -> None:
        """The run with other fields; its version rises by one per step."""
        if not self.run_changed:
            self.run_changed = True
            fields["version"] = self.run.version + 1
        self.run = replace(self.run, **fields)

    def more(self, **fields: Any) -> None:
        """The run with other fields among those that only some runs have."""
        more = replace(self.run.more or RunMore(), **fields)
        self.change_run(more=None if more == RunMore() else more)

    def held(self, count: int) -> None:
        """So many more (fewer) tasks wait for a person after lost attempts."""
        self.more(held=count + (self.run.more.held if self.run.more is not None else 0))

    def begun(self, at: int) -> None:
        """Some work of the run has started at ``at``: the first time, the run is running from then on."""
        if self.run.started_at == 0:
            if self.run.state == RunState.queued:
                self.change_run(state=RunState.running, started_at=at)
                self.facts.append(RunChanged(state=RunState.running))
            else:
                self.change_run(started_at=at)
            if self.run.more is not None and self.run.more.expires_at:
                self.more(expires_at=0)

    def owe(self, cell: TaskCell, at: int, **fields: Any) -> TaskCell:
        """The cell is owed a ``Wake`` at ``at``; one that is due now follows in this commit if the bounds allow."""
        changed = self.change(cell, due_at=at, **fields)
        if at <= self.now:
            self.commands.append(Follow(Wake(cell.run, cell.no, cell.index)))
        else:
            self.commands.append(Alarm((cell.run, cell.no, cell.index), at))
        return changed

    def owe_run(self, **fields: Any) -> None:
        """The run is owed a ``Wake`` now."""
        self.change_run(due_at=self.now, **fields)
        self.commands.append(Follow(Wake(self.run.run, first=token_of(self.run))))

    def rest(self, **fields: Any) -> None:
        """A page is done: the next one that is owed, or the instant at which the run is looked at again."""
        self.change_run(**fields)
        if is_swept(self.run):
            self.owe_run()
        else:
            self.wait(next_due(self.run))

    def wait(self, due: int) -> None:
        """The run is looked at again at this instant; never, if 0."""
        self.change_run(due_at=due)
        if due:
            self.commands.append(Alarm((self.run.run, RUN_ITSELF, WHOLE), due))

    def keep(self, key: TaskKey, value: Value | None) -> Value | None:
        """The image of a value in a cell; one over 1 KiB is written aside."""
        if value is None or value.place != "inline" or value.size <= INLINE_MAX:
            return value
        self.values.append((key, Value(value.size, "aside", value.data, "", value.lines, value.count)))
        return Value(value.size, "aside", None, "", value.lines, value.count)

    def working_result(self, key: TaskKey, value: Value) -> None:
        """A result that this step brings, for those that become ready by it."""
        self.brought[key] = value

    def at_hand(self, reads: Reads) -> bool:
        """Whether everything that rendering looks at is here."""
        if reads.input and self.given is None:
            return False
        if any(self.task(no) is None for no in reads.cells):
            return False
        if not all(self.has_value(no) for no in reads.values):
            return False
        return all((self.run.run, no, WHOLE) in self.working.values for no in reads.gathers)

    def has_value(self, no: int) -> bool:
        """Whether the result of a task is here, or is known not to exist."""
        cell = self.task(no)
        if cell is None or cell.result is None:
            return cell is not None
        key = cell.key
        return cell.result.data is not None or key in self.brought or key in self.working.values

    def value(self, no: int) -> Any:
        """The decoded result of a task that ``has_value``; None without one."""
        key = (self.run.run, no, WHOLE)
        if key in self.fresh:
            return self.fresh[key]
        cell = self.task(no)
        if cell is None:
            return None
        if self.graph.nodes[no].each is not None:
            return self.working.values.get(key)
        if cell.result is None:
            return None
        found: Any = cell.result
        if cell.result.data is None:
            found = self.brought.get(key) or self.working.values.get(key)
        self.fresh[key] = found = decoded(found)
        return found

    def node(self, cell: TaskCell) -> Node:
        """The compiled task of a cell."""
        return self.graph.nodes[cell.no]

    def finish(self) -> Step:
        """The step. Takes what was claimed from its offers."""
        run = self.run
        if run.left == 0 and self.run_changed and run.state not in RUN_FINAL and not (run.more and run.more.begin_at):
            self._close_run()
        self._give_back()
        step = Step(
            self.run if self.run_changed else None,
            tuple(self.tasks.values()),
            tuple(self.facts),
            tuple(self.commands),
            tuple(self.values),
            tuple(self.ticks.items()),
        )
        for place, count in self.taken.items():
            self.working.offers[place].free -= count
        return step

    def tell_parent(self) -> None:
        """The run has ended: whose work it is, is told."""
        more = self.run.more
        if more is not None and (parent := more.parent) is not None:
            key = (parent.run, parent.no, parent.index, parent.epoch)
            self.commands.append(Tell(ChildEnded(*key, self.run.run)))

    def _give_back(self) -> None:
        """Tell what this step gives back of limits, so that those who wait look again."""
        freed: list[LimitKey] = []
        for key, cell in self.tasks.items():
            if cell.more is not None:
                freed.extend(released(self.working.tasks.get(key), cell))
        run = self.run
        if run.more is not None and self.run_changed and (waits_at_gate(run) or left_gate(run)):
            freed.append((run.more.gate, run.more.key))
        if freed:
            self.commands.append(Freed(tuple(dict.fromkeys(freed))))

    def _close_run(self) -> None:
        """All ordinary tasks have ended: open the gate of the ``finally`` tasks, or end the run."""
        run = self.run
        if run.finals == 0:
            state = end_state(run)
            self.change_run(state=state, ended_at=self.now, due_at=0, cursor=-1, reason=run.reason)
            self.facts.append(RunEnded(state=state, exit_status=run.exit_status, reason=run.reason))
            self.commands.append(Ended(run.run))
            self.tell_parent()
        elif not run.gate and (run.more is None or not run.more.waiting):
            self.owe_run(cursor=0, gate=True)


def token_of(run: RunCell) -> int:
    """Names the page that a run's ``Wake`` is about, so that one loaded for another page is seen to be."""
    if run.cursor < 0 and run.more is not None and run.more.hold >= 0:
        return (run.more.hold << 4 | _HOLDING << 1) + 1
    return (run.cursor << 4 | run.intent << 1 | run.gate) + 1


def is_swept(run: RunCell) -> bool:
    """Whether some sweep over the run's rows is on its way."""
    return run.cursor >= 0 or (run.more is not None and run.more.hold >= 0)


def next_due(run: RunCell) -> int:
    """When a run without a sweep is owed a ``Wake``; 0 for never."""
    if run.state in RUN_FINAL or run.intent in (SWEPT_BY if run.gate else BY_WISH):
        return 0
    if run.more is None or run.intent != StopIntent.none:
        return run.deadline_at
    return min((at for at in (run.deadline_at, run.more.begin_at, run.more.expires_at) if at), default=0)


def cursor_of(no: int, index: int) -> int:
    """The place of a task row in a sweep, as the run cell keeps it; 0 is before all."""
    return no << _INDEX_BITS | index + 2


def place_of(cursor: int) -> tuple[int, int]:
    """(no, index) of a cursor."""
    return cursor >> _INDEX_BITS, (cursor & (1 << _INDEX_BITS) - 1) - 2


def page_of(token: int) -> tuple[int, bool]:
    """(cursor, gate) of a token."""
    return token - 1 >> 4, bool(token - 1 & 1)


def end_state(run: RunCell) -> RunState:
    """The final state of a run whose tasks have all ended."""
    if run.intent == StopIntent.timeout or run.failed:
        return RunState.failed
    if run.intent == StopIntent.stop or run.canceled:
        return RunState.canceled
    return RunState.succeeded


def decoded(found: Any) -> Any:
    """A value as Python data; one item a line makes a list."""
    if not isinstance(found, Value):
        return found
    data = found.data or b"null"
    return (
        [msgspec.json.decode(line) for line in data.splitlines() if line] if found.lines else msgspec.json.decode(data)
    )
