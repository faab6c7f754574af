"""A restart repeats nothing that had succeeded, and everything that hangs on what is repeated."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.core.mill import Cancel, Mill, TaskState, job, value
from tests.property import random_graphs

from headrace.core.graph import compile as compile_job
from headrace.core.restarting import plan, taken
from headrace.core.work import Offer
from headrace.model.cells import InputMore, RunInput
from headrace.model.changes import Restarted, Submit, Wake
from headrace.model.definition import JobDefinition
from headrace.model.errors import Refused
from headrace.model.facts import RunRestarted, TaskTaken
from headrace.model.ids import WHOLE
from headrace.model.states import RUN_FINAL, RunState

CHAIN = job(*({"name": name, "needs": list(needs)} for name, needs in {"a": "", "b": "a", "c": "b"}.items()))


def restart(mill: Mill, *, since: str = "failed", old: int = 1, new: int = 2, **params: Any) -> None:
    """What the API does: plan, read, and ask for both changes."""
    cells = {no: mill.tasks[old, no, WHOLE] for no in range(len(mill.old_graph.nodes))}
    before = mill.inputs[old]
    text = msgspec.json.encode(params) if params else before.params
    found = plan(mill.graph, mill.old_graph, cells, since, same_params=text == before.params)
    more = InputMore(restarted_from=old, since=since, groups=tuple(found.groups.items()))
    whole = [
        taken(replace(cells[no], result=mill._raw(cells[no].key)), (new, at, WHOLE)) for at, no in found.tasks.items()
    ]
    mill.one(Restarted(old, new))
    mill.one(Submit(RunInput(new, 1, "job", 1, mill.now, text, more=more), tuple(whole)))


class TwoRuns(Mill):
    """A mill whose second run may have another version of the definition."""

    def __init__(self, definition: JobDefinition, **more: Any) -> None:
        super().__init__(definition, **more)
        self.old_graph = self.graph

    def change(self, definition: JobDefinition) -> None:
        self.graph = compile_job(definition)


def ran(mill: Mill, run: int) -> set[str]:
    """The tasks and instances of a run of which an attempt was made."""
    return {
        mill.graph.nodes[no].name + (f"[{index}]" if index >= 0 else "")
        for (of, no, index), cell in mill.tasks.items()
        if of == run and cell.attempt and cell.counts is None
    }


def played(definition: JobDefinition, work: Any, *, run: int = 1, **params: Any) -> TwoRuns:
    mill = TwoRuns(definition)
    mill.submit(run, **params)
    mill.play(work)
    assert mill.run(run).state in RUN_FINAL
    return mill


def failing(*names: str) -> Any:
    return lambda name, order: ("failed", None) if name in names else ("succeeded", {"of": name})


def test_what_had_succeeded_is_taken_over_with_its_result():
    mill = played(CHAIN, failing("b"))
    mill.facts.clear()
    restart(mill)
    assert (mill.states(2), mill.at("a", run=2).more.origin) == (
        {"a": "succeeded", "b": "dispatched", "c": "blocked"},
        (1, 0, WHOLE),
    )
    assert RunRestarted(by=2) in mill.facts
    assert TaskTaken(0, WHOLE, 1) in mill.facts
    assert mill.run(1).more.restarted_as == (2,)
    mill.play()
    assert (mill.run(2).state, mill.run(2).succeeded, ran(mill, 2)) == (RunState.succeeded, 3, {"b", "c"})
    assert msgspec.json.decode(mill.at("a", run=2).result.data) == {"of": "a"}


@pytest.mark.parametrize(("since", "again"), [("failed", "bc"), ("a", "abc"), ("b", "bc"), ("start", "abc")])
def test_where_a_restart_begins(since, again):
    mill = played(CHAIN, failing("b"))
    restart(mill, since=since)
    mill.play()
    assert (ran(mill, 2), mill.run(2).state) == (set(again), RunState.succeeded)


def test_from_a_task_that_had_succeeded_repeats_it_and_what_hangs_on_it():
    mill = played(job({"name": "x"}, *msgspec.to_builtins(CHAIN)["tasks"]), failing())
    restart(mill, since="b")
    mill.play()
    assert ran(mill, 2) == {"b", "c"}


def test_a_restart_of_a_restart_names_whose_work_it_was_at_first():
    mill = played(CHAIN, failing("b"))
    restart(mill)
    mill.play(failing("c"))
    restart(mill, old=2, new=3)
    mill.play()
    assert (mill.at("a", run=3).more.origin, mill.at("b", run=3).more.origin) == ((1, 0, WHOLE), (2, 1, WHOLE))
    assert ran(mill, 3) == {"c"}


def test_a_canceled_run_goes_on_where_it_was():
    mill = TwoRuns(CHAIN)
    mill.submit()
    mill.settle(mill.take())
    mill.one(Cancel(1))
    mill.settle(mill.take(), "canceled")
    restart(mill)
    mill.play()
    assert (ran(mill, 2), mill.run(2).state) == ({"b", "c"}, RunState.succeeded)


def test_a_handler_of_a_failure_is_decided_anew_and_tidying_is_done_again():
    definition = job(
        {"name": "a"},
        {"name": "tell", "needs": [{"task": "a", "state": "failed"}]},
        {"name": "tidy", "finally": True},
        {"name": "b"},
    )
    mill = played(definition, failing("a"))
    assert ran(mill, 1) == {"a", "tell", "tidy", "b"}
    restart(mill)
    mill.play()
    assert (mill.states(2)["tell"], ran(mill, 2)) == ("skipped", {"a", "tidy"})


def test_what_began_by_one_alternative_that_stands_is_not_repeated():
    definition = job({"name": "a"}, {"name": "b"}, {"name": "c", "needs": {"any": ["a", "b"]}})
    mill = played(definition, failing("a"))
    restart(mill)
    mill.play()
    assert ran(mill, 2) == {"a"}


def test_a_failed_tidying_alone_is_done_again():
    mill = played(job({"name": "a"}, {"name": "tidy", "finally": True}), failing("tidy"))
    restart(mill)
    mill.play()
    assert (ran(mill, 2), mill.run(2).state) == ({"tidy"}, RunState.succeeded)


def test_instances_that_succeeded_are_not_repeated():
    definition = job({"name": "list"}, {"name": "g", "each": "${tasks.list.result}"}, {"name": "sum", "needs": ["g"]})

    def work(name: str, order: Any) -> Any:
        if name == "list":
            return "succeeded", [5, 6, 7, 8]
        return ("failed", None) if name == "g" and order.key[2] % 2 else ("succeeded", order.key[2])

    mill = played(definition, work)
    restart(mill)
    mill.play(lambda name, order: ("succeeded", [name, order.key[2]]))
    assert ran(mill, 2) == {"g[1]", "g[3]", "sum"}
    assert mill.at("g", 0, run=2).more.origin == (1, 1, 0)
    counts = mill.at("g", run=2).counts
    assert (counts.total, counts.created, counts.succeeded, counts.live) == (4, 4, 4, 0)


@pytest.mark.parametrize("concurrency", [None, 3])
@pytest.mark.parametrize("source", ["paged", "fixed", "whole"])
def test_a_large_group_is_taken_over_page_by_page(source, concurrency):
    many = list(range(1_000))
    each: Any = {"paged": "${tasks.list.result}", "fixed": many, "whole": {"zip": ["${tasks.list.result}"]}}[source]
    limit = {} if concurrency is None else {"concurrency": concurrency}
    definition = job({"name": "list"}, {"name": "g", "each": each, **limit}, {"name": "sum", "needs": ["g"]})
    bad = {3, 250, 251, 999}

    def work(name: str, order: Any) -> Any:
        if name == "list":
            return "succeeded", many
        return ("failed", None) if order.key[2] in bad else ("succeeded", None)

    mill = played(definition, work)
    restart(mill)
    mill.play()
    assert ran(mill, 2) == {*(f"g[{index}]" for index in bad), "sum"}
    assert mill.run(2).state == RunState.succeeded


def test_a_group_of_which_all_had_succeeded_needs_no_attempt_and_its_list_is_whole():
    definition = job({"name": "g", "each": [1, 2, 3]}, {"name": "b", "needs": ["g"]}, result="${tasks.g.result}")
    large = "x" * 5_000
    mill = played(definition, lambda name, order: ("failed", None) if name == "b" else ("succeeded", large))
    assert mill.at("g", 0).result.place == "aside"
    restart(mill)
    mill.play()
    assert (ran(mill, 2), mill.result(2)) == ({"b"}, [large] * 3)


def test_other_items_are_done_and_what_hangs_on_them():
    definition = job({"name": "g", "each": "${params.items}"}, {"name": "sum", "needs": ["g"]}, {"name": "bad"})
    mill = played(definition, failing("bad"), items=[1, 2, 3])
    restart(mill, items=[1, 9, 3])
    mill.play()
    assert ran(mill, 2) == {"g[1]", "sum", "bad"}


def test_a_large_result_is_at_hand_for_the_task_that_reads_it():
    definition = job({"name": "a"}, {"name": "b", "command": ["echo", "${tasks.a.result}"]})
    mill = played(definition, lambda name, order: ("failed", None) if name == "b" else ("succeeded", "x" * 2_000))
    restart(mill)
    assert mill.take().spec.argv == ("echo", "x" * 2_000)
    assert mill.at("a", run=2).result.place == "aside"


def test_tasks_of_another_version_are_known_by_their_names():
    mill = played(CHAIN, failing("b"))
    mill.change(job({"name": "new"}, {"name": "b", "needs": ["a", "new"]}, {"name": "a"}))
    restart(mill)
    mill.play()
    assert ran(mill, 2) == {"new", "b"}
    assert mill.at("a", run=2).more.origin == (1, 0, WHOLE)


def test_a_task_that_has_become_a_group_is_done():
    mill = played(CHAIN, failing("b"))
    mill.change(job({"name": "a", "each": [1]}, {"name": "b", "needs": ["a"]}))
    restart(mill)
    mill.play()
    assert ran(mill, 2) == {"a[0]", "b"}


def test_only_an_ended_run_can_be_restarted():
    mill = TwoRuns(CHAIN)
    mill.submit()
    with pytest.raises(Refused, match="run 1 is queued: restart refused"):
        mill.one(Restarted(1, 2))


def test_no_more_than_a_bounded_number_of_restarts_is_kept():
    mill = played(CHAIN, failing("b"))
    for by in range(2, 150):
        mill.one(Restarted(1, by))
    assert mill.run(1).more.restarted_as[-1] == 149
    assert len(mill.run(1).more.restarted_as) == 100


@pytest.mark.parametrize("part", range(4))
def test_a_restart_of_a_random_graph_repeats_nothing_that_had_succeeded(part):
    for seed in range(part * 250, part * 250 + 250):
        dice = random.Random(seed)
        doc = random_graphs.definition(dice)
        for task in doc["tasks"]:
            if task.pop("job", None) or task.pop("wait", None):
                task["command"] = ["true"]
        mill = TwoRuns(msgspec.convert(doc, JobDefinition), offers=[Offer(1, 7, 10**9)])
        mill.submit()
        mill.play(lambda name, order, dice=dice: dice.choice(["succeeded", "succeeded", "failed"]))
        if dice.random() < 0.2 and mill.run().state not in RUN_FINAL:
            mill.one(Cancel(1))
        restart(mill)
        mill.play()
        assert mill.run(2).state in RUN_FINAL, (seed, doc)
        cells = [mill.tasks[1, node.no, WHOLE] for node in mill.graph.nodes]
        cut = {c.no for c in cells if c.counts is not None and c.counts.skipped and mill.graph.stop_on_failure}
        undone = {c.no for c in cells if c.state != TaskState.succeeded} | cut | set(mill.graph.finals)
        again = {mill.graph.nodes[no].name for no in undone}
        while more := {t["name"] for t in doc["tasks"] if t["name"] not in again and _needs(t) & again}:
            again |= more
        begun = {name.partition("[")[0] for name in ran(mill, 2)}
        assert begun <= again, (seed, doc)
        for (run, no, index), cell in list(mill.tasks.items()):
            old = mill.tasks.get((1, no, index))
            kept = old is not None and index >= 0 and old.state == TaskState.succeeded
            if run == 2 and kept and cell.attempt:
                assert mill.graph.nodes[no].final or _needs(doc["tasks"][no]) & again, (seed, doc)
        run2 = mill.run(2)
        assert (run2.live, run2.left, run2.finals, run2.due_at) == (0, 0, 0, 0)


def _needs(task: dict[str, Any]) -> set[str]:
    needs = task.get("needs", [])
    listed = needs["any"] if isinstance(needs, dict) else needs
    return {need if isinstance(need, str) else need["task"] for need in listed}


def test_the_value_that_a_taken_cell_brings_is_the_old_one():
    mill = played(CHAIN, failing("b"))
    cell = taken(replace(mill.at("a"), result=value({"of": "a"})), (2, 0, WHOLE))
    assert (cell.run, cell.attempt, cell.epoch, cell.seal, cell.version) == (2, 0, 0, b"", 1)


def test_a_wake_without_the_name_of_its_page_takes_over_the_same_instances():
    class Forgetful(TwoRuns):
        forgot = 0

        def _group(self, changes):
            if len(changes) == 1 and isinstance(changes[0], Wake) and changes[0].first > 0 and not self.forgot:
                self.forgot = changes[0].first
                changes = [replace(changes[0], first=0)]
            return super()._group(changes)

    mill = Forgetful(job({"name": "g", "each": list(range(450))}))
    mill.forgot = -1
    mill.submit()
    mill.play(lambda name, order: ("failed" if order.key[2] % 100 == 7 else "succeeded", order.key[2]))
    mill.forgot = 0
    restart(mill)
    assert mill.forgot == 200
    assert (mill.at("g", run=2).counts.succeeded, mill.at("g", run=2).counts.live) == (445, 5)
