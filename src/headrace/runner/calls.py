"""One call: find the task, rebuild its arguments, run it, say how it ended. Only tasks may be run.

Never lets an exception of user code out, whatever it is. Runs on the runner's main thread. Called by ``runner.main``.
"""

from __future__ import annotations

import importlib
import inspect
import os
import select
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from msgspec.structs import replace

from headrace.author.context import CURRENT, Context
from headrace.author.errors import Canceled, Fail, Retry, Skip, class_names
from headrace.author.task import Task, TaskFunction, ended_as, told
from headrace.author.values import NOTHING, Encoded, Receiver, dump, encode
from headrace.runner.failures import describe, sendable, text_of
from headrace.runner.host import CallHost
from headrace.runner.left import EXIT_STATUS_MAX
from headrace.runner.outbox import Outbox
from headrace.runner.place import Grounds
from headrace.runner.protocol import INLINE_RESULT, Call, Done, Ok
from headrace.runner.traits import Traits

PLAIN = frozenset({bool, int, float, str, dict, list})
"""Most results are one of these; to ask whether something is an iterator takes longer than to write it."""

SPAWN_US = 100
"""No process can be started in less: shorter calls are looked after together, when their frame ends."""


class NotATask(Fail):
    """The target exists, perhaps, but is not a task: it is not run."""


class InvalidResult(Exception):
    """The result file holds no JSON."""


class Target:
    """What ``module:name`` led to, ready to be called."""

    __slots__ = ("context", "function", "is_async", "kind", "receiver")

    def __init__(self, found: Any) -> None:
        if isinstance(found, TaskFunction):
            self.kind: type[Task] | None = None
            self.function: Callable[..., Any] = found.fn
            self.receiver = found.receiver
            self.context = found.receiver.context
        else:
            self.kind = found
            self.function = found.run
            self.receiver = Receiver(found.run, skip=2)
            self.context = True
        self.is_async = inspect.iscoroutinefunction(self.function)


def resolve(reference: str) -> Target:
    """Import the module and find the task in it. Raises NotATask, or whatever the import raises."""
    module, _, name = reference.partition(":")
    if not module or not name:
        raise NotATask(f"not a task: {reference!r} is not of the form module:name")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise NotATask(f"not a task: module {module!r} has no {name!r}") from None
    if isinstance(found, TaskFunction) or (isinstance(found, type) and issubclass(found, Task) and found is not Task):
        return Target(found)
    raise NotATask(f"not a task: {reference} is a {type(found).__name__}; decorate the function with @task")


class Caller:
    """Makes calls, one at a time. ``host`` is that of the running call; ``open`` says that it may be interrupted.

    ``spoiled``: a call changed something of this process that cannot be put back; it must make no other.
    """

    def __init__(self, outbox: Outbox, grounds: Grounds, roots: tuple[str, ...]) -> None:
        self._outbox = outbox
        self._grounds = grounds
        self._roots = roots
        self._pid = os.getpid()
        self._params = b"{}"
        """Those of the last call that was sent, made or not."""
        self._targets: dict[str, Target] = {}
        self.host: CallHost | None = None
        self.open = False
        self.spoiled = False
        self._traits: Traits | None = None
        self._ears = select.poll()
        for fd in (*outbox.ears, *grounds.ears):
            self._ears.register(fd, select.POLLIN)

    def make(self, call: Call, asked: set[int]) -> None:
        """Run this call and put its end into the outbox."""
        began = time.time_ns() // 1000
        if call.params:
            self._params = call.params
        else:
            call = replace(call, params=self._params)
        host = CallHost(call, self._grounds, self._outbox.said)
        context = Context(call, call.params, host)
        if asked and call.id in asked:
            host.asked, never = True, Canceled("canceled before it began")
            self._outbox.finish(failed(call, began, began, context, host, never, self._roots, False))
            return
        traits = self._traits or self._first()
        self._outbox.making(call.id, began)
        self.host = host
        result, failure = NOTHING, None
        token = CURRENT.set(context)
        try:
            self._grounds.enter(call)
            self.open = True
            if asked and call.id in asked:
                self.interrupt()
            result = self._run(call, context, host)
            self.open = False
        except BaseException as e:  # reason: every end of user code is an outcome, also SystemExit
            self.open = False
            failure = None if isinstance(e, SystemExit) and e.code in (None, 0) else e
        if os.getpid() != self._pid:
            self._leave_copy(failure)
        CURRENT.reset(token)
        self.host = None
        self._end(call, began, context, host, result, failure)
        if not traits.restore():
            self.spoiled = True

    def _first(self) -> Traits:
        """How this process is before its first call."""
        self._traits = Traits()
        return self._traits

    def sweep(self) -> None:
        """The frame is over: nothing that its calls started may go on."""
        self._grounds.end_children()
        if self._traits is not None and not self._traits.restore_all():
            self.spoiled = True

    def interrupt(self) -> None:
        """The running call was asked to end: raise where it stands. Called in the main thread, also by the signal."""
        host = self.host
        if host is None or host.asked or not self.open:
            return
        host.asked = True
        if host.cancel is not None:
            host.cancel()
            return
        raise Canceled("the attempt was asked to end")

    def _leave_copy(self, failure: BaseException | None) -> NoReturn:
        """User code forked, and the copy came back from it as if it were the runner: it ends here, as a process does."""
        code = 0 if failure is None else 1
        try:
            if isinstance(failure, SystemExit):
                code = failure.code if isinstance(failure.code, int) else 1
            elif failure is not None:
                self._outbox.log("stderr", text_of(failure, self._roots).encode("utf-8", "backslashreplace"))
        finally:
            os._exit(code & 0xFF)

    def _run(self, call: Call, context: Context, host: CallHost) -> Encoded:
        target = self._targets.get(call.target)
        if target is None:
            target = self._targets[call.target] = resolve(call.target)
        args, kwargs = target.receiver.arguments(call.args)
        if target.kind is not None:
            return self._run_object(call, target, context, host, args, kwargs)
        if target.context:
            args.insert(0, context)
        if target.is_async:
            return self._packed(call, _in_loop(target.function(*args, **kwargs), host))
        return self._packed(call, target.function(*args, **kwargs))

    def _run_object(
        self, call: Call, target: Target, context: Context, host: CallHost, args: list[Any], kwargs: dict[str, Any]
    ) -> Encoded:
        assert target.kind is not None
        work = target.kind()
        told(work.on_status_change, "dispatched", "running")
        try:
            value = work.run(context, *args, **kwargs)
            if target.is_async:
                value = _in_loop(value, host)
            packed = self._packed(call, value)
        except BaseException as e:
            # From here on the outcome stands: an interruption would put another in its place.
            self.open = False
            ended = ended_as(e, asked=host.asked)
            if ended == "failed":
                told(work.on_exception, e)
            told(work.on_status_change, "running", ended)
            raise
        self.open = False
        told(work.on_finished, value)
        told(work.on_status_change, "running", "succeeded")
        return packed

    def _packed(self, call: Call, value: object) -> Encoded:
        if value is None:
            return NOTHING
        if type(value) in PLAIN:
            return Encoded(dump(value))
        if isinstance(value, Iterator):
            return self._streamed(call, value)
        return encode(value)

    def _streamed(self, call: Call, items: Iterator[Any]) -> Encoded:
        """A generator's items, one a line, into a file once they are many: never all in memory."""
        count, waiting, size = 0, [], 0
        path = self._grounds.result_path(call)
        file = None
        try:
            for item in items:
                line = dump(item)
                waiting.append(line)
                size += len(line) + 1
                count += 1
                if size > INLINE_RESULT:
                    file = file or open(path, "wb")  # noqa: SIM115  # reason: opened only when the result is large
                    file.write(b"\n".join(waiting) + b"\n")
                    waiting, size = [], 0
            rest = b"\n".join(waiting) + b"\n" if waiting else b""
            if file is None:
                return Encoded(rest, True, count)
            file.write(rest)
            return Encoded(os.fsencode(path), True, -2 - count)
        finally:
            if file is not None:
                file.close()

    def _end(
        self, call: Call, began: int, context: Context, host: CallHost, result: Encoded, failure: BaseException | None
    ) -> None:
        still = False
        now = time.time_ns() // 1000
        try:
            if now - began > SPAWN_US:
                self.sweep()
                now = time.time_ns() // 1000
            # One question for all: did it write to a captured descriptor, or leave a file anywhere?
            still = not self._ears.poll(0)
            files = self._grounds.leave(call, still=still)
            if self._grounds.wrote:
                result, failure = self._written(context, result, failure)
        except OSError as e:
            files, failure = False, failure or e
        end: Ok | Done
        if failure is not None:
            end = failed(call, began, now, context, host, failure, self._roots, files)
        elif result.lines or files or host.newest or context.exit_status or len(result.data) > INLINE_RESULT:
            try:
                end = self._succeeded(call, began, now, context, host, result, files)
            except OSError as e:
                end = failed(call, began, now, context, host, e, self._roots, files)
        else:
            end = Ok(call.id, began, now, result.data)
        self._outbox.finish(end, still=still)

    def _written(
        self, context: Context, result: Encoded, failure: BaseException | None
    ) -> tuple[Encoded, BaseException | None]:
        """What was written to the files of ours counts where the call itself said nothing."""
        grounds = self._grounds
        context.exit_status = context.exit_status or grounds.said
        if result is NOTHING and grounds.result is not None:
            result = Encoded(grounds.result)
        return result, failure or (InvalidResult(grounds.bad) if grounds.bad else None)

    def _succeeded(
        self, call: Call, began: int, now: int, context: Context, host: CallHost, result: Encoded, files: bool
    ) -> Done:
        data: bytes | None = result.data
        path, count = "", result.count
        if count <= -2:
            data, path, count = None, os.fsdecode(result.data), -2 - count
        elif len(result.data) > INLINE_RESULT:
            data, path = None, self._grounds.result_path(call)
            with open(path, "wb") as f:
                f.write(result.data)
        return Done(
            call.id, began, now, "succeeded", data, path, result.lines, count,
            exit_status=_status(context.exit_status), progress=host.newest, files=files,
        )  # fmt: skip


def failed(
    call: Call,
    began: int,
    now: int,
    context: Context,
    host: CallHost,
    failure: BaseException,
    roots: tuple[str, ...],
    files: bool,
) -> Done:
    """The end of a call that raised."""
    if isinstance(failure, Skip):
        status = _status(context.exit_status)
        return Done(
            call.id, began, now, "succeeded", b"null", exit_status=status, skip=True, progress=host.newest, files=files
        )
    canceled = host.asked and isinstance(failure, Canceled)
    return Done(
        call.id,
        began,
        now,
        "canceled" if canceled else "failed",
        error=describe(failure, roots),
        error_types=class_names(failure),
        exit_status=_status((failure.exit_status if isinstance(failure, Fail) else None) or context.exit_status),
        stop_retry=isinstance(failure, Fail),
        retry_after=failure.after_ms if isinstance(failure, Retry) else None,
        progress=host.newest,
        files=files,
    )


def _status(said: object) -> str | None:
    """What user code set as exit status, as the short text that it is, whatever was set."""
    return sendable(str(said)[:EXIT_STATUS_MAX]) if said else None


def _in_loop(work: Any, host: CallHost) -> Any:
    """Run a coroutine; the first one brings asyncio along."""
    from headrace.runner.coroutines import in_loop

    return in_loop(work, host)
