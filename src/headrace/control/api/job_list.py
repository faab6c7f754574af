"""``GET /jobs``: saved jobs by name or by their last change. A page looks at a bounded number of jobs."""

from __future__ import annotations

from msgspec import structs

from headrace.control.api.call import Call, Reply
from headrace.control.api.records import JobListing
from headrace.control.api.views import instant, moment
from headrace.control.changes.jobs import JOB, JobRecord, read_job
from headrace.control.saved import Saved
from headrace.model.errors import Invalid, Problem
from headrace.model.job_view import JobView
from headrace.store.listing import PAGE_SIZE
from headrace.store.rows import Entity

SORTS = ("name", "-name", "updated_at", "-updated_at")
LOOKED_MAX = 2_000
"""So many jobs are looked at for one page; it may end short and have a next one."""


async def job_view(call: Call, saved: Saved) -> JobView:
    """A job as it is shown."""
    known = await call.services.graphs.load(saved.record.graph)
    row = saved.row
    return JobView(
        **structs.asdict(known.definition),
        version=row.version,
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
        deleted_at=instant(row.deleted_at),
        waits_for=list(saved.record.missing),
    )


async def list_jobs(call: Call) -> Reply:
    """By name unless ``sort`` says otherwise."""
    limit, deleted = call.limit(), call.yes("deleted")
    sort = call.text("sort") or "name"
    if sort not in SORTS:
        raise _bad("sort", f"must be one of {', '.join(SORTS)}")
    if sort != "name" and "as_of" in call.query:
        raise _bad("sort", "of an instant is by name only")
    sought, labels = call.text("q"), labels_of(call)
    after = _place(sort, call.text("cursor"))
    items: list[JobView] = []
    looked = size = 0
    while looked < LOOKED_MAX:
        rows = await _rows(call, sort, after, limit=min(500, max(limit, 100)))
        for row in rows:
            looked += 1
            after = (row.updated_at, row.name)
            record = read_job(row.image)
            if bool(row.deleted_at) is deleted and _fits(row.name, record, sought, labels):
                items.append(await job_view(call, Saved(row, record)))
                size += (await call.services.graphs.load(record.graph)).size
                if len(items) == limit or size >= PAGE_SIZE:
                    return Reply(JobListing(items=items, next_cursor=_cursor(sort, after)))
        if not rows:
            return Reply(JobListing(items=items))
    return Reply(JobListing(items=items, next_cursor=_cursor(sort, after)))


async def _rows(call: Call, sort: str, after: tuple[int, str] | None, limit: int) -> list[Entity]:
    reader = call.services.reader
    if sort == "name":
        return await reader.entities(JOB, after="" if after is None else after[1], limit=limit, deleted=True)
    return await reader.jobs_by(sort.removeprefix("-"), after, ascending=not sort.startswith("-"), limit=limit)


def _fits(name: str, record: JobRecord, sought: str | None, labels: dict[str, str]) -> bool:
    told = sought is None or sought.lower() in name or sought.lower() in record.description.lower()
    return told and labels.items() <= record.labels.items()


def labels_of(call: Call) -> dict[str, str]:
    """The labels that are asked for; of several all must be there."""
    found = {}
    for text in call.query.get("label", ()):
        for pair in text.split(","):
            name, equals, value = pair.partition("=")
            if not equals or not name:
                raise _bad("label", "must be written name=value")
            found[name] = value
    return found


def _cursor(sort: str, place: tuple[int, str] | None) -> str | None:
    if place is None:
        return None
    return place[1] if sort.endswith("name") else f"{place[0]}.{place[1]}"


def _place(sort: str, cursor: str | None) -> tuple[int, str] | None:
    if not cursor:
        return None
    if sort.endswith("name"):
        return 0, cursor
    at, dot, name = cursor.partition(".")
    if not dot or not at.isascii() or not at.isdigit() or len(at) > 18:
        raise _bad("cursor", "is not one of ours")
    return int(at), name


def _bad(name: str, message: str) -> Invalid:
    return Invalid(f"query parameter {name}: {message}", problems=(Problem(f"query.{name}", message),), malformed=True)
