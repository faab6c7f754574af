"""One asking, from its arrival at the ledger to its answer: what is asked, by whom, how far it has come.

Records of a queue; no rules. Made by ``control.ledger``, worked off by ``control.group``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from headrace.control.changes.named import NamedChange
from headrace.control.changes.result import AnswerKey, Result
from headrace.control.delivery import Delivery
from headrace.model.cells import RunCell
from headrace.model.changes import Change, Origin
from headrace.model.errors import HeadraceError
from headrace.store.rows import LogSegment

Answered = Result | HeadraceError


class Heard(asyncio.Future[list[Answered]]):
    """The answer to a unit of which nobody must know only half: while a group has it, cancelling waits for the group.

    A task and a shield around the asking would do the same, for two turns of the loop more.
    """

    _held = False
    _gone = False

    def hold(self) -> None:
        """A group has taken the unit."""
        self._held = True

    def release(self) -> None:
        """The group is over, and perhaps the unit with it."""
        self._held = False
        if self._gone:
            super().cancel()

    def cancel(self, msg: object = None) -> bool:
        """At once, or when the group is over."""
        if not self._held:
            return super().cancel(msg)
        self._gone = True
        return False


class Unit:
    """``atomic``: all changes or none. Otherwise each stands alone, and the unit may be worked off in several commits.

    ``done`` is how many changes are decided. ``waits`` counts groups in which another node held its rows.
    """

    __slots__ = (
        "answer",
        "atomic",
        "began",
        "changes",
        "delivery",
        "done",
        "failed",
        "future",
        "kept",
        "named",
        "origin",
        "places",
        "results",
        "segments",
        "seqs",
        "tries",
        "until",
        "waits",
    )

    def __init__(
        self,
        changes: Sequence[Change],
        origin: Origin,
        future: asyncio.Future[list[Answered]] | None,
        *,
        atomic: bool = False,
        answer: AnswerKey | None = None,
        named: NamedChange | None = None,
        delivery: Delivery | None = None,
        seqs: Sequence[int] | None = None,
        segments: Sequence[LogSegment] = (),
    ) -> None:
        self.changes = changes
        self.origin = origin
        self.future = future
        self.atomic = atomic
        self.answer = answer
        self.named = named
        self.delivery = delivery
        self.seqs = seqs
        """The rows of the outbox that its changes deliver, one each."""
        self.segments = segments
        """Pieces of logs that are written with its changes, if these are; of an atomic unit only."""
        self.results: list[Answered] = []
        self.done = 0
        self.kept = 0
        self.began = 0
        self.until = len(changes)
        """How far this group goes; only an atomic unit is always taken whole."""
        self.places: list[int] | None = None
        """Where each change stood at first, once some of them were put off."""
        self.waits = 0
        self.tries = 0
        self.failed: HeadraceError | None = None

    def take(self, most: int) -> int:
        """How many changes this group takes of it, at most ``most`` unless it is atomic."""
        left = len(self.changes) - self.done
        if not self.atomic:
            left = min(left, most)
        self.began = self.done
        self.until = self.done + left
        return max(1, left)

    def put_off(self, held: Collection[int], reached: Sequence[RunCell | None]) -> list[RunCell | None]:
        """Changes of runs that another node holds go behind the others of this group, for the next one.

        The order among changes of one run stays. Gives ``reached`` of those that stay in the group.
        """
        if self.places is None:
            self.places = list(range(len(self.changes)))
        changes, places, here = list(self.changes), self.places, range(self.done, self.until)
        free = [at for at in here if changes[at].run not in held]
        order = free + [at for at in here if changes[at].run in held]
        kept = [reached[at - self.done] for at in free]
        self.changes = [*changes[: self.done], *(changes[at] for at in order), *changes[self.until :]]
        self.places = [*places[: self.done], *(places[at] for at in order), *places[self.until :]]
        self.until = self.done + len(free)
        return kept

    def seq(self) -> int:
        """The row of the outbox that the next change delivers; 0 where there is none."""
        if self.seqs is None:
            return 0
        return self.seqs[self.done if self.places is None else self.places[self.done]]

    @property
    def ours(self) -> bool:
        """Work of control's own, which nobody outside would ask for again."""
        return self.future is None or self.delivery is not None or self.seqs is not None

    @property
    def over(self) -> bool:
        """Nothing of it is left to decide."""
        return (
            self.failed is not None
            or (self.named is None and self.done >= len(self.changes))
            or bool(self.named is not None and self.results)
        )

    def reset(self) -> None:
        """The group did not happen: what it decided of this unit is undecided again."""
        del self.results[self.kept :]
        self.done = self.kept
        self.failed = None

    def settled(self) -> None:
        """The group was committed: what is decided stays decided."""
        self.kept = self.done

    def resolve(self) -> None:
        """Tell the asker, who may be gone."""
        future = self.future
        if future is None or future.done():
            return
        if self.failed is not None:
            future.set_exception(self.failed)
        elif self.places is None:
            future.set_result(self.results)
        else:
            told = dict(zip(self.places, self.results, strict=False))
            future.set_result([told[at] for at in sorted(told)])
