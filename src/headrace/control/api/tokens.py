"""Access tokens: made once shown once, listed without their text, revoked at once. Nobody makes one that can more than they.

Called through the route table only.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, field, structs

from headrace.control.api.answers import Told, ask_named
from headrace.control.api.call import Call, Reply
from headrace.control.api.records import Request
from headrace.control.api.table import BASE, PAGE, REASON, RECORDS, Route
from headrace.control.api.users import Description, RoleName
from headrace.control.api.views import instant, moment
from headrace.control.auth import ROLES, Permission, Role
from headrace.control.changes.people import USER, read_user
from headrace.control.changes.tokens import TOKEN, PutToken, RevokeToken, read_token
from headrace.control.credentials import mint_token
from headrace.core.durations import millis
from headrace.model.document import Duration, Name
from headrace.model.errors import Forbidden, Invalid, NotFound, Problem
from headrace.model.naming import did_you_mean
from headrace.model.people import TokenPage, TokenView
from headrace.store.rows import Entity

EXPIRES = "90d"
EXPIRES_MAX_DAYS = 3650
SHOWN_ONCE = (
    "the text of a token is in the first answer under this Idempotency-Key and is kept nowhere: "
    "where that answer was lost, revoke this token and make another under another key"
)
_US_PER_MS = 1000


class NewToken(Request, frozen=True, kw_only=True):
    """``POST /tokens``. ``role``: that of the caller when left out; ``scopes``: only these of its permissions.

    ``expires``: how long it is good, at most 3650d and no longer than a token that makes it. ``user``: whose it is to be;
    that is for those who may see all tokens.
    """

    edn_namespace: ClassVar[str] = "token"

    name: Name
    role: RoleName | None = None
    scopes: Annotated[list[str], Meta(max_length=100)] = field(default_factory=list)
    expires: Duration = EXPIRES
    description: Description = ""
    user: Name | None = None


async def post_token(call: Call) -> Reply:
    """``POST /tokens``: 201 with the text of the token, there already 409."""
    body: NewToken = call.body
    role, scopes = _powers(call, body)
    owner = await _owner(call, body)
    expires_at = _end(call, body)
    text, hashed = mint_token(body.name)
    change = PutToken(
        body.name,
        bytes.fromhex(hashed),
        role.value,
        expires_at,
        scopes=scopes,
        owner=owner,
        description=body.description,
    )
    view = TokenView(
        name=body.name,
        role=role.value,
        scopes=list(scopes),
        user=owner or None,
        description=body.description,
        created_at=moment(call.services.clock.now()),
        expires_at=moment(expires_at),
    )
    place = f"{BASE}/tokens/{body.name}"
    shown, kept = structs.replace(view, token=text), structs.replace(view, token_omitted=SHOWN_ONCE)
    try:
        return await ask_named(call, change, lambda _: Told(201, shown, place), kept=lambda _: Told(201, kept, place))
    finally:
        call.services.auth.forget()


def _powers(call: Call, body: NewToken) -> tuple[Role, tuple[str, ...]]:
    """Role and scopes, none beyond the caller's own."""
    caller = call.caller
    role = caller.role if body.role is None else Role(body.role)
    known = [p.value for p in Permission]
    problems = [
        Problem(f"scopes[{at}]", f"{scope[:64]!r} is no permission{did_you_mean(scope, known)}")
        for at, scope in enumerate(body.scopes)
        if scope not in known
    ]
    if not problems:
        problems = [
            Problem(f"scopes[{at}]", f"the role {role.value} has no permission {scope}")
            for at, scope in enumerate(body.scopes)
            if Permission(scope) not in ROLES[role]
        ]
    if problems:
        raise Invalid(f"{len(problems)} problem{'s' * (len(problems) != 1)}", problems=tuple(problems))
    wanted = frozenset(Permission(s) for s in body.scopes) or ROLES[role]
    if body.role is None and not body.scopes and not wanted <= caller.permissions:
        wanted = caller.permissions
        return role, tuple(sorted(p.value for p in wanted))
    if beyond := sorted(p.value for p in wanted - caller.permissions):
        raise Forbidden(f"a token cannot do more than who makes it: {', '.join(beyond)}")
    return role, tuple(dict.fromkeys(body.scopes))


async def _owner(call: Call, body: NewToken) -> str:
    if body.user is None or body.user == call.caller.user:
        return call.caller.user
    call.caller.require(Permission.tokens_any)
    row = await call.services.reader.entity((USER, body.user))
    if row is None or row.deleted_at:
        raise Invalid("1 problem", problems=(Problem("user", f"no user {body.user}"),))
    return body.user


def _end(call: Call, body: NewToken) -> int:
    """When it ends, µs: not after the token that makes it."""
    lasts = millis(body.expires)
    if not 1000 <= lasts <= EXPIRES_MAX_DAYS * 86_400_000:
        raise Invalid("1 problem", problems=(Problem("expires", f"must be from 1s to {EXPIRES_MAX_DAYS}d"),))
    end = call.services.clock.now() + lasts * _US_PER_MS
    caller = call.caller
    if caller.row is not None and caller.row[0] == TOKEN and caller.expires_at:
        return min(end, caller.expires_at)
    return end


async def get_token(call: Call) -> Reply:
    """``GET /tokens/{name}``."""
    return Reply(await _Views(call).of(await _row(call)))


async def list_tokens(call: Call) -> Reply:
    """``GET /tokens``: one's own, or all for those who may see them."""
    limit, after, views = call.limit(), call.text("cursor") or "", _Views(call)
    items: list[TokenView] = []
    while True:
        rows = await call.services.reader.entities(TOKEN, after=after, limit=limit)
        for row in rows:
            after = row.name
            if _may_see(call, row):
                items.append(await views.of(row))
                if len(items) == limit:
                    return Reply(TokenPage(items=items, next_cursor=after))
        if len(rows) < limit:
            return Reply(TokenPage(items=items))


async def delete_token(call: Call) -> Reply:
    """``DELETE /tokens/{name}``: good for nothing from now on."""
    row = await _row(call)
    try:
        return await ask_named(call, RevokeToken(row.name), lambda _: Told(204, None))
    finally:
        call.services.auth.forget()


async def _row(call: Call) -> Entity:
    row = await call.services.reader.entity((TOKEN, call.values["name"]))
    if row is None or row.deleted_at or not _may_see(call, row):
        raise NotFound(f"no token {call.values['name'][:100]}")
    return row


def _may_see(call: Call, row: Entity) -> bool:
    caller = call.caller
    if caller.may(Permission.tokens_any) or caller.row == (TOKEN, row.name):
        return True
    return bool(caller.user) and read_token(row.image).owner == caller.user


class _Views:
    """Tokens as they are shown; each owner is looked at once."""

    def __init__(self, call: Call) -> None:
        self._reader = call.services.reader
        self._now = call.services.clock.now()
        self._since: dict[str, int | None] = {"": 0}

    async def of(self, row: Entity) -> TokenView:
        """The token of this row."""
        record = read_token(row.image)
        since = await self._owner_since(record.owner)
        ended = bool(record.expires_at) and record.expires_at <= self._now
        return TokenView(
            name=row.name,
            role=record.role,
            scopes=list(record.scopes),
            user=record.owner or None,
            description=record.description,
            created_at=moment(row.created_at),
            expires_at=instant(record.expires_at),
            expired=ended or since is None or since > row.created_at,
        )

    async def _owner_since(self, owner: str) -> int | None:
        """Since when the owner is there, µs; None: gone or disabled."""
        if owner not in self._since:
            row = await self._reader.entity((USER, owner))
            gone = row is None or row.deleted_at or read_user(row.image).disabled
            self._since[owner] = None if row is None or gone else row.created_at
        return self._since[owner]


_OWN = Permission.tokens_own
ROUTES = (
    Route(
        method="POST",
        path=BASE + "/tokens",
        permission=_OWN,
        handler=post_token,
        summary="Make an access token; its text is in this answer and never shown again",
        statuses=(201, 409, 422),
        request=NewToken,
        response=TokenView,
        accepts=RECORDS,
        query=(REASON,),
    ),
    Route(
        method="GET",
        path=BASE + "/tokens",
        as_of=True,
        permission=_OWN,
        handler=list_tokens,
        summary="One's own access tokens, or all for `tokens:any`; never their texts",
        response=TokenPage,
        query=PAGE,
    ),
    Route(
        method="GET",
        path=BASE + "/tokens/{name}",
        as_of=True,
        permission=_OWN,
        handler=get_token,
        summary="An access token, without its text",
        response=TokenView,
    ),
    Route(
        method="DELETE",
        path=BASE + "/tokens/{name}",
        permission=_OWN,
        handler=delete_token,
        summary="Revoke an access token: here at once, on other nodes within 5 s, streams included",
        statuses=(204,),
        query=(REASON,),
    ),
)
