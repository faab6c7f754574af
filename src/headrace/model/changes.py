"""Changes about runs: the records that ask ``core.stepping.step`` for something. The only input of the ledger.

A change names one run. Changes about named things (jobs, packages, agents) live in ``control.changes``, they need no
graph. A change carries every instant it speaks of; ``now`` of the step is the ledger's own reading.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from headrace.model.cells import RunInput, TaskCell, Value
from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.model.states import RunState


class OutcomeKind(StrEnum):
    """How an attempt ended, as its agent saw it."""

    succeeded = "succeeded"
    failed = "failed"
    timeout = "timeout"
    canceled = "canceled"
    lost = "lost"
    refused = "refused"
    """The agent did not start it (no room, no such package, stale): costs no attempt."""


class Submit(Struct, frozen=True, gc=False):
    """A new run. Its id was reserved by the node; ``input`` is checked against the schema of its parameters."""

    input: RunInput
    taken: tuple[TaskCell, ...] = ()
    """Of a restart: the cells of tasks that are not repeated, ended already; their results with data at hand."""

    @property
    def run(self) -> int:
        return self.input.run


class Restarted(Struct, frozen=True, gc=False):
    """Run ``by`` was made to go on with what this one, which has ended, did not do. In one commit with its ``Submit``."""

    run: int
    by: int


class Started(Struct, frozen=True, gc=False):
    """An attempt is running since ``at`` (told only when it is not also over)."""

    run: int
    no: int
    index: int
    epoch: int
    at: int
    said: bytes = b""
    """What it has said of itself: JSON text of phase, message, done, total, note."""


class Settle(Struct, frozen=True, gc=False):
    """An attempt is over.

    ``digest`` identifies this outcome: the same (epoch, digest) again is already done, a lower epoch is stale.
    ``stop_retry`` is set by ``Fail`` (no further attempt); ``retry_after`` by ``Retry`` (ms).  ``error_types`` are the
    class names of the exception and its bases, for ``only`` / ``never``.
    """

    run: int
    no: int
    index: int
    epoch: int
    kind: OutcomeKind
    started_at: int
    ended_at: int
    exit_status: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    result: Value | None = None
    error: Value | None = None
    error_types: tuple[str, ...] = ()
    stop_retry: bool = False
    skip: bool = False
    retry_after: int | None = None
    seal: bytes = b""
    digest: bytes = b""
    reason: str | None = None


class Claim(Struct, frozen=True, gc=False):
    """The claim loop found this ready task and an agent with room: give it out if it is still ready.

    ``limits`` names the limits that its class takes from: their rows are locked before the run's.
    """

    run: int
    no: int
    index: int
    limits: tuple[str, ...] = ()


class Admit(Struct, frozen=True, gc=False):
    """A run that waits at its job's gate may have its turn; harmless when there is no room yet."""

    run: int
    gate: str
    key: str


class Wake(Struct, frozen=True, gc=False):
    """``due_at`` of a cell has come: retry, propagate, expand, sweep, time out, fence. Harmless when nothing is owed."""

    run: int
    no: int = RUN_ITSELF
    index: int = WHOLE
    first: int = 0
    """Names the page to load, set by core on the wakes that follow: of a group the first item (-1: the whole list), of a
    run its sweep. A wake that finds the wrong page, or none, is followed by one with the right name."""


class Lose(Struct, frozen=True, gc=False):
    """The attempt's owner is gone (new boot id, lease over): it is known lost."""

    run: int
    no: int
    index: int
    epoch: int
    reason: str


class Cancel(Struct, frozen=True, gc=False):
    """Bring the run to its end: the ladder ask → kill → fence for what runs, ``canceled`` for what never began."""

    run: int
    reason: str | None = None


class Stop(Struct, frozen=True, gc=False):
    """Begin nothing new, let what runs finish, and end ``canceled``."""

    run: int
    reason: str | None = None


class Pause(Struct, frozen=True, gc=False):
    """Begin nothing new until ``Resume``; what runs goes on."""

    run: int
    reason: str | None = None


class Resume(Struct, frozen=True, gc=False):
    """Go on after ``Pause``; and let tasks go on that were held because their attempts were lost."""

    run: int
    reason: str | None = None


class Abandon(Struct, frozen=True, gc=False):
    """End the record at once: what an agent still has of it is fenced, nobody is waited for."""

    run: int
    reason: str | None = None


class Amend(Struct, frozen=True, gc=False):
    """Another priority, other labels, another phase: what is None stays. An ended run takes labels only.

    ``labels`` are those that change; the value None takes a label away.
    """

    run: int
    priority: int | None = None
    labels: dict[str, str | None] | None = None
    phase: str | None = None
    message: str | None = None


class Report(Struct, frozen=True, gc=False):
    """What others say of a run that they have: its state and what it came to. ``state`` None: it has not changed."""

    run: int
    state: RunState | None = None
    exit_status: str | None = None
    reason: str | None = None
    result: Value | None = None
    phase: str | None = None
    message: str | None = None
    seal: bytes = b""
    """Its log has a further piece and ends here now; ``seal_before`` is where it ended when that was written."""
    seal_before: bytes = b""


Verb = Cancel | Stop | Pause | Resume | Abandon
"""What a person may ask of a run that exists."""

VERBS = (Cancel, Stop, Pause, Resume, Abandon)

OF_THE_RUN = (Cancel, Stop, Pause, Resume, Abandon, Restarted, Amend, Report)
"""Changes that look at nothing but the run, or at its only task."""

Change = Submit | Restarted | Amend | Report | Started | Settle | Claim | Admit | Wake | Lose | Verb


class Origin(Struct, frozen=True, gc=False):
    """Who asked, why and from where: what a commit row records."""

    actor: str
    source: str
    why: str | None = None


SYSTEM = Origin("system", "control")
