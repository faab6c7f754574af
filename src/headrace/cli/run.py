"""``headrace run`` and ``headrace exec``: make a run, and wait for it or follow it.

Without a server one is started for the length of the run, on the same data folder.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, time, timedelta
from typing import Any

from headrace.cli import asking, shapes, targets
from headrace.cli.follow import Watch, story, wait
from headrace.cli.runs import connect
from headrace.cli.terminal import Terminal
from headrace.client.sync import FINAL, Client, Run
from headrace.model.errors import Busy, Invalid, NotAvailable, Problem, Unreachable

LATER_FLAGS = ("--image", "--cpus", "--memory")
"""Flags of ``headrace exec`` that a later version knows."""


def add(commands: Any) -> None:
    """The words of these commands."""
    run = commands.add_parser(
        "run",
        help="run a saved job, a definition file, or file.py:job",
        add_help=False,
        description="TARGET is a saved job's name, a definition file (.yaml, .json, .edn), or file.py:job. "
        "Parameters follow as --name value; one that is called as a flag is written -p name=value. On a terminal those "
        "that are required and missing are asked for.",
    )
    run.add_argument("target", nargs="?", metavar="TARGET")
    run.add_argument("-h", "--help", action="store_true", dest="asks_help", help="with TARGET: its parameters too")
    run.add_argument("-p", dest="pairs", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
    run.add_argument("--yes", action="store_true", help="ask for nothing: a missing parameter is an error")
    run.add_argument("--wait", action="store_true", help="until it has ended; exit code 1 when it failed")
    run.add_argument("--follow", action="store_true", help="show states and log lines as they come")
    run.add_argument("--dry-run", action="store_true", help="check and show the definition, run nothing")
    run.add_argument(
        "--test",
        nargs="?",
        const="noop",
        choices=("noop", "print"),
        help="run the graph with its work replaced: by nothing, or (print) by a line that says what would be done",
    )
    run.add_argument("--key", help="idempotency key: the same key gives the same run")
    run.add_argument("--version", type=int, dest="job_version", metavar="N", help="an older version of a saved job")
    labelled(run)
    times(run)
    for later in ("--local", "--watch"):
        run.add_argument(later, action="store_true", help=argparse.SUPPRESS)
    flags = [flag for action in run._actions for flag in action.option_strings if action.help != argparse.SUPPRESS]  # noqa: SLF001 -- argparse tells them nowhere else
    run.set_defaults(do=run_target, takes_rest=True, usage=run.format_help, flags=flags)
    execute = commands.add_parser("exec", help="run one command, as a run of its own")
    execute.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="an environment variable")
    execute.add_argument("--wait", action="store_true", help="until it has ended")
    execute.add_argument("--follow", action="store_true", help="show its output as it comes")
    labelled(execute)
    times(execute)
    for later in LATER_FLAGS:
        execute.add_argument(later, help=argparse.SUPPRESS)
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- ARGV…")
    execute.set_defaults(do=run_command)


def labelled(command: argparse.ArgumentParser) -> None:
    """The flags that say how important a run is, and what is noted of it."""
    command.add_argument(
        "--priority", type=int, metavar="N", help="-100 to 100; each point counts as a minute of waiting"
    )
    command.add_argument(
        "--label", dest="labels", action="append", default=[], metavar="NAME=VALUE", help="a label; may be repeated"
    )
    command.add_argument("--reason", help="why; kept with the run")


def noted(args: argparse.Namespace) -> dict[str, Any]:
    """What the flags of ``labelled`` say, as options of a submit."""
    found = {"priority": args.priority, "reason": args.reason, "labels": labels(args.labels) or None}
    return {name: value for name, value in found.items() if value is not None}


def options_of(args: argparse.Namespace) -> dict[str, Any]:
    """What the flags of ``labelled`` and ``times`` say, as options of a submit."""
    return noted(args) | when(args)


def labels(pairs: Sequence[str]) -> dict[str, str]:
    """``--label name=value`` as they were given. Raises Invalid for every one that is not written so."""
    problems = [Problem(f"--label {pair}", "write it as name=value") for pair in pairs if not pair.partition("=")[1]]
    if problems:
        raise Invalid("the labels are wrong", problems=tuple(problems))
    return dict(pair.partition("=")[::2] for pair in pairs)


def times(command: argparse.ArgumentParser) -> None:
    """The flags that say when a run may begin."""
    command.add_argument(
        "--at", metavar="WHEN", help="begin then: 2026-03-29T06:00 (here), …T06:00Z, or the next 06:00"
    )
    command.add_argument("--delay", metavar="SPAN", help="begin so much later: 30s, 10m, 2h")
    command.add_argument("--expires", metavar="SPAN", help="cancel it when it has not begun so long after it may begin")


def when(args: argparse.Namespace) -> dict[str, str]:
    """What these flags say, as options of a submit."""
    found = {"at": moment(args.at) if args.at else None, "delay": args.delay, "expires": args.expires}
    return {name: text for name, text in found.items() if text is not None}


def moment(text: str, now: datetime | None = None) -> str:
    """An instant as a person writes it: without a zone it is local time, without a day the next such time."""
    now = now or datetime.now().astimezone()
    try:
        if "T" not in text and "-" not in text:
            at = datetime.combine(now.date(), time.fromisoformat(text)).astimezone()
            at = at if at > now else datetime.combine(now.date() + timedelta(days=1), at.time()).astimezone()
        else:
            at = datetime.fromisoformat(text)
            at = at if at.tzinfo is not None else at.astimezone()
    except (ValueError, OverflowError) as error:
        raise Invalid(f"--at {text}: write 2026-03-29T06:00, 2026-03-29T06:00Z or 06:00") from error
    return at.isoformat()


def run_target(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace run``."""
    if args.asks_help or not args.target:
        return _help(args, terminal)
    for later in ("local", "watch"):
        if getattr(args, later):
            raise NotAvailable(f"not available yet: --{later}")
    target = targets.read(args.target)
    if args.job_version is not None and target.definition is not None:
        raise Invalid("--version is for a saved job: a file has only what is in it")
    if args.dry_run and target.definition is not None:
        return _dry(target.definition, terminal)
    params = None if target.definition is None else _params(args, terminal, target.definition.get("params"))
    with server(args, terminal) as client:
        if args.dry_run:
            return _dry(client.jobs.get(target.name, args.job_version), terminal)
        if params is None:
            params = _params(args, terminal, client.jobs.get(target.name, args.job_version).get("params"))
        options: dict[str, Any] = options_of(args)
        if args.test:
            options["test"] = args.test
        if args.job_version is not None:
            options["version"] = args.job_version
        key = args.key or secrets.token_urlsafe(16)
        body: Any = target.name
        if target.definition is not None:
            body = {"job": _packed(client, target)}
        run = client.submit(body, params, key=key, **options)
        return finish(args, terminal, client, run)


def _help(args: argparse.Namespace, terminal: Terminal) -> int:
    """The words of ``headrace run``, and the parameters of the job that was named with them."""
    if not args.asks_help:
        raise Invalid(
            "say what to run: a saved job's name, a definition file, or file.py:job; see: headrace run --help"
        )
    terminal.out.write(args.usage())
    if args.target:
        target = targets.read(args.target)
        if target.definition is not None:
            schema = target.definition.get("params")
        else:
            with connect(args) as client:
                schema = client.jobs.get(target.name).get("params")
        terminal.out.write("\n" + targets.parameters_help(args.target, schema if isinstance(schema, dict) else {}))
    return 0


def run_command(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace exec``."""
    for later in LATER_FLAGS:
        if getattr(args, later.removeprefix("--")) is not None:
            raise NotAvailable(f"not available yet: headrace exec {later}")
    argv = args.argv[1:] if args.argv[:1] == ["--"] else args.argv
    if not argv:
        raise Invalid("say what to run: headrace exec -- ARGV…")
    env = dict(pair.partition("=")[::2] for pair in args.env)
    body: dict[str, Any] = {"command": argv} | ({"env": env} if env else {})
    with server(args, terminal) as client:
        run = client.submit(body, key=secrets.token_urlsafe(16), **options_of(args))
        return finish(args, terminal, client, run)


def _dry(definition: dict[str, Any], terminal: Terminal) -> int:
    if not terminal.data(definition, shapes.definition):
        import msgspec

        terminal.line(msgspec.json.format(msgspec.json.encode(definition), indent=2).decode())
    return 0


def _params(args: argparse.Namespace, terminal: Terminal, schema: Any) -> dict[str, Any]:
    """The parameters that the words say; on a terminal those that are missing are asked for."""
    schema = schema if isinstance(schema, dict) else None
    params = targets.parameters(args.rest, args.pairs, schema, args.flags)
    for slip in targets.slips(args.rest, schema, args.flags):
        print(f"warning: {slip}", file=sys.stderr)
    if schema is None or args.yes or not asking.may_ask(terminal):
        return params
    return asking.completed(params, schema, terminal)


def _packed(client: Client, target: targets.Target) -> dict[str, Any]:
    """Register the code, save the jobs that it runs as children, and pin what was registered in what is run."""
    assert target.definition is not None
    if target.package is None:
        return target.definition
    name, data = target.package
    package = client.packages.put(name, data)
    for child in target.children:
        client.jobs.put({**child, "package": name})
    return {**target.definition, "package": name, "packages": {name: package.digest}}


def _left(args: argparse.Namespace, number: int) -> None:
    """Whoever stops watching is told that the run goes on."""
    when = "goes on when a server runs: headrace up" if getattr(args, "own_server", False) else "goes on"
    print(f"\nrun {number} {when}", file=sys.stderr)
    print(f"  follow it:  headrace logs {number} --follow", file=sys.stderr)
    print(f"  end it:     headrace cancel {number}", file=sys.stderr, flush=True)


def finish(args: argparse.Namespace, terminal: Terminal, client: Client, run: Run) -> int:
    """Tell of the run that was made; wait for it, or follow it, where that was asked for."""
    if not (args.follow or args.wait or getattr(args, "own_server", False)):
        if not terminal.data(run.view):
            terminal.line(f"run {run.id} {terminal.state(run.view.state)}")
            terminal.line(f"  follow it:  headrace logs {run.id} --follow")
        return 0
    try:
        if args.follow and terminal.form == "text":
            view = Watch(client, terminal, run.id).until_ended()
        else:
            view = wait(client, run.id)
    except (KeyboardInterrupt, Unreachable, Busy):
        _left(args, run.id)
        raise
    if not terminal.data(view):
        story(terminal, view, client)
    assert view.state in FINAL
    return 0 if view.state == "succeeded" else 1


@contextlib.contextmanager
def server(args: argparse.Namespace, terminal: Terminal) -> Iterator[Client]:
    """A client of the server that is there; where none is, one is started for as long as this lasts."""
    try:
        client = Client(args.url, token=args.token, data=args.data)
    except Unreachable:
        if args.url:
            raise
        from headrace.cli.own_server import own_server

        args.own_server = True
        with own_server(args, terminal) as client:
            yield client
        return
    with client:
        yield client
