"""Pause, stop and abandon with a real agent: what begins, what goes on, and what a restart of everything leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from control.whole import Whole, until
from headrace.model.changes import SYSTEM, Abandon, Pause, Resume, Stop
from headrace.model.states import RunState, TaskState


def run(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


def chain(folder: Path, count: int = 3) -> dict[str, Any]:
    """Each task leaves a line of its name; the first waits for a file."""
    gate, said = folder / "gate", folder / "said"
    wait = f"while [ ! -e {gate} ]; do sleep 0.02; done; "
    tasks = []
    for n in range(count):
        script = (wait if n == 0 else "") + f"echo t{n} >> {said}"
        tasks.append({"name": f"t{n}", "script": script, **({"needs": [f"t{n - 1}"]} if n else {})})
    return {"name": "chain", "tasks": tasks}


def said(folder: Path) -> list[str]:
    return (folder / "said").read_text().split() if (folder / "said").exists() else []


async def is_in(whole: Whole, number: int, no: int, state: TaskState) -> bool:
    cell = await whole.node.store.reader.task((number, no, -1))
    return cell is not None and cell.state is state


def test_a_paused_run_survives_a_restart_of_everything_as_paused(tmp_path: Path) -> None:
    async def story() -> None:
        async with Whole(tmp_path) as whole:
            (number,) = await whole.submit(chain(tmp_path))
            await until(lambda: is_in(whole, number, 0, TaskState.running))
            await whole.node.ledger.ask(Pause(number, "night"), SYSTEM)
            (tmp_path / "gate").touch()
            await until(lambda: is_in(whole, number, 0, TaskState.succeeded))
            await whole.stop_agent()
            await whole.stop_control()
            await whole.start_control()
            whole.start_agent()
            (other,) = await whole.submit({"name": "other", "tasks": [{"name": "a", "command": ["true"]}]})
            await whole.ended([other])
            row = await whole.node.store.reader.run(number)
            assert row is not None
            assert (row.cell.state, row.cell.reason) == (RunState.paused, "night")
            assert said(tmp_path) == ["t0"], "what ran has finished, nothing else has begun"
            await whole.node.ledger.ask(Resume(number), SYSTEM)
            (row,) = await whole.ended([number])
            assert (row.cell.state, said(tmp_path)) == (RunState.succeeded, ["t0", "t1", "t2"])

    run(story())


def test_a_pause_takes_back_what_waits_for_a_slot_at_the_agent(tmp_path: Path) -> None:
    async def story() -> None:
        gate = tmp_path / "gate"
        waits = {"name": "w", "tasks": [{"name": "a", "script": f"while [ ! -e {gate} ]; do sleep 0.02; done"}]}
        quick = {"name": "q", "tasks": [{"name": "a", "script": f"echo t0 >> {tmp_path / 'said'}"}]}
        async with Whole(tmp_path, slots=1) as whole:
            whole.node.placement.durations.quick = lambda: dict.fromkeys(klasses, 1_000.0)  # type: ignore[method-assign]  # all is given out ahead
            klasses: set[int] = set()
            (first,) = await whole.submit(waits)
            await until(lambda: is_in(whole, first, 0, TaskState.running))
            cell = await whole.node.store.reader.task((first, 0, -1))
            assert cell is not None
            klasses.add(cell.klass)
            (number,) = await whole.submit(quick)
            await until(lambda: whole.agent.attempts.queued == 1)
            await whole.node.ledger.ask(Pause(number), SYSTEM)
            await until(lambda: is_in(whole, number, 0, TaskState.ready))
            gate.touch()
            await whole.ended([first])
            assert not said(tmp_path)
            await whole.node.ledger.ask(Resume(number), SYSTEM)
            (row,) = await whole.ended([number])
            assert (row.cell.state, said(tmp_path)) == (RunState.succeeded, ["t0"])

    run(story())


def test_stop_lets_the_running_finish(tmp_path: Path) -> None:
    async def story() -> None:
        async with Whole(tmp_path) as whole:
            (number,) = await whole.submit(chain(tmp_path))
            await until(lambda: is_in(whole, number, 0, TaskState.running))
            await whole.node.ledger.ask(Stop(number, "enough"), SYSTEM)
            (tmp_path / "gate").touch()
            (row,) = await whole.ended([number])
            assert (row.cell.state, row.cell.reason, said(tmp_path)) == (RunState.canceled, "enough", ["t0"])

    run(story())


def test_abandon_ends_the_record_and_frees_every_place(tmp_path: Path) -> None:
    async def story() -> None:
        job = {"name": "g", "tasks": [{"name": "g", "each": [1, 2, 3], "command": ["sleep", "30"]}]}
        async with Whole(tmp_path, slots=3) as whole:
            (number,) = await whole.submit(job)
            await until(lambda: whole.agent.attempts.running == 3)
            found = await whole.node.ledger.ask(Abandon(number, "gone"), SYSTEM)
            assert found.cell is not None
            assert found.cell.state is RunState.abandoned
            await until(lambda: not whole.agent.attempts.running)
            assert not any(linked.held for linked in whole.node.placement.agents())
            assert {cell.state for cell in await whole.tasks(number)} == {TaskState.canceled}

    run(story())
