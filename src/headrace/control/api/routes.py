"""The whole route table: every noun's routes joined, and the description of them all.

The only place that knows all nouns. A path that is not here does not exist.
"""

from __future__ import annotations

from headrace.control.api import (
    agents,
    amend,
    artifacts,
    backups,
    events,
    explain,
    foreign,
    jobs,
    limits,
    logs,
    metrics,
    package_versions,
    packages,
    restart,
    runs,
    sessions,
    statistics,
    stream,
    submit,
    system,
    tokens,
    transfer,
    users,
    verbs,
    versions,
)
from headrace.control.api.system import Description
from headrace.control.api.table import Route


def all_routes() -> tuple[Route, ...]:
    """The table, with the routes that describe it at the end."""
    routes = (
        *jobs.ROUTES,
        *versions.ROUTES,
        *statistics.ROUTES,
        *submit.ROUTES,
        *runs.ROUTES,
        *verbs.ROUTES,
        *restart.ROUTES,
        *amend.ROUTES,
        *foreign.ROUTES,
        *logs.ROUTES,
        *artifacts.ROUTES,
        *events.ROUTES,
        *stream.ROUTES,
        *explain.ROUTES,
        *packages.ROUTES,
        *package_versions.ROUTES,
        *agents.ROUTES,
        *sessions.ROUTES,
        *users.ROUTES,
        *tokens.ROUTES,
        *limits.ROUTES,
        *backups.ROUTES,
        *transfer.ROUTES,
        *metrics.ROUTES,
        *system.ROUTES,
    )
    return Description().of(routes)
