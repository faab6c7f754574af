"""``@task``: a function becomes a task. Outside a job's body it stays what it was: a call calls the function.

A ``TaskFunction`` is immutable; ``options`` and ``after`` give another one. The runner calls ``fn``; nothing here does
IO. Written by users, read by ``runner`` and ``job``.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property, update_wrapper
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypedDict, TypeVar, Unpack, overload

from headrace.author.context import Context, local_context
from headrace.author.errors import Canceled, Skip, TraceError, duration_text
from headrace.author.handles import Comparison, Handle, here, paths_of
from headrace.author.trace import TRACER, task_name
from headrace.author.values import Receiver
from headrace.model.errors import Invalid, NotAvailable

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
T = TypeVar("T")
Span = str | float | timedelta


class TaskOptions(TypedDict, total=False):
    """What ``@task(…)`` and ``.options(…)`` take: the fields of a task in the document, in Python's types."""

    name: str
    description: str
    retries: int | Mapping[str, Any]
    retry_on: type[BaseException] | tuple[type[BaseException] | str, ...]
    timeout: Span
    grace: Span
    concurrency: int
    limits: dict[str, int]
    on_lost: Literal["retry", "fail", "ask"]
    on_disconnect: Literal["kill", "keep"]
    allow_failure: bool
    finally_: bool
    outputs: Sequence[str]
    priority: int
    package: str
    label: str
    labels: dict[str, str]
    env: dict[str, Any]
    secrets: dict[str, str]
    secret_files: dict[str, str]
    agent: Mapping[str, Any]
    resources: Mapping[str, Any]
    cache: Mapping[str, Any]
    repeat: Mapping[str, Any]
    delay: Span


def fields_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as fields of the document's task. Raises Invalid for an unknown one."""
    unknown = sorted(set(options) - set(TaskOptions.__annotations__))
    if unknown:
        raise Invalid(f"unknown option {unknown[0]!r}; there are: {', '.join(sorted(TaskOptions.__annotations__))}")
    fields = {("finally" if k == "finally_" else k): v for k, v in options.items() if k not in ("name", "retry_on")}
    for key in ("timeout", "grace", "delay"):
        if key in fields:
            fields[key] = duration_text(fields[key])
    if "retry_on" in options:
        kinds = options["retry_on"]
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        retries = fields.get("retries", 1)
        retries = {"max": retries} if isinstance(retries, int) else dict(retries)
        fields["retries"] = {**retries, "only": [k if isinstance(k, str) else k.__name__ for k in kinds]}
    return fields


def reference_of(thing: Any) -> str:
    """``module:name`` of a function or class; a script that is being run is named after its file."""
    module = thing.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        module = spec.name if spec else os.path.splitext(os.path.basename(getattr(main, "__file__", "main")))[0]
    return f"{module}:{thing.__qualname__}"


class Step:
    """A task as it is added to a job: name, options, needs. Base of everything that can be called in a job's body."""

    def __init__(self, name: str, options: Mapping[str, Any], needs: tuple[Any, ...] = ()) -> None:
        fields_of(options)
        self._default_name = name
        self._options = dict(options)
        self._needs = needs

    @property
    def name(self) -> str:
        """The task's name in the document."""
        return task_name(str(self._options.get("name", self._default_name)))

    def fields(self) -> dict[str, Any]:
        """Options and needs as fields of the document's task."""
        fields = fields_of(self._options)
        if self._needs:
            fields["needs"] = list(self._needs)
        return fields


def need_on(x: object, state: str | Sequence[str] | None, exit: str | None) -> dict[str, Any]:
    """The document's need for ``.after(x, …)``."""
    if isinstance(x, str):
        name = x
    elif isinstance(x, Handle) and paths_of(x)[0].startswith("tasks."):
        name = paths_of(x)[0].split(".")[1]
    else:
        file, line = here()
        raise TraceError("after(…) takes what a task's call gave, or the task's name", file, line)
    need: dict[str, Any] = {"task": name}
    if state is not None:
        need["state"] = state if isinstance(state, str) else list(state)
    if exit is not None:
        need["exit"] = exit
    return need


class TaskFunction(Step, Generic[P, R]):
    """A function that may be run as a task. ``fn`` is the undecorated function."""

    def __init__(self, fn: Callable[..., R], options: Mapping[str, Any], needs: tuple[Any, ...] = ()) -> None:
        super().__init__(getattr(fn, "__name__", "task"), options, needs)
        self.fn = fn
        update_wrapper(self, fn)

    @cached_property
    def receiver(self) -> Receiver:
        """How ``fn`` is called with JSON arguments; made once."""
        return Receiver(self.fn)

    @property
    def reference(self) -> str:
        """``module:name``, as the document names it."""
        return reference_of(self.fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """In a job's body: add the task. Anywhere else: call the function, nothing is recorded."""
        tracer = TRACER.get()
        if tracer is None:
            return self._direct(args, kwargs)
        fields = {"python": self.reference, **self.fields()}
        arguments = self._bind(args, kwargs)
        if arguments:
            fields["with"] = arguments
        return tracer.add(self.name, fields, self)  # type: ignore[return-value]  # reason: typed as the result to come

    def map(
        self: TaskFunction[Concatenate[T, Q], R], items: Iterable[T], /, *args: Q.args, **kwargs: Q.kwargs
    ) -> list[R]:
        """One instance per item, the first parameter varies; gives the list of results, in the order of the items."""
        tracer = TRACER.get()
        if tracer is None:
            return [self._direct((item, *args), kwargs) for item in items]
        if not isinstance(items, Handle | list | tuple):
            file, line = here()
            raise TraceError("map(…) takes a list or a task's result", file, line)
        fields = {"python": self.reference, **self.fields(), "each": items}
        fields["with"] = self._bind((Handle(("item",)), *args), kwargs)
        return tracer.add(self.name, fields, self)  # type: ignore[return-value]  # reason: typed as the result to come

    def options(self, **options: Unpack[TaskOptions]) -> TaskFunction[P, R]:
        """The same task with other options."""
        return TaskFunction(self.fn, {**self._options, **options}, self._needs)

    def after(
        self, *tasks: object, state: str | Sequence[str] | None = None, exit: str | None = None
    ) -> TaskFunction[P, R]:
        """The same task, begun only after these have ended: ``state`` succeeded (default) | failed | skipped |
        canceled | ended, or several; ``exit`` a glob on their exit status.
        """
        needs = tuple(need_on(x, state, exit) for x in tasks)
        return TaskFunction(self.fn, self._options, (*self._needs, *needs))

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Send it to the server; comes with the client."""
        raise NotAvailable("not available yet: submit from Python; use `headrace task run` or POST /tasks/…/runs")

    def _direct(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        if not self.receiver.context:
            return self.fn(*args, **kwargs)
        return self.fn(local_context(self.name), *args, **kwargs)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return bound(self.receiver, args, kwargs)


def bound(receiver: Receiver, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by parameter name, for the document's ``with``. Raises TraceError when they do not fit."""
    signature = inspect.Signature(list(receiver.parameters.values()))
    try:
        found = signature.bind(*args, **kwargs).arguments
    except TypeError as e:
        file, line = here()
        raise TraceError(f"{receiver.name}: {e}", file, line) from None
    if receiver.rest is not None:
        found.update(found.pop(receiver.rest, {}))
    return dict(found)


class Task:
    """A task as a class: ``run`` does the work, the hooks are told what became of it. One instance per attempt.

    The hooks run where ``run`` runs, right before and after it. What they raise is logged and changes nothing; what they
    return is not looked at. ``Skip`` and the end of an attempt that was asked to end are no exceptions for them.
    """

    def run(self, ctx: Context, *args: Any, **kwargs: Any) -> Any:
        """The work; write your own parameters after ``ctx``."""
        raise NotImplementedError(f"{type(self).__name__}.run is not written")

    def on_status_change(self, old: str, new: str) -> None:
        """The attempt moved from ``old`` to ``new`` (dispatched, running, succeeded, skipped, failed, canceled)."""

    def on_finished(self, result: Any) -> None:
        """``run`` returned."""

    def on_exception(self, error: BaseException) -> None:
        """``run`` raised."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """In a job's body: add this task. Anywhere else: run it here."""
        tracer = TRACER.get()
        if tracer is None:
            return self.run(local_context(task_name(type(self).__name__)), *args, **kwargs)
        fields: dict[str, Any] = {"python": reference_of(type(self))}
        arguments = bound(Receiver(type(self).run, skip=2), args, kwargs)
        if arguments:
            fields["with"] = arguments
        return tracer.add(kebab(type(self).__name__), fields, self)


def ended_as(error: BaseException, *, asked: bool) -> str:
    """How an attempt ends whose ``run`` raised this."""
    if isinstance(error, Skip):
        return "skipped"
    return "canceled" if asked and isinstance(error, Canceled) else "failed"


def told(hook: Callable[..., Any], *what: Any) -> None:
    """Call a hook. What goes wrong in it is logged and changes nothing: the outcome is that of ``run``."""
    try:
        hook(*what)
    except Canceled:
        raise
    except BaseException:  # a hook may raise anything, also SystemExit
        logging.getLogger("headrace").exception("the hook %s raised; the outcome stays", hook.__qualname__)


def kebab(name: str) -> str:
    """``LoadSales`` → ``load-sales``."""
    return "".join(f"-{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


@overload
def task(fn: Callable[Concatenate[Context, P], R], /) -> TaskFunction[P, R]: ...
@overload
def task(fn: Callable[P, R], /) -> TaskFunction[P, R]: ...
@overload
def task(**options: Unpack[TaskOptions]) -> TaskMaker: ...
def task(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a task: ``@task`` or ``@task(retries=3, timeout="1m")``."""
    if fn is None:
        return TaskMaker(options)
    return TaskFunction(fn, options)


class TaskMaker:
    """What ``@task(…)`` with options gives: the decorator."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        fields_of(options)
        self._options = options

    @overload
    def __call__(self, fn: Callable[Concatenate[Context, P], R], /) -> TaskFunction[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> TaskFunction[P, R]: ...
    def __call__(self, fn: Callable[..., Any], /) -> Any:
        """Make ``fn`` a task with these options."""
        return TaskFunction(fn, self._options)


__all__ = [
    "Comparison",
    "Step",
    "Task",
    "TaskFunction",
    "TaskMaker",
    "TaskOptions",
    "bound",
    "need_on",
    "reference_of",
    "task",
]
