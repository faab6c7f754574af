"""Answers under idempotency keys on both stores: the old ones are found oldest first, and go."""

from __future__ import annotations

from both_stores import Fresh
from test_both_stores import AT, commit

from headrace.store.port import Store
from headrace.store.rows import Answer


def answer(key: str, at: int, scope: str = "alice") -> Answer:
    return Answer(scope, key, b"digest", 201, "/runs/1", b"body", at)


def test_answers_that_are_over_go_and_those_that_were_renewed_meanwhile_stay(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        await commit(store, answers=[answer("c", AT - 1), answer("a", AT - 3), answer("b", AT - 2, "bob")])
        await commit(store, answers=[answer("new", AT)])
        old = store.reader.answers_before
        assert await old(AT, 10) == [("alice", "a"), ("bob", "b"), ("alice", "c")]
        assert await old(AT, 2) == [("alice", "a"), ("bob", "b")]
        assert await old(AT - 3, 10) == []
        await commit(store, over=[("alice", "a", AT), ("bob", "b", AT - 2), ("alice", "new", AT), ("eve", "x", AT)])
        assert await old(AT + 1, 10) == [("bob", "b"), ("alice", "c"), ("alice", "new")]

    fresh.run(body)
