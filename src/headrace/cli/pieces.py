"""Log records into whole lines: a program may write half of one, another program's half may come between.

Never prints and never asks a server. Called by ``cli.follow`` and ``cli.runs``.
"""

from __future__ import annotations

from headrace.model import views

THE_RUN = "run"
"""Before lines that no task wrote: what became of the run, and the log of one that runs elsewhere."""
Key = tuple[str, str, int]


class Pieces:
    """Keeps, per task, stream and attempt, the text after the last end of a line."""

    def __init__(self) -> None:
        self._parts: dict[Key, str] = {}

    def take(self, record: views.LogView, stream: str = "") -> list[str]:
        """The whole lines that this record completes. Records of other streams than a program's are whole."""
        key = (_task(record), stream or record.stream, record.attempt)
        *whole, rest = (self._parts.pop(key, "") + record.text).split("\n")
        if record.stream not in ("stdout", "stderr"):
            return [*whole, rest] if rest else whole
        if rest:
            self._parts[key] = rest
        return whole

    def rest(self) -> list[tuple[str, str, str]]:
        """What never got its end of a line, as (who, stream, text); afterwards nothing is kept."""
        left = [(name or THE_RUN, stream, text) for (name, stream, _), text in self._parts.items()]
        self._parts.clear()
        return left


def who(record: views.LogView) -> str:
    """Whose a record is, as people read it: a task, ``double[3]``, or the run itself."""
    return _task(record) or THE_RUN


def _task(record: views.LogView) -> str:
    return record.task if record.index is None else f"{record.task}[{record.index}]"
