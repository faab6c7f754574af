"""Events, of one run and of everything, as the API answers them.

Records only. Named everywhere through ``model.views``.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from headrace.model.document import Ours
from headrace.model.views.base import View


class EventView(View, kw_only=True, frozen=True):
    """One event. ``sequence`` is the dense version within its subject."""

    edn_namespace: ClassVar[str] = "event"

    sequence: int
    at: datetime
    actor: str
    kind: str
    subject: str
    body: Ours


class FeedEvent(EventView, kw_only=True, frozen=True):
    """An event among all others. ``cursor`` is the place behind it: to go on from there."""

    cursor: str


class FeedPage(View, kw_only=True, frozen=True):
    """Events in commit order. ``next_cursor`` is null when there were none; ``cursor`` says always where to go on."""

    items: list[FeedEvent]
    next_cursor: str | None = None
    cursor: str


class EventPage(View, kw_only=True, frozen=True):
    """A page of a run's events, oldest first."""

    items: list[EventView]
    next_cursor: str | None = None
