"""Asking the ledger and answering the caller, once per idempotency key.

What the caller is told is kept in the commit that made it true; the same request under the same key gets it again, and
another request under that key is a conflict (the ledger says so). Called by every handler that changes something.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct, structs

from headrace.codec.digests import sha256
from headrace.control.api.call import Call, Reply
from headrace.control.changes.named import Decided, NamedChange, Rows
from headrace.control.changes.result import AnswerKey, Result
from headrace.control.changes.result import Reply as Kept
from headrace.model.changes import Change
from headrace.model.errors import HeadraceError
from headrace.store.rows import Answer, EntityKey, LogSegment


class Told(Struct, frozen=True):
    """What the caller is told: status, view, Location."""

    status: int
    view: Any
    location: str = ""


Tell = Callable[[list[Result]], Told]


async def ask(call: Call, change: Change, tell: Tell, *, segments: Sequence[LogSegment] = ()) -> Reply:
    """Ask for one change of a run, with it pieces of its log, and answer; committed when it returns. Raises what
    refused it.
    """
    call.asked = True
    ledger = call.services.ledger
    if call.key is None:
        return _reply(tell([await ledger.ask(change, call.origin, segments=segments)]))
    result = await ledger.ask(change, call.origin, answer=_key(call, tell), segments=segments)
    return _again(call, result.answer) if result.answer is not None else _reply(tell([result]))


async def ask_named(
    call: Call, change: NamedChange, tell: Tell, *, why: str | None = None, kept: Tell | None = None
) -> Reply:
    """The same for a change about a named thing. ``why``: what the body says of it. ``kept``: what is kept to be told
    again, where that must hold less than is told now (secrets).
    """
    call.asked = True
    answer = None if call.key is None else _key(call, kept or tell)
    origin = call.origin if why is None else structs.replace(call.origin, why=why)
    result = await call.services.ledger.change(change, origin, answer=answer)
    return _again(call, result.answer) if result.answer is not None else _reply(tell([result]))


async def ask_all(call: Call, changes: Sequence[Change], tell: Tell, *, segments: Sequence[LogSegment] = ()) -> Reply:
    """Ask for many changes, with them pieces of logs: all or nothing."""
    call.asked = True
    answer = None if call.key is None else _key(call, tell)
    results = await call.services.ledger.ask_all(changes, call.origin, answer=answer, segments=segments)
    if results and results[0].answer is not None:
        return _again(call, results[0].answer)
    return _reply(tell(list(results)))


async def answer_of(call: Call) -> Reply | None:
    """The first answer under this request's key, where there is one: asked before a deed that no commit can hold back.
    Raises Conflict when another request has that key.
    """
    if call.key is None:
        return None
    try:
        return await answered_before(call, _Nothing())
    except _Nothing:
        return None


class _Nothing(HeadraceError):
    """Nobody has asked under this key."""


async def answered_before(call: Call, error: HeadraceError) -> Reply:
    """A request that is refused now may have been answered before: that answer again, else the error."""
    result = await call.services.ledger.change(Refuse(error), call.origin, answer=_key(call, lambda _: Told(500, None)))
    if result.answer is None:
        raise error
    return _again(call, result.answer)


class Refuse(Struct, frozen=True):
    """A change that is always refused: asks the ledger whether its idempotency key was answered before."""

    error: HeadraceError

    def names(self) -> tuple[EntityKey, ...]:
        """No rows."""
        return ()

    def digests(self) -> tuple[bytes, ...]:
        """No documents."""
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Raise the error."""
        raise self.error


def _key(call: Call, tell: Tell) -> AnswerKey:
    # what is asked for stands in the query as well: a dry run is another request than the real one
    where = call.path.encode() + (b"?" + call.query_text if call.query_text else b"")
    request = sha256(b"\0".join([call.method.encode(), where, call.raw])).digest()

    def reply(results: list[Result]) -> Kept:
        told = tell(results)
        return Kept(told.status, told.location, msgspec.json.encode(told.view))

    return AnswerKey(call.caller.scope, call.key or "", request, reply)


def _reply(told: Told) -> Reply:
    headers = ((b"location", told.location.encode()),) if told.location else ()
    return Reply(told.view, told.status, headers=headers)


def _again(call: Call, answer: Answer) -> Reply:
    """The first answer, in the format that is asked for now."""
    headers = [(b"idempotent-replay", b"true")]
    if answer.location:
        headers.append((b"location", answer.location.encode()))
    if answer.status == 204:
        return Reply(status=204, headers=tuple(headers))
    if call.accept == "application/json":
        return Reply(status=answer.status, body=answer.body, media=call.accept, headers=tuple(headers))
    view = msgspec.json.decode(answer.body)
    # EDN's keys need the record; an answer of an older version may not be one of today's any more
    with contextlib.suppress(msgspec.ValidationError):
        view = msgspec.convert(view, call.answer_type)
    return Reply(view, answer.status, headers=tuple(headers))
