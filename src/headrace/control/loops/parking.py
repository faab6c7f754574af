"""Classes of waiting work that a limit holds back: they cost nothing until something of that limit is given back.

Memory only, and only a picture: a class that is parked by mistake is taken out by the next word about its limit, by
time where a rate knows it, and by every look at everything. Decides nothing. Called by the claim loop.
"""

from __future__ import annotations

from collections.abc import Iterable

from headrace.model.limits import LimitKey


class Parking:
    """Which limit holds which class. ``stir`` begins a pass: what is freed from then on is not parked in it."""

    def __init__(self) -> None:
        self._limit: dict[int, LimitKey] = {}
        self._classes: dict[LimitKey, set[int]] = {}
        self._keys: dict[str, set[LimitKey]] = {}
        self._freed: set[LimitKey] = set()
        self._all = False

    def __contains__(self, klass: int) -> bool:
        return klass in self._limit

    def __bool__(self) -> bool:
        return bool(self._limit)

    def stir(self) -> None:
        """A pass begins: from here on what it reads may be older than what is freed."""
        self._freed.clear()
        self._all = False

    def park(self, klass: int, limit: LimitKey) -> bool:
        """The limit holds the class back; False when something of it was freed since the pass began."""
        if self._all or limit in self._freed or (limit[0], "") in self._freed:
            return False
        self.leave(klass)
        self._limit[klass] = limit
        self._classes.setdefault(limit, set()).add(klass)
        self._keys.setdefault(limit[0], set()).add(limit)
        return True

    def leave(self, klass: int) -> None:
        """The class is held back no longer."""
        limit = self._limit.pop(klass, None)
        if limit is None:
            return
        classes = self._classes[limit]
        classes.discard(klass)
        if not classes:
            del self._classes[limit]
            keys = self._keys[limit[0]]
            keys.discard(limit)
            if not keys:
                del self._keys[limit[0]]

    def freed(self, limits: Iterable[LimitKey]) -> list[int]:
        """The classes to look at again. An empty key names the whole limit."""
        found: list[int] = []
        for limit in limits:
            self._freed.add(limit)
            for one in list(self._keys.get(limit[0], ())) if limit[1] == "" else [limit]:
                found.extend(self._classes.get(one, ()))
        for klass in found:
            self.leave(klass)
        return found

    def recall(self, klasses: Iterable[int]) -> list[int]:
        """Those of these classes that are held back are so no longer: it was a guess."""
        found = [klass for klass in klasses if klass in self._limit]
        for klass in found:
            self.leave(klass)
        return found

    def everything(self) -> list[int]:
        """Nothing is held back for sure: all of them are to be looked at."""
        self._all = True
        found = list(self._limit)
        self._limit.clear()
        self._classes.clear()
        self._keys.clear()
        return found
