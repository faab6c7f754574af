"""Corners of the rules about limits, child runs and holds that no ordinary run comes to, each with its own rule."""

from __future__ import annotations

import msgspec
import pytest
from tests.core.counted import Counted
from tests.core.mill import Claim, Mill, RunInput, S, Submit, TaskState, Wake, Working, job, value

from headrace.core.check import check
from headrace.core.classes import band_of, base_of, lane_of, takes_now, waiting_class
from headrace.core.draft import Draft, decoded, token_of
from headrace.core.durations import instant_us
from headrace.core.explaining import explain
from headrace.core.gates import arrive
from headrace.core.kinds import child_of, special_source
from headrace.core.limits import account
from headrace.core.restarting import instance
from headrace.core.stepping import step
from headrace.model.cells import RunMore, TaskCell, TaskMore, Value
from headrace.model.changes import Abandon, Cancel, Pause, Report
from headrace.model.errors import Invalid
from headrace.model.ids import WHOLE
from headrace.model.limits import Limit
from headrace.model.states import RunState

replace = msgspec.structs.replace
CHILD = job({"name": "kid", "job": {"name": "other"}})


def problems(*tasks, **more):
    return {p.path: p.message for p in check(job(*tasks, **more))}


def explained(mill, name, child=None):
    found = explain(mill.graph, mill.run(), mill.at(name), Working(), mill.offers, now=mill.now, child=child)
    return [reason.message for reason in found]


def test_what_needs_no_agent_takes_nothing_from_limits():
    assert (
        "put them on the tasks of the child job"
        in problems({"name": "k", "job": "x", "limits": {"crm": 1}})["tasks[0].limits"]
    )


def test_headers_are_the_users_own_but_for_those_that_are_set():
    http = {"method": "GET", "url": "http://x.test/", "headers": {"accept": "text/csv", "Host": "y.test"}}
    assert list(problems({"name": "h", "http": http})) == ["tasks[0].http.headers"]


@pytest.mark.parametrize("text", ["soon", "2026-03-29", "2026-03-29T01:30:00", None])
def test_an_instant_has_a_date_a_time_and_a_zone(text):
    with pytest.raises(Invalid, match="no instant; write date, time and zone"):
        instant_us(text)


def test_what_is_decoded_already_stays_as_it_is():
    assert decoded([1]) == [1]


def test_a_task_that_repeats_says_how_often_it_was_done():
    mill = Mill(job({"name": "a", "repeat": {"times": 3, "delay": "10s"}}))
    mill.submit()
    mill.settle(mill.take())
    assert explained(mill, "a") == ["a was done 1 of 3 times; the next one begins in 10.0 s"]


def test_a_task_whose_work_is_a_run_names_it():
    mill = Mill(CHILD)
    mill.submit()
    mill.claim_all()
    assert explained(mill, "kid") == ["kid is about to begin a run of job other"]
    assert explained(mill, "kid", child=7) == ["kid waits for its child run 7 of job other"]


def test_abandoning_a_run_abandons_its_child_and_waits_for_nobody():
    mill = Mill(CHILD)
    mill.submit()
    mill.claim_all()
    mill.one(Abandon(1))
    while mill.run().cursor >= 0:
        mill.one(Wake(1, first=token_of(mill.run())))
    assert mill.at("kid").state is TaskState.canceled
    assert mill.tells[-1].how == "abandon"


def test_a_task_that_runs_no_job_has_no_child():
    with pytest.raises(AssertionError, match="runs no job"):
        child_of(job({"name": "a"}).tasks[0])


def test_a_child_of_a_paused_run_does_not_begin():
    mill = Mill(job({"name": "a"}, {"name": "kid", "needs": ["a"], "job": "other"}))
    mill.submit()
    order = mill.take()
    mill.one(Pause(1))
    mill.settle(order)
    mill.one(Claim(1, 1, WHOLE))
    assert mill.at("kid").state is TaskState.ready
    assert not mill.tells


def test_exclusive_is_one_at_once_and_refuses():
    gate = Mill(job({"name": "a"}, exclusive=True)).graph.gate
    assert (gate.max, gate.when_full) == (1, "refuse")


def test_a_gate_that_was_not_loaded_lets_nobody_in_and_one_without_limits_everybody():
    graph = Counted(job({"name": "a"}, concurrency={"max": 1})).graph
    given = Submit(RunInput(1, 1, "job", 1, S))
    with pytest.raises(AssertionError, match="is not loaded"):
        step(graph, Working(), given, S, 0.5)
    draft = Draft(graph, Working(unlimited=True), Mill(CHILD).runs.get(1) or _run(), S, 0.5)
    draft.given = given.input
    assert arrive(draft)


def _run():
    mill = Mill(CHILD)
    mill.submit()
    return mill.run()


def test_uses_that_were_not_loaded_are_not_counted():
    working = Working(uses={("crm", ""): 0})
    taken = TaskCell(1, 0, state=TaskState.dispatched, more=TaskMore((("crm", "", 1), ("other", "", 1))))
    account(working, None, taken)
    assert working.uses == {("crm", ""): 1}
    account(working, None, TaskCell(1, 1))
    assert working.uses == {("crm", ""): 1}


def test_a_task_with_limits_takes_the_long_way_where_others_take_the_short_one():
    mill = Counted(job({"name": "a"}, {"name": "b", "limits": {"crm": 1}}), limits={"crm": Limit(slots=0)})
    mill.submit()
    mill.one(Claim(1, 1, WHOLE))
    assert [parked.limit for parked in mill.parked] == [("crm", "")]


def test_an_instance_whose_large_result_is_not_at_hand_is_done_again():
    done = TaskCell(1, 0, 3, TaskState.succeeded, item=value(1), result=Value(5_000, "aside"))
    assert instance(done, (2, 0, 3), value(1), {}) is None


def test_a_cancel_of_a_run_that_waits_for_its_time_ends_what_never_began():
    mill = Counted(job({"name": "a"}, {"name": "f", "finally": True}, concurrency={"max": 1}))
    mill.submit(1)
    mill.submit(2)
    mill.one(Cancel(2))
    while mill.runs[2].cursor >= 0:
        mill.one(Wake(2, first=token_of(mill.runs[2])))
    assert mill.run(2).state in {RunState.canceled, RunState.stopping}
    assert mill.at("a", run=2).state is TaskState.canceled


def test_the_end_of_a_run_of_others_whose_task_was_not_loaded_is_an_error_of_ours():
    graph = job_graph()
    run = replace(_run(), more=RunMore(foreign=True))
    with pytest.raises(AssertionError, match="is not loaded"):
        step(graph, Working(runs={1: run}), Report(1, state=RunState.succeeded), S, 0.5)


def job_graph():
    return Mill(job({"name": "theirs"})).graph


def test_a_page_of_a_pause_passes_over_rows_that_are_gone():
    mill = Mill(job({"name": "a"}, {"name": "b"}), room=0)
    mill.submit()
    mill.one(Pause(1))
    run = replace(mill.run(), more=RunMore(hold=0))
    working = Working(runs={1: run}, members={1: [(1, 0, WHOLE), (1, 1, WHOLE)]}, tasks={(1, 1, WHOLE): mill.at("b")})
    step(mill.graph, working, Wake(1, first=token_of(run)), mill.now, 0.5)


def test_what_a_child_is_begun_with_is_read_before_it_begins():
    mill = Mill(
        job({"name": "a"}, {"name": "kid", "needs": ["a"], "job": {"name": "x", "params": {"n": "${tasks.a.result}"}}})
    )
    mill.submit()
    mill.settle(mill.take(), result=4)
    working = Working(
        runs={1: mill.run()}, tasks={cell.key: cell for cell in mill.tasks.values()}, inputs={1: mill.inputs[1]}
    )
    ready = replace(mill.at("kid"), state=TaskState.ready)
    working.tasks[ready.key] = ready
    working.tasks[1, 0, WHOLE] = replace(mill.at("a"), result=Value(5_000, "aside"))
    assert not step(mill.graph, working, Claim(1, 1, WHOLE), mill.now, 0.5).tasks


def test_an_ordinary_task_has_no_source_of_these_kinds():
    definition = job({"name": "a"})
    assert special_source(definition, definition.tasks[0], "command") is None


def test_an_instance_with_limits_is_claimed_the_long_way():
    mill = Counted(job({"name": "g", "each": [1], "limits": {"crm": 1}}), limits={"crm": Limit(slots=1)})
    mill.submit()
    mill.one(Claim(1, 0, 0))
    assert mill.used() == {("crm", ""): 1}


def test_a_request_is_work_for_an_agent_like_any_other():
    mill = Mill(job({"name": "h", "http": {"method": "GET", "url": "http://x.test/"}}))
    mill.submit()
    assert (mill.take().spec.kind, mill.at("h").state) == ("python", TaskState.dispatched)


def test_jobs_of_one_priority_are_of_one_band():
    low, high, other = (waiting_class(7, lane_of(name), priority) for name, priority in (("a", 0), ("a", 1), ("b", 0)))
    assert band_of(low) == band_of(other) != band_of(high)
    assert base_of(low) == base_of(high) == 7


def test_a_task_readied_without_the_runs_input_learns_its_limits_key_when_it_is_claimed():
    limits = {"crm": Limit(slots=1, key='${params.region ?? "none"}')}
    mill = Counted(job({"name": "a"}, {"name": "b", "needs": ["a"], "limits": {"crm": 1}}), limits=limits)
    mill.submit()
    mill.settle(mill.take())
    assert mill.at("b").more.takes == (("crm", "", 1),)
    mill.claim_all()
    mill.claim_all()
    assert mill.used() == {("crm", "none"): 1}


def test_what_was_said_of_limits_stands_where_the_runs_input_is_not_at_hand():
    mill = Counted(job({"name": "a", "limits": {"crm": 1}}), limits={"crm": Limit(slots=1, key="${params.region}")})
    mill.submit(region="EU")
    mill.claim_all()
    keys = {"crm": "${params.region}"}
    draft = Draft(mill.graph, Working(runs={1: mill.run()}), mill.run(), S, 0.5)
    node = mill.graph.nodes[0]
    assert takes_now(draft, node, mill.at("a"), keys) == (("crm", "EU", 1),)
    assert takes_now(draft, node, TaskCell(1, 0), keys) == (("crm", "", 1),)
