"""Pause, resume, stop, abandon, and what a person decides about tasks that are held."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.core.mill import RUN_ITSELF, Cancel, Claim, Lose, Mill, S, Started, TaskState, Wake, job, value

from headrace.core.classes import base_of
from headrace.core.draft import token_of
from headrace.core.nodes import PARKED
from headrace.core.stepping import NOTHING
from headrace.model.cells import Progress
from headrace.model.changes import Abandon, Pause, Resume, Stop
from headrace.model.errors import Refused
from headrace.model.facts import RunPhase
from headrace.model.ids import WHOLE
from headrace.model.states import RUN_FINAL, TASK_FINAL, RunState

CHAIN = job({"name": "a"}, {"name": "b", "needs": ["a"]})


def test_a_pause_lets_the_running_finish_and_a_resume_goes_on():
    mill = Mill(CHAIN)
    mill.submit()
    order = mill.take()
    mill.one(Started(*order.key, order.epoch, mill.now))
    mill.one(Pause(1, "night"))
    assert (mill.run().state, mill.run().reason) == (RunState.paused, "night")
    mill.settle(order)
    assert (mill.states(), mill.run().state) == ({"a": "succeeded", "b": "ready"}, RunState.paused)
    mill.one(Resume(1))
    assert (mill.run().state, mill.run().reason) == (RunState.running, None)
    mill.play()
    assert mill.run().state == RunState.succeeded


def test_a_paused_run_that_never_began_is_queued_again_by_a_resume():
    mill = Mill(CHAIN, room=0)
    mill.submit()
    mill.one(Pause(1))
    mill.one(Resume(1))
    assert (mill.run().state, mill.run().more) == (RunState.queued, None)


def test_ready_tasks_of_a_paused_run_leave_the_ready_index_and_come_back():
    mill = Mill(job(*({"name": f"t{n}"} for n in range(2_300))), room=0)
    mill.submit()
    klass = mill.graph.nodes[0].klass
    steps = mill.steps
    decided = mill.one(Pause(1))
    assert decided.tasks == (), "a pause itself is O(1)"
    assert mill.steps - steps == 4
    assert {cell.klass for cell in mill.tasks.values()} == {PARKED}
    mill.one(Resume(1))
    assert {base_of(cell.klass) for cell in mill.tasks.values()} == {klass}


def test_what_becomes_ready_while_the_run_is_paused_is_parked():
    mill = Mill(job({"name": "a", "retries": 1}, {"name": "g", "each": "${tasks.a.result}"}))
    mill.submit()
    order = mill.take()
    mill.one(Pause(1))
    mill.settle(order, "failed")
    mill.wake_next()
    assert (mill.at("a").state, mill.at("a").klass) == (TaskState.ready, PARKED)
    mill.one(Resume(1))
    mill.claim_all()
    order = mill.take()
    mill.one(Pause(1))
    mill.settle(order, result=[1, 2])
    assert [(mill.at("g", i).state, mill.at("g", i).klass) for i in range(2)] == [(TaskState.ready, PARKED)] * 2
    mill.one(Resume(1))
    mill.play()
    assert mill.run().state == RunState.succeeded


def test_a_resume_amidst_the_sweep_of_a_pause_leaves_nothing_parked():
    mill = Mill(job(*({"name": f"t{n}"} for n in range(2_300))), room=0)
    mill.submit()
    _, follows = mill._group([Pause(1)])
    _, follows = mill._group(follows)
    assert any(cell.klass == PARKED for cell in mill.tasks.values())
    mill.one(Resume(1))
    mill.ask(*follows)
    assert not any(cell.klass == PARKED for cell in mill.tasks.values())
    assert (mill.run().more, mill.run().due_at) == (None, 0)


def test_the_sweep_of_a_pause_goes_on_after_a_restart_by_the_due_index():
    mill = Mill(CHAIN, room=0)
    mill.submit()
    mill._group([Pause(1)])
    assert mill.run().due_at == mill.now
    mill.one(Wake(1, RUN_ITSELF))
    assert (mill.at("a").klass, mill.run().due_at, mill.run().state) == (PARKED, 0, RunState.paused)


def test_a_pause_takes_back_what_an_agent_has_not_begun():
    mill = Mill(CHAIN)
    mill.submit()
    order = mill.take()
    mill.one(Pause(1))
    assert [(stop.key, stop.take_back, stop.fence) for stop in mill.stops] == [(order.key, True, False)]
    mill.settle(order, "refused")
    assert (mill.at("a").state, mill.at("a").attempt, mill.at("a").klass) == (TaskState.ready, 0, PARKED)


def test_a_pause_twice_is_no_more_than_once_and_a_stopping_or_ended_run_cannot_be_paused():
    mill = Mill(CHAIN)
    mill.submit()
    mill.one(Pause(1))
    assert mill.one(Pause(1)).run is None
    mill.one(Cancel(1))
    with pytest.raises(Refused, match="run 1 is stopping: Pause refused"):
        mill.one(Pause(1))
    mill.settle(mill.take(), "canceled")
    for verb in (Pause, Resume, Stop, Abandon):
        with pytest.raises(Refused, match=f"run 1 is canceled: {verb.__name__} refused"):
            mill.one(verb(1))


def test_a_resume_of_a_run_that_is_not_paused_is_refused():
    mill = Mill(CHAIN)
    mill.submit()
    with pytest.raises(Refused, match="run 1 is queued: Resume refused"):
        mill.one(Resume(1))


def test_cancel_of_a_paused_run_ends_it_and_its_finally_task_runs():
    mill = Mill(job({"name": "a"}, {"name": "tidy", "finally": True}), room=0)
    mill.submit()
    mill.one(Pause(1))
    mill.one(Cancel(1))
    assert mill.states() == {"a": "canceled", "tidy": "ready"}
    assert base_of(mill.at("tidy").klass) == mill.graph.nodes[1].klass


def test_a_finally_task_that_a_pause_parked_runs_after_a_cancel():
    mill = Mill(job({"name": "a"}, {"name": "tidy", "finally": True}))
    mill.submit()
    mill.one(Pause(1))
    mill.settle(mill.take())
    assert mill.at("tidy").klass == PARKED
    mill.one(Cancel(1))
    assert base_of(mill.at("tidy").klass) == mill.graph.nodes[1].klass
    mill.play()
    assert mill.run().state in RUN_FINAL


def test_a_failure_that_stops_a_paused_run_lets_its_handlers_begin():
    mill = Mill(
        job(
            {"name": "a"},
            {"name": "b"},
            {"name": "tell", "needs": [{"task": "a", "state": "failed"}]},
            on_failure="stop",
        ),
        room=1,
    )
    mill.submit()
    mill.one(Pause(1))
    mill.settle(mill.take(), "failed")
    assert mill.run().state == RunState.stopping
    mill.play()
    assert mill.states() == {"a": "failed", "b": "skipped", "tell": "succeeded"}


def test_the_time_of_a_run_goes_on_while_it_is_paused():
    mill = Mill(job({"name": "a"}, {"name": "b", "needs": ["a"]}, timeout="10s"))
    mill.submit()
    order = mill.take()
    mill.one(Pause(1))
    assert mill.run().due_at == mill.run().deadline_at == mill.now + 10 * S
    mill.settle(order)
    mill.now += 10 * S
    mill.one(Wake(1))
    assert (mill.run().state, mill.run().reason) == (RunState.failed, "timeout")


def test_stop_begins_nothing_new_and_a_cancel_may_follow():
    mill = Mill(job({"name": "a", "retries": 3}, {"name": "b"}), room=1)
    mill.submit()
    order = mill.take()
    mill.one(Stop(1, "enough"))
    assert mill.one(Stop(1)).run is None
    assert mill.states() == {"a": "dispatched", "b": "canceled"}
    mill.one(Cancel(1))
    assert not mill.stops[-1].take_back
    assert mill.one(Stop(1)).run is None, "a cancel does that and more"
    mill.settle(order, "canceled")
    assert mill.run().state == RunState.canceled


def test_an_abandoned_run_has_ended_at_once_and_fences_what_is_out():
    mill = Mill(
        job({"name": "a"}, {"name": "g", "each": [1, 2]}, {"name": "b", "needs": ["a"]}, {"name": "f", "finally": True})
    )
    mill.submit()
    orders = list(mill.dispatches)
    decided = mill.one(Abandon(1, "gone"))
    assert (decided.run.state, decided.run.ended_at, decided.tasks) == (RunState.abandoned, mill.now, ())
    assert {cell.state for cell in mill.tasks.values()} == {TaskState.canceled}
    assert {stop.key for stop in mill.stops if stop.fence} == {order.key for order in orders}
    assert (mill.run().due_at, mill.run().cursor, mill.run().reason) == (0, -1, "gone")
    for order in orders:
        with pytest.raises(Refused, match="abandoned"):
            mill.one(mill.outcome(order))


def test_the_state_of_an_abandoned_run_fences_before_its_sweep_has_come():
    mill = Mill(job({"name": "a"}, {"name": "b", "needs": ["a"]}, {"name": "c", "retries": 1}), room=2)
    mill.submit()
    first, second = mill.take(), mill.take()
    mill.settle(second, "failed")
    mill._group([Abandon(1)])
    with pytest.raises(Refused, match="run 1 is abandoned"):
        mill.one(mill.outcome(first))
    with pytest.raises(Refused, match="run 1 is abandoned"):
        mill.one(Started(*first.key, first.epoch, mill.now))
    assert mill.one(Lose(*first.key, first.epoch, "boot")).tasks == ()
    assert mill.one(Claim(1, 1, WHOLE)).tasks == ()
    mill.now += 100 * S
    mill.one(Wake(*second.key))
    assert not mill.dispatches
    mill.one(Wake(1, RUN_ITSELF))
    assert all(cell.state in TASK_FINAL and cell.due_at == 0 for cell in mill.tasks.values())
    assert mill.run().due_at == 0


def held(definition):
    """A run whose only attempt was lost often enough that a person decides."""
    mill = Mill(definition)
    mill.submit()
    while mill.dispatches:
        order = mill.take()
        mill.offers[0].free += 1
        mill.one(Lose(*order.key, order.epoch, "boot"))
    return mill


@pytest.mark.parametrize(("more", "reason"), [({}, "quarantined"), ({"on_lost": "ask"}, "lost")])
def test_a_held_task_goes_on_when_the_run_is_resumed(more, reason):
    mill = held(job({"name": "a", **more}, {"name": "b", "needs": ["a"]}))
    assert (mill.at("a").state, mill.at("a").reason, mill.run().more.held) == (TaskState.held, reason, 1)
    attempts = mill.at("a").attempt
    mill.one(Resume(1, "it was the machine"))
    assert (mill.at("a").state, mill.at("a").lost, mill.run().more) == (TaskState.ready, 0, None)
    mill.claim_all()
    assert mill.at("a").attempt == attempts + 1
    mill.play()
    assert mill.run().state == RunState.succeeded


def test_a_held_instance_goes_on_when_the_run_is_resumed():
    mill = held(job({"name": "g", "each": [1, 2]}))
    assert mill.run().more.held == 2
    mill.one(Resume(1))
    mill.play()
    assert mill.run().state == RunState.succeeded


def test_a_held_task_that_is_canceled_is_counted_no_longer():
    mill = held(job({"name": "a"}))
    mill.one(Cancel(1))
    assert (mill.run().state, mill.run().more) == (RunState.canceled, None)


def test_a_task_that_is_held_for_another_reason_is_not_released_by_a_resume():
    mill = Mill(CHAIN)
    mill.submit()
    order = mill.take()
    mill.tasks[order.key] = replace(mill.at("a"), state=TaskState.held, reason="approval")
    mill.one(Pause(1))
    mill.one(Resume(1))
    assert mill.at("a").state == TaskState.held


def test_a_wake_for_another_page_of_the_sweep_of_a_pause_asks_again():
    mill = Mill(CHAIN, room=0)
    mill.submit()
    mill._group([Pause(1)])
    answers, follows = mill._group([Wake(1, RUN_ITSELF, first=7 << 4)])
    assert answers[0].tasks == ()
    assert follows == [Wake(1, RUN_ITSELF, first=token_of(mill.run()))]


def test_a_result_of_a_paused_run_is_kept():
    mill = Mill(job({"name": "a"}))
    mill.submit()
    order = mill.take()
    mill.one(Pause(1))
    mill.one(mill.outcome(order, result={"rows": 7}))
    assert (mill.run().state, mill.at("a").result) == (RunState.succeeded, value({"rows": 7}))


def test_what_the_work_says_of_itself_is_kept_with_its_run_and_its_task():
    mill = Mill(CHAIN)
    mill.submit()
    order = mill.take()
    told = Started(
        *order.key, order.epoch, mill.now, b'{"phase":"digest","message":"half","done":3,"total":6,"note":"rows"}'
    )
    mill.one(told)
    more = mill.run().more
    assert (more.phase, more.message, mill.at("a").state) == ("digest", "half", TaskState.running)
    assert mill.at("a").more.progress == Progress(3, 6, "rows")
    assert mill.one(told) == NOTHING, "the same again is no news"
    for nonsense in (b"[]", b"{", b'{"done":"x"}', b"\xff", b"null"):
        assert mill.one(replace(told, said=nonsense)) == NOTHING
    mill.one(replace(told, said=b'{"phase":"load"}'))
    assert (mill.run().more.phase, mill.run().more.message) == ("load", "")
    mill.settle(order)
    assert [fact.phase for fact in mill.facts if isinstance(fact, RunPhase)] == ["digest", "load"]
    with pytest.raises(Refused, match="stale"):
        mill.one(replace(told, epoch=order.epoch - 1))
