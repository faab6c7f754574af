"""The texts of credentials: made, recognised, turned into the name of their row. No rows are read here.

Three kinds, told apart by their beginning: access tokens (``hr_``), sessions (``hrs_``) and run tokens (``hrr_``). The
first two are 256 random bits, perhaps a name, and a checksum against typing errors; only their SHA-256 is kept. Run
tokens are HMAC capabilities and no rows. Nothing here logs or returns a part of a token. Called by ``control.auth``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import zlib

import msgspec
from msgspec import Struct

from headrace.control.changes.people import SESSION, session_name
from headrace.control.changes.tokens import TOKEN, PutToken
from headrace.model.errors import Unauthorized
from headrace.model.ids import WHOLE
from headrace.store.rows import EntityKey

TOKEN_PREFIX = "hr_"  # noqa: S105 # the visible prefix of every token, so that scanners can find leaked ones
SESSION_PREFIX = "hrs_"
RUN_TOKEN_PREFIX = "hrr_"  # noqa: S105 # likewise, of run tokens
NAME_LENGTH = 32
_SHAPE = re.compile(r"(hrs?_)[A-Za-z0-9_-]{43}(?:\.([a-z0-9][a-z0-9_-]{0,62}))?(?:\.([0-9]{2}))?[0-9a-f]{8}")
_CHECKSUM = 8
_BLOCK = 64
"""Bytes that SHA-256 works on at a time; HMAC (RFC 2104) pads its key to as many."""
_INNER = bytes(x ^ 0x36 for x in range(256))
_OUTER = bytes(x ^ 0x5C for x in range(256))
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_encode_claim = msgspec.msgpack.Encoder().encode


class RunClaim(Struct, frozen=True, array_like=True):
    """What a run token says: this attempt of this task of this run, until ``expires_at`` (µs)."""

    run: int
    no: int
    index: int
    epoch: int
    expires_at: int


def mint_token(name: str = "") -> tuple[str, str]:
    """A new access token: (text to show once, hash to keep). A ``name`` stands in the text: a leaked one says whose it is."""
    return _mint(TOKEN_PREFIX, name)


def mint_session(user: str, slot: int) -> tuple[str, str]:
    """A new session of this user: (text to show once, hash to keep). It takes one of the user's places for sessions."""
    return _mint(SESSION_PREFIX, f"{user}.{slot:02d}")


def _mint(prefix: str, name: str) -> tuple[str, str]:
    body = prefix + secrets.token_urlsafe(32) + (f".{name}" if name else "")
    text = body + f"{zlib.crc32(body.encode()):08x}"
    return text, hash_token(text)


def hash_token(text: str) -> str:
    """What is kept of a token or session."""
    return hashlib.sha256(text.encode()).hexdigest()


def token_name(hashed: str) -> str:
    """The name of the row of a token without a name: the beginning of its hash, so that it is found without a search."""
    return hashed[:NAME_LENGTH]


def put_token(hashed: str, role: str, *, expires_at: int = 0, description: str = "") -> PutToken:
    """The change that makes a token without a name good; ``hashed`` is what ``mint_token`` gave beside its text."""
    return PutToken(token_name(hashed), bytes.fromhex(hashed), role, expires_at, description=description)


def row_of(text: str) -> EntityKey:
    """The row of this token or session. Raises Unauthorized for what cannot be one: cheap, before any row is read."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise Unauthorized("the token is not one of ours")
    if text[-_CHECKSUM:] != f"{zlib.crc32(text[:-_CHECKSUM].encode()):08x}":
        raise Unauthorized("the token has a typing error (its checksum does not fit)")
    prefix, name, slot = found.groups()
    if (prefix == SESSION_PREFIX) != (slot is not None) or (slot and not name):
        raise Unauthorized("the token is not one of ours")
    if slot is not None:
        return SESSION, session_name(name, int(slot))
    return TOKEN, name or token_name(hash_token(text))


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
