"""Work that was done before: when its result stands for another task's, and when it does not."""

from __future__ import annotations

import msgspec
import pytest
from tests.core.counted import Counted
from tests.core.mill import S, Started, TaskState, Wake, job

from headrace.core.check import check
from headrace.core.stepping import step
from headrace.core.work import Cached
from headrace.model.cells import Value
from headrace.model.ids import WHOLE
from headrace.model.states import RunState

replace = msgspec.structs.replace
FOR = {"cache": {"for": "1h"}}


class Remembering(Counted):
    """A mill that finds what succeeded before, as the ledger loads it for a wake."""

    def __init__(self, *given, **more):
        super().__init__(*given, **more)
        self.known: dict[bytes, Cached] = {}

    def _working(self):
        working = super()._working()
        working.cached = dict(self.known)
        return working

    def look_up(self):
        """Wake what waits for its look-up."""
        for cell in list(self.tasks.values()):
            if cell.state is TaskState.blocked and cell.due_at and cell.due_at <= self.now:
                self.one(Wake(*cell.key))

    def remember(self, name, run=1, index=WHOLE, **more):
        cell = self.at(name, index, run)
        found = self._raw(cell.key)
        self.known[cell.more.cache] = Cached(
            more.pop("key", cell.key), self.now, cell, replace(found, **more) if found else None
        )


def do(mill, run=1, result=None, **params):
    """Run it; whatever has to be done is done with this result."""
    mill.submit(run, **params)
    mill.look_up()
    mill.claim_all()
    while mill.dispatches:
        mill.settle(mill.take(), result=result)
        mill.look_up()
        mill.claim_all()


def test_the_same_work_with_the_same_inputs_is_not_done_again_within_its_time():
    mill = Remembering(job({"name": "a", "command": ["load", "${params.day}"], **FOR}))
    do(mill, 1, {"rows": 3}, day="mon")
    mill.remember("a")
    mill.submit(2, day="mon")
    mill.look_up()
    assert not mill.dispatches
    cell = mill.at("a", run=2)
    assert (cell.state, cell.reason, cell.attempt, cell.more.origin) == (
        TaskState.succeeded,
        "cached",
        0,
        (1, 0, WHOLE),
    )
    assert mill.run(2).state is RunState.succeeded
    assert mill.result(2) == {"rows": 3}
    do(mill, 3, day="tue")
    assert mill.at("a", run=3).attempt == 1, "other inputs"
    mill.now += 3_600 * S + 1
    do(mill, 4, day="mon")
    assert mill.at("a", run=4).attempt == 1, "too old"


def test_those_that_wait_for_cached_work_go_on_with_its_result():
    mill = Remembering(job({"name": "a", **FOR}, {"name": "b", "needs": ["a"], "command": ["x", "${tasks.a.result}"]}))
    do(mill, 1, 7)
    mill.remember("a")
    mill.submit(2)
    mill.look_up()
    mill.claim_all()
    assert mill.take().spec.argv == ("x", "7")


def test_an_explicit_key_says_what_is_the_same_work():
    mill = Remembering(
        job({"name": "a", "command": ["load", "${params.at}"], "cache": {"for": "1h", "key": "${params.day}"}})
    )
    do(mill, 1, 1, day="mon", at="1")
    mill.remember("a")
    mill.submit(2, day="mon", at="2")
    mill.look_up()
    assert mill.at("a", run=2).reason == "cached"


def test_a_key_without_value_fails_the_task():
    mill = Remembering(job({"name": "a", "cache": {"for": "1h", "key": "${params.day}"}}))
    mill.submit()
    mill.look_up()
    assert (mill.at("a").state, mill.at("a").reason) == (TaskState.failed, "expression")


def test_instances_are_found_by_their_items():
    mill = Remembering(job({"name": "g", "each": [1, 2], "command": ["load", "${item}"], **FOR}))
    do(mill, 1, 5)
    mill.remember("g", index=1)
    mill.submit(2)
    mill.look_up()
    mill.claim_all()
    assert [order.key for order in mill.dispatches] == [(2, 0, 0)]
    mill.settle(mill.take(), result=4)
    assert mill.result(2) == [4, 5]


def test_python_work_is_known_by_its_arguments_and_a_program_by_what_it_may_read():
    python = {"name": "p", "python": "flow:p", "with": {"n": 1}, **FOR}
    mill = Remembering(job({"name": "a"}, python, {"name": "c", "needs": ["a"], **FOR}))
    do(mill, 1, 1, other="x")
    mill.remember("p")
    mill.remember("c")
    do(mill, 2, 1, other="y")
    assert mill.at("p", run=2).reason == "cached"
    assert mill.at("c", run=2).attempt == 1, "another attempt made what it finds, and it may read every parameter"


@pytest.mark.parametrize(
    ("kept", "place"),
    [(Value(4, "aside", b"1234"), "inline"), (Value(9, "blob", b"123456789", "digest"), "blob"), (None, None)],
)
def test_a_result_is_kept_under_the_new_tasks_own_key_wherever_it_lay(kept, place):
    mill = Remembering(job({"name": "a", **FOR}))
    do(mill, 1, 1)
    cell = mill.at("a")
    mill.known[cell.more.cache] = Cached(cell.key, mill.now, cell, kept)
    mill.submit(2)
    mill.look_up()
    result = mill.at("a", run=2).result
    assert (None if result is None else result.place) == place
    assert place != "blob" or result.data is None


def test_a_retry_does_not_look_again():
    mill = Remembering(job({"name": "a", "retries": 1, **FOR}))
    mill.submit()
    mill.look_up()
    mill.claim_all()
    mill.settle(mill.take(), "failed")
    mill.wake_next()
    mill.claim_all()
    assert mill.at("a").attempt == 2


def test_what_no_agent_does_has_no_cache():
    problems = {p.path: p.message for p in check(job({"name": "k", "job": "x", **FOR}))}
    assert "cache the tasks of the child job" in problems["tasks[0].cache"]


def test_what_work_says_of_itself_is_kept_and_nonsense_is_read_over():
    mill = Remembering(job({"name": "a"}, {"name": "b"}))
    mill.submit()
    order = mill.take()
    mill.one(Started(*order.key, order.epoch, mill.now, b'{"phase":"load","message":"half"}'))
    assert (mill.run().more.phase, mill.run().more.message) == ("load", "half")
    mill.one(Started(*order.key, order.epoch, mill.now, b'{"done":1,"total":2}'))
    assert mill.at("a").more is not None
    mill.one(Started(*order.key, order.epoch, mill.now, b"\xff nonsense"))
    mill.one(Started(*order.key, order.epoch, mill.now, b'{"done":1,"total":2}'))


def test_a_cache_with_a_key_is_a_good_definition():
    assert not check(job({"name": "a", "cache": {"for": "1h", "key": "${run.job}"}}))


def test_what_cannot_be_rendered_yet_is_not_looked_up():
    mill = Remembering(job({"name": "a"}, {"name": "b", "needs": ["a"], "command": ["x", "${tasks.a.result}"], **FOR}))
    mill.submit()
    mill.settle(mill.take(), result=4)
    working = mill._working()
    working.runs, working.inputs = {1: mill.run()}, {1: mill.inputs[1]}
    blocked = replace(mill.at("b"), state=TaskState.blocked, pending=0, due_at=mill.now, more=None)
    working.tasks = {blocked.key: blocked, (1, 0, WHOLE): replace(mill.at("a"), result=Value(5_000, "aside"))}
    (cell,) = step(mill.graph, working, Wake(1, 1), mill.now, 0.5).tasks
    assert cell.state is TaskState.ready
    assert cell.more is None


def test_a_start_that_is_told_after_the_end_changes_nothing():
    mill = Remembering(job({"name": "a"}, {"name": "b"}))
    mill.submit()
    order = mill.take()
    mill.settle(order)
    assert not mill.one(Started(*order.key, order.epoch, mill.now)).tasks


def test_a_finally_program_is_known_by_the_files_of_the_ordinary_tasks_that_it_needs():
    mill = Remembering(job({"name": "a"}, {"name": "f", "finally": True, "needs": ["a"], **FOR}))
    do(mill, 1)
    mill.remember("f")
    do(mill, 2)
    assert mill.at("f", run=2).reason is None
    assert mill.at("f", run=2).more.cache != mill.at("f").more.cache
