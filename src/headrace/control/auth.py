"""Who calls, and what they may do: the one place in front of every route and every socket.

Tokens are 256 bit, shown once, kept as SHA-256 with a role and an expiry (entities of kind ``token``, named by the
beginning of the hash). Run tokens are HMAC capabilities and no rows: they open the routes of their own run and nothing else. Nothing
here logs or returns a token; comparisons take constant time. Called by ``control.api.dispatch`` and by the doorbell.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import zlib
from collections import OrderedDict
from enum import StrEnum
from typing import Protocol

import msgspec
from msgspec import Struct

from headrace.control.changes.tokens import TOKEN, PutToken, read_token
from headrace.model.errors import Forbidden, Unauthorized
from headrace.model.ids import WHOLE
from headrace.model.ports import Clock
from headrace.store.rows import Entity, EntityKey

TOKEN_PREFIX = "hr_"  # noqa: S105 # the visible prefix of every token, so that scanners can find leaked ones
RUN_TOKEN_PREFIX = "hrr_"  # noqa: S105 # likewise, of run tokens
NAME_LENGTH = 32
CACHE_MAX = 1024
RECHECK_US = 5_000_000
"""A verified token is believed this long before its row is read again: the bound for a revocation by another node."""
_TOKEN_LENGTH = len(TOKEN_PREFIX) + 43 + 8
_BEARER_MAX = 512
_BLOCK = 64
"""Bytes that SHA-256 works on at a time; HMAC (RFC 2104) pads its key to as many."""
_INNER = bytes(x ^ 0x36 for x in range(256))
_OUTER = bytes(x ^ 0x5C for x in range(256))
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_encode_claim = msgspec.msgpack.Encoder().encode


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
    system_read = "system:read"


_READS = frozenset(p for p in Permission if p.value.endswith(":read")) | {Permission.public}
ROLES: dict[Role, frozenset[Permission]] = {
    Role.admin: frozenset(Permission),
    Role.operator: _READS | {Permission.runs_submit, Permission.runs_stop},
    Role.watcher: _READS,
    Role.run: frozenset({Permission.public, Permission.runs_read}),
}
"""The role matrix. Operators start and stop what others have defined; only admins bring new code or commands."""


class RunClaim(Struct, frozen=True, array_like=True):
    """What a run token says: this attempt of this task of this run, until ``expires_at`` (µs)."""

    run: int
    no: int
    index: int
    epoch: int
    expires_at: int


class Caller(Struct, frozen=True):
    """Who calls. ``name`` goes into the commit row; ``scope`` keeps idempotency keys of different callers apart."""

    name: str
    role: Role
    permissions: frozenset[Permission]
    expires_at: int = 0
    hash: str = ""
    claim: RunClaim | None = None

    @property
    def scope(self) -> str:
        return self.name

    def may(self, permission: Permission) -> bool:
        """Whether the role holds this permission."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Raise Forbidden, naming role and permission, unless the role holds it."""
        if permission not in self.permissions:
            raise Forbidden(f"the role {self.role.value} has no permission {permission.value}")


NOBODY = Caller("anonymous", Role.run, frozenset({Permission.public}))
"""The caller of routes that need no credential."""


class TokenRows(Protocol):
    """The part of the store's reader that is needed here."""

    async def entity(self, key: EntityKey) -> Entity | None: ...


def mint_token() -> tuple[str, str]:
    """A new token: (text to show once, hash to keep). 256 random bits and a checksum against typing errors."""
    body = TOKEN_PREFIX + secrets.token_urlsafe(32)
    text = body + f"{zlib.crc32(body.encode()):08x}"
    return text, hash_token(text)


def hash_token(text: str) -> str:
    """The name under which a token's row is kept."""
    return hashlib.sha256(text.encode()).hexdigest()


def token_name(hashed: str) -> str:
    """The name of a token's row: the beginning of its hash, so that it is found without a search."""
    return hashed[:NAME_LENGTH]


def put_token(hashed: str, role: Role, *, expires_at: int = 0) -> PutToken:
    """The change that makes a token good; ``hashed`` is what ``mint_token`` gave beside its text."""
    return PutToken(token_name(hashed), bytes.fromhex(hashed), role.value, expires_at)


def mint_run_token(secret: bytes, run: int, no: int, index: int = WHOLE, *, epoch: int, expires_at: int) -> str:
    """A capability for one attempt; ``secret`` is the store's own, at least 32 bytes. No row is written."""
    body = _encode_claim(RunClaim(run, no, index, epoch, expires_at))
    mac = hmac.digest(secret, body, "sha256")[:16]
    return RUN_TOKEN_PREFIX + base64.urlsafe_b64encode(mac + body).decode().rstrip("=")


class RunTokens:
    """Mints the run tokens of one secret: the same bytes as ``mint_run_token``, at a third of its cost (an attempt each)."""

    def __init__(self, secret: bytes) -> None:
        key = (hashlib.sha256(secret).digest() if len(secret) > _BLOCK else secret).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(key.translate(_INNER))
        self._outer = hashlib.sha256(key.translate(_OUTER))

    def mint(self, run: int, no: int, index: int, *, epoch: int, expires_at: int) -> str:
        """See ``mint_run_token``."""
        body = _encode_claim((run, no, index, epoch, expires_at))
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(body)
        outer.update(inner.digest())
        text = binascii.b2a_base64(outer.digest()[:16] + body, newline=False)
        return RUN_TOKEN_PREFIX + text.translate(_URL_SAFE).rstrip(b"=").decode()


def verify_run_token(secret: bytes, text: str, now: int) -> RunClaim:
    """What the token says. Raises Unauthorized when it was not made with this secret, or has expired."""
    raw = text[len(RUN_TOKEN_PREFIX) :]
    try:
        data = base64.b64decode(raw + "=" * (-len(raw) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise Unauthorized("the run token is not one of ours") from error
    mac, body = data[:16], data[16:]
    if not hmac.compare_digest(hmac.digest(secret, body, "sha256")[:16], mac):
        raise Unauthorized("the run token is not one of ours")
    claim = msgspec.msgpack.decode(body, type=RunClaim)
    if claim.expires_at <= now:
        raise Unauthorized("the run token has expired")
    return claim


class Auth:
    """Turns an ``Authorization`` header into a Caller. Keeps a bounded cache of verified tokens, by their hash."""

    def __init__(self, rows: TokenRows, clock: Clock, *, run_secret: bytes) -> None:
        if len(run_secret) < 32:
            raise ValueError("the secret of run tokens must have at least 32 bytes")
        self._rows = rows
        self._clock = clock
        self._secret = run_secret
        self._cache: OrderedDict[str, tuple[Caller, int]] = OrderedDict()

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
        return await self._verify(hashed, now)

    async def alive(self, caller: Caller) -> bool:
        """Whether the credential still stands; streams ask now and then and end when it does not."""
        now = self._clock.now()
        if _is_over(caller, now):
            return False
        if not caller.hash:
            return True
        hit = self._cache.get(caller.hash)
        if hit is not None and hit[1] > now:
            return True
        try:
            await self._verify(caller.hash, now)
        except Unauthorized:
            return False
        return True

    def forget(self, hashed: str | None = None) -> None:
        """Believe this token (or all of them) no longer without reading its row: call it on every revocation."""
        if hashed is None:
            self._cache.clear()
        else:
            self._cache.pop(hashed, None)

    async def _verify(self, hashed: str, now: int) -> Caller:
        self._cache.pop(hashed, None)
        row = await self._rows.entity((TOKEN, token_name(hashed)))
        record = None if row is None or row.deleted_at else read_token(row.image)
        if record is None or not hmac.compare_digest(record.digest, bytes.fromhex(hashed)):
            raise Unauthorized("the token is not known here, or was revoked")
        role = Role(record.role)
        caller = Caller(
            name=f"token:{hashed[:12]}",
            role=role,
            permissions=ROLES[role],
            expires_at=record.expires_at,
            hash=hashed,
        )
        if _is_over(caller, now):
            raise Unauthorized("the token has expired")
        self._cache[hashed] = (caller, now + RECHECK_US)
        while len(self._cache) > CACHE_MAX:
            self._cache.popitem(last=False)
        return caller


def _is_over(caller: Caller, now: int) -> bool:
    return bool(caller.expires_at) and caller.expires_at <= now


def _bearer(header: bytes | None) -> str:
    """The token's text. Cheap refusals first: shape and checksum, before any row is read."""
    if header is None:
        raise Unauthorized("no credential: send the header  Authorization: Bearer TOKEN")
    scheme, _, token = header[: _BEARER_MAX + 1].partition(b" ")
    if scheme.lower() != b"bearer" or not token or len(header) > _BEARER_MAX or not token.isascii():
        raise Unauthorized("the header Authorization must be  Bearer TOKEN")
    text = token.decode("ascii").strip()
    if text.startswith(RUN_TOKEN_PREFIX):
        return text
    if len(text) != _TOKEN_LENGTH or not text.startswith(TOKEN_PREFIX):
        raise Unauthorized("the token is not one of ours")
    if text[-8:] != f"{zlib.crc32(text[:-8].encode()):08x}":
        raise Unauthorized("the token has a typing error (its checksum does not fit)")
    return text
