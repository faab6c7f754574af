"""Finding what a path names: runs with their definitions, tasks by name. Every handler looks here first.

Raises NotFound with the nearest known name; never lets a name become anything but a lookup key.
"""

from __future__ import annotations

from collections.abc import Iterable

from headrace.control.api.call import Call
from headrace.control.changes.agents import AGENT, read_agent
from headrace.control.changes.jobs import JOB, deleted_job
from headrace.control.graphs import Known
from headrace.model.cells import TaskCell
from headrace.model.errors import NotFound
from headrace.model.ids import TaskKey
from headrace.model.naming import did_you_mean
from headrace.store.rows import RunRow


async def run_row(call: Call) -> RunRow:
    """The run that ``{id}`` names. Raises NotFound."""
    run = call.run_id()
    row = await call.services.reader.run(run)
    if row is None:
        raise NotFound(f"there is no run {run}")
    return row


async def run_of(call: Call) -> tuple[RunRow, Known]:
    """The run and its definition. Raises NotFound."""
    row = await run_row(call)
    return row, await call.services.graphs.load(row.cell.graph)


def task_number(known: Known, name: str) -> int:
    """The task's place in its definition. Raises NotFound, naming the nearest task."""
    no = known.graph.by_name.get(name)
    if no is None:
        raise NotFound(f"this run has no task {name[:100]!r}{did_you_mean(name[:100], known.graph.by_name)}")
    return no


async def no_job(call: Call, name: str, version: int | None = None) -> NotFound:
    """What to raise for a job that is not there: it was deleted, or which of the first saved ones may be meant."""
    row = await call.services.reader.entity((JOB, name))
    if row is not None and row.deleted_at and version is None:
        return deleted_job(name)
    known = [row.name for row in await call.services.reader.entities(JOB)]
    told = f" with a version {version}" if version and name in known else did_you_mean(name[:100], known)
    return NotFound(f"there is no job {name[:100]!r}{told or '; headrace job put saves one'}")


async def agent_names(call: Call, cells: Iterable[TaskCell]) -> dict[int, str]:
    """Names of the agents that these tasks were given to, by number."""
    wanted = {cell.agent for cell in cells if cell.agent}
    if not wanted:
        return {}
    names = {offer.agent: offer.name or str(offer.agent) for offer in call.services.offers()}
    if not wanted <= names.keys():
        for row in await call.services.reader.entities(AGENT):
            names.setdefault(read_agent(row.image).number, row.name)
    return names


async def children_of(
    call: Call, known: Known, run: int, after: tuple[int, int] = (-1, -2), *, whole: bool = False
) -> dict[TaskKey, int]:
    """The child runs of a run by the attempt (no, index, epoch) whose work they are: at most 500, of tasks behind ``after``.

    ``whole``: only of tasks without ``each``.
    """
    if not any(node.source.kind == "job" for node in known.graph.nodes):
        return {}
    rows = await call.services.reader.children(run, after=(*after, 2**62), whole=whole)
    return {(row.no, row.index, row.epoch): row.run for row in rows}
