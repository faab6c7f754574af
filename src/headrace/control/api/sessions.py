"""Logging in and out, and who one is. The only place where a password lets somebody in; slow on purpose, and bounded.

A wrong name, a wrong password and a disabled user get the same answer after the same work. Called through the route table
only.
"""

from __future__ import annotations

import logging
from typing import Annotated

from msgspec import Meta

from headrace.control.api.answers import Told, ask_named
from headrace.control.api.call import Call, Reply
from headrace.control.api.entry import session_cookie
from headrace.control.api.records import Request
from headrace.control.api.table import BASE, RECORDS, Route
from headrace.control.api.users import is_name
from headrace.control.api.views import instant, moment
from headrace.control.auth import IDLE_US, ROLES, SESSION_US, Permission, Role
from headrace.control.changes.people import (
    SESSION,
    SESSIONS_MAX,
    USER,
    Login,
    Logout,
    read_session,
    read_user,
    session_name,
)
from headrace.control.credentials import mint_session
from headrace.model.changes import Origin
from headrace.model.errors import Busy, Conflict, Unauthorized
from headrace.model.people import MeView, SessionView
from headrace.store.rows import Entity

WRONG = "the name or the password is wrong"
_TRIES = 8
_log = logging.getLogger("headrace.control.api")


class Credentials(Request, frozen=True, kw_only=True):
    """``POST /login``. ``token``: the session's text in the answer and no cookie, for tools that keep it themselves."""

    name: Annotated[str, Meta(max_length=200)]
    password: Annotated[str, Meta(max_length=1024)]
    token: bool = False


async def post_login(call: Call) -> Reply:
    """``POST /login``: a session, in a cookie or in the answer. An idempotency key means nothing here."""
    call.key = None
    body: Credentials = call.body
    services = call.services
    services.lockout.begin(body.name, call.address, services.clock.now())
    row = await services.reader.entity((USER, body.name)) if is_name(body.name) else None
    record = None if row is None or row.deleted_at else read_user(row.image)
    kept = "" if record is None or record.disabled else record.password
    if not await services.passwords.fits(kept, body.password) or record is None:
        _log.warning("a login failed: %r from %s", body.name[:64], call.address or "here")
        raise Unauthorized(WRONG)
    text, expires_at = await _begin(call, body.name, kept)
    services.lockout.good(body.name, call.address)
    role = Role(record.role)
    view = SessionView(
        name=body.name,
        role=role.value,
        permissions=sorted(p.value for p in ROLES[role]),
        expires_at=moment(expires_at),
        idle_minutes=IDLE_US // 60_000_000,
        token=text if body.token else None,
    )
    return Reply(view, headers=() if body.token else (session_cookie(call, text),))


async def _begin(call: Call, user: str, password: str) -> tuple[str, int]:
    """A session in a free place, or in that of the session used longest ago: (text, end)."""
    services = call.services
    origin = Origin(f"user:{user}", call.origin.source)
    for _ in range(_TRIES):
        slot, version = await _place(call, user)
        text, hashed = mint_session(user, slot)
        change = Login(user, password, session_name(user, slot), version, bytes.fromhex(hashed), SESSION_US)
        try:
            return text, (await services.ledger.change(change, origin)).value
        except Conflict:
            continue
    raise Busy("this user is logging in again and again: try later")


async def _place(call: Call, user: str) -> tuple[int, int]:
    """(number, version of its row) of a place that is free, else of the one whose session was used longest ago."""
    now = call.services.clock.now()
    used: list[tuple[int, int, int]] = []
    for slot in range(SESSIONS_MAX):
        row = await call.services.reader.entity((SESSION, session_name(user, slot)))
        if row is None:
            return slot, 0
        seen = 0 if row.deleted_at else _alive_since(row, now)
        if not seen:
            return slot, row.version
        used.append((seen, slot, row.version))
    _, slot, version = min(used)
    return slot, version


def _alive_since(row: Entity, now: int) -> int:
    """When it was last used; 0 when it is over."""
    record = read_session(row.image)
    return record.seen_at if now < min(record.expires_at, record.seen_at + IDLE_US) else 0


async def post_logout(call: Call) -> Reply:
    """``POST /logout``: the session that calls ends."""
    caller = call.caller
    if caller.row is None or caller.row[0] != SESSION:
        raise Conflict("this is no session but a token: revoke it with DELETE /tokens/{name}")
    try:
        reply = await ask_named(call, Logout(caller.row[1], bytes.fromhex(caller.hash)), lambda _: Told(204, None))
    finally:
        call.services.auth.forget(caller.hash)
    return Reply(status=204, headers=(*reply.headers, session_cookie(call, "")))


async def get_me(call: Call) -> Reply:
    """``GET /me``."""
    caller = call.caller
    kind, _, name = caller.name.partition(":")
    return Reply(
        MeView(
            name=name,
            kind=kind,
            user=caller.user or None,
            role=caller.role.value,
            permissions=sorted(p.value for p in caller.permissions),
            expires_at=instant(caller.expires_at),
        )
    )


ROUTES = (
    Route(
        method="POST",
        path=BASE + "/login",
        permission=Permission.public,
        handler=post_login,
        summary="Begin a session with name and password: in a cookie, or with `token: true` in the answer",
        statuses=(200, 401, 429),
        request=Credentials,
        response=SessionView,
        accepts=RECORDS,
        body_max=16_384,
    ),
    Route(
        method="POST",
        path=BASE + "/logout",
        permission=Permission.me,
        handler=post_logout,
        summary="End the session that calls",
        statuses=(204, 409),
    ),
    Route(
        method="GET",
        path=BASE + "/me",
        permission=Permission.me,
        handler=get_me,
        summary="Who calls: name, role, permissions, until when",
        response=MeView,
    ),
)
