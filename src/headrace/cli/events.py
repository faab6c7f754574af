"""``headrace events``: what happened, of everything, in order; and what happens now."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from typing import Any

from headrace.cli import eventlines
from headrace.cli.numbers import count
from headrace.cli.runs import connect
from headrace.cli.terminal import Terminal, short
from headrace.client import flow
from headrace.client.sync import Client
from headrace.model.errors import HeadraceError
from headrace.model.views import FeedEvent

WAIT_S = 20.0
PAGE = 500


def add(commands: Any) -> None:
    """The words of this command."""
    events = commands.add_parser(
        "events",
        help="what happened, of everything, in order",
        description="What happened, of everything, in order. With --json one JSON document per event and line (JSON Lines), "
        "as they come, and no document around them; --edn likewise. Each has its cursor: --after goes on behind it.",
    )
    events.add_argument("--follow", "-f", action="store_true", help="go on with what happens, from now on")
    events.add_argument(
        "--subject",
        action="append",
        metavar="SUBJECT",
        help="only of runs/12, jobs/nightly, or what begins so: jobs/night*",
    )
    events.add_argument("--after", metavar="CURSOR", help="behind this cursor; latest: from now on")
    events.add_argument("--limit", type=count, default=100, metavar="N", help="at most so many; default 100")
    events.set_defaults(do=list_events)


def list_events(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace events``."""
    after = args.after or ("latest" if args.follow else None)
    left = 0 if args.follow else max(1, args.limit)
    with connect(args) as client:
        job_of = _names(client)
        while args.follow or left > 0:
            limit = PAGE if args.follow else min(left, PAGE)
            page = client.do(
                flow.all_events(after=after, subject=args.subject, limit=limit, wait=WAIT_S if args.follow else 0.0)
            )
            for event in page.items:
                _print(event, terminal, job_of)
            left -= len(page.items)
            after = page.cursor
            if page.next_cursor is None and not args.follow:
                break
        else:
            terminal.line(terminal.style(f"… more: --after {after}", "dim"))
    return 0


def _names(client: Client) -> Callable[[int], str]:
    """What the jobs of runs are called; each run is asked for once."""

    @cache
    def job_of(run: int) -> str:
        try:
            return client.do(flow.run(run)).job or ""
        except HeadraceError:
            return ""  # it may be gone, or not for this reader

    return job_of


def _print(event: FeedEvent, terminal: Terminal, job_of: Callable[[int], str]) -> None:
    if terminal.item(event):
        return
    if terminal.live:
        terminal.line(eventlines.line(event, terminal, job_of))
        return
    said = {name: value for name, value in event.body.items() if value not in (None, "")}
    terminal.line(
        f"{terminal.when(event.at)}  {event.kind:<16} {event.subject}"
        + (f"  {short(said)}" if said else "")
        + (f"  {terminal.style(event.actor, 'dim')}" if event.actor else "")
    )
