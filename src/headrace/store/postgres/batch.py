"""Turns one batch into set statements: a name, its columns as arrays, and how many rows it must touch.

Pure: no IO. A statement is made only for what the batch holds, and never more than one of each. Called by ``writer``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from headrace.model.cells import RunCell, TaskCell
from headrace.model.states import RUN_FINAL, TASK_LEASED, RunState, TaskState
from headrace.store.images import encode, history_body, input_rest
from headrace.store.postgres.arrays import Bytes, Gaps, Ints, Smalls, Texts
from headrace.store.rows import Batch, Entity, UseKey
from headrace.store.touched import pack
from headrace.store.uses import Uses, WaitKey, uses_of


class Call(NamedTuple):
    """A named statement with its parameters. What must touch each of its rows is told their number, and fails otherwise."""

    name: str
    params: list[Any]


def calls(batch: Batch, incarnation: int) -> Iterator[Call]:
    """The statements that write this batch, in an order that is the same on every node."""
    yield from _definitions(batch)
    yield from _live(batch)
    yield from _aside(batch)
    yield from _records(batch, incarnation)
    if (uses := uses_of(batch)) is not None:
        yield from _limits(uses, batch)


def _definitions(batch: Batch) -> Iterator[Call]:
    if rows := sorted(batch.documents, key=lambda d: d.digest):
        yield Call(
            "add_documents",
            [Ints([d.graph for d in rows]), Bytes([d.digest for d in rows]), Bytes([d.body for d in rows])],
        )
    if classes := sorted(batch.classes):
        yield Call("add_classes", [Ints([k for k, _ in classes]), Bytes([b for _, b in classes])])


def _live(batch: Batch) -> Iterator[Call]:
    if new := batch.new_runs:
        yield Call("add_runs", _new_runs(batch))
        if cells := [n.cell for n in new if n.cell.state not in RUN_FINAL]:
            yield Call("add_open_runs", _places(cells))
    if runs := batch.runs:
        yield Call("put_runs", [*_runs(runs), batch.at, len(runs)])
        if labels := {c.run: c.more.labels for c in runs if c.more is not None and c.more.labels is not None}:
            texts = [msgspec.json.encode(one).decode() for one in labels.values()]
            yield Call("put_labels", [Ints(list(labels)), Texts(texts)])
    yield from _ended([*(n.cell for n in new), *runs])
    if tasks := batch.new_tasks:
        yield Call("add_tasks", [*_tasks(tasks), batch.at])
    if tasks := [cell for cell in batch.tasks if not _indexed(cell)]:
        yield Call("end_tasks", [*_ended_tasks(tasks), batch.at, len(tasks)])
    if tasks := [cell for cell in batch.tasks if _indexed(cell)]:
        yield Call("put_tasks", [*_tasks(tasks), batch.at, len(tasks)])


def _ended(cells: list[RunCell]) -> Iterator[Call]:
    # A run that was over before is not on the list any more: that is right too.
    ended = [cell for cell in cells if cell.state in RUN_FINAL]
    if ended:
        yield Call("drop_open_runs", _places(ended))
    if others := [cell for cell in ended if cell.state != RunState.succeeded]:
        yield Call("add_other_runs", _places(others))


def _places(cells: list[RunCell]) -> list[Any]:
    return [Ints([c.created_at for c in cells]), Ints([c.run for c in cells])]


def _new_runs(batch: Batch) -> list[Any]:
    cells = [n.cell for n in batch.new_runs]
    inputs = [n.input for n in batch.new_runs]
    return [
        Ints([c.run for c in cells]),
        Smalls([c.state for c in cells]),
        Gaps([c.due_at or None for c in cells]),
        Ints([i.created_at for i in inputs]),
        Texts([i.job for i in inputs]),
        Texts([msgspec.json.encode(i.labels).decode() if i.labels else None for i in inputs]),
        Bytes([input_rest(i) for i in inputs]),
        Bytes([None if i.params == b"{}" else i.params for i in inputs]),
        Bytes([encode(c) for c in cells]),
        batch.at,
    ]


def _runs(cells: list[RunCell]) -> list[Any]:
    return [
        Ints([c.run for c in cells]),
        Smalls([c.state for c in cells]),
        Gaps([c.due_at or None for c in cells]),
        Bytes([encode(c) for c in cells]),
    ]


def _indexed(cell: TaskCell) -> bool:
    """It stands in an index of live rows; what has ended, or waits for others, does not."""
    return bool(cell.due_at) or cell.state == TaskState.ready or cell.state in TASK_LEASED


def _ended_tasks(cells: list[TaskCell]) -> list[Any]:
    return [
        Ints([c.run for c in cells]),
        Ints([c.no for c in cells]),
        Ints([c.index for c in cells]),
        Smalls([c.state for c in cells]),
        Bytes([encode(c) for c in cells]),
    ]


def _tasks(cells: list[TaskCell]) -> list[Any]:
    return [
        Ints([c.run for c in cells]),
        Ints([c.no for c in cells]),
        Ints([c.index for c in cells]),
        Smalls([c.state for c in cells]),
        Gaps([c.klass if c.state == TaskState.ready else None for c in cells]),
        Gaps([c.rank if c.state == TaskState.ready else None for c in cells]),
        Gaps([c.agent if c.state in TASK_LEASED else None for c in cells]),
        Gaps([c.due_at or None for c in cells]),
        Bytes([encode(c) for c in cells]),
    ]


def _aside(batch: Batch) -> Iterator[Call]:
    # A blob's bytes are in the blob store already; the cell names their digest.
    if values := [(key, value.data) for key, value in batch.values if value.data is not None]:
        yield Call("add_values", [*_keys([k for k, _ in values]), Bytes([d for _, d in values])])
    if rows := batch.attempts:
        keys = _keys([(r.run, r.no, r.index) for r in rows])
        yield Call("add_attempts", [*keys, Ints([r.attempt for r in rows]), Bytes([encode(r.cell) for r in rows])])
    if segments := batch.segments:
        keys = _keys([(r.run, r.no, r.index) for r in segments])
        yield Call(
            "add_segments",
            [
                *keys,
                Ints([r.attempt for r in segments]),
                Ints([r.first for r in segments]),
                Ints([r.last for r in segments]),
                Bytes([r.data for r in segments]),
                Texts([r.digest for r in segments]),
            ],
        )
    if files := batch.artifacts:
        keys = _keys([(r.run, r.no, r.index) for r in files])
        yield Call(
            "add_artifacts",
            [*keys, Texts([r.path for r in files]), Texts([r.digest for r in files]), Ints([r.size for r in files])],
        )


def _keys(keys: list[tuple[int, int, int]]) -> list[Any]:
    return [Ints([k[0] for k in keys]), Ints([k[1] for k in keys]), Ints([k[2] for k in keys])]


def _records(batch: Batch, incarnation: int) -> Iterator[Call]:
    if rows := batch.history:
        keys = _keys([(r.run, r.no, r.index) for r in rows])
        bodies = Bytes([history_body(r) for r in rows])
        marks = [Ints([r.version for r in rows]), Ints([r.at for r in rows]), Ints([r.commit for r in rows])]
        yield Call("add_history", [*keys, *marks, bodies])
    if batch.entities:
        yield from _entities(batch.entities)
    if answers := sorted(batch.answers, key=lambda a: (a.scope, a.key)):
        yield Call(
            "put_answers",
            [
                Texts([a.scope for a in answers]),
                Texts([a.key for a in answers]),
                Bytes([a.request for a in answers]),
                Ints([a.status for a in answers]),
                Texts([a.location for a in answers]),
                Bytes([a.body for a in answers]),
                Ints([a.at for a in answers]),
                len(answers),
            ],
        )
    if over := batch.over:
        yield Call(
            "drop_answers", [Texts([o[0] for o in over]), Texts([o[1] for o in over]), Ints([o[2] for o in over])]
        )
    if commits := batch.commits:
        marks = [Ints([c.commit for c in commits]), Ints([c.at for c in commits]), Ints([c.node for c in commits])]
        texts = [Texts([c.actor for c in commits]), Texts([c.source for c in commits]), Texts([c.why for c in commits])]
        touched = Bytes([pack(batch), *[None] * (len(commits) - 1)])
        yield Call("add_commits", [*marks, *texts, touched, incarnation])
    if outbox := batch.outbox:
        yield Call(
            "add_outbox",
            [
                Ints([o.due_at for o in outbox]),
                Texts([o.kind for o in outbox]),
                Texts([o.subject for o in outbox]),
                Bytes([o.body for o in outbox]),
            ],
        )
    if told := batch.told:
        yield Call("drop_outbox", [Ints(sorted(told))])
    if children := batch.children:
        keys = _keys([(c.parent, c.no, c.index) for c in children])
        yield Call("add_children", [*keys, Ints([c.epoch for c in children]), Ints([c.run for c in children])])


def _limits(uses: Uses, batch: Batch) -> Iterator[Call]:
    # Rows belong to a run or a limit that this transaction has locked; sorted all the same.
    if over := sorted(uses.over):
        yield Call("drop_uses", _use_columns(over))
    if held := sorted(uses.held):
        yield Call("add_uses", [*_use_columns(held), Ints([uses.held[key] for key in held])])
    if entered := sorted(uses.entered):
        yield Call("drop_waits", _wait_columns(entered))
    if waiting := sorted(uses.waiting):
        yield Call("add_waits", _wait_columns(waiting))
    if cached := sorted(uses.cached.items()):
        keys = _keys([(c.run, c.no, c.index) for _, c in cached])
        yield Call("put_cached", [Bytes([w for w, _ in cached]), *keys, Ints([c.ended_at for _, c in cached])])
    if ticks := sorted(batch.ticks.items()):
        names = [Texts([name for (name, _), _ in ticks]), Texts([key for (_, key), _ in ticks])]
        yield Call("put_ticks", [*names, Ints([tick for _, tick in ticks]), batch.at])


def _use_columns(rows: list[UseKey]) -> list[Any]:
    return [Texts([r[0] for r in rows]), Texts([r[1] for r in rows]), *_keys([r[2:] for r in rows])]


def _wait_columns(rows: list[WaitKey]) -> list[Any]:
    names = [Texts([r[0] for r in rows]), Texts([r[1] for r in rows])]
    return [*names, Ints([r[2] for r in rows]), Ints([r[3] for r in rows])]


def _entities(entities: list[Entity]) -> Iterator[Call]:
    # Sorted by key, and only the newest image of each: one statement cannot touch a row twice.
    versions = sorted(entities, key=lambda e: (e.kind, e.name, e.version))
    newest = list({(e.kind, e.name): e for e in versions}.values())
    yield Call("put_entities", [*_entity_columns(newest), len(newest)])
    if told := [e for e in versions if e.facts]:
        yield Call("add_entity_history", [*_entity_columns(told), Ints([e.commit for e in told])])


def _entity_columns(rows: list[Entity]) -> list[Any]:
    return [
        Ints([e.space for e in rows]),
        Texts([e.kind for e in rows]),
        Texts([e.name for e in rows]),
        Ints([e.version for e in rows]),
        Ints([e.created_at for e in rows]),
        Ints([e.updated_at for e in rows]),
        Ints([e.deleted_at for e in rows]),
        Bytes([e.facts for e in rows]),
        Bytes([e.image for e in rows]),
    ]
