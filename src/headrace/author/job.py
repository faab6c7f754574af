"""``@job``: a function's body is traced and becomes a job definition. It builds the graph and does no work.

Called by users; ``definition()`` gives the document that the CLI and the client send.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, update_wrapper
from typing import Any, Generic, Literal, ParamSpec, TypedDict, TypeVar, Unpack, overload

import msgspec

from headrace.author.errors import TraceError, duration_text
from headrace.author.handles import Handle, here
from headrace.author.parameters import schema_of
from headrace.author.task import Span, TaskOptions, bound, fields_of, need_on
from headrace.author.trace import TRACER, Tracer, document, task_name
from headrace.author.values import Receiver, builtins
from headrace.model.definition import JobDefinition
from headrace.model.errors import Invalid, NotAvailable

P = ParamSpec("P")
R = TypeVar("R")


class JobOptions(TypedDict, total=False):
    """What ``@job(…)`` takes: the fields of a job in the document, in Python's types."""

    name: str
    description: str
    on_failure: Literal["continue", "stop"]
    priority: int
    concurrency: Mapping[str, Any]
    exclusive: bool
    timeout: Span
    agent: Mapping[str, Any]
    package: str
    env: dict[str, str]
    phases: Sequence[str]
    schedules: Sequence[Mapping[str, Any]]
    notify: Sequence[Mapping[str, Any]]
    labels: dict[str, str]


def job_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as fields of the document. Raises Invalid for an unknown one."""
    unknown = sorted(set(options) - set(JobOptions.__annotations__))
    if unknown:
        raise Invalid(f"unknown option {unknown[0]!r}; there are: {', '.join(sorted(JobOptions.__annotations__))}")
    fields = {key: document(value, []) for key, value in options.items() if key != "timeout"}
    if "timeout" in options:
        fields["timeout"] = duration_text(options["timeout"])
    return fields


def as_definition(fields: Mapping[str, Any]) -> JobDefinition:
    """These fields as the document's record. Raises Invalid with the path of what is wrong."""
    try:
        return msgspec.convert(fields, JobDefinition)
    except msgspec.ValidationError as e:
        raise Invalid(f"the job {fields.get('name')!r} is not a good definition: {e}") from e


class JobFunction(Generic[P, R]):
    """A job whose graph is a function's body. ``fn`` is the undecorated function."""

    def __init__(
        self, fn: Callable[..., R], options: Mapping[str, Any], as_task: Mapping[str, Any] | None = None
    ) -> None:
        job_fields(options)
        self.fn = fn
        self._options = dict(options)
        self._as_task = dict(as_task or {})
        """The fields of the task that a call in another job's body adds."""
        update_wrapper(self, fn)

    @property
    def name(self) -> str:
        """The job's name in the document."""
        return task_name(str(self._options.get("name", self.fn.__name__)))

    def definition(self) -> JobDefinition:
        """The document. The body is traced once. Raises TraceError where it cannot be."""
        return self._traced[0]

    def works(self) -> dict[str, Any]:
        """Which ``TaskFunction`` or ``Task`` each Python task of the document came from."""
        return self._traced[1].works

    @cached_property
    def _traced(self) -> tuple[JobDefinition, Tracer]:
        receiver = Receiver(self.fn)
        tracer = Tracer()
        token = TRACER.set(tracer)
        try:
            result = self._walk({name: Handle((f"params.{name}",)) for name in receiver.parameters})
            result_document = document(result, [])
        finally:
            TRACER.reset(token)
        if not tracer.tasks:
            code = self.fn.__code__
            raise TraceError("the job's body adds no task", code.co_filename, code.co_firstlineno)
        fields: dict[str, Any] = {"name": self.name, "description": inspect.getdoc(self.fn) or ""}
        fields.update(job_fields({k: v for k, v in self._options.items() if k != "name"}))
        if receiver.parameters:
            fields["params"] = schema_of(receiver)
        fields["tasks"] = tracer.tasks
        if result is not None:
            fields["result"] = result_document
        return as_definition(fields), tracer

    def _walk(self, handles: dict[str, Any]) -> Any:
        result = self.fn(**handles)
        if not inspect.iscoroutine(result):
            return result
        try:
            result.send(None)
        except StopIteration as end:
            return end.value
        result.close()
        code = self.fn.__code__
        message = "a job's body may await tasks only; do anything else inside a @task"
        raise TraceError(message, code.co_filename, code.co_firstlineno)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """In a job's body: a child run. Anywhere else: run the whole graph in this process, and give its result.

        The rules are those of a server (conditions, retries without waiting, fan-out). Of an ``async def`` job: a
        coroutine to await. Raises RunFailed, caused by what the task raised.
        """
        tracer = TRACER.get()
        if tracer is None:
            result: R = self._here(bound(Receiver(self.fn), args, kwargs))
            return result
        child: dict[str, Any] = {"name": self.name}
        arguments = bound(Receiver(self.fn), args, kwargs)
        if arguments:
            child["params"] = arguments
        name = str(self._as_task.get("name", self.name))
        fields = {key: value for key, value in self._as_task.items() if key != "name"}
        return tracer.add(name, {"job": child, **fields}, self)  # type: ignore[return-value]  # reason: typed as the result to come

    def options(self, **options: Unpack[TaskOptions]) -> JobFunction[P, R]:
        """The same job with options of the task that a call in another job's body adds: name, retries, timeout …"""
        fields = fields_of(options)
        if "name" in options:
            fields["name"] = options["name"]
        return JobFunction(self.fn, self._options, {**self._as_task, **fields})

    def after(
        self, *tasks: object, state: str | Sequence[str] | None = None, exit: str | None = None
    ) -> JobFunction[P, R]:
        """The same job; in another job's body begun only after these tasks have ended, as ``TaskFunction.after``."""
        needs = [*self._as_task.get("needs", ()), *(need_on(x, state, exit) for x in tasks)]
        return JobFunction(self.fn, self._options, {**self._as_task, "needs": needs})

    def _here(self, arguments: dict[str, Any]) -> Any:
        from headrace.author import local  # brings the rules of core along: seldom needed, and never in a runner

        play = local.play_async if inspect.iscoroutinefunction(self.fn) else local.play
        return play(self.fn, self.definition(), self.works(), builtins(arguments))

    def dry_run(self, *args: P.args, **kwargs: P.kwargs) -> list[str]:
        """What a call would do, in order, by the rules of a run: one line per attempt. Nothing is done.

        What an earlier task would have given reads ``(result)``, and one item stands for those of a list it would make.
        """
        from headrace.author.rehearsing import rehearse  # brings the rules of core along, as a call does

        return rehearse(self.definition(), builtins(bound(Receiver(self.fn), args, kwargs)))

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Send it to the server; comes with the client."""
        if TRACER.get() is not None:
            file, line = here()
            raise TraceError("submit sends work to a server; in a job's body just call the job", file, line)
        raise NotAvailable("not available yet: submit from Python; use `headrace run file.py:job`")


class JobMaker:
    """What ``@job(…)`` with options gives: the decorator."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        job_fields(options)
        self._options = options

    def __call__(self, fn: Callable[P, R], /) -> JobFunction[P, R]:
        """Make ``fn`` a job with these options."""
        return JobFunction(fn, self._options)


@overload
def job(fn: Callable[P, R], /) -> JobFunction[P, R]: ...
@overload
def job(**options: Unpack[JobOptions]) -> JobMaker: ...
def job(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a job: ``@job`` or ``@job(schedules=[…], on_failure="stop")``."""
    if fn is None:
        return JobMaker(options)
    return JobFunction(fn, options)
