"""How the command line speaks to people: colours on terminals and none in pipes, tables that fit, times in their zone.

Every command prints through a ``Terminal``; ``--json`` and ``--edn`` turn all of them into one document on stdout. Never used by
servers.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Any, TextIO

import msgspec

from headrace.model.errors import HeadraceError

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
STATE_STYLE = {
    "succeeded": "green",
    "failed": "red",
    "lost": "red",
    "abandoned": "red",
    "canceled": "yellow",
    "held": "yellow",
    "retrying": "yellow",
    "stopping": "yellow",
    "running": "blue",
    "dispatched": "blue",
    "skipped": "dim",
    "blocked": "dim",
}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Terminal:
    """Where a command prints. ``form`` is text | json | edn."""

    def __init__(self, *, form: str = "text", utc: bool = False, out: TextIO | None = None) -> None:
        self.out = out or sys.stdout or StringIO()  # None: the caller closed it (``>&-``)
        self.form = form
        self.utc = utc
        self.live = self.out.isatty() and os.environ.get("TERM") != "dumb"
        self.colours = self.live and not os.environ.get("NO_COLOR")

    def style(self, text: str, *styles: str) -> str:
        """The text in these styles, or plain where there are no colours."""
        if not self.colours or not text:
            return text
        codes = ";".join(STYLES[s] for s in styles if s in STYLES)
        return f"\x1b[{codes}m{text}\x1b[0m" if codes else text

    def state(self, word: str) -> str:
        """A state in its colour."""
        return self.style(word, STATE_STYLE.get(word, ""))

    def line(self, text: str = "") -> None:
        """One line of text; nothing in JSON or EDN form."""
        if self.form == "text":
            print(text, file=self.out, flush=True)

    def data(self, value: Any, record: Callable[[], Any] | None = None) -> bool:
        """In JSON or EDN form: print the value and say True. Else say False: the command then prints text.

        ``record`` gives the record type of a value that came as plain data: EDN's keys need it.
        """
        if self.form == "text":
            return False
        print(formatted(value, self.form, record), file=self.out, flush=True)
        return True

    def item(self, value: Any) -> bool:
        """Like ``data``, for one of many that come one after the other: each is a document on a line of its own."""
        if self.form == "text":
            return False
        if self.form == "json":
            text = msgspec.json.encode(value).decode()
        else:
            from headrace.codec import edn

            text = edn.write(value, ours=True).decode()
        print(text, file=self.out, flush=True)
        return True

    def when(self, instant: datetime | str | None) -> str:
        """An instant in the reader's zone (UTC with ``--utc``); today's without the date."""
        if instant is None:
            return ""
        if isinstance(instant, str):
            instant = datetime.fromisoformat(instant)
        local = instant.astimezone(UTC) if self.utc else instant.astimezone()
        today = datetime.now(local.tzinfo).date()
        text = local.strftime("%H:%M:%S" if local.date() == today else "%Y-%m-%d %H:%M:%S")
        return text + (" UTC" if self.utc else "")

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Columns that fit the terminal: the widest is cut with an ellipsis. In a pipe nothing is cut."""
        body = [[clean(cell) for cell in row] for row in rows]
        widths = [max([len(h), *(visible(r[i]) for r in body)]) for i, h in enumerate(headings)]
        if self.live:
            room = shutil.get_terminal_size().columns - 2 * (len(widths) - 1)
            while sum(widths) > room and max(widths) > 8:
                widest = widths.index(max(widths))
                widths[widest] -= 1
        self.line(self.style("  ".join(h.ljust(w) for h, w in zip(headings, widths, strict=True)).rstrip(), "bold"))
        for row in body:
            cells = [fit(cell, width) for cell, width in zip(row, widths, strict=True)]
            if "state" in headings:
                place = headings.index("state")
                cells[place] = cells[place].replace(row[place], self.state(row[place]), 1)
            self.line("  ".join(cells).rstrip())


def formatted(value: Any, form: str, record: Callable[[], Any] | None = None) -> str:
    """A value as indented ``json`` or ``edn``, or as ``yaml``."""
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    if form == "yaml":
        from headrace.codec import yaml_text

        return yaml_text.dumps(msgspec.to_builtins(value)).rstrip("\n")
    from headrace.codec import edn

    if record is not None:
        # fields that a newer server has are not known here: then all keys are plain
        with contextlib.suppress(msgspec.ValidationError):
            value = msgspec.convert(msgspec.to_builtins(value), record())
    return edn.indented(edn.write(value, ours=True))


def clean(text: Any) -> str:
    """Text from elsewhere without control characters: a log line must not drive the reader's terminal."""
    return CONTROL.sub("�", str(text)).replace("\n", " ")


def short(value: Any) -> str:
    """A value as JSON that fits a few lines; the whole of it comes with ``--json``."""
    text = clean(msgspec.json.encode(value).decode())
    return text if len(text) <= 200 else text[:199] + "…"


def visible(text: str) -> int:
    """How many columns it takes: wide characters take two, those that sit on another none."""
    return len(text) if text.isascii() else sum(_columns(letter) for letter in text)


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def fit(text: str, width: int) -> str:
    """Padded or cut to the width; what was cut ends with an ellipsis."""
    room = width - visible(text)
    if room >= 0:
        return text + " " * room
    while text and visible(text) > max(1, width - 1):
        text = text[:-1]
    return fit(text + "…", width) if visible(text) < width else text


def elapsed(start: datetime | None, end: datetime | None) -> str:
    """A span as people say it: 320 ms, 4.2 s, 3 m 05 s, 2 h 10 m."""
    if start is None:
        return ""
    seconds = ((end or datetime.now(UTC)) - start).total_seconds()
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} m {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} m"


def tell(error: HeadraceError, form: str = "text") -> None:
    """An error as a tired person reads it: what, where, and every problem; on stderr. In JSON or EDN form: one object there."""
    if form != "text":
        told = {"error": error.message or str(error), "status": error.status, "problems": error.problems}
        print(msgspec.json.encode(told).decode() if form == "json" else formatted(told, form), file=sys.stderr)
        return
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    head = "\x1b[31merror:\x1b[0m" if colour else "error:"
    print(f"{head} {error.message or error}", file=sys.stderr)
    for problem in error.problems:
        if problem.message not in error.message:
            print(f"  {problem}", file=sys.stderr)
