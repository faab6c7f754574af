"""``headrace``: reads the words, finds the command, prints errors as people need them.

Only the file of the command that was asked for is imported: ``headrace show`` must answer in 0.2 s. Exit codes: 0 ok,
1 the run failed, 2 usage, 3 cannot reach or refused.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from headrace.model.errors import HeadraceError, Invalid

OK, RUN_FAILED, USAGE, REFUSED = 0, 1, 2, 3
COMMANDS = {
    "up": "headrace.cli.servers",
    "control": "headrace.cli.servers",
    "agent": "headrace.cli.servers",
    "run": "headrace.cli.run",
    "exec": "headrace.cli.run",
    "runs": "headrace.cli.runs",
    "show": "headrace.cli.runs",
    "logs": "headrace.cli.runs",
    "explain": "headrace.cli.runs",
    "cancel": "headrace.cli.runs",
    "artifacts": "headrace.cli.runs",
    "job": "headrace.cli.job",
    "check": "headrace.cli.job",
    "package": "headrace.cli.job",
    "task": "headrace.cli.job",
    "version": "headrace.cli.about",
    "config": "headrace.cli.about",
    "schema": "headrace.cli.about",
}
"""Which file knows which word. A word with verbs of two rooms (``agent``) is sorted out by ``module_of``."""


def module_of(words: Sequence[str]) -> str | None:
    """The module of the command that these words name, or None when it must be looked for in all of them."""
    plain = [w for w in words if not w.startswith("-")]
    if words and words[0] in COMMANDS:
        if words[0] == "agent" and words[1:2] == ["ls"]:
            return "headrace.cli.job"
        return COMMANDS[words[0]]
    first = next((w for w in plain if w in COMMANDS), None)
    return COMMANDS[first] if first else None


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
        parents=[common],
    )

    class Common(argparse.ArgumentParser):
        """A command's parser: knows the flags that every command has."""

        def __init__(self, **options: object) -> None:
            super().__init__(parents=[common], **options)  # type: ignore[arg-type]  # argparse passes its own keywords on

    commands = top.add_subparsers(metavar="COMMAND", parser_class=Common)
    module = module_of(words)
    for name in [module] if module else dict.fromkeys(COMMANDS.values()):
        importlib.import_module(name).add(commands)
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code. Never lets a traceback of ours reach a person."""
    words = list(sys.argv[1:] if words is None else words)
    top = parser(words)
    args, rest = top.parse_known_args(words)
    if not hasattr(args, "do"):
        top.print_help()
        return USAGE
    if rest and not getattr(args, "takes_rest", False):
        top.error(f"unknown words: {' '.join(rest)}")
    args.rest = rest
    for name, default in (("url", None), ("token", None), ("data", None), ("form", "text"), ("utc", False)):
        if not hasattr(args, name):
            setattr(args, name, default)
    from headrace.cli.terminal import Terminal, tell

    try:
        code: int = args.do(args, Terminal(form=args.form, utc=args.utc))
    except Invalid as error:
        tell(error)
        return USAGE
    except HeadraceError as error:
        tell(error)
        return REFUSED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return OK
    return code


if __name__ == "__main__":
    sys.exit(main())
