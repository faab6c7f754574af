"""What an attempt is told: the files of earlier tasks reach it, whoever saw those tasks end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from control.test_whole import run
from control.whole import Whole
from headrace.control.restarts import submit_of, takeover
from headrace.model.cells import InputMore, RunInput
from headrace.model.changes import SYSTEM, Restarted
from headrace.model.states import RunState

MAKE = ["sh", "-c", 'echo 42 > "$HEADRACE_OUTPUTS/n.txt"']
READ = ["sh", "-c", 'cat "$HEADRACE_INPUTS/make/n.txt" > "$HEADRACE_RESULT"']


@asynccontextmanager
async def two_nodes(dsn: str, folder: Path) -> AsyncIterator[Whole]:
    """Two controls on one PostgreSQL, each with an agent of its own; gives the one that runs ``read``."""
    for name in ("here", "there"):
        (folder / name).mkdir()
    async with (
        Whole(folder / "here", dsn=dsn, name="h", where="here") as here,
        Whole(folder / "there", dsn=dsn, name="t", where="there"),
    ):
        yield here


def job(read: list[str], **more: Any) -> dict[str, Any]:
    make = {"name": "make", "command": MAKE, "agent": {"labels": {"where": "there"}}, **more}
    return {
        "name": "files",
        "tasks": [make, {"name": "read", "command": read, "agent": {"labels": {"where": "here"}}, "needs": ["make"]}],
    }


def test_files_reach_a_task_whose_node_did_not_see_them_made(postgres_dsn: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with two_nodes(postgres_dsn, tmp_path) as here:
            for _ in range(2):
                (r,) = await here.submit(job(READ))
                (row,) = await here.ended([r])
                assert row.cell.state is RunState.succeeded
                _, read = await here.tasks(r)
                assert read.result is not None
                assert read.result.data == b"42"

    run(work())


def test_files_of_a_task_that_was_found_in_the_cache_reach_a_task_on_another_node(
    postgres_dsn: str, tmp_path: Path
) -> None:
    async def work() -> None:
        async with two_nodes(postgres_dsn, tmp_path) as here:
            for _ in range(2):
                (row,) = await here.ended(await here.submit(job(READ, cache={"for": "1h"})))
                assert row.cell.state is RunState.succeeded

    run(work())


def test_files_of_a_task_that_was_taken_over_reach_a_task_on_another_node(postgres_dsn: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with two_nodes(postgres_dsn, tmp_path) as here:
            mark = tmp_path / "mark"
            (old,) = await here.submit(job(["sh", "-c", f"test -e {mark} && {READ[2]}"]))
            (row,) = await here.ended([old])
            assert row.cell.state is RunState.failed
            mark.touch()
            node = here.node
            known = await node.graphs.load(row.cell.graph)
            found, cells = await takeover(node.store.reader, old, known.graph, known.graph, "failed", same_params=True)
            new = await node.ids.take()
            given = RunInput(new, row.cell.graph, None, None, 1, more=InputMore(restarted_from=old, since="failed"))
            submit = await submit_of(node.store.reader, given, found, cells)
            await node.ledger.ask_all([Restarted(old, new), submit], SYSTEM)
            (row,) = await here.ended([new])
            assert row.cell.state is RunState.succeeded

    run(work())
