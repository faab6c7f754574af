"""What verbs on runs ask of both stores: labels that change, keys of two runs in one load, rows with all that a run may have."""

from __future__ import annotations

from both_stores import Fresh
from test_both_stores import commit, given, new_run

from headrace.model.cells import InputMore, RunCell, RunMore, TaskCell, TaskMore, Value
from headrace.model.states import RunState, TaskState
from headrace.store.port import Store
from headrace.store.rows import NewRun, RunFilter


def test_changed_labels_are_found_by_lists_and_the_old_ones_are_not(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        await commit(store, new_runs=[NewRun(given(1, team="x"), RunCell(1, 1)), NewRun(given(2), RunCell(2, 1))])
        await commit(
            store,
            runs=[
                RunCell(1, 1, version=2, more=RunMore(labels={"team": "y"})),
                RunCell(2, 1, version=2, more=RunMore(phase="load", held=1)),
            ],
        )
        for label, runs in ((("team", "x"), []), (("team", "y"), [1])):
            found = await store.reader.runs(RunFilter(labels=(label,)))
            assert [row.cell.run for row in found] == runs
        row = await store.reader.run(2)
        assert row is not None
        assert row.cell.more == RunMore(phase="load", held=1)
        await commit(store, runs=[RunCell(1, 1, version=3, more=RunMore(labels={}))])
        assert await store.reader.runs(RunFilter(labels=(("team", "y"),))) == []

    fresh.run(body)


def test_tasks_and_values_of_two_runs_are_loaded_together(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        more = InputMore(restarted_from=1, since="failed", groups=((0, 0),))
        new = NewRun(given(2), RunCell(2, 1, more=RunMore(source=1, groups=((0, 0),))))
        new = NewRun(type(new.input)(2, 1, "j", 1, new.input.created_at, more=more), new.cell)
        aside = Value(5_000, "aside", None)
        done = TaskCell(1, 0, 3, TaskState.succeeded, 1, result=aside)
        taken = TaskCell(2, 0, -1, more=TaskMore(origin=(1, 0, 3)))
        await commit(
            store,
            new_runs=[new_run(1), new],
            new_tasks=[done, taken],
            values=[((1, 0, 3), Value(5_000, "aside", b"x" * 5_000))],
        )
        await store.writer.begin()
        assert sorted(c.key for c in await store.writer.load_tasks([(1, 0, 3), (1, 0, 4), (2, 0, -1)])) == [
            (1, 0, 3),
            (2, 0, -1),
        ]
        values = await store.writer.load_values([(1, 0, 3), (1, 0, 4)])
        assert {key: value.data for key, value in values.items()} == {(1, 0, 3): b"x" * 5_000}
        await store.writer.rollback()
        row = await store.reader.run(2)
        assert row is not None
        assert row.input.more == more

    fresh.run(body)


def test_an_ended_run_may_still_be_written(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        await commit(store, new_runs=[new_run(1)])
        for version, state in enumerate((RunState.abandoned, RunState.abandoned), 2):
            await commit(store, runs=[RunCell(1, 1, state, version, more=RunMore(restarted_as=(version,)))])
        found = await store.reader.runs(RunFilter(states=(int(RunState.abandoned),)))
        assert [row.cell.run for row in found] == [1]

    fresh.run(body)
