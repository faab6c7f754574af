"""Which attempts are over on this agent, remembered for a while: a late copy of a start must not run them again.

Bounded and pure. Called by ``agent.attempts`` only.
"""

from __future__ import annotations


class Recent:
    """Which epochs of which tasks are over here: the last ``size`` to twice that many tasks."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._young: dict[tuple[int, int, int], int] = {}
        self._old: dict[tuple[int, int, int], int] = {}

    def add(self, key: tuple[int, int, int], epoch: int) -> None:
        """The task has ended here under this epoch."""
        young = self._young
        if epoch > young.get(key, -1):
            young[key] = epoch
        if len(young) >= self._size:
            self._old, self._young = young, {}

    def over(self, key: tuple[int, int, int], epoch: int) -> bool:
        """Whether this epoch, or a later one, is known to be over."""
        return epoch <= self._young.get(key, -1) or epoch <= self._old.get(key, -1)
