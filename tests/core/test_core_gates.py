"""How many runs of a job there may be at once: who is let in, who waits, who makes room, who is refused."""

from __future__ import annotations

import pytest
from tests.core.counted import Counted
from tests.core.mill import Cancel, RunInput, RunState, S, Submit, TaskState, Wake, job

from headrace.core.draft import token_of
from headrace.core.eligible import may_begin
from headrace.core.explaining import explain
from headrace.core.gates import gate_of
from headrace.core.work import Working
from headrace.model.cells import InputMore
from headrace.model.changes import Admit, Pause
from headrace.model.errors import Invalid, Refused


def gated(when_full="queue", most=1, **more):
    tasks = [{"name": "a"}, {"name": "b", "needs": ["a"]}]
    return Counted(job(*tasks, concurrency={"max": most, "when_full": when_full, **more}))


def admit(mill, run):
    more = mill.runs[run].more
    mill.one(Admit(run, more.gate, more.key))


def sweep(mill, run):
    """Work off what a cancel owes, until the run has ended."""
    while mill.runs[run].cursor >= 0:
        mill.one(Wake(run, first=token_of(mill.runs[run])))


def end(mill, run):
    for _ in range(2):
        order = next(o for o in mill.dispatches if o.key[0] == run)
        mill.dispatches.remove(order)
        mill.settle(order)
    assert mill.runs[run].state is RunState.succeeded


def test_the_next_in_the_queue_is_let_in_when_one_has_ended_and_nobody_overtakes():
    mill = gated()
    for run in (1, 2, 3):
        mill.submit(run)
    assert {o.key[0] for o in mill.dispatches} == {1}
    admit(mill, 2)
    assert mill.run(2).more.waiting, "there is no room yet"
    end(mill, 1)
    assert mill.freed[-1].limits == (("job:job", ""),)
    mill.submit(4)
    assert mill.run(4).more.waiting, "who comes later stands behind who waits"
    admit(mill, 2)
    assert {o.key[0] for o in mill.dispatches} == {2}
    admit(mill, 3)
    assert mill.run(3).more.waiting


def test_a_run_with_more_priority_stands_further_ahead():
    mill = gated()
    mill.submit(1)
    mill.submit(2)
    mill.submit(3, priority=5)
    assert list(mill.gates()["job:job", ""].waiting) == [3, 2]


def test_runs_are_counted_apart_per_key():
    mill = gated(key="${params.day}")
    mill.submit(1, day="mon")
    mill.submit(2, day="tue")
    mill.submit(3, day="mon")
    assert {o.key[0] for o in mill.dispatches} == {1, 2}
    assert mill.run(3).more.key == "mon"


def test_a_key_without_value_is_refused_with_its_place():
    mill = gated(key="${params.day}")
    with pytest.raises(Invalid) as caught:
        gate_of(mill.graph, RunInput(1, 1, "job", 1, mill.now))
    assert caught.value.problems[0].path == "concurrency.key"
    assert gate_of(Counted(job({"name": "a"})).graph, RunInput(1, 1, "job", 1, 0)) is None


def test_refuse_names_the_runs_in_the_way():
    mill = gated("refuse", 2, key="${params.day}")
    mill.submit(1, day="mon")
    mill.submit(2, day="mon")
    with pytest.raises(Refused, match="job job for mon runs at most 2 at once, and run 1, 2 are in the way"):
        mill.submit(3, day="mon")
    assert 3 not in mill.runs


def test_skip_records_a_run_that_never_begins():
    mill = gated("skip")
    mill.submit(1)
    mill.submit(2)
    run = mill.run(2)
    assert run.state is RunState.canceled
    assert run.reason == "skipped: job job runs at most 1 at once, and run 1 is in the way"
    assert {mill.at(name, run=2).state for name in "ab"} == {TaskState.canceled}
    assert mill.at("a", run=2).reason == "concurrency"


def test_replace_cancels_the_older_and_goes_when_that_has_ended():
    mill = gated("replace")
    mill.submit(1)
    mill.submit(2)
    assert (mill.run(1).state, mill.run(1).reason) == (RunState.stopping, "replaced by a newer run of job job")
    assert mill.run(2).more.waiting
    mill.submit(3)
    assert mill.run(2).state is RunState.canceled, "one that only waits is replaced too"
    sweep(mill, 1)
    mill.settle(mill.take(), "canceled")
    admit(mill, 3)
    assert mill.run(3).more is None or not mill.run(3).more.waiting


def test_a_replacement_whose_cancels_were_lost_asks_for_them_again():
    mill = gated("replace")
    mill.submit(1)
    mill.submit(2)
    mill.runs[1] = mill.runs[1].__class__(1, 1, RunState.running, version=5, left=2, live=1, more=mill.runs[1].more)
    admit(mill, 2)
    assert mill.run(1).state is RunState.stopping


def test_an_older_one_that_waits_behind_a_newer_one_makes_room():
    mill = gated("replace")
    mill.submit(1)
    mill.submit(2)
    older = mill.runs[2]
    mill.submit(3)
    mill.runs[2] = older
    admit(mill, 2)
    assert mill.run(2).state is RunState.stopping


@pytest.mark.parametrize("when_full", ["refuse", "skip"])
def test_one_that_begins_later_is_skipped_when_its_time_finds_no_room(when_full):
    mill = gated(when_full)
    mill.one(Submit(RunInput(2, 1, "job", 1, mill.now, more=InputMore(mill.now + S))))
    assert mill.run(2).more.waiting
    mill.submit(1)
    mill.now += S
    mill.one(Wake(2))
    admit(mill, 2)
    assert mill.run(2).reason == "skipped: job job runs at most 1 at once, and run 1 is in the way"


def test_one_that_begins_later_is_let_in_when_its_time_finds_room():
    mill = gated("refuse")
    mill.one(Submit(RunInput(2, 1, "job", 1, mill.now, more=InputMore(mill.now + S))))
    mill.now += S
    mill.one(Wake(2))
    admit(mill, 2)
    assert {o.key[0] for o in mill.dispatches} == {2}


def test_a_turn_for_who_does_not_wait_or_whose_gate_was_not_loaded_changes_nothing():
    mill = gated()
    mill.submit(1)
    mill.submit(2)
    before = dict(mill.runs)
    admit(mill, 1)
    mill._working = lambda: Working(offers=mill.offers)
    admit(mill, 2)
    assert mill.runs == before


def test_a_run_that_waits_says_so_and_one_that_is_canceled_leaves_the_queue():
    mill = gated(key="${params.day}")
    mill.submit(1, day="mon")
    mill.submit(2, day="mon")
    node = mill.graph.nodes[0]
    (reason,) = may_begin(node, mill.run(2)).reasons
    assert reason.message == "as many runs of job job for mon as may be at once are there already"
    told = explain(mill.graph, mill.run(2), mill.at("a", run=2), Working(), mill.offers, now=mill.now)
    assert "concurrency" in [r.code for r in told]
    mill.one(Cancel(2))
    sweep(mill, 2)
    assert mill.run(2).state is RunState.canceled
    assert not mill.gates()["job:job", "mon"].waiting


def test_a_paused_run_is_not_in_the_queue():
    mill = gated()
    mill.submit(1)
    mill.submit(2)
    mill.one(Pause(2))
    assert not mill.gates()["job:job", ""].waiting
