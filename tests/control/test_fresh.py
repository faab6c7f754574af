"""What watchers are told out of memory is what the store has."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledger_world import ALICE, World, go, job, settle

from headrace.control.events import fresh
from headrace.model.changes import Cancel, OutcomeKind
from headrace.store.rows import Batch, Place


def test_rows_that_were_just_committed_are_those_of_the_store(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        chain = await w.ledger.keep(job("chain", ["true"], ["true"], ["true"]))
        for kind in (OutcomeKind.succeeded, OutcomeKind.failed):
            first = await w.submitted(chain)
            await w.ledger.ask(settle(first, kind), ALICE)
        await w.ledger.ask(settle(await w.submitted(await w.one_task())), ALICE)
        over = await w.submit(chain)
        await w.ledger.ask(over, ALICE)
        await w.ledger.ask(Cancel(over.run), ALICE)
        log = await w.store.reader.log(Place(), 100)
        keys = [key for entry in log.entries for key in entry.touched.history]
        assert len(keys) > 15
        found, missing = w.fresh.split([*keys, (1 << 40, 0, 0, 1)])
        assert missing == [(1 << 40, 0, 0, 1)]
        stored = await w.store.reader.history_at(keys)
        assert [_told(row) for row in found] == [_told(row) for row in stored]

    go(tmp_path, body)


def test_only_the_newest_rows_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "KEPT_MAX", 3)

    async def body(w: World) -> None:
        graph = await w.one_task()
        runs = [(await w.submitted(graph)).key[0] for _ in range(5)]
        log = await w.store.reader.log(Place(), 100)
        keys = [key for entry in log.entries for key in entry.touched.history]
        found, missing = w.fresh.split(keys)
        assert [row.run for row, _, _ in found] == runs[-3:]
        assert len(missing) == len(keys) - 3

    go(tmp_path, body)


def test_what_is_committed_while_nobody_asks_for_it_can_be_forgotten() -> None:
    rows = fresh.Fresh()
    rows.take(Batch(1), {})
    rows.clear()
    assert rows.split([(1, 0, 0, 1)]) == ([], [(1, 0, 0, 1)])


def _told(row: fresh.Told) -> tuple[object, ...]:
    history, graph, actor = row
    at = (history.run, history.no, history.index, history.version, history.at, history.commit)
    return (at, repr(history.facts), graph, actor)
