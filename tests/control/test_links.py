"""What a link compares at its beginning, against what is committed meanwhile."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from control.test_whole import command, run, until_running
from control.whole import Whole, until
from headrace.core.eligible import eligible
from headrace.link.records import Held
from headrace.model.changes import SYSTEM, Abandon
from headrace.model.states import RunState, TaskState


def test_a_fence_that_comes_while_a_link_begins_frees_the_slot(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path, slots=1) as whole:
            reader, fenced = whole.node.store.reader, False
            (old,) = await whole.submit(command("sleep", "1000"))
            await until_running(whole, [old])
            leased = reader.leased

            async def canceled() -> bool:
                return (await whole.tasks(old))[0].state is TaskState.canceled

            async def late(agent: int, *more: Any) -> Any:
                """The page, and then the fence of what stands in it, before anybody has looked at it."""
                nonlocal fenced
                rows = await leased(agent, *more)
                if not fenced:
                    fenced = True
                    assert [row.run for row in rows] == [old]
                    await whole.node.ledger.ask_many([Abandon(old)], SYSTEM)
                    await until(canceled)
                    # What the commit before this one asked for has been heard by now.
                    await whole.node.ledger.ask_many([Abandon(old)], SYSTEM)
                return rows

            reader.leased = late  # type: ignore[method-assign] # a commit that falls between
            whole.node.links.renew()
            await until(lambda: fenced)
            (row,) = await whole.ended(await whole.submit(command("true")), 15)
            assert row.cell.state is RunState.succeeded
            assert whole.node.placement.offers()[0].free == 1

            async def nothing_left() -> bool:
                held: Held = await whole.agent.calls.held()
                return held.attempts == []

            await until(nothing_left)

    run(work())


def test_a_drained_agent_is_offered_nothing_until_its_next_life(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path, slots=2) as whole:
            go = tmp_path / "go"
            os.mkfifo(go)
            (old,) = await whole.submit(command("cat", str(go)))
            await until_running(whole, [old])
            whole.agent.drain()
            placement = whole.node.placement
            await until(lambda: placement.offers()[0].draining)
            (new,) = await whole.submit(command("true"))
            # What it has goes on, and while that ends the new one is looked at for its place.
            await asyncio.to_thread(go.write_text, "")
            (row,) = await whole.ended([old])
            assert row.cell.state is RunState.succeeded
            await until(lambda: placement.offers()[0].free == 2)
            (cell,) = await whole.tasks(new)
            assert (cell.state, cell.epoch & 0xFFFF, cell.attempt) == (TaskState.ready, 0, 0)
            known = await whole.node.graphs.load((await whole.node.store.reader.run(new)).cell.graph)  # type: ignore[union-attr] # it is there
            decision = eligible(known.graph.nodes[0], row.cell, placement.offers()[0])
            assert "agent_draining" in [reason.code for reason in decision.reasons]
            await whole.stop_agent()
            whole.start_agent()
            (row,) = await whole.ended([new])
            assert row.cell.state is RunState.succeeded

    run(work())


def test_an_agent_that_links_while_it_drains_is_offered_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            placement = whole.node.placement
            await until(lambda: bool(placement.offers()))
            whole.agent.drain()
            await until(lambda: placement.offers()[0].draining)
            whole.node.links.renew()
            await until(lambda: not placement.offers())
            await until(lambda: bool(placement.offers()))
            assert placement.offers()[0].draining

    run(work())
