"""``Run``: one run on the server, as ordinary Python holds it; its tasks and their instances. Made by ``client.sync``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from headrace.author import errors as author_errors
from headrace.client import flow
from headrace.model import views

T = TypeVar("T")
FINAL = frozenset({"succeeded", "failed", "canceled", "abandoned"})
WAIT_SLICE = 20.0
"""Seconds of one long poll: short enough for every proxy between."""


class Asks(Protocol):
    """Whoever drives a flow to its end: the client."""

    def do(self, call: flow.Flow[T]) -> T:
        """The flow's answer."""
        ...


class RunFailed(author_errors.RunFailed):
    """The run ended otherwise than succeeded. ``run`` is its last view; the message carries cause and traceback."""

    def __init__(self, run: views.RunView, failed: Sequence[views.TaskView] | None = None) -> None:
        self.run = run
        error = next((task.error for task in failed or run.tasks if task.error is not None), None)
        super().__init__(describe_failure(run, failed), state=run.state, error=error)


def describe_failure(run: views.RunView, failed: Sequence[views.TaskView] | None = None) -> str:
    """What went wrong, with the user's own frames. ``failed``: what ``flow.failures`` gave, else the run's own tasks."""
    lines = [f"run {run.id} ({run.job or 'unnamed'}) {run.state}" + (f": {run.reason}" if run.reason else "")]
    for task in run.tasks if failed is None else failed:
        if task.state in ("failed", "lost"):
            said = task.error.message if task.error else task.exit_status or task.reason or ""
            name = task.name if task.index is None else f"{task.name}[{task.index}]"
            lines.append(f"  {name} {task.state}: {said}")
            if task.error:
                lines += [f"    {f.file}:{f.line} in {f.function}: {f.code}" for f in task.error.frames if f.yours]
                lines += [f"    {line}" for line in task.error.traceback.splitlines()]
    return "\n".join(lines)


class RunTask:
    """A task of a run, as it was when last asked: all that a ``TaskView`` has.

    Of a task with ``each``, ``task[3]`` asks for an instance, ``len`` is how many there are, and iterating gives them all.
    """

    def __init__(self, client: Asks, run: int, view: views.TaskView) -> None:
        self._client = client
        self._run = run
        self.view = view

    def __getattr__(self, name: str) -> Any:
        if name == "view":  # not made yet: a copy
            raise AttributeError(name)
        return getattr(self.view, name)

    def __repr__(self) -> str:
        return f"RunTask({self.view!r})"

    def __len__(self) -> int:
        return (self.view.counts or {}).get("total", 0)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, index: int) -> views.TaskView:
        """One instance, counted from 0, from the end when negative. Raises IndexError."""
        if not isinstance(index, int):
            raise TypeError(f"an instance is named by its number, not by {index!r}")
        total = len(self)
        if not -total <= index < total:
            raise IndexError(f"task {self.view.name} has {total} instances: there is no {index}")
        return self._client.do(flow.task(self._run, self.view.name, index % total))

    def __iter__(self) -> Iterator[views.TaskView]:
        cursor: str | None = None
        while self.view.counts is not None:
            page = self._client.do(flow.instances(self._run, self.view.name, cursor))
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return


class Run:
    """One run on the server; its view is asked anew by ``refresh`` and ``wait``."""

    def __init__(self, client: Asks, view: views.RunView) -> None:
        self._client = client
        self.view = view

    @property
    def id(self) -> int:
        """The run's number."""
        return self.view.id

    @property
    def state(self) -> str:
        """The state when last asked."""
        return self.view.state

    @property
    def tasks(self) -> dict[str, RunTask]:
        """The tasks by name, when last asked; ``run.tasks["load"][0]`` is an instance of one with ``each``."""
        return {task.name: RunTask(self._client, self.id, task) for task in self.view.tasks}

    def refresh(self) -> Run:
        """Ask the server again."""
        self.view = self._client.do(flow.run(self.id))
        return self

    def wait(self, timeout: float | None = None) -> Run:
        """Until the run has ended. Raises TimeoutError after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.view.state not in FINAL:
            left = WAIT_SLICE if deadline is None else min(WAIT_SLICE, deadline - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"run {self.id} is still {self.view.state}")
            self.view = self._client.do(flow.run(self.id, wait=left))
        return self

    def result(self, timeout: float | None = None) -> Any:
        """The run's result, when it has succeeded; raises RunFailed otherwise."""
        if self.wait(timeout).view.state != "succeeded":
            raise RunFailed(self.view, self._client.do(flow.failures(self.view)))
        return self.view.result

    def logs(
        self, task: str | None = None, index: int | None = None, *, follow: bool = False, **where: Any
    ) -> Iterator[views.LogView]:
        """The log, record by record: of the run, a task, or its instance ``index`` (also named ``task[3]``).

        With ``follow`` until the run has ended. Further: stream, level, q.
        """
        cursor: str | None = None
        while True:
            wait = WAIT_SLICE if follow else 0.0
            page = self._client.do(flow.logs(self.id, task, index, after=cursor, wait=wait, **where))
            yield from page.items
            if page.next_cursor is None or (not follow and not page.items):
                return
            cursor = page.next_cursor

    def explain(self) -> views.ExplainView:
        """Why it runs, or does not, and when it will."""
        return self._client.do(flow.explain(self.id))

    def cancel(self, *, reason: str | None = None) -> None:
        """Bring it to its end: ask, then kill."""
        self._client.do(flow.command(self.id, "cancel", reason))

    def stop(self, *, reason: str | None = None) -> None:
        """Begin nothing new, let what runs finish; it ends canceled and can be restarted."""
        self._client.do(flow.command(self.id, "stop", reason))

    def pause(self, *, reason: str | None = None) -> None:
        """Begin nothing new until ``resume``; what runs goes on."""
        self._client.do(flow.command(self.id, "pause", reason))

    def resume(self, *, reason: str | None = None) -> None:
        """Go on after a pause; and let tasks go on that are held because their attempts were lost."""
        self._client.do(flow.command(self.id, "resume", reason))

    def abandon(self, *, reason: str | None = None) -> None:
        """End the record at once and wait for nobody; what runs is fenced."""
        self._client.do(flow.command(self.id, "abandon", reason))

    def amend(self, **fields: Any) -> None:
        """Another ``priority``, other ``labels``, a ``phase`` with its ``message``; what is not given stays."""
        self.view = self._client.do(flow.amend(self.id, fields))

    def restart(
        self,
        *,
        from_: str = "failed",
        version: int | None = None,
        code: str = "same",
        params: Mapping[str, Any] | None = None,
        key: str | None = None,
        **options: Any,
    ) -> Run:
        """A new run that goes on from this one, which has ended: what had succeeded is taken over, not repeated.

        ``from_``: ``failed``, ``start``, or a task, which is done again with all that hangs on it. ``version``: another
        version of the job. ``code="latest"``: the packages as they are registered now. ``params`` replace single ones.
        Options: reason, priority, labels.
        """
        asked = {"from": from_, "version": version, "code": code, "params": params or {}, **options}
        given = {name: value for name, value in asked.items() if value is not None}
        return Run(self._client, self._client.do(flow.restart(self.id, given, key)))

    def artifacts(self) -> list[views.ArtifactView]:
        """The files that it left."""
        return self._client.do(flow.artifacts(self.id))

    def download(self, artifact: views.ArtifactView) -> bytes:
        """The bytes of one of its files."""
        return self._client.do(flow.artifact(self.id, artifact.task, artifact.path, artifact.index))
