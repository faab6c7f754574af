"""The arithmetic of named limits: what is free, how many may begin, when the next may, who took what.

Pure. A limit's use is counted over what attempts took and still hold; a rate is one instant (the theoretical arrival
time of GCRA), moved only by a start. ``core.eligible`` turns it into reasons; ``core.stepping.apply`` keeps the count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from headrace.core.durations import millis
from headrace.core.expression import parse
from headrace.core.work import Working
from headrace.model.cells import RunCell, TaskCell
from headrace.model.errors import Invalid, Problem
from headrace.model.limits import Limit, LimitBody, LimitKey, Take
from headrace.model.states import RUN_FINAL, TASK_LEASED, RunState

_RATE = re.compile(r"([0-9]{1,9})/(?:(ms|s|m|h|d)|(.+))")
MOST = 2**40
"""Starts of a limit without bounds."""

KEY_ROOTS = ("params", "run", "item", "index")
"""What the key of a limit may speak of."""

_ROOTS = ", ".join(KEY_ROOTS)


def starts(limit: Limit, units: int, used: int, tick: int, now: int) -> int:
    """How many attempts of so many units may begin now."""
    if limit.paused:
        return 0
    found = MOST if limit.slots is None else max(0, limit.slots - used) // units
    if limit.count:
        apart = spacing(limit)
        found = min(found, max(0, limit.burst * apart - ahead(tick, now)) // (units * apart))
    return found


def ahead(tick: int, now: int) -> int:
    """Microseconds by which a rate is spent."""
    return max(tick - now, 0)


def tick_under(limit: Limit, tick: int, at: int) -> int:
    """The rate's instant, written at ``at``: a rate that was changed since is at most as spent as it can be."""
    if not limit.count or at >= limit.since:
        return tick
    return min(tick, limit.since + limit.burst * spacing(limit))


def spacing(limit: Limit) -> int:
    """Microseconds between two units of a rate."""
    return max(1, -(-limit.per_us // limit.count))


def fits(limit: Limit, units: int) -> bool:
    """Whether so many units can ever be had."""
    return (limit.slots is None or units <= limit.slots) and (not limit.count or units <= limit.burst)


def next_start(limit: Limit, units: int, tick: int, now: int) -> int:
    """The instant from which the rate lets so many units begin."""
    return now + ahead(tick, now) + (units - limit.burst) * spacing(limit)


def moved_tick(limit: Limit, units: int, tick: int, now: int) -> int:
    """The rate's instant after a start of so many units."""
    return now + ahead(tick, now) + units * spacing(limit)


def ticks_of(working: Working, takes: Iterable[Take], now: int) -> dict[LimitKey, int]:
    """The instants of the rates that a start moves."""
    found = {}
    for name, key, units in takes:
        limit = working.limits.get(name)
        if limit is not None and limit.count:
            found[name, key] = moved_tick(limit, units, working.ticks.get((name, key), 0), now)
    return found


def released(old: TaskCell | None, new: TaskCell) -> tuple[LimitKey, ...]:
    """What a task gave back by this move: what it took, which may be another key's than what it will take next."""
    if old is None or old.more is None or old.state not in TASK_LEASED or new.state in TASK_LEASED:
        return ()
    return tuple([(name, key) for name, key, _ in old.more.takes])


def account(working: Working, old: TaskCell | None, new: TaskCell) -> None:
    """Count what a move of a task takes or gives back, as far as that was loaded."""
    held = new.state in TASK_LEASED
    if held == (old is not None and old.state in TASK_LEASED):
        return
    holder = new if held else old
    if holder is None or holder.more is None:
        return
    uses = working.uses
    for name, key, units in holder.more.takes:
        if (name, key) in uses:
            uses[name, key] += units if held else -units


def holds_gate(run: RunCell) -> bool:
    """Whether the run counts among those that its job may have at once."""
    more = run.more
    return more is not None and more.gate != "" and not more.waiting and run.state not in RUN_FINAL


def left_gate(run: RunCell) -> bool:
    """Whether the run counted at its job's gate, or waited there, and is over."""
    return run.more is not None and run.more.gate != "" and run.state in RUN_FINAL


def waits_at_gate(run: RunCell) -> bool:
    """Whether the run stands in the queue before its job's gate. One that is paused, or on its way out, does not."""
    more = run.more
    return more is not None and more.gate != "" and more.waiting and not more.begin_at and run.state == RunState.queued


def account_run(working: Working, old: RunCell | None, new: RunCell) -> None:
    """Count a run in or out at its job's gate, as far as that was loaded."""
    more = new.more or (old.more if old is not None else None)
    gate = None if more is None else working.gates.get((more.gate, more.key))
    if gate is None:
        return
    for there, run, group in ((holds_gate, new.run, gate.holders), (waits_at_gate, new.run, gate.waiting)):
        if there(new):
            group[run] = None
        else:
            group.pop(run, None)


def limit_of(body: LimitBody) -> Limit:
    """The limit that people wrote. Raises ``Invalid`` with every problem."""
    problems: list[Problem] = []
    if body.slots is None and body.rate is None:
        problems.append(Problem("", "a limit needs slots or a rate"))
    if body.burst is not None and body.rate is None:
        problems.append(Problem("burst", "a burst is for a rate: write rate, as 10/1s"))
    count, per_us = _rate(body.rate, problems)
    if body.key is not None:
        try:
            _key(body.key, problems)
        except Invalid as error:
            problems.append(Problem("key", error.message))
    if problems:
        many = f"{len(problems)} problem{'s' * (len(problems) != 1)}"
        raise Invalid(many, problems=tuple(problems))
    return Limit(
        body.slots,
        count,
        per_us,
        body.burst or 1,
        body.key or "",
        description=body.description or "",
        rate=body.rate or "",
    )


def body_of(limit: Limit) -> LimitBody:
    """What people wrote, again."""
    return LimitBody(
        slots=limit.slots,
        rate=limit.rate or None,
        burst=limit.burst if limit.burst != 1 else None,
        key=limit.key or None,
        description=limit.description or None,
    )


def _rate(text: str | None, problems: list[Problem]) -> tuple[int, int]:
    """(starts, microseconds) of a rate."""
    if text is None:
        return 0, 0
    found = _RATE.fullmatch(text)
    try:
        if found is not None and int(found[1]) > 0:
            per = millis("1" + found[2] if found[2] else found[3])
            if per > 0:
                return int(found[1]), per * 1000
    except Invalid as error:
        problems.append(Problem("rate", error.message))
        return 0, 0
    problems.append(Problem("rate", f"{text[:40]!r} is no rate; write how many in which time, as 10/1s"))
    return 0, 0


def _key(text: str, problems: list[Problem]) -> None:
    wrong = [ref.root for ref in parse(text).refs if ref.root not in KEY_ROOTS]
    problems.extend(Problem("key", f"${{{root}…}} is not known when a limit is asked; {_ROOTS} are") for root in wrong)
