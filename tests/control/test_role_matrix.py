"""Every route × every role × every credential, walked from the router. What is expected stands here, not in the product.

A new permission is for admins until a line of SHARED says otherwise; a route that changes something asks for more than
reading unless UNCHANGING names it; a route that asks for nothing is in PUBLIC.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from api_world import HELLO, PASSWORD, SECRET, World, run_async

from headrace.control.api.router import UNSAFE, Router
from headrace.control.api.routes import all_routes
from headrace.control.api.table import Route
from headrace.control.auth import ROLES, SESSION_US, Permission, Role
from headrace.control.changes.people import SetUser
from headrace.control.changes.tokens import RevokeToken
from headrace.control.credentials import mint_run_token, mint_token, put_token
from headrace.model.changes import SYSTEM
from headrace.model.views import ProblemView

ROUTES = all_routes()
PEOPLE = (Role.admin, Role.operator, Role.watcher)
SHARED: dict[str, set[Role]] = {
    "me": set(PEOPLE),
    "tokens:own": set(PEOPLE),
    "runs:submit": {Role.admin, Role.operator},
    "runs:stop": {Role.admin, Role.operator},
    "limits:pause": {Role.admin, Role.operator},
    "users:read": {Role.admin},
}
"""Who holds a permission, where it is not: what ends with ``:read`` everybody, anything else admins."""
UNCHANGING = {"POST /api/v1/jobs/check", "POST /api/v1/logout", "POST /api/v1/me/password", "POST /api/v1/login"}
"""Unsafe methods that ask for no more than reading, or for oneself."""
PUBLIC = {f"GET {base}/health/{what}" for base in ("", "/api/v1") for what in ("live", "ready")} | {
    "POST /api/v1/login"
}


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


def expected(permission: Permission) -> set[Role]:
    """The roles of people that hold it."""
    if permission is Permission.public:
        return set(PEOPLE)
    return SHARED.get(permission.value, set(PEOPLE) if permission.value.endswith(":read") else {Role.admin})


def wrong(roles: Mapping[Role, frozenset[Permission]]) -> list[str]:
    """Where a table of roles is not what is expected, for the routes there are and for what handlers ask themselves."""
    asked = [(name_of(r), r.permission) for r in ROUTES] + [(p.value, p) for p in Permission]
    return [
        f"{name} {role.value}"
        for name, permission in asked
        for role in PEOPLE
        if (permission in roles[role]) != (role in expected(permission))
    ]


def path_of(route: Route) -> str:
    path = route.path
    for name, value in (
        ("{id}", "1"),
        ("{name}", "hello"),
        ("{index}", "0"),
        ("{reference}", "m:f"),
        ("{path...}", "a/b"),
    ):
        path = path.replace(name, value)
    while "{" in path:
        path = path[: path.index("{")] + "say" + path[path.index("}") + 1 :]
    return path


def test_the_table_is_what_is_expected() -> None:
    assert wrong(ROLES) == []


@pytest.mark.parametrize("role", PEOPLE)
def test_the_matrix_is_red_without_any_one_permission_and_with_any_one_more(role: Role) -> None:
    for permission in Permission:
        assert wrong({**ROLES, role: ROLES[role] ^ {permission}}), (role, permission)


def test_a_run_token_reads_and_says_what_its_run_does_and_nothing_else() -> None:
    assert ROLES[Role.run] == {Permission.public, Permission.runs_read}
    assert all("{id}" in r.path for r in ROUTES if r.run_token)
    assert {name_of(r) for r in ROUTES if r.run_token and r.method != "GET"} == {"PATCH /api/v1/runs/{id}"}


def test_what_changes_something_asks_for_more_than_reading() -> None:
    for route in ROUTES:
        if route.method in UNSAFE and name_of(route) not in UNCHANGING:
            assert not route.permission.value.endswith(":read"), name_of(route)
            assert route.permission not in {Permission.public, Permission.me}, name_of(route)


def test_only_these_routes_are_public() -> None:
    assert {name_of(r) for r in ROUTES if r.permission is Permission.public} == PUBLIC


def test_a_route_without_a_permission_cannot_be_built() -> None:
    with pytest.raises(TypeError):
        Route(method="GET", path="/x", handler=lambda _: None, summary="")  # type: ignore[call-arg,arg-type]
    for nothing in (None, "", "runs:read", False):
        route = Route(method="GET", path="/x", permission=nothing, handler=lambda _: None, summary="")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="names no permission"):
            Router([route])


async def dead_credentials(world: World) -> dict[str, dict[str, str]]:
    """Headers that open nothing, by what is wrong with them."""
    ledger, now = world.node.ledger, world.node.clock.now()
    unknown, _ = mint_token()
    expired, expired_hash = mint_token()
    await ledger.change(put_token(expired_hash, "admin", expires_at=now + 1), SYSTEM)
    revoked = (await world.post("/tokens", {"name": "gone"})).json["token"]
    assert (await world.get("/runs", token=revoked)).status == 200
    await ledger.change(RevokeToken("gone"), SYSTEM)
    await world.user("left", Role.admin)
    left = (await world.login("left")).json["token"]
    lefts = (await world.post("/tokens", {"name": "lefts"}, token=left)).json["token"]
    await ledger.change(SetUser("left", disabled=True), SYSTEM)
    world.services.auth.forget()
    texts = {
        "unknown": unknown,
        "typing error": unknown[:-1] + ("0" if unknown[-1] != "0" else "1"),
        "expired": expired,
        "revoked": revoked,
        "session of a disabled user": left,
        "token of a disabled user": lefts,
        "expired run token": mint_run_token(SECRET, 1, 0, epoch=1, expires_at=now - 1),
        "run token of another store": mint_run_token(b"t" * 32, 1, 0, epoch=1, expires_at=2**60),
        "nothing of ours": "x" * 54,
    }
    found = {what: {"authorization": f"Bearer {text}"} for what, text in texts.items()}
    good = world.tokens[Role.admin]
    return found | {
        "none": {},
        "empty": {"authorization": ""},
        "basic": {"authorization": "Basic YWRtaW46YWRtaW4="},
        "a token in a cookie": {"cookie": f"headrace-8420={good}"},
        "a dead session in a cookie": {"cookie": f"headrace-8420={left}"},
        "a token in a header of its own": {"x-token": good},
    }


@run_async
async def test_no_good_credential_no_entry_on_any_route(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        dead = await dead_credentials(world)
        for route in ROUTES:
            for what, headers in dead.items():
                answer = await world.call(route.method, path_of(route), b"{}", role=None, headers=headers)
                if name_of(route) in PUBLIC:
                    assert answer.status in {200, 422, 503}, (name_of(route), what, answer.body)
                    continue
                assert answer.status == 401, (name_of(route), what, answer.body)
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert msgspec.json.decode(answer.body, type=ProblemView).status == 401
            if name_of(route) not in PUBLIC:
                token = world.tokens[Role.admin]
                query = await world.call(route.method, f"{path_of(route)}?token={token}", b"{}", role=None)
                assert query.status == 401, name_of(route)
        for path in ("/", "/nothing", "/api/v1/nothing", "/metrics", "/api/v1/users/x/y"):
            assert (await world.call("GET", path, role=None)).status == 401


@run_async
async def test_every_role_gets_through_where_the_matrix_says_and_nowhere_else(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for role in PEOPLE:
            await world.user(role.value, role)
        for route in ROUTES:
            for role in PEOPLE:
                allowed = role in expected(route.permission)
                answer = await world.call(route.method, path_of(route), b"{}", role=role)
                assert (answer.status != 403) is allowed, (name_of(route), role, answer.body)
                assert allowed or msgspec.json.decode(answer.body, type=ProblemView).status == 403


@run_async
async def test_a_session_may_what_its_role_may(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for role in (Role.operator, Role.watcher):
            await world.user(role.value, role)
            token = (await world.login(role.value)).json["token"]
            for route in ROUTES:
                if route.permission is Permission.me:
                    continue
                answer = await world.call(route.method, path_of(route), b"{}", token=token)
                assert (answer.status != 403) is (role in expected(route.permission)), (
                    name_of(route),
                    role,
                    answer.body,
                )
    assert SESSION_US
    assert PASSWORD


@run_async
async def test_a_run_token_opens_reading_routes_of_its_own_run_only(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        mine = (await world.post("/jobs/hello/runs", {})).json["id"]
        other = (await world.post("/jobs/hello/runs", {})).json["id"]
        token = mint_run_token(SECRET, mine, 0, epoch=1, expires_at=2**60)
        for route in ROUTES:
            for run in (mine, other):
                path = path_of(route).replace("/runs/1", f"/runs/{run}")
                answer = await world.call(route.method, path, b"{}", token=token)
                allowed = route.permission is Permission.public or (route.run_token and run == mine)
                assert (answer.status != 403) is allowed, (name_of(route), path, answer.body)
