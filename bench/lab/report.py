"""The table: ours beside the peers, targets, settings, the machine. Markdown for people, JSON for programs."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lab.rows import Line, Metric, Row
from lab.stage import ROOT, Stage

HEAD = """# Results of `make bench`

Written by `bench/run.py`; do not edit. Medians of the rounds, with the least and the most in brackets. **✓** target
reached, **✗** not, ★ the stretch goal too. Load generator, servers and workers share the cores. A peer's number stands
where it does the same work; `×` is ours against it (above 1: ours is better). Targets are those of the design for its
reference machine of 2 cores. Every sample has proved its work: runs counted in the store as succeeded, each with history
and its kept result, worked by runners of that server; peers: results counted in their own store.
"""


class Report:
    """Gathers what stands around the samples, and writes all."""

    def __init__(
        self,
        rows: list[Row],
        lines: dict[str, list[Line]],
        stage: Stage,
        machine: dict[str, str],
        asked: dict[str, Any],
    ) -> None:
        self._rows, self._lines, self._stage, self._machine, self._asked = rows, lines, stage, machine, asked
        self._yardsticks: list[dict[str, float]] = []
        self._seconds = 0.0
        self._date = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")

    def calibrated(self, values: dict[str, float]) -> None:
        """The machine's yardsticks, before and after."""
        self._yardsticks.append(values)

    def took(self, seconds: float) -> None:
        """How long the whole lasted."""
        self._seconds = seconds

    def write(self, folder: Path) -> None:
        """RESULTS.md and results.json."""
        (folder / "RESULTS.md").write_text(self.text())
        (folder / "results.json").write_text(json.dumps(self.values(), indent=1, ensure_ascii=False) + "\n")

    def values(self) -> dict[str, Any]:
        """All samples."""
        return {
            "date": self._date,
            "commit": commit(),
            "asked": self._asked,
            "seconds": round(self._seconds),
            "machine": self._machine,
            "yardsticks": self._yardsticks,
            "versions": self._versions(),
            "settings": self._stage.settings,
            "peer_notes": self._stage.notes,
            "rows": {
                row.name: {
                    "title": row.title,
                    "size": getattr(row, self._asked["size"]),
                    "metrics": {
                        m.name: {"unit": m.unit, "target": m.target, "stretch": m.stretch, "more": m.more}
                        for m in row.metrics
                    },
                    "peer_sizes": {peer: count for peer, _, count in row.peers},
                    "samples": {line.who: line.samples for line in self._lines[row.name]},
                    "notes": {line.who: line.note for line in self._lines[row.name] if line.note},
                }
                for row in self._rows
            },
        }

    def text(self) -> str:
        """The Markdown page."""
        parts = [HEAD]
        if self._asked["size"] != "size":
            parts.append(f"**Sizes: {self._asked['size']}. These are no results, only a trial.**\n")
        parts += [self._table(), *self._failed(), self._about()]
        return "\n".join(parts)

    def _table(self) -> str:
        out = ["| row | what | target | headrace | beside it |", "|---|---|---|---|---|"]
        for row in self._rows:
            ours, *peers = self._lines[row.name]
            for at, metric in enumerate(row.metrics):
                name = f"**{row.title}**, {_size(getattr(row, self._asked['size']))}" if at == 0 else ""
                beside = "<br>".join(_beside(metric, ours, peer, first=at == 0) for peer in peers if metric.peers)
                beside = "<br>".join(part for part in beside.split("<br>") if part)
                out.append(f"| {name} | {metric.unit} | {_target(metric)} | {_ours(metric, ours)} | {beside} |")
        return "\n".join(out) + "\n"

    def _failed(self) -> list[str]:
        said = [f"* {row.title}, {line.who}: {line.note}" for row in self._rows for line in self._lines[row.name]
                if line.note.startswith("no number")]  # fmt: skip
        return ["## Without a number\n", *said, ""] if said else []

    def _about(self) -> str:
        out = ["## Machine and settings\n"]
        out += [f"* {name}: {value}" for name, value in self._machine.items()]
        for when, yardstick in zip(("before", "after"), self._yardsticks, strict=False):
            out.append(f"* {when}: " + ", ".join(f"{name} {number(value)}" for name, value in yardstick.items()))
        out.append(f"* date: {self._date}; commit: {commit()}; {self._seconds:.0f} s in all")
        out.append("* versions: " + ", ".join(f"{name} {v}" for name, v in self._versions().items()))
        for who, found in self._stage.settings.items():
            told = ", ".join(f"`{k}={v}`" for k, v in found.items())
            out.append(f"* {who}, as its own connection says: {told}")
        out += [f"* {peer}: {note}" for peer, note in self._stage.notes.items()]
        return "\n".join(out) + "\n"

    def _versions(self) -> dict[str, str]:
        ours = {name: version(name) for name in ("headrace", "msgspec", "apsw", "psycopg", "uvloop")}
        return ours | self._stage.versions


def commit() -> str:
    """The state of the work tree."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!bench/RESULTS.md", ":!bench/results.json")
    return (git("rev-parse", "--short=12", "HEAD") or "?") + (" with changes" if changed else "")


def number(value: float) -> str:
    """Three significant digits, thousands with commas."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _size(size: int) -> str:
    return f"n = {size:,}"


def _target(metric: Metric) -> str:
    if metric.target is None:
        return ""
    sign = "≥" if metric.more else "≤"
    stretch = f" ({number(metric.stretch)})" if metric.stretch is not None else ""
    return f"{sign} {number(metric.target)}{stretch}"


def _spread(line: Line, name: str) -> str:
    middle, span = line.median(name), line.span(name)
    if middle is None or span is None:
        return ""
    return number(middle) + (f" ({number(span[0])}–{number(span[1])})" if len(line.samples) > 1 else "")


def _ours(metric: Metric, ours: Line) -> str:
    middle = ours.median(metric.name)
    if middle is None:
        return "no number"
    met = metric.met(middle)
    mark = "" if met is None else " ✓" if met else " ✗"
    if met and metric.stretch is not None:
        reached = middle >= metric.stretch if metric.more else middle <= metric.stretch
        mark += "★" if reached else ""
    return _spread(ours, metric.name) + mark


def _beside(metric: Metric, ours: Line, peer: Line, *, first: bool) -> str:
    """One peer's cell. ``first``: in the row's first line it is also said why it has no number."""
    middle, mine = peer.median(metric.name), ours.median(metric.name)
    if middle is None:
        return f"{peer.who}: {peer.note.partition(':')[0]}" if first and peer.note else ""
    text = f"{peer.who} {_spread(peer, metric.name)}"
    if mine and middle and (metric.target is not None):
        text += f" (× {number(mine / middle if metric.more else middle / mine)})"
    return text
