"""Jobs, their versions and numbers, packages, and what an import did, as the API answers them.

Records only. Named everywhere through ``model.views``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from msgspec import UNSET, Struct, UnsetType

from headrace.model.document import State
from headrace.model.views.base import View


class ElapsedView(View, kw_only=True, frozen=True):
    """Seconds, of those that were looked at."""

    average: float
    median: float
    least: float
    most: float


class TaskStatisticsView(View, kw_only=True, frozen=True):
    """How one task went: instances of a task with ``each`` count one by one. ``attempts`` is an average.

    ``started_at`` and ``ended_at`` are those of the newest run.
    """

    edn_namespace: ClassVar[str] = "task"

    name: str
    states: dict[str, int]
    success_rate: float | None = None
    attempts: float | None = None
    elapsed: ElapsedView | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class JobStatisticsView(View, kw_only=True, frozen=True):
    """How the last ``runs`` ended runs of a job went. ``success_rate`` is that of those that succeeded or failed.

    ``elapsed`` is the time that runs took which succeeded, ``waited`` that from submit to the first attempt; ``last``,
    ``started_at`` and ``ended_at`` are those of the newest run; ``tasks`` are those of the 50 newest.
    """

    edn_namespace: ClassVar[str] = "job"

    job: str
    runs: int
    since: datetime | None = None
    states: dict[str, int]
    success_rate: float | None = None
    elapsed: ElapsedView | None = None
    waited: ElapsedView | None = None
    last: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    tasks: list[TaskStatisticsView] = []


class PackageView(View, kw_only=True, frozen=True):
    """A registered package: its digest and the tasks and jobs found in it."""

    edn_namespace: ClassVar[str] = "package"

    name: str
    digest: str
    version: int
    size: int
    created_at: datetime
    tasks: list[str] = []
    jobs: list[str] = []


class JobPage(View, kw_only=True, frozen=True):
    """A page of jobs: definition fields plus version, created_at, updated_at."""

    items: list[dict[str, Any]]
    next_cursor: str | None = None


class JobVersionView(View, kw_only=True, frozen=True):
    """A version of a job: when it was made, by whom and why. ``change`` is saved, deleted or restored."""

    edn_namespace: ClassVar[str] = "job"

    version: int
    at: datetime
    change: State
    actor: str | None = None
    source: str | None = None
    reason: str | None = None
    digest: str
    waits_for: list[str] = []


class JobVersionPage(View, kw_only=True, frozen=True):
    """A page of versions, newest first."""

    items: list[JobVersionView]
    next_cursor: str | None = None


class Difference(Struct, frozen=True, omit_defaults=True):
    """One place where two documents differ. ``before`` is left out of what was added, ``after`` of what was removed."""

    path: str
    change: Literal["added", "removed", "changed"]
    before: Any | UnsetType = UNSET
    after: Any | UnsetType = UNSET


class JobDiffView(View, kw_only=True, frozen=True):
    """What two versions of a job differ in. Items of named lists are told by name: ``tasks[clean].timeout``."""

    name: str
    before: int
    after: int
    differences: list[Difference]


class ImportedItem(View, kw_only=True, frozen=True):
    """What became of one item. ``outcome`` is created, unchanged or changed; ``waits_for``: tasks that are not there yet."""

    kind: str
    name: str
    outcome: str
    waits_for: list[str] = []


class ImportView(View, kw_only=True, frozen=True):
    """What an import did, item by item; with ``dry_run`` what it would do."""

    items: list[ImportedItem]
    dry_run: bool = False


class TaskName(View, frozen=True, kw_only=True):
    """A registered task."""

    edn_namespace: ClassVar[str] = "task"

    reference: str
    package: str
    digest: str
    summary: str = ""


class TaskNamePage(View, kw_only=True, frozen=True):
    """A page of registered tasks."""

    items: list[TaskName]
    next_cursor: str | None = None


class PackagePage(View, kw_only=True, frozen=True):
    """A page of packages, or of the versions of one."""

    items: list[PackageView]
    next_cursor: str | None = None
