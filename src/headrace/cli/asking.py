"""Asking for parameters that are missing: on a terminal, before anything is made. Called by ``headrace run``.

Never in a pipe, nor where a program reads the answer: there a missing parameter is a problem that is told.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headrace.cli.targets import kinds_of, typed
from headrace.cli.terminal import Terminal, clean
from headrace.model.errors import Invalid, Problem
from headrace.model.naming import path_text

if TYPE_CHECKING:
    from headrace.codec.params import ParamsSchema


def may_ask(terminal: Terminal) -> bool:
    """Whether somebody sits there: what they type and what they see are both a terminal's."""
    return terminal.form == "text" and terminal.out.isatty() and sys.stdin is not None and sys.stdin.isatty()


def completed(params: Mapping[str, Any], schema: dict[str, Any], terminal: Terminal) -> dict[str, Any]:
    """The parameters with those that are required and were not given, as they are typed in now, each checked at once.

    Raises Invalid before the first question when what was given is wrong, and when the input ends.
    """
    properties: dict[str, Any] = schema.get("properties") or {}
    found = dict(params)
    missing = [
        name
        for name in schema.get("required") or ()
        if name not in found and "default" not in (properties.get(name) or {})
    ]
    if not missing:
        return found
    from headrace.codec.params import ParamsSchema

    checker = ParamsSchema(schema)
    wrong = [p for p in problems(checker, found) if not any(_about(p, name) for name in missing)]
    if wrong:
        raise Invalid("the parameters are wrong", problems=tuple(wrong))
    terminal.line(terminal.style("parameters that are missing; Ctrl-C makes no run", "dim"))
    for name in missing:
        found[name] = _asked(name, properties.get(name) or {}, checker, found, terminal)
    return found


def _asked(
    name: str, one: Mapping[str, Any], checker: ParamsSchema, others: Mapping[str, Any], terminal: Terminal
) -> Any:
    kinds = sorted(kinds_of(one, checker.schema) - {"null"})
    told = [f"one of {', '.join(map(str, one['enum']))}"] if "enum" in one else ["|".join(kinds)] if kinds else []
    told += [str(one[word]) for word in ("format", "description", "help") if one.get(word)]
    said = f" ({clean('; '.join(told))})" if told else ""
    prompt = f"  {clean(name)}{said}: "
    hidden = one.get("writeOnly") is True or one.get("format") == "password"
    while True:
        text = _typed_in(prompt, terminal, hidden=hidden)
        if text is None:
            terminal.line()
            raise Invalid(f"the parameter {name!r} is missing")
        if not text:
            continue
        value = typed(text, one, checker.schema)
        wrong = [p for p in problems(checker, {**others, name: value}) if _about(p, name)]
        if not wrong:
            return value
        for problem in wrong:
            terminal.line(f"    {terminal.style(clean(problem.message), 'red')}")


def _typed_in(prompt: str, terminal: Terminal, *, hidden: bool) -> str | None:
    """A line without its end; None when the input has ended. Not by ``input``, which some terminals' Ctrl-C does not end."""
    if hidden:
        try:
            return getpass.getpass(prompt)
        except EOFError:
            return None
    print(prompt, end="", file=terminal.out, flush=True)
    line = sys.stdin.readline()
    return line.rstrip("\r\n") if line else None


def problems(checker: ParamsSchema, params: Mapping[str, Any]) -> tuple[Problem, ...]:
    """What the schema says of them."""
    try:
        checker.fill(dict(params))
    except Invalid as error:
        return error.problems
    return ()


def _about(problem: Problem, name: str) -> bool:
    path = path_text(("params", name))
    return problem.path == path or problem.path.startswith((f"{path}.", f"{path}["))
