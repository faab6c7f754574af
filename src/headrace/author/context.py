"""What a task may know and say while it runs: ``Context``, and ``current()`` to get it anywhere below the task.

A context does nothing by itself: it speaks to its ``Host`` (the runner, or ``LocalHost`` when a task is called
outside an attempt). It never touches the network. Read by user code.
"""

from __future__ import annotations

import logging
import os
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol

import msgspec

from headrace.model.errors import Conflict, NotAvailable


class Host(Protocol):
    """What a context needs of the process it runs in."""

    def cancelled(self) -> bool:
        """Whether the attempt was asked to end."""

    def folder(self, name: str) -> str:
        """The absolute path of ``inputs`` or ``outputs``; exists when this returns."""

    def progress(self, text: bytes, *, phase: bool = False) -> None:
        """The newest progress, or the phase that begins, as JSON text."""


class Identity(msgspec.Struct, frozen=True):
    """Which attempt this is. Zeros and empty texts when a task is called outside an attempt."""

    run: int = 0
    job: str = ""
    task: str = ""
    index: int = -1
    attempt: int = 0
    epoch: int = 0


class Context:
    """One attempt, as its own code sees it. ``run`` and ``epoch`` let user code fence its own effects."""

    __slots__ = ("_host", "_identity", "_params", "exit_status")

    def __init__(self, identity: Any, params: bytes, host: Host) -> None:
        self._identity = identity
        self._params = params
        self._host = host
        self.exit_status: str | None = None
        """Set it to say more than ``ok`` or ``error``: dependents may match it."""

    @property
    def run(self) -> int:
        """The run's id."""
        return int(self._identity.run)

    @property
    def job(self) -> str:
        """The job's name; empty for a run without a saved job."""
        return str(self._identity.job)

    @property
    def task(self) -> str:
        """The task's name in its job."""
        return str(self._identity.task)

    @property
    def index(self) -> int:
        """Which instance of a task with ``each`` this is; -1 otherwise."""
        return int(self._identity.index)

    @property
    def attempt(self) -> int:
        """1 for the first try."""
        return int(self._identity.attempt)

    @property
    def epoch(self) -> int:
        """The fencing token: higher for every attempt that was ever given out."""
        return int(self._identity.epoch)

    @property
    def params(self) -> dict[str, Any]:
        """The run's parameters, as JSON types."""
        decoded: dict[str, Any] = msgspec.json.decode(self._params)
        return decoded

    @property
    def log(self) -> logging.Logger:
        """A logger named after the task; the root logger is captured just as well."""
        return logging.getLogger(self.task or "headrace")

    @property
    def cancelled(self) -> bool:
        """Whether this attempt was asked to end. Long loops in C code should look at it."""
        return self._host.cancelled()

    @property
    def inputs(self) -> Path:
        """Files that earlier tasks left: ``inputs / "<task>" / …``."""
        return Path(self._host.folder("inputs"))

    @property
    def outputs(self) -> Path:
        """Every file put here becomes an artifact of the task."""
        return Path(self._host.folder("outputs"))

    @property
    def checkpoint(self) -> Any:
        """What an earlier attempt left; nothing yet."""
        return None

    @checkpoint.setter
    def checkpoint(self, value: Any) -> None:
        raise NotAvailable("not available yet: checkpoint")

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Say how far the work is. Cheap; only the newest is kept, and shown within about a second."""
        self._host.progress(msgspec.json.encode({"done": done, "total": total, "message": message}))

    def phase(self, name: str, message: str = "") -> None:
        """Say which phase of the run begins: shown live, and kept in its events."""
        self._host.progress(msgspec.json.encode({"phase": name, "message": message}), phase=True)

    def artifact(self, path: str | os.PathLike[str]) -> str:
        """Keep a copy of this file as an artifact; gives its name. Raises OSError."""
        source = Path(path)
        import shutil  # 0.5 MB in every runner; most tasks keep no files

        shutil.copyfile(source, self.outputs / source.name)
        return source.name

    def call(self, work: object, *args: object, **params: object) -> Any:
        """A recorded child run; comes with a later version."""
        raise NotAvailable("not available yet: ctx.call")


class LocalHost:
    """The host of a task that is called like any function: files go to a temporary folder."""

    def __init__(self) -> None:
        self._folder: str | None = None

    def cancelled(self) -> bool:
        """Nobody can ask."""
        return False

    def folder(self, name: str) -> str:
        """A folder of this process."""
        if self._folder is None:
            import tempfile  # seldom needed, and never in a runner

            self._folder = tempfile.mkdtemp(prefix="headrace-")
        path = os.path.join(self._folder, name)
        os.makedirs(path, exist_ok=True)
        return path

    def progress(self, text: bytes, *, phase: bool = False) -> None:
        """Nobody looks."""


CURRENT: ContextVar[Context | None] = ContextVar("headrace_context", default=None)
"""Set by the runner around each attempt; per thread and asyncio task, as context variables are."""


def current() -> Context:
    """The context of the attempt that is running here. Raises Conflict outside a task."""
    found = CURRENT.get()
    if found is None:
        raise Conflict("there is no task running here: current() works inside a task that Headrace runs")
    return found


def local_context(task: str) -> Context:
    """The context of a task called outside an attempt: the running one if there is one, else an empty one."""
    return CURRENT.get() or Context(Identity(task=task), b"{}", LocalHost())
