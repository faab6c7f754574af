"""Tells who watches a run why it waits: once on stderr after a moment, and again when the reason is another one.

What a person must do is always told; what goes on by itself only while nothing of the run is under way. Never ends a
watch: when the server cannot say why, nothing is said. Called by ``cli.follow``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from headrace.cli.terminal import clean
from headrace.client import flow
from headrace.client.sync import Client
from headrace.model.errors import HeadraceError
from headrace.model.views import ExplainView, ReasonView

FIRST_S = 2.0
"""So long a run may be silent before it is asked why."""
AGAIN_S = 5.0
PERSON = frozenset(
    {"limit_missing", "limit_paused", "run_paused", "held", "no_agent", "no_label", "other_agent", "agent_draining"}
)
"""Reasons that time alone does not end."""
PLACE = frozenset({"no_label", "other_agent", "agent_draining"})
"""Said of each agent that does not fit; that is nothing to tell while another one does."""
PATIENCE = frozenset({"limit_full", "rate", "concurrency", "not_before", "no_room", "queued"})
LINES_MAX = 5


class Waits:
    """Why one run waits, as far as it was told."""

    def __init__(self, client: Client, number: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._number = number
        self._clock = clock
        self._due = clock() + FIRST_S
        self._told: frozenset[tuple[str, str | None]] = frozenset()

    @property
    def left(self) -> float:
        """Seconds until ``look`` asks again."""
        return max(0.0, self._due - self._clock())

    def look(self, clear: Callable[[], None] = lambda: None) -> None:
        """Ask, when it is time, and tell what is new; ``clear`` is called before something is written."""
        if self.left > 0:
            return
        try:
            view = self._client.do(flow.explain(self._number))
        except HeadraceError:
            return  # who watches hears of it by the next question
        finally:
            self._due = self._clock() + AGAIN_S
        lines = self.news(view)
        if lines:
            clear()
            print("\n".join(lines), file=sys.stderr, flush=True)

    def news(self, view: ExplainView) -> list[str]:
        """The lines to tell of this answer; none when they were told."""
        fits = any(reason.code in ("no_room", "queued", "next") for reason in view.reasons)
        found = [r for r in view.reasons if _matters(r, view) and not (fits and r.code in PLACE)]
        now = frozenset((reason.code, reason.refers_to) for reason in found)
        new, self._told = now - self._told, now
        if not new:
            return []
        lines = [f"run {self._number} waits: {clean(found[0].message)}"]
        lines += [f"  and: {clean(reason.message)}" for reason in found[1:LINES_MAX]]
        if len(found) > LINES_MAX:
            lines.append(f"  and {len(found) - LINES_MAX} reasons more: headrace explain {self._number}")
        return lines + [f"  → {clean(step)}" for step in view.advice]


def _matters(reason: ReasonView, view: ExplainView) -> bool:
    return reason.code in PERSON or (reason.code in PATIENCE and view.decision != "running")
