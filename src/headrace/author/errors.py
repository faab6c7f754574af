"""What user code raises to say how its attempt ends, and what tracing raises when a job's body asks too much.

Plain classes only; nothing here catches or handles anything. Raised by user code and ``author``, caught by ``runner``.
"""

from __future__ import annotations

from datetime import timedelta

from headrace.model.errors import HeadraceError, Invalid, Problem


class Fail(Exception):
    """Fail the attempt and make no further one. ``exit_status`` is the free text that dependents may match."""

    def __init__(self, message: str = "", *, exit_status: str | None = None) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class Retry(Exception):
    """Fail the attempt and try again, if attempts are left, ``after`` a duration (``"30s"``, seconds, timedelta)."""

    def __init__(self, message: str = "", *, after: str | float | timedelta | None = None) -> None:
        super().__init__(message)
        self.after_ms = None if after is None else milliseconds(after)


class Skip(Exception):
    """End the task as ``skipped``: there was nothing to do."""


class Canceled(BaseException):
    """Raised in the main thread of a task that was asked to end. Not an ``Exception``: a broad ``except`` lets it by."""


class TraceError(Invalid):
    """A job's body did something that cannot be traced. Names file and line, and the way out."""

    def __init__(self, message: str, file: str = "", line: int = 0) -> None:
        where = f"{file}:{line}: " if file else ""
        super().__init__(where + message, problems=(Problem(file, message, line=line or None),))
        self.file = file
        self.line = line

    def __str__(self) -> str:
        return self.message


class RunFailed(HeadraceError):
    """A run ended otherwise than succeeded. ``state`` says how, ``error`` is the failing attempt's error, if any."""

    status = 409

    def __init__(self, message: str, *, state: str = "failed", error: object = None) -> None:
        super().__init__(message)
        self.state = state
        self.error = error


def class_names(error: BaseException) -> tuple[str, ...]:
    """Class names of the exception and its bases, for ``only`` and ``never``: short, and with their module."""
    found: dict[str, None] = {}
    for kind in type(error).__mro__[:-1]:
        found[kind.__name__] = None
        if kind.__module__ != "builtins":
            found[f"{kind.__module__}.{kind.__qualname__}"] = None
    return tuple(found)


UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
"""Milliseconds per unit of a duration text."""


def milliseconds(value: str | float | timedelta) -> int:
    """A duration (``"250ms"``, ``"5s"``, seconds as a number, timedelta) in whole milliseconds. Raises Invalid."""
    if isinstance(value, timedelta):
        return round(value.total_seconds() * 1000)
    if isinstance(value, int | float):
        return round(value * 1000)
    unit = value.lstrip("0123456789.")
    try:
        return round(float(value[: len(value) - len(unit)]) * UNITS[unit])
    except (KeyError, ValueError) as e:
        raise Invalid(f"{value!r} is not a duration: write 250ms, 5s, 10m, 2h or 1d") from e


def duration_text(value: str | float | timedelta) -> str:
    """The same duration as the document writes it, in the largest unit that divides it."""
    if isinstance(value, str):
        milliseconds(value)
        return value
    ms = milliseconds(value)
    for unit in ("d", "h", "m", "s"):
        if ms and ms % UNITS[unit] == 0:
            return f"{ms // UNITS[unit]}{unit}"
    return f"{ms}ms"
