"""Needs, conditions, expressions, retries, lost attempts: each rule of CONTRACT.md §1 by itself."""

from __future__ import annotations

import pytest
from tests.core.mill import Claim, Lose, Mill, Offer, S, Started, TaskState, Wake, job, value

from headrace.core.nodes import RetryPolicy
from headrace.core.policy import delay_us
from headrace.model.errors import Invalid, Refused
from headrace.model.facts import TaskHeld, TaskReadied, TaskRetrying
from headrace.model.states import RunState


def told(outcomes):
    """Play by name: a kind, or (kind, result), or (kind, result, fields)."""
    return lambda name, order: outcomes.get(name, "succeeded")


def played(definition, outcomes=None, **params):
    mill = Mill(definition)
    mill.submit(**params)
    mill.play(told(outcomes or {}))
    return mill


@pytest.mark.parametrize(
    ("need", "outcome", "state"),
    [
        ("a", "succeeded", "succeeded"),
        ("a", "failed", "skipped"),
        ({"task": "a", "state": "failed"}, "failed", "succeeded"),
        ({"task": "a", "state": "failed"}, "succeeded", "skipped"),
        ({"task": "a", "state": "ended"}, "failed", "succeeded"),
        ({"task": "a", "state": ["failed", "succeeded"]}, "failed", "succeeded"),
        ({"task": "a", "state": "skipped"}, ("succeeded", None, {"skip": True}), "succeeded"),
        ({"task": "a", "state": "canceled"}, "canceled", "succeeded"),
        ({"task": "a", "exit": "EMPTY*"}, ("failed", None, {"exit_status": "EMPTY_2"}), "succeeded"),
        ({"task": "a", "exit": "EMPTY*"}, ("succeeded", None, {"exit_status": "EMPTY"}), "succeeded"),
        ({"task": "a", "exit": "EMPTY*"}, "failed", "skipped"),
        ({"task": "a", "exit": "*"}, ("canceled", None, {"exit_status": "x"}), "skipped"),
        ({"task": "a", "state": "succeeded", "exit": "EMPTY*"}, ("failed", None, {"exit_status": "EMPTY"}), "skipped"),
    ],
)
def test_a_need_holds_by_state_and_exit(need, outcome, state):
    mill = played(job({"name": "a"}, {"name": "b", "needs": [need]}), {"a": outcome})
    assert mill.states()["b"] == state


def test_a_lost_task_counts_as_failed_for_those_that_wait():
    mill = Mill(job({"name": "a", "on_lost": "fail"}, {"name": "b", "needs": [{"task": "a", "state": "failed"}]}))
    mill.submit()
    mill.play(told({"a": "lost"}))
    assert mill.states() == {"a": "lost", "b": "succeeded"}
    assert mill.run().state == RunState.failed


def test_any_begins_with_the_first_that_holds_and_is_skipped_when_none_can():
    tasks = [{"name": "a"}, {"name": "b"}, {"name": "c", "needs": {"any": ["a", "b"]}}]
    mill = Mill(job(*tasks))
    mill.submit()
    mill.settle(mill.take())
    assert mill.at("c").state == TaskState.dispatched
    assert played(job(*tasks), {"a": "failed", "b": "failed"}).states()["c"] == "skipped"
    assert played(job(*tasks), {"a": "failed"}).states()["c"] == "succeeded"


def test_an_expression_makes_a_task_need_what_it_names():
    definition = job(
        {"name": "a"}, {"name": "b", "command": ["echo", "${tasks.a.result.x}"], "env": {"S": "${tasks.a.state}"}}
    )
    mill = Mill(definition)
    mill.submit()
    mill.settle(mill.take(), result={"x": [1, "two"]})
    order = mill.take()
    assert order.spec.argv == ("echo", '[1,"two"]')
    assert order.spec.env == {"S": "succeeded"}
    assert played(definition, {"a": "failed"}).states()["b"] == "skipped"


def test_naming_the_task_in_needs_replaces_the_need_of_an_expression():
    definition = job(
        {"name": "a"},
        {"name": "b", "needs": [{"task": "a", "state": "failed"}], "command": ["echo", "${tasks.a.exit_status}"]},
    )
    mill = Mill(definition)
    mill.submit()
    mill.settle(mill.take(), "failed", exit_status="NO_DATA")
    assert mill.take().spec.argv == ("echo", "NO_DATA")


def test_a_path_without_value_fails_the_task_before_any_attempt():
    mill = played(
        job(
            {"name": "a", "command": ["echo", "${params.x}"]},
            {"name": "b", "needs": [{"task": "a", "state": "failed"}]},
        )
    )
    assert mill.at("a").reason == "expression"
    assert mill.at("a").attempt == 0
    assert b"params.x" in mill.at("a").error.data
    assert mill.states() == {"a": "failed", "b": "succeeded"}


@pytest.mark.parametrize(
    ("when", "begins"),
    [
        ({"value": "${params.n}", "eq": 3}, True),
        ({"value": "${params.n}", "ne": 3}, False),
        ({"value": "${params.n}", "lt": 4, "ge": 3}, True),
        ({"value": "${params.n}", "gt": 3}, False),
        ({"value": "${params.n}", "le": "3"}, False),
        ({"value": "${params.n}", "in": [1, 3]}, True),
        ({"value": "${params.s}", "in": "abc"}, True),
        ({"value": "${params.s}", "in": {"b": 1}}, True),
        ({"value": 1, "in": {"b": 1}}, False),
        ({"value": "${params.s}", "gt": "a", "glob": "?"}, True),
        ({"value": "${params.none}", "exists": False}, True),
        ({"value": "${params.s}", "exists": True}, True),
        ({"value": True, "eq": 1}, False),
        ({"value": "${params.n}"}, True),
        ({"value": False}, False),
        ({"all": [{"value": 1, "eq": 1}, {"value": 1, "eq": 2}]}, False),
        ({"any": [{"value": 1, "eq": 1}, {"value": 1, "eq": 2}]}, True),
        ({"any": [{"value": 1, "eq": 2}]}, False),
        ({"not": {"value": 1, "eq": 2}}, True),
        ({"not": {"value": 1, "eq": 1}}, False),
    ],
)
def test_when_decides_whether_a_task_begins(when, begins):
    mill = played(job({"name": "a", "when": when}), n=3, s="b")
    assert mill.states()["a"] == ("succeeded" if begins else "skipped")
    assert mill.run().state == RunState.succeeded


def test_a_when_without_value_fails_the_task_with_reason_expression():
    mill = played(job({"name": "a", "when": {"value": "${params.x}", "eq": 1}}))
    assert (mill.states()["a"], mill.at("a").reason) == ("failed", "expression")


def test_failures_are_retried_with_growing_delays_and_then_fail_the_run():
    mill = Mill(job({"name": "a", "retries": {"max": 2, "delay": "1s", "jitter": 0}}))
    mill.submit()
    mill.settle(mill.take(), "failed")
    assert mill.at("a").state == TaskState.retrying
    assert mill.at("a").due_at == mill.now + S
    mill.one(Wake(1, 0))
    assert mill.at("a").state == TaskState.retrying, "not yet due"
    mill.now += S
    mill.one(Wake(1, 0))
    mill.settle(mill.take(), "timeout")
    assert mill.at("a").due_at == mill.now + 2 * S
    assert mill.at("a").reason == "timeout"
    mill.now += 2 * S
    mill.one(Wake(1, 0))
    mill.settle(mill.take(), "failed", exit_status="7")
    assert (mill.at("a").state, mill.at("a").attempt) == (TaskState.failed, 3)
    assert (mill.run().state, mill.run().exit_status) == (RunState.failed, "7")
    assert sum(isinstance(fact, TaskRetrying) for fact in mill.facts) == 2


@pytest.mark.parametrize(
    ("retries", "fields", "again"),
    [
        ({"max": 1, "only": ["exit:6"]}, {"exit_code": 6}, True),
        ({"max": 1, "only": ["exit:6"]}, {"exit_code": 7}, False),
        ({"max": 1, "only": ["ConnectionError"]}, {"error_types": ("requests.ConnectionError", "OSError")}, True),
        ({"max": 1, "only": ["OSError"]}, {"error_types": ("requests.ConnectionError", "OSError")}, True),
        ({"max": 1, "never": ["OSError"]}, {"error_types": ("requests.ConnectionError", "OSError")}, False),
        ({"max": 1}, {"stop_retry": True}, False),
        ({"max": 1, "only": ["exit:6"]}, {"retry_after": 5}, True),
        (0, {"retry_after": 5}, False),
        (0, {}, False),
    ],
)
def test_only_never_fail_and_retry_decide_about_another_attempt(retries, fields, again):
    mill = Mill(job({"name": "a", "retries": retries}))
    mill.submit()
    mill.settle(mill.take(), "failed", **fields)
    assert mill.at("a").state == (TaskState.retrying if again else TaskState.failed)


def test_a_timeout_can_be_excepted_from_retries():
    mill = Mill(job({"name": "a", "retries": {"max": 1, "never": ["timeout"]}}))
    mill.submit()
    mill.settle(mill.take(), "timeout")
    assert mill.at("a").state == TaskState.failed


def test_retry_asks_for_another_attempt_after_its_own_delay_even_without_a_policy():
    mill = Mill(job({"name": "a"}))
    mill.submit()
    mill.settle(mill.take(), "failed", retry_after=30_000)
    assert mill.at("a").due_at == mill.now + 30 * S


def test_retry_without_a_policy_comes_a_second_later_at_the_soonest_since_nothing_bounds_how_often():
    mill = Mill(job({"name": "a"}, {"name": "b", "retries": 9}))
    mill.submit()
    for _ in range(2):
        mill.settle(mill.take(), "failed", retry_after=0)
    assert mill.at("a").due_at == mill.now + S
    assert mill.at("b").state == TaskState.dispatched


def test_the_delay_grows_to_its_bound_and_is_spread_by_the_dice():
    policy = RetryPolicy(max=9, delay=1_000, backoff=2, max_delay=5_000, jitter=0.2)
    assert [delay_us(policy, n, 0.5) for n in (1, 2, 3, 4, 2_000)] == [S, 2 * S, 4 * S, 5 * S, 5 * S]
    assert delay_us(policy, 1, 0.0) == 800_000
    assert delay_us(RetryPolicy(backoff=1, jitter=0), 50, 0.9) == S


def test_three_lost_attempts_in_a_row_hold_the_task_as_quarantined():
    mill = Mill(job({"name": "a"}))
    mill.submit()
    for _ in range(2):
        order = mill.take()
        mill.one(Lose(*order.key, order.epoch, "boot"))
        assert mill.at("a").state == TaskState.dispatched, "claimed again in the same change"
    mill.settle(mill.take(), "lost")
    assert (mill.at("a").state, mill.at("a").reason) == (TaskState.held, "quarantined")
    assert mill.run().live == 0
    assert isinstance(mill.facts[-1], TaskHeld)


def test_a_failure_between_ends_the_row_of_lost_attempts():
    mill = Mill(job({"name": "a", "retries": 1}))
    mill.submit()
    for kind in ("lost", "lost", "failed"):
        mill.settle(mill.take(), kind)
    mill.wake_next()
    mill.settle(mill.take(), "lost")
    assert mill.at("a").state in {TaskState.ready, TaskState.dispatched}


@pytest.mark.parametrize(
    ("task", "state", "reason"),
    [
        ({"on_lost": "fail"}, TaskState.lost, "gone"),
        ({"on_lost": "ask"}, TaskState.held, "lost"),
        ({"retries": {"max": 1, "never": ["lost"]}}, TaskState.lost, "gone"),
    ],
)
def test_on_lost_decides_what_becomes_of_a_lost_attempt(task, state, reason):
    mill = Mill(job({"name": "a", **task}))
    mill.submit()
    order = mill.take()
    mill.one(Lose(*order.key, order.epoch, "gone"))
    assert (mill.at("a").state, mill.at("a").reason) == (state, reason)


def test_a_late_outcome_of_a_lost_attempt_is_stale():
    mill = Mill(job({"name": "a"}), room=1)
    mill.submit()
    order = mill.take()
    mill.one(Lose(*order.key, order.epoch, "boot"))
    before = mill.at("a")
    with pytest.raises(Refused, match="stale"):
        mill.one(mill.outcome(order))
    with pytest.raises(Refused, match="stale"):
        mill.one(Started(*order.key, order.epoch, mill.now))
    assert mill.at("a") == before


def test_the_same_outcome_twice_is_already_done_and_another_one_is_refused():
    mill = Mill(job({"name": "a"}, {"name": "b"}))
    mill.submit()
    order = mill.take()
    mill.settle(order)
    again = mill.one(mill.outcome(order))
    assert (again.run, again.tasks, again.facts, again.commands) == (None, (), (), ())
    with pytest.raises(Refused, match="different"):
        mill.one(mill.outcome(order, "failed"))
    assert mill.one(Lose(*order.key, order.epoch, "boot")).tasks == ()


def test_unknown_things_are_refused_by_name():
    mill = Mill(job({"name": "a"}))
    with pytest.raises(Refused, match="no run 1"):
        mill.one(Wake(1, 0))
    mill.submit()
    order = mill.take()
    with pytest.raises(Refused, match="exists already"):
        mill.submit()
    with pytest.raises(Refused, match="unknown epoch"):
        mill.one(Started(1, 0, -1, order.epoch + 1, mill.now))
    with pytest.raises(Refused, match=r"no task 5"):
        mill.one(Started(1, 5, -1, order.epoch, mill.now))
    with pytest.raises(Invalid, match="no task"):
        Mill(job({"name": "a", "needs": ["b"]}))
    with pytest.raises(Invalid, match="finally"):
        Mill(job({"name": "a", "needs": ["b"]}, {"name": "b", "finally": True}))


def test_started_is_told_once_and_makes_the_run_running():
    mill = Mill(job({"name": "a"}))
    mill.submit()
    assert mill.run().state == RunState.queued
    order = mill.take()
    mill.one(Started(*order.key, order.epoch, mill.now + 5))
    assert (mill.run().state, mill.run().started_at) == (RunState.running, mill.now + 5)
    assert mill.at("a").state == TaskState.running
    assert mill.one(Started(*order.key, order.epoch, mill.now + 9)).tasks == ()
    mill.settle(order)
    assert mill.run().state == RunState.succeeded


def test_a_refused_dispatch_costs_no_attempt_and_waits_a_moment_the_second_time():
    mill = Mill(job({"name": "a"}))
    mill.submit()
    mill.settle(mill.take(), "refused")
    assert (mill.at("a").state, mill.at("a").attempt) == (TaskState.ready, 0)
    mill.one(Claim(1, 0, -1))
    mill.settle(mill.take(), "refused")
    assert (mill.at("a").state, mill.at("a").due_at) == (TaskState.retrying, mill.now + S)
    mill.play()
    assert (mill.run().state, mill.at("a").attempt) == (RunState.succeeded, 1)


def test_allow_failure_leaves_the_state_failed_and_the_run_succeeded():
    mill = played(job({"name": "a", "allow_failure": True}, {"name": "b", "needs": ["a"]}), {"a": "failed"})
    assert mill.states() == {"a": "failed", "b": "skipped"}
    assert mill.run().state == RunState.succeeded


def test_a_handled_failure_still_fails_the_run():
    mill = played(
        job({"name": "a"}, {"name": "b", "needs": [{"task": "a", "state": "failed"}]}),
        {"a": ("failed", None, {"exit_status": "E7"})},
    )
    assert (mill.run().state, mill.run().exit_status) == (RunState.failed, "E7")


def test_a_large_result_and_error_stand_aside():
    mill = Mill(job({"name": "a", "retries": 1}, {"name": "b", "command": ["echo", "${tasks.a.result}"]}))
    mill.submit()
    mill.settle(mill.take(), "failed", error=value("e" * 2_000))
    assert mill.at("a").error.place == "aside"
    assert mill.at("a").error.data is None
    mill.wake_next()
    mill.settle(mill.take(), result="x" * 2_000)
    assert mill.at("a").result.place == "aside"
    assert mill.take().spec.argv[1] == "x" * 2_000


def test_a_result_that_is_not_at_hand_is_loaded_by_a_step_of_its_own():
    mill = Mill(job({"name": "a"}, {"name": "b", "command": ["echo", "${tasks.a.result}"]}))
    mill.submit()
    text = value("far")
    blob = type(text)(text.size, "blob", None, "digest")
    order = mill.take()
    mill.values[order.key] = text
    mill.one(
        mill.outcome(order).__class__(
            **{f: getattr(mill.outcome(order), f) for f in mill.outcome(order).__struct_fields__ if f != "result"},
            result=blob,
        )
    )
    assert mill.take().spec.argv[1] == "far"


def test_the_result_of_a_run_is_that_of_the_only_task_nobody_depends_on():
    assert played(job({"name": "a"}, {"name": "b", "needs": ["a"]}), {"b": ("succeeded", 7)}).result() == 7
    assert played(job({"name": "a"}, {"name": "b"}), {"b": ("succeeded", 7)}).result() is None
    definition = job({"name": "a"}, {"name": "b"}, result={"of": "${tasks.b.result}", "by": "${run.job} ${run.id}"})
    assert played(definition, {"b": ("succeeded", 7)}).result() == {"of": 7, "by": "job 1"}
    assert played(definition, {"b": "failed"}).result() is None


def test_priority_is_worth_waiting_time_in_the_rank():
    mill = Mill(job({"name": "a"}, {"name": "b", "priority": 10}), room=0)
    mill.submit(priority=1)
    assert mill.at("a").rank == mill.now // 1000 - 60_000
    assert mill.at("b").rank == mill.now // 1000 - 600_000
    assert isinstance(mill.facts[-1], TaskReadied)


def test_a_new_task_queues_behind_older_ones_of_its_class():
    mill = Mill(job({"name": "a"}, {"name": "b"}))
    mill.waiting = frozenset({mill.graph.nodes[0].klass})
    mill.submit()
    assert not mill.dispatches
    mill.one(Claim(1, 0, -1))
    assert mill.take().attempt == 1


def test_the_offer_with_most_room_is_chosen_and_pays():
    offers = [Offer(1, 7, 1), Offer(2, 8, 2), Offer(3, 9, 5, draining=True)]
    mill = Mill(job({"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}), offers=offers)
    mill.submit()
    assert sorted(order.agent for order in mill.dispatches) == [1, 2, 2]
    assert [offer.free for offer in offers] == [0, 0, 5]
    assert mill.at("d").state == TaskState.ready


def test_fire_and_run_have_values_without_a_schedule():
    argv = ["echo", "${fire.date}", "${fire.instant}", "${run.id}", "${run.job}", "${run.labels}", "${fire.late}"]
    mill = Mill(job({"name": "a", "command": argv}, {"name": "b"}))
    mill.submit()
    assert mill.take().spec.argv[1:] == ("1970-01-01", "1970-01-01T00:16:40Z", "1", "job", "{}", "0")


def test_a_task_that_reads_many_others_gets_them_in_a_step_of_its_own():
    names = [f"t{n}" for n in range(12)]
    argv = ["x", *(f"${{tasks.{name}.result}}" for name in names)]
    mill = Mill(job(*({"name": name} for name in names), {"name": "z", "command": argv}))
    mill.submit()
    for n in range(12):
        mill.settle(mill.take(), result=n)
    assert mill.take().spec.argv == ("x", *(str(n) for n in range(12)))


def test_paths_that_lead_nowhere_have_no_value():
    argv = ["x", '${tasks.a ?? run ?? fire ?? item ?? tasks.a.other ?? tasks.a.state.x ?? "none"}']
    mill = Mill(job({"name": "a"}, {"name": "b", "command": argv}))
    mill.submit()
    mill.settle(mill.take())
    assert mill.take().spec.argv == ("x", "none")
