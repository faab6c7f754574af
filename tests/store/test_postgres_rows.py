"""Every kind of row comes back from PostgreSQL as it was written; live indexes hold live rows only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from headrace.model.cells import Counts, RunCell, RunInput, TaskCell, Value
from headrace.model.facts import RunEnded, RunSubmitted, TaskEnded
from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.model.states import RunState, StopIntent, TaskState
from headrace.store.postgres.store import PostgresStore, open_store
from headrace.store.rows import (
    ArtifactRow,
    AttemptRow,
    Batch,
    CommitRow,
    Document,
    DueRow,
    Entity,
    HistoryRow,
    LeasedRow,
    LogSegment,
    NewRun,
    OutboxRow,
    ReadyRow,
    RunFilter,
)

NOW = 1_790_000_000_000_000

RUN = RunCell(
    2**53 - 1, 7, RunState.stopping, 3, 4, 5, 6, 1, 2, 3, StopIntent.failure, 9, NOW + 5, NOW + 9, -3, NOW, NOW + 1,
    0, "odd", "because", b"\x00\xff",
)  # fmt: skip
INPUT = RunInput(
    RUN.run, 7, "job-é", 4, NOW, b'{"a": "\\u0000"}', {"team": "blue", "x": "'\"\\"}, -3, "why", "user:eva"
)
TASK = TaskCell(
    RUN.run, 2, 5, TaskState.running, 8, 2, 2**40 + 2, 1, NOW + 7, -(2**40), 11, 3, 99, 1, 2, 4, NOW, NOW + 1, 0,
    "fine", 3, 9, "r", Value(3, "inline", b"[1]"), None, Value(1, "inline", b"2"), Counts(9, 8, 7), b"seal",
)  # fmt: skip


def go(dsn: str, body: Callable[[PostgresStore], Awaitable[None]]) -> None:
    async def main() -> None:
        store = await open_store(dsn)
        try:
            async with asyncio.timeout(60):
                await body(store)
        finally:
            await store.close()

    asyncio.run(main())


async def commit(store: PostgresStore, batch: Batch) -> None:
    await store.writer.begin()
    await store.writer.write(batch)
    await store.writer.commit()


def test_cells_and_inputs_come_back_equal_to_writer_and_reader(postgres_dsn: str) -> None:
    async def body(store: PostgresStore) -> None:
        await commit(store, Batch(at=NOW, new_runs=[NewRun(INPUT, RUN)], new_tasks=[TASK]))
        for wanted_run, wanted_task in [
            (RUN, TASK),
            (replace(RUN, state=RunState.failed, due_at=0), replace(TASK, state=TaskState.lost, due_at=0)),
        ]:
            writer = store.writer
            await writer.begin()
            assert await writer.lock_runs([RUN.run]) == ({RUN.run: RUN}, set())
            assert await writer.load_inputs([RUN.run]) == [INPUT]
            assert await writer.load_tasks([TASK.key, (1, 2, 3)]) == [TASK]
            await writer.write(Batch(at=NOW, runs=[wanted_run], tasks=[wanted_task]))
            await writer.rollback()
        await commit(store, Batch(at=NOW, runs=[wanted_run], tasks=[wanted_task]))
        row = await store.reader.run(RUN.run)
        assert row is not None
        assert (row.input, row.cell) == (INPUT, wanted_run)
        assert await store.reader.task(TASK.key) == wanted_task

    go(postgres_dsn, body)


def test_pages_walk_tasks_in_order_and_groups_alone(postgres_dsn: str) -> None:
    cells = [TaskCell(1, no, index) for no in range(3) for index in (WHOLE, 0, 1, 2)]

    async def body(store: PostgresStore) -> None:
        await commit(store, Batch(at=1, new_runs=[NewRun(replace(INPUT, run=1), replace(RUN, run=1))], new_tasks=cells))
        reader, writer = store.reader, store.writer
        assert await reader.tasks(1) == cells
        assert await reader.tasks(1, after=(0, 1), limit=4) == cells[3:7]
        assert await reader.tasks(1, no=1, after=(1, 0)) == cells[6:8]
        assert await reader.tasks(1, groups_only=True) == [cells[0], cells[4], cells[8]]
        assert await reader.tasks(1, groups_only=True, after=(0, 2), limit=1) == [cells[4]]
        await writer.begin()
        assert await writer.load_members(1, (0, 2), 3) == cells[4:7]
        assert await writer.load_group(1, 2, 0, 9) == cells[10:12]
        assert await writer.load_group(1, 2, -1, 9) == cells[9:12]
        await writer.rollback()

    go(postgres_dsn, body)


def test_values_come_from_the_cell_from_aside_and_from_blobs(postgres_dsn: str) -> None:
    async def body(store: PostgresStore) -> None:
        digest, size = await store.blobs.put(b"[" + b"1," * 300_000 + b"1]")
        inline = TaskCell(1, 0, result=Value(1, "inline", b"1"))
        aside = TaskCell(1, 1, result=Value(5000, "aside", lines=True, count=9))
        blob = TaskCell(1, 2, result=Value(size, "blob", digest=digest))
        failed = TaskCell(1, 3, error=Value(4000, "aside"))
        values = [(aside.key, Value(5000, "aside", b"y" * 5000)), (failed.key, Value(4000, "aside", b"e" * 4000))]
        await commit(store, Batch(at=1, new_tasks=[inline, aside, blob, failed], values=values))
        await store.writer.begin()
        found = await store.writer.load_values([inline.key, aside.key, blob.key, failed.key, (9, 9, 9)])
        await store.writer.rollback()
        assert set(found) == {inline.key, aside.key, blob.key}
        assert found[aside.key] == Value(5000, "aside", b"y" * 5000, lines=True, count=9)
        assert len(found[blob.key].data or b"") == size
        for key, value in found.items():
            assert await store.reader.value(key) == value
        assert await store.reader.error(failed.key) == Value(4000, "aside", b"e" * 4000)
        assert await store.reader.value(failed.key) is None
        assert await store.reader.value((9, 9, 9)) is None

    go(postgres_dsn, body)


def test_history_commits_and_what_stands_beside_come_back_equal(postgres_dsn: str) -> None:
    cell = RunCell(1, 7, RunState.succeeded, 2, created_at=NOW, started_at=NOW + 1, ended_at=NOW + 2)
    task = TaskCell(1, 0, WHOLE, TaskState.succeeded, 2, 1, 2**40 + 1, started_at=NOW + 1, ended_at=NOW + 2)
    history = [
        HistoryRow(1, RUN_ITSELF, WHOLE, 1, NOW, 1, (RunSubmitted(),), replace(cell, version=1), None),
        HistoryRow(1, RUN_ITSELF, WHOLE, 2, NOW + 2, 2, (TaskEnded(no=0), RunEnded()), cell, task),
        HistoryRow(1, 4, 0, 1, NOW + 2, 2, (TaskEnded(no=4, index=0),), None, replace(task, no=4, index=0)),
    ]
    attempts = [AttemptRow(1, 0, WHOLE, n, replace(task, attempt=n)) for n in (1, 2)]
    segments = [
        LogSegment(1, 0, WHOLE, 1, 1, 5, b"five"),
        LogSegment(1, 0, WHOLE, 1, 6, 9, None, "d" * 64),
    ]
    artifacts = [ArtifactRow(1, 0, WHOLE, "a/b.txt", "d" * 64, 12), ArtifactRow(1, 4, 0, "c", "e" * 64, 0)]
    batch = Batch(
        at=NOW,
        commits=[CommitRow(1, NOW, 1, "eva", "api"), CommitRow(2, NOW, 1, "eva", "api", "why")],
        new_runs=[NewRun(RunInput(1, 7, None, None, NOW), cell)],
        history=history,
        attempts=attempts,
        segments=segments,
        artifacts=artifacts,
        documents=[Document(7, b"\x01" * 32, b"body")],
        outbox=[OutboxRow("webhook", "run/1", b"{}", NOW)],
    )

    async def body(store: PostgresStore) -> None:
        reader = store.reader
        await commit(store, batch)
        assert await reader.history(1) == history
        assert await reader.history(1, after=1, limit=1) == history[1:2]
        assert await reader.history(1, no=4) == history[2:]
        assert await reader.history(1, no=RUN_ITSELF, after=1) == history[1:2]
        assert await reader.history(1, no=4, index=0) == history[2:]
        assert await reader.attempts((1, 0, WHOLE)) == attempts
        assert await reader.segments((1, 0, WHOLE), 1) == segments
        assert await reader.artifacts(1) == artifacts
        assert await reader.artifacts(1, 4) == artifacts[1:]
        assert await reader.document(7) == Document(7, b"\x01" * 32, b"body")
        assert await reader.statement("commits", {"numbers": [2]}) == [(2, NOW, 1, "eva", "api", "why")]
        assert await reader.statement("outbox_after", {"seq": 0, "limit": 9}) == [(1, "webhook", "run/1", b"{}", NOW)]
        assert await reader.statement("commits_missing", {"run": 1}) == []

    go(postgres_dsn, body)


def test_named_things_keep_their_versions_and_their_newest_image(postgres_dsn: str) -> None:
    one = Entity("job", "a", 1, NOW, NOW, b"one", facts=b"made")
    two = replace(one, version=2, updated_at=NOW + 1, image=b"two", facts=b"changed")
    gone = Entity("job", "b", 1, NOW, NOW, b"x", deleted_at=NOW, facts=b"gone")
    agent = Entity("agent", "m", 1, NOW, NOW, b"m")

    async def body(store: PostgresStore) -> None:
        await commit(store, Batch(at=1, entities=[two, gone, one, agent]))
        reader = store.reader
        assert await reader.entity(("job", "a")) == two
        assert await reader.entity_versions(("job", "a")) == [two, one]
        assert await reader.entity_versions(("agent", "m")) == []
        assert await reader.entities("job") == [two]
        assert await reader.entities("job", deleted=True) == [two, gone]
        assert await reader.entities("job", after="a", deleted=True) == [gone]
        await store.writer.begin()
        keys = [("job", "b"), ("job", "a"), ("job", "none")]
        assert await store.writer.lock_entities(keys) == {("job", "a"): two, ("job", "b"): gone}
        await store.writer.rollback()

    go(postgres_dsn, body)


def test_live_rows_are_found_by_what_they_wait_for_and_nothing_else_is(postgres_dsn: str) -> None:
    ready = [TaskCell(1, no, state=TaskState.ready, klass=1 + no % 2, rank=-no) for no in range(4)]
    leased = TaskCell(1, 5, 3, TaskState.dispatched, 1, 2, 77, due_at=50, agent=4, boot=6)
    # A cell keeps its class, rank and agent when they no longer apply: no index may show it.
    idle = [
        TaskCell(1, 6, state=TaskState.blocked, klass=1, agent=4),
        TaskCell(1, 7, state=TaskState.succeeded, klass=1, agent=4),
    ]
    cell = RunCell(1, 9, RunState.running, due_at=20, created_at=1)

    async def body(store: PostgresStore) -> None:
        reader = store.reader
        run = NewRun(RunInput(1, 9, "j", 1, 1), cell)
        classes = [(1, b"one"), (2, b"two"), (3, b"three")]
        await commit(store, Batch(at=1, new_runs=[run], new_tasks=[*ready, leased, *idle], classes=classes))
        await commit(store, Batch(at=1, classes=classes))
        assert await reader.ready_classes() == [(1, b"one"), (2, b"two")]
        assert await reader.ready(1, 9) == [ReadyRow(1, 2, WHOLE, 1, -2), ReadyRow(1, 0, WHOLE, 1, 0)]
        assert await reader.leased(4, None, 9) == [LeasedRow(1, 5, 3, 4, 6, 77, 2, 9, 50)]
        assert await reader.leased(4, (1, 5, 3), 9) == []
        assert await reader.due(100, 9) == [DueRow(20, 1), DueRow(50, 1, 5, 3)]
        assert await reader.due(49, 9) == [DueRow(20, 1)]
        assert await reader.counts() == {"ready": 4, "leased": 1, "due": 2, "runs": 1}
        ended = [replace(t, state=TaskState.succeeded, due_at=0) for t in (*ready, leased)]
        await commit(store, Batch(at=1, tasks=ended, runs=[replace(cell, state=RunState.succeeded, due_at=0)]))
        assert await reader.counts() == {"ready": 0, "leased": 0, "due": 0, "runs": 0}
        assert await reader.ready_classes() == []

    go(postgres_dsn, body)


RUNS = [
    NewRun(
        RunInput(n, 1, ("alpha", "beta", None)[n % 3], 1, 10 + n // 2, labels={"n": str(n % 2)} if n % 3 else {}),
        RunCell(n, 1, RunState(n % 8), created_at=10 + n // 2),
    )
    for n in range(1, 25)
]


FILTERS = [
    RunFilter(),
    RunFilter(ascending=True, limit=5),
    RunFilter(after=(15, 10)),
    RunFilter(after=(15, 10), ascending=True),
    RunFilter(job="alpha"),
    RunFilter(job="alpha", states=(4, 5), ascending=True),
    RunFilter(states=(0, 1, 2)),
    RunFilter(states=(5, 6, 7), limit=2),
    RunFilter(states=(4,)),
    RunFilter(states=(1, 5)),
    RunFilter(labels=(("n", "1"),)),
    RunFilter(labels=(("n", "1"), ("m", "1"))),
    RunFilter(since=14, until=18),
    RunFilter(text="ALP"),
    RunFilter(text="7"),
    RunFilter(text="%"),
]


def test_lists_of_runs_show_what_their_filters_say(postgres_dsn: str) -> None:
    def shown(new: NewRun, where: RunFilter) -> bool:
        given, place = new.input, (new.input.created_at, new.input.run)
        after = where.after is None or (place > where.after if where.ascending else place < where.after)
        text = where.text is None or where.text.lower() in (given.job or "") or where.text == str(given.run)
        return (
            after
            and text
            and (where.job is None or given.job == where.job)
            and (not where.states or new.cell.state in where.states)
            and all(given.labels.get(name) == value for name, value in where.labels)
            and (where.since is None or given.created_at >= where.since)
            and (where.until is None or given.created_at <= where.until)
        )

    async def body(store: PostgresStore) -> None:
        await commit(store, Batch(at=1, new_runs=RUNS))
        for where in FILTERS:
            wanted = sorted((n.input.created_at, n.input.run) for n in RUNS if shown(n, where))
            if not where.ascending:
                wanted.reverse()
            rows = await store.reader.runs(where)
            assert [row.input.run for row in rows] == [run for _, run in wanted][: where.limit], where

    go(postgres_dsn, body)
