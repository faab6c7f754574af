"""``headrace check``: every problem and warning of definition files, of Python files with jobs, and of all in a folder.

Works without a server and changes nothing; imports the Python files that it checks, as running them would.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from headrace.cli import shapes, targets
from headrace.cli.terminal import Terminal
from headrace.model.errors import HeadraceError, Invalid, Problem
from headrace.model.naming import nearest

_USES_US = re.compile(r"^\s*(?:from|import)\s+headrace\b", re.MULTILINE)
_DEFINITION = ("tasks",)
"""What makes an object a definition of a job: it says these, or something like them."""
NOTHING = "there is no definition in this folder"


class Found(msgspec.Struct, frozen=True):
    """What was found in one file."""

    problems: list[Problem] = []
    warnings: list[Problem] = []


def check_paths(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace check``: 2 when anything has a problem, or when a folder holds nothing to check."""
    found: dict[str, Found] = {}
    skipped: list[str] = []
    for text in args.paths:
        if not Path(text).is_dir():
            found[text] = _looked_at(text)
            continue
        names = list(_files(Path(text)))
        inside = {name: one for name in names if (one := _in_folder(name)) is not None}
        skipped += [name for name in names if name not in inside and not name.endswith(".py")]
        found.update(inside or {text: Found([Problem("", NOTHING)])})
    bad = any(one.problems for one in found.values())
    data = {
        "problems": {text: one.problems for text, one in found.items()},
        "warnings": {text: one.warnings for text, one in found.items()},
    }
    if not terminal.data({**data, "skipped": skipped} if skipped else data):
        _tell(found, skipped, terminal)
    return 2 if bad else 0


def _tell(found: dict[str, Found], skipped: Sequence[str], terminal: Terminal) -> None:
    for text, one in found.items():
        count = len(one.problems)
        verdict = (
            terminal.style(f"{count} problem{'s' * (count > 1)}", "red") if count else terminal.style("ok", "green")
        )
        terminal.line(f"{text}: {verdict}")
        for problem in one.problems:
            terminal.line(f"  {problem}")
        for problem in one.warnings:
            terminal.line(f"  {terminal.style('warning', 'yellow')} {problem}")
    for text in skipped:
        terminal.line(terminal.style(f"{text}: no definition of a job, left out", "dim"))


def _files(folder: Path) -> Iterator[str]:
    """Files of a folder, and of those below it, that may hold definitions, by name; as a package of it would hold them."""
    from headrace.author.bundle import project_files

    for path in sorted(project_files(folder)):
        if path.suffix.lower() in targets.MEDIA or path.suffix == ".py":
            yield str(path)


def _in_folder(text: str) -> Found | None:
    """What is found in a file that nobody named; None when it is something else than definitions."""
    path = Path(text)
    if path.suffix == ".py":
        if not _USES_US.search(path.read_text("utf-8", "replace")):
            return None
        try:
            return _of_python(text) if targets.jobs_of(path) else None
        except Invalid as error:
            return _refused(error)
    from headrace.codec.documents import read_document

    try:
        raw = path.read_bytes()
        data = read_document(raw, media=targets.MEDIA.get(path.suffix.lower()), name=text).data
    except OSError:
        return _looked_at(text)
    except HeadraceError:
        return _looked_at(text) if b"tasks" in raw else None
    if isinstance(data, dict) and any(isinstance(k, str) and nearest(k, _DEFINITION) for k in data):
        return _looked_at(text)
    return None


def _looked_at(text: str) -> Found:
    """What is found in a file, or in one job of a Python file, that is to hold a definition."""
    from headrace.codec.documents import attach, definition_from, read_document
    from headrace.core.check import check, warnings

    try:
        if ".py" in text:
            return _of_python(text)
        path = Path(text)
        document = read_document(path.read_bytes(), media=targets.MEDIA.get(path.suffix.lower()), name=text)
        definition = definition_from(document, check)
        return Found(warnings=list(attach(warnings(definition), document.positions)))
    except HeadraceError as error:
        return _refused(error)
    except OSError as error:
        return Found([Problem("", f"cannot be read: {error.strerror}")])


def _of_python(text: str) -> Found:
    from headrace.core.check import check, warnings

    made = [msgspec.convert(one, shapes.definition()) for one in targets.every_job(text)]
    return Found(_each_named(made, check), _each_named(made, warnings))


def _refused(error: HeadraceError) -> Found:
    if " cannot be imported: " in error.message:
        return Found([Problem("", error.message), *getattr(error, "problems", ())])
    return Found(list(getattr(error, "problems", ())) or [Problem("", error.message)])


def _each_named(made: Sequence[Any], look: Callable[[Any], list[Problem]]) -> list[Problem]:
    """What is found in the jobs of one file; where there are several, each path begins with the job's name."""
    if len(made) == 1:
        return look(made[0])
    return [
        msgspec.structs.replace(problem, path=f"{definition.name}: {problem.path}")
        for definition in made
        for problem in look(definition)
    ]
