"""Registered code: packages, and the tasks found in them. The bytes are read and scanned, never imported.

Called through the route table only.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from functools import partial

from headrace.codec.scan import scan
from headrace.control.api.answers import Told, ask_named
from headrace.control.api.call import Call, Reply
from headrace.control.api.cursors import cursor_of, place_of
from headrace.control.api.table import BASE, BYTES, PACKAGE_BODY_MAX, PAGE, ZIP, Query, Route
from headrace.control.api.views import moment
from headrace.control.auth import Permission
from headrace.control.changes.packages import PACKAGE, PackageSaved, PutPackage, read_package
from headrace.control.changes.result import Result
from headrace.control.missing import package_arrived
from headrace.model.errors import Invalid, NotFound, Problem
from headrace.model.views import PackagePage, PackageView, TaskName, TaskNamePage
from headrace.store.port import Reader
from headrace.store.rows import Entity

PACKAGES_AT_ONCE = 500

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


async def put_package(call: Call) -> Reply:
    """``PUT /packages/{name}``: the bytes of a zip or wheel; the same bytes again change nothing."""
    name = call.values["name"]
    if not _NAME.fullmatch(name):
        raise Invalid("1 problem", problems=(Problem("name", "lower-case letters, digits, _ and -, at most 63"),))
    # reading and scanning 64 MiB takes seconds: apart, so that nobody else waits
    tasks, jobs = await asyncio.to_thread(_found, call.raw)
    digest, size = await call.services.blobs.put(call.raw)
    change = PutPackage(name, digest, size, tasks, jobs)
    reply = await ask_named(call, change, partial(_told, change))
    await package_arrived(call.services)
    return reply


def _told(change: PutPackage, results: list[Result]) -> Told:
    saved: PackageSaved = results[0].value
    view = PackageView(
        name=change.name,
        digest=change.digest,
        version=saved.version,
        size=change.size,
        created_at=moment(saved.created_at),
        tasks=list(change.tasks),
        jobs=list(change.jobs),
    )
    return Told(201 if saved.outcome == "new" else 200, view, f"{BASE}/packages/{change.name}")


def _found(data: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """References of tasks and jobs in a package. Raises Invalid or TooLarge for a bad archive."""
    found = scan(data)
    return tuple(task.reference for task in found.tasks), tuple(found.jobs)


async def list_packages(call: Call) -> Reply:
    """``GET /packages``: by name."""
    limit = call.limit()
    rows = await call.services.reader.entities(PACKAGE, after=call.text("cursor") or "", limit=limit)
    return Reply(
        PackagePage(
            items=[package_view(row) for row in rows], next_cursor=rows[-1].name if len(rows) == limit else None
        )
    )


async def get_package(call: Call) -> Reply:
    """``GET /packages/{name}``."""
    name = call.values["name"]
    row = await call.services.reader.entity((PACKAGE, name))
    if row is None or row.deleted_at:
        raise NotFound(f"there is no package {name[:100]!r}")
    return Reply(package_view(row))


async def list_task_names(call: Call) -> Reply:
    """``GET /tasks``: every registered task."""
    limit, sought = call.limit(), call.text("q")
    package, reference = place_of(call.text("cursor"), tuple[str, str]) or ("", "")
    items: list[TaskName] = []
    async for row in _packages(call.services.reader, package):
        record = read_package(row.image)
        for name in sorted(record.tasks):
            if (row.name, name) <= (package, reference) or (sought is not None and sought not in name):
                continue
            if len(items) == limit:
                return Reply(TaskNamePage(items=items, next_cursor=cursor_of((items[-1].package, items[-1].reference))))
            items.append(TaskName(reference=name, package=row.name, digest=record.digest))
    return Reply(TaskNamePage(items=items))


async def _packages(reader: Reader, first: str) -> AsyncIterator[Entity]:
    """Every package from this name on, by name."""
    after = first
    if first and (row := await reader.entity((PACKAGE, first))) is not None and not row.deleted_at:
        yield row
    while rows := await reader.entities(PACKAGE, after=after, limit=PACKAGES_AT_ONCE):
        for row in rows:
            yield row
        after = rows[-1].name


def package_view(row: Entity) -> PackageView:
    """A package, or a version of one, as it is shown."""
    record = read_package(row.image)
    return PackageView(
        name=row.name,
        digest=record.digest,
        version=row.version,
        size=record.size,
        created_at=moment(row.created_at),
        tasks=list(record.tasks),
        jobs=list(record.jobs),
    )


ROUTES = (
    Route(
        method="PUT",
        path=BASE + "/packages/{name}",
        permission=Permission.packages_write,
        handler=put_package,
        summary="Register code under a name: a zip or wheel, read and scanned but never imported here",
        statuses=(200, 201, 422),
        response=PackageView,
        accepts=(ZIP, BYTES),
        body_max=PACKAGE_BODY_MAX,
    ),
    Route(
        method="GET",
        path=BASE + "/packages",
        as_of=True,
        permission=Permission.packages_read,
        handler=list_packages,
        summary="Registered packages, by name",
        response=PackagePage,
        query=PAGE,
    ),
    Route(
        method="GET",
        path=BASE + "/packages/{name}",
        as_of=True,
        permission=Permission.packages_read,
        handler=get_package,
        summary="A package: its digest, tasks and jobs",
        response=PackageView,
    ),
    Route(
        method="GET",
        path=BASE + "/tasks",
        permission=Permission.tasks_read,
        handler=list_task_names,
        summary="Every task of every registered package",
        response=TaskNamePage,
        query=(*PAGE, Query("q", "references that contain this text")),
    ),
)
