"""Watching a run from the terminal: task states and log lines as they come; plain lines in a pipe.

Also the story of a failure: the inputs, the user's own frames, what was skipped, and the two commands to go on. A server that is
away for a moment is waited for: the run does not need it to go on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from headrace.cli.pieces import Pieces, who
from headrace.cli.terminal import Terminal, clean, elapsed, short
from headrace.cli.waits import Waits
from headrace.client import flow
from headrace.client.sync import FINAL, WAIT_SLICE, Client
from headrace.model import views
from headrace.model.errors import Busy, Unreachable

if TYPE_CHECKING:
    from headrace.cli.inputs import Inputs

T = TypeVar("T")
SLICE = 0.5
"""Seconds of one long poll while somebody watches."""
TAIL_S = 5.0
"""How long the last log lines are waited for after a run has ended and nothing new has come."""
AWAY_S = 30.0
"""How long a server may be away before the watcher gives up."""
BAR = 30
FAILED_SHOWN = 20
"""Tasks that failed and are told of at the end; the rest is counted."""
QUIET = ("blocked", "ready")
GOOD = (None, "", "0", "ok")
"""Exit statuses that say nothing beside ``succeeded``."""
ENDED = ("succeeded", "failed", "canceled", "skipped", "lost")

Line = tuple[datetime, str]


class Watch:
    """Prints what is new about one run, again and again, until it has ended."""

    def __init__(self, client: Client, terminal: Terminal, number: int) -> None:
        self.client = client
        self.terminal = terminal
        self.number = number
        self._seen: dict[str, str] = {}
        self._pieces = Pieces()
        self._cursor: str | None = None
        self._sealed = False
        self._progress = ""
        self._waits = Waits(client, number)

    def until_ended(self) -> views.RunView:
        """Follow to the end; gives the run's last view. Raises Unreachable when the server stays away."""
        while True:
            view = ask(self.client, lambda: flow.run(self.number))
            self._print(self._states(view) + self._logs())
            if view.state in FINAL:
                self._tail()
                self._clear()
                return view
            self._waits.look(self._clear)
            self._bar(view)
            ask(self.client, lambda: flow.run(self.number, wait=SLICE))

    def _print(self, lines: list[Line]) -> None:
        for _, text in sorted(lines, key=lambda line: line[0]):
            self._clear()
            self.terminal.line(text)

    def _states(self, view: views.RunView) -> list[Line]:
        lines: list[Line] = []
        for task in view.tasks:
            said = f"{task.state} {task.attempt} {task.child or ''} {_counts(task) if task.ended_at else ''}"
            if self._seen.get(task.name) == said or task.state in QUIET:
                continue
            self._seen[task.name] = said
            now = datetime.now(UTC)
            at = (task.ended_at if task.state in ENDED else task.started_at) or now
            attempt = f" (attempt {task.attempt})" if task.attempt > 1 else ""
            took = elapsed(task.started_at, task.ended_at) if task.started_at and task.ended_at else ""
            child = f" → run {task.child}" if task.child else ""
            name = self.terminal.style(task.name, "bold")
            text = f"{name} {self.terminal.state(task.state)}{attempt}{_counts(task)}{child}"
            clock = self.terminal.style(self.terminal.when(at), "dim")
            lines.append((at, f"{clock} {text} {self.terminal.style(took, 'dim')}".rstrip()))
        return lines

    def _tail(self) -> None:
        """Logs follow their outcomes: wait for the last of them, not for ever."""
        deadline = time.monotonic() + TAIL_S
        while not self._sealed and time.monotonic() < deadline:
            lines = self._logs(wait=SLICE)
            if lines:
                deadline = time.monotonic() + TAIL_S
            self._print(lines)
        at = datetime.now(UTC)
        self._print([(at, self._said(*left)) for left in self._pieces.rest()])

    def _logs(self, *, wait: float = 0.0) -> list[Line]:
        lines: list[Line] = []
        while not self._sealed:
            page = ask(self.client, lambda: flow.logs(self.number, after=self._cursor, wait=wait))
            for record in page.items:
                lines += self._record(record)
            self._sealed = page.next_cursor is None
            self._cursor = page.next_cursor or self._cursor
            if not page.items:
                break
        return lines

    def _record(self, record: views.LogView) -> list[Line]:
        """The whole lines that this record completes: a program may write half of one.

        The run's own records are left out: the story at the end tells them.
        """
        if not record.task:
            return []
        bad = record.stream == "stderr" or record.level.lower() in ("error", "critical")
        stream = "stderr" if bad else "stdout"
        return [(record.at, self._said(who(record), stream, line)) for line in self._pieces.take(record, stream)]

    def _said(self, task: str, stream: str, line: str) -> str:
        return f"{self.terminal.style(f'{task} │', 'cyan')} {self.terminal.style(clean(line), 'red' if stream == 'stderr' else '')}"

    def _bar(self, view: views.RunView) -> None:
        if not self.terminal.live or self.terminal.form != "text":
            return
        total, done = 0, 0
        for task in view.tasks:
            counts = task.counts or {}
            total += max(1, counts.get("total", 0))
            done += sum(counts.get(s, 0) for s in ENDED) if counts.get("total") else int(task.ended_at is not None)
        total += view.tasks_omitted
        filled = int(BAR * done / max(1, total))
        self._progress = f"  {'━' * filled}{'─' * (BAR - filled)} {done}/{total} tasks, {view.state}"
        print(f"\r\x1b[2K{self._progress}", end="", file=self.terminal.out, flush=True)

    def _clear(self) -> None:
        if self._progress:
            print("\r\x1b[2K", end="", file=self.terminal.out, flush=True)
            self._progress = ""


def ask(client: Client, question: Callable[[], flow.Flow[T]]) -> T:
    """The answer; a server that is away is waited for, and it is said once. Raises Unreachable after ``AWAY_S``."""
    deadline, told = time.monotonic() + AWAY_S, False
    while True:
        try:
            return client.do(question())
        except (Unreachable, Busy) as error:
            if time.monotonic() > deadline:
                raise
            if not told:
                print(f"{error.message}; waiting for it …", file=sys.stderr, flush=True)
            told = True
            time.sleep(SLICE)


def wait(client: Client, number: int) -> views.RunView:
    """Until the run has ended, over a server that is away for a moment. Why it waits is told on stderr."""
    waits = Waits(client, number)
    while (
        view := ask(client, lambda: flow.run(number, wait=min(WAIT_SLICE, max(SLICE, waits.left))))
    ).state not in FINAL:
        waits.look()
    return view


def _counts(task: views.TaskView) -> str:
    """`` (7 of 12 succeeded, 1 running)`` for a task with ``each``."""
    if not task.counts or "total" not in task.counts:
        return ""
    return f" ({counted(task.counts)})"


def counted(counts: dict[str, int]) -> str:
    """How the instances of a group stand: ``12 of 12 succeeded``."""
    total = counts.get("total", 0)
    parts = [f"{n} {state}" for state, n in counts.items() if n and state not in ("total", "succeeded")]
    return ", ".join([f"{counts.get('succeeded', 0)} of {total} succeeded", *parts])


def story(terminal: Terminal, run: views.RunView, client: Client | None = None) -> None:
    """How the run ended; for a failure all that a tired person needs: of a client also what the failed tasks were given."""
    took = elapsed(run.started_at or run.created_at, run.ended_at)
    said = "" if run.exit_status in GOOD else f" ({run.exit_status})"
    terminal.line(f"run {run.id} {terminal.state(run.state)}{said} after {took}")
    if run.state == "succeeded":
        if run.result is not None:
            terminal.line(f"  result  {short(run.result)}")
        return
    if run.reason:
        terminal.line(f"  reason: {clean(run.reason)}")
    failed = [task for task in run.tasks if task.state in ("failed", "lost")]
    inputs = None
    if failed and client is not None:
        from headrace.cli.inputs import Inputs

        inputs = Inputs(client, run)
    for task in failed[:FAILED_SHOWN]:
        failure(terminal, task, inputs)
    if len(failed) > FAILED_SHOWN:
        terminal.line(f"  … and {len(failed) - FAILED_SHOWN} more that failed")
    ended = [task.name for task in run.tasks if task.state == "canceled" and task.started_at]
    if ended:
        terminal.line(f"  canceled: {', '.join(ended)}")
    skipped = [task.name for task in run.tasks if task.state in ("skipped", "canceled") and not task.started_at]
    if skipped:
        terminal.line(f"  did not run: {', '.join(skipped)}")
    if run.tasks_omitted:
        terminal.line(f"  … and {run.tasks_omitted} more tasks that are not shown here")
    terminal.line(f"  the log:  headrace logs {run.id}")
    terminal.line(f"  and why:  headrace explain {run.id}")


def failure(terminal: Terminal, task: views.TaskView, inputs: Inputs | None = None) -> None:
    """Why a task failed, with what it was given and the user's own frames; of a group, the first instance that did."""
    name = task.name if task.index is None else f"{task.name}[{task.index}]"
    said = task.exit_status or task.reason or ""
    if task.counts:
        said, attempt = counted(task.counts), ""
    else:
        attempt = f" on attempt {task.attempt}" if task.attempt else ""
    terminal.line(f"  {terminal.style(name, 'bold')} {terminal.state(task.state)} {clean(said)}{attempt}".rstrip())
    if inputs is not None and task.counts and (one := inputs.instance(task)) is not None:
        failure(terminal, one, inputs)
        return
    if inputs is not None and not task.counts and (given := inputs.of(task)):
        terminal.line(f"    given: {given}")
    if task.error is None:
        return
    terminal.line(f"    {task.error.type}: {clean(task.error.message)}")
    own = [frame for frame in task.error.frames if frame.yours]
    for frame, times in ((frame, len(list(same))) for frame, same in groupby(own)):
        again = f"  ({times} times)" if times > 1 else ""
        terminal.line(f"    {frame.file}:{frame.line} in {frame.function}: {clean(frame.code)}{again}")
