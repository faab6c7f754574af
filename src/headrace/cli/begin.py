"""``headrace init`` and ``headrace completion``: the first files of a project, and words that the shell completes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headrace.cli.terminal import Terminal
from headrace.model.errors import Invalid

PROJECT = """\
# Settings of this project; `headrace config` shows all of them and where each comes from.
# Server and data live beside this file, in .headrace
port = 8420
"""
HELLO_YAML = """\
# headrace run hello.yaml --who Ada --follow
name: hello
description: Says hello, then counts the letters
params:
  type: object
  properties: {who: {type: string, description: whom to greet, default: world}}
tasks:
  - name: say
    command: [echo, "hello ${params.who}"]
  - name: count
    needs: [say]
    script: printf '%s' "$HEADRACE_PARAM_WHO" | wc -c
"""
HELLO_PY = '''\
"""A first job in Python: headrace run hello.py:greetings --names '["Ada", "Grace"]' --follow"""

from headrace import job, task


@task
def greet(name: str) -> str:
    print(f"hello {name}")
    return name.upper()


@task
def join(names: list[str]) -> str:
    return ", ".join(names)


@job
def greetings(names: list[str] = ["world"]) -> str:  # noqa: B006 -- a parameter's default is only read
    """Greets everybody, each in a task of its own."""
    return join(greet.map(names))
'''
IGNORED = ".headrace/\n"
FILES = {"headrace.toml": PROJECT, "hello.yaml": HELLO_YAML, "hello.py": HELLO_PY}


def add(commands: Any) -> None:
    """The words of these commands."""
    init = commands.add_parser("init", help="make the first files of a project; nothing is overwritten")
    init.add_argument("folder", nargs="?", default=".", metavar="DIR")
    init.set_defaults(do=init_project)
    completion = commands.add_parser("completion", help="words for the shell to complete")
    completion.add_argument("shell", choices=sorted(SHELLS))
    completion.set_defaults(do=show_completion)


def init_project(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace init``."""
    folder = Path(args.folder)
    made = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in FILES.items():
            if not (folder / name).exists():
                (folder / name).write_text(text)
                made.append(name)
        ignore = folder / ".gitignore"
        if not ignore.exists() or IGNORED.strip() not in ignore.read_text().split():
            with ignore.open("a") as file:
                file.write(IGNORED)
            made.append(".gitignore")
    except OSError as error:
        raise Invalid(f"cannot write into {folder}: {error.strerror}") from error
    if not terminal.data({"folder": str(folder), "made": made}):
        terminal.line(f"made {', '.join(made)}" if made else "everything is there already")
        where = "" if args.folder == "." else f"cd {folder}; "
        terminal.line(f"  {where}headrace run hello.yaml --follow")
        terminal.line("  headrace run hello.py:greetings --follow")
    return 0


def show_completion(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace completion``."""
    terminal.out.write(SHELLS[args.shell](dict(_words())))
    return 0


def _words() -> Iterator[tuple[str, list[str]]]:
    """Every command with its verbs and flags."""
    from headrace.cli.main import parser

    top = parser(["--help"])
    for name, command in _choices(top).items():
        verbs = list(_choices(command))
        flags = [flag for action in command._actions for flag in action.option_strings if flag.startswith("--")]  # noqa: SLF001 -- argparse tells them nowhere else
        yield name, [*verbs, *flags]


def _choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001 -- likewise
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 -- likewise
            return dict(action.choices)
    return {}


def _bash(words: dict[str, list[str]]) -> str:
    cases = "\n".join(f'    {name}) more="{" ".join(more)}" ;;' for name, more in words.items())
    return f"""\
# headrace completion for bash: eval "$(headrace completion bash)"
_headrace() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" command="" more="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${{COMP_WORDS[i]}}" in -*) ;; *) command="${{COMP_WORDS[i]}}"; break ;; esac
  done
  case "$command" in
    "") more="{" ".join(words)}" ;;
{cases}
  esac
  COMPREPLY=($(compgen -W "$more" -- "$word"))
}}
complete -o default -F _headrace headrace
"""


def _zsh(words: dict[str, list[str]]) -> str:
    return f'# headrace completion for zsh: eval "$(headrace completion zsh)"\nautoload -U +X bashcompinit && bashcompinit\n{_bash(words)}'


def _fish(words: dict[str, list[str]]) -> str:
    lines = ["# headrace completion for fish: headrace completion fish | source"]
    lines.append(f"complete -c headrace -n __fish_use_subcommand -f -a '{' '.join(words)}'")
    for name, more in words.items():
        verbs = [word for word in more if not word.startswith("-")]
        if verbs:
            lines.append(f"complete -c headrace -n '__fish_seen_subcommand_from {name}' -a '{' '.join(verbs)}'")
        flags = [word[2:] for word in more if word.startswith("--")]
        lines += [f"complete -c headrace -n '__fish_seen_subcommand_from {name}' -l {flag}" for flag in flags]
    return "\n".join(lines) + "\n"


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
