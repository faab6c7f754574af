"""What a package was before: its versions and their bytes, going back to one, taking one or the whole name back.

Bytes stay as long as anything is pinned to them; what is taken back is only no longer found. Called through the route
table only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from msgspec import Meta

from headrace.codec.documents import Document
from headrace.control.api.answers import Told, ask_named
from headrace.control.api.call import Call, Reply
from headrace.control.api.incoming import WRITTEN_BY_SERVER, incoming_from
from headrace.control.api.packages import package_view
from headrace.control.api.records import Reason, Request
from headrace.control.api.table import BASE, PACKAGE_BODY_MAX, PAGE, REASON, RECORDS, ZIP, Route
from headrace.control.api.transfer import Plan, moved_problems, told_import
from headrace.control.api.views import moment
from headrace.control.auth import Permission
from headrace.control.catalog import read_catalog
from headrace.control.changes.jobs import JOB, PutJob, read_job
from headrace.control.changes.packages import PACKAGE, PackageRecord, RemovePackage, RollbackPackage, read_package
from headrace.control.changes.result import Result
from headrace.control.changes.together import Together
from headrace.model.errors import Conflict, Invalid, NotFound, Problem
from headrace.model.states import RunState
from headrace.model.views import ImportView, PackagePage, PackageView
from headrace.store.rows import Entity, RunFilter

USERS_TOLD = 20
RUNS_PAGES = 10
"""So many pages of runs that have not ended are looked at for users."""
_OPEN = tuple(int(state) for state in RunState if state < RunState.succeeded)


class Rollback(Request, frozen=True, kw_only=True):
    """``POST /packages/{name}/rollback``: to a version or a digest; without either to the version before."""

    version: Annotated[int, Meta(ge=1)] | None = None
    digest: str | None = None
    reason: Reason | None = None


class PackageJobs(Request, frozen=True, kw_only=True):
    """``POST /packages/{name}/jobs``: definitions of the jobs in the package, traced by who has its code."""

    definitions: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=1000)]
    reason: Reason | None = None


async def list_package_versions(call: Call) -> Reply:
    """``GET /packages/{name}/versions``: newest first."""
    name, limit = call.values["name"], call.limit()
    rows = await call.services.reader.entity_versions((PACKAGE, name), before=call.whole("cursor", 0), limit=limit)
    if not rows and call.text("cursor") is None:
        raise NotFound(f"there is no package {name[:100]!r}")
    following = str(rows[-1].version) if len(rows) == limit and rows[-1].version > 1 else None
    return Reply(PackagePage(items=[package_view(row) for row in rows], next_cursor=following))


async def get_digest(call: Call) -> Reply:
    """``GET /packages/{name}/{digest}``: what it has; its bytes where ``Accept`` asks for a zip."""
    row = await _version(call, digest=call.values["digest"])
    record = read_package(row.image)
    if call.accept != ZIP:
        return Reply(package_view(row))
    headers = (
        (b"content-length", str(record.size).encode()),
        (b"content-disposition", f'attachment; filename="{row.name}-{record.digest[:12]}.zip"'.encode()),
    )
    return Reply(media=ZIP, headers=headers, stream=call.services.blobs.stream(record.digest))


async def rollback_package(call: Call) -> Reply:
    """``POST /packages/{name}/rollback``: what is saved and submitted from now on gets the earlier code."""
    body: Rollback = call.body
    row = await _version(call, version=body.version, digest=body.digest)
    record = read_package(row.image)
    return await ask_named(call, RollbackPackage(row.name, record), partial(_told, row.name, record), why=body.reason)


def _told(name: str, record: PackageRecord, results: list[Result]) -> Told:
    saved = results[0].value
    view = PackageView(
        name=name,
        digest=record.digest,
        version=saved.version,
        size=record.size,
        created_at=moment(saved.created_at),
        tasks=list(record.tasks),
        jobs=list(record.jobs),
    )
    return Told(200, view, f"{BASE}/packages/{name}")


async def delete_package(call: Call) -> Reply:
    """``DELETE /packages/{name}``: 409 names the jobs and runs that use it."""
    name = call.values["name"]
    await _unused(call, name, "")
    return await ask_named(call, RemovePackage(name), lambda _: Told(204, None))


async def delete_digest(call: Call) -> Reply:
    """``DELETE /packages/{name}/{digest}``: the name will not mean it again."""
    row = await _version(call, digest=call.values["digest"])
    digest = read_package(row.image).digest
    await _unused(call, row.name, digest)
    return await ask_named(call, RemovePackage(row.name, digest), lambda _: Told(204, None))


async def post_package_jobs(call: Call) -> Reply:
    """``POST /packages/{name}/jobs``: saves these jobs, all or none, pinned to what the package is now."""
    body: PackageJobs = call.body
    name, catalog = call.values["name"], await read_catalog(call.services.reader)
    if name not in catalog.packages:
        raise NotFound(f"there is no package {name[:100]!r}")
    plan = Plan()
    for at, data in enumerate(body.definitions):
        plain = {key: value for key, value in data.items() if key not in WRITTEN_BY_SERVER}
        try:
            incoming = incoming_from(Document({"package": name, **plain}), catalog, allow_missing=False)
        except Invalid as error:
            plan.problems += moved_problems(error, f"definitions[{at}]")
            continue
        document = await call.services.ledger.document(incoming.definition)
        plan.names.append((JOB, incoming.definition.name))
        plan.changes.append(PutJob(incoming.definition, document))
    if len(set(plan.names)) < len(plan.names):
        plan.problems.append(Problem("definitions", "a name is there twice"))
    if plan.problems:
        raise Invalid(f"{len(plan.problems)} problems", problems=tuple(plan.problems))
    try:
        return await ask_named(call, Together(tuple(plan.changes)), partial(told_import, plan, False), why=body.reason)
    finally:
        for _, job in plan.names:
            call.services.jobs.forget(job)


async def _version(call: Call, *, version: int | None = None, digest: str | None = None) -> Entity:
    """A version by number or by digest (its beginning is enough), or the newest that had another digest than now."""
    name, reader = call.values["name"], call.services.reader
    now = await reader.entity((PACKAGE, name))
    if now is None or now.deleted_at:
        raise NotFound(f"there is no package {name[:100]!r}")
    record = read_package(now.image)
    before = 0
    while rows := await reader.entity_versions((PACKAGE, name), before=before):
        for row in rows:
            was = read_package(row.image)
            if version is not None or digest is not None:
                if version in (None, row.version) and (digest is None or _is(was.digest, digest)):
                    return row
            elif was.digest != record.digest and was.digest not in record.removed:
                return row
        before = rows[-1].version
    raise NotFound(f"package {name} has no such version")


def _is(digest: str, wanted: str) -> bool:
    return len(wanted) >= 8 and digest.startswith(wanted)


async def _unused(call: Call, name: str, digest: str) -> None:
    """Raise Conflict, naming them, while jobs or runs use the package (or that digest of it)."""
    users = [user async for user in _users(call, name, digest)]
    if users:
        what = f"package {name}" + (f" {digest[:12]}" if digest else "")
        raise Conflict(f"{what} is used by {', '.join(users)}" + (" …" if len(users) == USERS_TOLD else ""))


async def _users(call: Call, name: str, digest: str) -> AsyncIterator[str]:
    """At most USERS_TOLD of them."""
    told = 0
    async for who, graph in _graphs(call):
        if await _pins(call, graph, name, digest):
            yield who
            told += 1
            if told == USERS_TOLD:
                return


async def _graphs(call: Call) -> AsyncIterator[tuple[str, int]]:
    """Saved jobs and runs that have not ended, with the documents they use."""
    reader, after = call.services.reader, ""
    while rows := await reader.entities(JOB, after=after, limit=500):
        for row in rows:
            yield f"job {row.name}", read_job(row.image).graph
        after = rows[-1].name
    place: tuple[int, int] | None = None
    for _ in range(RUNS_PAGES):
        runs = await reader.runs(RunFilter(states=_OPEN, after=place, limit=500))
        for run in runs:
            yield f"run {run.cell.run}", run.cell.graph
        if len(runs) < 500:
            return
        place = (runs[-1].cell.created_at, runs[-1].cell.run)


async def _pins(call: Call, graph: int, name: str, digest: str) -> bool:
    found = (await call.services.graphs.load(graph)).definition.packages.get(name)
    return found is not None and (not digest or found == digest)


ROUTES = (
    Route(
        method="GET",
        path=BASE + "/packages/{name}/versions",
        permission=Permission.packages_read,
        handler=list_package_versions,
        summary="Every version of a package, newest first",
        response=PackagePage,
        as_of=True,
        query=PAGE,
    ),
    Route(
        method="GET",
        path=BASE + "/packages/{name}/{digest}",
        permission=Permission.packages_read,
        handler=get_digest,
        as_of=True,
        summary="One version of a package, or its bytes (`Accept: application/zip`)",
        response=PackageView,
        media=(*RECORDS, ZIP),
    ),
    Route(
        method="DELETE",
        path=BASE + "/packages/{name}",
        permission=Permission.packages_write,
        handler=delete_package,
        summary="Take a package back; refused, naming them, while jobs or runs use it",
        statuses=(204, 409),
        query=(REASON,),
    ),
    Route(
        method="DELETE",
        path=BASE + "/packages/{name}/{digest}",
        permission=Permission.packages_write,
        handler=delete_digest,
        summary="Take one earlier version of a package back; refused while jobs or runs use it",
        statuses=(204, 409),
        query=(REASON,),
    ),
    Route(
        method="POST",
        path=BASE + "/packages/{name}/rollback",
        permission=Permission.packages_write,
        handler=rollback_package,
        summary="The name means an earlier version again; what is pinned already stays as it is",
        statuses=(200, 409),
        request=Rollback,
        response=PackageView,
        accepts=RECORDS,
    ),
    Route(
        method="POST",
        path=BASE + "/packages/{name}/jobs",
        permission=Permission.jobs_write,
        handler=post_package_jobs,
        summary="Save the jobs of a package, all or none: their definitions, traced by who has the code",
        statuses=(200, 422),
        request=PackageJobs,
        response=ImportView,
        accepts=RECORDS,
        body_max=PACKAGE_BODY_MAX,
    ),
)
