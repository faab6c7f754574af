"""Read what one linked agent has to tell: one held GET while it has work, applied through the ledger with its cursor.

The next GET acknowledges what is committed; only then does the agent forget it. An outcome's bytes (large results,
artifacts) are fetched into the blobs before it is asked for. It decides nothing: the ledger says what is accepted,
already done or stale. One per link session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import structs

from headrace.control.delivery import Delivery
from headrace.control.loops.loop import Backoff, Loop
from headrace.control.placement import WINDOW, Linked, Placement
from headrace.link.port import AgentCalls
from headrace.link.records import Feed, Outcome, StartedNote
from headrace.model.cells import INLINE_MAX, Value
from headrace.model.changes import OutcomeKind, Settle, Started
from headrace.model.errors import Busy, LinkError, NotFound
from headrace.model.ports import Clock, Fault
from headrace.store.port import Blobs
from headrace.store.rows import ArtifactRow

WAIT_MS = 20_000
SLICE = 128
"""So many outcomes are read before others have their turn of the loop."""

LOST_BYTES = "the agent lost what the attempt made"

_ENCODER = msgspec.msgpack.Encoder()


class Applies(Protocol):
    """The part of the ledger that takes a delivery; returns when it is committed. Cancelled, it never ends in between."""

    async def deliver(self, delivery: Delivery) -> object:
        """Apply and commit."""


class Collector(Loop):
    """The outcomes loop of one link. ``after`` is the committed cursor of this boot."""

    def __init__(
        self,
        linked: Linked,
        calls: AgentCalls,
        ledger: Applies,
        *,
        after: int,
        placement: Placement,
        blobs: Blobs,
        logs: Callable[[Sequence[Outcome]], None],
        files: Callable[[int], None],
        doubt: Callable[[int], None],
        clock: Clock,
        fault: Fault,
    ) -> None:
        super().__init__()
        self.after = after
        self._linked = linked
        self._calls = calls
        self._ledger = ledger
        self._placement = placement
        self._blobs = blobs
        self._logs = logs
        self._files = files
        self._doubt = doubt
        self._fresh = True
        self._clock = clock
        self._fault = fault
        self._backoff = Backoff()

    async def run_once(self) -> None:
        """Read and apply until the agent holds nothing and has nothing more to tell."""
        while True:
            feed = await self._read()
            if feed is None:
                continue
            if feed.outcomes or feed.started:
                await self._apply(feed)
            elif not self._linked.held:
                return

    async def _read(self) -> Feed | None:
        wait = WAIT_MS if self._linked.held else 0
        try:
            feed = await self._calls.outcomes(self.after, wait, self._linked.link_epoch)
        except (Busy, LinkError):
            await self._backoff.wait()
            return None
        self._backoff.reset()
        if feed.boot != self._linked.boot_id:
            raise LinkError(f"the feed of boot {feed.boot} came where {self._linked.boot_id} was linked")
        self._mind_the_gap(feed.first)
        return feed

    def _mind_the_gap(self, first: int) -> None:
        """Outcomes that the agent has forgotten were acknowledged by somebody else: a new link compares everything.

        At the beginning of a link that has just been done.
        """
        fresh, self._fresh = self._fresh, False
        if first > self.after + 1:
            if not fresh:
                raise LinkError(f"outcomes {self.after + 1} to {first - 1} were told to another node")
            self.after = first - 1

    async def _apply(self, feed: Feed) -> None:
        outcomes = feed.outcomes
        self._fault("outcomes.before_fetch")
        for at, o in enumerate(outcomes):
            if o.artifacts or o.result_digest:
                outcomes[at] = await self._with_bytes(o)
        self._measure(outcomes)
        placement, linked = self._placement, self._linked
        boot = linked.boot
        settles = await self._settles(outcomes)
        for o in outcomes:
            placement.done((o.run, o.no, o.index, o.epoch))
            if o.kind is OutcomeKind.refused:
                # It may lack what it had: the next dispatch asks, before these are ready again.
                self._doubt(boot)
        after = outcomes[-1].m if outcomes else self.after
        delivery = Delivery(
            linked.agent,
            linked.name,
            boot,
            linked.boot_id,
            after,
            settles,
            [*[started(n) for n in feed.started], *[said(o) for o in outcomes if o.progress]],
            {(o.run, o.no, o.index, o.epoch): files(o) for o in outcomes if o.artifacts},
        )
        placement.room()
        self._fault("outcomes.before_apply")
        began = self._clock.monotonic()
        await self._ledger.deliver(delivery)
        linked.measured(deliver_us=(self._clock.monotonic() - began) * 1e6)
        self._fault("outcomes.after_apply")
        self.after = after
        self._logs(outcomes)

    async def _settles(self, outcomes: Sequence[Outcome]) -> list[Settle]:
        """What the outcomes ask for. Others have their turns of the loop meanwhile."""
        settles: list[Settle] = []
        boot = self._linked.boot
        for start in range(0, len(outcomes), SLICE):
            if start:
                await asyncio.sleep(0)
            settles += [settle(o, boot) for o in outcomes[start : start + SLICE]]
        return settles

    def _measure(self, outcomes: Sequence[Outcome]) -> None:
        """Take a few durations per class; enough for a median."""
        samples: dict[int, list[int]] = {}
        held = self._linked.held
        for o in outcomes:
            klass = held.get((o.run, o.no, o.index, o.epoch))
            if klass is not None and o.started_at:
                seen = samples.setdefault(klass, [])
                if len(seen) < WINDOW:
                    seen.append(o.ended_at - o.started_at)
        for klass, durations in samples.items():
            self._placement.durations.add(klass, durations)

    async def _with_bytes(self, o: Outcome) -> Outcome:
        """The outcome, once its bytes are here. What the agent has lost is left out, and a success is none then."""
        if o.artifacts:
            self._files(o.run)
        lost = [a.digest for a in o.artifacts if not await self._fetch(a.digest)]
        kept = tuple(a for a in o.artifacts if a.digest not in lost)
        if o.result_digest and not await self._fetch(o.result_digest):
            o = structs.replace(o, result_digest="", result_size=0)
            lost.append("result")
        if not lost:
            return o
        if o.kind is OutcomeKind.succeeded:
            what = "result" if lost[-1] == "result" else f"{len(lost)} of its artifacts"
            why = f"{LOST_BYTES}: {what}"
            return structs.replace(o, kind=OutcomeKind.failed, artifacts=kept, reason=why, skip=False)
        return structs.replace(o, artifacts=kept)

    async def _fetch(self, digest: str) -> bool:
        """Whether these bytes are in the blobs now; False when the agent has them no longer, or others."""
        if await self._blobs.size(digest) is not None:
            return True
        while True:
            try:
                kept, _ = await self._blobs.put(self._calls.fetch(digest))
            except NotFound:
                return False
            except (Busy, LinkError):
                await self._backoff.wait()
                continue
            return kept == digest


def files(o: Outcome) -> list[ArtifactRow]:
    """What the attempt left."""
    return [ArtifactRow(o.run, o.no, o.index, a.path, a.digest, a.size) for a in o.artifacts]


def settle(o: Outcome, boot: int) -> Settle:
    """The change that an outcome asks for. Its digest names it for ever: the agent's life and its number there."""
    result = None if o.result is None and not o.result_digest else value_of(o)
    error = None if o.error is None else Value(len(o.error), _place(len(o.error)), o.error)
    return Settle(
        o.run,
        o.no,
        o.index,
        o.epoch,
        o.kind,
        o.started_at,
        o.ended_at,
        o.exit_status,
        o.exit_code,
        o.signal,
        result,
        error,
        o.error_types,
        o.stop_retry,
        o.skip,
        o.retry_after,
        b"" if o.seal is None else _ENCODER.encode(o.seal),
        b"%d:%d" % (boot, o.m),
        o.reason,
    )


def value_of(o: Outcome) -> Value:
    """Where an outcome's result is kept: in the cell, aside, or as a blob that was fetched before."""
    if o.result_digest:
        return Value(o.result_size, "blob", None, o.result_digest, o.result_lines, o.result_count)
    data = o.result or b""
    return Value(len(data), _place(len(data)), data, "", o.result_lines, o.result_count)


def _place(size: int) -> str:
    return "inline" if size <= INLINE_MAX else "aside"


def started(note: StartedNote) -> Started:
    """The change that a started note asks for."""
    return Started(note.run, note.no, note.index, note.epoch, note.at, note.said)


def said(o: Outcome) -> Started:
    """What an attempt that is over had said of itself: told before its end."""
    return Started(o.run, o.no, o.index, o.epoch, o.started_at, o.progress)
