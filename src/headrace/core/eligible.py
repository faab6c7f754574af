"""May this work start here, now? The one place that says so.

Pure. ``eligible`` judges one task of one run against one offer; a claim acts on it, ``core.explaining`` prints it, so
a reason that is added to the rules below shows up in both. Nothing else in the product may hold work back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from headrace.core import limits
from headrace.core.nodes import GateRule, Node, Placement
from headrace.core.work import Gate, Offer, Working
from headrace.model.cells import RunCell
from headrace.model.limits import Limit, LimitKey, Take
from headrace.model.states import RUN_FINAL, RunState, StopIntent


class Reason(Struct, frozen=True):
    """Why something waits: a fixed ``code``, a sentence, and the name of what it is about."""

    code: str
    message: str
    refers_to: str = ""
    at: int = 0
    """When this may be over by time alone; 0 where nobody knows."""


class Hold(Struct, frozen=True):
    """A limit that keeps an attempt from beginning now."""

    reason: Reason
    limit: LimitKey


class Decision(Struct, frozen=True):
    """Yes when there is no reason against it."""

    reasons: tuple[Reason, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.reasons


YES = Decision()

RunRule = Callable[[Node, RunCell], Reason | None]
OfferRule = Callable[[Placement, Offer], Reason | None]


def eligible(node: Node, run: RunCell, offer: Offer, taken: int = 0) -> Decision:
    """Whether a ready task may start on this offer, of which ``taken`` places are given away in the same step."""
    found: list[Reason] | None = None
    for run_rule in RUN_RULES:
        if reason := run_rule(node, run):
            found = [reason] if found is None else [*found, reason]
    for offer_rule in OFFER_RULES:
        if reason := offer_rule(node.placement, offer):
            found = [reason] if found is None else [*found, reason]
    if room_of(node.placement, node.klass, offer, taken) <= 0:
        found = [*(found or ()), _no_room(offer)]
    return YES if found is None else Decision(tuple(found))


def may_begin(node: Node, run: RunCell) -> Decision:
    """Whether the run lets this task begin at all, wherever."""
    reasons = tuple(reason for rule in RUN_RULES if (reason := rule(node, run)))
    return Decision(reasons) if reasons else YES


def room_of(kind: Placement, klass: int, offer: Offer, taken: int = 0) -> int:
    """How many more attempts of a class the offer takes; work ahead of slots only where losing it is free."""
    free = offer.free - taken
    if not offer.ahead or kind.on_lost != "retry":
        return free
    return free + offer.ahead.get(klass, 0)


def places_free(offers: Iterable[Offer]) -> int:
    """Slots that some work could have now."""
    return sum([offer.free for offer in offers if offer.free > 0 and not offer.draining])


def choose(node: Node, run: RunCell, offers: list[Offer], taken: dict[int, int] | None = None) -> int:
    """The place of the eligible offer with most room, -1 when there is none. ``taken``: given away in this step."""
    for rule in RUN_RULES:
        if rule(node, run):
            return -1
    return place_for(node.placement, node.klass, offers, taken)


def place_for(kind: Placement, klass: int, offers: list[Offer], taken: dict[int, int] | None = None) -> int:
    """The place of the offer with most room that this class may go to, -1 when there is none.

    All that can be said without the run: the claim loop asks it for classes before it knows which run comes next.
    """
    best, most = -1, 0
    for place, offer in enumerate(offers):
        room = room_of(kind, klass, offer, taken.get(place, 0) if taken else 0)
        if room > most and _suits(kind, offer):
            best, most = place, room
    return best


def rooms_for(kind: Placement, klass: int, offers: list[Offer], taken: dict[int, int]) -> list[int]:
    """How many more of this class each of these takes; none where it may not go."""
    return [
        room_of(kind, klass, offer, taken.get(place, 0)) if _suits(kind, offer) else 0
        for place, offer in enumerate(offers)
    ]


def _suits(kind: Placement, offer: Offer) -> bool:
    for rule in OFFER_RULES:  # noqa: SIM110  a generator costs more than the rules, and this is hot
        if rule(kind, offer):
            return False
    return True


def is_let_in(rule: GateRule, gate: Gate) -> bool:
    """Whether one more run of a job may begin beside those that are in; nobody overtakes those who wait."""
    return len(gate.holders) < rule.max and not gate.waiting


def held_back(takes: Iterable[Take], working: Working, now: int) -> Hold | None:
    """The first limit that does not let these units begin now; None when all of them do.

    What was not loaded gives nothing: a claim that took without looking could exceed a limit.
    """
    if working.unlimited:
        return None
    for name, key, units in takes:
        limit = working.limits.get(name)
        if reason := _limit_reason(limit, (name, key), units, working, now):
            return Hold(reason, (name, key))
    return None


def _limit_reason(limit: Limit | None, of: LimitKey, units: int, working: Working, now: int) -> Reason | None:
    name, used, tick = of[0], working.uses.get(of, limits.MOST), working.ticks.get(of, 0)
    called = f"limit {name}" + (f" for {of[1]}" if of[1] else "")
    if limit is None:
        return Reason("limit_missing", f"there is no {called}: it waits until one is put", name)
    if limits.starts(limit, units, used, tick, now) and of in working.uses:
        return None
    if limit.paused:
        return Reason("limit_paused", f"{called} is paused" + (f": {limit.reason}" if limit.reason else ""), name)
    if not limits.fits(limit, units):
        most = limit.burst if limit.slots is None else limit.slots
        return Reason("limit_full", f"{called} has {most} units, the task asks for {units}", name)
    if limit.slots is not None and limit.slots - used < units:
        holders = working.holders.get(of, ())
        by = f", held by {', '.join(holders)}" if holders else ""
        return Reason("limit_full", f"{called} is full: {used} of {limit.slots} units are in use{by}", name)
    at = limits.next_start(limit, units, tick, now)
    return Reason(
        "rate", f"{called} lets {limit.rate or 'no more'} begin; the next in {_seconds(at - now)} s", name, at
    )


def _seconds(span: int) -> str:
    return f"{max(0, span) / 1_000_000:.1f}"


def is_spared(node: Node, run: RunCell) -> bool:
    """Whether a failure under ``on_failure: stop`` still lets this task begin."""
    spared, at = run.spared, node.no >> 3
    return at < len(spared) and bool(spared[at] >> (node.no & 7) & 1)


def stopped(node: Node, run: RunCell) -> bool:
    """Whether nothing of this task may begin any more, because its run is being brought to its end."""
    return run.state == RunState.stopping and not may_begin(node, run).ok


def _the_run_goes_on(node: Node, run: RunCell) -> Reason | None:
    state = run.state
    if state <= RunState.running:
        return None
    if state in RUN_FINAL:
        return Reason("run_over", f"the run has ended: {state.name}", str(run.run))
    if state == RunState.paused:
        return Reason("run_paused", "the run is paused", str(run.run))
    if node.final or (run.intent == StopIntent.failure and is_spared(node, run)):
        return None
    return Reason("run_stopping", f"the run is stopping: {run.reason or run.intent.name}", str(run.run))


def _it_was_let_in(node: Node, run: RunCell) -> Reason | None:
    more = run.more
    if more is None or not more.waiting:
        return None
    job = more.gate.partition(":")[2]
    of = f" for {more.key}" if more.key else ""
    return Reason("concurrency", f"as many runs of job {job}{of} as may be at once are there already", job)


def _it_takes_new_work(kind: Placement, offer: Offer) -> Reason | None:
    return (
        Reason("agent_draining", f"agent {_called(offer)} takes no new work", _called(offer))
        if offer.draining
        else None
    )


def _it_is_the_agent_asked_for(kind: Placement, offer: Offer) -> Reason | None:
    asked = kind.agent
    if not asked or asked == offer.name:
        return None
    return Reason("other_agent", f"the task asks for agent {asked}; this is {_called(offer)}", asked)


def _it_has_the_labels(kind: Placement, offer: Offer) -> Reason | None:
    wanted = kind.labels
    if not wanted:
        return None
    for name, value in wanted:
        if offer.labels.get(name) != value:
            return Reason("no_label", f"agent {_called(offer)} has no label {name}={value}", _called(offer))
    return None


def _no_room(offer: Offer) -> Reason:
    return Reason("no_room", f"agent {_called(offer)} has no room: all {offer.slots} slots are taken", _called(offer))


def _called(offer: Offer) -> str:
    return offer.name or str(offer.agent)


RUN_RULES: tuple[RunRule, ...] = (_the_run_goes_on, _it_was_let_in)
OFFER_RULES: tuple[OfferRule, ...] = (
    _it_takes_new_work,
    _it_is_the_agent_asked_for,
    _it_has_the_labels,
)
