"""``headrace task ls|run`` and ``headrace agent ls``: what is registered, one task of it as a run, and who does the work."""

from __future__ import annotations

import argparse
import secrets
from typing import Any

from headrace.cli import targets
from headrace.cli.run import finish, labelled, options_of, server, times
from headrace.cli.runs import connect
from headrace.cli.shapes import Page
from headrace.cli.terminal import Terminal
from headrace.client import flow
from headrace.client.sync import Run
from headrace.model import views
from headrace.model.errors import NotAvailable

LATER_FLAGS = ("--control", "--dial", "--labels", "--slots", "--code")
"""Flags of an agent on a machine of its own, which a later version starts."""


def add(commands: Any) -> None:
    """The words of these commands."""
    task = commands.add_parser("task", help="tasks of registered packages: ls, run")
    verbs = task.add_subparsers(required=True, metavar="VERB (ls run)")
    verbs.add_parser("ls", help="list tasks of registered packages").set_defaults(do=list_noun, noun="task")
    run = verbs.add_parser(
        "run",
        help="run one registered task",
        description="REF is module:function, as `headrace task ls` shows it. Its arguments follow as --name value. A value "
        "that is JSON is read as such (--n 5, --day null, --names '[\"Ada\"]'), any other is text; text that looks like "
        "a number stands in quotes: --zip '\"8001\"'.",
    )
    run.add_argument("reference", metavar="REF")
    run.add_argument("-p", dest="pairs", action="append", default=[], metavar="NAME=VALUE", help="an argument")
    run.add_argument("--package", metavar="NAME", help="where several packages have such a task")
    run.add_argument("--wait", action="store_true", help="until it has ended; exit code 1 when it failed")
    run.add_argument("--follow", action="store_true", help="show states and log lines as they come")
    run.add_argument("--retries", type=int, metavar="N", help="up to so many more attempts")
    run.add_argument("--timeout", metavar="SPAN", help="of each attempt: 30s, 10m, 2h")
    run.add_argument("--key", help="idempotency key: the same key gives the same run")
    labelled(run)
    times(run)
    run.set_defaults(do=run_task, takes_rest=True)
    agent = commands.add_parser("agent", help="agents: ls")
    for later in LATER_FLAGS:
        agent.add_argument(later, nargs="?", help=argparse.SUPPRESS)
    agent.set_defaults(do=run_agent)
    verbs = agent.add_subparsers(metavar="VERB (ls)")
    verbs.add_parser("ls", help="list agents").set_defaults(do=list_noun, noun="agent")


def run_agent(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace agent``."""
    raise NotAvailable(
        "not available yet: headrace agent, an agent on a machine of its own; there is: headrace agent ls"
    )


def run_task(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace task run``."""
    params = targets.parameters(args.rest, args.pairs, targets.ANYTHING)
    options = options_of(args)
    for name in ("package", "retries", "timeout"):
        if (value := getattr(args, name)) is not None:
            options[name] = value
    with server(args, terminal) as client:
        view = client.do(flow.run_task(args.reference, params, options, args.key or secrets.token_urlsafe(16)))
        return finish(args, terminal, client, Run(client, view))


def list_noun(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace task|agent ls``."""
    with connect(args) as client:
        listed = client.do(flow.listed(f"{args.noun}s"))
    if terminal.data(listed, lambda: _page_of(args.noun)):
        return 0
    items: list[dict[str, Any]] = listed.get("items", [])
    columns = [k for k in (items[0] if items else {}) if not isinstance(items[0][k], list | dict)][:6]
    if not items:
        terminal.line(f"no {args.noun}s")
    else:
        terminal.table(columns, [[_told(c, item.get(c), terminal) for c in columns] for item in items])
    return 0


def _page_of(noun: str) -> Any:
    pages: dict[str, Any] = {"task": Page[views.TaskName], "agent": Page[views.AgentView]}
    return pages[noun]


def _told(column: str, value: Any, terminal: Terminal) -> str:
    """A cell for people: the beginning of a digest, an instant in their zone. The whole comes with ``--json``."""
    if column == "digest":
        return str(value)[:12]
    return terminal.when(value) if column.endswith("_at") else str("" if value is None else value)
