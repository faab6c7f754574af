"""Watching a run from the terminal: task states and log lines as they come; plain lines in a pipe.

Also the story of a failure: the user's own frames, what was skipped, and the two commands to go on.
"""

from __future__ import annotations

import time

from headrace.cli.terminal import Terminal, clean, elapsed
from headrace.client import flow
from headrace.client.sync import FINAL, Client
from headrace.model import views

SLICE = 1.0
"""Seconds of one long poll while somebody watches."""


class Watch:
    """Prints what is new about one run, again and again, until it has ended."""

    def __init__(self, client: Client, terminal: Terminal, number: int) -> None:
        self.client = client
        self.terminal = terminal
        self.number = number
        self._seen: dict[str, str] = {}
        self._cursor: str | None = None
        self._progress = ""

    def until_ended(self) -> views.RunView:
        """Follow to the end; gives the run's last view."""
        while True:
            view = self.client.do(flow.run(self.number))
            self._states(view)
            self._logs(final=view.state in FINAL)
            if view.state in FINAL:
                self._clear()
                return view
            self._bar(view)
            self.client.do(flow.run(self.number, wait=SLICE))

    def _states(self, view: views.RunView) -> None:
        for task in view.tasks:
            said = _said(task)
            if self._seen.get(task.name) != said and task.state not in ("blocked", "ready"):
                self._seen[task.name] = said
                self._clear()
                attempt = f" (attempt {task.attempt})" if task.attempt > 1 else ""
                took = elapsed(task.started_at, task.ended_at) if task.ended_at and task.counts is None else ""
                counts = _counts(task)
                self.terminal.line(
                    f"{self.terminal.style(_clock(), 'dim')} {self.terminal.style(task.name, 'bold')} "
                    f"{self.terminal.state(task.state)}{attempt}{counts} {self.terminal.style(took, 'dim')}".rstrip()
                )

    def _logs(self, *, final: bool) -> None:
        while True:
            page = self.client.do(flow.logs(self.number, after=self._cursor, wait=0.0))
            for record in page.items:
                self._clear()
                self._record(record)
            if page.next_cursor is None or not page.items:
                return
            self._cursor = page.next_cursor
            if not final and len(page.items) < 100:
                return

    def _record(self, record: views.LogView) -> None:
        name = record.task if record.index is None else f"{record.task}[{record.index}]"
        bad = record.stream == "stderr" or record.level in ("error", "critical", "ERROR", "CRITICAL")
        head = self.terminal.style(f"{name} │", "cyan")
        for line in record.text.rstrip("\n").split("\n"):
            self.terminal.line(f"{head} {self.terminal.style(clean(line), 'red' if bad else '')}")

    def _bar(self, view: views.RunView) -> None:
        if not self.terminal.live or self.terminal.form != "text":
            return
        total, done = 0, 0
        for task in view.tasks:
            counts = task.counts or {}
            total += max(1, sum(counts.values()))
            done += sum(counts.get(s, 0) for s in ("succeeded", "failed", "canceled", "skipped", "lost")) or (
                1 if task.counts is None and task.ended_at else 0
            )
        width = 30
        filled = int(width * done / max(1, total))
        self._progress = f"  {'━' * filled}{'─' * (width - filled)} {done}/{total} tasks, {view.state}"
        print(f"\r\x1b[2K{self._progress}", end="", file=self.terminal.out, flush=True)

    def _clear(self) -> None:
        if self._progress:
            print("\r\x1b[2K", end="", file=self.terminal.out, flush=True)
            self._progress = ""


def _clock() -> str:
    return time.strftime("%H:%M:%S")


def _said(task: views.TaskView) -> str:
    done = (task.counts or {}).get("succeeded", 0) if task.ended_at else 0
    return f"{task.state} {task.attempt} {done}"


def _counts(task: views.TaskView) -> str:
    if not task.counts:
        return ""
    return " (" + ", ".join(f"{n} {state}" for state, n in task.counts.items() if n) + ")"


def story(terminal: Terminal, run: views.RunView) -> None:
    """How the run ended; for a failure all that a tired person needs."""
    took = elapsed(run.started_at or run.created_at, run.ended_at)
    said = f" ({run.exit_status})" if run.exit_status else ""
    terminal.line(f"run {run.id} {terminal.state(run.state)}{said} after {took}")
    if run.state == "succeeded":
        return
    if run.reason:
        terminal.line(f"  reason: {clean(run.reason)}")
    for task in run.tasks:
        if task.state in ("failed", "lost"):
            _failure(terminal, task)
    skipped = [task.name for task in run.tasks if task.state in ("skipped", "canceled")]
    if skipped:
        terminal.line(f"  did not run because of it: {', '.join(skipped)}")
    terminal.line(f"  the log:  headrace logs {run.id}")
    terminal.line(f"  and why:  headrace explain {run.id}")


def _failure(terminal: Terminal, task: views.TaskView) -> None:
    said = task.exit_status or task.reason or ""
    terminal.line(
        f"  {terminal.style(task.name, 'bold')} {terminal.state(task.state)} {said} on attempt {task.attempt}"
    )
    if task.error is None:
        return
    terminal.line(f"    {task.error.type}: {clean(task.error.message)}")
    for frame in task.error.frames:
        if frame.yours:
            terminal.line(f"    {frame.file}:{frame.line} in {frame.function}: {clean(frame.code)}")
