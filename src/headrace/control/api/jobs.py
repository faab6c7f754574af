"""Saved jobs: save, check, read. A version is immutable; the ledger decides which version a save makes.

Called through the route table only.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from msgspec import structs

from headrace.codec.documents import Document, attach, definition_from
from headrace.codec.patches import merge_patch
from headrace.control.api.answers import Told, ask_named
from headrace.control.api.call import Call, Reply
from headrace.control.api.incoming import WRITTEN_BY_SERVER, Incoming, definition_of, document_of, named_definition
from headrace.control.api.job_list import job_view, list_jobs
from headrace.control.api.lookup import no_job
from headrace.control.api.records import CheckView, JobListing
from headrace.control.api.table import BASE, DOCUMENTS, MERGE_PATCH, PAGE, REASON, Kind, Query, Route
from headrace.control.api.views import moment
from headrace.control.aside import aside
from headrace.control.auth import Permission
from headrace.control.catalog import read_catalog, unpinned
from headrace.control.changes.jobs import JobSaved, PutJob
from headrace.control.changes.result import Result
from headrace.core.check import check, warnings
from headrace.model.definition import JobDefinition
from headrace.model.errors import Busy, Invalid, Outdated, Problem
from headrace.model.job_view import JobView

_MEANT = {"version": "; to change that version and no other, send it as If-Match"}
PATCH_TRIES = 5
"""So often a patch is made again of what somebody else saved meanwhile."""


async def post_job(call: Call) -> Reply:
    """``POST /jobs``: new 201, the same content 200, other content 409."""
    return await _save(call, await definition_of(call), create=True)


async def put_job(call: Call) -> Reply:
    """``PUT /jobs/{name}``: new 201, else 200; changed content is the next version."""
    return await _save(call, await definition_of(call, call.values["name"]), create=False)


async def _save(call: Call, incoming: Incoming, *, create: bool) -> Reply:
    services, definition = call.services, incoming.definition
    if create and definition.packages:
        definition = await _as_saved(call, definition)
    change = PutJob(
        definition,
        await services.ledger.document(definition),
        create=create,
        missing=incoming.missing,
        expected=None if create else call.expected(),
    )
    try:
        return await ask_named(call, change, partial(told_job, definition, incoming.missing))
    finally:
        services.jobs.forget(definition.name)


async def _as_saved(call: Call, definition: JobDefinition) -> JobDefinition:
    """The saved definition when it says the same about another version of the code: POST changes nothing then."""
    saved = await call.services.jobs.get(definition.name)
    if saved is None:
        return definition
    known = await call.services.graphs.load(saved.record.graph)
    return known.definition if unpinned(known.definition) == unpinned(definition) else definition


def told_job(definition: JobDefinition, missing: tuple[str, ...], results: list[Result]) -> Told:
    """What the caller is told of a job that was saved."""
    saved: JobSaved = results[0].value
    view = JobView(
        **structs.asdict(definition),
        version=saved.version,
        created_at=moment(saved.created_at),
        updated_at=moment(saved.updated_at),
        waits_for=list(missing),
    )
    return Told(201 if saved.outcome == "new" else 200, view, f"{BASE}/jobs/{definition.name}")


async def patch_job(call: Call) -> Reply:
    """``PATCH /jobs/{name}``: a JSON merge patch of the newest version; the result is checked whole."""
    name, jobs = call.values["name"], call.services.jobs
    document = await document_of(call)
    if not isinstance(document.data, dict):
        raise Invalid("a merge patch of a job is an object", malformed=True)
    wanted = call.expected()
    for _ in range(PATCH_TRIES):
        saved = await jobs.get(name)
        if saved is None:
            raise await no_job(call, name)
        known = await call.services.graphs.load(saved.record.graph)
        _refuse_ours(document.data, msgspec.to_builtins(await job_view(call, saved)))
        patched = merge_patch(msgspec.to_builtins(unpinned(known.definition)), document.data)
        allow = bool(saved.record.missing) or call.yes("allow_missing")
        whole = Document(patched, size=known.size + document.size)
        incoming = await named_definition(call, whole, name, allow_missing=allow)
        kept = await call.services.ledger.document(incoming.definition)
        expected = saved.row.version if wanted is None else wanted
        change = PutJob(incoming.definition, kept, missing=incoming.missing, expected=expected)
        try:
            return await ask_named(call, change, partial(told_job, incoming.definition, incoming.missing))
        except Outdated:
            # somebody saved it between our reading and writing: the patch is made again of what they saved
            if wanted is not None:
                raise
        finally:
            jobs.forget(name)
    raise Busy(f"job {name} is being changed by others all the time: try again")


def _refuse_ours(patch: dict[str, Any], there: dict[str, Any]) -> None:
    """A patch may repeat what the server wrote, not say otherwise: whoever does means what will not happen."""
    problems = [
        Problem(field, f"is written by the server, now {there.get(field)!r}: leave it out{_MEANT.get(field, '')}")
        for field in WRITTEN_BY_SERVER
        if field in patch and msgspec.to_builtins(patch[field]) != there.get(field)
    ]
    if problems:
        raise Invalid("a patch changes what is the job's own", problems=tuple(problems))


async def get_job(call: Call) -> Reply:
    """``GET /jobs/{name}``, the newest version or ``?version=``."""
    name = call.values["name"]
    version = call.whole("version", 0, least=1)
    jobs = call.services.jobs
    saved = await (jobs.version(name, version) if version else jobs.get(name))
    if saved is None:
        raise await no_job(call, name, version or None)
    return Reply(await job_view(call, saved), headers=((b"etag", b'"%d"' % saved.row.version),))


async def check_job(call: Call) -> Reply:
    """``POST /jobs/check``: every problem and warning, nothing saved; 200 whatever was found."""
    try:
        document = await document_of(call)
        if isinstance(document.data, dict):
            data = {key: value for key, value in document.data.items() if key not in WRITTEN_BY_SERVER}
            document = structs.replace(document, data=data)
        catalog = await read_catalog(call.services.reader)
        rules = partial(check, known_tasks=catalog.tasks)
        definition = await aside(document.size, partial(definition_from, document, rules))
    except Invalid as error:
        problems = list(error.problems) or [Problem("", error.message)]
        return Reply(CheckView(ok=False, problems=problems))
    return Reply(CheckView(ok=True, warnings=attach(warnings(definition), document.positions), name=definition.name))


ALLOW_MISSING = Query("allow_missing", "Python tasks may be registered later; the job waits for them", Kind.yes)
ROUTES = (
    Route(
        method="POST",
        path=BASE + "/jobs",
        permission=Permission.jobs_write,
        handler=post_job,
        summary="Save a new job; the same content again changes nothing, other content is refused (use PUT)",
        statuses=(201, 200, 409, 422),
        response=JobView,
        body=JobDefinition,
        accepts=DOCUMENTS,
        query=(ALLOW_MISSING, REASON),
    ),
    Route(
        method="GET",
        path=BASE + "/jobs",
        as_of=True,
        permission=Permission.jobs_read,
        handler=list_jobs,
        summary="Saved jobs, by name or by their last change; a page may be short and have a next one",
        response=JobListing,
        query=(
            Query("q", "with this text in name or description"),
            Query("label", "with this label, name=value; may be repeated"),
            Query("deleted", "those that were deleted instead", Kind.yes),
            Query("sort", "`name` (default), `-name`, `updated_at` or `-updated_at`"),
            *PAGE,
        ),
    ),
    Route(
        method="POST",
        path=BASE + "/jobs/check",
        permission=Permission.jobs_read,
        handler=check_job,
        summary="Every problem and warning of a definition; saves nothing",
        response=CheckView,
        body=JobDefinition,
        accepts=DOCUMENTS,
    ),
    Route(
        method="GET",
        path=BASE + "/jobs/{name}",
        as_of=True,
        permission=Permission.jobs_read,
        handler=get_job,
        summary="A saved job: its definition, version and instants",
        response=JobView,
        statuses=(200,),
        query=(Query("version", "an older version", Kind.whole),),
    ),
    Route(
        method="PUT",
        path=BASE + "/jobs/{name}",
        permission=Permission.jobs_write,
        handler=put_job,
        summary="Save a job; changed content makes the next version",
        statuses=(200, 201, 412, 422),
        response=JobView,
        body=JobDefinition,
        accepts=DOCUMENTS,
        query=(ALLOW_MISSING, REASON),
        if_match=True,
    ),
    Route(
        method="PATCH",
        path=BASE + "/jobs/{name}",
        permission=Permission.jobs_write,
        handler=patch_job,
        summary="Change parts of a job: a JSON merge patch (RFC 7396); what comes out is checked whole",
        statuses=(200, 412, 422),
        response=JobView,
        accepts=(MERGE_PATCH, *DOCUMENTS),
        query=(ALLOW_MISSING, REASON),
        if_match=True,
    ),
)
