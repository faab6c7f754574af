"""The server itself, its agents, limits and backups, as the API answers them.

Records only. Named everywhere through ``model.views``.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from headrace.model.document import State
from headrace.model.views.base import View


class VersionView(View, kw_only=True, frozen=True):
    """Which Headrace this is. ``settings``: what the store's own writing connection says of its durability."""

    version: str
    api: str = "v1"
    python: str = ""
    store: str = ""
    settings: dict[str, str] = {}


class HealthView(View, kw_only=True, frozen=True):
    """Whether the server answers (``live``) and makes progress (``ready``)."""

    status: State


class ReadyView(HealthView, kw_only=True, frozen=True):
    """That the server makes progress, in numbers of its whole store; ``slots_free`` are those of this control's agents.

    ``nothing_begins_since``: since a look at which tasks were ready and an agent had room, nothing was given out: they may
    wait for labels or limits, as explain tells. ``changes_wait_seconds``: since the last commit, while changes wait.
    """

    runs_open: int
    tasks_ready: int
    tasks_leased: int
    slots_free: int
    changes_wait_seconds: float
    nothing_begins_since: datetime | None = None


class StatsView(View, kw_only=True, frozen=True):
    """What there is to do, in the whole store, and what this control has done since it began."""

    runs: dict[str, int]
    """Runs that have not ended, by state."""
    tasks: dict[str, int]
    submitted: int
    settled: int
    commits: int
    agents: int
    slots_free: int
    watchers: int


class HolderView(View, kw_only=True, frozen=True):
    """Who holds units of a limit now: an attempt of this task."""

    run: int
    task: str
    index: int | None = None
    units: int = 1
    key: str = ""


class LimitView(View, kw_only=True, frozen=True):
    """A named limit. ``in_use``: units that live attempts hold now; ``holders``: the first hundred of them."""

    edn_namespace: ClassVar[str] = "limit"

    name: str
    slots: int | None = None
    rate: str | None = None
    burst: int | None = None
    key: str | None = None
    description: str = ""
    paused: bool = False
    reason: str | None = None
    in_use: int = 0
    holders: list[HolderView] = []
    version: int = 1
    created_at: datetime
    updated_at: datetime


class AgentView(View, kw_only=True, frozen=True):
    """An agent as control knows it."""

    edn_namespace: ClassVar[str] = "agent"

    id: int
    name: str
    state: State
    boot: str
    slots: int
    labels: dict[str, str] = {}
    running: int = 0


class BackupView(View, kw_only=True, frozen=True):
    """A backup. ``at``: the last commit in it. ``troubles``: blobs that were damaged or missing when it was made."""

    edn_namespace: ClassVar[str] = "backup"

    name: str
    size: int
    made_at: datetime | None = None
    at: datetime | None = None
    store: str | None = None
    schema: int | None = None
    incarnation: int | None = None
    rows: dict[str, int] = {}
    blobs: int | None = None
    blob_size: int | None = None
    troubles: list[str] = []


class BackupPage(View, kw_only=True, frozen=True):
    """A page of backups, by name."""

    items: list[BackupView]
    next_cursor: str | None = None


class AgentPage(View, kw_only=True, frozen=True):
    """A page of agents, by name."""

    items: list[AgentView]
    next_cursor: str | None = None


class LimitPage(View, kw_only=True, frozen=True):
    """A page of limits, by name."""

    items: list[LimitView]
    next_cursor: str | None = None
