"""Does a condition hold? ``needs`` with states and exit globs, and ``when`` with its comparisons.

Pure. A comparison between things that cannot be ordered does not hold; a path without value makes ``exists`` false and
is an error anywhere else.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from headrace.core.expression import MissingValue, Scope, json_text, render
from headrace.core.nodes import Edge, Need
from headrace.model.cells import TaskCell


def met(need: Need | Edge, cell: TaskCell) -> bool:
    """Whether an ended task fulfils what another needs of it. Only a task that said something has an exit status."""
    if not need.states >> cell.state & 1:
        return False
    return need.exit is None or (cell.exit_status is not None and fnmatchcase(cell.exit_status, need.exit))


def holds(condition: dict[str, Any], scope: Scope) -> bool:
    """Whether a ``when`` holds. Every part that is given must. Raises ``MissingValue``."""
    if "all" in condition and not all(holds(part, scope) for part in condition["all"]):
        return False
    if "any" in condition and not any(holds(part, scope) for part in condition["any"]):
        return False
    if "not" in condition and holds(condition["not"], scope):
        return False
    return "value" not in condition or _compares(condition, scope)


def _compares(condition: dict[str, Any], scope: Scope) -> bool:
    try:
        value = render(condition["value"], scope)
    except MissingValue:
        if "exists" in condition:
            return not condition["exists"]
        raise
    tests = [name for name in _TESTS if name in condition]
    if not tests:
        return value is not None and value is not False
    return all(_TESTS[name](value, render(condition[name], scope)) for name in tests)


def _equal(left: Any, right: Any) -> bool:
    """Equal in JSON's eyes: true is not 1, 1 is 1.0."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _ordered(left: Any, right: Any) -> int | None:
    """-1, 0 or 1; None for things that have no order."""
    numbers = all(isinstance(side, (int, float)) and not isinstance(side, bool) for side in (left, right))
    if not numbers and not (isinstance(left, str) and isinstance(right, str)):
        return None
    return int(left > right) - int(left < right)


def _within(value: Any, many: Any) -> bool:
    if isinstance(many, (list, tuple)):
        return any(_equal(value, one) for one in many)
    if isinstance(many, dict):
        return value in many if isinstance(value, str) else False
    return isinstance(many, str) and isinstance(value, str) and value in many


_TESTS: dict[str, Any] = {
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": lambda left, right: _ordered(left, right) == -1,
    "le": lambda left, right: _ordered(left, right) in {-1, 0},
    "gt": lambda left, right: _ordered(left, right) == 1,
    "ge": lambda left, right: _ordered(left, right) in {0, 1},
    "in": _within,
    "glob": lambda value, pattern: fnmatchcase(json_text(value), pattern),
    "exists": lambda value, wanted: (value is not None) == wanted,
}
