"""Cancel, timeout, ``on_failure: stop``, ``finally`` and the ladder."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.core.mill import RUN_ITSELF, Cancel, Claim, Lose, Mill, Offer, S, TaskState, Wake, job

from headrace.core.draft import cursor_of, page_of, place_of, token_of
from headrace.model.changes import Pause, Stop
from headrace.model.errors import Refused
from headrace.model.states import RunState, StopIntent


def test_cancel_ends_what_never_began_and_asks_what_runs():
    mill = Mill(job({"name": "a", "grace": "3s"}, {"name": "b", "needs": ["a"]}, {"name": "c"}), room=1)
    mill.submit()
    decided = mill.one(Cancel(1, "enough"))
    assert (decided.run.state, decided.run.intent, decided.run.reason) == (
        RunState.stopping,
        StopIntent.cancel,
        "enough",
    )
    assert decided.tasks == (), "cancel itself is O(1)"
    assert mill.states() == {"a": "dispatched", "b": "canceled", "c": "canceled"}
    assert (mill.stops[0].grace_ms, mill.stops[0].epoch) == (3_000, mill.at("a").epoch)
    mill.settle(mill.take(), "canceled")
    assert mill.run().state == RunState.canceled


@pytest.mark.parametrize(
    ("kind", "task", "run"),
    [
        ("succeeded", TaskState.succeeded, RunState.succeeded),
        ("canceled", TaskState.canceled, RunState.canceled),
        ("failed", TaskState.failed, RunState.failed),
        ("lost", TaskState.canceled, RunState.canceled),
        ("refused", TaskState.canceled, RunState.canceled),
    ],
)
def test_a_late_outcome_of_a_canceled_run_is_taken_as_it_is(kind, task, run):
    mill = Mill(job({"name": "a", "retries": 5}))
    mill.submit()
    mill.one(Cancel(1))
    mill.settle(mill.take(), kind)
    assert (mill.at("a").state, mill.run().state) == (task, run)


def test_a_lost_owner_ends_a_canceled_task():
    mill = Mill(job({"name": "a"}))
    mill.submit()
    order = mill.take()
    mill.one(Cancel(1))
    mill.one(Lose(*order.key, order.epoch, "boot"))
    assert mill.run().state == RunState.canceled


def test_the_fence_ends_a_canceled_task_whose_agent_is_silent():
    mill = Mill(job({"name": "a", "grace": "10s"}))
    mill.submit()
    order = mill.take()
    mill.one(Cancel(1))
    assert mill.alarms[-1].at == mill.now + 15 * S
    mill.now += 15 * S - 1
    mill.one(Wake(1, 0))
    assert mill.at("a").state == TaskState.dispatched
    mill.now += 1
    mill.one(Wake(1, 0))
    assert (mill.at("a").state, mill.at("a").reason) == (TaskState.canceled, "fenced")
    assert mill.run().state == RunState.canceled
    with pytest.raises(Refused, match="stale"):
        mill.one(mill.outcome(order))


def test_cancel_is_idempotent_and_refused_for_an_ended_run():
    mill = Mill(job({"name": "a"}))
    mill.submit()
    mill.one(Cancel(1))
    assert mill.one(Cancel(1)).run is None
    mill.settle(mill.take(), "canceled")
    with pytest.raises(Refused, match="run 1 is canceled"):
        mill.one(Cancel(1))
    assert mill.one(Wake(1, RUN_ITSELF)).run is None


def test_a_retrying_task_is_canceled():
    mill = Mill(job({"name": "a", "retries": 3}))
    mill.submit()
    mill.settle(mill.take(), "failed")
    mill.one(Cancel(1))
    assert (mill.states()["a"], mill.run().state) == ("canceled", RunState.canceled)


def test_a_large_run_is_swept_in_pages():
    mill = Mill(job(*({"name": f"t{n}"} for n in range(2_300))), room=1)
    mill.submit()
    before = mill.steps
    mill.one(Cancel(1))
    assert mill.steps - before == 4
    mill.settle(mill.take(), "canceled")
    assert (mill.run().state, mill.run().canceled, mill.run().cursor) == (RunState.canceled, 2_300, -1)


def test_a_sweep_goes_on_after_a_restart_by_the_due_index():
    mill = Mill(job({"name": "a"}, {"name": "b"}), room=0)
    mill.submit()
    mill._group([Cancel(1)])
    assert mill.run().due_at == mill.now
    mill.one(Wake(1, RUN_ITSELF))
    assert mill.run().state == RunState.canceled


def test_a_wake_with_an_outdated_page_does_not_touch_anything_but_asks_again():
    mill = Mill(job({"name": "a"}, {"name": "b"}), room=0)
    mill.submit()
    mill._group([Cancel(1)])
    old = token_of(replace(mill.run(), cursor=77))
    answers, follows = mill._group([Wake(1, RUN_ITSELF, first=old)])
    assert answers[0].tasks == ()
    assert follows == [Wake(1, RUN_ITSELF, first=token_of(mill.run()))]


def test_cursors_and_tokens_name_their_place():
    for place in ((0, -1), (3, 0), (49_999, 1_000_000)):
        assert place_of(cursor_of(*place)) == place
    assert place_of(0) == (0, -2)
    mill = Mill(job({"name": "a"}))
    mill.submit()
    assert page_of(token_of(replace(mill.run(), cursor=9, gate=True))) == (9, True)


def test_a_run_past_its_timeout_fails_with_that_reason():
    mill = Mill(job({"name": "a"}, {"name": "b", "needs": ["a"]}, timeout="1m"))
    mill.submit()
    assert mill.run().deadline_at == mill.now + 60 * S
    mill.one(Wake(1, RUN_ITSELF))
    assert mill.run().state == RunState.queued
    mill.now += 60 * S
    mill.one(Wake(1, RUN_ITSELF))
    mill.settle(mill.take(), "canceled")
    assert (mill.run().state, mill.run().reason) == (RunState.failed, "timeout")
    assert mill.states() == {"a": "canceled", "b": "canceled"}


def test_the_timeout_begins_with_the_first_claim():
    mill = Mill(job({"name": "a"}, timeout="1m"), room=0)
    mill.submit()
    assert mill.run().deadline_at == 0
    mill.offers.append(Offer(1, 7, 1))
    mill.now += 90 * S
    mill.one(Claim(1, 0, -1))
    assert mill.run().deadline_at == mill.now + 60 * S


def test_on_failure_stop_skips_what_has_not_begun_and_lets_the_running_finish():
    mill = Mill(
        job({"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d", "needs": ["b"]}, on_failure="stop"), room=2
    )
    mill.submit()
    mill.offers.clear()
    mill.settle(mill.take(), "failed")
    assert mill.states() == {"a": "failed", "b": "dispatched", "c": "skipped", "d": "blocked"}
    assert mill.run().state == RunState.stopping
    mill.settle(mill.take())
    assert mill.states() == {"a": "failed", "b": "succeeded", "c": "skipped", "d": "skipped"}
    assert mill.run().state == RunState.failed


def test_on_failure_stop_lets_begin_what_the_failure_calls_for_and_what_depends_on_that():
    mill = Mill(
        job(
            {"name": "a"},
            {"name": "h", "needs": [{"task": "a", "state": "failed"}]},
            {"name": "i", "needs": ["h"]},
            {"name": "n", "needs": ["a"]},
            on_failure="stop",
        )
    )
    mill.submit()
    mill.play(lambda name, order: "failed" if name == "a" else "succeeded")
    assert mill.states() == {"a": "failed", "h": "succeeded", "i": "succeeded", "n": "skipped"}
    assert mill.run().state == RunState.failed


def test_a_second_failure_calls_for_its_own_handler():
    mill = Mill(
        job({"name": "a"}, {"name": "b"}, {"name": "h", "needs": [{"task": "b", "state": "failed"}]}, on_failure="stop")
    )
    mill.submit()
    mill.settle(mill.take(), "failed")
    mill.settle(mill.take(), "failed")
    assert mill.at("h").state == TaskState.dispatched


def test_on_failure_stop_ends_a_group_at_its_first_failure():
    mill = Mill(job({"name": "g", "each": list(range(9)), "concurrency": 2}, on_failure="stop"))
    mill.submit()
    mill.settle(mill.take(), "failed")
    assert mill.at("g").counts.skipped == 7
    mill.settle(mill.take())
    assert (mill.states()["g"], mill.run().state) == ("failed", RunState.failed)


@pytest.mark.parametrize(("kind", "state"), [("refused", "skipped"), ("lost", "lost"), ("failed", "failed")])
def test_no_further_attempt_begins_after_a_stop(kind, state):
    mill = Mill(job({"name": "a"}, {"name": "b", "retries": 9}, on_failure="stop"))
    mill.submit()
    mill.settle(mill.take(), "failed")
    mill.settle(mill.take(), kind)
    assert (mill.states()["b"], mill.run().state) == (state, RunState.failed)


def test_cancel_overrules_a_stop_after_failure():
    mill = Mill(job({"name": "a"}, {"name": "b"}, {"name": "c", "needs": ["b"]}, on_failure="stop"))
    mill.submit()
    mill.settle(mill.take(), "failed")
    mill.one(Cancel(1))
    assert mill.states()["c"] == "canceled"
    mill.settle(mill.take(), "failed")
    assert mill.run().state == RunState.failed


def test_finally_begins_when_all_others_have_ended():
    mill = Mill(
        job(
            {"name": "a"}, {"name": "b"}, {"name": "f", "finally": True}, {"name": "g", "finally": True, "needs": ["f"]}
        )
    )
    mill.submit()
    mill.settle(mill.take())
    assert mill.states()["f"] == "blocked"
    mill.settle(mill.take(), "failed")
    assert mill.states()["f"] == "dispatched"
    mill.settle(mill.take())
    mill.settle(mill.take())
    assert mill.states()["g"] == "succeeded"
    assert mill.run().state == RunState.failed


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_finally_begins_also_after_cancel_and_timeout(how):
    mill = Mill(job({"name": "a"}, {"name": "f", "finally": True, "retries": 1}, timeout="1s"))
    mill.submit()
    mill.now += 2 * S
    mill.one(Cancel(1) if how == "cancel" else Wake(1, RUN_ITSELF))
    mill.settle(mill.take(), "canceled")
    mill.settle(mill.take(), "failed")
    mill.play()
    assert mill.states() == {"a": "canceled", "f": "succeeded"}
    assert mill.run().state == (RunState.canceled if how == "cancel" else RunState.failed)


def test_a_cancel_while_finally_tasks_run_opens_their_gate_no_second_time():
    """One that waits for another would have begun beside it."""
    mill = Mill(job({"name": "a"}, {"name": "f", "finally": True}, {"name": "g", "finally": True, "needs": ["f"]}))
    mill.submit()
    mill.settle(mill.take())
    assert mill.states() == {"a": "succeeded", "f": "dispatched", "g": "blocked"}
    mill.one(Cancel(1))
    mill.one(Cancel(1))
    assert mill.states() == {"a": "succeeded", "f": "dispatched", "g": "blocked"}
    mill.play()
    assert mill.states() == {"a": "succeeded", "f": "succeeded", "g": "succeeded"}


@pytest.mark.parametrize("canceled_before", [True, False])
def test_a_held_finally_task_ends_by_a_cancel(canceled_before):
    """Found by simulation: the run had been canceled already, so nobody could end it."""
    mill = Mill(job({"name": "a"}, {"name": "f", "finally": True, "on_lost": "ask"}))
    mill.submit()
    if canceled_before:
        mill.one(Cancel(1))
        mill.settle(mill.take(), "canceled")
    else:
        mill.settle(mill.take())
    mill.settle(mill.take(), "lost")
    assert mill.states()["f"] == "held"
    mill.one(Cancel(1))
    assert mill.states()["f"] == "canceled"
    assert mill.run().state == RunState.canceled


def test_a_failed_finally_task_fails_the_run():
    mill = Mill(job({"name": "a"}, {"name": "f", "finally": True}))
    mill.submit()
    mill.play(lambda name, order: "failed" if name == "f" else "succeeded")
    assert mill.run().state == RunState.failed


def test_a_finally_task_looks_at_ordinary_ones_when_they_have_ended():
    failed = {"task": "a", "state": "failed"}
    definition = job(
        {"name": "a"},
        {"name": "f", "finally": True, "needs": [failed]},
        {"name": "g", "finally": True, "needs": {"any": [failed, "a"]}},
    )
    mill = Mill(definition)
    mill.submit()
    mill.play()
    assert mill.states() == {"a": "succeeded", "f": "skipped", "g": "succeeded"}


def test_a_run_of_finally_tasks_only_runs_them():
    mill = Mill(job({"name": "f", "finally": True}))
    mill.submit()
    mill.play()
    assert mill.run().state == RunState.succeeded


def test_many_finally_tasks_begin_in_pages():
    mill = Mill(job({"name": "a"}, *({"name": f"f{n}", "finally": True} for n in range(1_200))), room=2_000)
    mill.submit()
    mill.play()
    assert (mill.run().state, mill.run().succeeded) == (RunState.succeeded, 1_201)


def test_the_verb_stop_lets_the_running_finish_and_ends_canceled():
    mill = Mill(job({"name": "a"}, {"name": "b", "needs": ["a"]}))
    mill.submit()
    mill.one(Stop(1, "enough"))
    assert all(order.take_back for order in mill.stops), "what runs is not asked to end"
    mill.settle(mill.take())
    assert mill.states() == {"a": "succeeded", "b": "canceled"}
    assert mill.run().state == RunState.canceled


def test_a_paused_run_begins_nothing_and_loses_nothing():
    mill = Mill(job({"name": "a"}, {"name": "b", "needs": ["a"]}))
    mill.submit()
    order = mill.take()
    mill.one(Pause(1))
    mill.settle(order)
    assert mill.at("b").state == TaskState.ready
    mill.one(Claim(1, 1, -1))
    assert not mill.dispatches


def test_a_group_that_was_not_expanded_yet_is_canceled_whole():
    mill = Mill(job({"name": "a"}, {"name": "g", "each": "${tasks.a.result}"}))
    mill.submit()
    order = mill.take()
    mill._group([mill.outcome(order, result=[1, 2])])
    assert mill.at("g").counts.total == -1
    mill.one(Cancel(1))
    assert (mill.at("g").state, mill.run().state) == (TaskState.canceled, RunState.canceled)


def test_a_woken_group_of_a_stopping_run_creates_nothing():
    mill = Mill(job({"name": "a"}, {"name": "g", "each": "${tasks.a.result}"}))
    mill.submit()
    order = mill.take()
    mill._group([mill.outcome(order, result=[1, 2])])
    mill._group([Cancel(1)])
    mill.one(Wake(1, 1))
    assert mill.at("g").state == TaskState.canceled
    assert not mill.dispatches
