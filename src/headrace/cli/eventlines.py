"""One event as a person at a terminal reads it: when, which thing by its name, what became of it, and the details.

Pipes get the plain line of ``cli.events`` and programs ``--json``: only this form may change with taste. Called by
``cli.events``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from headrace.cli.terminal import STATE_STYLE, Terminal, clean, elapsed, fit, short
from headrace.model.views import FeedEvent

SUBJECT, WHAT = 32, 12
"""Columns of the two middle parts."""
QUIET = frozenset(
    {"epoch", "agent", "at", "version", "state", "started_at", "ended_at", "attempt", "exit_status", "due_at"}
)
"""Fields that are told in words or not at all."""


def line(event: FeedEvent, terminal: Terminal, job_of: Callable[[int], str]) -> str:
    """The event as one line. ``job_of`` gives the name of a run's job, empty where it has none."""
    clock = terminal.style(terminal.when(event.at), "dim")
    what = _what(event)
    shown = terminal.style(fit(what, WHAT), STATE_STYLE.get(what, ""))
    subject = terminal.style(fit(_subject(event.subject, job_of), SUBJECT), "bold")
    details = ", ".join(part for part in _details(event, terminal) if part)
    who = "" if event.actor in ("", "system") else terminal.style(f"by {clean(event.actor)}", "dim")
    return "  ".join(part for part in (clock, subject, shown, details, who) if part).rstrip()


def _subject(text: str, job_of: Callable[[int], str]) -> str:
    """``run 3 nightly · load[2]``, ``job nightly``."""
    noun, _, rest = text.partition("/")
    if noun != "runs":
        return clean(f"{noun.removesuffix('s')} {rest}" if rest else noun)
    number, _, task = rest.partition("/tasks/")
    name, _, index = task.partition("/")
    job = job_of(int(number)) if number.isdigit() else ""
    called = f"{name}[{index}]" if index else name
    return clean(" ".join(part for part in ("run", number, job, called and f"· {called}") if part))


def _what(event: FeedEvent) -> str:
    """One word: the state that was reached, else what was done."""
    state = event.body.get("state")
    return clean(state if isinstance(state, str) and state else event.kind.partition(".")[2] or event.kind)


def _details(event: FeedEvent, terminal: Terminal) -> list[str]:
    body: Mapping[str, Any] = event.body
    found = []
    if body.get("exit_status"):
        found.append(f"exit status {clean(body['exit_status'])}")
    if isinstance(body.get("attempt"), int) and body["attempt"] > 1:
        found.append(f"attempt {body['attempt']}")
    if body.get("started_at") and body.get("ended_at"):
        found.append(elapsed(_instant(body["started_at"]), _instant(body["ended_at"])))
    if body.get("due_at"):
        found.append(f"again at {terminal.when(body['due_at'])}")
    if body.get("version") and event.kind.startswith(("job.", "package.")):
        found.append(f"version {body['version']}")
    rest = {name: value for name, value in body.items() if name not in QUIET and value not in (None, "")}
    return [*found, *(f"{clean(n)}: {clean(v) if isinstance(v, str) else short(v)}" for n, v in rest.items())]


def _instant(value: str | datetime) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
