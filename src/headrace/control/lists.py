"""Lists whose items are becoming tasks, and large parameters: decoded once, not once a page; bounded by their texts.

Never holds what is not committed: only lists that were read from the store come here, under the version of the task
whose result they are; parameters never change. Never writes. The ledger owns one; its groups' loaders use it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from headrace.model.ids import TaskKey

LISTS_SIZE = 16 * 1024 * 1024
"""Bytes of text of all lists that are kept; a larger one is read anew for every page."""

ListKey = tuple[TaskKey, int]


class Lists:
    """The cache: least recently used goes first."""

    def __init__(self, size: int = LISTS_SIZE) -> None:
        self.size = 0
        self._most = size
        self._kept: OrderedDict[ListKey, tuple[Any, int]] = OrderedDict()

    def get(self, key: ListKey) -> Any:
        """What is kept under this key, None otherwise."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: ListKey, items: Any, size: int) -> None:
        """Keep what was decoded from ``size`` bytes of text, if there is room for it at all."""
        self.drop(key)
        if size > self._most:
            return
        self._kept[key] = items, size
        self.size += size
        while self.size > self._most:
            self.drop(next(iter(self._kept)))

    def drop(self, key: ListKey) -> None:
        """Its last page was read."""
        found = self._kept.pop(key, None)
        if found is not None:
            self.size -= found[1]
