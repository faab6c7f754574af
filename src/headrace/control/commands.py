"""Where each command of a committed group goes: the one listener of the ledger.

Called by the ledger after each commit, on the loop's thread; it only sorts and wakes, so it is quick and never fails.
Commands are hints beside the rows: what is lost here with the process is found again at the next start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headrace.control.assign import Assigner
from headrace.control.links import Links
from headrace.control.loops.admit import AdmitLoop
from headrace.control.loops.claim import ClaimLoop
from headrace.control.loops.due import DueLoop
from headrace.control.placement import Placement
from headrace.core.work import Alarm, Command, Dispatch, Ended, Freed, HasFiles, Parked, StopAttempt, Tell, Waits


class Commands:
    """Sorts commands by kind and agent and hands them to the loops."""

    def __init__(
        self,
        placement: Placement,
        links: Links,
        *,
        claims: ClaimLoop,
        admits: AdmitLoop,
        due: DueLoop,
        assigner: Assigner,
        ended: Callable[[int], None],
        told: Callable[[], None],
    ) -> None:
        self._placement = placement
        self._links = links
        self._claims = claims
        self._admits = admits
        self._due = due
        self._assigner = assigner
        self._ended = ended
        self._told = told

    def __call__(self, commands: Sequence[Command]) -> None:
        """Take the commands of one commit, in order."""
        starts: dict[int, list[Dispatch]] = {}
        stops: dict[int, list[StopAttempt]] = {}
        waits: list[Waits] = []
        fenced = False
        for c in commands:
            if isinstance(c, Dispatch):
                run, no, index = c.key
                self._placement.took(c.agent, (run, no, index, c.epoch), c.klass)
                starts.setdefault(c.agent, []).append(c)
            elif isinstance(c, Ended):
                self._assigner.ended(c.run)
                self._ended(c.run)
            elif isinstance(c, Alarm):
                self._due.alarm(c.at)
            elif isinstance(c, Waits):
                waits.append(c)
            elif isinstance(c, Tell | Parked | Freed | HasFiles):
                self._other(c)
            elif isinstance(c, StopAttempt):
                stops.setdefault(c.agent, []).append(c)
                # Nothing will be heard of a fenced attempt: its place is free from here on.
                if c.fence and self._placement.done((*c.key, c.epoch)) is not None:
                    fenced = True
        for agent, batch in starts.items():
            self._links.start(agent, batch)
        for agent, orders in stops.items():
            self._links.stop(agent, orders)
        if fenced:
            self._placement.room()
        if waits:
            self._claims.told(waits)

    def _other(self, c: Tell | Parked | Freed | HasFiles) -> None:
        if isinstance(c, Tell):
            self._told()
        elif isinstance(c, Parked):
            self._claims.parked(c.klass, c.limit, c.at)
        elif isinstance(c, HasFiles):
            self._assigner.left_files(c.run)
        else:
            self._claims.freed(c.limits)
            self._admits.freed(c.limits)
