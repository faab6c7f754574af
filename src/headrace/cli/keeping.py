"""``headrace job rm|restore|versions|diff``: what a saved job was, and taking it away and back."""

from __future__ import annotations

import argparse
from typing import Any

import msgspec

from headrace.cli.runs import connect
from headrace.cli.shapes import job_view
from headrace.cli.terminal import Terminal, clean
from headrace.client import keeping
from headrace.model.views import Difference

SHOWN_MAX = 300
SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


def add(job: Any) -> None:
    """The words of these commands, below ``job``."""
    rm = job.add_parser("rm", help="delete a job; its versions stay and its runs go on")
    rm.add_argument("names", nargs="+", metavar="NAME")
    rm.add_argument("--reason", help="why; kept with the version")
    rm.set_defaults(do=delete_jobs)
    restore = job.add_parser("restore", help="bring a deleted job back, or an older version")
    restore.add_argument("name")
    restore.add_argument("--version", type=int, dest="job_version", metavar="N", help="with the code it ran")
    restore.add_argument("--reason", help="why; kept with the version")
    restore.set_defaults(do=restore_job)
    versions = job.add_parser("versions", help="every version of a job: when, by whom and why")
    versions.add_argument("name")
    versions.set_defaults(do=list_versions)
    diff = job.add_parser("diff", help="what two versions of a job differ in")
    diff.add_argument("name")
    diff.add_argument("before", nargs="?", type=int, metavar="FROM", help="default: the one before")
    diff.add_argument("after", nargs="?", type=int, metavar="TO", help="default: the newest")
    diff.set_defaults(do=show_diff)


def delete_jobs(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace job rm``."""
    with connect(args) as client:
        for name in args.names:
            client.do(keeping.delete_job(name, args.reason))
            terminal.line(f"job {name} deleted; headrace job restore {name} brings it back")
    terminal.data({"deleted": args.names})
    return 0


def restore_job(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace job restore``."""
    with connect(args) as client:
        saved = client.do(keeping.restore_job(args.name, args.job_version, args.reason))
    if not terminal.data(saved, job_view):
        what = "" if args.job_version is None else f", as version {args.job_version} was"
        terminal.line(f"job {saved['name']} version {saved['version']}{what}")
    return 0


def list_versions(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace job versions``."""
    with connect(args) as client:
        page = client.do(keeping.job_versions(args.name))
        items = list(page.items)
        while page.next_cursor is not None:
            page = client.do(keeping.job_versions(args.name, page.next_cursor))
            items += page.items
    if not terminal.data({"items": items}):
        rows = [(str(v.version), terminal.when(v.at), v.change, v.actor or "", v.reason or "") for v in items]
        terminal.table(("version", "at", "what", "who", "why"), rows)
    return 0


def show_diff(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace job diff``."""
    with connect(args) as client:
        found = client.do(keeping.job_diff(args.name, args.before, args.after))
    if terminal.data(found):
        return 0
    terminal.line(f"job {found.name}, version {found.before} to {found.after}")
    for one in found.differences:
        sign, colour = SIGNS[one.change]
        terminal.line(terminal.style(f"{sign} {clean(one.path)}{_said(one)}", colour))
    if not found.differences:
        terminal.line("no difference")
    return 0


def _said(one: Difference) -> str:
    before, after = _short(one.before), _short(one.after)
    if one.change == "changed":
        return f": {before} → {after}"
    return f": {after if one.change == 'added' else before}"


def _short(value: Any) -> str:
    if value is msgspec.UNSET:
        return ""
    text = clean(msgspec.json.encode(value).decode())
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 1]}…"
