"""Health, version, and the API's description of itself."""

from __future__ import annotations

import platform
from functools import partial

import msgspec

import headrace
from headrace.codec.schema import schemas
from headrace.control.api.call import Call, Reply
from headrace.control.api.table import BASE, JSON, Handler, Route
from headrace.control.auth import Permission
from headrace.model.errors import Busy
from headrace.model.views import HealthView, VersionView


async def live(call: Call) -> Reply:
    """``GET /health/live``: the process answers."""
    return Reply(HealthView(status="live"))


async def ready(call: Call) -> Reply:
    """``GET /health/ready``: it makes progress: the store answers and nothing keeps the ledger from committing."""
    problems = list(call.services.ready())
    if problems:
        raise Busy(f"not ready: {'; '.join(problems)}")
    await call.services.reader.counts()
    return Reply(HealthView(status="ready"))


async def version(call: Call) -> Reply:
    """``GET /version``."""
    services = call.services
    return Reply(
        VersionView(
            version=headrace.__version__,
            python=platform.python_version(),
            store=services.store_name,
            settings=dict(services.store_settings),
        )
    )


async def _schema(noun: str, call: Call) -> Reply:
    return Reply(schemas()[noun])


async def _document(document: bytes, call: Call) -> Reply:
    if call.accept == JSON:
        return Reply(body=document, media=JSON)
    return Reply(msgspec.json.decode(document))


def openapi_route(document: bytes) -> Route:
    """The route that serves the OpenAPI document of all the others."""
    return Route(
        method="GET",
        path="/api/openapi.json",
        permission=Permission.system_read,
        handler=partial(_document, document),
        summary="This description",
    )


def _public(path: str, handler: Handler) -> Route:
    return Route(
        method="GET",
        path=path,
        permission=Permission.public,
        handler=handler,
        summary="Whether the server " + ("makes progress" if path.endswith("ready") else "answers"),
        statuses=(200, 503) if path.endswith("ready") else (200,),
        response=HealthView,
    )


ROUTES = (
    *(_public(prefix + "/health/live", live) for prefix in (BASE, "")),
    *(_public(prefix + "/health/ready", ready) for prefix in (BASE, "")),
    Route(
        method="GET",
        path=BASE + "/version",
        permission=Permission.system_read,
        handler=version,
        summary="Which Headrace this is",
        response=VersionView,
    ),
    *(
        Route(
            method="GET",
            path=f"/api/schemas/{noun}.json",
            permission=Permission.system_read,
            handler=partial(_schema, noun),
            summary=f"The JSON Schema of a {noun} as a document",
        )
        for noun in ("job", "schedule", "calendar", "subscription")
    ),
)
