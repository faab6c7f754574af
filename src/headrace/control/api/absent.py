"""Which agents a reader has just waited for in vain: the next reader goes on without them at once, for a few seconds.

Only spares waiting: an agent is asked first all the same, and one that answers is forgotten here. Used by
``control.api.logbook``.
"""

from __future__ import annotations

REMEMBERED_S = 10.0
"""So long it is remembered that an agent did not answer."""


class Absent:
    """Agents by number; instants are those of the loop, in seconds."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def note(self, agent: int, now: float) -> None:
        """A reader has given it up."""
        self._since = {other: at for other, at in self._since.items() if now - at < REMEMBERED_S}
        self._since.setdefault(agent, now)

    def answered(self, agent: int) -> None:
        """It is there."""
        self._since.pop(agent, None)

    def known(self, agent: int, now: float) -> bool:
        """Whether a reader gave it up a moment ago."""
        at = self._since.get(agent)
        return at is not None and now - at < REMEMBERED_S
