"""From a definition to its graph: dependencies, classes, policies and what each task reads.

Pure. Expects a definition that ``core.check`` found good; what would make the graph meaningless (an unknown task, an
ordinary task that waits for a ``finally`` one) is refused here again. Called once per job version.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, structs

from headrace.core.classes import klass_of, lane_of
from headrace.core.durations import millis
from headrace.core.expression import Ref, parse, refs_of, render
from headrace.core.kinds import kind_of, special_source
from headrace.core.nodes import (
    ENDED_MASK,
    INNER,
    WINDOW,
    Again,
    CacheRule,
    Each,
    Edge,
    GateRule,
    Graph,
    Need,
    Node,
    Placement,
    Reads,
    RetryPolicy,
)
from headrace.core.render import DEFAULT_INTERPRETER, Nothing, Source, prepare, program_places
from headrace.model import definition as doc
from headrace.model.errors import Invalid
from headrace.model.states import TaskState

__all__ = ["Graph", "Node", "Placement", "compile", "klass_of"]

_SUCCEEDED = 1 << TaskState.succeeded
_MASKS = {
    "succeeded": _SUCCEEDED,
    "failed": 1 << TaskState.failed | 1 << TaskState.lost,
    "skipped": 1 << TaskState.skipped,
    "canceled": 1 << TaskState.canceled,
    "ended": ENDED_MASK,
}
_RAN_TO_ITS_END = 1 << TaskState.succeeded | 1 << TaskState.failed


def compile(definition: doc.JobDefinition) -> Graph:  # noqa: A001  the word of DESIGN.md §3
    """The graph of a definition. Raises ``Invalid`` for one that has no meaning."""
    by_name = {task.name: no for no, task in enumerate(definition.tasks)}
    groups = {no for no, task in enumerate(definition.tasks) if task.each is not UNSET}
    finals = {no for no, task in enumerate(definition.tasks) if task.finally_}
    sources = [_source(definition, task) for task in definition.tasks]
    bare = [_node(definition, no, by_name, groups, sources[no]) for no in range(len(sources))]
    nodes = _linked(bare, finals)
    ordinary = len(nodes) - len(finals)
    gate = _gate(definition)
    odd = gate is not None or any(node.limited or node.cache for node in bare)
    long = any(node.inner or node.delay_ms or node.repeat for node in nodes)
    roots = tuple(node.no for node in nodes if node.pending == 0)
    reads = _reads(refs_of(definition.result), by_name, groups) if definition.result is not UNSET else Reads()
    leaf = _only_leaf(nodes)
    return Graph(
        name=definition.name,
        nodes=nodes,
        by_name=by_name,
        roots=roots,
        finals=tuple(sorted(finals)),
        ordinary=ordinary,
        timeout_ms=_ms(definition.timeout, 0),
        stop_on_failure=definition.on_failure == "stop",
        result=definition.result,
        result_reads=reads,
        result_no=leaf,
        said_no=leaf if definition.result is UNSET or len(reads.cells) != 1 else reads.cells[0],
        fast=len(nodes) == 1 and not finals and not groups and nodes[0].when is UNSET and not (long or odd),
        long=long,
        gate=gate,
    )


def _node(definition: doc.JobDefinition, no: int, by_name: dict[str, int], groups: set[int], source: Source) -> Node:
    task = definition.tasks[no]
    placement = _placement(definition, task)
    key = "" if task.cache is UNSET or task.cache.key is UNSET else task.cache.key
    texts = refs_of([source.texts(), key])
    when = UNSET if task.when is UNSET else msgspec.to_builtins(task.when)
    when_refs = refs_of(when) if when is not UNSET else ()
    each = _each(task, by_name, groups)
    each_refs = refs_of(each.source) if each else ()
    needs = _needs(task, (*texts, *when_refs, *each_refs), by_name)
    source = prepare(source)
    sifts = each is not None and any(ref.root in ("item", "index") for ref in when_refs)
    return Node(
        no=no,
        name=task.name,
        source=source,
        placement=placement,
        klass=klass_of(placement),
        needs=needs,
        when=UNSET if sifts else when,
        sift=when if sifts else UNSET,
        when_reads=_reads(when_refs, by_name, groups),
        reads=_reads(texts, by_name, groups),
        each=each,
        retry=_retry(task),
        grace_ms=source.grace_ms,
        priority=None if task.priority is UNSET else task.priority,
        final=task.finally_,
        allow_failure=task.allow_failure,
        on_lost=task.on_lost,
        plain=not texts and when is UNSET and each is None and not placement.limits and task.cache is UNSET,
        inner=placement.kind in INNER,
        delay_ms=_ms(task.delay, 0),
        repeat=None if task.repeat is UNSET else Again(task.repeat.times, millis(task.repeat.delay)),
        limited=bool(placement.limits),
        cache=_cache(task),
        lane=lane_of(definition.name),
    )


def _cache(task: doc.Task) -> CacheRule | None:
    """How long its result is good."""
    if task.cache is UNSET:
        return None
    return CacheRule(millis(task.cache.for_) * 1000, "" if task.cache.key is UNSET else task.cache.key)


def _gate(definition: doc.JobDefinition) -> GateRule | None:
    """How many of its runs may be at once."""
    if definition.exclusive:
        return GateRule(1, when_full="refuse")
    given = definition.concurrency
    if given is UNSET:
        return None
    return GateRule(given.max, "" if given.key is UNSET else given.key, given.when_full)


def _linked(bare: list[Node], finals: set[int]) -> tuple[Node, ...]:
    """Nodes with edges and pending counts. Those of a ``finally`` task's needs that are ordinary ones are its gate too."""
    edges: list[list[Edge]] = [[] for _ in bare]
    linked = []
    for node in bare:
        own = tuple(need for need in node.needs if (need.task in finals) == node.final)
        if len(own) < len(node.needs) and not node.final:
            raise Invalid(f"task {node.name} waits for a finally task")
        for need in own:
            edges[need.task].append(Edge(node.no, need.states, need.exit, need.any))
        alternatives = sum(need.any for need in node.needs)
        plain = sum(not need.any for need in node.needs)
        linked.append(
            structs.replace(
                node,
                gate=tuple(need for need in node.needs if (need.task in finals) != node.final),
                pending=plain + (alternatives > 0) + node.final,
                alternatives=alternatives,
            )
        )
    return tuple(
        structs.replace(node, edges=tuple(out), quiet=all(linked[edge.to].plain for edge in out))
        for node, out in zip(linked, edges, strict=True)
    )


def _needs(task: doc.Task, refs: tuple[Ref, ...], by_name: dict[str, int]) -> tuple[Need, ...]:
    needs: list[Need] = []
    if isinstance(task.needs, doc.AnyNeed):
        needs.extend(_need(entry, by_name, alternative=True) for entry in task.needs.any)
    elif task.needs is not UNSET:
        needs.extend(_need(entry, by_name, alternative=False) for entry in task.needs)
    named = {need.task for need in needs}
    for ref in refs:
        if ref.root == "tasks" and ref.path:
            no = _number(str(ref.path[0]), by_name)
            if no not in named:
                named.add(no)
                needs.append(Need(no, _SUCCEEDED))
    return tuple(dict.fromkeys(needs))


def _need(entry: str | doc.Need, by_name: dict[str, int], *, alternative: bool) -> Need:
    if isinstance(entry, str):
        return Need(_number(entry, by_name), _SUCCEEDED, None, alternative)
    exit_glob = None if entry.exit is UNSET else entry.exit
    if entry.state is UNSET:
        states = _SUCCEEDED if exit_glob is None else _RAN_TO_ITS_END
    else:
        states = 0
        for word in [entry.state] if isinstance(entry.state, str) else entry.state:
            states |= _MASKS[word]
    return Need(_number(entry.task, by_name), states, exit_glob, alternative)


def _number(name: str, by_name: dict[str, int]) -> int:
    if name not in by_name:
        raise Invalid(f"there is no task {name!r}")
    return by_name[name]


def _each(task: doc.Task, by_name: dict[str, int], groups: set[int]) -> Each | None:
    if task.each is UNSET:
        return None
    source = msgspec.to_builtins(task.each)
    refs = refs_of(source)
    fixed = None if refs else render(source, Nothing())
    window = min(WINDOW, task.concurrency) if task.concurrency is not UNSET else WINDOW
    return Each(
        source=source,
        reads=_reads(refs, by_name, groups),
        paged=_paged(source, by_name, groups),
        fixed=fixed,
        window=window,
        low=window // 2 if window == WINDOW else window - 1,
    )


def _paged(source: Any, by_name: dict[str, int], groups: set[int]) -> int | None:
    """The task whose whole result is the list of items, when that is all that the source says."""
    if not isinstance(source, str):
        return None
    template = parse(source)
    if not template.exact or len(template.refs) != 1 or template.parts[0].literal is not None:  # type: ignore[union-attr]  # an exact template is one choice
        return None
    ref = template.refs[0]
    if ref.root != "tasks" or ref.path[1:] != ("result",):
        return None
    no = by_name.get(str(ref.path[0]))
    return None if no is None or no in groups else no


def _reads(refs: tuple[Ref, ...], by_name: dict[str, int], groups: set[int]) -> Reads:
    cells: set[int] = set()
    values: set[int] = set()
    gathers: set[int] = set()
    for ref in refs:
        if ref.root != "tasks" or not ref.path:
            continue
        no = _number(str(ref.path[0]), by_name)
        cells.add(no)
        if len(ref.path) > 1 and ref.path[1] == "result":
            (gathers if no in groups else values).add(no)
    given = any(ref.root in {"params", "run", "fire"} for ref in refs)
    return Reads(tuple(sorted(cells)), tuple(sorted(values)), tuple(sorted(gathers)), given)


def _source(definition: doc.JobDefinition, task: doc.Task) -> Source:
    kind = kind_of(task)
    special = special_source(definition, task, kind)
    if special is not None:
        return special
    argv: tuple[str, ...] = ()
    if kind == "command" and task.command is not UNSET:
        argv = tuple(task.command)
    elif kind == "script":
        argv = DEFAULT_INTERPRETER if task.interpreter is UNSET else tuple(task.interpreter)
    package = _package(definition, task)
    return Source(
        kind=kind,
        task=task.name,
        job=definition.name,
        argv=argv,
        raw=program_places(argv),
        script="" if task.script is UNSET else task.script,
        target="" if task.python is UNSET else task.python,
        package=definition.packages.get(package, ""),
        args=task.with_,
        env={**definition.env, **task.env},
        outputs=tuple(task.outputs),
        timeout_ms=_ms(task.timeout, 0),
        grace_ms=_ms(task.grace, 10_000),
        label="" if task.label is UNSET else task.label,
        on_lost=task.on_lost,
        on_disconnect="" if task.on_disconnect is UNSET else task.on_disconnect,
    )


def _package(definition: doc.JobDefinition, task: doc.Task) -> str:
    if task.package is not UNSET:
        return task.package
    return "" if definition.package is UNSET else definition.package


def _placement(definition: doc.JobDefinition, task: doc.Task) -> Placement:
    labels: dict[str, str] = {}
    agent = ""
    for choice in (definition.agent, task.agent):
        if choice is not UNSET:
            labels.update(choice.labels)
            agent = agent if choice.id is UNSET else choice.id
    return Placement(
        kind=kind_of(task),
        labels=tuple(sorted(labels.items())),
        agent=agent,
        package="" if task.http is not UNSET else _package(definition, task),
        limits=tuple(sorted(task.limits.items())),
        on_lost=task.on_lost,
    )


def _retry(task: doc.Task) -> RetryPolicy:
    given = task.retries
    if given is UNSET:
        return RetryPolicy()
    if isinstance(given, int):
        return RetryPolicy(max=given, given=True)
    return RetryPolicy(
        max=given.max,
        delay=millis(given.delay),
        backoff=float(given.backoff),
        max_delay=millis(given.max_delay),
        jitter=float(given.jitter),
        only=None if given.only is UNSET else frozenset(given.only),
        never=frozenset() if given.never is UNSET else frozenset(given.never),
        given=True,
    )


def _only_leaf(nodes: tuple[Node, ...]) -> int | None:
    leaves = [node.no for node in nodes if not node.edges and not node.final]
    return leaves[0] if len(leaves) == 1 else None


def _ms(text: Any, default: int) -> int:
    return default if text is UNSET else millis(text)
