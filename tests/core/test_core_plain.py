"""The short ways of instances and of plain successors give exactly what the long ways give."""

from __future__ import annotations

import random

import msgspec
import pytest
from msgspec.structs import replace
from tests.core.mill import Cancel, Claim, Lose, Mill, Offer, Started, job
from tests.property import random_graphs

from headrace.core import stepping
from headrace.core.reaching import reach
from headrace.model.changes import OutcomeKind, Settle
from headrace.model.definition import JobDefinition
from headrace.model.states import TASK_LEASED, TaskState


def both(monkeypatch, play):
    """What two plays give: with the short ways, and without them."""
    with monkeypatch.context() as patched:
        patched.setattr(stepping, "_quick", lambda *given: None)
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
