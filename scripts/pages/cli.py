"""docs/reference/cli.md, from the argparse tree of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from headrace.cli.main import COMMANDS, LATER, LATER_VERBS, parser
from headrace.cli.run import LATER_FLAGS
from pages.words import GENERATED, table

INTRO = """# Command line

`headrace COMMAND …`. Every command has `--help`. Colours, progress and cut columns are for terminals; in a pipe lines
are plain and whole. `--json` prints one JSON document on stdout (`headrace events`: one per event), and an error as one
JSON object on stderr.
"""
EXITS = (
    ("0", "done; for a command that waits for a run: the run succeeded"),
    ("1", "the run that was waited for did not succeed; a server that was started failed"),
    ("2", "wrong words, wrong parameters, or a definition with problems"),
    ("3", "no server answers, or it refused; not available yet"),
    ("130", "ended by Ctrl-C; a run that was watched goes on"),
)


def page() -> str:
    """The whole page."""
    top = parser(["--help"])
    shared = {option for action in top._actions for option in action.option_strings}
    parts = [GENERATED, INTRO, "## Exit codes\n", table(("code", "means"), EXITS)]
    parts += ["## Flags of every command\n", _options(top, set())]
    for name, sub, said in sorted(_commands(top), key=lambda found: list(COMMANDS).index(found[0])):
        parts.append(f"## `{_usage(name, sub, shared)}`\n")
        parts.append(_sentence(sub.description or said))
        parts.append(_options(sub, shared))
        for verb, below, told in _commands(sub):
            parts.append(f"### `{_usage(f'{name} {verb}', below, shared)}`\n")
            parts.append(_sentence(below.description or told))
            parts.append(_options(below, shared))
    parts.append("## Not available yet\n")
    later = [*LATER, *(f"{noun} {verb}" for noun, verbs in LATER_VERBS.items() for verb in verbs), "agent"]
    later += [f"exec {flag}" for flag in LATER_FLAGS] + [f"run {flag}" for flag in ("--local", "--watch")]
    parts.append(
        f'These words are known and answered with "not available yet": {", ".join(f"`{w}`" for w in sorted(later))}.\n'
    )
    return "\n".join(part for part in parts if part)


def _commands(top: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            told = {choice.dest: choice.help or "" for choice in action._choices_actions}
            yield from ((name, sub, told.get(name, "")) for name, sub in action.choices.items())


def _shown(top: argparse.ArgumentParser, shared: set[str]) -> list[argparse.Action]:
    return [
        action
        for action in top._actions
        if not isinstance(action, argparse._SubParsersAction | argparse._HelpAction)
        and action.help is not argparse.SUPPRESS
        and not (shared and set(action.option_strings) & shared)
    ]


def _usage(name: str, sub: argparse.ArgumentParser, shared: set[str]) -> str:
    words = [f"headrace {name}"]
    shown = _shown(sub, shared)
    if any(action.option_strings for action in shown):
        words.append("[flags]")
    if any(True for _ in _commands(sub)):
        words.append("VERB")
    for action in shown:
        if not action.option_strings:
            word = _value(action)
            many = {"?": f"[{word}]", "+": f"{word} …", "...": word}
            words.append(many.get(str(action.nargs), word))
    if sub.get_default("takes_rest"):
        words.append("[--PARAMETER VALUE …]")
    return " ".join(words)


def _value(action: argparse.Action) -> str:
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())


def _options(sub: argparse.ArgumentParser, shared: set[str]) -> str:
    rows = []
    for action in _shown(sub, shared):
        if action.option_strings:
            takes = "" if action.nargs == 0 else f" {_value(action)}"
            rows.append((f"`{', '.join(action.option_strings)}{takes}`", action.help or ""))
        elif action.help:
            rows.append((f"`{_value(action)}`", action.help))
    return table(("flag", "means"), rows)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}.\n" if text else ""
