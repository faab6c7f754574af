"""Handles: what a call gives while a job's body is traced, and the few things that can be done with one.

A handle stands for a value that will exist when the job runs. It becomes ``${…}`` in the document. Everything that
would need the value now raises ``TraceError`` with file, line and the way out. Made by ``trace`` only.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any, NoReturn

from headrace.author.errors import TraceError

PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
OWN_FOLDER = os.path.dirname(os.path.abspath(__file__))


def here() -> tuple[str, int]:
    """File and line of the user's code that is being traced: the nearest frame outside this folder."""
    frame = sys._getframe(1)
    while frame.f_back is not None and os.path.dirname(os.path.abspath(frame.f_code.co_filename)) == OWN_FOLDER:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def refuse(what: str, way_out: str) -> NoReturn:
    """Raise the TraceError for the user's line."""
    file, line = here()
    raise TraceError(f"{what} while the job is traced: the value does not exist yet; {way_out}", file, line)


IN_A_TASK = "do that inside a @task and use its result"


class Comparison:
    """A condition of ``when(…)``: a comparison of a handle, or several joined by ``&``, ``|`` and ``~``."""

    __slots__ = ("document", "sources")

    def __init__(self, document: dict[str, Any], sources: tuple[Handle, ...]) -> None:
        self.document = document
        self.sources = sources

    def __and__(self, other: Comparison) -> Comparison:
        return Comparison({"all": [self.document, other.document]}, self.sources + other.sources)

    def __or__(self, other: Comparison) -> Comparison:
        return Comparison({"any": [self.document, other.document]}, self.sources + other.sources)

    def __invert__(self) -> Comparison:
        return Comparison({"not": self.document}, self.sources)

    def __bool__(self) -> bool:
        refuse("a comparison of a task's result has no truth value", "write `with when(x == …):`, and join by & | ~")


class Handle:
    """A value to come. ``paths`` are its expression paths, the first with a value counts."""

    __slots__ = ("_headrace_needs", "_headrace_paths")
    _headrace_paths: tuple[str, ...]
    _headrace_needs: tuple[dict[str, Any], ...]

    def __init__(self, paths: tuple[str, ...], needs: tuple[dict[str, Any], ...] = ()) -> None:
        object.__setattr__(self, "_headrace_paths", paths)
        object.__setattr__(self, "_headrace_needs", needs)

    def __getattr__(self, name: str) -> Handle:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, key: object) -> Handle:
        if isinstance(key, bool) or not isinstance(key, str | int):
            refuse(f"[{key!r}] cannot be read from a task's result", f"use a text or an int as key, or {IN_A_TASK}")
        if isinstance(key, int) and key < 0:
            refuse("a negative index cannot be read from a task's result", IN_A_TASK)
        return Handle(tuple(p + step(key) for p in self._headrace_paths), self._headrace_needs)

    def __format__(self, spec: str) -> str:
        if spec:
            refuse(f"a format ({spec!r}) cannot be applied to a task's result", IN_A_TASK)
        return expression_of(self)

    def __str__(self) -> str:
        return expression_of(self)

    def __repr__(self) -> str:
        return f"<handle {expression_of(self)}>"

    def __eq__(self, other: object) -> Comparison:  # type: ignore[override]  # reason: traced comparison, by contract
        return compared(self, "eq", other)

    def __ne__(self, other: object) -> Comparison:  # type: ignore[override]  # reason: traced comparison, by contract
        return compared(self, "ne", other)

    def __lt__(self, other: object) -> Comparison:
        return compared(self, "lt", other)

    def __le__(self, other: object) -> Comparison:
        return compared(self, "le", other)

    def __gt__(self, other: object) -> Comparison:
        return compared(self, "gt", other)

    def __ge__(self, other: object) -> Comparison:
        return compared(self, "ge", other)

    def __await__(self) -> Any:
        return self
        yield

    def __hash__(self) -> int:
        refuse("a task's result cannot be a key or a member of a set", IN_A_TASK)

    def __bool__(self) -> bool:
        refuse("`if`, `while`, `and`, `or`, `not` cannot look at a task's result", "write `with when(x == …):` instead")

    def __iter__(self) -> Any:
        refuse("`for` and unpacking cannot walk over a task's result", "use `task.map(items)`, or take x[0], x[1]")

    def __len__(self) -> int:
        refuse("`len` cannot count a task's result", IN_A_TASK)

    def __contains__(self, item: object) -> bool:
        refuse("`in` cannot look into a task's result", IN_A_TASK)

    def __call__(self, *args: object, **kwargs: object) -> Any:
        refuse("a method of a task's result cannot be called", IN_A_TASK)

    def __setattr__(self, name: str, value: object) -> None:
        refuse("a task's result cannot be changed", IN_A_TASK)

    def __setitem__(self, key: object, value: object) -> None:
        refuse("a task's result cannot be changed", IN_A_TASK)

    def __enter__(self) -> Any:
        refuse("`with` cannot open a task's result", f"did you mean `with when(…)`? Else {IN_A_TASK}")

    def __exit__(self, *exc: object) -> None:
        """Never reached: ``__enter__`` refuses."""

    def _compute(self, *operands: object) -> Any:
        refuse("a task's result cannot be computed with", IN_A_TASK)

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _compute
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _compute
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __lshift__ = __rlshift__ = _compute
    __rshift__ = __rrshift__ = __neg__ = __pos__ = __abs__ = __invert__ = _compute
    __int__ = __float__ = __index__ = __complex__ = __round__ = __divmod__ = __rdivmod__ = _compute
    __reversed__ = __bytes__ = __fspath__ = _compute


def step(key: str | int) -> str:
    """One step of an expression path."""
    if isinstance(key, int):
        return f"[{key}]"
    if PLAIN_KEY.match(key):
        return f".{key}"
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'["{escaped}"]'


def expression_of(handle: Handle) -> str:
    """The ``${…}`` of a handle."""
    return "${" + " ?? ".join(handle._headrace_paths) + "}"


def needs_of(handle: Handle) -> tuple[dict[str, Any], ...]:
    """Needs that the expression alone does not say (``first``)."""
    return handle._headrace_needs


def paths_of(handle: Handle) -> tuple[str, ...]:
    """The expression paths of a handle, the first with a value counts."""
    return handle._headrace_paths


def compared(left: Handle, operator: str, right: object) -> Comparison:
    """The condition document of one comparison."""
    sources = (left, right) if isinstance(right, Handle) else (left,)
    other = expression_of(right) if isinstance(right, Handle) else right
    return Comparison({"value": expression_of(left), operator: other}, sources)
