"""What an attempt is told: the files of earlier tasks reach it, whoever saw those tasks end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from control.test_whole import run
from control.whole import Whole
from headrace.control.assign import Assigner
from headrace.control.graphs import Graphs
from headrace.control.placement import Durations
from headrace.control.restarts import submit_of, takeover
from headrace.core.graph import compile as compile_job
from headrace.core.render import Rendered
from headrace.core.work import Dispatch
from headrace.model.cells import InputMore, RunInput
from headrace.model.changes import SYSTEM, Restarted
from headrace.model.definition import JobDefinition, Task
from headrace.model.states import RunState
from headrace.store.rows import ArtifactRow

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


class Asked:
    """A reader of one file of task 0 of each run, which counts how often it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    async def artifacts(self, run: int, no: int, after: tuple[int, int, str] | None = None) -> list[ArtifactRow]:
        if after is None:
            self.asked.append((run, no))
        return [] if after else [ArtifactRow(run, no, -1, "n.txt", f"{run:064}", 3)]

    async def task(self, key: tuple[int, int, int]) -> None:
        return None


def test_files_that_all_instances_of_a_task_are_given_are_looked_up_once() -> None:
    async def work() -> None:
        reader, graphs = Asked(), Graphs(None)  # type: ignore[arg-type]  # reason: nothing is loaded
        definition = JobDefinition(
            name="wide",
            tasks=[Task(name="make", command=MAKE), Task(name="read", command=READ, each=[1, 2], needs=["make"])],
        )
        graphs.put(1, definition, compile_job(definition))
        assigner = Assigner(
            reader, None, graphs, Durations(), tokens=lambda *_: "", url="", fresh_from=0, alone=True,  # type: ignore[arg-type]  # reason: the part of a reader that it uses
        )  # fmt: skip
        spec = Rendered("command", "read", "")
        batch = [Dispatch((run, 1, index), 1, 1, 1, 1, 9, spec) for run in (1, 2, 3) for index in range(50)]
        assigner.left_files(1)
        assigner.left_files(2)
        made = await assigner.assign(batch)
        assert [[f.digest for f in a.inputs] for a in made] == [
            [f"{run:064}"] if run < 3 else [] for run in (1, 2, 3) for _ in range(50)
        ]
        assert reader.asked == [(1, 0), (2, 0)]

    run(work())
