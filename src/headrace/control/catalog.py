"""Which registered package has which task: for checking definitions, and for pinning the code that they will run.

Reads the packages' rows; bounded. Pinning writes into a definition which package each Python task comes from and its
digest, so that a saved version and a run always mean the same code. Called where definitions come in.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Struct, structs

from headrace.control.changes.packages import PACKAGE, PackageRecord, read_package
from headrace.model.definition import JobDefinition, Task
from headrace.model.errors import Invalid, Problem
from headrace.store.port import Reader

PAGES_MAX = 20


class Catalog(Struct, frozen=True):
    """Registered packages by name, and for every task reference the packages that have it."""

    packages: dict[str, PackageRecord] = {}
    tasks: dict[str, list[str]] = {}


async def read_catalog(reader: Reader) -> Catalog:
    """All registered packages."""
    packages: dict[str, PackageRecord] = {}
    tasks: dict[str, list[str]] = {}
    after = ""
    for _ in range(PAGES_MAX):
        rows = await reader.entities(PACKAGE, after=after, limit=500)
        for row in rows:
            record = packages[row.name] = read_package(row.image)
            for reference in record.tasks:
                tasks.setdefault(reference, []).append(row.name)
        if len(rows) < 500:
            break
        after = rows[-1].name
    return Catalog(packages, tasks)


def uses_python(definition: JobDefinition) -> bool:
    """Whether a definition needs the catalog at all."""
    return any(task.python is not UNSET for task in definition.tasks)


def missing_of(definition: JobDefinition, catalog: Catalog) -> list[tuple[str, str]]:
    """(reference, package or the empty text) of each Python task that is not registered, or not in that package."""
    found: dict[tuple[str, str], None] = {}
    for task in definition.tasks:
        if task.python is not UNSET:
            given = _package_of(task, definition)
            there = catalog.tasks.get(task.python, ())
            if not there or (given and given not in there):
                found[task.python, given] = None
    return list(found)


def told_missing(missing: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Missing tasks in words, as a job keeps them."""
    return tuple(f"{reference} (package {package})" if package else reference for reference, package in missing)


def with_missing(catalog: Catalog, missing: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Task references as they will be known when the missing ones are there: for checking all the rest."""
    known = dict(catalog.tasks)
    for reference, package in missing:
        known[reference] = [*known.get(reference, ()), package or "?"]
    return known


def _package_of(task: Task, definition: JobDefinition) -> str:
    given = task.package if task.package is not UNSET else definition.package
    return "" if given is UNSET else given


def pinned(definition: JobDefinition, catalog: Catalog, missing: Sequence[tuple[str, str]] = ()) -> JobDefinition:
    """The definition with the package of every Python task named and its digest written down, but for missing ones."""
    tasks, pins = [], {}
    for task in definition.tasks:
        given = _package_of(task, definition)
        if task.python is not UNSET and (task.python, given) not in missing:
            name = given or catalog.tasks[task.python][0]
            pins[name] = catalog.packages[name].digest
            task = structs.replace(task, package=name)
        tasks.append(task)
    if not pins:
        return structs.replace(definition, packages={}) if definition.packages else definition
    return structs.replace(definition, tasks=tasks, packages=pins)


def unpinned(definition: JobDefinition) -> JobDefinition:
    """The definition without digests: what its author wrote, for telling whether the content is the same."""
    return structs.replace(definition, packages={})


def package_of(reference: str, given: str | None, catalog: Catalog, path: str) -> str:
    """The package that a task comes from. Raises Invalid when none, or more than one, has it."""
    names = catalog.tasks.get(reference, [])
    if given is not None and given in names:
        return given
    if len(names) == 1 and given is None:
        return names[0]
    if not names:
        message = f"{reference!r} is not a task: no registered package has it"
    elif given is not None:
        message = f"the package {given!r} has no task {reference!r}; {', '.join(sorted(names))} has"
    else:
        message = f"several packages have {reference!r}: name one by package: {', '.join(sorted(names))}"
    raise Invalid("1 problem", problems=(Problem(path, message),))
