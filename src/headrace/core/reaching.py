"""``reach``: which cells a change may touch, and which values it reads.

Pure. O(out-degree) of one task. Called by the ledger before it loads; what is named here and has a row must be in the
working set when ``step`` is called.
"""

from __future__ import annotations

from headrace.core.draft import page_of, place_of
from headrace.core.groups import page_from
from headrace.core.moving import beginners
from headrace.core.nodes import CHUNK, GROWTH, INLINE_READS, TAKE_CHUNK, Graph, Node, Reads
from headrace.core.work import Keys
from headrace.model.cells import RunCell, RunMore
from headrace.model.changes import (
    OF_THE_RUN,
    Admit,
    Amend,
    Change,
    Claim,
    Lose,
    OutcomeKind,
    Report,
    Settle,
    Started,
    Submit,
    Wake,
)
from headrace.model.ids import RUN_ITSELF, WHOLE, TaskKey

_NOTHING = Keys()
_TOLD_SUCCESS = OutcomeKind.succeeded


def reach(graph: Graph, run: RunCell | None, change: Change) -> Keys:
    """The keys of a change. ``run`` is the cell as it is now, None for a new run; the run itself is always loaded."""
    if run is None:
        return _NOTHING
    if isinstance(change, Settle):
        return _reach_outcome(graph, run, change)
    if isinstance(change, (Submit, *OF_THE_RUN)):
        if isinstance(change, Amend) and change.labels is not None:
            return Keys(input=True)
        return Keys(((change.run, 0, WHOLE),)) if isinstance(change, Report) else _NOTHING
    if isinstance(change, Admit):
        return Keys(tuple([(change.run, no, WHOLE) for no in beginners(graph, run)]), input=True)
    if isinstance(change, Wake) and change.no == RUN_ITSELF:
        return _reach_run(graph, run, change)
    if not 0 <= change.no < len(graph.nodes):
        return _NOTHING
    node = graph.nodes[change.no]
    if isinstance(change, Started):
        return Keys(((change.run, change.no, change.index),))
    if graph.fast and isinstance(change, Claim):
        return Keys(((change.run, change.no, change.index),), input=not (run.bare and node.plain))
    if isinstance(change, Lose):
        return _reach_settle(graph, node, change)
    return _reach_task(graph, run, node, change)


def _reach_outcome(graph: Graph, run: RunCell, change: Settle) -> Keys:
    """Most changes are of this kind: an instance and its group, or a task and those that wait for it."""
    key = (change.run, change.no, change.index)
    if graph.fast:
        return Keys((key,), input=change.kind is not _TOLD_SUCCESS)
    if not 0 <= change.no < len(graph.nodes):
        return _NOTHING
    if change.index != WHOLE:
        return Keys((key, (change.run, change.no, WHOLE)))
    node = graph.nodes[change.no]
    if not node.quiet:
        return _reach_settle(graph, node, change)
    return Keys((key, *[(change.run, edge.to, WHOLE) for edge in node.edges]), input=bool(node.edges) and not run.bare)


def _reach_settle(graph: Graph, node: Node, change: Settle | Lose) -> Keys:
    found = _Found(change.run)
    found.task(change.no, change.index)
    if change.index != WHOLE:
        found.task(change.no)
    else:
        found.successors(graph, node)
    if isinstance(change, Lose):
        found.reads(node.reads, gather=True)
        found.input = True
    return found.keys()


def _reach_task(graph: Graph, run: RunCell, node: Node, change: Change) -> Keys:
    """A claim or a wake of one task: itself, its group, what it reads, those that wait for it."""
    found = _Found(change.run)
    index = getattr(change, "index", WHOLE)
    found.task(node.no, index)
    found.task(node.no)
    found.input = True
    found.reads(node.reads, gather=True)
    if isinstance(change, Wake):
        if node.cache is not None:
            found.cached = ((change.run, node.no, index),)
        found.reads(node.when_reads, gather=True)
        if index == WHOLE:
            found.successors(graph, node)
    items = None
    if node.each is not None and index == WHOLE:
        if run.more is not None and run.more.source and isinstance(change, Wake):
            found.earlier(run.more, node.no, page_from(change.first))
        if node.each.paged is not None and getattr(change, "first", 0) >= 0:
            found.task(node.each.paged)
            items = ((change.run, node.each.paged, WHOLE), getattr(change, "first", 0), GROWTH)
        else:
            found.reads(node.each.reads, gather=True)
    return found.keys(items)


def _reach_run(graph: Graph, run: RunCell, change: Wake) -> Keys:
    """The page that the wake names; without a name it looks at the run, and at what begins with it."""
    if change.first <= 0:
        if run.more is not None and run.more.begin_at:
            return Keys(tuple([(change.run, no, WHOLE) for no in beginners(graph, run)]), input=True)
        return _NOTHING
    cursor, gate = page_of(change.first)
    if not gate:
        after = place_of(cursor)
        return Keys(((change.run, after[0], WHOLE),), members=True, members_after=after, members_max=CHUNK)
    found = _Found(change.run)
    found.input = True
    for no in graph.finals[cursor : cursor + CHUNK]:
        found.task(no)
        for need in graph.nodes[no].gate:
            found.task(need.task)
    return found.keys()


class _Found:
    """Keys of one run being gathered, each once."""

    __slots__ = ("cached", "gathers", "input", "run", "tasks", "values")

    def __init__(self, run: int) -> None:
        self.run = run
        self.tasks: dict[TaskKey, None] = {}
        self.values: dict[TaskKey, None] = {}
        self.gathers: dict[TaskKey, None] = {}
        self.input = False
        self.cached: tuple[TaskKey, ...] = ()

    def task(self, no: int, index: int = WHOLE) -> None:
        self.tasks[self.run, no, index] = None

    def earlier(self, more: RunMore, no: int, first: int) -> None:
        """A page of the instances that the group of this task may take over from an earlier run."""
        for old in [old for new, old in more.groups if new == no]:
            for index in range(first, first + TAKE_CHUNK):
                self.tasks[more.source, old, index] = None
                self.values[more.source, old, index] = None

    def reads(self, reads: Reads, *, gather: bool) -> None:
        for no in reads.cells:
            self.task(no)
        for no in reads.values:
            self.values[self.run, no, WHOLE] = None
        if gather:
            for no in reads.gathers:
                self.gathers[self.run, no, WHOLE] = None

    def successors(self, graph: Graph, node: Node) -> None:
        """Those that wait for the task, and what they read unless that is much."""
        for edge in node.edges:
            other = graph.nodes[edge.to]
            self.task(other.no)
            self.input = True
            if len(other.reads.cells) + len(other.when_reads.cells) <= INLINE_READS:
                self.reads(other.reads, gather=False)
                self.reads(other.when_reads, gather=False)

    def keys(self, items: tuple[TaskKey, int, int] | None = None) -> Keys:
        return Keys(
            tuple(self.tasks),
            tuple(self.values),
            self.input,
            gather=tuple(self.gathers),
            items=items,
            cached=self.cached,
        )
