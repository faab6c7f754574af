"""Schedules, calendars and subscriptions: the whole schema of CONTRACT.md §2, as records.

As users write them. Nothing fires and nobody is told yet: ``core.check`` answers "not available yet" where a job has
some. Instants and dates are texts, durations like ``15m``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, UnsetType

from headrace.model.document import Count, Date, Duration, Name, Record, StateWord, WallTime

WeekDay = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Trigger(Record, frozen=True, kw_only=True):
    """When it fires: one of ``cron``, ``every``, ``at`` and ``any``, less what ``but_not`` names."""

    cron: str | UnsetType = UNSET
    """A cron pattern of five or six fields."""
    every: Duration | UnsetType = UNSET
    """An interval of elapsed time."""
    anchor: str | UnsetType = UNSET
    """The instant from which ``every`` is counted."""
    at: str | list[str] | UnsetType = UNSET
    """An instant, or a list of them."""
    any: Annotated[list[Trigger], Meta(min_length=1)] | UnsetType = UNSET
    """Several triggers; what falls on one instant fires once."""
    but_not: Trigger | UnsetType = UNSET
    """Instants that are left out."""


class Dst(Record, frozen=True, kw_only=True):
    """What happens where the clocks change."""

    gap: Literal["after", "shift", "skip"] = "after"
    """A wall time that is not there: the first instant after the gap, the same distance later, or none."""
    fold: Literal["first", "second", "both"] = "first"
    """A wall time that is there twice."""


class Misfire(Record, frozen=True, kw_only=True):
    """What happens with instants that passed while nobody could fire."""

    do: Literal["once", "skip", "all"] = "once"
    """One run for all of them, none, or one for each."""
    within: Duration | UnsetType = UNSET
    """Older ones are skipped."""
    limit: Count = 100
    """At most so many runs."""


class Window(Record, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The time in which it fires at all."""

    from_: str | UnsetType = UNSET
    """The first instant or date."""
    until: str | UnsetType = UNSET
    """The instant or date at which it is over."""


class Monitor(Record, frozen=True, kw_only=True):
    """What is done when a run of the schedule takes too long."""

    after: Duration | UnsetType = UNSET
    """So long after it began."""
    by: WallTime | UnsetType = UNSET
    """At this wall time."""
    do: Literal["alert", "stop"] = "alert"
    """Tell somebody, or stop the run."""
    at_risk: bool = False
    """Already when it can be foreseen."""


class JobSchedule(Trigger, frozen=True, kw_only=True):
    """A schedule inside of its job's document."""

    edn_namespace: ClassVar[str] = "schedule"

    name: Name | UnsetType = UNSET
    """Unique among schedules."""
    description: str = ""
    """For people."""
    timezone: str | UnsetType = UNSET
    """An IANA name; the server's otherwise, written into the saved document."""
    calendar: Name | UnsetType = UNSET
    """Whose non-working days count."""
    substitute: Literal["drop", "next", "previous", "nearest"] = "drop"
    """What becomes of an instant on a non-working day: nothing, or the same wall time of a working day."""
    dst: Dst | UnsetType = UNSET
    """Where the clocks change."""
    misfire: Misfire | UnsetType = UNSET
    """Instants that were missed."""
    overlap: Literal["queue", "skip", "replace"] = "queue"
    """When the run before has not ended."""
    window: Window | UnsetType = UNSET
    """When it fires at all."""
    jitter: Duration | UnsetType = UNSET
    """Each run begins up to so much later."""
    paused: bool = False
    """It does not fire; a pause by hand survives a new save."""
    params: dict[str, Any] = {}
    """The parameters of its runs, with ``${fire.…}``."""
    monitors: list[Monitor] = []
    """What is done about runs that take too long."""
    labels: dict[str, str] = {}
    """For filters and grouping."""


class Schedule(JobSchedule, frozen=True, kw_only=True):
    """A schedule as a document of its own."""

    name: Name
    """Unique among schedules."""
    job: Name
    """What is run."""


class DaysOff(Record, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Days of a calendar: ``{from, until}``, or the same day of every year ``{month, day}``."""

    from_: Date | UnsetType = UNSET
    """The first day."""
    until: Date | UnsetType = UNSET
    """The last day."""
    month: Annotated[int, Meta(ge=1, le=12)] | UnsetType = UNSET
    """The month of a day of every year."""
    day: Annotated[int, Meta(ge=1, le=31)] | UnsetType = UNSET
    """The day of that month."""


class Calendar(Record, frozen=True, kw_only=True):
    """Named non-working days with a day-start."""

    edn_namespace: ClassVar[str] = "calendar"

    name: Name
    """Unique among calendars."""
    description: str = ""
    """For people."""
    day_start: WallTime = "00:00"
    """When a business day begins."""
    weekly_off: list[WeekDay] = []
    """Days of the week."""
    days_off: list[Date | DaysOff] = []
    """Single days and spans."""
    countries: list[Annotated[str, Meta(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$(?!\n)")]] = []
    """Public holidays of countries and their parts: ``CH``, ``US-CA``."""
    working: list[Date] = []
    """Days that are working days all the same."""
    include: list[Name] = []
    """Calendars whose non-working days count here too."""
    exclude: list[Name] = []
    """Calendars whose non-working days do not count here."""
    labels: dict[str, str] = {}
    """For filters and grouping."""


class Happening(Record, frozen=True, kw_only=True):
    """What is waited for; all that is given must hold."""

    job: str | UnsetType = UNSET
    """A glob on the job's name."""
    state: StateWord | list[StateWord] | UnsetType = UNSET
    """The state, or one of the states, in which a run ended."""
    exit: str | UnsetType = UNSET
    """A glob on the exit status."""
    subject: str | UnsetType = UNSET
    """A glob on the subject of events."""


class Delivery(Record, frozen=True, kw_only=True):
    """Where it is told: exactly one of these."""

    webhook: str | UnsetType = UNSET
    """A URL that gets a signed POST."""
    mail: str | list[str] | UnsetType = UNSET
    """Addresses."""
    command: Annotated[list[str], Meta(min_length=1)] | UnsetType = UNSET
    """A command that gets the event on its standard input."""
    job: Name | UnsetType = UNSET
    """A job that is run with the event as its parameters."""
    callback: str | UnsetType = UNSET
    """A URL in the callback's form."""


class JobSubscription(Record, frozen=True, kw_only=True):
    """A subscription inside of its job's document."""

    edn_namespace: ClassVar[str] = "subscription"

    name: Name | UnsetType = UNSET
    """Unique among subscriptions."""
    when: Happening | UnsetType = UNSET
    """What is waited for."""
    deliver: Delivery | UnsetType = UNSET
    """Where it is told."""
    template: str | UnsetType = UNSET
    """The text that is sent."""
    secret: str | UnsetType = UNSET
    """The name of the secret that signs it."""


class Subscription(JobSubscription, frozen=True, kw_only=True):
    """A subscription as a document of its own."""

    name: Name
    """Unique among subscriptions."""
    when: Happening
    """What is waited for."""
    deliver: Delivery
    """Where it is told."""
