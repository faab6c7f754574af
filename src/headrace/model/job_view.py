"""A saved job as answers show it: apart from the other views, because it needs the whole schema of definitions.

No rules. Encoded by control; the command line reads it where it prints EDN.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import field

from headrace.model.definition import JobDefinition


class JobView(JobDefinition, frozen=True, kw_only=True):
    """A saved job: the fields of its definition, and which version this is since when.

    ``waits_for``: Python tasks that no package has yet; the job takes no runs until they are registered.
    """

    version: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    waits_for: list[str] = field(default_factory=list)
