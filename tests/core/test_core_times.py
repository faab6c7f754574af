"""Runs that begin later, and runs that are canceled when they have not begun in time."""

from __future__ import annotations

import msgspec
import pytest
from tests.core.mill import RUN_ITSELF, Cancel, Claim, Mill, S, Started, Submit, TaskState, Wake, job

from headrace.core.explaining import explain
from headrace.core.work import Working
from headrace.model.cells import InputMore, RunInput
from headrace.model.changes import Abandon, Pause, Resume
from headrace.model.ids import WHOLE
from headrace.model.states import RunState

CHAIN = job({"name": "a"}, {"name": "b", "needs": ["a"]})
ONE = job({"name": "a"})


def submit(mill, *, begin=0, expires=0, **params):
    text = msgspec.json.encode(params)
    more = InputMore(mill.now + begin * S if begin else 0, mill.now + expires * S if expires else 0)
    return mill.one(Submit(RunInput(1, 1, "job", 1, mill.now, text, more=more)))


@pytest.mark.parametrize("definition", [ONE, CHAIN, job({"name": "f", "finally": True})])
def test_a_run_with_a_delay_begins_nothing_before_its_time(definition):
    mill = Mill(definition)
    submit(mill, begin=10)
    assert not mill.dispatches
    assert (mill.run().state, mill.run().due_at) == (RunState.queued, mill.now + 10 * S)
    assert [alarm.at for alarm in mill.alarms] == [mill.now + 10 * S]
    mill.one(Wake(1))
    mill.one(Claim(1, 0, WHOLE))
    assert not mill.dispatches, "a wake before its time begins nothing"
    mill.now += 10 * S
    mill.one(Wake(1))
    assert len(mill.dispatches) == 1
    mill.play()
    assert (mill.run().state, mill.run().due_at, mill.run().more) == (RunState.succeeded, 0, None)


def test_a_time_that_has_passed_already_is_now():
    mill = Mill(CHAIN)
    mill.one(Submit(RunInput(1, 1, "job", 1, mill.now, more=InputMore(mill.now - 1))))
    assert len(mill.dispatches) == 1
    assert mill.run().more is None


def test_parameters_are_at_hand_when_a_delayed_run_begins():
    mill = Mill(job({"name": "a", "command": ["echo", "${params.word}"]}))
    submit(mill, begin=10, word="hello")
    mill.now += 10 * S
    mill.one(Wake(1))
    assert mill.take().spec.argv == ("echo", "hello")


def test_a_run_that_did_not_begin_in_time_is_canceled():
    mill = Mill(CHAIN, room=0)
    submit(mill, expires=10)
    assert mill.at("a").state == TaskState.ready
    mill.now += 10 * S
    mill.one(Wake(1))
    assert (mill.run().state, mill.run().reason) == (RunState.canceled, "expired")
    assert mill.states() == {"a": "canceled", "b": "canceled"}


def test_a_run_that_was_to_begin_after_it_expires_is_canceled():
    mill = Mill(ONE)
    submit(mill, begin=20, expires=10)
    mill.now += 10 * S
    mill.one(Wake(1))
    assert (mill.run().state, mill.run().reason, list(mill.dispatches)) == (RunState.canceled, "expired", [])


@pytest.mark.parametrize("told", [True, False])
def test_a_run_that_has_begun_does_not_expire(told):
    mill = Mill(job({"name": "a"}, {"name": "b", "needs": ["a"]}, timeout="30s"))
    submit(mill, expires=10)
    order = mill.take()
    if told:
        mill.one(Started(*order.key, order.epoch, mill.now))
    mill.now += 10 * S
    mill.one(Wake(1))
    assert mill.run().state == (RunState.running if told else RunState.queued)
    assert mill.run().due_at == mill.run().deadline_at, "its own time is still looked at"
    mill.settle(order)
    mill.play()
    assert mill.run().state == RunState.succeeded


def test_a_pause_does_not_keep_a_run_from_expiring_and_a_delay_goes_on_behind_it():
    mill = Mill(CHAIN)
    submit(mill, begin=10, expires=20)
    mill.one(Pause(1))
    assert mill.run().due_at == mill.now + 10 * S
    mill.now += 10 * S
    mill.one(Wake(1))
    assert (mill.at("a").state, list(mill.dispatches)) == (TaskState.ready, [])
    mill.one(Resume(1))
    mill.one(Pause(1))
    mill.now += 10 * S
    mill.one(Wake(1))
    assert (mill.run().state, mill.run().reason) == (RunState.canceled, "expired")


@pytest.mark.parametrize("verb", [Cancel, Abandon])
def test_a_run_that_waits_for_its_time_can_be_ended(verb):
    mill = Mill(CHAIN)
    submit(mill, begin=10, expires=20)
    mill.one(verb(1))
    assert mill.run().state == (RunState.canceled if verb is Cancel else RunState.abandoned)
    assert (mill.run().due_at, mill.run().more) == (0, None)
    mill.now += 30 * S
    assert mill.one(Wake(1, RUN_ITSELF)).run is None


def test_explain_says_when_a_run_is_to_begin():
    mill = Mill(CHAIN)
    submit(mill, begin=10)
    (reason,) = explain(mill.graph, mill.run(), mill.at("a"), Working(), [], now=mill.now)
    assert (reason.code, reason.message) == ("not_before", "the run is to begin at 1970-01-01T00:16:50Z")
