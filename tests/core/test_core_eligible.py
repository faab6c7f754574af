"""One place says whether work may start; the short way equals the long way; tables and rendering."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest
from msgspec.structs import replace
from tests.core.mill import Cancel, Claim, Lose, Mill, Offer, job

from headrace.core import eligible as rules
from headrace.core.draft import Draft, decoded
from headrace.core.eligible import Reason, choose, place_for, places_free
from headrace.core.explaining import explain
from headrace.core.graph import compile as compile_job
from headrace.core.graph import klass_of
from headrace.core.reaching import reach
from headrace.core.render import Source, fix, plain_attempt, program_places
from headrace.core.stepping import step
from headrace.core.tables import ATTEMPT_MOVES, GROUP_MOVES, RUN_MOVES, TASK_MOVES, allowed, drawing
from headrace.core.work import Working
from headrace.model.cells import RunCell, RunInput, Value
from headrace.model.changes import Settle, Submit
from headrace.model.states import RUN_FINAL, TASK_FINAL, AttemptState, RunState, TaskState


def reasons(mill, name, index=-1):
    working = Working(tasks=mill.tasks, waiting=mill.waiting)
    found = explain(mill.graph, mill.run(), mill.at(name, index), working, mill.offers, now=mill.now)
    return [reason.code for reason in found]


def test_a_reason_added_to_the_rules_holds_back_the_dispatcher_and_shows_in_explain(monkeypatch):
    def closed(kind, offer):
        return Reason("closed", "the mill is closed on Sundays")

    mill = Mill(job({"name": "a"}))
    monkeypatch.setattr(rules, "OFFER_RULES", (*rules.OFFER_RULES, closed))
    mill.submit()
    mill.one(Claim(1, 0, -1))
    assert not mill.dispatches
    assert reasons(mill, "a") == ["closed"]
    monkeypatch.undo()
    assert reasons(mill, "a") == ["next"]
    mill.one(Claim(1, 0, -1))
    assert mill.dispatches


@pytest.mark.parametrize(
    ("task", "offer", "code"),
    [
        ({"agent": {"labels": {"os": "linux"}}}, Offer(1, 7, 1, labels={"os": "mac"}), "no_label"),
        ({"agent": {"id": "x"}}, Offer(1, 7, 1, name="y"), "other_agent"),
        ({}, Offer(1, 7, 0), "no_room"),
        ({}, Offer(1, 7, 1, draining=True), "agent_draining"),
    ],
)
def test_what_an_agent_lacks_keeps_work_waiting_and_is_explained(task, offer, code):
    mill = Mill(job({"name": "a", **task}), offers=[offer])
    mill.submit()
    assert (mill.at("a").state, list(mill.dispatches)) == (TaskState.ready, [])
    assert reasons(mill, "a") == [code]


def test_an_agent_that_has_what_is_asked_for_gets_the_work():
    task = {"name": "a", "agent": {"labels": {"os": "linux"}, "id": "x"}}
    mill = Mill(
        job(task, agent={"labels": {"os": "mac", "gpu": "1"}}),
        offers=[Offer(1, 7, 1, labels={"os": "linux", "gpu": "1"}, name="x")],
    )
    mill.submit()
    assert mill.dispatches


def test_work_ahead_of_slots_counts_only_where_losing_it_is_free():
    for on_lost, expected in (("retry", 2), ("fail", 1)):
        definition = job({"name": "a", "on_lost": on_lost}, {"name": "b", "on_lost": on_lost})
        klass = compile_job(definition).nodes[0].klass
        mill = Mill(definition, offers=[Offer(1, 7, 1, ahead={klass: 1})])
        mill.submit()
        assert len(mill.dispatches) == expected


def test_explain_says_what_a_task_waits_for():
    mill = Mill(
        job(
            {"name": "a", "retries": 1},
            {"name": "b", "needs": ["a"]},
            {"name": "g", "each": [1]},
            {"name": "f", "finally": True},
        )
    )
    mill.submit()
    assert reasons(mill, "a") == ["dispatched"]
    assert reasons(mill, "b") == ["needs"]
    assert reasons(mill, "g") == ["expanding"]
    assert reasons(mill, "g", 0) == ["dispatched"]
    assert reasons(mill, "f") == ["finally"]
    mill.settle(mill.take(), "failed")
    assert reasons(mill, "a") == ["retrying"]
    mill.tasks[1, 0, -1] = replace(mill.at("a"), state=TaskState.held, reason="quarantined")
    assert reasons(mill, "a") == ["held"]
    mill.tasks[1, 0, -1] = replace(mill.at("a"), state=TaskState.ready)
    mill.waiting = frozenset({mill.graph.nodes[0].klass})
    assert reasons(mill, "a") == ["queued"]
    for state, code in (
        (RunState.paused, "run_paused"),
        (RunState.stopping, "run_stopping"),
        (RunState.failed, "run_over"),
    ):
        mill.runs[1] = replace(mill.run(), state=state)
        assert code in reasons(mill, "a")
    mill.offers.clear()
    mill.runs[1] = replace(mill.run(), state=RunState.running)
    assert reasons(mill, "a") == ["no_agent"]
    mill.tasks[1, 0, -1] = replace(mill.at("a"), state=TaskState.succeeded)
    assert reasons(mill, "a") == ["ended"]
    assert reasons(mill, "b") == ["waking"]
    del mill.tasks[1, 0, -1]
    assert reasons(mill, "b") == ["needs"]


def test_every_sentence_about_a_task_names_it_and_an_instance_its_number():
    mill = Mill(job({"name": "load", "retries": 1}, {"name": "each-one", "each": [1]}))
    mill.submit()
    for state in (TaskState.succeeded, TaskState.dispatched, TaskState.retrying, TaskState.held):
        for name, index, called in (("load", -1, "load"), ("each-one", 0, "each-one[0]")):
            cell = replace(mill.at(name, index), state=state)
            (reason,) = explain(mill.graph, mill.run(), cell, Working(), mill.offers, now=mill.now)
            assert called in reason.message.split()


@pytest.mark.parametrize("room", [0, 1])
@pytest.mark.parametrize("params", [b"{}", b'{"a":1}'])
def test_the_short_way_of_one_task_equals_the_long_way(room, params):
    short = compile_job(job({"name": "a", "priority": 3}))
    long = replace(short, fast=False)
    answers = []
    for graph in (short, long):
        working = Working(offers=[Offer(1, 7, room)])
        given = RunInput(1, 1, "a", 1, 900, params, priority=5)
        first = step(graph, working, Submit(given), 2_000_000, 0.5)
        answers.append((first, [offer.free for offer in working.offers]))
    assert answers[0] == answers[1]


def claimed(fast, params, offers, change=None, **more):
    """A waiting run of one task, claimed the short or the long way."""
    mill = Mill(job({"name": "a", "retries": {"max": 1, "delay": "0s"}, **more}), room=0)
    mill.submit(**params)
    mill.graph = replace(mill.graph, fast=fast)
    if change is not None:
        change(mill)
    mill.offers.extend(offers())
    step_ = mill.one(Claim(1, 0, -1))
    return step_, mill.run(), mill.at("a"), [offer.free for offer in mill.offers], list(mill.dispatches)


def lost_once(mill):
    mill.offers.append(Offer(1, 7, 1))
    mill.one(Claim(1, 0, -1))
    mill.one(Lose(1, 0, -1, mill.take().epoch, "gone"))
    mill.offers.clear()
    mill.tasks[1, 0, -1] = replace(mill.at("a"), state=TaskState.ready)


@pytest.mark.parametrize("params", [{}, {"a": 1}])
@pytest.mark.parametrize("more", [{}, {"command": ["echo", "${run.id}"]}, {"on_lost": "fail"}])
@pytest.mark.parametrize("change", [None, lost_once, lambda mill: mill.one(Cancel(1))])
@pytest.mark.parametrize("free", [-1, 0, 2])
def test_the_short_claim_of_one_task_equals_the_long_one(params, more, change, free):
    klass = compile_job(job({"name": "a"})).nodes[0].klass
    offers = lambda: [Offer(3, 8, free, ahead={klass: 2}), Offer(4, 9, 1, draining=True)]  # noqa: E731
    if change is lost_once and more:
        more = {key: text for key, text in more.items() if key != "on_lost"}
    assert claimed(True, params, offers, change, **more) == claimed(False, params, offers, change, **more)


def test_a_run_without_parameters_is_claimed_without_its_input():
    for params, wanted in (({}, False), ({"a": 1}, True)):
        mill = Mill(job({"name": "a"}), room=0)
        mill.submit(**params)
        assert reach(mill.graph, mill.run(), Claim(1, 0, -1)).input == wanted
        working = Working(runs=mill.runs, tasks=mill.tasks, offers=[Offer(1, 7, 1)])
        assert bool(step(mill.graph, working, Claim(1, 0, -1), 1, 0.5).tasks) == (not wanted)


def test_the_claim_loop_and_core_agree_about_where_a_class_may_go():
    for on_lost, expected in (("retry", 1), ("fail", -1)):
        node = compile_job(job({"name": "a", "on_lost": on_lost, "agent": {"labels": {"os": "x"}}})).nodes[0]
        offers = [Offer(1, 7, 5), Offer(2, 8, 0, labels={"os": "x"}, ahead={node.klass: 1})]
        assert place_for(node.placement, node.klass, offers) == expected
        assert choose(node, RunCell(1, 1), offers) == expected
        assert choose(node, RunCell(1, 1, RunState.stopping), offers) == -1


@pytest.mark.parametrize("started", [False, True])
def test_the_short_success_of_one_task_equals_the_long_one(started):
    answers = []
    for fast in (True, False):
        mill = Mill(job({"name": "a"}))
        mill.submit()
        mill.graph = replace(mill.graph, fast=fast)
        order = mill.take()
        if started:
            from tests.core.mill import Started

            mill.one(Started(*order.key, order.epoch, 77))
        answers.append((mill.settle(order, result={"x": 1}, exit_code=0), mill.run(), mill.at("a")))
    assert answers[0] == answers[1]


def test_a_step_that_is_refused_has_taken_no_room():
    graph = compile_job(job({"name": "a"}))
    working = Working(offers=[Offer(1, 7, 1)])
    step(graph, working, Submit(RunInput(1, 1, None, None, 0)), 1, 0.5)
    assert (working.runs, working.tasks, working.offers[0].free) == ({}, {}, 0)


def test_every_pair_of_states_is_in_the_tables_or_forbidden():
    for kind, moves, final in (
        (RunState, RUN_MOVES, RUN_FINAL),
        (TaskState, TASK_MOVES, TASK_FINAL),
        (AttemptState, ATTEMPT_MOVES, {s for s in AttemptState if s >= AttemptState.succeeded}),
    ):
        for old, new in product(kind, kind):
            assert allowed(old, new) == ((old, new) in moves or old is new)
            if old in final and old is not new:
                assert not allowed(old, new)
    assert not allowed(RunState.queued, TaskState.ready)


def test_the_drawing_names_every_move():
    drawn = drawing()
    assert drawn["task"].count("-->") == len(TASK_MOVES) + len(TASK_FINAL)
    assert "queued --> running" in drawn["run"]
    assert "dispatched --> refused" in drawn["attempt"]
    assert "blocked --> running" in drawn["group"]


def test_a_group_makes_no_move_that_a_task_does_not():
    assert set(GROUP_MOVES) < set(TASK_MOVES)


@pytest.mark.parametrize(
    ("argv", "places"),
    [
        (("sh", "-c", "echo ${params.x}", "${params.x}"), {2}),
        (("/bin/bash", "-lc", "p"), {2}),
        (("env", "A=1", "python3.11", "-u", "-c", "p", "-c"), {5}),
        (("perl", "-ne", "p"), {2}),
        (("grep", "-e", "p"), set()),
        (("sh", "-c"), set()),
        (("curl", "-c", "jar"), set()),
    ],
)
def test_program_text_is_found_behind_an_interpreter(argv, places):
    assert program_places(argv) == places


def test_program_text_and_scripts_are_never_rendered_and_name_nothing():
    mill = Mill(
        job(
            {"name": "a", "command": ["sh", "-c", "echo ${tasks.b.result} $1", "sh", "${params.x}"]},
            {"name": "b", "script": "echo ${tasks.a.result} ${params.x}"},
        )
    )
    mill.submit(x=[1])
    first, second = mill.dispatches
    assert first.spec.argv == ("sh", "-c", "echo ${tasks.b.result} $1", "sh", "[1]")
    assert (second.spec.script, second.spec.argv) == ("echo ${tasks.a.result} ${params.x}", ("sh", "-eu"))


def test_a_python_task_gets_its_arguments_typed_and_its_package_by_digest():
    definition = job(
        {
            "name": "a",
            "python": "m:f",
            "with": {"n": "${params.n}", "t": "n=${params.n}"},
            "timeout": "5s",
            "grace": "1s",
        },
        {"name": "b", "python": "m:f", "package": "p"},
        package="q",
        packages={"p": "d1", "q": "d2"},
        env={"E": "${params.n}"},
    )
    mill = Mill(definition)
    mill.submit(n=3)
    spec, other = (order.spec for order in mill.dispatches)
    assert msgspec.json.decode(spec.args) == {"n": 3, "t": "n=3"}
    assert (spec.target, spec.package, spec.timeout_ms, spec.grace_ms, spec.env) == (
        "m:f",
        "d2",
        5_000,
        1_000,
        {"E": "3"},
    )
    assert other.package == "d1"


def test_a_task_without_expressions_is_rendered_once():
    source = Source("command", "a", "j", ("echo", "$${x}"))
    fixed = fix(source)
    source = replace(source, fixed=fixed)
    assert plain_attempt(source, b"{}") is fixed
    assert fixed.argv == ("echo", "${x}")
    assert plain_attempt(source, b'{"a":1}') == replace(fixed, params=b'{"a":1}')


def test_the_class_of_a_task_is_stable():
    node = compile_job(job({"name": "a"})).nodes[0]
    assert node.klass == klass_of(node.placement) == 248373654044611
    assert node.klass < 2**48


def test_lines_are_a_list_and_the_short_way_leaves_large_results_to_the_long_one():
    assert decoded(Value(4, "inline", b"1\n2\n", lines=True)) == [1, 2]
    mill = Mill(job({"name": "a"}))
    mill.submit()
    mill.settle(mill.take(), result="x" * 5_000)
    assert (mill.at("a").result.place, mill.run().state) == ("aside", RunState.succeeded)
    assert isinstance(Draft(mill.graph, Working(), mill.run(), 0, 0.5).finish().facts, tuple)
    assert Settle


def test_free_places_are_those_that_work_could_have_now():
    offers = [Offer(1, 7, 3), Offer(2, 8, -4), Offer(3, 9, 5, draining=True), Offer(4, 10, 1)]
    assert places_free(offers) == 4
