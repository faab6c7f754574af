"""Child runs and waits: no agent, no slot; and ``delay`` and ``repeat``."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.core.mill import Cancel, Claim, Mill, RunState, S, Wake, job

from headrace.core.explaining import explain
from headrace.core.nodes import DEPTH_MAX
from headrace.core.work import Working
from headrace.model.cells import InputMore, ParentRef, RunInput
from headrace.model.changes import Stop, Submit
from headrace.model.errors import Refused
from headrace.model.facts import TaskRetrying, TaskStarted
from headrace.model.messages import ChildEnded, StartChild, StopChild
from headrace.model.states import TaskState


def wait(how: str = "10m", **more):
    return {"name": "w", "wait": {"for": how}, **more}


def child(**more):
    return {"name": "c", "job": "other", **more}


# waits


def test_a_wait_begins_without_any_agent_and_is_over_when_its_time_has_come():
    mill = Mill(job(wait(), {"name": "after", "needs": ["w"]}), room=0)
    mill.submit()
    cell = mill.at("w")
    assert (cell.state, cell.attempt, cell.agent, cell.due_at) == (TaskState.running, 1, 0, mill.now + 600 * S)
    assert (mill.run().state, mill.run().live) == (RunState.running, 1)
    assert [fact.at for fact in mill.facts if isinstance(fact, TaskStarted)] == [mill.now]
    mill.now += 600 * S - 1
    mill.one(Wake(1, 0))
    assert mill.states()["w"] == "running"
    mill.now += 1
    mill.one(Wake(1, 0))
    assert (mill.states(), mill.at("w").exit_status, mill.run().live) == ({"w": "succeeded", "after": "ready"}, "ok", 0)


def test_a_wait_holds_no_slot():
    mill = Mill(job(wait(), {"name": "x"}), room=1)
    mill.submit()
    assert mill.states() == {"w": "running", "x": "dispatched"}


def test_a_wait_until_an_instant_ends_then_and_one_of_the_past_at_once():
    mill = Mill(job({"name": "w", "wait": {"until": "1970-01-01T01:00:00+00:00"}}))
    mill.submit()
    assert mill.at("w").due_at == 3_600 * S
    mill.play()
    assert (mill.run().state, mill.now) == (RunState.succeeded, 3_600 * S)
    past = Mill(job({"name": "w", "wait": {"until": "1970-01-01T00:00:00Z"}}))
    past.submit()
    assert past.run().state == RunState.succeeded


def test_the_time_of_a_wait_may_be_an_expression():
    document = {"name": "w", "needs": ["a"], "wait": {"for": "${tasks.a.result}"}}
    mill = Mill(job({"name": "a"}, document))
    mill.submit()
    mill.settle(mill.take(), result="5s")
    assert mill.at("w").due_at == mill.now + 5 * S


@pytest.mark.parametrize(
    ("wanted", "reason"), [("soon", "wait"), (7, "wait"), (None, "expression")], ids=["no duration", "a number", "none"]
)
def test_a_wait_for_what_is_no_time_fails_before_any_attempt(wanted, reason):
    mill = Mill(job({"name": "w", "wait": {"for": "${params.x}"}}))
    mill.submit(**({} if wanted is None else {"x": wanted}))
    assert (mill.at("w").state, mill.at("w").reason, mill.at("w").attempt) == (TaskState.failed, reason, 0)
    assert mill.run().state == RunState.failed


def test_cancel_ends_a_wait_at_once():
    mill = Mill(job(wait()))
    mill.submit()
    mill.one(Cancel(1))
    assert (mill.states(), mill.run().state, mill.stops) == ({"w": "canceled"}, RunState.canceled, [])


def test_stop_and_a_failure_that_stops_the_run_end_a_wait_too_for_it_is_no_work_that_could_be_finished():
    mill = Mill(job(wait(), {"name": "a"}))
    mill.submit()
    mill.one(Stop(1))
    assert mill.states() == {"w": "canceled", "a": "dispatched"}
    handled = {"name": "h", "needs": [{"task": "a", "state": "failed"}], "wait": {"for": "1m"}}
    mill = Mill(job(wait(), child(), {"name": "a"}, handled, on_failure="stop"))
    mill.submit()
    mill.settle(mill.take(), "failed")
    assert mill.states() == {"w": "canceled", "c": "running", "a": "failed", "h": "running"}
    assert len(mill.tells) == 1, "the child goes on"


def test_a_wait_past_its_own_timeout_fails_and_is_tried_again():
    mill = Mill(job(wait(timeout="1m", retries={"max": 1, "only": ["timeout"]})))
    mill.submit()
    mill.now += 60 * S
    mill.one(Wake(1, 0))
    assert (mill.at("w").state, mill.at("w").reason) == (TaskState.retrying, "timeout")
    mill.play()
    assert (mill.at("w").state, mill.at("w").attempt, mill.at("w").reason) == (TaskState.failed, 2, "timeout")


def test_explain_tells_how_long_a_wait_goes_on():
    mill = Mill(job(wait()))
    mill.submit()
    (reason,) = explain(mill.graph, mill.run(), mill.at("w"), Working(), [], now=mill.now + 540 * S)
    assert (reason.code, reason.message) == ("waiting", "w waits for 60.0 s more")


def test_instances_of_a_wait_wait_side_by_side():
    mill = Mill(job({"name": "w", "each": ["1s", "2s", "3s"], "wait": {"for": "${item}"}, "concurrency": 2}))
    mill.submit()
    begun = mill.now
    assert [mill.at("w", n).state.name for n in range(2)] == ["running", "running"]
    mill.play()
    assert (mill.run().state, mill.now) == (RunState.succeeded, begun + 4 * S)


def test_a_held_run_begins_no_wait():
    mill = Mill(job({"name": "a"}, wait(needs=["a"])))
    mill.submit()
    order = mill.take()
    mill.runs[1] = replace(mill.run(), state=RunState.paused)
    mill.settle(order)
    assert mill.states()["w"] == "ready"
    mill.one(Claim(1, 1, -1))
    assert mill.states()["w"] == "ready", "whoever claims it"
    mill.runs[1] = replace(mill.run(), state=RunState.running)
    mill.claim_all()
    assert mill.states()["w"] == "running"


# child runs


def test_a_child_is_asked_for_in_the_commit_that_made_its_task_ready():
    mill = Mill(job({"name": "a"}, child(needs=["a"], **{"with": {"x": "${tasks.a.result}", "y": 1}})), room=1)
    mill.submit(priority=7)
    mill.settle(mill.take(), result=[1, 2])
    cell = mill.at("c")
    assert (cell.state, cell.attempt, cell.agent, mill.run().live) == (TaskState.running, 1, 0, 1)
    assert mill.tells == [StartChild(1, 1, -1, cell.epoch, "other", 0, b'{"x":[1,2],"y":1}', 1, 7)]


def test_the_end_of_the_child_is_the_end_of_the_task_with_its_result():
    mill = Mill(job(child(), {"name": "after", "needs": ["c"], "command": ["echo", "${tasks.c.result.x}"]}))
    mill.submit()
    mill.child_ends(mill.tells[0], result={"x": 5}, exit_status="DONE")
    assert (mill.at("c").state, mill.at("c").exit_status) == (TaskState.succeeded, "DONE")
    assert mill.take().spec.argv == ("echo", "5")


def test_a_failed_child_is_a_failed_attempt_and_a_further_one_is_a_new_child():
    mill = Mill(job(child(retries={"max": 1, "delay": "1s", "jitter": 0})))
    mill.submit()
    first = mill.tells[0]
    mill.child_ends(first, "failed", reason="child", exit_status="7")
    assert mill.at("c").state == TaskState.retrying
    assert mill.wake_next()
    second = mill.tells[1]
    assert second.epoch > first.epoch
    with pytest.raises(Refused, match="stale"):
        mill.child_ends(first)
    mill.child_ends(second, "failed")
    assert (mill.at("c").state, mill.at("c").attempt, mill.run().state) == (TaskState.failed, 2, RunState.failed)


def test_the_same_end_told_twice_changes_nothing():
    mill = Mill(job(child()))
    mill.submit()
    mill.child_ends(mill.tells[0], digest=b"17")
    assert mill.child_ends(mill.tells[0], digest=b"17").tasks == ()


def test_cancel_is_carried_down_and_the_parent_ends_with_its_child():
    mill = Mill(job(child(), {"name": "after", "needs": ["c"]}))
    mill.submit()
    mill.one(Cancel(1, "enough"))
    start, stop = mill.tells
    assert stop == StopChild(1, 0, -1, start.epoch, "cancel", "run 1 that began it: enough")
    assert (mill.states(), mill.run().state) == ({"c": "running", "after": "canceled"}, RunState.stopping)
    assert mill.stops == [], "no agent is asked"
    mill.child_ends(start, "canceled")
    assert mill.run().state == RunState.canceled


def test_a_child_past_the_timeout_of_its_task_is_told_to_stop_and_its_attempt_counts_as_timed_out():
    mill = Mill(job(child(timeout="1m")))
    mill.submit()
    mill.now += 60 * S
    mill.one(Wake(1, 0))
    assert isinstance(mill.tells[1], StopChild)
    assert (mill.at("c").state, mill.at("c").due_at) == (TaskState.running, 0)
    mill.child_ends(mill.tells[0], "canceled")
    assert (mill.at("c").state, mill.at("c").reason) == (TaskState.failed, "timeout")


def test_the_end_of_a_run_with_a_parent_is_told_to_it():
    mill = Mill(job({"name": "a"}))
    mill.one(Submit(RunInput(1, 1, "job", 1, mill.now, more=InputMore(parent=ParentRef(9, 2, 5, 77)))))
    assert mill.run().more is not None
    mill.settle(mill.take())
    assert (mill.run().state, mill.tells) == (RunState.succeeded, [ChildEnded(9, 2, 5, 77, 1)])


def test_runs_that_begin_themselves_stop_at_a_depth():
    for depth, begins in ((DEPTH_MAX - 1, True), (DEPTH_MAX, False)):
        mill = Mill(job(child()))
        mill.one(Submit(RunInput(1, 1, "job", 1, mill.now, more=InputMore(parent=ParentRef(9, 2, 5, 77, depth)))))
        assert [tell.depth for tell in mill.tells if isinstance(tell, StartChild)] == ([DEPTH_MAX] if begins else [])
        assert (mill.at("c").reason, mill.at("c").attempt) == ((None, 1) if begins else ("depth", 0))


def test_every_instance_has_a_child_of_its_own_and_the_group_their_results():
    mill = Mill(job({"name": "c", "each": [3, 4], "job": {"name": "other", "params": {"n": "${item}"}}}))
    mill.submit()
    assert [(tell.index, tell.params) for tell in mill.tells] == [(0, b'{"n":3}'), (1, b'{"n":4}')]
    for tell in list(mill.tells):
        mill.child_ends(tell, result=tell.index * 10)
    assert (mill.run().state, mill.result()) == (RunState.succeeded, [0, 10])


def test_a_run_with_a_child_that_is_lost_in_a_crash_is_found_by_the_claim_of_what_is_ready():
    mill = Mill(job(child()))
    _, follows = mill._group([Submit(RunInput(1, 1, "job", 1, mill.now))])
    assert follows
    assert mill.states() == {"c": "ready"}
    mill.claim_all()
    assert isinstance(mill.tells[0], StartChild)


# delay and repeat


def test_a_delay_lies_between_being_ready_and_the_first_attempt_and_in_no_further_one():
    mill = Mill(job({"name": "a", "delay": "30s", "retries": {"max": 1, "delay": "1s", "jitter": 0}}))
    mill.submit()
    assert (mill.at("a").state, mill.at("a").due_at, mill.at("a").pending) == (TaskState.blocked, mill.now + 30 * S, 0)
    (reason,) = explain(mill.graph, mill.run(), mill.at("a"), Working(), [], now=mill.now)
    assert reason.message == "a begins after its delay, in 30.0 s"
    begun = mill.now
    assert mill.wake_next()
    assert mill.now == begun + 30 * S
    mill.settle(mill.take(), "failed")
    assert mill.wake_next()
    assert (mill.now, mill.at("a").attempt) == (begun + 31 * S, 2)


def test_a_skipped_task_is_not_delayed_and_a_stopped_one_does_not_wait_for_its_delay():
    mill = Mill(job({"name": "a", "delay": "30s", "when": {"value": 1, "eq": 2}}))
    mill.submit()
    assert mill.states() == {"a": "skipped"}
    mill = Mill(job({"name": "a", "delay": "30s"}, {"name": "b"}, on_failure="stop"))
    mill.submit()
    mill.settle(mill.take(), "failed")
    assert (mill.states(), mill.run().state) == ({"a": "skipped", "b": "failed"}, RunState.failed)


def test_a_delayed_task_is_canceled_at_once():
    mill = Mill(job({"name": "a", "delay": "30s"}))
    mill.submit()
    mill.one(Cancel(1))
    assert mill.run().state == RunState.canceled


def test_a_repeated_task_is_done_so_many_times_and_has_the_last_result():
    mill = Mill(job({"name": "a", "repeat": {"times": 3, "delay": "10s"}}))
    mill.submit()
    begun = mill.now
    for n in range(3):
        assert mill.run().state in {RunState.queued, RunState.running}
        mill.settle(mill.take(), result=n)
        mill.wake_next()
    assert (mill.at("a").attempt, mill.run().state, mill.result(), mill.now) == (
        3,
        RunState.succeeded,
        2,
        begun + 20 * S,
    )
    assert [fact.reason for fact in mill.facts if isinstance(fact, TaskRetrying)] == ["repeat", "repeat"]


def test_a_failure_ends_the_repeating_and_each_time_has_its_own_retries():
    mill = Mill(job({"name": "a", "repeat": {"times": 3}, "retries": {"max": 1, "delay": "1s"}}))
    mill.submit()
    said = []
    for kind in ("failed", "succeeded", "failed", "succeeded", "failed", "failed"):
        mill.settle(mill.take(), kind)
        said.append(mill.at("a").state.name)
        mill.wake_next()
    assert (mill.at("a").state, mill.at("a").attempt, mill.run().state) == (TaskState.failed, 6, RunState.failed)
    assert said == ["retrying", "dispatched", "retrying", "dispatched", "retrying", "failed"]


def test_what_may_not_be_done_again_is_canceled():
    mill = Mill(job({"name": "a", "repeat": {"times": 3, "delay": "1m"}}, {"name": "b"}, on_failure="stop"))
    mill.submit()
    mill.settle(mill.take())
    mill.settle(mill.take(), "failed")
    assert (mill.states(), mill.run().state) == ({"a": "canceled", "b": "failed"}, RunState.failed)
    mill = Mill(job({"name": "a", "repeat": {"times": 3}}))
    mill.submit()
    mill.one(Cancel(1))
    mill.settle(mill.take())
    assert (mill.at("a").state, mill.at("a").reason) == (TaskState.canceled, "stopped")


def test_a_repeated_child_is_a_new_run_each_time():
    mill = Mill(job(child(repeat={"times": 2})))
    mill.submit()
    mill.child_ends(mill.tells[0], result=1)
    mill.child_ends(mill.tells[1], result=2)
    assert (mill.run().state, mill.result(), len(mill.tells)) == (RunState.succeeded, 2, 2)


def test_jobs_with_such_tasks_take_the_long_way_and_others_do_not():
    assert not Mill(job({"name": "a"})).graph.long
    for special in ({"delay": "1s"}, {"repeat": {"times": 2}}, {"wait": {"for": "1s"}}, {"job": "x"}):
        graph = Mill(job({"name": "a", **special})).graph
        assert graph.long
        assert not graph.fast
