"""Tasks that no agent does: child runs and waits. They begin, are owed their end, and hold no slot meanwhile.

Pure and private to core. A child is asked for, and told to stop, by a message of the outbox; its end comes back as a
``Settle`` of the parent's attempt, as from an agent. A wait's end is owed as the ``due_at`` of its cell. Called by
``core.stepping`` (a claim) and ``core.waking`` (what is owed, the sweep).
"""

from __future__ import annotations

import msgspec

from headrace.core.draft import Draft
from headrace.core.durations import instant_us, millis
from headrace.core.eligible import may_begin
from headrace.core.ending import EXPRESSION, message_value, side_end
from headrace.core.expression import MissingValue
from headrace.core.nodes import DEPTH_MAX, Node
from headrace.core.readying import lease, rendering
from headrace.core.render import Rendered
from headrace.core.work import Alarm, Follow, Tell
from headrace.model.cells import TaskCell
from headrace.model.changes import OutcomeKind, Settle
from headrace.model.errors import Invalid
from headrace.model.facts import TaskStarted
from headrace.model.ids import next_epoch
from headrace.model.messages import StartChild, StopChild
from headrace.model.states import StopIntent, TaskState

LATE = 16
"""Flag of a cell: of a wait, its timeout comes before its end; of a child run, it was told to stop by the timeout."""


def begin(draft: Draft, node: Node, cell: TaskCell) -> None:
    """A ready task is under way from now on, if its run lets it begin."""
    if not may_begin(node, draft.run).ok:
        return
    try:
        spec = rendering(draft, node, cell)
        if spec is None:
            return
        over = end_of_wait(spec, draft.now) if spec.kind == "wait" else 0
    except MissingValue as error:
        side_end(draft, cell, TaskState.failed, reason=EXPRESSION, error=message_value(str(error)))
        return
    except Invalid as error:
        side_end(draft, cell, TaskState.failed, reason="wait", error=message_value(error.message, "Invalid"))
        return
    depth = _depth(draft)
    if spec.kind == "job" and depth > DEPTH_MAX:
        text = f"child runs nest at most {DEPTH_MAX} deep; does the job run itself?"
        side_end(draft, cell, TaskState.failed, reason="depth", error=message_value(text, "TooDeep"))
        return
    cell = _begun(draft, node, cell, over)
    if spec.kind == "job":
        actor = "" if draft.given is None else draft.given.actor
        source = draft.run.more.source if draft.run.more is not None else 0
        start = StartChild(
            *cell.key, cell.epoch, spec.target, node.source.version, spec.args, depth, draft.run.priority, actor, source
        )
        draft.commands.append(Tell(start))


def _begun(draft: Draft, node: Node, cell: TaskCell, over: int) -> TaskCell:
    """A new attempt. What ends it, if time does, is owed: the end of the wait, or its timeout if that comes first."""
    late = draft.now + node.source.timeout_ms * 1000 if node.source.timeout_ms else 0
    flags = cell.flags & ~LATE
    if over and late and late < over:
        over, flags = late, flags | LATE
    due = over or late
    epoch = next_epoch(cell.epoch, draft.working.incarnation)
    begun = draft.change(
        cell,
        state=TaskState.running,
        due_at=due,
        attempt=cell.attempt + 1,
        epoch=epoch,
        flags=flags,
        started_at=draft.now,
        ended_at=0,
        digest=b"",
    )
    lease(draft, cell)
    draft.facts.append(TaskStarted(cell.no, cell.index, draft.now))
    draft.begun(draft.now)
    if due and due <= draft.now:
        woken(draft, node, begun)
    elif due:
        draft.commands.append(Alarm(cell.key, due))
    return begun


def woken(draft: Draft, node: Node, cell: TaskCell) -> None:
    """What the task was owed has come: its wait is over, or its time."""
    if node.source.kind == "wait":
        late = bool(cell.flags & LATE)
        over = Settle(
            *cell.key,
            cell.epoch,
            OutcomeKind.timeout if late else OutcomeKind.succeeded,
            cell.started_at,
            draft.now,
            exit_status=None if late else "ok",
        )
        draft.commands.append(Follow(over))
    else:
        draft.change(cell, due_at=0, flags=cell.flags | LATE)
        draft.commands.append(Tell(StopChild(*cell.key, cell.epoch, "cancel", "timeout of the task that began it")))


def stop(draft: Draft, node: Node, cell: TaskCell) -> None:
    """The run is being brought to its end: a wait ends at once, a child is told the same word and ends by itself.

    A wait is no work that could be finished. After a failure (``on_failure: stop``) a child goes on, as all that runs.
    """
    intent = draft.run.intent
    if node.source.kind == "wait":
        side_end(draft, cell, TaskState.canceled, reason="stopped" if intent == StopIntent.failure else None)
        return
    if intent == StopIntent.failure:
        return
    how = intent.name if intent in {StopIntent.stop, StopIntent.abandon} else "cancel"
    reason = f"run {cell.run} that began it: {draft.run.reason or intent.name}"
    draft.commands.append(Tell(StopChild(*cell.key, cell.epoch, how, reason)))
    if intent == StopIntent.abandon:
        side_end(draft, cell, TaskState.canceled, epoch=cell.epoch + 1, reason="abandoned")
    else:
        draft.change(cell, due_at=0)


def end_of_wait(spec: Rendered, now: int) -> int:
    """The instant at which a wait that begins now is over, in µs. Raises ``Invalid`` for what is no time."""
    given = msgspec.json.decode(spec.args)
    if "for" in given:
        return now + max(millis(str(given["for"])) * 1000, 1)
    return max(instant_us(given.get("until")), 1)


def _depth(draft: Draft) -> int:
    """How deep a child of this run stands."""
    more = draft.run.more
    return 1 if more is None or more.parent is None else more.parent.depth + 1
