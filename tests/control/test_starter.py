"""What gives attempts to an agent, against a scripted one: what goes together, again, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from scripted import ANY, Asked, Clock, Rows, room, run

from headrace.control.loops.dispatch import Starter
from headrace.control.placement import Placement
from headrace.control.supply import Unable
from headrace.core.render import Rendered
from headrace.core.work import Dispatch
from headrace.link.records import Accepted, Assignment, AttemptName, InputFile, Start
from headrace.link.wire import BODY_MAX
from headrace.model.changes import OutcomeKind, Settle
from headrace.model.errors import Busy, Invalid, LinkError, Refused, StoreAway, StoreError
from headrace.model.ports import no_fault


class Plain:
    """An assigner without tokens or files."""

    async def assign(self, batch: Sequence[Dispatch]) -> list[Assignment]:
        return [Assignment(*d.key, d.epoch, d.attempt, d.graph, "command", "t") for d in batch]

    async def supply(self, calls: object, linked: object, batch: object) -> list[Unable]:
        return []


class Agent:
    """The receiving end of POST /attempts."""

    def __init__(self, *answers: Accepted | Exception) -> None:
        self.orders: list[Start] = []
        self.gate = asyncio.Event()
        self.called = asyncio.Event()
        self.gate.set()
        self._answers = list(answers)

    async def start(self, order: Start) -> Accepted:
        self.orders.append(order)
        self.called.set()
        await self.gate.wait()
        answer = self._answers.pop(0) if self._answers else Accepted()
        if isinstance(answer, Exception):
            raise answer
        return answer


def dispatches(*runs: int) -> list[Dispatch]:
    return [Dispatch((r, 0, -1), 1, 1, 1, 1, 9, Rendered("command", "t", "")) for r in runs]


def starter(agent: Agent, ledger: Asked, placement: Placement, assigner: Plain | None = None) -> Starter:
    linked = placement.of(1)
    assert linked is not None
    return Starter(
        linked,
        agent,  # type: ignore[arg-type] # a part of the calls
        ledger,
        assigner=assigner or Plain(),
        placement=placement,
        clock=Clock(),
        fault=no_fault,
    )


def test_what_gathers_during_a_post_goes_with_the_next_one() -> None:
    async def work() -> None:
        agent, placement = Agent(), room(2)
        loop = starter(agent, Asked(Rows([])), placement)
        agent.gate.clear()
        loop.take(dispatches(1))
        pass_ = asyncio.ensure_future(loop.run_once())
        await agent.called.wait()
        loop.take(dispatches(2))
        loop.take(dispatches(3))
        agent.gate.set()
        await pass_
        assert [[a.run for a in o.attempts] for o in agent.orders] == [[1], [2, 3]]

    run(work())


def test_a_lost_post_is_sent_again_word_for_word() -> None:
    async def work() -> None:
        agent, placement = Agent(LinkError("gone"), Accepted()), room(2)
        loop = starter(agent, Asked(Rows([])), placement)
        loop.take(dispatches(1))
        await loop.run_once()
        assert len(agent.orders) == 2
        assert agent.orders[0] == agent.orders[1]

    run(work())


def test_a_refused_attempt_is_given_back_and_frees_its_place() -> None:
    async def work() -> None:
        placement = room(2)
        placement.took(1, (1, 0, -1, 9), ANY)
        agent = Agent(Accepted([(AttemptName(1, 0, -1, 9), "full")]))
        ledger = Asked(Rows([]))
        loop = starter(agent, ledger, placement)
        loop.take(dispatches(1))
        await loop.run_once()
        (change,) = ledger.asked
        assert isinstance(change, Settle)
        assert (change.run, change.epoch, change.kind, change.reason) == (1, 9, OutcomeKind.refused, "full")
        assert placement.offers()[0].free == 2

    run(work())


class Supplying(Plain):
    """An assigner whose supplies go as the test says: each answer is given, or raised, once."""

    def __init__(self, *answers: list[Unable] | Exception) -> None:
        self._answers = list(answers)

    async def supply(self, calls: object, linked: object, batch: object) -> list[Unable]:
        answer = self._answers.pop(0) if self._answers else []
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize("away", [StoreAway("the store is away"), Busy("not now"), LinkError("cut")])
def test_what_cannot_be_supplied_now_is_not_dropped(away: Exception) -> None:
    async def work() -> None:
        agent, ledger = Agent(), Asked(Rows([]))
        loop = starter(agent, ledger, room(2), Supplying(away, away))
        loop.take(dispatches(1, 2))
        passing = asyncio.ensure_future(loop.run())
        await agent.called.wait()
        passing.cancel()
        assert [[a.run for a in o.attempts] for o in agent.orders] == [[1, 2]]
        assert ledger.asked == []

    run(work())


def test_an_error_of_the_supplies_fails_these_attempts_and_not_the_loop() -> None:
    async def work() -> None:
        agent, ledger = Agent(), Asked(Rows([]))
        loop = starter(agent, ledger, room(4), Supplying(StoreError("blob 12 is damaged")))
        loop.take(dispatches(1))
        await loop.run_once()
        (change,) = ledger.asked
        assert isinstance(change, Settle)
        assert (change.kind, change.stop_retry, change.reason) == (OutcomeKind.failed, True, "blob 12 is damaged")
        loop.take(dispatches(2))
        await loop.run_once()
        assert [[a.run for a in o.attempts] for o in agent.orders] == [[2]]

    run(work())


def test_what_the_agent_has_no_room_for_now_costs_no_attempt() -> None:
    async def work() -> None:
        agent, ledger = Agent(), Asked(Rows([]))
        loop = starter(
            agent, ledger, room(4), Supplying([Unable(0, "disk full", lasting=False), Unable(1, "too large")])
        )
        loop.take(dispatches(1, 2, 3))
        await loop.run_once()
        told = {c.run: (c.kind, c.reason) for c in ledger.asked if isinstance(c, Settle)}
        assert told == {1: (OutcomeKind.refused, "disk full"), 2: (OutcomeKind.failed, "too large")}
        assert [[a.run for a in o.attempts] for o in agent.orders] == [[3]]

    run(work())


def test_one_attempt_that_the_agent_cannot_read_does_not_harm_the_others() -> None:
    async def work() -> None:
        agent, ledger = (
            Agent(Invalid("no such field"), Accepted(), Invalid("no such field"), Accepted()),
            Asked(Rows([])),
        )
        loop = starter(agent, ledger, room(4))
        loop.take(dispatches(1, 2, 3))
        await loop.run_once()
        (change,) = ledger.asked
        assert isinstance(change, Settle)
        assert (change.run, change.kind, change.stop_retry) == (2, OutcomeKind.failed, True)
        assert [[a.run for a in o.attempts] for o in agent.orders] == [[1, 2, 3], [1], [2], [3]]

    run(work())


def sized(run: int, **parts: Any) -> Assignment:
    return Assignment(run, 0, -1, 1, 1, 1, "command", "t", **parts)


@pytest.mark.parametrize(
    "large",
    [
        {"argv": ("x" * 1_000_000,)},
        {"env": {"A": "x" * 1_000_000}},
        {"outputs": ("x" * 1_000_000,)},
        {"inputs": tuple(InputFile("x" * 1000, "0" * 64, 1) for _ in range(1000))},
        {"script": "\N{GRINNING FACE}" * 1_000_000},
    ],
)
def test_no_post_is_larger_than_an_agent_takes(large: dict[str, Any]) -> None:
    async def work() -> None:
        class Large(Plain):
            async def assign(self, batch: Sequence[Dispatch]) -> list[Assignment]:
                return [sized(d.key[0], **large) for d in batch]

        agent, ledger = Agent(), Asked(Rows([]))
        loop = starter(agent, ledger, room(4), Large())
        loop.take(dispatches(*range(20)))
        await loop.run_once()
        assert [a.run for o in agent.orders for a in o.attempts] == list(range(20))
        assert max(len(msgspec.msgpack.encode(o)) for o in agent.orders) <= BODY_MAX

    run(work())


def test_an_attempt_that_is_too_large_for_any_post_fails_and_says_what_of_it_is() -> None:
    async def work() -> None:
        class Large(Plain):
            async def assign(self, batch: Sequence[Dispatch]) -> list[Assignment]:
                return [sized(d.key[0], env={"A": "x" * 17_000_000} if d.key[0] == 2 else {}) for d in batch]

        agent, ledger = Agent(), Asked(Rows([]))
        loop = starter(agent, ledger, room(4), Large())
        loop.take(dispatches(1, 2, 3))
        await loop.run_once()
        (change,) = ledger.asked
        assert isinstance(change, Settle)
        assert (change.run, change.kind) == (2, OutcomeKind.failed)
        assert "at most 16773120 bytes: its environment" in (change.reason or "")
        assert [a.run for o in agent.orders for a in o.attempts] == [1, 3]

    run(work())


def test_an_older_link_epoch_ends_the_loop() -> None:
    async def work() -> None:
        loop = starter(Agent(Refused("older")), Asked(Rows([])), room(2))
        loop.take(dispatches(1))
        with pytest.raises(Refused):
            await loop.run_once()

    run(work())


class Wide(Plain):
    """Every attempt has the same large parameters, as the instances of one run do."""

    async def assign(self, batch: Sequence[Dispatch]) -> list[Assignment]:
        params = b"[" + b"1" * (1 << 20) + b"]"
        return [msgspec.structs.replace(a, params=params) for a in await super().assign(batch)]


def test_the_instances_of_a_run_go_together_however_large_its_parameters_are() -> None:
    async def work() -> None:
        agent = Agent()
        loop = starter(agent, Asked(Rows([])), room(2), Wide())
        loop.take([Dispatch((1, 0, i), 1, 1, 1, 1, 9, Rendered("command", "t", "")) for i in range(50)])
        loop.take(dispatches(2, 3, 4, 5))
        await loop.run_once()
        assert [len(o.attempts) for o in agent.orders] == [51, 2, 1]
        assert [sum(map(len, o.params)) >> 20 for o in agent.orders] == [2, 2, 1]

    run(work())
