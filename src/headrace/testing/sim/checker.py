"""The history checker: reads the store after a simulation and says which invariants were broken, and how.

The invariants are those of PROMISES.md. It judges by the history rows, the live cells and the ground truth of what
really ran; it shares no rule with core.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from headrace.link.records import LogRecord, Seal
from headrace.model.cells import RunCell, TaskCell
from headrace.model.facts import RunEnded, TaskDispatched, TaskEnded
from headrace.model.ids import RUN_ITSELF
from headrace.model.states import RUN_FINAL, TASK_FINAL, TASK_LEASED, RunState, StopIntent, TaskState
from headrace.store.port import Store
from headrace.store.rows import HistoryAt, HistoryRow, RunFilter, RunRow
from headrace.testing.sim.family import check_children, check_family, parent_of
from headrace.testing.sim.jobs import leaves
from headrace.testing.sim.limits import mend_limits
from headrace.testing.sim.quotas import check_quotas
from headrace.testing.sim.world import World

PAGE = 500


async def unfinished(world: World) -> list[int]:
    """Runs that have not ended."""
    assert world.control.node is not None
    reader = world.control.node.store.reader
    states = tuple(int(s) for s in RunState if s not in RUN_FINAL)
    rows = await reader.runs(RunFilter(states=states, limit=PAGE))
    return [row.cell.run for row in rows]


async def transitions(world: World) -> int:
    """How many changes of runs and tasks there were: each raised one version by one."""
    assert world.control.node is not None
    reader, total = world.control.node.store.reader, 0
    for row in await reader.runs(RunFilter(limit=PAGE)):
        cells = await reader.tasks(row.cell.run, limit=PAGE)
        alone = len(cells) == 1 and cells[0].counts is None  # run and task are one entity then
        total += row.cell.version + (0 if alone else sum([cell.version for cell in cells]))
    return total


async def held(world: World, runs: list[int]) -> list[int]:
    """Those that wait for a person, which is something named: a simulated one cancels them."""
    assert world.control.node is not None
    reader = world.control.node.store.reader
    waiting = []
    for run in runs:
        cells = await reader.tasks(run, limit=PAGE)
        leased = any(cell.state in TASK_LEASED and cell.counts is None for cell in cells)
        if not leased and any(cell.state is TaskState.held for cell in cells):
            waiting.append(run)
    return waiting


async def resume(world: World, runs: list[int]) -> None:
    """Go on with what is paused. What a user has paused, and nobody has resumed, must be paused still, unless it was
    brought to its end: by its timeout, or by a newer run that takes its place.
    """
    assert world.control.node is not None
    reader = world.control.node.store.reader
    for run in runs:
        found = await reader.run(run)
        if found is None:
            continue
        state = found.cell.state
        if run in world.paused and state not in {RunState.paused, RunState.stopping, *RUN_FINAL}:
            world.outcome.broken.append(f"I16 run {run} was paused, and is {state.name}")
        if state is RunState.paused:
            await world.resume(run)


async def mend(world: World) -> None:
    """Limits that would keep work waiting for ever let it go on."""
    assert world.control.node is not None
    await mend_limits(world.control.node.store.reader, world.tell)


async def check(world: World) -> None:
    """Every invariant; what is broken goes into the world's outcome."""
    broken = world.outcome.broken
    broken += [f"I1 {text}" for text in world.doubles]
    node = world.control.node
    if node is None:
        broken.append("I15 control does not come up again")
        return
    for run in await unfinished(world):
        broken.append(f"I6 run {run} has not ended: {await story(node.store, run)}")
    for key, run in world.acknowledged.items():
        if await node.store.reader.run(run) is None:
            broken.append(f"I1 {key} was acknowledged as run {run}, which does not exist")
    rows = await node.store.reader.runs(RunFilter(limit=PAGE))
    history: dict[HistoryAt, HistoryRow] = {}
    for run in sorted({*world.acknowledged.values(), *(row.cell.run for row in rows)}):
        history.update(((h.run, h.no, h.index, h.version), h) for h in await _check_run(world, node.store, run))
    jobs = {job.name: job for job in (*leaves(), *world.jobs)}
    exceeded, world.outcome.limited = await check_quotas(node.store, history, rows, jobs)
    broken += [f"I18 {text}" for text in exceeded]
    _check_nothing_else(world, rows)
    broken += await check_family(node.store, rows)
    if world.ground.alive:
        broken.append(f"I11 still alive: {sorted(world.ground.alive)[:3]}")
    for name in world.ground.twice:
        broken.append(f"I4 attempt {name} was begun twice")


def _check_nothing_else(world: World, rows: Sequence[RunRow]) -> None:
    """Every run that exists was asked for; once it is acknowledged there is no second one for the same key."""
    known = set(world.acknowledged.values())
    world.outcome.runs = len(rows)
    for row in rows:
        more = row.input.more
        late = more is not None and more.restarted_from in world.refused
        if row.cell.run not in known and parent_of(row) is None and not late:
            world.outcome.broken.append(f"I1 run {row.cell.run} exists, and nobody was answered with it")


async def _history(store: Store, run: int) -> list[HistoryRow]:
    """All rows of the run and its tasks, page by page per entity."""
    tasks: list[TaskCell] = []
    after = (-1, -2)
    while page := await store.reader.tasks(run, after=after, limit=PAGE):
        tasks += page
        after = (page[-1].no, page[-1].index)
    rows: list[HistoryRow] = []
    for no, index in [(RUN_ITSELF, -1), *((t.no, t.index) for t in tasks)]:
        seen = 0
        while page_ := await store.reader.history(run, no=no, index=index, after=seen, limit=PAGE):
            rows += page_
            seen = page_[-1].version
    return rows


async def _check_run(world: World, store: Store, run: int) -> list[HistoryRow]:
    """What one run breaks by itself; gives its history."""
    broken = world.outcome.broken
    found = await store.reader.run(run)
    if found is None:
        return []
    broken += [f"I16 {text}" for text in await _check_restart(world, store, found)]
    rows = await _history(store, run)
    world.outcome.transitions += len(rows)
    broken += [f"{text} (run {run})" for text in judge(rows)]
    begin_at = found.input.more.begin_at if found.input.more is not None else 0
    if found.cell.intent is StopIntent.none and any(at < begin_at for at, _ in _given_out(rows)):
        broken.append(f"I16 run {run} began before its time")
    after = (-1, -2)
    while page := await store.reader.tasks(run, after=after, limit=PAGE):
        for cell in page:
            if found.cell.state in RUN_FINAL and cell.state not in TASK_FINAL:
                broken.append(f"I6 run {run} is {found.cell.state.name}, its task {cell.key} {cell.state.name}")
            broken += [f"I12 {text}" for text in await _check_log(world, store, cell)]
            broken += [f"I3 {text}" for text in await _check_owner(world, store, cell)]
        after = (page[-1].no, page[-1].index)
    broken += await _check_commits(store, rows, run)
    assert world.control.node is not None
    graph = (await world.control.node.graphs.load(found.cell.graph)).graph
    job_tasks = [node.no for node in graph.nodes if node.source.kind == "job"]
    broken += await check_children(store, rows, job_tasks)
    return rows


async def _check_restart(world: World, store: Store, row: RunRow) -> list[str]:
    """A restarted run repeats nothing that had succeeded, unless it hangs on what had not."""
    old = row.input.more.restarted_from if row.input.more is not None else 0
    if not old or world.control.node is None:
        return []
    graph = (await world.control.node.graphs.load(row.cell.graph)).graph
    was = {cell.key[1:]: cell for cell in await store.reader.tasks(old, limit=PAGE)}
    whole = {no: cell for (no, index), cell in was.items() if index == -1}
    again = {n.no for n in graph.nodes if n.final or whole[n.no].state is not TaskState.succeeded}
    again |= {no for no, cell in whole.items() if cell.counts is not None and cell.counts.skipped}
    moved = {n.no for n in graph.nodes if n.final}
    while more := {n.no for n in graph.nodes if n.no not in moved and any(need.task in again for need in n.needs)}:
        moved |= more
        again |= more
    broken = []
    for cell in await store.reader.tasks(row.cell.run, limit=PAGE):
        before = was.get(cell.key[1:])
        done = before is not None and before.state is TaskState.succeeded
        if done and cell.no not in moved and cell.attempt and cell.counts is None:
            broken.append(f"run {row.cell.run} repeats {cell.key[1:]}, which had succeeded in run {old}")
    return broken


async def _check_commits(store: Store, rows: list[HistoryRow], run: int) -> list[str]:
    missing = await store.reader.statement("commits_missing", {"run": run})
    graphs = {row.run_image.graph for row in rows if row.run_image is not None}
    broken = [f"I13 history of run {run} names commit {row[0]}, which has no record" for row in missing]
    if len(graphs) > 1:
        broken.append(f"I10 run {run} changed its definition: {graphs}")
    return broken


def judge(rows: Iterable[HistoryRow]) -> list[str]:
    """What the history of one run breaks by itself. Pure, so that it can be tested with made-up histories."""
    broken: list[str] = []
    entities: dict[tuple[int, int], list[HistoryRow]] = {}
    for row in rows:
        entities.setdefault((row.no, row.index), []).append(row)
    ends = 0
    for (no, index), history in entities.items():
        versions = [row.version for row in history]
        if versions != list(range(1, len(versions) + 1)):
            broken.append(f"I13 versions of ({no}, {index}) are not dense: {versions}")
        if any(a.at > b.at for a, b in pairwise(history)):
            broken.append(f"I13 time runs backwards within ({no}, {index})")
        broken += _judge_attempts(history)
        ends += sum(isinstance(fact, RunEnded) for row in history for fact in row.facts)
        broken += _judge_finality(history)
    if ends > 1:
        broken.append(f"I2 it ended {ends} times")
    return broken + _judge_pauses(entities)


def _judge_pauses(entities: dict[tuple[int, int], list[HistoryRow]]) -> list[str]:
    """Nothing is given out while the run is paused."""
    images = [(row.at, row.run_image.state) for row in entities.get((RUN_ITSELF, -1), ()) if row.run_image is not None]
    pauses = [(at, until) for (at, state), (until, _) in pairwise(images) if state is RunState.paused]
    return [
        f"I16 task ({fact.no}, {fact.index}) was given out at {at}, while the run was paused"
        for at, fact in _given_out(row for rows in entities.values() for row in rows)
        if any(since < at < until for since, until in pauses)
    ]


def _given_out(rows: Iterable[HistoryRow]) -> list[tuple[int, TaskDispatched]]:
    """Every attempt that was given out, and when."""
    return [(row.at, fact) for row in rows for fact in row.facts if isinstance(fact, TaskDispatched)]


def _judge_attempts(history: list[HistoryRow]) -> list[str]:
    epochs: dict[tuple[int, int], list[int]] = {}
    finals: dict[tuple[int, int], int] = {}
    for row in history:
        for fact in row.facts:
            if isinstance(fact, TaskDispatched):
                epochs.setdefault((fact.no, fact.index), []).append(fact.epoch)
            if isinstance(fact, TaskEnded):
                finals[(fact.no, fact.index)] = finals.get((fact.no, fact.index), 0) + 1
    broken = [f"I3 epochs of {k} do not rise: {v}" for k, v in epochs.items() if v != sorted(set(v))]
    broken += [f"I4 task {k} ended {n} times" for k, n in finals.items() if n > 1]
    return broken


def _judge_finality(history: list[HistoryRow]) -> list[str]:
    final: RunState | None = None
    for row in history:
        image: RunCell | None = row.run_image
        if image is None:
            continue
        if final is not None and image.state != final:
            return [f"I2 its state was {final.name}, then {image.state.name}"]
        if image.state in RUN_FINAL:
            final = image.state
    return []


async def _check_owner(world: World, store: Store, cell: TaskCell) -> list[str]:
    """What an attempt said is what the attempt of that very epoch said: nobody else began at its instant."""
    if cell.counts is not None or not cell.attempt or not cell.agent:
        return []
    broken = []
    for said in (cell, *(row.cell for row in await store.reader.attempts(cell.key))):
        ended = said.state in (TaskState.succeeded, TaskState.failed) and said.started_at
        if ended and said.started_at != world.ground.since.get((said.run, said.no, said.index, said.epoch)):
            text = f"attempt {said.attempt} of {said.key} has the outcome of another epoch than its {said.epoch}"
            broken.append(text)
    return broken


async def _check_log(world: World, store: Store, cell: TaskCell) -> list[str]:
    """The stored log is what was printed, or says that it was cut."""
    if cell.counts is not None or not cell.attempt or cell.state not in TASK_FINAL or not cell.seal:
        return []
    printed = b"".join(world.ground.printed.get((cell.run, cell.no, cell.index, cell.epoch), []))
    seal = msgspec.msgpack.decode(cell.seal, type=Seal)
    data = seal.inline and _bytes(msgspec.msgpack.decode(seal.inline, type=list[LogRecord]))
    if not seal.inline:
        data = b""
        for segment in await store.reader.segments(cell.key, cell.attempt):
            data += _bytes(msgspec.msgpack.decode(segment.data or b"\x90", type=list[LogRecord]))
    if data == printed or (seal.cut and printed.startswith(data)):
        return []
    return [
        f"log of {cell.key} attempt {cell.attempt}: {len(data)} bytes stored, {len(printed)} printed, cut {seal.cut!r}"
    ]


def _bytes(records: list[LogRecord]) -> bytes:
    return b"".join(r.data for r in records if r.stream == "stdout")


async def story(store: Store, run: int) -> str:
    """Where a run that does not end stands: for the person who looks into the seed."""
    found = await store.reader.run(run)
    tasks = await store.reader.tasks(run, limit=20)
    lines = [f"{found.cell.state.name if found else '?'} due {found.cell.due_at if found else 0}"]
    lines += [f"{t.no}[{t.index}] {t.state.name} attempt {t.attempt} agent {t.agent} due {t.due_at}" for t in tasks]
    return "; ".join(lines)
