"""What both stores promise of loads, writes, commits and reads. Each test runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest
from both_stores import Fresh
from msgspec import structs

from headrace.model.cells import Counts, RunCell, RunInput, TaskCell, Value
from headrace.model.errors import HeadraceError
from headrace.model.facts import OutcomeRejected, RunEnded, RunSubmitted, TaskEnded
from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.model.states import RunState, TaskState
from headrace.store.port import Store
from headrace.store.rows import (
    Answer,
    ArtifactRow,
    AttemptRow,
    Batch,
    CommitRow,
    Document,
    Entity,
    HistoryRow,
    LogSegment,
    NewRun,
    OutboxRow,
    RunFilter,
)

AT = 1_700_000_000_000_000


def given(run: int, *, at: int = AT, job: str | None = "j", params: bytes = b"{}", **labels: str) -> RunInput:
    return RunInput(run, 1, job, 1 if job else None, at, params, labels, 5, "because", "alice")


def new_run(run: int, *, at: int = AT, state: RunState = RunState.queued, **more: str) -> NewRun:
    return NewRun(given(run, at=at, **more), RunCell(run, 1, state, 1, left=1, created_at=at, priority=5))


def full_task(run: int = 1, no: int = 0, index: int = WHOLE) -> TaskCell:
    """A cell with something in every field."""
    return TaskCell(
        run, no, index, TaskState.running, 7, 2, (1 << 40) + 2, 3, AT + 9, -5, 281474976710655, 4, 11, 1, 2, 1,
        AT + 1, AT + 2, AT + 3, "NO_DATA", 3, 9, "why", Value(4, "inline", b"null"), Value(2, "inline", b"{}"),
        Value(1, "inline", b"1"), Counts(9, 8, 7, 6, 5, 4, 3, 2, 1, 0), b"seal", b"digest",
    )  # fmt: skip


def full_run(run: int = 1) -> RunCell:
    return RunCell(
        run, 1, RunState.running, 9, 1, 2, 3, 4, 5, 6, cursor=7, due_at=AT + 8, deadline_at=AT + 9, priority=5,
        created_at=AT, started_at=AT + 1, ended_at=0, exit_status="x", reason="y", spared=b"\x05", gate=True,
    )  # fmt: skip


async def commit(store: Store, **parts: object) -> None:
    await store.writer.begin()
    await store.writer.write(Batch(AT, **parts))  # type: ignore[arg-type]  # test data
    await store.writer.commit()


def test_cells_come_back_as_they_were_written(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        made = NewRun(given(1, params=b'{"a":1}', team="x"), full_run())
        await commit(store, new_runs=[made], new_tasks=[full_task()])
        await store.writer.begin()
        assert await store.writer.lock_runs([1, 99]) == ({1: full_run()}, set())
        assert await store.writer.load_tasks([(1, 0, WHOLE), (1, 5, WHOLE)]) == [full_task()]
        assert await store.writer.load_inputs([1, 99]) == [made.input]
        await store.writer.rollback()
        found = await store.reader.run(1)
        assert found is not None
        assert (found.input, found.cell) == (made.input, full_run())
        assert await store.reader.task((1, 0, WHOLE)) == full_task()
        assert await store.reader.run(99) is None
        assert await store.reader.task((1, 1, WHOLE)) is None

    fresh.run(body)


def test_a_changed_cell_replaces_the_old_one(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        await commit(store, new_runs=[new_run(1)], new_tasks=[TaskCell(1, 0)])
        await commit(store, runs=[full_run()], tasks=[full_task()])
        row = await store.reader.run(1)
        assert row is not None
        assert row.cell == full_run()
        assert await store.reader.tasks(1) == [full_task()]

    fresh.run(body)


def test_what_was_rolled_back_never_was(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        await store.writer.begin()
        await store.writer.write(Batch(AT, new_runs=[new_run(1)]))
        await store.writer.rollback()
        assert await store.reader.run(1) is None
        await commit(store, new_runs=[new_run(1)])
        assert await store.reader.run(1) is not None

    fresh.run(body)


def test_a_committed_row_is_there_after_reopening(fresh: Fresh) -> None:
    async def first(store: Store) -> None:
        await commit(store, new_runs=[new_run(1)], new_tasks=[full_task()])

    async def second(store: Store) -> None:
        assert await store.reader.task((1, 0, WHOLE)) == full_task()

    fresh.run(first)
    fresh.run(second)


def test_params_over_a_kibibyte_stand_aside_and_come_back(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        params = b'{"a":"' + b"x" * 5000 + b'"}'
        await commit(store, new_runs=[NewRun(given(1, params=params), RunCell(1, 1, created_at=AT))])
        row = await store.reader.run(1)
        assert row is not None
        assert row.input.params == params

    fresh.run(body)


def test_a_number_is_never_reserved_twice(fresh: Fresh) -> None:
    blocks: list[range] = []

    async def body(store: Store) -> None:
        for what, count in (("run", 10), ("run", 5), ("commit", 3), ("run", 1)):
            first = await store.reserve_ids(what, count)
            assert first >= 1
            if what == "run":
                blocks.append(range(first, first + count))

    fresh.run(body)
    fresh.run(body)
    numbers = [number for block in blocks for number in block]
    assert len(numbers) == len(set(numbers)) == 32


def test_members_and_tasks_are_paged_in_order(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        keys = [(0, WHOLE), (1, WHOLE), *((1, i) for i in range(5)), (2, WHOLE)]
        await commit(store, new_runs=[new_run(1)], new_tasks=[TaskCell(1, no, i) for no, i in reversed(keys)])
        await store.writer.begin()
        page = await store.writer.load_members(1, (-1, -2), 3)
        assert [(c.no, c.index) for c in page] == keys[:3]
        page = await store.writer.load_members(1, (page[-1].no, page[-1].index), 100)
        assert [(c.no, c.index) for c in page] == keys[3:]
        assert [c.index for c in await store.writer.load_group(1, 1, WHOLE, 3)] == [0, 1, 2]
        assert [c.index for c in await store.writer.load_group(1, 1, 2, 9)] == [3, 4]
        await store.writer.rollback()
        assert [(c.no, c.index) for c in await store.reader.tasks(1, after=(1, 1), limit=3)] == keys[4:7]
        assert [c.index for c in await store.reader.tasks(1, no=1)] == [-1, 0, 1, 2, 3, 4]
        assert [c.index for c in await store.reader.tasks(1, no=1, after=(1, 2))] == [3, 4]
        assert [c.no for c in await store.reader.tasks(1, groups_only=True)] == [0, 1, 2]
        assert [c.no for c in await store.reader.tasks(1, groups_only=True, after=(0, WHOLE))] == [1, 2]

    fresh.run(body)


def test_tasks_are_found_by_their_states(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        bad = {3: TaskState.failed, 7: TaskState.lost, 9: TaskState.failed}
        cells = [TaskCell(1, no, WHOLE, state=bad.get(no, TaskState.succeeded)) for no in range(10)]
        instance = TaskCell(1, 4, 0, state=TaskState.failed)
        await commit(store, new_runs=[new_run(1)], new_tasks=[*cells, instance])
        wanted = 1 << TaskState.failed | 1 << TaskState.lost

        async def found(**more: Any) -> list[int]:
            return [c.no for c in await store.reader.tasks(1, groups_only=True, states=wanted, **more)]

        assert await found() == [3, 7, 9]
        assert await found(limit=2) == [3, 7]
        assert await found(after=(3, WHOLE)) == [7, 9]
        assert len(await store.reader.tasks(1, groups_only=True, states=1 << TaskState.succeeded)) == 7

    fresh.run(body)


def test_values_are_found_wherever_they_are_kept(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        digest, size = await store.blobs.put(b"[1]" * 200_000)
        aside = Value(3000, "aside", b"x" * 3000)
        cells = [
            TaskCell(1, 0, result=Value(2, "inline", b"42")),
            TaskCell(1, 1, result=structs.replace(aside, data=None)),
            TaskCell(1, 2, result=Value(size, "blob", None, digest)),
            TaskCell(1, 3),
            TaskCell(1, 4, error=structs.replace(aside, data=None)),
        ]
        values = [((1, 1, WHOLE), aside), ((1, 4, WHOLE), aside)]
        await commit(store, new_runs=[new_run(1)], new_tasks=cells, values=values)
        await store.writer.begin()
        found = await store.writer.load_values([c.key for c in cells])
        await store.writer.rollback()
        assert {key: value.data for key, value in found.items()} == {
            (1, 0, WHOLE): b"42", (1, 1, WHOLE): b"x" * 3000, (1, 2, WHOLE): b"[1]" * 200_000,
        }  # fmt: skip
        value = await store.reader.value((1, 1, WHOLE))
        assert value is not None
        assert value.data == b"x" * 3000
        assert await store.reader.value((1, 3, WHOLE)) is None
        error = await store.reader.error((1, 4, WHOLE))
        assert error is not None
        assert error.data == b"x" * 3000

    fresh.run(body)


def test_history_keeps_facts_and_small_images_in_order(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        image = full_run()
        task = full_task()
        rows = [
            HistoryRow(1, RUN_ITSELF, WHOLE, 1, AT, 1, (RunSubmitted(),), RunCell(1, 1, created_at=AT)),
            HistoryRow(1, RUN_ITSELF, WHOLE, 2, AT + 5, 2, (OutcomeRejected(0, -1, 9, "stale"),), image, task),
            HistoryRow(
                1, 0, WHOLE, 1, AT + 5, 2, (TaskEnded(0, WHOLE, TaskState.failed, 2, "3", "r", 1, 2),), None, task
            ),
            HistoryRow(1, RUN_ITSELF, WHOLE, 3, AT + 9, 3, (RunEnded(-1, -1, RunState.failed, "3", None),), image),
        ]
        commits = [CommitRow(n, AT, 1, "alice", "test", "why") for n in (1, 2, 3)]
        await commit(store, new_runs=[new_run(1)], history=rows, commits=commits)
        of_run = await store.reader.history(1, no=RUN_ITSELF)
        assert [(r.version, r.at, r.commit, r.facts) for r in of_run] == [
            (r.version, r.at, r.commit, r.facts) for r in rows if r.no == RUN_ITSELF
        ]
        second = of_run[1].run_image
        assert second is not None
        for name in ("state", "version", "left", "failed", "succeeded", "intent", "created_at", "started_at", "reason"):
            expected = 2 if name == "version" else getattr(image, name)
            assert getattr(second, name) == expected, name
        after = of_run[1].task_image
        assert after is not None
        for name in (
            "no",
            "state",
            "attempt",
            "epoch",
            "agent",
            "boot",
            "started_at",
            "ended_at",
            "exit_code",
            "counts",
        ):
            assert getattr(after, name) == getattr(task, name), name
        assert [r.version for r in await store.reader.history(1, no=RUN_ITSELF, after=1, limit=1)] == [2]
        assert [r.no for r in await store.reader.history(1, no=0, index=WHOLE)] == [0]
        assert len(await store.reader.history(1)) == 4
        found = await store.reader.commits([3, 1, 99])
        assert sorted(found, key=lambda c: c.commit) == [commits[0], commits[2]]

    fresh.run(body)


def test_entities_keep_a_history_only_of_what_has_facts(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        first = Entity("job", "a", 1, AT, AT, b"one", facts=b"f")
        second = structs.replace(first, version=2, updated_at=AT + 1, image=b"two")
        cursor = structs.replace(second, image=b"three", facts=b"")
        await commit(
            store, entities=[first, Entity("job", "b", 1, AT, AT, b"b", AT, b"f"), Entity("x", "a", 1, 1, 1, b"")]
        )
        await commit(store, entities=[second])
        await commit(store, entities=[cursor])
        found = await store.reader.entity(("job", "a"))
        assert found is not None
        assert (found.image, found.version) == (b"three", 2)
        assert [e.image for e in await store.reader.entity_versions(("job", "a"))] == [b"two", b"one"]
        assert [e.name for e in await store.reader.entities("job")] == ["a"]
        assert [e.name for e in await store.reader.entities("job", deleted=True)] == ["a", "b"]
        assert await store.reader.entities("job", after="a") == []
        await store.writer.begin()
        locked = await store.writer.lock_entities([("job", "a"), ("job", "zz")])
        await store.writer.rollback()
        assert locked == {("job", "a"): found}

    fresh.run(body)


def test_answers_documents_and_classes_are_found_by_key(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        answer = Answer("alice", "k", b"digest", 201, "/runs/1", b"body", AT)
        document = Document(7, b"d" * 32, b"{}")
        await commit(store, answers=[answer], documents=[document], classes=[(5, b"place"), (6, b"other")])
        await commit(store, classes=[(5, b"place")])
        await store.writer.begin()
        assert await store.writer.load_answers([("alice", "k"), ("bob", "k")]) == {("alice", "k"): answer}
        assert await store.writer.load_documents([b"d" * 32, b"e" * 32]) == {b"d" * 32: 7}
        await store.writer.rollback()
        assert await store.reader.document(7) == document
        assert await store.reader.document(8) is None

    fresh.run(body)


def test_attempts_segments_artifacts_and_outbox_come_back(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        segment = LogSegment(1, 0, WHOLE, 1, 1, 5, b"records")
        blob = LogSegment(1, 0, WHOLE, 1, 6, 9, None, "ab" * 32)
        artifact = ArtifactRow(1, 0, WHOLE, "out/a.txt", "cd" * 32, 3)
        await commit(
            store, new_runs=[new_run(1)], new_tasks=[TaskCell(1, 0)],
            attempts=[AttemptRow(1, 0, WHOLE, 1, full_task())], segments=[blob, segment], artifacts=[artifact],
            outbox=[OutboxRow("mail", "run/1", b"x", AT)],
        )  # fmt: skip
        await commit(store, segments=[segment])
        assert await store.reader.attempts((1, 0, WHOLE)) == [AttemptRow(1, 0, WHOLE, 1, full_task())]
        assert await store.reader.segments((1, 0, WHOLE), 1) == [segment, blob]
        assert await store.reader.artifacts(1) == [artifact]
        assert await store.reader.artifacts(1, 0) == [artifact]
        assert await store.reader.artifacts(1, 1) == []
        assert await store.reader.with_artifacts([3, 1, 2]) == {1}
        assert await store.reader.with_artifacts([]) == set()

    fresh.run(body)


def test_live_work_is_found_by_its_indexes(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        tasks = [
            TaskCell(1, 0, state=TaskState.ready, klass=3, rank=20),
            TaskCell(1, 1, state=TaskState.ready, klass=3, rank=10),
            TaskCell(1, 2, state=TaskState.ready, klass=4, rank=1),
            TaskCell(1, 3, state=TaskState.running, klass=3, rank=1, agent=9, boot=2, epoch=5, attempt=1),
            TaskCell(1, 4, state=TaskState.dispatched, agent=9, boot=2),
            TaskCell(1, 5, state=TaskState.succeeded, agent=9, klass=3, rank=1),
            TaskCell(1, 6, state=TaskState.retrying, due_at=AT + 5),
        ]
        runs = [new_run(1), NewRun(given(2), RunCell(2, 1, RunState.running, due_at=AT + 3, created_at=AT))]
        await commit(store, new_runs=runs, new_tasks=tasks, classes=[(3, b"three"), (4, b"four")])
        assert [r.no for r in await store.reader.ready(3, 10)] == [1, 0]
        assert sorted(await store.reader.ready_classes()) == [(3, b"three"), (4, b"four")]
        due = await store.reader.due(AT + 10, 10)
        assert [(d.due_at, d.run, d.no) for d in due] == [(AT + 3, 2, RUN_ITSELF), (AT + 5, 1, 6)]
        assert len(await store.reader.due(AT + 10, 1)) == 1
        assert await store.reader.due(AT, 10) == []
        leased = await store.reader.leased(9, None, 10)
        assert [(r.no, r.boot, r.epoch, r.graph) for r in leased] == [(3, 2, 5, 1), (4, 2, 0, 1)]
        assert [r.no for r in await store.reader.leased(9, (1, 3, WHOLE), 10)] == [4]
        await commit(store, tasks=[structs.replace(tasks[1], state=TaskState.succeeded)])
        assert [r.no for r in await store.reader.ready(3, 10)] == [0]

    fresh.run(body)


@pytest.mark.parametrize("ascending", [False, True])
def test_runs_are_listed_by_creation_and_number_without_gap_or_repeat(fresh: Fresh, ascending: bool) -> None:
    async def body(store: Store) -> None:
        states = [RunState.queued, RunState.running, RunState.succeeded, RunState.failed]
        runs = [
            NewRun(
                given(n, at=AT + n // 3, job="even" if n % 2 == 0 else "odd", team="x" if n % 5 == 0 else "y"),
                RunCell(n, 1, states[n % 4], created_at=AT + n // 3),
            )
            for n in range(1, 41)
        ]
        await commit(store, new_runs=runs)
        for where, expected in [
            (RunFilter(), range(1, 41)),
            (RunFilter(job="even"), range(2, 41, 2)),
            (RunFilter(states=(RunState.failed,)), range(3, 41, 4)),
            (RunFilter(states=(RunState.running,)), range(1, 41, 4)),
            (RunFilter(states=(RunState.queued, RunState.failed)), [n for n in range(1, 41) if n % 4 in (0, 3)]),
            (RunFilter(labels=(("team", "x"),)), range(5, 41, 5)),
            (RunFilter(job="odd", labels=(("team", "x"),)), range(5, 41, 10)),
            (RunFilter(since=AT + 3, until=AT + 4), range(9, 15)),
        ]:
            seen: list[int] = []
            after = None
            while True:
                page = await store.reader.runs(structs.replace(where, after=after, limit=7, ascending=ascending))
                if not page:
                    break
                seen += [row.cell.run for row in page]
                after = (page[-1].input.created_at, page[-1].cell.run)
            assert seen == sorted(expected, reverse=not ascending), where

    fresh.run(body)


def test_two_rows_with_one_key_fail_the_whole_write(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        await commit(store, new_runs=[new_run(1)])
        await store.writer.begin()
        with pytest.raises(HeadraceError):
            await store.writer.write(Batch(AT, new_runs=[new_run(2), new_run(1)]))
        await store.writer.rollback()
        assert await store.reader.run(2) is None
        await commit(store, new_runs=[new_run(3)])

    fresh.run(body)
