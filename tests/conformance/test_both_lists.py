"""Lists of runs: whatever is asked for, all pages together are what a look at every run gives. On both stores."""

from __future__ import annotations

import asyncio
import random
from fnmatch import fnmatchcase

import pytest
from both_stores import Fresh

from headrace.model.cells import RunCell, RunInput
from headrace.model.states import RUN_FINAL, RunState
from headrace.store.listing import PAGE_SIZE
from headrace.store.port import Store
from headrace.store.rows import Batch, ChildRow, CommitRow, NewRun, RunFilter, RunRow

AT = 1_700_000_000_000_000
RUNS = 160


def a_run(number: int, dice: random.Random) -> NewRun:
    at = AT + dice.randrange(RUNS // 2)
    state = dice.choice(list(RunState))
    started = at + dice.randrange(50) if state is not RunState.queued else 0
    ended = started + dice.randrange(50) if state in RUN_FINAL else 0
    labels = {name: dice.choice("xy") for name in "ab" if dice.random() < 0.5}
    job = dice.choice(["nightly", "hourly", None])
    cell = RunCell(
        number, 1, state, 1, created_at=at, started_at=started, ended_at=ended,
        exit_status=dice.choice(["EMPTY", "EMPTY_2", "0", None]) if ended else None,
    )  # fmt: skip
    params = b'{"long": "%s"}' % (b"x" * 2000) if dice.random() < 0.1 else b"{}"
    return NewRun(RunInput(number, 1, job, 1 if job else None, at, params, labels), cell)


def a_filter(dice: random.Random) -> RunFilter:
    def maybe(value: object, often: float = 0.3) -> object:
        return value if dice.random() < often else None

    def around() -> int:
        return AT + dice.randrange(RUNS // 2 + 60)

    return RunFilter(
        job=maybe("nightly"),  # type: ignore[arg-type]  # reason: chosen by dice
        states=tuple(map(int, dice.sample(list(RunState), dice.randrange(4)))),
        labels=tuple((name, "x") for name in "ab" if dice.random() < 0.15),
        since=maybe(around()),  # type: ignore[arg-type]  # reason: chosen by dice
        until=maybe(around()),  # type: ignore[arg-type]  # reason: chosen by dice
        text=maybe(dice.choice(["NIGHT", "x", "17"]), 0.15),  # type: ignore[arg-type]  # reason: chosen by dice
        ascending=dice.random() < 0.5,
        limit=dice.choice([3, 10, 500]),
        exit_status=maybe(dice.choice(["EMPTY*", "0"]), 0.15),  # type: ignore[arg-type]  # reason: chosen by dice
        started=(maybe(around(), 0.1), maybe(around(), 0.1)),  # type: ignore[arg-type]  # reason: chosen by dice
        ended=(maybe(around(), 0.1), maybe(around(), 0.1)),  # type: ignore[arg-type]  # reason: chosen by dice
        scan=dice.choice([30, 80, 3000]),
    )


def wanted(run: NewRun, where: RunFilter) -> bool:
    given, cell = run.input, run.cell

    def lies(at: int, low: int | None, high: int | None) -> bool:
        return (low is None and high is None) or (at > 0 and (low or 0) <= at <= (high or 2**62))

    return all(
        (
            where.job in (None, given.job),
            not where.states or cell.state in where.states,
            dict(where.labels).items() <= given.labels.items(),
            (where.since or 0) <= cell.created_at <= (where.until or 2**62),
            where.text is None or any(
                where.text.lower() in text for text in (given.job or "", *given.labels, *given.labels.values())
            ) or where.text == str(cell.run),
            where.exit_status is None or fnmatchcase(cell.exit_status or "-", where.exit_status),
            lies(cell.started_at, *where.started),
            lies(cell.ended_at, *where.ended),
        )
    )  # fmt: skip


async def all_pages(store: Store, where: RunFilter) -> tuple[list[RunRow], int]:
    rows: list[RunRow] = []
    pages = 0
    after = None
    while True:
        filters = {name: getattr(where, name) for name in where.__struct_fields__}
        page = await store.reader.runs_page(RunFilter(**{**filters, "after": after}))
        pages += 1
        assert len(page.rows) <= where.limit
        rows += page.rows
        if page.last is None:
            return rows, pages
        assert after is None or (page.last > after if where.ascending else page.last < after), "no progress"
        after = page.last


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.tail) for n in range(1, 12))])
def test_every_list_is_what_a_look_at_every_run_gives(fresh: Fresh, seed: int) -> None:
    dice = random.Random(seed)
    runs = [a_run(number, dice) for number in range(1, RUNS + 1)]

    async def body(store: Store) -> None:
        await store.writer.begin()
        await store.writer.write(Batch(AT, commits=[CommitRow(1, AT, 1, "a", "t")], new_runs=runs))
        await store.writer.commit()
        several = 0
        for _ in range(70):
            where = a_filter(dice)
            rows, pages = await all_pages(store, where)
            several += pages > 2
            expected = sorted(
                (r for r in runs if wanted(r, where)),
                key=lambda r: (r.cell.created_at, r.cell.run),
                reverse=not where.ascending,
            )
            assert [r.cell.run for r in rows] == [r.cell.run for r in expected], where
            assert [r.input for r in rows] == [r.input for r in expected]
        assert several > 5

    fresh.run(body)


@pytest.mark.parametrize("parent", [None, 99])
def test_a_page_of_runs_with_large_parameters_ends_early_and_nothing_is_left_out(
    fresh: Fresh, parent: int | None
) -> None:
    large = b'"' + b"x" * 3_600_000 + b'"'
    runs = [
        NewRun(
            RunInput(n, 1, "j", 1, AT + n, large if n % 7 else b"{}"),
            RunCell(n, 1, RunState.queued, 1, created_at=AT + n),
        )
        for n in range(1, 14)
    ]

    async def body(store: Store) -> None:
        children = [ChildRow(99, 0, run.cell.run, 1, run.cell.run) for run in runs]
        await store.writer.begin()
        commits = [CommitRow(1, AT, 1, "a", "t")]
        await store.writer.write(Batch(AT, commits=commits, new_runs=runs, children=children))
        await store.writer.commit()
        where = RunFilter(parent=parent, ascending=True)
        page = await store.reader.runs_page(where)
        size = sum(len(row.input.params) for row in page.rows)
        assert PAGE_SIZE <= size <= PAGE_SIZE + len(large)
        rows, _ = await all_pages(store, where)
        assert [row.input for row in rows] == [run.input for run in runs]

    fresh.run(body)


def test_a_page_of_what_is_rare_looks_at_so_many_runs_and_no_more(fresh: Fresh) -> None:
    """Pages are cut after ``scan`` runs, not after ``limit`` finds: nothing walks all the finished runs."""

    async def body(store: Store) -> None:
        done = [
            NewRun(RunInput(n, 1, "j", 1, AT + n), RunCell(n, 1, RunState.succeeded, 1, created_at=AT + n, ended_at=1))
            for n in range(1, 401)
        ]
        await store.writer.begin()
        await store.writer.write(Batch(AT, commits=[CommitRow(1, AT, 1, "a", "t")], new_runs=done))
        await store.writer.commit()
        for where in (
            RunFilter(labels=(("a", "x"),), scan=100),
            RunFilter(text="nothing", scan=100),
            RunFilter(job="j", states=(int(RunState.succeeded), int(RunState.failed)), exit_status="no", scan=100),
            RunFilter(exit_status="no", scan=100),
            RunFilter(ended=(AT, None), scan=100),
        ):
            page = await store.reader.runs_page(where)
            assert (page.rows, page.last) == ([], (AT + 301, 301)), where
        assert (await store.reader.runs_page(RunFilter(states=(int(RunState.failed),), scan=100))).last is None
        await asyncio.wait_for(all_pages(store, RunFilter(text="nothing", scan=100)), 10)

    fresh.run(body)
