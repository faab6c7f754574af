"""What a link compares at its beginning, against what is committed meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from control.test_whole import command, run, until_running
from control.whole import Whole, until
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
