"""What an attempt is given: a task with every expression replaced by its value.

Pure. ``Source`` is the compiled template of a task, ``Rendered`` what the agent gets. A script, and the program text
after ``-c`` or ``-e`` of an interpreter, are never rendered: parameters never become code. Called when a task is
claimed; a task whose texts hold no expression is rendered once, when its graph is compiled.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headrace.core.expression import Scope, refs_of, render, render_text

INTERPRETERS = frozenset(
    {"sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "python", "pypy", "perl", "ruby", "node", "nodejs", "php"}
    | {"Rscript", "R", "lua", "tclsh", "awk", "osascript", "pwsh", "powershell", "bb", "deno", "julia", "groovy"}
)
DEFAULT_INTERPRETER = ("sh", "-eu")
_PROGRAM_FLAG = re.compile(r"-[A-Za-z]*[ce]")
_encode = msgspec.json.Encoder().encode
_VERSION = re.compile(r"[\d.]+$")


class Rendered(Struct, frozen=True, gc=False):
    """One attempt's work, nothing left to evaluate. ``args`` and ``params`` are JSON texts; 0 means no timeout.

    ``package`` is the digest of the code (empty: the agent's own modules). ``argv`` is the command, or the interpreter
    of a script.
    """

    kind: str
    task: str
    job: str
    argv: tuple[str, ...] = ()
    script: str = ""
    target: str = ""
    package: str = ""
    args: bytes = b"{}"
    env: dict[str, str] = {}
    outputs: tuple[str, ...] = ()
    timeout_ms: int = 0
    grace_ms: int = 10_000
    label: str = ""
    params: bytes = b"{}"
    on_lost: str = "retry"
    on_disconnect: str = ""


class Source(Struct, frozen=True):
    """A task's texts before rendering. ``fixed`` is the rendering of a task that has no expressions, else None."""

    kind: str
    task: str
    job: str
    argv: tuple[str, ...] = ()
    raw: frozenset[int] = frozenset()
    """Places in ``argv`` that hold program text."""
    script: str = ""
    target: str = ""
    package: str = ""
    args: dict[str, Any] = {}
    env: dict[str, str] = {}
    outputs: tuple[str, ...] = ()
    timeout_ms: int = 0
    grace_ms: int = 10_000
    label: str = ""
    on_lost: str = "retry"
    on_disconnect: str = ""
    version: int = 0
    """Of the job that a task runs; 0 is the newest."""
    fixed: Rendered | None = None
    still: Rendered | None = None
    """The rendering of those parts that hold no expressions; the others are named by ``open``."""
    open: frozenset[str] = frozenset()

    def texts(self) -> list[Any]:
        """Everything that is rendered, for finding what it refers to."""
        argv = [text for place, text in enumerate(self.argv) if place not in self.raw]
        return [argv, self.args, self.env, list(self.outputs), self.label]


def program_places(argv: tuple[str, ...]) -> frozenset[int]:
    """Places of ``argv`` that hold program text: what follows ``-c`` or ``-e`` of an interpreter.

    The interpreter is found anywhere before the flag, so that ``env X=1 bash -c …`` and ``nice sh -c …`` are seen.
    """
    places: set[int] = set()
    interpreter = False
    for place, text in enumerate(argv[:-1]):
        if _PROGRAM_FLAG.fullmatch(text):
            if interpreter:
                places.add(place + 1)
        elif place not in places:
            name = text.rsplit("/", 1)[-1]
            interpreter = interpreter or name in INTERPRETERS or _VERSION.sub("", name) in INTERPRETERS
    return frozenset(places)


def fix(source: Source) -> Rendered:
    """The rendering of a source without expressions; ``$${`` still becomes ``${``."""
    return _rendered(source, _NOTHING, b"{}")


def prepare(source: Source) -> Source:
    """The same source with everything rendered that does not depend on a run."""
    parts = dict(zip(("argv", "args", "env", "outputs", "label"), source.texts(), strict=True))
    moving = frozenset(name for name, texts in parts.items() if refs_of(texts))
    if not moving:
        return replace(source, fixed=fix(source))
    nothing: dict[str, Any] = {"argv": (), "raw": frozenset(), "args": {}, "env": {}, "outputs": (), "label": ""}
    bare = {name: empty for name, empty in nothing.items() if name in moving or (name == "raw" and "argv" in moving)}
    return replace(source, still=fix(replace(source, **bare)), open=moving)


def render_attempt(source: Source, scope: Scope, params: bytes) -> Rendered:
    """The work of one attempt. Raises ``MissingValue`` when a path has no value and no alternative."""
    return _rendered(source, scope, params)


def plain_attempt(source: Source, params: bytes) -> Rendered:
    """The work of one attempt of a task without expressions: only the parameters differ."""
    fixed = source.fixed
    if fixed is None:
        raise AssertionError(f"task {source.task} has expressions")
    if params == b"{}":
        return fixed
    return Rendered(
        fixed.kind,
        fixed.task,
        fixed.job,
        fixed.argv,
        fixed.script,
        fixed.target,
        fixed.package,
        fixed.args,
        fixed.env,
        fixed.outputs,
        fixed.timeout_ms,
        fixed.grace_ms,
        fixed.label,
        params,
        fixed.on_lost,
        fixed.on_disconnect,
    )


def _rendered(source: Source, scope: Scope, params: bytes) -> Rendered:
    raw, still, moving = source.raw, source.still, source.open
    return Rendered(
        source.kind,
        source.task,
        source.job,
        still.argv
        if still and "argv" not in moving
        else tuple([text if at in raw else render_text(text, scope) for at, text in enumerate(source.argv)]),
        source.script,
        source.target,
        source.package,
        still.args if still and "args" not in moving else _encode(render(source.args, scope)),
        still.env
        if still and "env" not in moving
        else {name: render_text(text, scope) for name, text in source.env.items()},
        still.outputs
        if still and "outputs" not in moving
        else tuple([render_text(text, scope) for text in source.outputs]),
        source.timeout_ms,
        source.grace_ms,
        still.label if still and "label" not in moving else render_text(source.label, scope),
        params,
        source.on_lost,
        source.on_disconnect,
    )


class Nothing:
    """The scope of texts that name nothing."""

    __slots__ = ()

    def lookup(self, root: str, path: tuple[str | int, ...]) -> Any:
        raise AssertionError(f"a fixed text refers to {root}")


_NOTHING = Nothing()
