"""Facts as events: their kind, subject and body in words. Pure. Called by the feed and by a run's own list of events."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace.control.auth import Permission
from headrace.control.graphs import Known
from headrace.model.facts import Fact
from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.model.views import EventView
from headrace.store.rows import Entity, HistoryRow

_KINDS = {"TaskReadied": "task.ready"}
"""Facts whose event is not called as the fact is."""

NOUNS = {
    "job": ("jobs", Permission.jobs_read),
    "package": ("packages", Permission.packages_read),
    "agent": ("agents", Permission.agents_read),
    "token": ("tokens", Permission.tokens_any),
    "session": ("sessions", Permission.users_read),
    "user": ("users", Permission.users_read),
    "backup": ("backups", Permission.system_backup),
}
"""How a kind of named thing is called in subjects, and who may see its events. Others: kind + s, ``system_read``."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORDS = re.compile(r"(?<!^)(?=[A-Z])")


def noun_of(kind: str) -> str:
    """The first word of the subject of a kind of named thing."""
    known = NOUNS.get(kind)
    return known[0] if known is not None else kind + "s"


def permission_of(kind: str) -> Permission:
    """Who may see what happens to named things of this kind."""
    known = NOUNS.get(kind)
    return known[1] if known is not None else Permission.system_read


def kind_of(fact: Fact) -> str:
    """``run.ended``: what it is about, what happened."""
    name = type(fact).__name__
    known = _KINDS.get(name)
    if known is None:
        first, *rest = _WORDS.split(name)
        known = ".".join(part for part in (first.lower(), "_".join(rest).lower()) if part)
    return known


def run_event(row: HistoryRow, fact: Fact, known: Known, actor: str) -> EventView:
    """An event of a run, or of one of its tasks."""
    subject = f"runs/{row.run}"
    no, index = (row.no, row.index) if fact.no == RUN_ITSELF and row.no != RUN_ITSELF else (fact.no, fact.index)
    if no != RUN_ITSELF:
        subject += f"/tasks/{known.graph.nodes[no].name}" + ("" if index == WHOLE else f"/{index}")
    return EventView(
        sequence=row.version, at=_moment(row.at), actor=actor, kind=kind_of(fact), subject=subject, body=_body(fact)
    )


def entity_event(row: Entity, actor: str) -> EventView:
    """An event of a named thing. Its image is not told: who may see the thing asks for it."""
    what = row.facts.decode("utf-8", "replace")
    return EventView(
        sequence=row.version,
        at=_moment(row.updated_at),
        actor=actor,
        kind=f"{row.kind}.{what}" if what.isidentifier() else f"{row.kind}.changed",
        subject=f"{noun_of(row.kind)}/{row.name}",
        body={"version": row.version},
    )


def gap_event(subject: str, at: int, reason: str, sequence: int = 0) -> EventView:
    """Something happened here that is told no more."""
    return EventView(sequence=sequence, at=_moment(at), actor="", kind="gap", subject=subject, body={"reason": reason})


def _body(fact: Fact) -> dict[str, Any]:
    body = {}
    for name in fact.__struct_fields__:
        value = getattr(fact, name)
        if name in {"no", "index"}:
            continue
        if name == "state":
            value = value.name
        elif name == "at" or name.endswith("_at"):
            value = _moment(value).isoformat() if value else None
        body[name] = value
    return body


def _moment(at: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at)
