"""Parents and children: what each message of the outbox asks of the run that it is for.

Reads what it needs to know (the saved job, how a child ended) and makes the change; decides nothing and writes nothing.
What cannot be done becomes the failed attempt of the parent's task, with a sentence. Called by the outbox loop.
"""

from __future__ import annotations

import logging

import msgspec
from msgspec import UNSET

from headrace.codec.params import ParamsSchemas
from headrace.control.graphs import Graphs
from headrace.control.ids import Ids
from headrace.control.ledger import Ledger
from headrace.control.missing import no_longer_waiting
from headrace.control.restarts import child_to_go_on_from, going_on
from headrace.control.saved import Saved, SavedJobs
from headrace.control.values import Values
from headrace.model.cells import InputMore, ParentRef, RunInput, Value
from headrace.model.changes import Abandon, Cancel, Change, OutcomeKind, Settle, Stop, Submit
from headrace.model.errors import Busy, HeadraceError, Invalid, NotFound, StoreError, TooLarge
from headrace.model.messages import AnyMessage, ChildEnded, Message, StartChild, StopChild
from headrace.model.ports import Clock
from headrace.model.states import RunState
from headrace.store.port import Reader
from headrace.store.rows import RunRow

NO_CHILD = "no_child"
"""The reason of an attempt whose child run could not be made."""

CHILD_FAILED = "child"
"""The reason of an attempt whose child run did not succeed."""

_VERBS: dict[str, type[Cancel | Stop | Abandon]] = {"cancel": Cancel, "stop": Stop, "abandon": Abandon}

log = logging.getLogger("headrace.control")
_encode = msgspec.json.Encoder().encode


class Family:
    """Makes changes of messages."""

    def __init__(
        self,
        reader: Reader,
        ledger: Ledger,
        *,
        jobs: SavedJobs,
        graphs: Graphs,
        ids: Ids,
        values: Values,
        clock: Clock,
    ) -> None:
        self.reader = self._reader = reader
        self.ledger = ledger
        self.jobs = self._jobs = jobs
        self.graphs = self._graphs = graphs
        self._ids = ids
        self._values = values
        self._clock = clock
        self._schemas = ParamsSchemas()

    async def change(self, message: AnyMessage) -> Change | None:
        """What a message asks for; None when nobody is there to be told. What is wrong with it fails the attempt."""
        try:
            return await self._change(message)
        except (Busy, StoreError):
            raise
        except HeadraceError as error:
            return self.not_made(message, error)
        except Exception as error:  # one message that nobody understands must not hold up the others
            log.exception("a message of run %d cannot be delivered", message.run)
            if isinstance(message, StopChild):
                return None
            return self.not_made(message, HeadraceError(f"{type(error).__name__}: {error}"))

    async def _change(self, message: AnyMessage) -> Change | None:
        if isinstance(message, StartChild):
            return await self._start(message)
        if isinstance(message, StopChild):
            return await self._stop(message)
        return await self._ended(message)

    def not_made(self, message: Message, error: HeadraceError) -> Settle:
        """The end of an attempt for which no child could be made."""
        now = self._clock.now()
        return _settle(
            message,
            OutcomeKind.failed,
            now,
            now,
            reason=NO_CHILD,
            error=error.message,
            kind_of_error=type(error).__name__,
        )

    async def _start(self, message: StartChild) -> Submit:
        """A new child; under a parent that goes on from a failed run it goes on from the child which that run had."""
        given = await self._input(message)
        try:
            old = await child_to_go_on_from(self._reader, self._graphs, message) if message.source else None
            if old is not None and (old.input.job, old.input.params) == (given.job, given.params):
                return await going_on(self._reader, self._graphs, given, old)
        except NotFound:
            log.info("run %d is not kept whole any more: a child of run %d begins anew", message.source, message.run)
        return Submit(given)

    async def _input(self, message: StartChild) -> RunInput:
        saved = await self._saved(message)
        if saved.record.missing:
            saved = await no_longer_waiting(self, saved)
        definition = (await self._graphs.load(saved.record.graph)).definition
        params = msgspec.json.decode(message.params)
        if definition.params is not UNSET:
            try:
                params = self._schemas.of(definition.params).fill(params)
            except Invalid as error:
                raise Invalid(f"the parameters do not fit job {message.job}: {_told(error)}") from error
        return RunInput(
            await self._ids.take(),
            saved.record.graph,
            message.job,
            saved.row.version,
            self._clock.now(),
            _encode(params) if params else b"{}",
            dict(definition.labels),
            max(definition.priority, message.priority),
            None,
            message.actor,
            InputMore(parent=ParentRef(message.run, message.no, message.index, message.epoch, message.depth)),
        )

    async def _saved(self, message: StartChild) -> Saved:
        if not message.version:
            saved = await self._jobs.get(message.job)
        else:
            saved = await self._jobs.version(message.job, message.version)
        if saved is None:
            told = f" with a version {message.version}" if message.version else ""
            raise NotFound(f"there is no job {message.job}{told}")
        return saved

    async def _stop(self, message: StopChild) -> Change | None:
        child = await self._reader.child(message.run, message.no, message.index, message.epoch)
        return None if child is None else _VERBS[message.how](child, message.reason)

    async def _ended(self, message: ChildEnded) -> Change | None:
        row = await self._reader.run(message.child)
        if row is None:
            return None
        state = row.cell.state
        if state is RunState.succeeded:
            return await self._succeeded(message, row)
        if state is RunState.canceled:
            return _of_child(message, row, OutcomeKind.canceled, f"child run {message.child} was canceled")
        return _of_child(message, row, OutcomeKind.failed, _why(row))

    async def _succeeded(self, message: ChildEnded, row: RunRow) -> Settle:
        try:
            result = await self._values.run_result(row, await self._graphs.load(row.cell.graph))
        except TooLarge as error:
            return _of_child(message, row, OutcomeKind.failed, f"child run {message.child}: {error.message}")
        text = _encode(result)
        value = None
        if result is not None:
            value = Value(len(text), "inline", text, "", False, len(result) if isinstance(result, list) else -1)
        return _of_child(message, row, OutcomeKind.succeeded, None, result=value)


def _of_child(
    message: ChildEnded, row: RunRow, kind: OutcomeKind, told: str | None, *, result: Value | None = None
) -> Settle:
    cell = row.cell
    failed = kind is OutcomeKind.failed
    return _settle(
        message,
        kind,
        cell.created_at,
        cell.ended_at,
        exit_status=cell.exit_status,
        reason=CHILD_FAILED if failed else told,
        error=told if failed else None,
        result=result,
        digest=b"%d" % message.child,
    )


def _settle(
    message: Message,
    kind: OutcomeKind,
    started_at: int,
    ended_at: int,
    *,
    exit_status: str | None = None,
    reason: str | None = None,
    error: str | None = None,
    result: Value | None = None,
    kind_of_error: str = "ChildFailed",
    digest: bytes = b"",
) -> Settle:
    text = None if error is None else _encode({"type": kind_of_error, "message": error})
    return Settle(
        message.run,
        message.no,
        message.index,
        message.epoch,
        kind,
        started_at,
        ended_at,
        exit_status=exit_status,
        result=result,
        error=None if text is None else Value(len(text), "inline", text),
        error_types=(kind_of_error,) if text else (),
        digest=digest,
        reason=reason,
    )


def _why(row: RunRow) -> str:
    """One sentence about a child that did not succeed; it names the run, in which all of it stands."""
    cell = row.cell
    because = cell.reason or (f"exit status {cell.exit_status}" if cell.exit_status else "")
    name = "" if row.input.job is None else f" ({row.input.job})"
    return f"child run {cell.run}{name} {cell.state.name}" + (f": {because}" if because else "")


def _told(error: Invalid) -> str:
    return "; ".join(f"{p.path}: {p.message}" if p.path else p.message for p in error.problems[:5]) or error.message
