"""The link of one agent to one node, from both ends, without IO: hello, welcome, pulses, link epochs, reconciling.

Must never read a clock, wait or send: instants (monotonic seconds) come in as values, records go out as values. The
agent's shell and control's loops drive it; the simulator drives the same code. ``AGENT_MOVES`` and ``CONTROL_MOVES`` are the whole behaviour; an event
that is not in the table is refused and changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum

from msgspec import Struct

from headrace.link.records import AttemptName, Held, Hello, Pulse, PulseAnswer, Welcome
from headrace.model.errors import LinkError, Refused

PULSE_S = 3.0
"""Seconds between two pulses of an agent."""


class LinkState(StrEnum):
    """Where one end of a link stands."""

    apart = "apart"
    """No doorbell."""
    greeting = "greeting"
    """The doorbell is open; hello was sent (agent) or is awaited (control)."""
    linked = "linked"
    """Welcome was exchanged: calls may be made under its link epoch."""


AGENT_MOVES: dict[tuple[LinkState, str], LinkState] = {
    (LinkState.apart, "dialed"): LinkState.greeting,
    (LinkState.greeting, "welcome"): LinkState.linked,
    (LinkState.linked, "answer"): LinkState.linked,
    (LinkState.linked, "pulse"): LinkState.linked,
    (LinkState.greeting, "cut"): LinkState.apart,
    (LinkState.linked, "cut"): LinkState.apart,
    (LinkState.apart, "cut"): LinkState.apart,
}
"""(state, event) -> state, for the agent's end."""

CONTROL_MOVES: dict[tuple[LinkState, str], LinkState] = {
    (LinkState.apart, "opened"): LinkState.greeting,
    (LinkState.greeting, "hello"): LinkState.linked,
    (LinkState.linked, "pulse"): LinkState.linked,
}
"""(state, event) -> state, for control's end, which lives as long as its doorbell."""


def _move(moves: dict[tuple[LinkState, str], LinkState], state: LinkState, event: str) -> LinkState:
    after = moves.get((state, event))
    if after is None:
        raise LinkError(f"a link that is {state} cannot take {event!r}")
    return after


class AgentLink:
    """The agent's end. Lives as long as the boot id; a doorbell comes and goes within it."""

    def __init__(self, hello: Hello) -> None:
        self.state = LinkState.apart
        self.link_epoch = 0
        self.agent = 0
        self._hello = hello
        self._sent: dict[int, float] = {}
        self._n = 0
        self._heard_at: float | None = None

    @property
    def welcomed(self) -> bool:
        """Whether control has welcomed this life. Before that no call may be believed: one meant for an earlier life,
        late or sent again, would acknowledge outcomes of this one that nobody has read.
        """
        return self.link_epoch > 0

    def dialed(self, last: int, *, draining: bool = False) -> Hello:
        """The doorbell is open: this is to be sent first. ``last`` is the highest outcome number of this boot."""
        self.state = _move(AGENT_MOVES, self.state, "dialed")
        h = self._hello
        return Hello(h.agent, h.boot, h.slots, h.labels, h.version, h.runners, h.address, last, draining)

    def heard(self, record: object, at: float) -> None:
        """A record came in. ``LinkError`` when it does not belong here: close the doorbell then."""
        if isinstance(record, Welcome):
            state = _move(AGENT_MOVES, self.state, "welcome")
            if record.link_epoch < self.link_epoch:
                raise LinkError(f"welcome with link epoch {record.link_epoch}, older than {self.link_epoch}")
            self.state = state
            self.agent, self.link_epoch, self._heard_at = record.agent, record.link_epoch, at
        elif isinstance(record, PulseAnswer):
            self.state = _move(AGENT_MOVES, self.state, "answer")
            sent = self._sent.pop(record.n, None)
            if sent is None:
                return
            self._heard_at = sent if self._heard_at is None else max(self._heard_at, sent)
            self._sent = {n: t for n, t in self._sent.items() if n > record.n}
        else:
            raise LinkError(f"an agent does not take {type(record).__name__} on its doorbell")

    def pulse(
        self, at: float, *, load: float, running: int, queued: int, bell: bool = False, draining: bool = False
    ) -> Pulse:
        """The next pulse, to be sent now. ``bell`` says that outcomes wait and nobody holds a GET open."""
        self.state = _move(AGENT_MOVES, self.state, "pulse")
        self._n += 1
        if len(self._sent) < 64:
            self._sent[self._n] = at
        return Pulse(self._n, load, running, queued, bell, draining)

    def cut(self) -> None:
        """The doorbell is closed."""
        self.state = _move(AGENT_MOVES, self.state, "cut")
        self._sent.clear()

    def unheard(self, at: float) -> float:
        """Seconds since the sending of the last pulse that was answered (or since the welcome): the fuse."""
        return 0.0 if self._heard_at is None else at - self._heard_at

    def admit(self, link_epoch: int) -> None:
        """A call came in under this link epoch. ``Refused`` when an older node makes it."""
        if link_epoch < self.link_epoch:
            raise Refused(f"link epoch {link_epoch} is over: this agent is linked under {self.link_epoch}")
        self.link_epoch = link_epoch


class ControlLink:
    """Control's end of the link of one agent, for as long as one doorbell is open."""

    def __init__(self) -> None:
        self.state = LinkState.apart
        self.hello: Hello | None = None
        self.link_epoch = 0
        self.pulse: Pulse | None = None

    def opened(self) -> None:
        """A doorbell was opened; hello must come."""
        self.state = _move(CONTROL_MOVES, self.state, "opened")

    def heard(self, record: object) -> PulseAnswer | None:
        """A record came in; the answer is to be sent at once. After a ``Hello`` call ``welcome``."""
        if isinstance(record, Hello):
            self.state = _move(CONTROL_MOVES, self.state, "hello")
            self.hello = record
            return None
        if isinstance(record, Pulse):
            self.state = _move(CONTROL_MOVES, self.state, "pulse")
            self.pulse = record
            return PulseAnswer(record.n)
        raise LinkError(f"control does not take {type(record).__name__} on a doorbell")

    def welcome(self, agent: int, link_epoch: int, after: int) -> Welcome:
        """The link epoch was raised in the store to ``link_epoch``; ``after`` is the stored cursor of this boot."""
        if self.state is not LinkState.linked:
            raise LinkError(f"no welcome for a link that is {self.state}")
        self.link_epoch = link_epoch
        return Welcome(agent, link_epoch, after)


class Reconciled(Struct, frozen=True):
    """What differs between what control believes and what the agent holds.

    ``missing``: believed to be there, but unknown to the agent: the start never arrived (same boot id: given back, at no cost)
    or was lost with another life. ``foreign``: held by the agent, but not control's any more: fence it.
    """

    missing: tuple[AttemptName, ...] = ()
    foreign: tuple[AttemptName, ...] = ()


def reconcile(held: Held, believed: Iterable[AttemptName], known: Collection[AttemptName] = ()) -> Reconciled:
    """Compare. ``believed`` must have been read *before* ``held`` was asked for; attempts dispatched since then are
    given in ``known`` and are neither missing nor foreign.
    """
    here = set(held.attempts)
    done = set(held.finished)
    wanted = set(believed)
    fine = wanted | set(known)
    missing = tuple(sorted(wanted - here - done, key=_order))
    return Reconciled(missing, tuple(sorted(here - fine, key=_order)))


def _order(name: AttemptName) -> tuple[int, int, int, int]:
    return (name.run, name.no, name.index, name.epoch)
