"""Export and import: every definition as one document that people edit by hand, and back, all of it or nothing.

Jobs as their authors wrote them (no digests), limits, users without passwords. What a document does not name is left
alone. Called through the route table only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, ClassVar, Literal

from msgspec import Struct, field, structs

from headrace.codec.documents import Document, attach
from headrace.codec.shape import shape
from headrace.control.api.answers import Told, ask_named
from headrace.control.api.call import Call, Reply
from headrace.control.api.incoming import WRITTEN_BY_SERVER, document_of, incoming_from
from headrace.control.api.table import BASE, DOCUMENTS, IMPORT_BODY_MAX, REASON, Kind, Query, Route
from headrace.control.aside import aside
from headrace.control.auth import Permission
from headrace.control.catalog import Catalog, read_catalog, unpinned
from headrace.control.changes.jobs import JOB, PutJob, read_job
from headrace.control.changes.limits import PutLimit, read_limit
from headrace.control.changes.named import NamedChange
from headrace.control.changes.people import USER, SetUser, read_user
from headrace.control.changes.result import Result
from headrace.control.changes.together import Together
from headrace.core.limits import body_of, limit_of
from headrace.model.definition import JobDefinition
from headrace.model.document import Name
from headrace.model.errors import Invalid, Problem
from headrace.model.limits import LIMIT, LimitBody
from headrace.model.views import ImportedItem, ImportView, View
from headrace.store.rows import Entity

ITEMS_MAX = 20_000
_NOUNS = ("jobs", "limits", "users")


class LimitItem(LimitBody, frozen=True, kw_only=True):
    """A limit of an export."""

    name: Name


class UserItem(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A user of an export. Passwords are never in it: those that are there stay."""

    edn_namespace: ClassVar[str] = "user"

    name: Name
    role: Literal["admin", "operator", "watcher"] = "watcher"
    description: str = ""
    disabled: bool = False


class ExportView(View, kw_only=True, frozen=True):
    """Every definition: jobs as they were written, limits, users without passwords. Made to be edited by hand."""

    headrace: str = "export"
    revision: int = 1
    jobs: list[JobDefinition] = field(default_factory=list)
    limits: list[LimitItem] = field(default_factory=list)
    users: list[UserItem] = field(default_factory=list)


class Plan(Struct):
    """What an import is going to ask for. ``waits``: what jobs wait for, by name."""

    names: list[tuple[str, str]] = []
    changes: list[NamedChange] = []
    problems: list[Problem] = []
    waits: dict[str, list[str]] = {}


async def get_export(call: Call) -> Reply:
    """``GET /export``."""
    services = call.services
    jobs, users = [], []
    async for row in _all(call, JOB):
        known = await services.graphs.load(read_job(row.image).graph)
        jobs.append(unpinned(known.definition))
    limits = [
        LimitItem(name=row.name, **structs.asdict(body_of(read_limit(row.image)))) async for row in _all(call, LIMIT)
    ]
    async for row in _all(call, USER):
        user = read_user(row.image)
        item = UserItem(name=row.name, role=user.role, description=user.description, disabled=user.disabled)  # type: ignore[arg-type]  # a role that the server wrote
        users.append(item)
    return Reply(ExportView(jobs=jobs, limits=limits, users=users))


async def _all(call: Call, kind: str) -> AsyncIterator[Entity]:
    after = ""
    while rows := await call.services.reader.entities(kind, after=after, limit=500):
        for row in rows:
            yield row
        after = rows[-1].name


async def post_import(call: Call) -> Reply:
    """``POST /import``: everything is checked first; then all of it is written in one commit, or nothing."""
    document = await document_of(call, ExportView)
    plan = await _plan(call, document)
    if plan.problems:
        count = "1 problem" if len(plan.problems) == 1 else f"{len(plan.problems)} problems"
        placed = await aside(document.size, partial(attach, plan.problems, document.positions))
        raise Invalid(f"the document has {count}", problems=tuple(placed))
    dry = call.yes("dry_run")
    try:
        return await ask_named(call, Together(tuple(plan.changes), dry), partial(told_import, plan, dry))
    finally:
        for noun, name in plan.names:
            if noun == JOB:
                call.services.jobs.forget(name)
        call.services.auth.forget()


def told_import(plan: Plan, dry: bool, results: list[Result]) -> Told:
    """What the caller is told, item by item."""
    outcomes: list[str] = results[0].value
    items = [
        ImportedItem(kind=noun, name=name, outcome=outcome, waits_for=plan.waits.get(name, []) if noun == JOB else [])
        for (noun, name), outcome in zip(plan.names, outcomes, strict=True)
    ]
    return Told(200, ImportView(items=items, dry_run=dry))


async def _plan(call: Call, document: Document) -> Plan:
    """The changes that make the server hold what the document says, and every problem of it."""
    data = document.data
    if not isinstance(data, dict):
        raise Invalid("an export is an object with jobs, limits, users", malformed=True)
    plan = Plan()
    for key in data.keys() - {*_NOUNS, "headrace", "revision"}:
        plan.problems.append(Problem(str(key), f"is not known here; an export has {', '.join(_NOUNS)}"))
    if data.get("revision", 1) != 1:
        plan.problems.append(Problem("revision", "this Headrace reads revision 1: upgrade it"))
    catalog = await read_catalog(call.services.reader)
    for noun in _NOUNS:
        items = data.get(noun, [])
        if not isinstance(items, list) or len(items) > ITEMS_MAX:
            plan.problems.append(Problem(noun, f"must be a list of at most {ITEMS_MAX}"))
            continue
        for at, item in enumerate(items):
            try:
                await _item(call, plan, noun, item, catalog)
            except Invalid as error:
                plan.problems += moved_problems(error, f"{noun}[{at}]")
    _once(plan)
    return plan


async def _item(call: Call, plan: Plan, noun: str, item: Any, catalog: Catalog) -> None:
    change: NamedChange
    if noun == "jobs":
        if not isinstance(item, dict):
            raise Invalid("a job is an object")
        plain = {key: value for key, value in item.items() if key not in WRITTEN_BY_SERVER}
        incoming = incoming_from(Document(plain), catalog, allow_missing=True)
        definition = await _as_pinned(call, incoming.definition)
        document = await call.services.ledger.document(definition)
        plan.names.append((JOB, definition.name))
        plan.waits[definition.name] = list(incoming.missing)
        change = PutJob(definition, document, missing=incoming.missing)
    elif noun == "limits":
        limit = shape(item, LimitItem)
        plan.names.append((LIMIT, limit.name))
        body = LimitBody(**{k: v for k, v in structs.asdict(limit).items() if k != "name"})
        change = PutLimit(limit.name, limit_of(body))
    else:
        user = shape(item, UserItem)
        plan.names.append((USER, user.name))
        change = SetUser(user.name, user.role, description=user.description, disabled=user.disabled)
    plan.changes.append(change)


async def _as_pinned(call: Call, definition: Any) -> Any:
    """The saved definition where it says the same: an import does not move a job to newer code."""
    saved = await call.services.jobs.get(definition.name)
    if saved is None or not definition.packages:
        return definition
    known = await call.services.graphs.load(saved.record.graph)
    return known.definition if unpinned(known.definition) == unpinned(definition) else definition


def _once(plan: Plan) -> None:
    seen: set[tuple[str, str]] = set()
    for noun, name in plan.names:
        if (noun, name) in seen:
            plan.problems.append(Problem(f"{noun}s", f"{name!r} is there twice"))
        seen.add((noun, name))


def moved_problems(error: Invalid, path: str) -> list[Problem]:
    """The error's problems with ``path`` in front."""
    if not error.problems:
        return [Problem(path, error.message)]
    return [structs.replace(p, path=f"{path}.{p.path}" if p.path else path) for p in error.problems]


ROUTES = (
    Route(
        method="GET",
        path=BASE + "/export",
        permission=Permission.system_transfer,
        handler=get_export,
        summary="Every definition as one document: jobs, limits, users without passwords",
        response=ExportView,
    ),
    Route(
        method="POST",
        path=BASE + "/import",
        permission=Permission.system_transfer,
        handler=post_import,
        summary="Make what such a document says so: all of it, or nothing; what it does not name is left alone",
        statuses=(200, 422),
        response=ImportView,
        body=ExportView,
        accepts=DOCUMENTS,
        body_max=IMPORT_BODY_MAX,
        query=(Query("dry_run", "check and tell what would change; write nothing", Kind.yes), REASON),
    ),
)
