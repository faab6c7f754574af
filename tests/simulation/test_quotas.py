"""What the history checker says of limits and job gates, by made-up histories: each rule goes red by itself."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.model.cells import RunCell, TaskCell, TaskMore
from headrace.model.definition import Concurrency, JobDefinition, Task
from headrace.model.facts import AnyFact, RunEnded, TaskDispatched
from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.model.limits import Limit
from headrace.model.states import RunState, TaskState
from headrace.store.rows import HistoryRow
from headrace.testing.sim.quotas import Committed, Given, Quotas

S = 1_000_000
TASK = Task(name="t", command=["true"], limits={"desk": 1})


def world(task: Task = TASK, rule: Any = msgspec.UNSET, who: str = "") -> Quotas:
    given = Given(JobDefinition(name="j", tasks=[task], concurrency=rule), {"who": who} if who else {})
    return Quotas(dict.fromkeys(range(1, 20), given))


def begins(run: int, *, at: int = 0, name: str = "desk", key: str = "", units: int = 1) -> HistoryRow:
    cell = TaskCell(run, 0, WHOLE, TaskState.dispatched, more=TaskMore(((name, key, units),)))
    return HistoryRow(run, 0, WHOLE, 1, at, 1, (TaskDispatched(0),), None, cell)


def ends(run: int, *, at: int = 0, state: RunState = RunState.succeeded, reason: str | None = None) -> HistoryRow:
    facts: tuple[AnyFact, ...] = (RunEnded(state=state, reason=reason),)
    cell = TaskCell(run, 0, WHOLE, TaskState.succeeded, more=TaskMore((("desk", "", 1),)))
    return HistoryRow(run, RUN_ITSELF, WHOLE, 2, at, 1, facts, RunCell(run, 1, state), cell)


def put(quotas: Quotas, limit: Limit | None, name: str = "desk") -> None:
    quotas.committed(Committed(limits=[(name, limit)]))


def give(quotas: Quotas, *rows: HistoryRow, limit: Limit | None = None) -> list[str]:
    quotas.committed(Committed(rows, [] if limit is None else [("desk", limit)]))
    return quotas.broken


def test_no_more_units_are_out_than_there_are() -> None:
    quotas = world()
    put(quotas, Limit(slots=1))
    assert give(quotas, begins(1)) == []
    assert give(quotas, ends(1), begins(2)) == [], "what a commit gives back is free for what it gives out"
    (text,) = give(quotas, begins(3))
    assert text.startswith("2 units of limit desk for '' are out, 1 may be")


def test_a_smaller_number_counts_for_what_begins_after_it() -> None:
    quotas = world()
    put(quotas, Limit(slots=3))
    give(quotas, begins(1), begins(2))
    put(quotas, Limit(slots=2))
    assert quotas.broken == [], "what is out stays out"
    assert give(quotas, begins(3)) != []


def test_where_one_commit_changes_the_limit_and_gives_work_out_either_order_is_good() -> None:
    quotas = world()
    put(quotas, Limit(slots=1))
    assert give(quotas, begins(1), limit=Limit(slots=1, paused=True)) == []
    assert give(quotas, begins(2), limit=Limit(slots=2)) == []
    assert give(quotas, begins(3), limit=Limit(slots=2)) != []


def test_nothing_begins_under_a_pause_or_a_limit_that_is_not_there() -> None:
    quotas = world()
    assert "is not there" in give(quotas, begins(1))[0]
    put(quotas, Limit(slots=9, paused=True))
    assert "is paused" in give(quotas, begins(2))[1]
    put(quotas, None)
    assert "is not there" in give(quotas, begins(3))[2]


def test_each_value_of_a_key_counts_apart_and_no_other_key_is_taken() -> None:
    quotas = world(who="ann")
    put(quotas, Limit(slots=1, key="${params.who}"))
    assert give(quotas, begins(1, key="ann")) == []
    assert "is counted by another key" in give(quotas, begins(2, key="bob"))[0]


def test_an_attempt_takes_what_its_task_asks_for() -> None:
    quotas = world()
    put(quotas, Limit(slots=9))
    assert "was to take {'desk': 1}" in give(quotas, begins(1, units=2))[0]


def test_starts_are_no_more_than_burst_and_rate_allow_in_any_window() -> None:
    quotas = world()
    put(quotas, Limit(rate="2/1s", burst=2))
    assert give(quotas, begins(1, at=0), begins(2, at=0), begins(3, at=S // 2), begins(4, at=S)) == []
    assert "beyond 2/1s with a burst of 2" in give(quotas, begins(5, at=S + 1000))[0]


def test_another_rate_begins_anew_and_the_same_one_does_not() -> None:
    quotas = world()
    put(quotas, Limit(rate="2/1s", burst=1))
    give(quotas, begins(1))
    put(quotas, Limit(rate="3/1s", burst=1))
    assert give(quotas, begins(2)) == []
    put(quotas, Limit(slots=9, rate="3/1s", burst=1))
    assert give(quotas, begins(3)) != []


def test_no_more_runs_of_a_job_are_there_at_once_than_it_says() -> None:
    quotas = world(rule=Concurrency(max=1))
    put(quotas, Limit(slots=9))
    assert give(quotas, begins(1)) == []
    assert give(quotas, begins(2), ends(1)) == []
    assert "are there at once, 1 may be" in give(quotas, begins(3))[0]


def test_nobody_is_skipped_for_nothing() -> None:
    quotas = world(rule=Concurrency(max=1, when_full="skip"))
    put(quotas, Limit(slots=9))
    give(quotas, begins(1))
    assert give(quotas, ends(2, state=RunState.canceled, reason="skipped: run 1 is there")) == []
    give(quotas, ends(1))
    assert "was skipped" in give(quotas, ends(3, state=RunState.canceled, reason="skipped: run 1 is there"))[0]


def test_what_is_held_at_the_end_has_leaked() -> None:
    quotas = world(rule=Concurrency())
    put(quotas, Limit(slots=1))
    give(quotas, begins(1))
    quotas.ended()
    assert len(quotas.broken) == 2
