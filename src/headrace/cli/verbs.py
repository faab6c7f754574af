"""``headrace cancel | stop | pause | resume | abandon | restart | amend``: what is asked of a run that exists."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path
from typing import Any

from headrace.cli.follow import wait
from headrace.cli.numbers import run_id
from headrace.cli.run import finish, labelled, labels, noted, server
from headrace.cli.runs import connect
from headrace.cli.targets import OTHERS, parameters
from headrace.cli.terminal import Terminal
from headrace.client import flow
from headrace.client.sync import Client, Run
from headrace.model.errors import Invalid

VERBS = {
    "cancel": "bring a run to its end: ask, then kill",
    "stop": "begin nothing new in a run, let what runs finish",
    "pause": "begin nothing new in a run until it is resumed",
    "resume": "let a paused run go on, and tasks that are held because their attempts were lost",
    "abandon": "end a run's record at once; what runs is fenced, nobody is waited for",
}


def add(commands: Any) -> None:
    """The words of these commands."""
    for verb, told in VERBS.items():
        one = commands.add_parser(verb, help=told)
        one.add_argument("id", type=run_id, metavar="ID")
        one.add_argument("--reason", help="why; kept with the run")
        if verb in ("cancel", "stop"):
            one.add_argument("--wait", action="store_true", help="until it has ended")
        one.set_defaults(do=ask, verb=verb, wait=False)
    again = commands.add_parser(
        "restart",
        help="go on from a run that has ended, by a new one",
        description="What had succeeded is taken over, not repeated: the new run does what did not succeed, and what "
        "hangs on it.",
    )
    again.add_argument("id", type=run_id, metavar="ID")
    again.add_argument(
        "--from", dest="since", default="failed", metavar="WHERE", help="failed (default), start, or a task"
    )
    again.add_argument("--version", type=int, metavar="N", help="another version of the job")
    again.add_argument(
        "--code", default="same", choices=("same", "latest"), help="latest: the packages as they are registered now"
    )
    again.add_argument(
        "--file", metavar="FILE", help="register the code of this file (or of its project) first, and take the latest"
    )
    again.add_argument("-p", dest="pairs", action="append", default=[], metavar="NAME=VALUE", help="another parameter")
    labelled(again)
    again.add_argument("--key", help="idempotency key: the same key gives the same run")
    again.add_argument("--wait", action="store_true", help="until it has ended; exit code 1 when it failed")
    again.add_argument("--follow", action="store_true", help="show states and log lines as they come")
    again.set_defaults(do=restart)
    change = commands.add_parser("amend", help="change what is noted of a run: priority, labels, phase")
    change.add_argument("id", type=run_id, metavar="ID")
    change.add_argument("--priority", type=int, metavar="N", help="-100 to 100, of what has not begun")
    change.add_argument(
        "--label",
        dest="labels",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a label, besides those there are; NAME= takes it away; may be repeated",
    )
    change.add_argument("--phase", metavar="NAME", help="the phase that the work is in")
    change.add_argument("--message", metavar="TEXT", help="what is said of the phase")
    change.set_defaults(do=amend)


def restart(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace restart``."""
    from headrace.author.bundle import bundle, package_name

    with server(args, terminal) as client:
        old = client.runs.get(args.id)
        if args.file:
            client.packages.put(package_name(Path(args.file)), bundle(Path(args.file)))
        run = old.restart(
            from_=args.since,
            version=args.version,
            code="latest" if args.file else args.code,
            params=parameters([], args.pairs, _schema(client, old)),
            key=args.key or secrets.token_urlsafe(16),
            **noted(args),
        )
        return finish(args, terminal, client, run)


def amend(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace amend``."""
    fields = {n: value for n in ("priority", "phase", "message") if (value := getattr(args, n)) is not None}
    given = labels(args.labels)
    if not fields and not given:
        raise Invalid("say what is to be changed: --priority, --label, --phase, --message")
    with connect(args) as client:
        if given:
            fields["labels"] = {name: value or None for name, value in given.items()}
        view = client.do(flow.amend(args.id, fields))
    if not terminal.data(view):
        terminal.line(f"run {view.id} {terminal.state(view.state)}")
    return 0


def _schema(client: Client, run: Run) -> dict[str, Any] | None:
    """The schema of the run's parameters, where its job is saved; else words are read by what they look like."""
    view = run.view
    if view.job is None or view.version is None:
        known = {name: _like(value) for name, value in (view.params or {}).items()}
        return {"properties": known, "additionalProperties": True}
    found = client.jobs.get(view.job, view.version).get("params")
    return found if isinstance(found, dict) else None


def _like(value: Any) -> dict[str, Any]:
    return {"type": "string"} if isinstance(value, str) else OTHERS


def ask(args: argparse.Namespace, terminal: Terminal) -> int:
    """Ask, and tell the state that the run is in then."""
    with connect(args) as client:
        client.do(flow.command(args.id, args.verb, args.reason))
        view = wait(client, args.id) if args.wait else client.do(flow.run(args.id))
    if not terminal.data(view):
        terminal.line(f"run {view.id} {terminal.state(view.state)}")
    return 0
