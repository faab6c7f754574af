"""``headrace job put|check|ls|show|save``, ``headrace check``: saved jobs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec

from headrace.cli import keeping, shapes, targets
from headrace.cli.check import check_paths
from headrace.cli.runs import connect
from headrace.cli.shapes import job_page, job_view
from headrace.cli.terminal import Terminal, formatted
from headrace.client import flow
from headrace.model.errors import Invalid

PATHS = "definition files, FILE.py[:JOB], or folders: every definition in them"
FORMS = {".yaml": "yaml", ".yml": "yaml", ".edn": "edn"}
"""What a definition is written as, by the end of its file's name; everything else is JSON."""
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
    check.add_argument("paths", nargs="+", metavar="PATH", help=PATHS)
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
    save.add_argument(
        "-o",
        dest="file",
        metavar="FILE",
        help="default: NAME.json; as YAML when it ends in .yaml or .yml, as EDN in .edn",
    )
    save.set_defaults(do=save_job)
    keeping.add(job)
    check2 = commands.add_parser("check", help="every problem of definitions, saving nothing")
    check2.add_argument("paths", nargs="+", metavar="PATH", help=PATHS)
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
    form = FORMS.get(path.suffix.lower(), "json")
    path.write_text(formatted(definition, form, shapes.definition) + "\n", encoding="utf-8")
    if not terminal.data({"file": str(path)}):
        terminal.line(f"wrote {path}")
    return 0
