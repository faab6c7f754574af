"""``headrace cancel | stop | pause | resume | abandon``: what is asked of a run that exists."""

from __future__ import annotations

import argparse
from typing import Any

from headrace.cli.follow import wait
from headrace.cli.runs import connect
from headrace.cli.terminal import Terminal
from headrace.client import flow

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
        one.add_argument("id", type=int, metavar="ID")
        one.add_argument("--reason", help="why; kept with the run")
        if verb in ("cancel", "stop"):
            one.add_argument("--wait", action="store_true", help="until it has ended")
        one.set_defaults(do=ask, verb=verb, wait=False)


def ask(args: argparse.Namespace, terminal: Terminal) -> int:
    """Ask, and tell the state that the run is in then."""
    with connect(args) as client:
        client.do(flow.command(args.id, args.verb, args.reason))
        view = wait(client, args.id) if args.wait else client.do(flow.run(args.id))
    if not terminal.data(view):
        terminal.line(f"run {view.id} {terminal.state(view.state)}")
    return 0
