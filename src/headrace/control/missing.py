"""Jobs that were saved before their tasks existed: they take no runs until every task is registered.

When a package brings what was missing, the job's next version is saved by the server, pinned to that code. Called when
a package was registered and, so that nothing depends on that call, when somebody submits.
"""

from __future__ import annotations

from typing import Protocol

from headrace.control.catalog import Catalog, missing_of, pinned, read_catalog, told_missing
from headrace.control.changes.jobs import JOB, PutJob, read_job
from headrace.control.graphs import Graphs
from headrace.control.ledger import Ledger
from headrace.control.saved import Saved, SavedJobs
from headrace.model.changes import Origin
from headrace.model.errors import Conflict, Deleted
from headrace.store.port import Reader

ARRIVED = Origin("system", "control", "tasks that the job waited for were registered")


class Saving(Protocol):
    """What it takes to look at a saved job and to save its next version."""

    @property
    def reader(self) -> Reader: ...
    @property
    def jobs(self) -> SavedJobs: ...
    @property
    def graphs(self) -> Graphs: ...
    @property
    def ledger(self) -> Ledger: ...


async def no_longer_waiting(services: Saving, saved: Saved) -> Saved:
    """The job as it can be run now. Raises Conflict, naming what it still waits for."""
    name = saved.row.name
    newest = await services.jobs.get(name)
    if newest is not None and newest.row.version == saved.row.version:
        await _save_anew(services, newest, await read_catalog(services.reader))
        newest = await services.jobs.get(name)
        if newest is not None:
            saved = newest
    if saved.record.missing:
        raise waits(name, saved.record.missing)
    return saved


def waits(name: str, missing: tuple[str, ...]) -> Conflict:
    """What to say to a run of a job whose tasks are not there."""
    return Conflict(f"job {name} waits for: {', '.join(missing)}: register a package that has it")


async def package_arrived(services: Saving) -> list[str]:
    """Look at every job that waits; gives the names of those that were saved anew."""
    waiting: list[Saved] = []
    after = ""
    while True:
        rows = await services.reader.entities(JOB, after=after, limit=500)
        waiting += [Saved(row, record) for row in rows if (record := read_job(row.image)).missing]
        if len(rows) < 500:
            break
        after = rows[-1].name
    catalog = await read_catalog(services.reader) if waiting else Catalog()
    return [saved.row.name for saved in waiting if await _save_anew(services, saved, catalog)]


async def _save_anew(services: Saving, saved: Saved, catalog: Catalog) -> bool:
    """Save the next version if fewer tasks are missing now; whoever saved the job meanwhile has the last word."""
    name = saved.row.name
    known = await services.graphs.load(saved.record.graph)
    missing = missing_of(known.definition, catalog)
    if told_missing(missing) == saved.record.missing:
        return False
    definition = pinned(known.definition, catalog, missing)
    document = await services.ledger.document(definition)
    change = PutJob(definition, document, missing=told_missing(missing), expected=saved.row.version)
    try:
        await services.ledger.change(change, ARRIVED)
    except (Conflict, Deleted):
        return False
    finally:
        services.jobs.forget(name)
    return True
