"""``headrace artifacts``: the files that a run left, listed or saved.

Saved as ``task/path``, or ``task/3/path`` for an instance, as the tasks that need them find them: two never take one
place. Names come from the server: none leads out of the folder. Called by ``cli.main``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headrace.cli.numbers import run_id
from headrace.cli.runs import connect
from headrace.cli.terminal import Terminal
from headrace.client.flow import named
from headrace.model.errors import Invalid, NotFound
from headrace.model.views import ArtifactView


def add(commands: Any) -> None:
    """The words of this command."""
    artifacts = commands.add_parser("artifacts", help="list the files of a run, or save them to a folder")
    artifacts.add_argument("id", type=run_id, metavar="ID")
    artifacts.add_argument("task", nargs="?", metavar="TASK", help="only of this task, or of its instance: TASK[3]")
    artifacts.add_argument(
        "-o", dest="folder", metavar="FOLDER", help="save them here, as TASK/FILE, or TASK/3/FILE of an instance"
    )
    artifacts.set_defaults(do=list_artifacts)


def list_artifacts(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace artifacts``."""
    with connect(args) as client:
        run = client.runs.get(args.id)
        found = run.artifacts()
        if args.task:
            name, index = named(args.task)
            if name not in run.tasks:
                raise NotFound(f"run {args.id} has no task {name!r}")
            found = [a for a in found if a.task == name and index in (None, a.index)]
        if args.folder:
            where = places(Path(args.folder), found)
            for artifact, path in zip(found, where, strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(run.download(artifact))
    if terminal.data(found):
        return 0
    if not found:
        terminal.line("no files")
        return 0
    terminal.table(
        ("task", "file", "bytes"),
        [(a.task if a.index is None else f"{a.task}[{a.index}]", a.path, str(a.size)) for a in found],
    )
    if args.folder:
        terminal.line(f"saved {len(found)} file{'s' * (len(found) > 1)} to {args.folder}")
    return 0


def places(folder: Path, found: Sequence[ArtifactView]) -> list[Path]:
    """Where each of the files is saved. Raises Invalid, before anything is written, when two would meet or one would
    leave the folder of its task.
    """
    root = folder.resolve()
    taken: dict[Path, ArtifactView] = {}
    for artifact in found:
        said = f"the file {artifact.path!r} of task {artifact.task}"
        own = root / artifact.task if artifact.index is None else root / artifact.task / str(artifact.index)
        try:
            path = (own / artifact.path).resolve()
        except ValueError as error:
            raise Invalid(f"{said} has a name that no file can have") from error
        if own not in path.parents or root not in own.parents or ".." in own.parts:
            raise Invalid(f"{said} would be written outside of {own}")
        if path in taken:
            raise Invalid(f"{said} is there twice: also {taken[path].path!r} of task {taken[path].task}")
        taken[path] = artifact
    return list(taken)
