"""Runs as lists show them, in JSON: what a list has shown is not made again while its run stays as it is.

Whoever looks at a list asks for it again and again, and most runs of it are over. A kept text is used only for a row
that equals, in every field, the one it was made of; bounded. Never reads, never writes. Called by ``control.api.runs``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from headrace.control.api.views import run_view
from headrace.store.rows import RunRow

KEPT_MAX = 1_024
"""Runs that are kept: two pages."""
LONG = 4_096
"""Bytes of a text that is too long to be kept."""
SLICE = 100
"""So many are made before others get their turn: a page must not hold up who submits meanwhile."""

_encode = msgspec.json.Encoder().encode


class RunLines:
    """The newest texts, by run. One per API."""

    def __init__(self, most: int = KEPT_MAX) -> None:
        self._most = most
        self._kept: dict[int, tuple[RunRow, msgspec.Raw]] = {}

    async def of(self, rows: Sequence[RunRow]) -> list[msgspec.Raw]:
        """Their texts, in order."""
        found = []
        kept, made = self._kept, 0
        for row in rows:
            one = kept.get(row.cell.run)
            if one is not None and (one[0] is row or one[0] == row):
                found.append(one[1])
                continue
            found.append(self._made(row))
            made += 1
            if made % SLICE == 0:
                await asyncio.sleep(0)
        return found

    def _made(self, row: RunRow) -> msgspec.Raw:
        encoded = _encode(run_view(row))
        text = msgspec.Raw(encoded)
        kept = self._kept
        kept.pop(row.cell.run, None)
        if len(encoded) <= LONG:
            kept[row.cell.run] = row, text
            if len(kept) > self._most:
                del kept[next(iter(kept))]
        return text
