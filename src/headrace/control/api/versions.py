"""What a job was before: its versions, what they differ in, deleting it and bringing it or an older version back.

A version is never altered or lost; deleting is a version too. Called through the route table only.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from headrace.codec.patches import differences
from headrace.control.api.answers import Told, ask_named
from headrace.control.api.call import Call, Reply
from headrace.control.api.jobs import told_job
from headrace.control.api.lookup import no_job
from headrace.control.api.records import Restore
from headrace.control.api.table import BASE, PAGE, REASON, RECORDS, Kind, Query, Route
from headrace.control.api.views import moment
from headrace.control.auth import Permission
from headrace.control.changes.jobs import JOB, DeleteJob, RestoreJob, read_job
from headrace.control.saved import Saved
from headrace.model.errors import NotFound
from headrace.model.job_view import JobView
from headrace.model.views import JobDiffView, JobVersionPage, JobVersionView
from headrace.store.rows import CommitRow, Entity


async def delete_job(call: Call) -> Reply:
    """``DELETE /jobs/{name}``: soft. Its runs go on; its versions stay; the name is free."""
    name = call.values["name"]
    try:
        return await ask_named(call, DeleteJob(name, call.expected()), lambda _: Told(204, None))
    except NotFound as error:
        raise await _not_there(call, name, error) from error
    finally:
        call.services.jobs.forget(name)


async def restore_job(call: Call) -> Reply:
    """``POST /jobs/{name}/restore``: a deleted job comes back; with ``version`` that content is the newest again."""
    name, body, services = call.values["name"], call.body, call.services
    wanted: Restore = body
    saved = await _version(call, name, wanted.version)
    known = await services.graphs.load(saved.record.graph)
    record = None if wanted.version is None else saved.record
    try:
        return await ask_named(
            call,
            RestoreJob(name, record, call.expected()),
            partial(told_job, known.definition, saved.record.missing),
            why=wanted.reason,
        )
    finally:
        services.jobs.forget(name)


async def list_versions(call: Call) -> Reply:
    """``GET /jobs/{name}/versions``: newest first."""
    name, limit = call.values["name"], call.limit()
    before = call.whole("cursor", 0)
    rows = await call.services.reader.entity_versions((JOB, name), before=before, limit=limit)
    if not rows and not before:
        raise await no_job(call, name)
    numbers = sorted({row.commit for row in rows if row.commit})
    commits = {c.commit: c for c in await call.services.reader.commits(numbers)} if numbers else {}
    items = [_version_view(row, commits.get(row.commit)) for row in rows]
    following = str(rows[-1].version) if len(rows) == limit and rows[-1].version > 1 else None
    return Reply(JobVersionPage(items=items, next_cursor=following))


def _version_view(row: Entity, commit: CommitRow | None) -> JobVersionView:
    record = read_job(row.image)
    return JobVersionView(
        version=row.version,
        at=moment(row.updated_at),
        change=row.facts.decode(),
        actor=None if commit is None else commit.actor,
        source=None if commit is None else commit.source,
        reason=None if commit is None else commit.why,
        digest=record.digest.hex(),
        waits_for=list(record.missing),
    )


async def diff_versions(call: Call) -> Reply:
    """``GET /jobs/{name}/diff?from=2&to=3``: what two versions differ in; without them the newest and the one before."""
    name = call.values["name"]
    later = await _version(call, name, call.whole("to", 0) or None)
    version = call.whole("from", max(1, later.row.version - 1), least=1)
    earlier = await _version(call, name, version)
    found = differences(await _plain(call, earlier), await _plain(call, later))
    return Reply(JobDiffView(name=name, before=earlier.row.version, after=later.row.version, differences=found))


async def _plain(call: Call, saved: Saved) -> Any:
    return msgspec.to_builtins((await call.services.graphs.load(saved.record.graph)).definition)


async def _version(call: Call, name: str, version: int | None) -> Saved:
    """A version, or the newest, also of a deleted job. Raises NotFound."""
    if version is not None:
        found = await call.services.jobs.version(name, version)
    else:
        row = await call.services.reader.entity((JOB, name))
        found = None if row is None else Saved(row, read_job(row.image))
    if found is None:
        raise await no_job(call, name, version)
    return found


async def _not_there(call: Call, name: str, error: NotFound) -> NotFound:
    """The same, with the nearest name where the name was never there."""
    return error if error.status != NotFound.status else await no_job(call, name)


ROUTES = (
    Route(
        method="DELETE",
        path=BASE + "/jobs/{name}",
        permission=Permission.jobs_write,
        handler=delete_job,
        summary="Delete a job: it takes no more runs; those that are there go on, and its versions stay",
        statuses=(204, 412),
        if_match=True,
        query=(REASON,),
    ),
    Route(
        method="POST",
        path=BASE + "/jobs/{name}/restore",
        permission=Permission.jobs_write,
        handler=restore_job,
        summary="Bring a deleted job back, or make an older version, with the code it ran, the newest again",
        statuses=(200, 412),
        if_match=True,
        request=Restore,
        response=JobView,
        accepts=RECORDS,
    ),
    Route(
        method="GET",
        path=BASE + "/jobs/{name}/versions",
        as_of=True,
        permission=Permission.jobs_read,
        handler=list_versions,
        summary="Every version of a job, newest first: when, by whom and why",
        response=JobVersionPage,
        query=PAGE,
    ),
    Route(
        method="GET",
        path=BASE + "/jobs/{name}/diff",
        permission=Permission.jobs_read,
        handler=diff_versions,
        summary="What two versions of a job differ in",
        response=JobDiffView,
        as_of=True,
        query=(
            Query("from", "the earlier version; default: the one before", Kind.whole),
            Query("to", "the later version; default: the newest", Kind.whole),
        ),
    ),
)
