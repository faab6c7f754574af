"""Import msgspec without what it brings along and nothing needs. Called first by entry points of short or small processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def without(*names: str) -> Iterator[None]:
    """What is imported meanwhile does not find these modules, unless they are there already."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None is how a module is said to be missing
    hidden = [name for name in names if name not in modules]
    for name in hidden:
        modules[name] = None
    try:
        yield
    finally:
        for name in hidden:
            if modules.get(name) is None:
                modules.pop(name, None)


def import_records() -> None:
    """Import msgspec. It looks into ``typing_extensions``, half a MB and 10 ms, for what ``typing`` has since 3.11."""
    with without("typing_extensions"):
        import msgspec  # noqa: F401 -- imported for its effect
