"""A job called like a function: the whole graph runs in this process, by the same rules of ``core``, without a server.

One task at a time, each in the caller's own thread; child jobs within their parent. What goes on by time alone is not
waited for: retries, delays, ``wait``. Nothing is recorded, and a task's timeout is not kept: nobody can end a function
from outside in its own process; the run's timeout is looked at between two tasks.
Values pass as JSON, as they do between machines. Called by ``author.job`` only, which imports it with the first call.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from headrace.author.context import CURRENT, Context, Identity, LocalHost
from headrace.author.errors import Fail, Retry, RunFailed, Skip, class_names
from headrace.author.task import Task, TaskFunction, ended_as, told
from headrace.author.values import Receiver, converter, encode, hints_of
from headrace.author.web import request
from headrace.codec.params import ParamsSchema
from headrace.core.check import NOT_YET, check
from headrace.core.draft import decoded
from headrace.core.graph import compile as compile_job
from headrace.core.reaching import reach
from headrace.core.results import group_result, result_keys, run_result
from headrace.core.stepping import apply, step
from headrace.core.work import Dispatch, Follow, Keys, Offer, Tell, Working
from headrace.model.cells import InputMore, ParentRef, RunCell, RunInput, TaskCell, Value
from headrace.model.changes import Change, Claim, OutcomeKind, Settle, Submit, Wake
from headrace.model.definition import JobDefinition
from headrace.model.errors import Invalid, NotAvailable
from headrace.model.ids import TaskKey
from headrace.model.messages import StartChild
from headrace.model.states import RUN_FINAL, RunState, TaskState

RUN = 1
ATTEMPTS_MAX = 1_000
"""Retries do not wait here: a task that always raises ``Retry`` would otherwise never let go of the processor."""
"""The number of a run that is recorded nowhere."""

Play = Generator[Callable[[], Any], Settle, Any]
"""Gives attempts to be made, takes what they said (or a coroutine that does), returns the run's result."""


def play(fn: Any, definition: JobDefinition, works: Mapping[str, Any], params: dict[str, Any]) -> Any:
    """The result of the job, rebuilt by its return annotation. Raises ``RunFailed``, ``Invalid`` or ``NotAvailable``."""
    run = LocalRun(definition, works, params)
    turns = run.turns()
    try:
        attempt = next(turns)
        while True:
            said = attempt()
            attempt = turns.send(asyncio.run(said) if inspect.iscoroutine(said) else said)
    except StopIteration as end:
        return _typed(fn, end.value)


async def play_async(fn: Any, definition: JobDefinition, works: Mapping[str, Any], params: dict[str, Any]) -> Any:
    """The same for an ``async def`` job: its tasks are awaited in the caller's loop."""
    run = LocalRun(definition, works, params)
    turns = run.turns()
    try:
        attempt = next(turns)
        while True:
            said = attempt()
            attempt = turns.send(await said if inspect.iscoroutine(said) else said)
    except StopIteration as end:
        return _typed(fn, end.value)


def _typed(fn: Any, result: Any) -> Any:
    """The value as the annotation says; as JSON gives it where there is none, or where it says something else."""
    hint = hints_of(fn).get("return", Any)
    try:
        return converter(hint)(msgspec.json.encode(result))
    except (msgspec.ValidationError, Invalid):
        return result


class LocalRun:
    """One run: a working set that is never written anywhere, and the exceptions of its attempts."""

    def __init__(
        self,
        definition: JobDefinition,
        works: Mapping[str, Any],
        params: dict[str, Any],
        *,
        parent: ParentRef | None = None,
    ) -> None:
        self._more = None if parent is None else InputMore(parent=parent)
        _playable(definition, works)
        self._graph = compile_job(definition)
        self._works = works
        self._params = params if definition.params is UNSET else ParamsSchema(definition.params).fill(params)
        self._host = LocalHost()
        self._working = Working(offers=[Offer(1, 1, 1)], unlimited=True)
        self._ready: deque[TaskKey] = deque()
        self._waits: set[TaskKey] = set()
        self._orders: deque[Dispatch | StartChild] = deque()
        self._raised: dict[TaskKey, BaseException] = {}

    def turns(self) -> Play:
        """Each attempt that is to be made, one after the other; what it said is sent in. Returns the run's result."""
        text = msgspec.json.encode(self._params)
        now = self._now()
        self._decide(Submit(RunInput(RUN, 1, self._graph.name, None, now, text, more=self._more)), now)
        while self._run().state not in RUN_FINAL:
            if not self._orders:
                self._go_on()
                continue
            order = self._orders.popleft()
            if isinstance(order, StartChild):
                said = yield from self._child(order)
            else:
                said = yield partial(self.attempt, order)
                self._working.offers[0].free += 1
            self._look_at_the_clock()
            self._decide(said, self._now())
        return self._ended()

    def _child(self, start: StartChild) -> Generator[Callable[[], Any], Settle, Settle]:
        """A child run, played within this one: its attempts are made where this one's are."""
        key = (start.run, start.no, start.index)
        began = self._now()
        work = self._works[self._graph.nodes[start.no].name]
        parent = ParentRef(*key, start.epoch, start.depth)
        try:
            child = LocalRun(work.definition(), work.works(), msgspec.json.decode(start.params), parent=parent)
            result = yield from child.turns()
        except (RunFailed, Invalid) as error:
            self._raised[key] = error
            text = msgspec.json.encode({"type": "ChildFailed", "message": str(error)})
            return Settle(
                *key,
                start.epoch,
                OutcomeKind.failed,
                began,
                self._now(),
                exit_status=child.exit_status if isinstance(error, RunFailed) else None,
                error=Value(len(text), "inline", text),
                error_types=("ChildFailed",),
                reason="child" if isinstance(error, RunFailed) else "no_child",
            )
        return Settle(
            *key, start.epoch, OutcomeKind.succeeded, began, self._now(),
            exit_status=child.exit_status, result=kept(result),
        )  # fmt: skip

    @property
    def exit_status(self) -> str | None:
        """The exit status of the run, when it has ended."""
        return self._run().exit_status

    def _look_at_the_clock(self) -> None:
        """Past its timeout the run ends with the attempt that is being made."""
        now, run = self._now(), self._run()
        if run.deadline_at and run.deadline_at <= now and run.state != RunState.stopping:
            self._decide(Wake(RUN), now)

    def _go_on(self) -> None:
        """Nothing is given out: a ready task is next, or one that waits for its retry."""
        now = self._now()
        if self._ready:
            key = self._ready.popleft()
            if self._working.tasks[key].state == TaskState.ready:
                self._decide(Claim(*key), now)
        elif self._waits:
            key = min(self._waits, key=lambda key: self._working.tasks[key].due_at)
            self._waits.discard(key)
            if self._working.tasks[key].failures >= ATTEMPTS_MAX:
                name = self._graph.nodes[key[1]].name
                raise RunFailed(
                    f"job {self._graph.name}: {name} asked for another attempt {ATTEMPTS_MAX} times; a server waits "
                    "between them, here none does: give the task retries, or let it wait by itself",
                    state="failed",
                )
            self._decide(Wake(*key), max(now, self._working.tasks[key].due_at))
        else:
            raise RunFailed(f"job {self._graph.name}: a task is held and nobody is here to decide", state="failed")

    def _decide(self, change: Change, now: int) -> None:
        """One change and what follows from it."""
        todo = deque([change])
        while todo:
            change = todo.popleft()
            self._load(reach(self._graph, self._working.runs.get(RUN), change))
            decided = step(self._graph, self._working, change, now, 0.5)
            apply(self._working, decided)
            if isinstance(change, Submit):
                self._working.inputs[RUN] = change.input
            for cell in decided.tasks:
                if cell.state == TaskState.ready:
                    self._ready.append(cell.key)
                elif self._is_timed(cell):
                    self._waits.add(cell.key)
                else:
                    self._waits.discard(cell.key)
            for command in decided.commands:
                if isinstance(command, Follow):
                    todo.append(command.change)
                elif isinstance(command, Dispatch):
                    self._orders.append(command)
                elif isinstance(command, Tell) and isinstance(command.message, StartChild):
                    self._orders.append(command.message)

    def _is_timed(self, cell: TaskCell) -> bool:
        """Whether the cell goes on by time alone, which is not waited for here: a retry, a delay, a wait."""
        if cell.state == TaskState.running and cell.counts is None:
            return self._graph.nodes[cell.no].source.kind == "wait"
        return cell.state == TaskState.retrying or (cell.state == TaskState.blocked and cell.due_at > 0)

    def _load(self, keys: Keys) -> None:
        """Everything is here; what is read in pieces or gathered has to be made."""
        working = self._working
        if keys.members:
            rows = sorted(key for key in working.tasks if key[1:] > keys.members_after)
            working.members[RUN] = rows[: keys.members_max]
        for key in keys.gather:
            cell = working.tasks[key]
            total = max(cell.counts.total, 0) if cell.counts else 0
            rows_of = [working.tasks[RUN, key[1], at] for at in range(total) if (RUN, key[1], at) in working.tasks]
            working.values[key] = group_result([(row, self._value(row)) for row in rows_of], total)
        if keys.items is not None and keys.items[0] in working.tasks:
            source, first, most = keys.items
            items = decoded(self._value(working.tasks[source]))
            if isinstance(items, list):
                working.items[source, first] = items[first : first + most]
                working.totals[source] = len(items)

    def _value(self, cell: TaskCell) -> Any:
        held = cell.result is None or cell.result.data is not None
        return cell.result if held else self._working.values.get(cell.key)

    def _ended(self) -> Any:
        run = self._run()
        if run.state == RunState.succeeded:
            self._load(result_keys(self._graph, RUN))
            return run_result(self._graph, self._working, run)
        bad = [cell for cell in self._working.tasks.values() if cell.state == TaskState.failed and cell.counts is None]
        bad = [cell for cell in bad if not self._graph.nodes[cell.no].allow_failure] or bad
        name, cause, error = "", None, None
        if bad:
            first = min(bad, key=lambda cell: cell.ended_at)
            at = "" if first.index < 0 else f"[{first.index}]"
            cause = self._raised.get(first.key)
            error = decoded(first.error) if first.error is not None and first.error.data else None
            told = (error or {}).get("message") or first.reason or ""
            name = f": task {self._graph.nodes[first.no].name}{at} failed: {told}"
        failed = RunFailed(f"job {self._graph.name} {run.state.name}{name}", state=run.state.name, error=error)
        raise failed from cause

    def attempt(self, order: Dispatch) -> Any:
        """Make one attempt; gives what it said, or a coroutine that does."""
        began = self._now()
        work = self._works.get(order.spec.task, request)
        cell = Identity(RUN, self._graph.name, order.spec.task, order.key[2], order.attempt, order.epoch)
        context = Context(cell, order.spec.params, self._host)
        token = CURRENT.set(context)
        try:
            called = _call(work, context, order.spec.args)
            if inspect.iscoroutine(called):
                return self._awaited(order, context, began, called)
            return self._said(order, context, began, called)
        except (Exception, SystemExit) as error:  # whatever a task raises is its outcome
            return self._failed(order, context, began, error)
        finally:
            CURRENT.reset(token)

    async def _awaited(self, order: Dispatch, context: Context, began: int, called: Any) -> Settle:
        token = CURRENT.set(context)
        try:
            return self._said(order, context, began, await called)
        except (Exception, SystemExit) as error:  # whatever a task raises is its outcome
            return self._failed(order, context, began, error)
        finally:
            CURRENT.reset(token)

    def _said(self, order: Dispatch, context: Context, began: int, value: Any) -> Settle:
        status = context.exit_status or "ok"
        return Settle(
            *order.key, order.epoch, OutcomeKind.succeeded, began, self._now(), exit_status=status, result=kept(value)
        )

    def _failed(self, order: Dispatch, context: Context, began: int, error: BaseException) -> Settle:
        if isinstance(error, Skip):
            return Settle(*order.key, order.epoch, OutcomeKind.succeeded, began, self._now(), skip=True)
        self._raised[order.key] = error
        text = msgspec.json.encode({"type": type(error).__name__, "message": str(error)})
        return Settle(
            *order.key,
            order.epoch,
            OutcomeKind.failed,
            began,
            self._now(),
            exit_status=(error.exit_status if isinstance(error, Fail) else None) or context.exit_status or "error",
            error=Value(len(text), "inline", text),
            error_types=class_names(error),
            stop_retry=isinstance(error, Fail),
            retry_after=error.after_ms if isinstance(error, Retry) else None,
        )

    def _run(self) -> RunCell:
        return self._working.runs[RUN]

    def _now(self) -> int:
        return time.time_ns() // 1000


def _playable(definition: JobDefinition, works: Mapping[str, Any]) -> None:
    """Only Python tasks run in this process; what a job says about schedules and the like is no matter here.

    A function inside a function has no reference that could be imported elsewhere; here it is at hand.
    """
    named = [
        replace(one, python="here:work") if one.python is not UNSET and one.name in works else one
        for one in definition.tasks
    ]
    found = check(replace(definition, tasks=named))
    wrong = tuple(one for one in found if one.path.startswith("tasks[") or not one.message.startswith(NOT_YET))
    if wrong:
        raise Invalid(f"the job {definition.name} cannot run: {wrong[0].path}: {wrong[0].message}", problems=wrong)
    for task in definition.tasks:
        if task.wait is not UNSET or task.http is not UNSET or task.name in works:
            continue
        why = "it runs a saved job, and there is no server here" if task.job is not UNSET else "it is no Python task"
        raise NotAvailable(
            f"not available yet: task {task.name} in this process, because {why}; use `headrace run file.py:job`"
        )


def kept(value: Any) -> Value | None:
    """A result as it passes from task to task; None for no result."""
    made = encode(value)
    if made.data == b"null":
        return None
    count = made.count if made.lines else len(value) if isinstance(value, list) else -1
    return Value(len(made.data), "inline", made.data, "", made.lines, count)


def _call(work: Any, context: Context, text: bytes) -> Any:
    """Call a task with its JSON arguments."""
    if isinstance(work, TaskFunction):
        args, kwargs = work.receiver.arguments(text)
        return work.fn(context, *args, **kwargs) if work.receiver.context else work.fn(*args, **kwargs)
    one: Task = type(work)()
    args, kwargs = Receiver(type(work).run, skip=2).arguments(text)
    told(one.on_status_change, "dispatched", "running")
    try:
        value = one.run(context, *args, **kwargs)
    except BaseException as error:
        _raised(one, error)
        raise
    return _awaited(one, value) if inspect.iscoroutine(value) else _returned(one, value)


async def _awaited(one: Task, coming: Any) -> Any:
    try:
        value = await coming
    except BaseException as error:
        _raised(one, error)
        raise
    return _returned(one, value)


def _returned(one: Task, value: Any) -> Any:
    told(one.on_finished, value)
    told(one.on_status_change, "running", "succeeded")
    return value


def _raised(one: Task, error: BaseException) -> None:
    ended = ended_as(error, asked=False)
    if ended == "failed":
        told(one.on_exception, error)
    told(one.on_status_change, "running", ended)
