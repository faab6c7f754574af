"""Groups: expansion in windows, their state, their result."""

from __future__ import annotations

import pytest
from tests.core.mill import Cancel, Mill, TaskState, Wake, job, value

from headrace.core import groups
from headrace.core.groups import WHOLE_LIST
from headrace.core.nodes import GROWTH
from headrace.model.cells import Value
from headrace.model.changes import Settle
from headrace.model.facts import GroupExpanded
from headrace.model.states import RunState


def played(task, said=None, **more):
    mill = Mill(job({"name": "g", **task}, *more.pop("tasks", []), **more))
    mill.submit()
    mill.play(lambda name, order: said[order.key[2]] if said and name == "g" else "succeeded")
    return mill


def test_one_instance_per_item_knows_item_and_index():
    mill = Mill(
        job({"name": "g", "each": ["a", {"k": 1}], "command": ["x", "${item}", "${index}"], "label": "${item}"})
    )
    mill.submit()
    assert [(o.spec.argv, o.spec.label) for o in mill.dispatches] == [
        (("x", "a", "0"), "a"),
        (("x", '{"k":1}', "1"), '{"k":1}'),
    ]


@pytest.mark.parametrize(
    ("said", "state", "run"),
    [
        (["succeeded", "succeeded"], "succeeded", RunState.succeeded),
        (["succeeded", "failed"], "failed", RunState.failed),
        (["canceled", "failed"], "failed", RunState.failed),
        (["canceled", "succeeded"], "canceled", RunState.canceled),
        ([("succeeded", None, {"skip": True})] * 2, "skipped", RunState.succeeded),
        ([("succeeded", None, {"skip": True}), "succeeded"], "succeeded", RunState.succeeded),
    ],
)
def test_the_state_of_a_group_comes_from_its_instances(said, state, run):
    mill = played({"each": [1, 2]}, said)
    assert mill.states()["g"] == state
    assert mill.run().state == run


def test_the_result_of_a_group_is_the_list_in_item_order_with_null_where_there_is_none():
    said = [("succeeded", "a"), ("failed", None), ("succeeded", "c"), ("succeeded", None, {"skip": True})]
    mill = played({"each": [1, 2, 3, 4], "allow_failure": True}, said)
    assert mill.result() == ["a", None, "c", None]
    assert mill.run().state == RunState.succeeded


def test_a_dependent_reads_the_list_of_results():
    mill = Mill(job({"name": "g", "each": [1, 2]}, {"name": "h", "command": ["x", "${tasks.g.result}"]}))
    mill.submit()
    mill.settle(mill.take(), result=10)
    mill.settle(mill.take(), result=20)
    assert mill.take().spec.argv == ("x", "[10,20]")


def test_an_empty_list_succeeds_with_an_empty_result():
    mill = played({"each": []})
    assert (mill.states()["g"], mill.result()) == ("succeeded", [])


@pytest.mark.parametrize(
    ("each", "reason"),
    [
        ("${params.no}", "expression"),
        ("${params.n}", "each"),
        ({"zip": [[1], [1, 2]]}, "each"),
        ({"product": [1]}, "each"),
        ("${params}", "each"),
    ],
)
def test_what_is_no_list_fails_the_group(each, reason):
    mill = Mill(job({"name": "g", "each": each}))
    mill.submit(n=3)
    assert (mill.at("g").state, mill.at("g").reason) == (TaskState.failed, reason)
    assert mill.run().state == RunState.failed


@pytest.mark.parametrize(
    ("each", "items"),
    [
        ({"zip": [[1, 2], ["a", "b"]]}, ['[1,"a"]', '[2,"b"]']),
        ({"product": [[1, 2], ["a", "b"]]}, ['[1,"a"]', '[1,"b"]', '[2,"a"]', '[2,"b"]']),
    ],
)
def test_zip_and_product_make_items_of_several_lists(each, items):
    mill = Mill(job({"name": "g", "each": each, "command": ["x", "${item}"]}))
    mill.submit()
    assert [order.spec.argv[1] for order in mill.dispatches] == items


def test_concurrency_bounds_the_live_instances():
    mill = Mill(job({"name": "g", "each": list(range(10)), "concurrency": 3}))
    mill.submit()
    most = 0
    while mill.dispatches:
        most = max(most, len(mill.dispatches))
        mill.settle(mill.take())
    assert most == 3
    assert mill.at("g").counts.succeeded == 10


def test_a_large_group_is_expanded_in_chunks_within_its_window():
    mill = Mill(job({"name": "a"}, {"name": "g", "each": "${tasks.a.result}"}), room=10**6)
    mill.submit()
    mill.settle(mill.take(), result=list(range(4_500)))
    assert mill.at("g").counts.created == 2_000
    chunks = [fact.created for fact in mill.facts if isinstance(fact, GroupExpanded)]
    assert chunks == list(range(GROWTH, 2_001, GROWTH))
    mill.play()
    counts = mill.at("g").counts
    assert (counts.total, counts.succeeded, counts.live) == (4_500, 4_500, 0)
    assert mill.run().state == RunState.succeeded


def test_an_instance_touches_its_group_but_not_the_run():
    mill = Mill(job({"name": "g", "each": [1, 2, 3]}))
    mill.submit()
    mill.settle(mill.take())
    decided = mill.settle(mill.take())
    assert decided.run is None
    assert {cell.index for cell in decided.tasks} == {1, -1}


def test_a_list_of_unknown_length_is_loaded_whole():
    mill = Mill(job({"name": "a"}, {"name": "g", "each": "${tasks.a.result}"}))
    mill.submit()
    order = mill.take()
    told = mill.outcome(order)
    text = value([1, 2, 3])
    mill.one(Settle(1, 0, -1, order.epoch, told.kind, 1, 2, result=Value(text.size, "inline", text.data), digest=b"d"))
    assert mill.at("g").counts.created == 3
    assert WHOLE_LIST == -1


class Telling(Mill):
    """A mill that says how many items a list has, as who loads a page of it knows."""

    wakes = 0

    def _load_keys(self, working, keys, run):
        super()._load_keys(working, keys, run)
        if keys.items and keys.items[0] in self.tasks:
            working.totals[keys.items[0]] = len(self._value(keys.items[0]))

    def _group(self, changes):
        self.wakes += sum(isinstance(change, Wake) and change.no == 1 for change in changes)
        assert not any(isinstance(change, Wake) and change.first < 0 for change in changes), "the whole list"
        return super()._group(changes)


def test_a_list_of_unknown_length_is_read_in_pages_where_its_length_is_told_with_them():
    mill = Telling(job({"name": "a"}, {"name": "g", "each": "${tasks.a.result}", "concurrency": 2}))
    mill.submit()
    order = mill.take()
    text = value([1, 2, 3, 4, 5])
    told = mill.outcome(order)
    mill.one(Settle(1, 0, -1, order.epoch, told.kind, 1, 2, result=Value(text.size, "inline", text.data), digest=b"d"))
    while mill.dispatches:
        mill.settle(mill.take())
    assert mill.at("g").counts.succeeded == 5
    assert mill.wakes == 4, "each with the name of its page"


def test_instances_of_which_the_input_is_not_here_are_ready_and_wait():
    mill = Mill(job({"name": "g", "each": [1, 2], "command": ["echo", "${params.x}"]}))
    mill.inputs = type("Gone", (dict,), {"__contains__": lambda *_: False})()
    mill.submit(x=1)
    assert [mill.at("g", index).state for index in (0, 1)] == [TaskState.ready] * 2


def test_instances_of_which_a_value_is_not_here_are_ready_and_wait():
    class Lost(Mill):
        def _raw(self, key):
            return None

    mill = Lost(job({"name": "a"}, {"name": "g", "needs": ["a"], "each": [1], "command": ["e", "${tasks.a.result}"]}))
    mill.submit()
    mill.settle(mill.take(), result="x" * 2_000)
    assert mill.at("g", 0).state == TaskState.ready


def test_a_wake_for_the_wrong_page_is_followed_by_one_for_the_right_page():
    mill = Mill(job({"name": "a"}, {"name": "g", "each": "${tasks.a.result}", "concurrency": 2}))
    mill.submit()
    mill.settle(mill.take(), result=[1, 2, 3, 4, 5])
    mill.settle(mill.take())
    assert mill.at("g").counts.created == 3
    mill.one(Wake(1, 1))
    assert mill.at("g").counts.created == 3, "nothing was owed"


def test_an_instance_whose_item_lacks_a_value_fails_alone():
    mill = Mill(job({"name": "g", "each": [{"k": 1}, {}], "command": ["x", "${item.k}"]}))
    mill.submit()
    assert mill.at("g", 1).reason == "expression"
    mill.play()
    assert (mill.states()["g"], mill.at("g").counts.failed) == ("failed", 1)


def test_instances_are_retried_by_themselves():
    mill = Mill(job({"name": "g", "each": [1, 2], "retries": 1}))
    mill.submit()
    mill.settle(mill.take(), "failed")
    mill.play()
    assert (mill.at("g", 0).attempt, mill.at("g", 1).attempt, mill.states()["g"]) == (2, 1, "succeeded")


def test_cancel_counts_what_was_never_created():
    mill = Mill(job({"name": "g", "each": list(range(100)), "concurrency": 2}), room=1)
    mill.submit()
    mill.one(Cancel(1))
    mill.settle(mill.take(), "canceled")
    assert mill.run().state == RunState.canceled
    assert mill.at("g").counts.canceled == 100


def test_a_group_without_room_waits_ready():
    mill = Mill(job({"name": "g", "each": [1, 2]}), room=0)
    mill.submit()
    assert mill.at("g", 1).state == TaskState.ready
    assert mill.at("g").state == TaskState.running


def test_a_group_of_a_group_reads_the_gathered_list():
    mill = Mill(
        job({"name": "g", "each": [1, 2]}, {"name": "h", "each": "${tasks.g.result}", "command": ["x", "${item}"]})
    )
    mill.submit()
    mill.settle(mill.take(), result="p")
    mill.settle(mill.take(), result="q")
    assert [order.spec.argv[1] for order in mill.dispatches] == ["p", "q"]


def test_a_list_in_the_definition_is_rendered_once_and_never_copied(monkeypatch):
    mill = Mill(
        job({"name": "g", "each": [f"$${{{n}}}" for n in range(2_500)], "command": ["x", "${item}"]}), room=9_999
    )
    rendered = []
    monkeypatch.setattr(groups, "render", lambda *given: rendered.append(given))
    mill.submit()
    assert mill.dispatches[0].spec.argv == ("x", "${0}")
    mill.play()
    assert mill.at("g").counts.succeeded == 2_500
    assert rendered == []


def test_only_the_parts_with_expressions_are_rendered_for_each_instance():
    mill = Mill(job({"name": "g", "each": [1, 2], "command": ["x", "$${y}"], "env": {"N": "${item}", "M": "$${m}"},
                     "outputs": ["o"], "label": "l"}))  # fmt: skip
    mill.submit()
    first, second = mill.take().spec, mill.take().spec
    assert (first.argv, first.env) == (("x", "${y}"), {"N": "1", "M": "${m}"})
    assert (second.env["N"], second.label, second.outputs, second.args) == ("2", "l", ("o",), b"{}")
    assert first.argv is second.argv


ODD = {"any": [{"value": "${item.n}", "in": [1, 3, 5, 7, 9]}, {"value": "${index}", "ge": "${params.from}"}]}


@pytest.mark.parametrize("more", [{}, {"concurrency": 2}, {"cache": {"for": "1h"}}])
def test_a_condition_on_the_item_skips_instances_one_by_one(more):
    items = [{"n": n} for n in range(10)]
    task = {"name": "g", "each": items, "when": ODD, "command": ["x", "${item.n}"], **more}
    mill = Mill(job(task, {"name": "h", "needs": ["g"]}))
    mill.submit(**{"from": 8})
    mill.play(lambda name, order: ("succeeded", order.key[2]) if name == "g" else "succeeded")
    counts = mill.at("g").counts
    assert (counts.total, counts.live, counts.succeeded, counts.skipped) == (10, 0, 6, 4)
    skipped = [i for i in range(10) if mill.at("g", i).state == TaskState.skipped]
    assert (skipped, mill.at("g", 0).reason, mill.at("g", 0).attempt) == ([0, 2, 4, 6], "when", 0)
    assert mill.states() == {"g": "succeeded", "h": "succeeded"}


def test_a_group_whose_items_are_all_left_out_is_skipped():
    mill = Mill(job({"name": "g", "each": list(range(GROWTH + 7)), "when": {"value": "${item}", "lt": 0}}), room=10**6)
    mill.submit()
    mill.play()
    assert (mill.states()["g"], mill.at("g").counts.skipped) == ("skipped", GROWTH + 7)
    assert mill.run().state == RunState.succeeded


def test_a_condition_that_an_item_has_no_value_for_fails_that_instance():
    mill = Mill(job({"name": "g", "each": [{"n": 1}, {}], "when": {"value": "${item.n}", "eq": 1}}))
    mill.submit()
    mill.play()
    assert (mill.at("g", 0).state, mill.at("g", 1).state) == (TaskState.succeeded, TaskState.failed)
    assert (mill.at("g", 1).reason, mill.at("g", 1).attempt, mill.states()["g"]) == ("expression", 0, "failed")
