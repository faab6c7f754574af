"""``Client``: the server from ordinary Python. Drives the flows of ``client.flow`` over one connection.

``Client()`` finds the server by itself (flags, environment, ``headrace.toml``, else the local one).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

from headrace.author import errors as author_errors
from headrace.client import find, flow, keeping
from headrace.client.transport import Connection
from headrace.model import views
from headrace.model.errors import NotFound

T = TypeVar("T")
FINAL = frozenset({"succeeded", "failed", "canceled", "abandoned"})
WAIT_SLICE = 20.0
"""Seconds of one long poll: short enough for every proxy between."""


class RunFailed(author_errors.RunFailed):
    """The run ended otherwise than succeeded. ``run`` is its last view; the message carries cause and traceback."""

    def __init__(self, run: views.RunView) -> None:
        self.run = run
        super().__init__(describe_failure(run), state=run.state)


def describe_failure(run: views.RunView) -> str:
    """What went wrong, with the user's own frames."""
    lines = [f"run {run.id} ({run.job or 'unnamed'}) {run.state}" + (f": {run.reason}" if run.reason else "")]
    for task in run.tasks:
        if task.state in ("failed", "lost"):
            said = task.error.message if task.error else task.exit_status or task.reason or ""
            lines.append(f"  {task.name} {task.state}: {said}")
            if task.error:
                lines += [f"    {f.file}:{f.line} in {f.function}: {f.code}" for f in task.error.frames if f.yours]
    return "\n".join(lines)


class Client:
    """A server. Close it, or use it in a ``with``. Not for several threads at once: make one each."""

    def __init__(self, url: str | None = None, *, token: str | None = None, data: str | Path | None = None) -> None:
        address, secret = find.server(url, token, data)
        self.url = address
        self._connection = Connection(address, secret)
        self.jobs = Jobs(self)
        self.runs = Runs(self)
        self.packages = Packages(self)

    def do(self, call: flow.Flow[T]) -> T:
        """Drive one flow to its end."""
        try:
            request = next(call)
            while True:
                request = call.send(self._connection.send(request))
        except StopIteration as done:
            answer: T = done.value
            return answer

    def submit(
        self, target: flow.Target, params: Mapping[str, Any] | None = None, *, key: str | None = None, **options: Any
    ) -> Run:
        """Make a run of a saved job (its name) or of ``{"job": definition}``, ``{"command": [...]}`` ….

        ``key``: the same key and content give the same run again, whatever happened between. Options: priority,
        labels, reason, at (an instant) or delay (``"10m"``), expires.
        """
        return Run(self, self.do(flow.submit(target, params or {}, options, key)))

    def submit_many(self, runs: Sequence[Mapping[str, Any]], *, key: str | None = None) -> list[int]:
        """Up to 10,000 runs, all or none; gives their ids in order."""
        return self.do(flow.submit_many(runs, key))

    def version(self) -> views.VersionView:
        """Which server answers."""
        return self.do(flow.version())

    def save(self, path: str, out: IO[bytes]) -> None:
        """Write the bytes that a path of the API answers to ``out``, as they come. Raises what the server refused."""
        flow.check(self._connection.save(flow.Request("GET", path, accept="*/*", wait=600), out))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Run:
    """One run on the server; its view is asked anew by ``refresh`` and ``wait``."""

    def __init__(self, client: Client, view: views.RunView) -> None:
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
    def tasks(self) -> dict[str, views.TaskView]:
        """The tasks by name, when last asked."""
        return {task.name: task for task in self.view.tasks}

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
            raise RunFailed(self.view)
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


class Jobs:
    """Saved jobs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, name: str, version: int | None = None) -> dict[str, Any]:
        """The definition with version and instants."""
        return self._client.do(flow.job(name, version))

    def put(
        self, definition: Mapping[str, Any], *, allow_missing: bool = False, reason: str | None = None
    ) -> dict[str, Any]:
        """Save it; unchanged content makes no new version. ``allow_missing``: its Python tasks may be registered later."""
        more: dict[str, Any] = {"allow_missing": "true" if allow_missing else None, "reason": reason}
        return self._client.do(flow.put_job(str(definition.get("name", "")), definition, **more))

    def patch(self, name: str, changes: Mapping[str, Any], *, reason: str | None = None) -> dict[str, Any]:
        """Change parts of it: a JSON merge patch; None takes a field away."""
        return self._client.do(keeping.patch_job(name, changes, reason))

    def delete(self, name: str, *, reason: str | None = None) -> None:
        """Delete it softly: its versions stay, its runs go on."""
        self._client.do(keeping.delete_job(name, reason))

    def restore(self, name: str, version: int | None = None, *, reason: str | None = None) -> dict[str, Any]:
        """Bring a deleted job back, or make an older version the newest again."""
        return self._client.do(keeping.restore_job(name, version, reason))

    def versions(self, name: str) -> Iterator[views.JobVersionView]:
        """Every version, newest first, page by page."""
        cursor: str | None = None
        while True:
            page = self._client.do(keeping.job_versions(name, cursor))
            yield from page.items
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

    def list(self, **where: Any) -> Iterator[dict[str, Any]]:
        """All saved jobs, page by page."""
        cursor: str | None = None
        while True:
            page = self._client.do(flow.jobs(cursor=cursor, **where))
            yield from page.items
            if page.next_cursor is None:
                return
            cursor = page.next_cursor


class Runs:
    """Runs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, number: int) -> Run:
        """One run. Raises NotFound."""
        return Run(self._client, self._client.do(flow.run(number)))

    def list(self, **where: Any) -> Iterator[views.RunView]:
        """Runs, newest first, page by page."""
        cursor: str | None = None
        while True:
            page = self._client.do(flow.runs(cursor=cursor, **where))
            yield from page.items
            if page.next_cursor is None:
                return
            cursor = page.next_cursor


class Packages:
    """Registered code."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def put(self, name: str, data: bytes) -> views.PackageView:
        """Register a zip under a name."""
        return self._client.do(flow.put_package(name, data))

    def get(self, name: str) -> dict[str, Any]:
        """What is registered under the name. Raises NotFound."""
        for package in self.list():
            if package.get("name") == name:
                return package
        raise NotFound(f"no package is called {name!r}")

    def list(self) -> list[dict[str, Any]]:
        """All of them."""
        items: list[dict[str, Any]] = self._client.do(flow.listed("packages")).get("items", [])
        return items
