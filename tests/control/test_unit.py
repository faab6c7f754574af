"""One asking: what is put off comes later, and the answers come back in the order of the questions."""

from __future__ import annotations

import asyncio

from headrace.control.changes.result import Result
from headrace.control.unit import Answered, Heard, Unit
from headrace.model.cells import RunCell
from headrace.model.changes import Cancel, Origin

ALICE = Origin("alice", "test")


def test_changes_of_held_runs_go_behind_and_are_answered_in_their_place() -> None:
    async def main() -> None:
        future: asyncio.Future[list[Answered]] = asyncio.get_running_loop().create_future()
        changes = [Cancel(run, f"{n}") for n, run in enumerate((7, 8, 7, 9, 8, 5))]
        unit = Unit(changes, ALICE, future)
        assert unit.take(5) == 5
        cells: list[RunCell | None] = [None, RunCell(8, 1), None, RunCell(9, 1), RunCell(8, 1)]
        kept = unit.put_off({7}, cells)
        assert [None if cell is None else cell.run for cell in kept] == [8, 9, 8]
        order = []
        while not unit.over:
            for change in unit.changes[unit.done : unit.until]:
                assert isinstance(change, Cancel)
                order.append(change.reason)
                unit.results.append(Result(int(change.reason or 0)))
            unit.done = unit.until
            unit.settled()
            unit.take(10)
        assert order == ["1", "3", "4", "0", "2", "5"]
        unit.resolve()
        assert [answer.run for answer in await future if isinstance(answer, Result)] == [0, 1, 2, 3, 4, 5]

    asyncio.run(main())


def test_when_every_run_is_held_the_whole_group_waits() -> None:
    unit = Unit([Cancel(7), Cancel(8)], ALICE, None)
    unit.take(10)
    assert unit.put_off({7, 8}, [None, None]) == []
    assert (unit.done, unit.until, unit.over) == (0, 0, False)


def test_who_gives_up_is_told_when_the_group_is_over_even_when_it_came_to_nothing() -> None:
    """A ledger that ends in the middle of a group answers nobody: its askers must not wait for ever."""

    async def main() -> None:
        heard = Heard(loop=asyncio.get_running_loop())
        asking = asyncio.ensure_future(_awaited(heard))
        await asyncio.sleep(0)
        heard.hold()
        asking.cancel()
        await asyncio.sleep(0)
        assert not asking.done()
        heard.release()
        await asyncio.wait([asking], timeout=30)
        assert asking.cancelled()

    asyncio.run(main())


def test_a_group_that_is_over_takes_no_answer_away() -> None:
    async def main() -> None:
        heard = Heard(loop=asyncio.get_running_loop())
        heard.hold()
        heard.cancel()
        heard.set_result([Result(3)])
        heard.release()
        assert await heard == [Result(3)]

    asyncio.run(main())


async def _awaited(heard: Heard) -> None:
    await heard
