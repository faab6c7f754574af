"""docs/explanation/states.md, from the tables of core: every move and what brings it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from headrace.core.tables import ATTEMPT_MOVES, GROUP_MOVES, RUN_MOVES, TASK_MOVES, drawing
from headrace.model.states import ATTEMPT_FINAL, RUN_FINAL, TASK_FINAL
from pages.words import GENERATED, table

INTRO = """# States

*State* is what the system decided; *exit status* is what the work said. They are separate everywhere. These tables are
those that the code goes by: a move that is not here is never written, and tests hold every step against them.
"""
PARTS = {
    "run": ("Run", "One execution of one job version. The last four states are final and kept for ever."),
    "task": (
        "Task",
        "A task of a run, or one instance of a task with `each`. An agent owns it while it is `dispatched` or `running`.",
    ),
    "group": (
        "Group",
        "A task with `each`. It is `running` while its instances are made and end, and known by their counts. "
        "It is `failed` if any instance failed or was lost, else `canceled` if any was, `skipped` if all were, else "
        "`succeeded`; an empty list succeeds.",
    ),
    "attempt": (
        "Attempt",
        "One try at one task. `refused` means that the agent did not start it: that costs no attempt.",
    ),
}
MOVES: dict[str, tuple[Mapping[tuple[IntEnum, IntEnum], str], frozenset[IntEnum]]] = {
    "run": (RUN_MOVES, RUN_FINAL),
    "task": (TASK_MOVES, TASK_FINAL),
    "group": (GROUP_MOVES, TASK_FINAL),
    "attempt": (ATTEMPT_MOVES, ATTEMPT_FINAL),
}  # type: ignore[assignment]  # an enum each


def page() -> str:
    """The whole page."""
    parts = [GENERATED, INTRO]
    drawings = drawing()
    for name, (title, words) in PARTS.items():
        moves, final = MOVES[name]
        ends = sorted({state for move in moves for state in move if state in final})
        parts += [f"## {title}\n", words + "\n", f"Final: {', '.join(f'`{state.name}`' for state in ends)}.\n"]
        parts.append(f"```mermaid\n{drawings[name]}```\n")
        parts.append(
            table(("from", "to", "because"), [(f"`{a.name}`", f"`{b.name}`", why) for (a, b), why in moves.items()])
        )
    return "\n".join(parts)
