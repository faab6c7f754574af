"""The short ways of instances and of plain successors give exactly what the long ways give."""

from __future__ import annotations

import random

import msgspec
import pytest
from msgspec.structs import replace
from tests.core.mill import Cancel, Claim, Lose, Mill, Offer, Started, job
from tests.property import random_graphs

from headrace.core import instances, stepping
from headrace.core.plain import PAGE, settle_page
from headrace.core.reaching import reach
from headrace.model.cells import RunMore, TaskMore
from headrace.model.changes import OutcomeKind, Settle
from headrace.model.definition import JobDefinition
from headrace.model.states import TASK_LEASED, RunState, TaskState


def both(monkeypatch, play):
    """What two plays give: with the short ways, and without them."""
    with monkeypatch.context() as patched:
        patched.setattr(stepping, "_quick", lambda *given: None)
        patched.setattr(instances, "give_out", lambda *given: 0)
        long = play()
    return play(), long


def image(mill):
    return mill.runs, mill.tasks, mill.facts, list(mill.dispatches), [offer.free for offer in mill.offers], mill.alarms


AGAIN = {"retries": {"max": 3, "delay": "0s"}}


def shapes():
    chain = [{"name": "a"}, {"name": "b", "needs": ["a"]}, {"name": "c", "needs": ["b"]}]
    yield "chain", chain, {}
    yield "priority", [{"name": "a"}, {"name": "b", "needs": ["a"], "priority": 9}], {}
    yield "join", [{"name": "a"}, {"name": "b"}, {"name": "c", "needs": ["a", "b"]}], {}
    yield "fork", [{"name": "a"}, *({"name": f"b{i}", "needs": ["a"]} for i in range(4))], {}
    yield "any", [{"name": "a"}, {"name": "b"}, {"name": "c", "needs": {"any": ["a", "b"]}}, {"name": "d"}], {}
    yield "exit", [{"name": "a"}, {"name": "b", "needs": [{"task": "a", "exit": "0"}]}, {"name": "c"}], {}
    yield "failed", [{"name": "a"}, {"name": "b", "needs": [{"task": "a", "state": "failed"}]}, {"name": "c"}], {}
    yield "when", [{"name": "a"}, {"name": "b", "needs": ["a"], "when": {"value": "${params.x}"}}, {"name": "c"}], {}
    yield "reads", [{"name": "a"}, {"name": "b", "command": ["echo", "${tasks.a.result}"]}, {"name": "c"}], {}
    yield "finally", [*chain, {"name": "f", "finally": True, "needs": ["a"]}], {}
    yield "timeout", chain, {"timeout": "1h"}
    yield "each", [{"name": "g", "each": [1, 2, 3]}, {"name": "z"}], {}
    yield "item", [{"name": "g", "each": [1, 2, 3], "command": ["echo", "${item}"]}], {"timeout": "1h"}
    yield "missing", [{"name": "g", "each": [{}, {"x": 1}], "command": ["echo", "${item.x}"]}], {}
    yield "given", [{"name": "g", "each": [1, 2], "command": ["echo", "${item}", "${params.x}"]}], {}
    yield "one", [{"name": "a"}], {}
    yield "again", [{"name": "a", **AGAIN}], {}
    yield "each again", [{"name": "g", "each": [1, 2, 3], **AGAIN}, {"name": "z", "needs": ["g"]}], {}
    yield "low", [{"name": "g", "each": list(range(9)), "concurrency": 3}], {}


@pytest.mark.parametrize(("name", "tasks", "more"), list(shapes()), ids=[shape[0] for shape in shapes()])
@pytest.mark.parametrize("room", [0, 1, 2, 100])
@pytest.mark.parametrize("params", [{}, {"x": 3}])
@pytest.mark.parametrize("waiting", [False, True])
def test_the_short_ways_equal_the_long_ones(monkeypatch, name, tasks, more, room, params, waiting):
    def play():
        mill = Mill(job(*tasks, **more), offers=[Offer(1, 7, room), Offer(2, 8, room // 2)])
        if waiting:
            mill.waiting = frozenset(node.klass for node in mill.graph.nodes)
        images = []
        mill.submit(**params)
        for turn in range(40):
            images.append(image(mill))
            if not mill.dispatches:
                if not room:
                    mill.offers[0].free += 1
                mill.claim_all()
                if not mill.dispatches:
                    break
            order = mill.take()
            if turn % 3 == 0:
                said = b'{"done": %d}' % turn if turn % 2 == 0 else b""
                mill.one(Started(*order.key, order.epoch, 77, said))
            bad = turn % 5 == 4 or (turn == 0 and "again" in name)
            mill.settle(order, "failed" if bad else "succeeded", result={"turn": turn}, exit_code=0)
        return [images, image(mill)]

    short, long = both(monkeypatch, play)
    assert short == long


@pytest.mark.parametrize("seed", range(150))
def test_on_random_graphs_the_short_ways_equal_the_long_ones(monkeypatch, seed):
    def play():
        dice = random.Random(seed)
        mill = Mill(msgspec.convert(random_graphs.definition(dice), JobDefinition), offers=[Offer(1, 7, 3)])
        mill.submit()
        for turn in range(200):
            if turn == 60 and not mill.run().ended_at:
                mill.one(Cancel(1))
            if not mill.dispatches and not (mill.claim_all() or mill.wake_next()):
                break
            if mill.dispatches:
                order = mill.dispatches[dice.randrange(len(mill.dispatches))]
                mill.dispatches.remove(order)
                kind = dice.choice(["succeeded"] * 6 + ["failed", "lost"])
                if dice.random() < 0.1 and mill.tasks[order.key].state in TASK_LEASED:
                    mill.one(Lose(*order.key, order.epoch, "gone"))
                    mill.offers[0].free += 1
                else:
                    mill.settle(order, kind, skip=dice.random() < 0.05)
        return image(mill)

    short, long = both(monkeypatch, play)
    assert short == long


def test_a_plain_success_reaches_only_cells_and_asks_for_no_input():
    mill = Mill(job({"name": "a"}, {"name": "b", "needs": ["a"]}, {"name": "c", "command": ["${tasks.b.result}"]}))
    mill.submit()
    plain = reach(mill.graph, mill.run(), mill.outcome(mill.dispatches[0]))
    assert (plain.tasks, plain.input, plain.values) == (((1, 0, -1), (1, 1, -1)), False, ())
    other = Settle(1, 1, -1, 1, OutcomeKind.succeeded, 1, 1)
    assert reach(mill.graph, mill.run(), other).input
    assert reach(mill.graph, replace(mill.run(), bare=False), mill.outcome(mill.dispatches[0])).input
    assert reach(mill.graph, mill.run(), replace(other, no=9)).tasks == ()


def test_a_ready_instance_waits_while_what_it_reads_is_not_here():
    mill = Mill(job({"name": "g", "each": [1, 2], "command": ["echo", "${params.x}"]}), room=0)
    mill.submit(x=1)
    mill.offers.append(Offer(1, 7, 5))
    kept, mill.inputs = mill.inputs, {}
    mill.one(Claim(1, 0, 1))
    assert mill.at("g", 1).state == TaskState.ready
    mill.inputs = kept
    mill.one(Claim(1, 0, 1))
    assert mill.at("g", 1).state == TaskState.dispatched


def wide(count=6, started=1, **more):
    """A mill of one group, all of whose instances are given out and ``started`` told of."""
    mill = Mill(job({"name": "g", "each": list(range(count)), **more}, {"name": "z"}), offers=[Offer(1, 7, 10**6)])
    mill.submit()
    orders = [order for order in mill.dispatches if order.key[2] >= 0]
    for order in orders[:started]:
        mill.one(Started(*order.key, order.epoch, 77))
    mill.dispatches.clear()
    return mill, orders


def page(mill, changes, most=PAGE):
    working = mill._working()
    for change in changes:
        mill._load(working, change)
    decided = settle_page(mill.graph, working, mill.run(), changes, most)
    return None if decided is None else (decided, working)


def test_a_page_of_successes_is_the_successes_one_by_one_and_the_group_counts_once():
    (one, orders), (many, _) = wide(), wide()
    told = [one.outcome(order, result={"n": n}, exit_code=0) for n, order in enumerate(orders)]
    decided, working = page(many, told)
    assert len(decided.facts) == 5  # the last one closes the group: that goes the long way
    before = many.tasks[1, 0, -1].version
    stepping.apply(working, decided)
    facts = len(one.facts)
    for change in told[:5]:
        one.one(change)
    assert {**one.tasks, (1, 0, -1): None} == {**many.tasks, **working.tasks, (1, 0, -1): None}
    group, alone = working.tasks[1, 0, -1], one.tasks[1, 0, -1]
    assert (group, group.version) == (replace(alone, version=before + 1), before + 1)
    assert list(decided.facts) == one.facts[facts:]
    assert (decided.run, decided.commands, decided.values) == (None, (), ())
    assert [cell.key for cell in decided.tasks] == [*[order.key for order in orders[:5]], (1, 0, -1)]


def large(mill, order):
    return replace(mill.outcome(order), result=mill.outcome(order, result="x" * 2000).result)


ENDS = {
    "what is no outcome": lambda mill, order: Cancel(1),
    "another run": lambda mill, order: replace(mill.outcome(order), run=2),
    "another task": lambda mill, order: replace(mill.outcome(order), no=1),
    "the task itself": lambda mill, order: replace(mill.outcome(order), index=-1),
    "an instance that is not there": lambda mill, order: replace(mill.outcome(order), index=99),
    "another epoch": lambda mill, order: replace(mill.outcome(order), epoch=order.epoch + 1),
    "a failure": lambda mill, order: mill.outcome(order, "failed"),
    "a skip": lambda mill, order: mill.outcome(order, skip=True),
    "a result that stands aside": large,
}


@pytest.mark.parametrize("bad", ENDS)
def test_a_page_ends_before_what_is_not_plain(bad):
    mill, orders = wide(count=9)
    told = [mill.outcome(order) for order in orders[:5]]
    told[3] = ENDS[bad](mill, orders[3])
    decided, _ = page(mill, told)
    assert len(decided.facts) == 3


def test_a_page_ends_before_what_was_told_in_it_already():
    mill, orders = wide()
    told = [mill.outcome(order) for order in (*orders[:2], orders[0], orders[3])]
    decided, _ = page(mill, told)
    assert len(decided.facts) == 2
    assert page(mill, [told[0], told[2], told[1]]) is None


def test_a_page_has_at_most_so_many_and_leaves_the_group_more_than_its_low_mark():
    mill, orders = wide()
    told = [mill.outcome(order) for order in orders]
    assert len(page(mill, told, most=3)[0].facts) == 3
    mill, orders = wide(count=50, concurrency=9)
    assert page(mill, [mill.outcome(order) for order in orders]) is None  # each that ends makes room for the next
    mill, orders = wide(count=3_000)
    counts = mill.at("g").counts
    told = [mill.outcome(order) for order in orders]
    low = mill.graph.nodes[0].each.low
    assert len(page(mill, told, most=10**6)[0].facts) == counts.live - low - 1


def test_no_page_where_the_group_or_the_run_is_not_plain():
    mill, orders = wide(started=0)
    told = [mill.outcome(order) for order in orders]
    assert page(mill, told) is None  # the first that ends begins the run
    mill, orders = wide()
    told = [mill.outcome(order) for order in orders]
    assert page(mill, told) is not None
    assert page(mill, [replace(change, index=-1) for change in told]) is None
    assert page(mill, [replace(change, no=1) for change in told]) is None
    assert page(mill, [Cancel(1), *told]) is None
    group = mill.tasks.pop((1, 0, -1))
    assert page(mill, told) is None
    mill.tasks[1, 0, -1] = replace(group, counts=None)
    assert page(mill, told) is None
    mill.tasks[1, 0, -1] = replace(group, more=TaskMore())
    assert page(mill, told) is None
    mill.tasks[1, 0, -1] = group
    kept = mill.runs[1]
    for other in (replace(kept, more=RunMore()), replace(kept, state=RunState.paused)):
        mill.runs[1] = other
        assert page(mill, told) is None
    mill.runs[1] = kept
    mill.graph = replace(mill.graph, long=True)
    assert page(mill, told) is None
