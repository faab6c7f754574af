"""The outbox on both stores: rows in order, gone with the commit that delivered them; and on two nodes at once."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import psycopg
import pytest
from both_stores import Fresh
from msgspec import structs
from test_both_stores import AT, commit, new_run
from test_three_ledgers import ALICE, node

from headrace.control.changes.jobs import PutJob
from headrace.control.node import Node
from headrace.model.cells import InputMore, ParentRef, RunInput
from headrace.model.changes import Cancel, Submit
from headrace.model.definition import JobDefinition
from headrace.model.errors import HeadraceError
from headrace.model.messages import ChildEnded, StartChild, StopChild
from headrace.model.states import RunState
from headrace.store.images import decode_message, encode_message
from headrace.store.port import Store
from headrace.store.rows import ChildRow, NewRun, OutboxRow, RunFilter

PARENTS = 25


def row(kind: str, n: int, due: int = 0) -> OutboxRow:
    return OutboxRow(kind, f"s{n}", b"%d" % n, due)


def test_rows_of_a_kind_are_read_in_the_order_of_their_writing_once_they_are_due(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        await commit(store, outbox=[row("child", 1), row("other", 2), row("child", 3, AT + 9), row("child", 4)])
        read = store.reader.outbox
        assert [(r.kind, r.subject, r.body) for r in await read("child", AT, 10)] == [
            ("child", "s1", b"1"),
            ("child", "s4", b"4"),
        ]
        assert [r.body for r in await read("child", AT + 9, 10)] == [b"1", b"3", b"4"]
        assert [r.body for r in await read("child", AT + 9, 1)] == [b"1"]

    fresh.run(body)


def test_what_a_commit_delivered_is_gone_and_what_was_rolled_back_is_there(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        await commit(store, outbox=[row("child", 1), row("child", 2)])
        first, second = [r.seq for r in await store.reader.outbox("child", AT, 10)]
        await store.writer.begin()
        assert await store.writer.lock_outbox([first, second, 10**9]) == {first, second}
        await store.writer.rollback()
        await commit(store, told=[first])
        assert [r.seq for r in await store.reader.outbox("child", AT, 10)] == [second]
        await store.writer.begin()
        assert await store.writer.lock_outbox([first, second]) == {second}
        await store.writer.rollback()

    fresh.run(body)


def test_children_are_found_by_their_parents_attempt_and_an_attempt_has_one(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        ref = ParentRef(1, 2, -1, 77, 3)
        runs = [new_run(n, at=AT + n) for n in (1, 2, 3, 4)]
        runs[1] = NewRun(structs.replace(runs[1].input, more=InputMore(parent=ref)), runs[1].cell)
        rows = [ChildRow(1, 2, -1, 77, 2), ChildRow(1, 2, -1, 78, 3), ChildRow(1, 0, 5, 79, 4)]
        await commit(store, new_runs=runs, children=rows)
        reader = store.reader
        assert await reader.children(1) == [rows[2], *rows[:2]]
        assert await reader.children(1, after=(2, -1, 77)) == [rows[1]]
        assert await reader.children(1, whole=True, limit=1) == [rows[0]]
        assert (await reader.child(1, 2, -1, 78), await reader.child(1, 2, -1, 79)) == (3, None)
        found = await reader.runs(RunFilter(parent=1))
        assert [r.cell.run for r in found] == [2, 3, 4]
        assert found[0].input.more == InputMore(parent=ref)
        last = found[0].cell
        rest = await reader.runs(RunFilter(parent=1, after=(last.created_at, last.run), limit=1))
        assert [r.cell.run for r in rest] == [3]
        with pytest.raises(HeadraceError):
            await commit(store, children=[ChildRow(1, 2, -1, 77, 4)])
        await store.writer.rollback()

    fresh.run(body)


@pytest.mark.parametrize(
    "message",
    [
        StartChild(1, 2, -1, 3, "job", 4, b'{"a":1}', 5, 6),
        StopChild(1, 2, 3, 4, "abandon", "why"),
        ChildEnded(1, 2, 3, 4, 5),
    ],
)
def test_messages_come_back_as_they_were_written(message: Any) -> None:
    assert decode_message(encode_message(message)) == message


def test_a_message_of_an_older_version_is_read_with_defaults() -> None:
    assert decode_message(msgspec.msgpack.encode(["start", 1, 2, -1, 3, "job"])) == StartChild(1, 2, -1, 3, "job")


async def put(at: Node, name: str, *tasks: dict[str, Any]) -> JobDefinition:
    definition = msgspec.convert({"name": name, "tasks": list(tasks)}, JobDefinition)
    await at.ledger.change(PutJob(definition, await at.ledger.document(definition)), ALICE)
    return definition


def test_two_nodes_deliver_everything_once_and_without_a_deadlock(postgres_dsn: str) -> None:
    async def submit(at: Node, graph: int, count: int) -> list[int]:
        first = await at.ids.take(count)
        changes = [Submit(RunInput(first + n, graph, None, None, at.clock.now())) for n in range(count)]
        await at.ledger.ask_many(changes, ALICE)
        return [first + n for n in range(count)]

    async def main() -> None:
        async with node(postgres_dsn) as a, node(postgres_dsn) as b:
            await put(a, "leaf", {"name": "w", "wait": {"for": "5ms"}})
            await put(a, "slow", {"name": "w", "wait": {"for": "1h"}})
            kids = {"name": "many", "each": [1, 2, 3], "job": "leaf"}
            parent = await put(a, "parent", {"name": "one", "job": "leaf"}, kids)
            stuck = await put(a, "stuck", {"name": "one", "job": "slow"})
            graph, other = await a.ledger.keep(parent), await b.ledger.keep(stuck)
            runs = [n for part in await asyncio.gather(*(submit(at, graph, PARENTS) for at in (a, b))) for n in part]
            canceled = await submit(b, other, 10)
            await a.ledger.ask_many([Cancel(number, "enough") for number in canceled], ALICE)
            reader = a.store.reader
            left = [*runs, *canceled]
            while left or await reader.outbox("child", 2**62, 1):
                for loop in (a.outbox, b.outbox):
                    loop.wake()
                await asyncio.sleep(0.01)  # a poll: two nodes at once, neither is told of what the other has ended
                open_ = await reader.runs(RunFilter(states=(0, 1, 2, 3), limit=500))
                left = [r.cell.run for r in open_]
            for number in runs:
                found = await reader.run(number)
                assert found is not None
                assert found.cell.state == RunState.succeeded
                children = await reader.runs(RunFilter(parent=number))
                assert [r.cell.state for r in children] == [RunState.succeeded] * 4
            for number in canceled:
                found = await reader.run(number)
                assert found is not None
                assert found.cell.state == RunState.canceled
                assert {r.cell.state for r in await reader.runs(RunFilter(parent=number))} <= {RunState.canceled}
            assert a.problems() == b.problems() == []

    asyncio.run(asyncio.wait_for(main(), 120))
    with psycopg.connect(postgres_dsn) as admin:
        found = admin.execute("select deadlocks from pg_stat_database where datname = current_database()").fetchone()
    assert found == (0,)
