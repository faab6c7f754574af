"""``headrace``: reads the words, finds the command, prints errors as people need them.

Only the file of the command that was asked for is imported: ``headrace show`` must answer in 0.2 s. Exit codes: 0 ok,
1 the run failed, 2 usage, 3 cannot reach or refused.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from headrace.codec.lean import import_records

import_records()

from headrace.model.errors import HeadraceError, Invalid  # noqa: E402 -- it imports msgspec

OK, RUN_FAILED, USAGE, REFUSED, INTERRUPTED = 0, 1, 2, 3, 130
COMMANDS = {
    "up": "headrace.cli.servers",
    "run": "headrace.cli.run",
    "exec": "headrace.cli.run",
    "runs": "headrace.cli.runs",
    "events": "headrace.cli.events",
    "show": "headrace.cli.runs",
    "logs": "headrace.cli.runs",
    "explain": "headrace.cli.runs",
    "cancel": "headrace.cli.verbs",
    "stop": "headrace.cli.verbs",
    "pause": "headrace.cli.verbs",
    "resume": "headrace.cli.verbs",
    "abandon": "headrace.cli.verbs",
    "restart": "headrace.cli.verbs",
    "amend": "headrace.cli.verbs",
    "artifacts": "headrace.cli.artifacts",
    "stats": "headrace.cli.runs",
    "job": "headrace.cli.job",
    "check": "headrace.cli.job",
    "package": "headrace.cli.package",
    "task": "headrace.cli.task",
    "agent": "headrace.cli.task",
    "limit": "headrace.cli.limit",
    "user": "headrace.cli.people",
    "token": "headrace.cli.people",
    "login": "headrace.cli.people",
    "logout": "headrace.cli.people",
    "me": "headrace.cli.people",
    "backup": "headrace.cli.backup",
    "restore": "headrace.cli.backup",
    "export": "headrace.cli.backup",
    "import": "headrace.cli.backup",
    "init": "headrace.cli.begin",
    "completion": "headrace.cli.begin",
    "version": "headrace.cli.about",
    "config": "headrace.cli.about",
    "schema": "headrace.cli.about",
}
"""Which file knows which word."""
LATER = [
    "approve",
    "schedule",
    "calendar",
    "subscription",
    "secret",
    "ui",
    "doctor",
    "migrate",
    "control",
]
"""Words of the contract that a later version knows."""
LATER_VERBS = {"package": ("watch",), "agent": ("accept", "drain", "resume", "rm"), "import": ("crontab",)}
FLAGS = {"--url", "--token", "--data"}
"""Flags before the command that take the next word."""


def command_of(words: Sequence[str]) -> str | None:
    """The first word that is no flag and no flag's value: the command; None when there is none."""
    at = command_at(words)
    return None if at is None else words[at]


def command_at(words: Sequence[str]) -> int | None:
    """Where that word stands."""
    rest = iter(enumerate(words))
    for at, word in rest:
        if word in FLAGS:
            next(rest, None)
        elif not word.startswith("-"):
            return at
    return None


def unknown(word: str, more: Sequence[str]) -> str:
    """What to say to a word that is no command, or to a verb of a later version; empty for a good one."""
    if word in COMMANDS:
        verb = command_of(more) if word in LATER_VERBS else None
        return f"not available yet: headrace {word} {verb}" if verb in LATER_VERBS.get(word, ()) else ""
    if word in LATER:
        return f"not available yet: headrace {word}"
    from difflib import get_close_matches

    near = get_close_matches(word, COMMANDS, 1, 0.6)
    return f"there is no command {word!r}" + (f"; did you mean {near[0]!r}?" if near else "; see: headrace --help")


def parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with all commands when help is asked for and with one otherwise."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json", dest="form", action="store_const", const="json", default=argparse.SUPPRESS, help="print JSON"
    )
    common.add_argument(
        "--edn", dest="form", action="store_const", const="edn", default=argparse.SUPPRESS, help="print EDN"
    )
    common.add_argument("--utc", action="store_true", default=argparse.SUPPRESS, help="times in UTC")
    common.add_argument("--url", default=argparse.SUPPRESS, help="the server")
    common.add_argument("--token", default=argparse.SUPPRESS, help="better: HEADRACE_TOKEN")
    common.add_argument("--data", default=argparse.SUPPRESS, metavar="DIR", help="the data folder")
    top = argparse.ArgumentParser(
        prog="headrace",
        description="Describe work as tasks with dependencies; let it run, and know what happened.",
        epilog="Exit codes: 0 ok, 1 the run failed, 2 wrong words or a wrong definition, 3 no server, or it refused.",
        parents=[common],
        allow_abbrev=False,
    )

    class Common(argparse.ArgumentParser):
        """A command's parser: knows the flags that every command has."""

        def __init__(self, **options: object) -> None:
            super().__init__(parents=[common], allow_abbrev=False, **options)  # type: ignore[arg-type]  # argparse passes its own keywords on

    commands = top.add_subparsers(metavar="COMMAND", parser_class=Common)
    top.add_argument("--version", dest="_", action="store_true", help="which Headrace this is")
    module = COMMANDS.get(command_of(words) or "")
    for name in [module] if module else dict.fromkeys(COMMANDS.values()):
        importlib.import_module(name).add(commands)
    commands._choices_actions.sort(key=lambda told: list(COMMANDS).index(told.dest))  # noqa: SLF001 # argparse lists them as they were added
    return top


def _write_no_more() -> None:
    """Nothing may be written at exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _spelled(words: Sequence[str]) -> list[str]:
    """``--version`` without a command is the command of that name."""
    if command_at(words) is None and "--version" in words:
        return [*(word for word in words if word != "--version"), "version"]
    return list(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code. Never lets a traceback of ours reach a person."""
    try:
        return _main(words)
    except KeyboardInterrupt:  # also while a command is still being loaded
        return INTERRUPTED


def _main(words: Sequence[str] | None) -> int:
    words = _spelled(sys.argv[1:] if words is None else words)
    at = command_at(words)
    command = None if at is None else words[at]
    if at is not None and (said := unknown(words[at], words[at + 1 :])):
        print(f"error: {said}", file=sys.stderr)
        return REFUSED if said.startswith("not available") else USAGE
    top = parser(words)
    args, rest = top.parse_known_args(words)
    if not hasattr(args, "do"):
        top.print_help()
        return USAGE
    if rest and not getattr(args, "takes_rest", False):
        top.error(f"{command} does not know: {' '.join(rest)}; see: headrace {command} --help")
    args.rest = rest
    for name, default in (("url", None), ("token", None), ("data", None), ("form", "text"), ("utc", False)):
        if not hasattr(args, name):
            setattr(args, name, default)
    from headrace.cli.terminal import Terminal, tell

    try:
        code: int = args.do(args, Terminal(form=args.form, utc=args.utc))
        if sys.stdout is not None:
            sys.stdout.flush()
    except Invalid as error:
        tell(error, args.form)
        return USAGE
    except HeadraceError as error:
        tell(error, args.form)
        if args.form == "text":
            from headrace.cli import wayon

            print("".join(f"{line}\n" for line in wayon.lines(error, args)), end="", file=sys.stderr)
        return REFUSED
    except BrokenPipeError:
        _write_no_more()  # the reader has gone (``| head``)
        return OK
    except OSError as error:
        _write_no_more()
        what = f"{error.filename} cannot be used" if error.filename else "the answer could not be written"
        print(f"error: {what}: {error.strerror}", file=sys.stderr)
        return REFUSED
    return code


if __name__ == "__main__":
    sys.exit(main())
