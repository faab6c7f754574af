"""Compiled graphs by number: decoded and compiled once, bounded, never stale because a document never changes.

Never writes. Called by the ledger (each group), the loops and the API.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import msgspec
from msgspec import Struct

from headrace.control.aside import aside
from headrace.core.graph import compile as compile_job
from headrace.core.nodes import Graph
from headrace.model.definition import JobDefinition
from headrace.model.errors import NotFound
from headrace.store.port import Reader

GRAPHS_MAX = 256
SIZE_MAX = 32 * 1024 * 1024
"""Bytes of the documents whose definitions are kept; decoded they take some times more."""


class Known(Struct, frozen=True):
    """A definition and its compiled form. ``one``: one task without ``each``, whose history is the run's own."""

    definition: JobDefinition
    graph: Graph
    one: bool
    size: int = 0
    """Bytes of its document."""


class Graphs:
    """The cache: least recently used goes first."""

    def __init__(self, reader: Reader, most: int = GRAPHS_MAX) -> None:
        self._reader = reader
        self._most = most
        self._known: OrderedDict[int, Known] = OrderedDict()
        self._size = 0
        self._decode = msgspec.json.Decoder(JobDefinition).decode

    def get(self, graph: int) -> Known | None:
        """What is at hand; does no IO."""
        return self._known.get(graph)

    def compiled(self, graph: int) -> Graph | None:
        """The compiled graph if it is at hand; does no IO."""
        known = self._known.get(graph)
        return None if known is None else known.graph

    async def load(self, graph: int) -> Known:
        """What is at hand or kept. Raises NotFound when the document is not (or no longer) kept."""
        known = self._known.get(graph)
        if known is not None:
            self._known.move_to_end(graph)
            return known
        document = await self._reader.document(graph)
        if document is None:
            raise NotFound(f"the definition document {graph} is not kept any more")
        made = await aside(len(document.body), partial(self._made, document.body))
        return self._known.get(graph) or self.put(graph, *made, size=len(document.body))

    def _made(self, body: bytes) -> tuple[JobDefinition, Graph]:
        definition = self._decode(body)
        return definition, compile_job(definition)

    def put(self, graph: int, definition: JobDefinition, compiled: Graph, *, size: int = 0) -> Known:
        """Remember a definition and what it compiled to."""
        one = len(compiled.nodes) == 1 and compiled.nodes[0].each is None
        self._drop(graph)
        known = self._known[graph] = Known(definition, compiled, one, size)
        self._size += size
        while len(self._known) > self._most or (self._size > SIZE_MAX and len(self._known) > 1):
            self._drop(next(iter(self._known)))
        return known

    def _drop(self, graph: int) -> None:
        gone = self._known.pop(graph, None)
        if gone is not None:
            self._size -= gone.size
