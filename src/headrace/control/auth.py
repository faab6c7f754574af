"""Who calls, and what they may do: the one place in front of every route and every socket.

Tokens and sessions are 256 bit, shown once, kept as SHA-256 with a role or a user and an expiry. Run tokens are HMAC
capabilities and no rows: they open the routes of their own run and nothing else. Nothing here logs or returns a token;
comparisons take constant time. Called by ``control.api``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from collections import OrderedDict
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from headrace.control.changes.people import SESSION, USER, UserRecord, read_session, read_user
from headrace.control.changes.tokens import TOKEN, read_token
from headrace.control.credentials import RUN_TOKEN_PREFIX, RunClaim, hash_token, row_of, token_name, verify_run_token
from headrace.model.errors import Forbidden, Unauthorized
from headrace.model.ports import Clock
from headrace.store.rows import Entity, EntityKey

CACHE_MAX = 1024
RECHECK_US = 3_000_000
"""A verified token is believed this long before its row is read again: part of the bound for a revocation by another node."""
READ_AGAIN = 3
"""So often a row is read when something was revoked while it was; after that it is believed for one request."""
WATCH_S = 1.5
"""How often what outlives a request looks at its credential; with ``RECHECK_US`` within 5 s."""
IDLE_US = 30 * 60 * 1_000_000
"""A session that is not used for so long is over."""
SESSION_US = 12 * 3600 * 1_000_000
"""A session is over after so long, used or not."""
UNKNOWN = "the credential is not known here, or was revoked"
_BEARER_MAX = 512


class Role(StrEnum):
    """What a token stands for. ``run`` is the role of run tokens."""

    admin = "admin"
    operator = "operator"
    watcher = "watcher"
    run = "run"


class Permission(StrEnum):
    """A verb on a noun; each route names one."""

    public = "public"
    jobs_read = "jobs:read"
    jobs_write = "jobs:write"
    runs_read = "runs:read"
    runs_submit = "runs:submit"
    runs_define = "runs:define"
    """Run something that no saved job or task holds: a definition, a command, a script. As mighty as jobs:write."""
    runs_stop = "runs:stop"
    tasks_read = "tasks:read"
    packages_read = "packages:read"
    packages_write = "packages:write"
    agents_read = "agents:read"
    limits_read = "limits:read"
    limits_write = "limits:write"
    limits_pause = "limits:pause"
    system_read = "system:read"
    system_backup = "system:backup"
    """Make and read backups: they hold everything."""
    system_restore = "system:restore"
    system_transfer = "system:transfer"
    """Take every definition out as one document, and put one in."""
    me = "me"
    """See who one is, log out, change the own password."""
    tokens_own = "tokens:own"
    """Make, see and revoke tokens of one's own, which can do no more than oneself."""
    tokens_any = "tokens:any"
    users_read = "users:read"
    users_write = "users:write"
    events_read = "events:read"


_ALWAYS = frozenset({Permission.public, Permission.me})
_READS = frozenset(p for p in Permission if p.value.endswith(":read")) - {Permission.users_read} | _ALWAYS
ROLES: dict[Role, frozenset[Permission]] = {
    Role.admin: frozenset(Permission),
    Role.operator: _READS
    | {Permission.runs_submit, Permission.runs_stop, Permission.tokens_own, Permission.limits_pause},
    Role.watcher: _READS | {Permission.tokens_own},
    Role.run: frozenset({Permission.public, Permission.runs_read}),
}
"""The role matrix. Operators start and stop what others have defined; only admins bring new code or commands."""


class Caller(Struct, frozen=True):
    """Who calls. ``name`` goes into the commit row; ``scope`` keeps idempotency keys of different callers apart.

    ``row`` is that of the token or session, ``user`` whose it is, ``seen_at`` when a session was last known to be used.
    """

    name: str
    role: Role
    permissions: frozenset[Permission]
    expires_at: int = 0
    hash: str = ""
    claim: RunClaim | None = None
    row: EntityKey | None = None
    user: str = ""
    seen_at: int = 0

    @property
    def scope(self) -> str:
        return self.name

    def may(self, permission: Permission) -> bool:
        """Whether the role holds this permission."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Raise Forbidden, naming role and permission, unless the role holds it."""
        if permission not in self.permissions:
            if permission in ROLES[self.role]:
                raise Forbidden(
                    f"this credential is narrowed and has no permission {permission.value}, which the role "
                    f"{self.role.value} would have"
                )
            raise Forbidden(f"the role {self.role.value} has no permission {permission.value}")


NOBODY = Caller("anonymous", Role.run, frozenset({Permission.public}))
"""The caller of routes that need no credential."""


class Rows(Protocol):
    """The part of the store's reader that is needed here."""

    async def entity(self, key: EntityKey) -> Entity | None: ...


class Auth:
    """Turns an ``Authorization`` header into a Caller. Keeps a bounded cache of verified tokens, by their hash."""

    def __init__(self, rows: Rows, clock: Clock, *, run_secret: bytes) -> None:
        if len(run_secret) < 32:
            raise ValueError("the secret of run tokens must have at least 32 bytes")
        self._rows = rows
        self._clock = clock
        self._secret = run_secret
        self._cache: OrderedDict[str, tuple[Caller, int]] = OrderedDict()
        self._bell = asyncio.Event()
        self._generation = 0

    def cached(self, header: bytes | None, now: int) -> Caller | None:
        """The caller, if this very token was verified a moment ago; costs one hash and no suspension."""
        if header is None or header[:7] != b"Bearer ":
            return None
        hit = self._cache.get(hashlib.sha256(header[7:]).hexdigest())
        if hit is None or hit[1] <= now or _is_over(hit[0], now):
            return None
        return hit[0]

    async def caller(self, header: bytes | None) -> Caller:
        """The caller behind this header. Raises Unauthorized: none, malformed, unknown, revoked or expired."""
        now = self._clock.now()
        text = _bearer(header)
        if text.startswith(RUN_TOKEN_PREFIX):
            claim = verify_run_token(self._secret, text, now)
            name = f"run:{claim.run}"
            return Caller(name, Role.run, ROLES[Role.run], expires_at=claim.expires_at, claim=claim)
        hashed = hash_token(text)
        hit = self._cache.get(hashed)
        if hit is not None and hit[1] > now and not _is_over(hit[0], now):
            return hit[0]
        return await self._verify(row_of(text), hashed, now)

    async def alive(self, caller: Caller) -> bool:
        """Whether the credential still stands and may what it might; streams ask now and then and end when not."""
        now = self._clock.now()
        if caller.row is None:
            return not _is_over(caller, now)
        hit = self._cache.get(caller.hash)
        fresh = None if hit is None or hit[1] <= now or _is_over(hit[0], now) else hit[0]
        try:
            fresh = fresh or await self._verify(caller.row, caller.hash, now)
        except Unauthorized:
            return False
        return caller.permissions <= fresh.permissions

    async def over(self, caller: Caller) -> None:
        """Returns when the credential stands no longer: at its end, at once when it was revoked here, in 5 s when elsewhere.

        For whatever outlives a request: race it against this and stop when this returns. Raises StoreError when the
        store cannot be asked: who cannot be sure ends as well.
        """
        bell = self._bell
        while await self.alive(caller):
            seconds = WATCH_S
            if (left := caller.expires_at - self._clock.now()) > 0:
                seconds = min(seconds, left / 1_000_000)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(bell.wait(), seconds)
            bell = self._bell

    def forget(self, hashed: str | None = None) -> None:
        """Believe this token (or all of them) no longer without reading its row: call it on every revocation."""
        if hashed is None:
            self._cache.clear()
        else:
            self._cache.pop(hashed, None)
        self._generation += 1
        self._bell.set()
        self._bell = asyncio.Event()

    async def _verify(self, key: EntityKey, hashed: str, now: int) -> Caller:
        self._cache.pop(hashed, None)
        for _ in range(READ_AGAIN):
            generation = self._generation
            caller = await self._read(key, hashed, now)
            # what was read before a revocation that happened meanwhile must not be believed
            if generation == self._generation:
                self._cache[hashed] = (caller, now + RECHECK_US)
                while len(self._cache) > CACHE_MAX:
                    self._cache.popitem(last=False)
                break
        return caller

    async def _read(self, key: EntityKey, hashed: str, now: int) -> Caller:
        row = await self._rows.entity(key)
        if row is None or row.deleted_at:
            raise Unauthorized(UNKNOWN)
        caller = await (self._session if key[0] == SESSION else self._token)(row, hashed)
        if _is_over(caller, now):
            raise Unauthorized("the token has expired" if key[0] == TOKEN else "the session is over: log in again")
        return caller

    async def _token(self, row: Entity, hashed: str) -> Caller:
        record = read_token(row.image)
        _compare(record.digest, hashed)
        role = Role(record.role)
        held = ROLES[role]
        if record.scopes:
            held = frozenset(p for p in held if p in _ALWAYS or p.value in record.scopes)
        if record.owner:
            owner = await self._user(record.owner)
            if owner is None or owner[0].created_at > row.created_at:
                raise Unauthorized(UNKNOWN)
            held &= ROLES[Role(owner[1].role)]
        named = row.name if row.name != token_name(hashed) else hashed[:12]
        return Caller(
            f"token:{named}", role, held, expires_at=record.expires_at, hash=hashed, row=_key(row), user=record.owner
        )

    async def _session(self, row: Entity, hashed: str) -> Caller:
        record = read_session(row.image)
        _compare(record.digest, hashed)
        user = row.name.partition("/")[0]
        found = await self._user(user)
        if found is None or record.made_at <= found[1].since:
            raise Unauthorized(UNKNOWN)
        role = Role(found[1].role)
        ends = min(record.expires_at, record.seen_at + IDLE_US)
        return Caller(
            f"user:{user}",
            role,
            ROLES[role],
            expires_at=ends,
            hash=hashed,
            row=_key(row),
            user=user,
            seen_at=record.seen_at,
        )

    async def _user(self, name: str) -> tuple[Entity, UserRecord] | None:
        """A user who is there and not disabled."""
        row = await self._rows.entity((USER, name))
        if row is None or row.deleted_at:
            return None
        record = read_user(row.image)
        return None if record.disabled else (row, record)


def _compare(digest: bytes, hashed: str) -> None:
    if not hmac.compare_digest(digest, bytes.fromhex(hashed)):
        raise Unauthorized(UNKNOWN)


def _key(row: Entity) -> EntityKey:
    return row.kind, row.name


def _is_over(caller: Caller, now: int) -> bool:
    return bool(caller.expires_at) and caller.expires_at <= now


def _bearer(header: bytes | None) -> str:
    """The token's text."""
    if header is None:
        raise Unauthorized("no credential: send the header  Authorization: Bearer TOKEN")
    scheme, _, token = header[: _BEARER_MAX + 1].partition(b" ")
    if scheme.lower() != b"bearer" or not token or len(header) > _BEARER_MAX or not token.isascii():
        raise Unauthorized("the header Authorization must be  Bearer TOKEN")
    return token.decode("ascii").strip()
