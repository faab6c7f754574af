"""The result cache: a task whose work was done before, with the same inputs and lately enough, is not done again.

Pure and private to core. When such a task is about to be ready its work is rendered and named by a digest; a ``Wake``
that follows at once has looked that up. A hit ends the task with the result, and the files, of the attempt that made
it; a miss makes it ready, and its success is found by others under that name.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from headrace.core.draft import Draft
from headrace.core.expression import render_text
from headrace.core.nodes import Node
from headrace.core.render import Rendered
from headrace.core.scope import RunScope
from headrace.core.work import Cached
from headrace.model.cells import TaskCell, Value
from headrace.model.ids import WHOLE

CACHED = "cached"
"""The reason of a task that was not done because its result was at hand."""


def work_of(draft: Draft, node: Node, cell: TaskCell, spec: Rendered) -> bytes:
    """The name of this work with these inputs; the explicit key counts per job and task. Raises ``MissingValue``."""
    rule = node.cache
    if rule is not None and rule.key:
        scope = RunScope(draft, cell if cell.index != WHOLE else None)
        told: tuple[object, ...] = ("key", draft.graph.name, node.name, render_text(rule.key, scope))
    else:
        told = ("work", spec.kind, spec.argv, spec.script, spec.target, spec.package, spec.args, spec.env, spec.outputs)
        if spec.kind != "python":
            # A program may read every parameter and every file of those it needs.
            told = (*told, spec.params, tuple([_made_by(draft, need.task) for need in node.needs]))
    return blake2b(msgspec.msgpack.encode(told), digest_size=16).digest()


def _made_by(draft: Draft, no: int) -> tuple[int, int, int]:
    """Which attempt left what a task finds of another one."""
    cell = draft.task(no)
    key = (draft.run.run, no, WHOLE)
    return key if cell is None or cell.more is None or cell.more.origin is None else cell.more.origin


def fresh_hit(draft: Draft, node: Node, cell: TaskCell) -> Cached | None:
    """The attempt whose result stands for this task's, if there is one and it is young enough."""
    rule = node.cache
    hit = draft.working.cached.get(cell.more.cache) if cell.more is not None else None
    if rule is None or hit is None or hit.at + rule.for_us < draft.now:
        return None
    return hit


def value_of(hit: Cached) -> Value | None:
    """The result, as it is kept under the new task's own key."""
    value = hit.value
    if value is None or value.place != "aside":
        return value
    return Value(value.size, "inline", value.data, "", value.lines, value.count)
