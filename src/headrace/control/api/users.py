"""Users: who may log in, and as what. A password comes in, is hashed in a thread, and is never shown or kept.

Called through the route table only.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType, structs

from headrace.control.api.answers import Told, ask_named
from headrace.control.api.call import Call, Reply
from headrace.control.api.records import Request
from headrace.control.api.table import BASE, MERGE_PATCH, PAGE, REASON, RECORDS, Route
from headrace.control.api.views import moment
from headrace.control.auth import Permission
from headrace.control.changes.people import USER, DeleteUser, SetUser, UserSaved, read_user
from headrace.control.changes.result import Result
from headrace.control.passwords import check_password
from headrace.model.document import Name
from headrace.model.errors import Forbidden, Invalid, NotFound, Problem
from headrace.model.people import UserPage, UserView
from headrace.store.rows import Entity

RoleName = Literal["admin", "operator", "watcher"]
Password = Annotated[str, Meta(max_length=1024, description="at least 10 characters; kept as argon2id only")]
Description = Annotated[str, Meta(max_length=1024)]


class NewUser(Request, frozen=True, kw_only=True):
    """``POST /users``. Without a password nobody can log in by that name."""

    edn_namespace: ClassVar[str] = "user"

    name: Name
    role: RoleName = "watcher"
    password: Password | None = None
    description: Description = ""
    disabled: bool = False


class UserBody(Request, frozen=True, kw_only=True):
    """``PUT /users/{name}``: the whole user, made or replaced. A password that is left out stays as it is."""

    edn_namespace: ClassVar[str] = "user"

    name: str | UnsetType = UNSET
    role: RoleName = "watcher"
    password: Password | UnsetType | None = UNSET
    description: Description = ""
    disabled: bool = False


class UserPatch(Request, frozen=True, kw_only=True):
    """``PATCH /users/{name}``: what is to change. A password of null takes it away."""

    edn_namespace: ClassVar[str] = "user"

    role: RoleName | UnsetType = UNSET
    password: Password | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    disabled: bool | UnsetType = UNSET


class NewPassword(Request, frozen=True, kw_only=True):
    """``POST /me/password``."""

    old: Annotated[str, Meta(max_length=1024)]
    new: Password


async def post_user(call: Call) -> Reply:
    """``POST /users``: new 201, there already 409."""
    body: NewUser = call.body
    return await _set(call, body, SetUser(body.name, body.role, create=True))


async def put_user(call: Call) -> Reply:
    """``PUT /users/{name}``: made 201, replaced 200."""
    body: UserBody = call.body
    name = _name(call)
    if body.name is not UNSET and body.name != name:
        raise Invalid("1 problem", problems=(Problem("name", f"the path says {name!r}: a user keeps their name"),))
    return await _set(call, body, SetUser(name, body.role))


async def patch_user(call: Call) -> Reply:
    """``PATCH /users/{name}``."""
    body: UserPatch = call.body
    return await _set(call, body, SetUser(_name(call), body.role, must_exist=True))


async def _set(call: Call, body: NewUser | UserBody | UserPatch, change: SetUser) -> Reply:
    password = body.password
    hide_password(call)
    kept: str | UnsetType = UNSET
    if password is None:
        kept = "" if not isinstance(body, NewUser) else UNSET
    elif password is not UNSET:
        check_password(password, change.name)
        kept = await call.services.passwords.keep(password)
    description = "" if body.description is None else body.description
    change = structs.replace(change, password=kept, description=description, disabled=body.disabled)
    try:
        return await ask_named(call, change, _told)
    finally:
        call.services.auth.forget()


def hide_password(call: Call) -> None:
    """What an idempotency key remembers of a request is a plain digest: no password may be guessed from it."""
    hidden = {k: v for k, v in structs.asdict(call.body).items() if k not in {"password", "old", "new"}}
    call.raw = msgspec.json.encode({k: v for k, v in hidden.items() if v is not UNSET})


def _told(results: list[Result]) -> Told:
    saved: UserSaved = results[0].value
    view = _view(saved.row)
    return Told(201 if saved.new else 200, view, f"{BASE}/users/{view.name}")


def _view(row: Entity) -> UserView:
    record = read_user(row.image)
    return UserView(
        name=row.name,
        role=record.role,
        description=record.description,
        disabled=record.disabled,
        password=bool(record.password),
        version=row.version,
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
    )


async def get_user(call: Call) -> Reply:
    """``GET /users/{name}``."""
    row = await call.services.reader.entity((USER, call.values["name"]))
    if row is None or row.deleted_at:
        raise NotFound(f"no user {call.values['name'][:100]}")
    return Reply(_view(row), headers=((b"etag", b'"%d"' % row.version),))


async def list_users(call: Call) -> Reply:
    """``GET /users``: by name."""
    limit = call.limit()
    rows = await call.services.reader.entities(USER, after=call.text("cursor") or "", limit=limit)
    return Reply(
        UserPage(items=[_view(row) for row in rows], next_cursor=rows[-1].name if len(rows) == limit else None)
    )


async def delete_user(call: Call) -> Reply:
    """``DELETE /users/{name}``: sessions and tokens of theirs are dead with them."""
    try:
        return await ask_named(call, DeleteUser(call.values["name"]), lambda _: Told(204, None))
    finally:
        call.services.auth.forget()


async def post_password(call: Call) -> Reply:
    """``POST /me/password``: one's own, by the old one. Every session there is ends, this one too."""
    body: NewPassword = call.body
    hide_password(call)
    services, name = call.services, call.caller.user
    if not name or not call.caller.seen_at:
        raise Forbidden("only who has logged in can change their own password")
    check_password(body.new, name)
    services.lockout.begin(name, call.address, services.clock.now())
    row = await services.reader.entity((USER, name))
    kept = "" if row is None or row.deleted_at else read_user(row.image).password
    if not await services.passwords.fits(kept, body.old):
        raise Forbidden("the old password is wrong")
    services.lockout.good(name, call.address)
    change = SetUser(name, password=await services.passwords.keep(body.new), must_exist=True)
    try:
        return await ask_named(call, change, lambda _: Told(204, None))
    finally:
        services.auth.forget()


def _name(call: Call) -> str:
    name = call.values["name"]
    if not is_name(name):
        problem = Problem("name", f"{name[:100]!r} is no name: lower-case letters, digits, _ and -, at most 63")
        raise Invalid("1 problem", problems=(problem,))
    return name


def is_name(text: str) -> bool:
    """Whether a user may be called so."""
    try:
        msgspec.convert(text, Name)
    except msgspec.ValidationError:
        return False
    return True


def _route(method: str, path: str, handler: Any, summary: str, **more: Any) -> Route:
    more.setdefault("permission", Permission.users_write)
    return Route(method=method, path=BASE + path, handler=handler, summary=summary, **more)


_WRITES: dict[str, Any] = {"response": UserView, "accepts": RECORDS, "query": (REASON,)}
ROUTES = (
    _route("POST", "/users", post_user, "Make a user", statuses=(201, 409, 422), request=NewUser, **_WRITES),
    _route(
        "GET",
        "/users",
        list_users,
        "Users, by name",
        permission=Permission.users_read,
        response=UserPage,
        query=PAGE,
        as_of=True,
    ),
    _route("GET", "/users/{name}", get_user, "A user", permission=Permission.users_read, response=UserView, as_of=True),
    _route(
        "PUT",
        "/users/{name}",
        put_user,
        "Make or replace a user; a new password, role or `disabled` ends their sessions",
        statuses=(200, 201, 422),
        request=UserBody,
        **_WRITES,
    ),
    _route(
        "PATCH",
        "/users/{name}",
        patch_user,
        "Change parts of a user: a JSON merge patch",
        statuses=(200, 422),
        request=UserPatch,
        **{**_WRITES, "accepts": (MERGE_PATCH, *RECORDS)},
    ),
    _route(
        "DELETE",
        "/users/{name}",
        delete_user,
        "Delete a user, with their sessions and tokens",
        statuses=(204,),
        query=(REASON,),
    ),
    _route(
        "POST",
        "/me/password",
        post_password,
        "Change one's own password; every session of one's own ends",
        permission=Permission.me,
        statuses=(204, 422),
        request=NewPassword,
        accepts=RECORDS,
    ),
)
