"""Backups of either store restore into either store, whole or not at all; what opened the old store opens nothing.

The rows that a restored store tells are compared with those of the backup; the ledger works on; damage is found wherever
it is.
"""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ledger_world import ALICE, HandClock, World, job, settle, world

from headrace.control.backup.process import work
from headrace.control.backup.renewal import renew
from headrace.control.backup.work import Done, Work
from headrace.control.changes.admin import RunSecret
from headrace.control.changes.agents import read_agent
from headrace.control.changes.jobs import PutJob
from headrace.control.changes.logs import KeepSegments
from headrace.control.changes.named import Decided, Rows
from headrace.control.changes.result import AnswerKey, Reply
from headrace.control.credentials import mint_token, put_token
from headrace.model.cells import RunInput
from headrace.model.changes import OutcomeKind, Submit
from headrace.model.errors import Conflict, Invalid, StoreError
from headrace.model.ids import INCARNATION_SHIFT
from headrace.store.archive import Archive
from headrace.store.port import Store
from headrace.store.postgres.dump import PostgresDump
from headrace.store.rows import ArtifactRow, LogSegment, OutboxRow, RunFilter
from headrace.store.sqlite import open_sqlite
from headrace.store.sqlite.dump import SqliteDump
from headrace.store.tables import TABLES

KINDS = ["sqlite", "postgresql"]
OWN = ("meta", "id_block")
"""Tables that a restore changes on purpose."""
BIG = bytes(range(256)) * 4000


class Place:
    """Where a store is, or is to be."""

    def __init__(self, kind: str, place: str) -> None:
        self.kind = kind
        self.folder = Path(place) if kind == "sqlite" else Path()
        self.dsn = "" if kind == "sqlite" else place

    async def open(self) -> Store:
        if self.kind == "sqlite":
            return await open_sqlite(str(self.folder), clock=HandClock())
        from headrace.store.postgres.store import open_store

        return await open_store(self.dsn)

    def work(self, do: Any, file: Path, **more: Any) -> Done:
        return work(Work(do=do, file=str(file), folder=str(self.folder), dsn=self.dsn, **more))


@pytest.fixture
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, str], Place]:
    def place(kind: str, name: str) -> Place:
        if kind == "sqlite":
            return Place(kind, str(tmp_path / name))
        server = request.getfixturevalue("postgres_server")
        return Place(kind, server.empty())

    return place


class Extra(msgspec.Struct, frozen=True):
    """Rows that no other change of these tests writes."""

    artifact: ArtifactRow

    def names(self) -> tuple[tuple[str, str], ...]:
        return ()

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        return Decided(artifacts=(self.artifact,), outbox=(OutboxRow("callback", "runs/1", b"{}", now),))


async def populate(w: World, count: int = 6) -> None:
    """Runs in many states, with labels, large parameters and results, logs, files, an answer, a token."""
    graph = await w.ledger.keep(job("two", ["true"], ["true"], labels={"team": "a"}))
    for i in range(count):
        params = msgspec.json.encode({"text": "x" * (3000 if i == 1 else 3)}) if i else b"{}"
        given = RunInput(
            await w.ids.take(), graph, "two", 1, w.clock.now(), params, {"n": str(i), "ä": "☃"} if i else {}
        )
        key = AnswerKey("alice", f"key-{i}", b"r", lambda _: Reply(201, "/here", b"{}"))
        await w.ledger.ask(Submit(given), ALICE, answer=key)
        if i % 3 != 2:
            kind = OutcomeKind.failed if i % 3 else OutcomeKind.succeeded
            result = msgspec.json.encode("r" * (300_000 if i == 3 else 2000)) if i % 3 == 0 else None
            await w.ledger.ask(settle(w.dispatches(given.run)[-1], kind, result=result), ALICE)
    definition = job("saved", ["true"])
    await w.ledger.change(PutJob(definition, await w.ledger.document(definition)), ALICE)
    digest, size = await w.store.blobs.put(BIG)
    await w.store.blobs.put(b"")
    first = LogSegment(1, 0, -1, 1, 1, 2, b"inline")
    await w.ledger.change(KeepSegments((first, LogSegment(1, 0, -1, 1, 3, 9, None, digest))), ALICE)
    await w.ledger.change(Extra(ArtifactRow(1, 0, -1, "out.bin", digest, size)), ALICE)
    await w.ledger.change(put_token(mint_token()[1], "admin"), ALICE)
    await w.ledger.change(RunSecret(b"s" * 32), ALICE)
    await w.hello()


def make(place: Place, work_: Callable[[World], Any] = populate) -> None:
    async def main() -> None:
        async with world(place.folder, store=await place.open()) as w:
            await work_(w)

    asyncio.run(asyncio.wait_for(main(), 60))


def told(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of a backup by table, but for what a restore drops or changes on purpose."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for table, rows in Archive(file).rows():
        if table in OWN:
            continue
        if table == "run":
            rows = [(*row[:7], row[8]) for row in rows]
        elif table == "task":
            rows = [(*row[:8], row[9]) for row in rows]
        elif table == "commit_row":
            rows = [row[:7] for row in rows]
        elif table in ("entity", "entity_history"):
            rows = [row for row in rows if row[1] not in ("token", "secret")]
        found.setdefault(table, []).extend(rows)
    found["commit_row"].sort()
    return found


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_a_backup_of_either_store_restores_into_either(
    source: str, target: str, places: Callable[[str, str], Place], tmp_path: Path
) -> None:
    old, new = places(source, "old"), places(target, "new")
    make(old)
    done = old.work("save", tmp_path / "a.hrb")
    assert done.manifest is not None
    assert done.manifest.rows["run"] == 6
    assert done.manifest.blobs == 3
    assert old.work("check", tmp_path / "a.hrb").manifest == done.manifest
    restored = new.work("restore", tmp_path / "a.hrb").restored
    assert restored is not None
    assert [u.run for u in restored.unfinished] == unfinished(old)
    new.work("save", tmp_path / "b.hrb")
    before, after = told(tmp_path / "a.hrb"), told(tmp_path / "b.hrb")
    assert after.keys() == before.keys()
    for table in before:
        assert after[table] == before[table], table
    assert {"value", "segment", "artifact", "blob", "answer", "outbox", "task", "entity_history"} <= before.keys()


def unfinished(place: Place) -> list[int]:
    async def main() -> list[int]:
        store = await place.open()
        try:
            rows = await store.reader.runs(RunFilter(ascending=True, limit=500))
            return sorted(row.cell.run for row in rows if row.cell.state < 4)
        finally:
            await store.close()

    return asyncio.run(main())


@pytest.mark.parametrize(("source", "target"), [KINDS, KINDS[::-1]])
def test_a_restored_store_works_on_under_higher_numbers_and_refuses_what_is_from_before(
    source: str, target: str, places: Callable[[str, str], Place], tmp_path: Path
) -> None:
    old, new = places(source, "old"), places(target, "new")
    late: list[Any] = []

    async def before(w: World) -> None:
        await populate(w)
        late.append(w.dispatches((await w.submitted(await w.one_task())).key[0])[-1])

    async def after(w: World) -> None:
        (dispatch,) = late
        stale = settle(dispatch)
        cell = await w.store.reader.task(dispatch.key)
        assert cell is not None
        assert w.store.identity.incarnation > dispatch.epoch >> INCARNATION_SHIFT
        assert await renew(w.store.reader, w.ledger) == 5
        assert await renew(w.store.reader, w.ledger) == 0
        agent = await w.store.reader.entity(("agent", "a"))
        assert agent is not None
        assert read_agent(agent.image).boot_id != "b1"
        told = await w.store.reader.history(dispatch.key[0])
        assert any("unknown" in str(fact) for row in told for fact in row.facts)
        found = await w.ledger.ask_many([stale], ALICE)
        again = await w.store.reader.task(dispatch.key)
        assert again is not None
        assert again.state.name != "succeeded", found
        newer = await w.submitted(await w.one_task())
        assert newer.key[0] > 10_000_000
        assert newer.epoch >> INCARNATION_SHIFT == w.store.identity.incarnation
        await w.ledger.ask(settle(newer), ALICE)
        assert await w.store.reader.entity(("secret", "run-tokens")) is None
        assert await w.store.reader.entities("token") == []
        assert len(await w.store.reader.entities("job")) == 1
        assert await w.store.blobs.get((await w.store.reader.artifacts(1))[0].digest) == BIG

    make(old, before)
    old.work("save", tmp_path / "a.hrb")
    new.work("restore", tmp_path / "a.hrb")
    make(new, after)


@pytest.mark.parametrize("kind", KINDS)
def test_a_place_that_holds_work_is_left_alone_and_set_aside_only_when_that_is_said(
    kind: str, places: Callable[[str, str], Place], tmp_path: Path
) -> None:
    old, other = places(kind, "old"), places(kind, "other")
    make(old)
    file = tmp_path / "a.hrb"
    old.work("save", file)

    async def little(w: World) -> None:
        await w.submitted(await w.one_task())

    make(other, little)
    with pytest.raises(Conflict, match="holds jobs or runs"):
        other.work("restore", file)
    first = other.work("restore", file, force=True).restored
    assert first is not None
    assert first.set_aside
    second = other.work("restore", file, force=True).restored
    assert second is not None
    assert second.incarnation > first.incarnation
    if kind == "sqlite":
        kept = Place("sqlite", first.set_aside)
        assert len(unfinished(kept)) == 1


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_restore_that_was_interrupted_is_no_store_and_is_done_again(
    stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, other = Place("sqlite", str(tmp_path / "old")), Place("sqlite", str(tmp_path / "other"))
    make(old)
    make(other)
    old.work("save", tmp_path / "a.hrb")
    moves: list[Path] = []
    rename = Path.rename

    def stops(self: Path, target: Path) -> Path:
        moves.append(self)
        if len(moves) == stop:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", stops)
        with pytest.raises(KeyboardInterrupt):
            other.work("restore", tmp_path / "a.hrb", force=True)
    with pytest.raises(StoreError, match="interrupted"):
        unfinished(other)
    assert other.work("restore", tmp_path / "a.hrb", force=True).restored is not None
    assert unfinished(other) == unfinished(old)
    assert [path for path in other.folder.glob("before-restore-*") if (path / "headrace.db").exists()]


def test_a_store_that_is_in_use_is_not_restored_into(places: Callable[[str, str], Place], tmp_path: Path) -> None:
    old = places("postgresql", "old")
    make(old)
    old.work("save", tmp_path / "a.hrb")

    async def main() -> None:
        store = await old.open()
        try:
            todo = Work(do="restore", file=str(tmp_path / "a.hrb"), dsn=old.dsn, force=True)
            done = await asyncio.to_thread(in_process, todo)
            assert "stop them first" in done.error
        finally:
            await store.close()

    asyncio.run(main())


def in_process(todo: Work, **limits: int) -> Done:
    """What the backup process says."""

    def limit() -> None:
        for name, size in limits.items():
            resource.setrlimit(getattr(resource, name), (size, size))

    command = [sys.executable, "-m", "headrace.control.backup.process"]
    ran = subprocess.run(command, input=msgspec.json.encode(todo), capture_output=True, preexec_fn=limit, check=False)
    assert ran.stdout, ran.stderr
    return msgspec.json.decode(ran.stdout, type=Done)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_committed_while_tables_are_told_is_not_in_the_backup(
    kind: str, places: Callable[[str, str], Place], tmp_path: Path
) -> None:
    place = places(kind, "old")
    counts: dict[str, int] = {}

    async def more(w: World) -> None:
        await w.submitted(await w.one_task())
        if kind == "sqlite":
            with SqliteDump(place.folder, tmp_path / "copy") as dump:
                for table in TABLES:
                    counts[table.name] = len(list(dump.rows(table.name)))
                    await w.submitted(await w.one_task())
            return
        with PostgresDump(place.dsn) as snapshot:
            for table in TABLES:
                counts[table.name] = len(list(snapshot.rows(table.name)))
                await w.submitted(await w.one_task())

    make(place, more)
    assert (counts["run"], counts["task"], counts["document"]) == (1, 1, 1)
    assert counts["history_run"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_told_and_leaves_nothing(kind: str, places: Callable[[str, str], Place], tmp_path: Path) -> None:
    old = places(kind, "old")
    make(old)
    target = tmp_path / "backups"
    target.mkdir()
    todo = Work(do="save", file=str(target / "a.hrb"), folder=str(old.folder), dsn=old.dsn)
    done = in_process(todo, RLIMIT_FSIZE=20_000)
    assert done.error
    assert str(target) in done.error
    assert "large" in done.error or "disk" in done.error, done.error
    assert list(target.iterdir()) == []
    assert in_process(todo).error == ""
    assert [path.name for path in target.iterdir()] == ["a.hrb"]


def test_half_a_backup_and_a_damaged_one_are_refused_wherever_the_damage_is(tmp_path: Path) -> None:
    old, new = Place("sqlite", str(tmp_path / "old")), Place("sqlite", str(tmp_path / "new"))
    make(old)
    file = tmp_path / "a.hrb"
    old.work("save", file)
    whole = file.read_bytes()
    bad = tmp_path / "bad.hrb"
    step = max(1, len(whole) // 60)
    for at in range(0, len(whole.rstrip(b"\0")), step):  # what follows is the container's padding
        bad.write_bytes(whole[:at])
        with pytest.raises(Invalid):
            new.work("restore", bad)
    harmless = 0
    for at in range(100, len(whole), step):
        bad.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            new.work("check", bad)
        except Invalid:
            continue
        harmless += 1  # padding and times of the container: no byte of a row
    assert harmless < 30
    assert not (new.folder / "headrace.db").exists()
    bad.write_bytes(b"not a backup")
    with pytest.raises(Invalid, match="no backup"):
        new.work("check", bad)
    with pytest.raises(Invalid, match="cannot be read"):
        new.work("check", tmp_path / "nothing.hrb")


def test_a_damaged_and_a_missing_blob_are_told_and_all_the_rest_is_saved(tmp_path: Path) -> None:
    old, new = Place("sqlite", str(tmp_path / "old")), Place("sqlite", str(tmp_path / "new"))
    make(old)
    paths = sorted((p for p in (old.folder / "blobs").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    assert len(paths) == 3
    paths[-1].write_bytes(paths[-1].read_bytes()[:-1] + b"?")
    paths[-2].unlink()
    done = old.work("save", tmp_path / "a.hrb")
    assert done.manifest is not None
    assert [(paths[-1].name in said, "damaged" in said) for said in done.manifest.troubles] == [
        (True, True),
        (False, False),
    ]
    assert "missing" in done.manifest.troubles[1]
    assert new.work("restore", tmp_path / "a.hrb").restored is not None


def test_a_backup_of_a_newer_headrace_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = Place("sqlite", str(tmp_path / "old")), Place("sqlite", str(tmp_path / "new"))
    make(old)
    old.work("save", tmp_path / "a.hrb")
    monkeypatch.setattr("headrace.control.backup.process.load_migrations", lambda _: [(1, "")])
    with pytest.raises(Invalid, match="upgrade Headrace"):
        new.work("restore", tmp_path / "a.hrb")


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        Place("sqlite", str(tmp_path / "nothing")).work("save", tmp_path / "a.hrb")
    assert list(tmp_path.iterdir()) == []
