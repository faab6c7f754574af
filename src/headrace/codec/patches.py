"""Changing and comparing documents as plain data: JSON merge patch (RFC 7396), and what two documents differ in.

Pure; knows no record and no rule. Called by control for PATCH, versions and imports, and by the CLI.
"""

from __future__ import annotations

from typing import Any

from headrace.model.views import Difference

DIFFERENCES_MAX = 10_000
_NAMES = ("name", "task")
"""Fields by which items of a list are known again when others were put before them."""


def merge_patch(target: Any, patch: Any) -> Any:
    """``target`` after ``patch``: objects are merged, ``null`` removes a field, everything else replaces. New data.

    Never deeper than the patch itself, whose depth its reader has bounded.
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def differences(before: Any, after: Any) -> list[Difference]:
    """Where two documents differ, in the order of the first; empty when they say the same.

    Items of lists of named things (tasks) are compared by name; a list that holds the same names in another order is
    told as such. At most DIFFERENCES_MAX.
    """
    found: list[Difference] = []
    _differ("", before, after, found)
    return found[:DIFFERENCES_MAX]


def _differ(path: str, before: Any, after: Any, found: list[Difference]) -> None:
    if len(found) > DIFFERENCES_MAX or _same(before, after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        _objects(path, before, after, found)
    elif isinstance(before, list) and isinstance(after, list):
        _lists(path, before, after, found)
    else:
        found.append(Difference(path, "changed", before, after))


def _same(before: Any, after: Any) -> bool:
    """``1``, ``1.0`` and ``true`` are three values."""
    if isinstance(before, dict | list) or isinstance(after, dict | list):
        return False
    return type(before) is type(after) and bool(before == after)


def _objects(path: str, before: dict[str, Any], after: dict[str, Any], found: list[Difference]) -> None:
    for name in [*before, *(name for name in after if name not in before)]:
        place = _below(path, name)
        if name not in after:
            found.append(Difference(place, "removed", before=before[name]))
        elif name not in before:
            found.append(Difference(place, "added", after=after[name]))
        else:
            _differ(place, before[name], after[name], found)


def _lists(path: str, before: list[Any], after: list[Any], found: list[Difference]) -> None:
    named = _named(before), _named(after)
    if named[0] is not None and named[1] is not None:
        _objects(path, named[0], named[1], found)
        kept = [name for name in named[0] if name in named[1]]
        moved = [name for name in named[1] if name in named[0]]
        if kept != moved:
            found.append(Difference(f"{path}[order]", "changed", list(named[0]), list(named[1])))
        return
    for at in range(max(len(before), len(after))):
        place = f"{path}[{at}]"
        if at >= len(after):
            found.append(Difference(place, "removed", before=before[at]))
        elif at >= len(before):
            found.append(Difference(place, "added", after=after[at]))
        else:
            _differ(place, before[at], after[at], found)


def _named(items: list[Any]) -> dict[str, Any] | None:
    """The items by name, as ``[name]``; None when they are no list of things with names of their own."""
    for field in _NAMES:
        names = [item.get(field) if isinstance(item, dict) else None for item in items]
        if items and all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
            return {f"[{name}]": item for name, item in zip(names, items, strict=True)}
    return None


def _below(path: str, name: str) -> str:
    if name.startswith("["):
        return f"{path}{name}"
    return f"{path}.{name}" if path else name
