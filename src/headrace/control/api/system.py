"""Health, version, and the API's description of itself."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Sequence
from functools import partial

import msgspec

import headrace
from headrace.codec.schema import schemas
from headrace.control.api.call import Call, Reply
from headrace.control.api.openapi import openapi
from headrace.control.api.table import BASE, HTML, JSON, Handler, Route
from headrace.control.api.views import instant
from headrace.control.auth import Permission
from headrace.core.eligible import places_free
from headrace.model.errors import Busy
from headrace.model.views import HealthView, ReadyView, VersionView

ONLY_STYLE = b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""A page may use its own style and nothing else."""


async def live(call: Call) -> Reply:
    """``GET /health/live``: the process answers."""
    return Reply(HealthView(status="live"))


async def ready(call: Call) -> Reply:
    """``GET /health/ready``: it makes progress: the store answers and nothing keeps the ledger from committing."""
    problems = list(call.services.ready())
    if problems:
        raise Busy(f"not ready: {'; '.join(problems)}")
    services = call.services
    counts = await services.counts.get(services.reader.counts, services.clock.monotonic())
    free = places_free(services.offers())
    stalled = services.progress.look(counts["ready"], free, services.clock.now())
    return Reply(
        ReadyView(
            status="ready",
            runs_open=counts["runs"],
            tasks_ready=counts["ready"],
            tasks_leased=counts["leased"],
            slots_free=free,
            changes_wait_seconds=services.ledger.stuck_for,
            nothing_begins_since=instant(stalled),
        )
    )


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


class Description:
    """The OpenAPI document of the whole table and the pages made of it: worked out when somebody asks, and kept."""

    def __init__(self) -> None:
        self._routes: tuple[Route, ...] = ()
        self._json = b""
        self._page = b""

    def of(self, routes: Sequence[Route]) -> tuple[Route, ...]:
        """The table with the routes that describe it."""
        path = "/api/openapi.json"
        everybody = Permission.system_read
        self._routes = (
            *routes,
            Route(method="GET", path=path, permission=everybody, handler=self._document, summary="This description"),
            Route(
                method="GET",
                path="/api/docs",
                permission=everybody,
                handler=self._pages,
                summary="This description as a page for people",
                media=(HTML,),
            ),
        )
        return self._routes

    async def _document(self, call: Call) -> Reply:
        text = await asyncio.to_thread(self._text)
        return Reply(body=text, media=JSON) if call.accept == JSON else Reply(msgspec.json.decode(text))

    async def _pages(self, call: Call) -> Reply:
        if not self._page:
            from headrace.control.api.pages import docs_page  # 0.6 MB for who reads the pages

            self._page = docs_page(msgspec.json.decode(await asyncio.to_thread(self._text)))
        return Reply(body=self._page, media=HTML, headers=((b"content-security-policy", ONLY_STYLE),))

    def _text(self) -> bytes:
        if not self._json:
            self._json = msgspec.json.encode(openapi(self._routes))
        return self._json


def _public(path: str, handler: Handler) -> Route:
    return Route(
        method="GET",
        path=path,
        permission=Permission.public,
        handler=handler,
        summary="Whether the server " + ("makes progress" if path.endswith("ready") else "answers"),
        statuses=(200, 503) if path.endswith("ready") else (200,),
        response=ReadyView if path.endswith("ready") else HealthView,
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
        for noun in ("job", "schedule", "calendar", "subscription", "config")
    ),
)
