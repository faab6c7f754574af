"""What the handlers need, in one record that the app fills: ledger, reader, blobs, auth, clock and the like.

Protocols and a record only. Made by ``control.app`` (and by tests), handed to ``build_api``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from headrace.codec.params import ParamsSchemas
from headrace.control.api.absent import Absent
from headrace.control.api.run_lines import RunLines
from headrace.control.auth import Auth
from headrace.control.backup.service import Backups
from headrace.control.events.tail import Tail
from headrace.control.graphs import Graphs
from headrace.control.ledger import Ledger
from headrace.control.lockout import Lockout
from headrace.control.loops.limbo import LimboCheck
from headrace.control.metrics import Requests
from headrace.control.passwords import Passwords
from headrace.control.progress import Counts, Progress
from headrace.control.saved import SavedJobs
from headrace.control.values import Values
from headrace.control.waiters import Waiters
from headrace.core.work import Offer
from headrace.link.port import AgentCalls
from headrace.model.ports import Clock
from headrace.store.port import Blobs, Reader


class TakesIds(Protocol):
    """Where run ids come from (``control.ids``)."""

    async def take(self, count: int = 1) -> int: ...


def no_agent(_agent: int) -> AgentCalls | None:
    """No agent is linked."""
    return None


def no_offers() -> Sequence[Offer]:
    """No agent has room."""
    return ()


def stay(_why: str) -> None:
    """Nobody would start this control again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that handlers use.

    ``agents`` gives the calls of a linked agent by its number (live logs); ``offers`` what agents could take now
    (explain, and which agents are linked); ``ready`` tells problems that keep this node from making progress, empty
    when all is well; ``hosts`` are further good Host names; ``alone`` says that no other process writes this store;
    ``store_settings`` are those that the store read back from its writing connection.
    """

    ledger: Ledger
    reader: Reader
    blobs: Blobs
    auth: Auth
    clock: Clock
    ids: TakesIds
    graphs: Graphs
    jobs: SavedJobs
    values: Values
    tail: Tail
    requests: Requests = field(default_factory=Requests)
    waiters: Waiters = field(default_factory=Waiters)
    agents: Callable[[int], AgentCalls | None] = no_agent
    absent: Absent = field(default_factory=Absent)
    offers: Callable[[], Sequence[Offer]] = no_offers
    waiting: Callable[[], frozenset[int]] = frozenset
    """Placements of which ready tasks wait for room (explain)."""
    ready: Callable[[], Sequence[str]] = tuple
    hosts: tuple[str, ...] = ()
    alone: bool = True
    store_name: str = "sqlite"
    store_settings: Mapping[str, str] = field(default_factory=dict)
    passwords: Passwords = field(default_factory=Passwords)
    lockout: Lockout = field(default_factory=Lockout)
    backups: Backups | None = None
    begin_anew: Callable[[str], None] = stay
    """End this life of control once the answer is on its way; whoever supervises it starts the next."""
    progress: Progress = field(default_factory=Progress)
    counts: Counts = field(default_factory=Counts)
    run_lines: RunLines = field(default_factory=RunLines)
    limbo: LimboCheck | None = None
    """Looks for runs to which nothing will happen, where somebody looks."""
    schemas: ParamsSchemas = field(default_factory=ParamsSchemas)
