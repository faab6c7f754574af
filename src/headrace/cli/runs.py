"""``headrace runs | show | logs | explain | stats``: looking at runs. What is asked of them is in ``cli.verbs``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from headrace.cli import shapes
from headrace.cli.follow import Watch, counted, failure, story
from headrace.cli.numbers import count, run_id
from headrace.cli.pieces import Pieces, who
from headrace.cli.terminal import Terminal, clean, elapsed, formatted, short
from headrace.client import flow
from headrace.client.sync import Client
from headrace.model.errors import Invalid
from headrace.model.views import RunPage, TaskView

FILTERS = (
    "job", "state", "label", "since", "until", "started_since", "started_until", "ended_since", "ended_until",
    "exit_status", "sort", "as_of", "parent", "q",
)  # fmt: skip
SHOWN = 100
"""So many instances of a task are shown."""
RUNS = (
    "List runs, newest first. Column 'exit': that of the task which gives the run's result, or that failed first: "
    "the exit code of a program, 'signal:9' when it was killed, 'ok' or 'error' for Python, or the work's own word."
)
SHOW = (
    "One run and its tasks. Column 'attempt': which attempt it is (1: the first). Column 'said': how the instances of a task "
    "with each stand; else its exit status, the reason of its end, its child run, or the progress that it last told."
)


def add(commands: Any) -> None:
    """The words of these commands."""
    runs = commands.add_parser("runs", help="list runs, newest first", description=RUNS)
    runs.add_argument("--job", metavar="NAME", help="only of this job")
    runs.add_argument(
        "--state", action="append", metavar="STATE", help="only in this state; may be given several times"
    )
    runs.add_argument("--label", action="append", metavar="NAME=VALUE", help="only with this label")
    runs.add_argument("--since", metavar="INSTANT", help="created then or later, as 2026-03-29T06:00Z")
    runs.add_argument("--until", metavar="INSTANT", help="created then or earlier")
    for what in ("started", "ended"):
        runs.add_argument(f"--{what}-since", metavar="INSTANT", help=f"{what} then or later")
        runs.add_argument(f"--{what}-until", metavar="INSTANT", help=f"{what} then or earlier")
    runs.add_argument(
        "--exit", dest="exit_status", metavar="STATUS", help="ended with this exit status; * and ? are wild"
    )
    runs.add_argument(
        "--sort",
        metavar="BY",
        help="created_at, ended_at, or newest first: --sort=-created_at (default), --sort=-ended_at",
    )
    runs.add_argument("--as-of", dest="as_of", metavar="INSTANT", help="as they were then")
    runs.add_argument("--parent", type=int, metavar="ID", help="only the child runs of this run, oldest first")
    runs.add_argument("-q", dest="q", metavar="TEXT", help="search")
    runs.add_argument("--limit", type=count, default=20, metavar="N", help="at most so many; default 20")
    runs.set_defaults(do=list_runs)
    show = commands.add_parser("show", help="one run and its tasks", description=SHOW)
    show.add_argument("id", type=run_id, metavar="ID")
    show.add_argument("task", nargs="?", metavar="TASK", help="this task alone, or its instance: TASK[3]")
    show.add_argument("--output", action="store_true", help="with the last output of each attempt")
    show.add_argument("--definition", action="store_true", help="the definition that the run was made of")
    show.add_argument("--as-of", dest="as_of", metavar="INSTANT", help="as it was then, as 2026-03-29T06:00Z")
    show.set_defaults(do=show_run)
    logs = commands.add_parser("logs", help="a run's log")
    logs.add_argument("id", type=run_id, metavar="ID")
    logs.add_argument("task", nargs="?", metavar="TASK", help="of this task, or of its instance: TASK[3]")
    logs.add_argument("--stream", choices=("stdout", "stderr", "log", "system"), help="only this one")
    logs.add_argument("--level", help="only records of this level or worse")
    logs.add_argument("-q", dest="q", metavar="TEXT", help="only lines with this text")
    logs.add_argument("--follow", "-f", action="store_true", help="until the run has ended")
    logs.set_defaults(do=show_logs)
    explain = commands.add_parser("explain", help="why a run runs, does not, or will not")
    explain.add_argument("id", type=run_id, metavar="ID")
    explain.set_defaults(do=explain_run)
    statistics = commands.add_parser(
        "stats", help="how the last runs of a job went, and its tasks; without one: what the server has to do"
    )
    statistics.add_argument("job", nargs="?", metavar="JOB")
    statistics.add_argument("--runs", type=count, metavar="N", help="of so many of the newest ended runs; default 100")
    statistics.set_defaults(do=show_statistics)


def connect(args: argparse.Namespace) -> Client:
    """The client that the flags name."""
    return Client(args.url, token=args.token, data=args.data)


def list_runs(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace runs``."""
    where = {name: getattr(args, name) for name in FILTERS}
    limit = max(1, min(args.limit, 500))
    with connect(args) as client:
        page = client.do(flow.runs(limit=limit, **where))
        while page.next_cursor and len(page.items) < limit:
            # a page ends where the server has looked long enough, also when it found little
            more = client.do(flow.runs(limit=limit - len(page.items), cursor=page.next_cursor, **where))
            page = RunPage(items=[*page.items, *more.items], next_cursor=more.next_cursor)
        if terminal.data(page):
            return 0
        rows = [
            (
                str(r.id),
                r.job or "",
                r.state,
                r.exit_status or "",
                terminal.when(r.created_at),
                elapsed(r.started_at, r.ended_at),
            )
            for r in page.items
        ]
        if not rows:
            terminal.line("no runs")
        else:
            terminal.table(("id", "job", "state", "exit", "created", "took"), rows)
            if page.next_cursor:
                terminal.line(
                    terminal.style(f"… more: --limit, or --until {page.items[-1].created_at.isoformat()}", "dim")
                )
    return 0


def show_run(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace show``."""
    if args.definition:
        return show_definition(args, terminal)
    if args.task:
        return show_task(args, terminal)
    with connect(args) as client:
        view = client.do(flow.run(args.id, output=args.output, as_of=args.as_of))
    if terminal.data(view):
        return 0
    terminal.line(
        f"{terminal.style(f'run {view.id}', 'bold')}  {view.job or 'unnamed'}"
        + (f" v{view.version}" if view.version else "")
    )
    terminal.line(f"  state    {terminal.state(view.state)}" + (f"  {view.exit_status}" if view.exit_status else ""))
    terminal.line(f"  created  {terminal.when(view.created_at)}")
    if view.started_at:
        terminal.line(f"  started  {terminal.when(view.started_at)}, took {elapsed(view.started_at, view.ended_at)}")
    if view.parent:
        terminal.line(f"  parent   run {view.parent}")
    if view.phase or view.message:
        said = " ".join(part for part in (view.phase, view.message and f"({view.message})") if part)
        terminal.line(f"  phase    {said}")
    if view.begins_at and not view.started_at:
        terminal.line(f"  begins   {terminal.when(view.begins_at)}")
    if view.restarted_from:
        terminal.line(f"  restart of    {view.restarted_from}")
    if view.restarted_as:
        terminal.line(f"  restarted as  {', '.join(str(number) for number in view.restarted_as)}")
    if view.params:
        terminal.line(f"  params   {short(view.params)}")
    if view.result is not None:
        terminal.line(f"  result   {short(view.result)}")
    terminal.line()
    _table(terminal, view.tasks, view.tasks_omitted)
    if view.state not in ("succeeded", "queued", "running"):
        terminal.line()
        story(terminal, view)
    return 0


def show_definition(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace show ID --definition``: what ``job put`` reads."""
    if args.task or args.output or args.as_of:
        raise Invalid("--definition stands alone")
    with connect(args) as client:
        found = client.do(flow.definition(args.id))
    if not terminal.data(found, shapes.definition):
        terminal.line(formatted(found, "json", shapes.definition))
    return 0


def show_task(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace show ID TASK``: one task, or one instance; of a task with ``each`` its first instances too."""
    if args.output or args.as_of:
        raise Invalid("--output and --as-of are for the whole run")
    with connect(args) as client:
        task = client.do(flow.task(args.id, args.task))
        if terminal.data(task):
            return 0
        below = client.do(flow.instances(args.id, task.name, limit=SHOWN)).items if task.counts else []
    _table(terminal, [task, *below])
    if task.counts and task.counts.get("total", 0) > len(below):
        terminal.line(terminal.style(f"… the first {len(below)}; one alone: {task.name}[{len(below)}]", "dim"))
    if task.result is not None:
        terminal.line(f"  result   {short(task.result)}")
    if task.state in ("failed", "lost"):
        failure(terminal, task)
    return 0


def _table(terminal: Terminal, tasks: Sequence[TaskView], more: int = 0) -> None:
    rows = []
    for task in tasks:
        said = (counted(task.counts) if task.counts else "") or task.exit_status or task.reason or ""
        said = f"run {task.child}: {said}" if task.child and said else f"run {task.child}" if task.child else said
        if task.progress and not said:
            total = "" if task.progress.total is None else f" of {task.progress.total:g}"
            said = f"{task.progress.done:g}{total} {task.progress.message}".rstrip()
        said = f"taken over from run {task.taken_from}" if task.taken_from else said
        name = task.name if task.index is None else f"{task.name}[{task.index}]"
        rows.append((name, task.state, str(task.attempt or ""), said, elapsed(task.started_at, task.ended_at)))
    terminal.table(("task", "state", "attempt", "said", "took"), rows)
    if more:
        terminal.line(f"… and {more} more tasks")


def show_logs(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace logs``."""
    with connect(args) as client:
        if args.follow and terminal.form == "text" and args.task is None:
            view = Watch(client, terminal, args.id).until_ended()
            story(terminal, view, client)
            return 0
        run = client.runs.get(args.id)
        where = {"stream": args.stream, "level": args.level, "q": args.q}
        records = run.logs(args.task, follow=args.follow, **where)
        if terminal.form != "text":
            terminal.data(list(records))
            return 0
        pieces = Pieces()
        for record in records:
            _print_lines(args, terminal, who(record), pieces.take(record))
        for task, _, line in pieces.rest():
            _print_lines(args, terminal, task, [line])
    return 0


def _print_lines(args: argparse.Namespace, terminal: Terminal, task: str, lines: list[str]) -> None:
    for line in lines:
        terminal.line(line if args.task else f"{terminal.style(f'{task} │', 'cyan')} {line}")


def explain_run(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace explain``."""
    with connect(args) as client:
        view = client.do(flow.explain(args.id))
    if terminal.data(view):
        return 0
    terminal.line(terminal.style(view.decision, "bold"))
    for reason in view.reasons:
        at = f"{terminal.when(reason.at)}  " if reason.at else ""
        terminal.line(f"  {at}{clean(reason.message)}  {terminal.style(f'[{reason.code}]', 'dim')}")
    if view.tasks_omitted:
        terminal.line(f"  nothing is said of {view.tasks_omitted} more tasks")
    if view.expected_at:
        terminal.line(f"  expected at {terminal.when(view.expected_at)}")
    for step in view.advice:
        terminal.line(f"  → {step}")
    return 0


def show_statistics(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace stats``."""
    if args.job is None:
        return show_stats(args, terminal)
    with connect(args) as client:
        view = client.do(flow.statistics(args.job, args.runs))
    if terminal.data(view):
        return 0
    if not view.runs:
        terminal.line("no run of it has ended")
        return 0
    told = [("runs", view.states, view.success_rate, view.elapsed)]
    told += [(task.name, task.states, task.success_rate, task.elapsed) for task in view.tasks]
    rows = []
    for name, states, rate, took in told:
        counted_states = ", ".join(f"{count} {state}" for state, count in states.items())
        seconds = ("", "") if took is None else (f"{took.average:.2f} s", f"{took.most:.2f} s")
        rows.append((name, counted_states, "" if rate is None else f"{rate:.0%}", *seconds))
    terminal.table(("", "ended", "success", "average", "longest"), rows)
    return 0


def show_stats(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace stats`` without a job."""
    with connect(args) as client:
        view = client.do(flow.stats())
    if terminal.data(view):
        return 0
    for name, counts in (("runs", view.runs), ("tasks", view.tasks)):
        told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        terminal.line(f"{name:<9}  {told or 'none that have not ended'}")
    terminal.line(f"{'agents':<9}  {view.agents} with {view.slots_free} slots free")
    terminal.line(f"{'so far':<9}  {view.submitted} submitted, {view.settled} settled, {view.commits} commits")
    return 0
