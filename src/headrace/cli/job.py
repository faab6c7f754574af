"""``headrace job put|check|ls|show|save``, ``headrace check``: saved jobs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from headrace.cli import keeping, shapes, targets
from headrace.cli.runs import connect
from headrace.cli.shapes import job_page, job_view
from headrace.cli.terminal import Terminal, formatted
from headrace.client import flow
from headrace.model.errors import Invalid, Problem

SERVER_FIELDS = ("version", "created_at", "updated_at", "deleted_at", "waits_for", "packages")


def add(commands: Any) -> None:
    """The words of these commands."""
    job = commands.add_parser(
        "job", help="saved jobs: put, check, ls, show, save, versions, diff, rm, restore"
    ).add_subparsers(required=True, metavar="VERB (put check ls show save versions diff rm restore)")
    put = job.add_parser("put", help="save a definition (a file, or file.py:job)")
    put.add_argument("target", metavar="FILE")
    put.add_argument("--allow-missing", action="store_true", help="its Python tasks may be registered later")
    put.add_argument("--reason", help="why; kept with the version")
    put.set_defaults(do=put_job)
    check = job.add_parser("check", help="every problem of definitions, saving nothing")
    check.add_argument("paths", nargs="+", metavar="PATH")
    check.set_defaults(do=check_paths)
    ls = job.add_parser("ls", help="list saved jobs")
    ls.add_argument("-q", dest="q", metavar="TEXT", help="only with this text in name or description")
    ls.add_argument("--deleted", action="store_true", help="those that were deleted instead")
    ls.add_argument(
        "--sort", metavar="BY", help="name (default), updated_at, or the other way round: --sort=-updated_at"
    )
    ls.add_argument("--as-of", dest="as_of", metavar="INSTANT", help="as they were then, as 2026-03-29T06:00Z")
    ls.set_defaults(do=list_jobs)
    show = job.add_parser("show", help="one saved job")
    show.add_argument("name")
    show.add_argument("--version", type=int, dest="job_version", metavar="N", help="an older one")
    show.add_argument("--as-of", dest="as_of", metavar="INSTANT", help="as it was then")
    show.set_defaults(do=show_job)
    save = job.add_parser("save", help="write a saved job's definition to a file")
    save.add_argument("name")
    save.add_argument("-o", dest="file", metavar="FILE", help="default: NAME.json; as EDN when it ends in .edn")
    save.set_defaults(do=save_job)
    keeping.add(job)
    check2 = commands.add_parser("check", help="every problem of definitions, saving nothing")
    check2.add_argument("paths", nargs="+", metavar="PATH")
    check2.set_defaults(do=check_paths)


def put_job(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace job put``."""
    target = targets.read(args.target)
    if target.definition is None:
        raise Invalid(f"{args.target!r} is not a definition file")
    definition = target.definition
    with connect(args) as client:
        if target.package is not None:
            name, data = target.package
            client.packages.put(name, data)
            for child in target.children:
                client.jobs.put({**child, "package": name})
            definition = {**definition, "package": name}
        saved = client.jobs.put(definition, allow_missing=args.allow_missing, reason=args.reason)
    if not terminal.data(saved, job_view):
        terminal.line(f"job {saved.get('name')} version {saved.get('version')}")
        if saved.get("waits_for"):
            terminal.line(f"  waits for: {', '.join(saved['waits_for'])}")
    return 0


def check_paths(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace check``: works without a server."""
    from headrace.codec.documents import attach, definition_from, read_document
    from headrace.core.check import check, warnings

    problems: dict[str, list[Problem]] = {}
    warned: dict[str, list[Problem]] = {}
    for text in args.paths:
        try:
            if ".py" in text:
                made = [msgspec.convert(one, shapes.definition()) for one in targets.every_job(text)]
                problems[text] = _each_named(made, check)
                warned[text] = _each_named(made, warnings)
                continue
            path = Path(text)
            document = read_document(path.read_bytes(), media=targets.MEDIA.get(path.suffix.lower()), name=text)
            definition = definition_from(document, check)
            problems[text] = []
            warned[text] = list(attach(warnings(definition), document.positions))
        except Invalid as error:
            problems[text] = list(error.problems) or [Problem("", error.message)]
            if " cannot be imported: " in error.message:
                problems[text] = [Problem("", error.message), *error.problems]
        except OSError as error:
            problems[text] = [Problem("", f"cannot be read: {error.strerror}")]
    bad = any(problems.values())
    if terminal.data({"problems": problems, "warnings": warned}):
        return 2 if bad else 0
    for text in args.paths:
        found = problems[text]
        verdict = (
            terminal.style("ok", "green")
            if not found
            else terminal.style(f"{len(found)} problem{'s' * (len(found) > 1)}", "red")
        )
        terminal.line(f"{text}: {verdict}")
        for problem in found:
            terminal.line(f"  {problem}")
        for problem in warned.get(text, []):
            terminal.line(f"  {terminal.style('warning', 'yellow')} {problem}")
    return 2 if bad else 0


def _each_named(made: Sequence[Any], look: Callable[[Any], list[Problem]]) -> list[Problem]:
    """What is found in the jobs of one file; where there are several, each path begins with the job's name."""
    if len(made) == 1:
        return look(made[0])
    return [
        msgspec.structs.replace(problem, path=f"{definition.name}: {problem.path}")
        for definition in made
        for problem in look(definition)
    ]


def list_jobs(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace job ls``."""
    with connect(args) as client:
        deleted = "true" if args.deleted else None
        listed = client.do(flow.listed("jobs", q=args.q, deleted=deleted, sort=args.sort, as_of=args.as_of))
    if not terminal.data(listed, job_page):
        rows = [
            (str(j["name"]), str(j["version"]), terminal.when(j.get("updated_at")), str(j.get("description") or ""))
            for j in listed["items"]
        ]
        if rows:
            terminal.table(("name", "version", "updated", "description"), rows)
        else:
            terminal.line("no deleted jobs" if args.deleted else "no saved jobs: headrace job put FILE")
    return 0


def show_job(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace job show``."""
    with connect(args) as client:
        job = client.do(flow.job(args.name, args.job_version, args.as_of))
    if not terminal.data(job, job_view):
        terminal.line(msgspec.json.format(msgspec.json.encode(job), indent=2).decode())
    return 0


def save_job(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace job save``: the only command that writes a definition to disk."""
    with connect(args) as client:
        job = client.jobs.get(args.name)
    definition = {k: v for k, v in job.items() if k not in SERVER_FIELDS}
    path = Path(args.file or f"{args.name}.json")
    form = "edn" if path.suffix.lower() == ".edn" else "json"
    path.write_text(formatted(definition, form, shapes.definition) + "\n", encoding="utf-8")
    if not terminal.data({"file": str(path)}):
        terminal.line(f"wrote {path}")
    return 0
