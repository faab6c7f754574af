"""Saved jobs by name, at hand for submits.

Where this process alone writes the store, a job is read once and forgotten when it is saved or deleted here; otherwise
it is read each time, because another node may have saved it. Never writes. Called by handlers and ``control.family``.
"""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct

from headrace.control.changes.jobs import JOB, JobRecord, read_job
from headrace.store.port import Reader
from headrace.store.rows import Entity

KEPT_MAX = 1024


class Saved(Struct, frozen=True):
    """A saved job's row and its image, decoded."""

    row: Entity
    record: JobRecord


class SavedJobs:
    """The newest version of each job that was asked for."""

    def __init__(self, reader: Reader, *, alone: bool) -> None:
        self._reader = reader
        self._alone = alone
        self._known: OrderedDict[str, Saved] = OrderedDict()
        self._generation = 0

    async def get(self, name: str) -> Saved | None:
        """The newest version, or None when there is no such job (or it was deleted)."""
        known = self._known.get(name)
        if known is not None:
            return known
        generation = self._generation
        row = await self._reader.entity((JOB, name))
        if row is None or row.deleted_at:
            return None
        saved = Saved(row, read_job(row.image))
        # what was read before a save that happened meanwhile must not be kept
        if self._alone and generation == self._generation:
            self._known[name] = saved
            while len(self._known) > KEPT_MAX:
                self._known.popitem(last=False)
        return saved

    async def version(self, name: str, version: int) -> Saved | None:
        """An older version, also of a job that was deleted since; or None."""
        newest = await self.get(name)
        if newest is not None and newest.row.version == version:
            return newest
        for row in await self._reader.entity_versions((JOB, name), before=version + 1, limit=1):
            if row.version == version:
                return Saved(row, read_job(row.image))
        return None

    def forget(self, name: str) -> None:
        """The job was saved or deleted: read it again."""
        self._generation += 1
        self._known.pop(name, None)
