"""Backups while runs are submitted, claimed and settled as fast as it goes: each is restored, and what it holds is one moment.

A few in ``make test``; fifty on each store in the tail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ledger_world import ALICE, World, settle, world
from test_backups import KINDS, Place, places

from headrace.control.backup.service import Backups
from headrace.control.backup.work import Done, Work
from headrace.control.clock import SystemClock
from headrace.core.work import Dispatch
from headrace.model.changes import Submit
from headrace.store.images import decode_run, decode_task
from headrace.store.port import Store
from headrace.store.rows import RunFilter

__all__ = ["places"]
LOADERS = 2
BATCH = 10
RUNS_EACH = 600
"""Runs that are made while one backup is: more than it takes, less than would make the test long."""


class Load:
    """Keeps a ledger busy; ``acknowledged`` are runs whose submit was answered, ``ended`` those whose outcome was."""

    def __init__(self, w: World) -> None:
        self.acknowledged: set[int] = set()
        self.ended: set[int] = set()
        self.stopping = False
        self._w = w
        self._most = 0
        self._more = asyncio.Event()

    def go_on(self) -> None:
        """So many more runs: a backup begins."""
        self._most = len(self.acknowledged) + RUNS_EACH
        self._more.set()

    async def run(self) -> None:
        graph = await self._w.one_task()
        await asyncio.gather(*(self._one(graph) for _ in range(LOADERS)))

    async def _one(self, graph: int) -> None:
        w = self._w
        while not self.stopping:
            if len(self.acknowledged) > self._most:
                self._more.clear()
            await self._more.wait()
            submits: list[Submit] = [await w.submit(graph, params=b'{"a":"%d"}' % i) for i in range(BATCH)]
            await w.ledger.ask_all(submits, ALICE)
            self.acknowledged.update(s.run for s in submits)
            mine = {s.run for s in submits}
            given = [c for c in w.commands if isinstance(c, Dispatch) and c.key[0] in mine]
            w.commands[:] = [c for c in w.commands if c not in given]
            done = given[: len(given) * 4 // 5]
            await w.ledger.ask_many([settle(d) for d in done], ALICE)
            self.ended.update(d.key[0] for d in done)


async def judge(place: Place, before: Load, runs: set[int], ended: set[int]) -> None:
    """A restored store: everything that was acknowledged before the backup began is there, and rows fit together."""
    store = await place.open()
    try:
        found = await all_runs(store)
        assert runs <= found.keys()
        assert found.keys() <= before.acknowledged | found.keys()
        assert all(found[run] for run in ended)
        for run in sorted(found)[-3:] + sorted(found)[:3]:
            row = await store.reader.run(run)
            task = await store.reader.task((run, 0, -1))
            history = await store.reader.history(run)
            assert row is not None
            assert task is not None
            assert [h.version for h in history] == list(range(1, row.cell.version + 1))
            assert await store.reader.statement("commits_missing", {"run": run}) == []
            assert (row.cell.state >= 4) == (task.state.name == "succeeded")
    finally:
        await store.close()


async def all_runs(store: Store) -> dict[int, bool]:
    """Whether it has ended, of every run."""
    found: dict[int, bool] = {}
    after = (-1, -1)
    while rows := await store.reader.runs(RunFilter(after=after, ascending=True, limit=500)):
        found |= {row.cell.run: row.cell.state >= 4 for row in rows}
        after = (rows[-1].cell.created_at, rows[-1].cell.run)
    return found


def rows_fit(file: Path) -> None:
    """Every run of the archive has its task, its history up to its version, and the commits that these name."""
    from headrace.store.archive import Archive

    tables: dict[str, list[Any]] = {}
    for table, rows in Archive(file).rows():
        tables.setdefault(table, []).extend(rows)
    commits = {row[0] for row in tables["commit_row"]}
    tasks = {row[0]: decode_task(row[-1]) for row in tables["task"]}
    newest: dict[int, int] = {}
    for row in tables["history_run"]:
        assert row[5] in commits
        newest[row[0]] = max(newest.get(row[0], 0), row[3])
    for row in tables["run"]:
        cell = decode_run(row[-1])
        assert newest[cell.run] == cell.version
        assert (cell.state >= 4) == (tasks[cell.run].state.name == "succeeded")


async def under_load(old: Place, new: Callable[[int], Place], tmp_path: Path, count: int) -> None:
    backups = Backups(tmp_path, old.dsn, SystemClock())
    backups._data = old.folder if old.kind == "sqlite" else tmp_path
    async with world(old.folder, store=await old.open(), inline=False) as w:
        load = Load(w)
        loading = asyncio.create_task(load.run())
        saved: list[tuple[str, set[int], set[int]]] = []
        for _ in range(count):
            load.go_on()
            while len(load.ended) < (len(saved) + 1) * BATCH * LOADERS:
                await asyncio.wait([loading], timeout=0.01)
            runs, ended = set(load.acknowledged), set(load.ended)
            name, done = await backups.save(None)
            assert done.manifest is not None
            assert done.manifest.rows["run"] >= len(runs)
            assert done.manifest.troubles == []
            saved.append((name, runs, ended))
        load.stopping = True
        load.go_on()
        await loading
    for i, (name, runs, ended) in enumerate(saved):
        place = new(i)
        rows_fit(backups.folder / name)
        todo = Work(do="restore", file=str(backups.folder / name), folder=str(place.folder), dsn=place.dsn)
        done = await asyncio.to_thread(_work, todo)
        assert done.restored is not None
        await judge(place, load, runs, ended)


def _work(todo: Work) -> Done:
    from headrace.control.backup.process import work

    return work(todo)


@pytest.mark.parametrize("kind", KINDS)
def test_backups_under_load_restore_to_one_moment_each(
    kind: str, places: Callable[[str, str], Place], tmp_path: Path
) -> None:
    asyncio.run(under_load(places(kind, "old"), lambda i: places(kind, f"new{i}"), tmp_path, 2))


@pytest.mark.tail
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS)
def test_fifty_backups_under_load_restore_to_one_moment_each(
    kind: str, places: Callable[[str, str], Place], tmp_path: Path
) -> None:
    asyncio.run(under_load(places(kind, "old"), lambda i: places(kind, f"new{i}"), tmp_path, 50))
