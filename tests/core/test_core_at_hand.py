"""What a step does when something it would read is not in the working set: it waits, asks again, or is refused loudly."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.core.mill import Cancel, Claim, Lose, Mill, RunState, TaskState, Wake, job, value

from headrace.core.draft import Draft
from headrace.core.graph import compile as compile_job
from headrace.core.nodes import Reads
from headrace.core.policy import another, names_of
from headrace.core.render import fix, plain_attempt
from headrace.core.stepping import NOTHING, step
from headrace.core.work import Working
from headrace.model.cells import Counts, RunCell, TaskCell, Value
from headrace.model.changes import OutcomeKind, Settle
from headrace.model.ids import WHOLE


def working_of(mill, *keys, given=False):
    """A working set of these cells only."""
    cells = {key: mill.tasks[key] for key in keys}
    inputs = dict(mill.inputs) if given else {}
    return Working(runs=dict(mill.runs), tasks=cells, inputs=inputs, offers=list(mill.offers))


def test_a_ready_task_is_not_given_out_while_a_result_it_reads_is_not_here():
    mill = Mill(job({"name": "a"}, {"name": "b", "command": ["x", "${tasks.a.result}"]}), room=1)
    mill.submit()
    mill.waiting = frozenset({mill.graph.nodes[1].klass})
    mill.settle(mill.take(), result="r" * 3_000)
    ready = mill.at("b")
    assert ready.state == TaskState.ready
    for loaded in (working_of(mill, ready.key, given=True), working_of(mill, (1, 0, WHOLE), ready.key, given=True)):
        assert step(mill.graph, loaded, Claim(*ready.key), mill.now, 0.5) == NOTHING
        assert loaded.offers[0].free == 1
    mill.one(Claim(*ready.key))
    assert mill.take().spec.argv == ("x", "r" * 3_000)


def test_a_plain_task_becomes_ready_when_the_parameters_are_not_here_and_is_given_out_later():
    mill = Mill(job({"name": "a"}, {"name": "b", "needs": ["a"]}, {"name": "c"}))
    mill.submit(day="x")
    told = mill.outcome(mill.take())
    decided = step(mill.graph, working_of(mill, (1, 0, WHOLE), (1, 1, WHOLE)), told, mill.now, 0.5)
    assert {cell.no: cell.state for cell in decided.tasks} == {0: TaskState.succeeded, 1: TaskState.ready}


def test_what_reads_a_value_knows_whether_it_is_here():
    graph = compile_job(job({"name": "a"}, {"name": "g", "each": [1]}))
    large = TaskCell(1, 0, result=Value(9_000, "aside"))
    small = TaskCell(1, 0, result=value(5))

    def draft(**held):
        return Draft(graph, Working(**held), RunCell(1, 1), 0, 0.0)

    empty = draft()
    assert not empty.at_hand(Reads(input=True))
    assert not empty.at_hand(Reads(cells=(0,)))
    assert not empty.at_hand(Reads(values=(0,)))
    assert not empty.at_hand(Reads(gathers=(1,)))
    assert empty.value(0) is None
    assert draft(tasks={(1, 0, WHOLE): TaskCell(1, 0)}).value(0) is None
    assert draft(tasks={(1, 0, WHOLE): TaskCell(1, 0)}).has_value(0)
    assert not draft(tasks={(1, 0, WHOLE): large}).has_value(0)
    held = draft(tasks={(1, 0, WHOLE): small})
    assert held.has_value(0)
    assert held.value(0) == held.value(0) == 5


@pytest.mark.parametrize("missing", ["group", "gate"])
def test_a_working_set_without_what_reach_named_is_refused_loudly(missing):
    if missing == "group":
        mill = Mill(job({"name": "g", "each": [1, 2]}))
        mill.submit()
        order = mill.take()
        change = mill.outcome(order, "failed")
        loaded = working_of(mill, order.key)
    else:
        mill = Mill(job({"name": "a"}, {"name": "f", "finally": True, "needs": ["a"]}))
        mill.submit()
        mill.graph, kept = compile_job(job({"name": "a"}, {"name": "f", "finally": True})), mill.graph
        decided = step(kept, working_of(mill, (1, 0, WHOLE)), mill.outcome(mill.take()), mill.now, 0.5)
        mill.graph = kept
        mill.runs[1] = decided.run
        change = decided.commands[-1].change
        loaded = working_of(mill, (1, 1, WHOLE))
    with pytest.raises(AssertionError, match="is not loaded"):
        step(mill.graph, loaded, change, mill.now, 0.5)


def test_counts_in_a_cell_of_a_task_without_instances_are_refused_loudly():
    mill = Mill(job({"name": "a"}, {"name": "b"}))
    mill.submit()
    odd = replace(mill.at("a"), counts=Counts(), due_at=1)
    with pytest.raises(AssertionError, match="no group"):
        step(mill.graph, Working(runs=dict(mill.runs), tasks={odd.key: odd}), Wake(*odd.key), mill.now, 0.5)


def test_a_group_whose_items_are_read_of_others_is_woken_again_until_they_are_here():
    mill = Mill(job({"name": "a"}, {"name": "g", "each": {"zip": ["${tasks.a.result}", [7, 8]]}}), room=1)
    mill.submit()
    mill.settle(mill.take(), result=[1, 2])
    group = replace(mill.at("g"), counts=Counts(total=-1), due_at=mill.now, state=TaskState.running)
    mill.tasks[group.key] = group
    decided = step(mill.graph, working_of(mill, group.key), Wake(*group.key), mill.now, 0.5)
    assert [command.change for command in decided.commands] == [Wake(*group.key)]
    assert decided.tasks[0].due_at == mill.now


def test_a_group_of_a_task_without_a_result_fails_because_there_is_no_list():
    mill = Mill(
        job({"name": "a"}, {"name": "g", "needs": [{"task": "a", "state": "ended"}], "each": "${tasks.a.result}"})
    )
    mill.submit()
    mill.settle(mill.take(), "failed")
    assert (mill.at("g").state, mill.at("g").reason) == (TaskState.failed, "expression")


def test_a_list_with_an_alternative_is_read_whole():
    graph = compile_job(job({"name": "a"}, {"name": "g", "each": '${tasks.a.result ?? "x"}'}))
    assert graph.nodes[1].each.paged is None


def test_a_fixed_task_refers_to_nothing_and_a_task_with_texts_is_never_taken_for_one():
    graph = compile_job(job({"name": "a", "command": ["x", "${params.y}"]}))
    with pytest.raises(AssertionError, match="has expressions"):
        plain_attempt(graph.nodes[0].source, b"{}")
    with pytest.raises(AssertionError, match="refers to params"):
        fix(graph.nodes[0].source)


def test_a_failure_without_an_exit_code_is_named_by_its_classes_only():
    said = Settle(1, 0, WHOLE, 1, OutcomeKind.failed, 1, 1, error_types=("app.NoData",))
    assert names_of(said) == {"app.NoData", "NoData"}
    policy = compile_job(job({"name": "a", "retries": {"max": 1, "only": ["NoData"]}})).nodes[0].retry
    assert another(policy, said, 1)


def test_a_wake_of_a_cell_that_owes_nothing_in_its_state_changes_nothing():
    mill = Mill(job({"name": "a"}), room=0)
    mill.submit()
    odd = replace(mill.at("a"), due_at=1)
    assert step(mill.graph, Working(runs=dict(mill.runs), tasks={odd.key: odd}), Wake(1, 0), 5, 0.5) == NOTHING


def test_a_need_that_is_decided_already_is_not_looked_at_again():
    mill = Mill(job({"name": "a"}, {"name": "c"}, {"name": "b", "needs": ["a", "c"]}, {"name": "z"}))
    mill.submit()
    first, second = mill.take(), mill.take()
    mill.settle(first, "failed")
    mill.settle(second)
    assert (mill.states()["b"], mill.at("b").reason) == ("skipped", "needs")


def test_the_second_alternative_that_holds_changes_nothing():
    mill = Mill(job({"name": "a"}, {"name": "b"}, {"name": "d"},
                    {"name": "e", "needs": {"any": ["a", "b"]}, "env": {"D": "${tasks.d.state}"}}))  # fmt: skip
    mill.submit()
    mill.settle(mill.take())
    before = mill.at("e")
    mill.settle(mill.take())
    assert mill.at("e") == before
    mill.settle(mill.take())
    assert mill.at("e").state == TaskState.dispatched


def test_a_lost_instance_is_reached_with_its_group():
    mill = Mill(job({"name": "g", "each": [1, 2], "on_lost": "fail"}))
    mill.submit()
    order = mill.take()
    mill.one(Lose(*order.key, order.epoch, "gone"))
    assert (mill.at("g", 0).state, mill.at("g").counts.lost) == (TaskState.lost, 1)


def test_a_task_that_is_owed_a_look_when_its_run_is_canceled_is_left_to_the_sweep():
    many = [{"name": f"t{no}"} for no in range(9)]
    reader = {"name": "r", "env": {f"V{no}": f"${{tasks.t{no}.result}}" for no in range(9)}}
    mill = Mill(job(*many, reader))
    mill.submit()
    while len(mill.dispatches) > 1:
        mill.settle(mill.take())
    mill.ask(mill.outcome(mill.take()), Cancel(1))
    assert (mill.states()["r"], mill.run().state) == ("canceled", RunState.canceled)


def test_a_group_between_two_windows_is_canceled_with_all_that_it_never_created():
    mill = Mill(job({"name": "g", "each": list(range(9)), "concurrency": 1}))
    mill.submit()
    mill.ask(mill.outcome(mill.take()), Cancel(1))
    counts = mill.at("g").counts
    assert (counts.live, counts.succeeded, counts.canceled) == (0, 1, 8)
    assert mill.run().state == RunState.canceled


@pytest.mark.parametrize(("kinds", "state"), [(["failed"], "failed"), (["lost", "refused", "refused"], "lost")])
def test_a_stop_ends_what_waits_for_another_attempt_as_what_its_last_one_was(kinds, state):
    mill = Mill(job({"name": "a"}, {"name": "b", "retries": {"max": 5, "delay": "1h"}}, on_failure="stop"))
    mill.submit()
    order, other = mill.take(), mill.take()
    for kind in kinds:
        mill.settle(other, kind)
        mill.claim_all()
        other = mill.take() if mill.dispatches else None
    mill.settle(order, "failed")
    assert mill.states() == {"a": "failed", "b": state}


def test_what_a_failure_spares_by_two_ways_is_spared_once():
    tasks = [{"name": "h", "needs": [{"task": "a", "state": "failed"}]}, {"name": "i", "needs": ["h"]},
             {"name": "j", "needs": ["h"]}, {"name": "k", "needs": ["i", "j"]}]  # fmt: skip
    mill = Mill(job({"name": "a"}, *tasks, {"name": "z", "needs": ["a"]}, on_failure="stop"))
    mill.submit()
    mill.settle(mill.take(), "failed")
    mill.play()
    assert mill.states() == {"a": "failed", **dict.fromkeys("hijk", "succeeded"), "z": "skipped"}


def test_a_finally_task_that_was_skipped_before_its_page_is_left_alone():
    last = 1_001
    finals = [{"name": f"f{no}", "finally": True} for no in range(last)]
    finals[0]["needs"] = [{"task": "a", "state": "failed"}]
    mill = Mill(job({"name": "a"}, *finals, {"name": "end", "finally": True, "needs": ["f0"]}), room=5_000)
    mill.submit()
    mill.settle(mill.take())
    assert (mill.at("f0").state, mill.at("end").state) == (TaskState.skipped, TaskState.skipped)
    mill.play()
    assert mill.run().state == RunState.succeeded
