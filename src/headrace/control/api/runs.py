"""Runs as they are read: lists, one run with its tasks, tasks, instances.

Reads rows and builds views. Making runs is ``control.api.submit``, changing them ``control.api.verbs``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec import structs

from headrace.control.api.call import Call, Reply
from headrace.control.api.cursors import cursor_of, place_of
from headrace.control.api.lookup import agent_names, children_of, run_of, run_row, task_number
from headrace.control.api.outputs import with_output
from headrace.control.api.shown import ENDED_BADLY, LIVE, TASKS_MAX, shown_tasks
from headrace.control.api.table import BASE, EDN, PAGE, Handler, Query, Route
from headrace.control.api.times import instant_of, seconds_of
from headrace.control.api.views import TaskViews, has_earlier, run_view
from headrace.control.auth import Permission
from headrace.control.ended import ended_runs
from headrace.control.graphs import Known
from headrace.model.cells import TaskCell
from headrace.model.definition import JobDefinition
from headrace.model.errors import Invalid, NotFound, Problem, TooLarge
from headrace.model.ids import WHOLE
from headrace.model.states import RUN_FINAL, RunState, TaskState
from headrace.model.views import RunPage, RunView, TaskPage, TaskView
from headrace.store.rows import RunFilter, RunRow

WAIT_MAX = 60.0


async def list_runs(call: Call) -> Reply:
    """``GET /runs``: newest first unless ``sort`` says otherwise."""
    sort = call.text("sort") or "-created_at"
    if sort.removeprefix("-") not in {"created_at", "ended_at"}:
        raise _bad("sort", "must be created_at, -created_at, ended_at or -ended_at")
    where = RunFilter(
        job=call.text("job"),
        states=_states(call),
        labels=_labels(call),
        since=instant_of(call, "since"),
        until=instant_of(call, "until"),
        text=call.text("q"),
        ascending=not sort.startswith("-"),
        limit=call.limit(),
        parent=_parent(call),
        exit_status=call.text("exit_status"),
        started=(instant_of(call, "started_since"), instant_of(call, "started_until")),
        ended=(instant_of(call, "ended_since"), instant_of(call, "ended_until")),
    )
    cursor = call.text("cursor")
    if sort.endswith("ended_at"):
        rows, last = await ended_runs(call.services.reader, where, place_of(cursor, tuple[int, int, int]))
        return Reply(await _page(call, rows, None if last is None else cursor_of(last)))
    page = await call.services.reader.runs_page(structs.replace(where, after=_after(cursor)))
    following = None if page.last is None else cursor_of(page.last)
    return Reply(await _page(call, page.rows, following))


async def _page(call: Call, rows: Sequence[RunRow], following: str | None) -> RunPage:
    """What the caller is sent; texts that are JSON already stand in it where they can."""
    if call.accept == EDN:
        return RunPage(items=[run_view(row) for row in rows], next_cursor=following)
    items: Any = await call.services.run_lines.of(rows)
    return RunPage(items=items, next_cursor=following)


async def get_run(call: Call) -> Reply:
    """``GET /runs/{id}``, at once or (``wait=30s``) when it has ended."""
    run = call.run_id()
    if call.text("with") not in {None, "output"}:
        raise _bad("with", "must be output")
    row, known = await run_of(call)
    wait = seconds_of(call, "wait", WAIT_MAX)
    if wait and row.cell.state not in RUN_FINAL:
        row = await _until_ended(call, run, wait)
    return Reply(await whole_run(call, row, known))


async def whole_run(call: Call, row: RunRow, known: Known) -> RunView:
    """A run with its tasks (groups by their counts) and, when it has succeeded, its result."""
    services = call.services
    cells, more = await shown_tasks(services.reader, known, row.cell.run, ENDED_BADLY, LIVE)
    children = await children_of(call, known, row.cell.run, whole=True)
    views = TaskViews(services.values, known, row, await agent_names(call, cells), children=children)
    states = {cell.no: cell.state for cell in cells}
    tasks = []
    for cell in cells:
        rows = await services.reader.attempts(cell.key) if has_earlier(cell) else []
        tasks.append(await views.full(cell, states, rows))
    if call.text("with") == "output":
        tasks = [await with_output(services, row, known, cell, view) for cell, view in zip(cells, tasks, strict=True)]
    try:
        return run_view(row, result=await services.values.run_result(row, known, views.seen), tasks=tasks, more=more)
    except TooLarge as error:
        return run_view(row, omitted=error.message, tasks=tasks, more=more)


async def _until_ended(call: Call, run: int, wait: float) -> RunRow:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    waiters = call.services.waiters
    while True:
        future = waiters.subscribe(run)
        try:
            row = await run_row(call)
            left = deadline - loop.time()
            if row.cell.state in RUN_FINAL or left <= 0 or waiters.over:
                return row
            await waiters.until(run, future, left)
        finally:
            waiters.drop(run, future)


async def get_definition(call: Call) -> Reply:
    """``GET /runs/{id}/definition``: the document that the run was made of, saved or not."""
    _, known = await run_of(call)
    return Reply(known.definition)


async def list_tasks(call: Call) -> Reply:
    """``GET /runs/{id}/tasks``: the tasks of the run, groups by their counts."""
    row, known = await run_of(call)
    limit, after = call.limit(TASKS_MAX), _after(call.text("cursor")) or (-1, -2)
    cells = await call.services.reader.tasks(row.cell.run, groups_only=True, after=after, limit=limit)
    items = await _views(call, row, known, cells)
    cursor = cursor_of((cells[-1].no, cells[-1].index)) if len(cells) == limit else None
    return Reply(TaskPage(items=list(items), next_cursor=cursor))


async def get_task(call: Call) -> Reply:
    """``GET /runs/{id}/tasks/{task}``: the task; of one with ``each`` a page of its instances when
    ``limit`` or ``cursor`` asks for one.
    """
    row, known = await run_of(call)
    no = task_number(known, call.values["task"])
    if known.graph.nodes[no].each is not None and (call.text("limit") or call.text("cursor")):
        return await _instances(call, row, known, no)
    return Reply(await _one_task(call, row, known, (row.cell.run, no, WHOLE)))


async def get_instance(call: Call) -> Reply:
    """``GET /runs/{id}/tasks/{task}/{index}``."""
    row, known = await run_of(call)
    no = task_number(known, call.values["task"])
    text = call.values["index"]
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Invalid("an instance is named by its number", malformed=True)
    return Reply(await _one_task(call, row, known, (row.cell.run, no, int(text))))


async def _instances(call: Call, row: RunRow, known: Known, no: int) -> Reply:
    limit = call.limit()
    after = _after(call.text("cursor")) or (no, WHOLE)
    if after[0] != no:
        raise _bad("cursor", "belongs to another list")
    cells = await call.services.reader.tasks(row.cell.run, no=no, after=after, limit=limit)
    items = await _views(call, row, known, cells)
    cursor = cursor_of((no, cells[-1].index)) if len(cells) == limit else None
    return Reply(TaskPage(items=list(items), next_cursor=cursor))


async def _views(call: Call, row: RunRow, known: Known, cells: Sequence[TaskCell]) -> list[TaskView]:
    before = (cells[0].no, cells[0].index - 1) if cells else (-1, -2)
    children = await children_of(call, known, row.cell.run, before)
    views = TaskViews(call.services.values, known, row, await agent_names(call, cells), children=children)
    states = await _needed_states(call, known, cells)
    return [await views.brief(cell, states) for cell in cells]


async def _one_task(call: Call, row: RunRow, known: Known, key: tuple[int, int, int]) -> TaskView:
    services = call.services
    cell = await services.reader.task(key)
    if cell is None:
        name = known.graph.nodes[key[1]].name
        what = name if key[2] == WHOLE else f"{name}[{key[2]}]"
        raise NotFound(f"run {key[0]} has no task {what} (yet)")
    children = await children_of(call, known, key[0], (key[1], key[2] - 1))
    views = TaskViews(services.values, known, row, await agent_names(call, [cell]), children=children, alone=True)
    states = await _needed_states(call, known, [cell])
    return await views.full(cell, states, await services.reader.attempts(key) if has_earlier(cell) else [])


async def _needed_states(call: Call, known: Known, cells: Sequence[TaskCell]) -> dict[int, TaskState]:
    """States of the tasks that blocked ones wait for."""
    states = {cell.no: cell.state for cell in cells if cell.index == WHOLE}
    for cell in cells:
        if cell.state is TaskState.blocked:
            node = known.graph.nodes[cell.no]
            for need in (*node.needs, *node.gate):
                if need.task not in states:
                    found = await call.services.reader.task((cell.run, need.task, WHOLE))
                    states[need.task] = TaskState.blocked if found is None else found.state
    return states


def _states(call: Call) -> tuple[int, ...]:
    names = [n for text in call.query.get("state", ()) for n in text.split(",") if n]
    unknown = [n for n in names if n not in RunState.__members__]
    if unknown:
        raise _bad("state", f"{unknown[0][:40]!r} is no state of a run: {', '.join(RunState.__members__)}")
    return tuple(int(RunState[n]) for n in names)


def _labels(call: Call) -> tuple[tuple[str, str], ...]:
    found = []
    for text in call.query.get("label", ()):
        for pair in text.split(","):
            name, equals, value = pair.partition("=")
            if not equals or not name:
                raise _bad("label", "must be written name=value")
            found.append((name, value))
    return tuple(found)


def _parent(call: Call) -> int | None:
    """The run whose children are asked for: these alone, the oldest first."""
    text = call.text("parent")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise _bad("parent", "must be the number of a run")
    others = [name for name in ("job", "state", "label", "since", "until", "q", "sort") if call.text(name) is not None]
    if others:
        raise _bad("parent", f"cannot be joined with {others[0]}")
    return int(text)


def _after(cursor: str | None) -> tuple[int, int] | None:
    return place_of(cursor, tuple[int, int])


def _bad(name: str, message: str) -> Invalid:
    return Invalid(f"query parameter {name}: {message}", problems=(Problem(f"query.{name}", message),), malformed=True)


_LIST = (
    Query("job", "runs of this job"),
    Query("state", "in one of these states (several with commas)"),
    Query("label", "with this label, name=value; may be repeated"),
    Query("since", "created at or after this instant"),
    Query("until", "created at or before this instant"),
    Query("parent", "the child runs of this run, oldest first"),
    Query("q", "with this text in the job's name or the labels, or of this number"),
    Query("exit_status", "ended with this exit status; `*` and `?` stand for any text and any character"),
    Query("started_since", "begun at or after this instant"),
    Query("started_until", "begun at or before this instant"),
    Query("ended_since", "ended at or after this instant"),
    Query("ended_until", "ended at or before this instant"),
    Query("sort", "`created_at` (oldest first), `-created_at` (default), `ended_at` or `-ended_at` (only ended runs)"),
    *PAGE,
)


def _get(
    path: str, handler: Handler, response: object, summary: str, query: tuple[Query, ...] = (), **more: Any
) -> Route:
    return Route(
        method="GET",
        path=BASE + path,
        permission=Permission.runs_read,
        handler=handler,
        summary=summary,
        response=response,
        query=query,
        run_token="{id}" in path,
        as_of=True,
        **more,
    )


ROUTES = (
    _get("/runs", list_runs, RunPage, "Runs, newest first", _LIST),
    _get(
        "/runs/{id}",
        get_run,
        RunView,
        "One run with its tasks; `wait=30s` answers when it has ended or the time is over",
        (Query("with", "`output`: each attempt's last 64 KiB of stdout and stderr"), Query("wait", "at most 60s")),
    ),
    _get(
        "/runs/{id}/definition", get_definition, JobDefinition, "The definition that the run was made of, as it is kept"
    ),
    _get("/runs/{id}/tasks", list_tasks, TaskPage, "The tasks of a run; a task with `each` shows counts", PAGE),
    _get(
        "/runs/{id}/tasks/{task}",
        get_task,
        TaskView,
        "One task with its attempts; with `limit` or `cursor`: a page of its instances",
        PAGE,
        also=TaskPage,
    ),
    _get("/runs/{id}/tasks/{task}/{index}", get_instance, TaskView, "One instance of a task with `each`"),
)
