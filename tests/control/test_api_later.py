"""Calls of the contract that a later version builds say so; after the credential, and nothing else is said to be one."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_world import World, run_async

from headrace.control.api.later import LATER
from headrace.control.api.router import Router
from headrace.control.api.routes import all_routes

CONTRACT = {
    "schedules": """GET,POST /schedules; GET,PUT,PATCH,DELETE /schedules/x; POST /schedules/x/restore; POST /schedules/x/pause;
        POST /schedules/x/resume; POST /schedules/x/skip; POST /schedules/x/fire; GET /schedules/x/preview; POST /schedules/simulate""",
    "calendars": """GET,POST /calendars; GET,PUT,PATCH,DELETE /calendars/x; POST /calendars/x/restore;
        GET /calendars/x/days""",
    "secrets": "GET,POST /secrets; GET,PUT,PATCH,DELETE /secrets/x; POST /secrets/x/restore",
    "subscriptions": "GET,POST /subscriptions; GET,PUT,PATCH,DELETE /subscriptions/x; POST /subscriptions/x/restore",
    "deliveries": "GET /deliveries; GET /deliveries/1; POST /deliveries/1/resend",
    "approvals": "GET /approvals; POST /runs/1/tasks/x/approve; POST /runs/1/tasks/x/reject",
    "agents": """GET,DELETE /agents/1; POST /agents/1/accept; POST /agents/1/drain; POST /agents/1/resume;
        GET /agents/1/metrics""",
    "agent tokens": "POST /agent-tokens; POST /agents/1/tokens",
}


def calls() -> list[tuple[str, str, str]]:
    found = []
    for noun, text in CONTRACT.items():
        for call in text.split(";"):
            methods, path = call.split()
            found.extend((noun, method, path) for method in methods.split(","))
    return found


@run_async
async def test_every_later_call_of_the_contract_says_not_available_yet(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for noun, method, path in calls():
            answer = await world.call(method, "/api/v1" + path, b"{}")
            assert answer.status == 501, (method, path, answer.body)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json["detail"].startswith(f"not available yet: {noun}"), (method, path, answer.body)
            assert (await world.call(method, "/api/v1" + path, b"{}", role=None)).status == 401


@run_async
async def test_what_no_version_knows_is_not_there(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        assert (await world.get("/schedules/x/y/z")).status == 404
        assert (await world.get("/nothing")).status == 404
        assert (await world.put("/schedules", {})).status == 404
        assert (await world.call("DELETE", "/api/v1/runs/1/tasks/x/approve")).status == 405


@pytest.mark.parametrize("route", LATER, ids=lambda r: f"{r.method} {r.path}")
def test_nothing_that_is_served_is_called_later(route: object) -> None:
    path, method = route.path, route.method  # type: ignore[attr-defined]
    found = Router(all_routes()).find(path)
    assert found is None or method not in found[0]
