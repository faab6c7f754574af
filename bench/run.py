"""``make bench``: every row of the table, ours beside the peers that are installed, in interleaved rounds.

In each round a row is measured once with Headrace and once with each peer, in changing order. A row that cannot prove
that its work was done has no number but says why. Writes ``bench/RESULTS.md`` and ``bench/results.json``. Usage:

    python bench/run.py [--only ROW[,ROW…]] [--rounds 3] [--quick | --tiny] [--minutes 9] [--folder DIR] [--no-peers]
                        [--out DIR] [--list]

Everything gets one round, whatever it takes; further rounds are begun row by row as long as the minutes last.
``--only`` writes to the terminal alone, unless ``--out`` is given: the table is always of one piece.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from lab.machine import calibrate, describe, others
from lab.report import Report
from lab.rows import Line, Row, Values
from lab.stage import ROOT, Stage
from lab.up import Broken
from ours import ROWS

OURS = "headrace"


class Bench:
    """The rows that were asked for, and what has been measured of them."""

    def __init__(self, stage: Stage, rows: list[Row], *, size: str, peers: bool) -> None:
        self.stage, self.rows, self._size, self._peers = stage, rows, size, peers
        self.lines: dict[str, list[Line]] = {}
        for row in rows:
            lines = [Line(OURS)]
            for peer, _, _ in row.peers:
                lines.append(Line(peer, note=stage.why_not(peer) if peers else "not asked for"))
            self.lines[row.name] = lines
        self._took: dict[str, float] = {}
        self._samples: dict[tuple[str, str, int], Values] = {}

    def round(self, number: int, deadline: float) -> int:
        """One sample per row and system; gives how many rows were measured."""
        self._samples.clear()
        measured = 0
        for row in self.rows:
            if number >= row.pairs or (number and time.monotonic() + self._took[row.name] > deadline):
                continue
            begun = time.monotonic()
            lines = self.lines[row.name]
            for line in lines if number % 2 == 0 else reversed(lines):
                self._sample(row, line, number)
            self._took[row.name] = time.monotonic() - begun
            measured += 1
        return measured

    def _sample(self, row: Row, line: Line, number: int) -> None:
        if line.note and not line.samples:
            if number == 0:
                say(f"  {row.name:18} {line.who:14} {line.note}")
            return
        begun = time.monotonic()
        try:
            values = self._ours(row) if line.who == OURS else self._peer(row, line)
        except Broken as e:
            line.note = f"no number: {plain(e)[:300]}"
        except Exception as e:  # one row that breaks must not take the others with it
            traceback.print_exc()
            line.note = f"no number: {type(e).__name__}: {plain(e)[:200]}"
        else:
            line.samples.append(values)
            told = "  ".join(f"{m.name} {short(values[m.name])}" for m in row.metrics if m.name in values)
            say(f"  {row.name:18} {line.who:14} {told}   ({time.monotonic() - begun:.1f} s)")
            return
        say(f"  {row.name:18} {line.who:14} {line.note}")

    def _ours(self, row: Row) -> Values:
        return row.measure(self.stage, getattr(row, self._size))

    def _peer(self, row: Row, line: Line) -> Values:
        """Rows that compare with the same program of a peer share its sample of this round."""
        _, word, count = next(p for p in row.peers if p[0] == line.who)
        if self._size != "size":
            count = max(3, count * getattr(row, self._size) // row.size)
        key = (line.who, word, count)
        if key not in self._samples:
            told = self.stage.peer(*key)
            self.stage.versions[line.who] = str(told["version"])
            self.stage.notes[line.who] = str(told["note"])
            self._samples[key] = told["values"]
        return self._samples[key]


def short(value: float) -> str:
    """A number as a person reads it."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def plain(error: Exception) -> str:
    """On one line, without this machine's folders: it may be written into the table."""
    return " ".join(str(error).replace(str(ROOT), "…").replace(str(Path.home()), "~").split())


def say(text: str) -> None:
    """To the terminal, at once."""
    print(text, flush=True)


def chosen(only: str | None) -> list[Row]:
    """The rows of these names, all without."""
    names = [row.name for row in ROWS]
    wanted = only.split(",") if only else names
    if unknown := [name for name in wanted if name not in names]:
        raise SystemExit(f"there is no row {', '.join(unknown)}; there are: {', '.join(names)}")
    return [row for row in ROWS if row.name in wanted]


def arguments() -> argparse.Namespace:
    """The words of the command line."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--only", metavar="ROW[,ROW…]")
    top.add_argument("--rounds", type=int, default=3)
    top.add_argument("--minutes", type=float, default=9.0, help="no further round is begun that would end later")
    top.add_argument("--quick", dest="size", action="store_const", const="quick", default="size", help="smaller work")
    top.add_argument("--tiny", dest="size", action="store_const", const="tiny", help="only whether every row works")
    top.add_argument("--folder", type=Path, help="where the servers keep their data: a real disk (default: var/)")
    top.add_argument("--out", type=Path, help="the folder of RESULTS.md and results.json (default: bench/)")
    top.add_argument("--no-peers", dest="peers", action="store_false")
    top.add_argument("--list", action="store_true", help="names of the rows")
    return top.parse_args()


def main() -> int:
    """Measure and write; 1 when one of our own rows has no number."""
    given = arguments()
    rows = chosen(given.only)
    if given.list:
        for row in rows:
            say(f"{row.name:18} {row.title}")
        return 0
    begun = time.monotonic()
    look = 0.1 if given.size == "tiny" else 1.0
    with Stage(given.folder) as stage:
        machine = describe(stage.folder, look)
        before = calibrate(stage.folder, look / 2)
        say("\n".join(f"{name}: {value}" for name, value in machine.items()))
        say("  ".join(f"{name}: {short(value)}" for name, value in before.items()))
        bench = Bench(stage, rows, size=given.size, peers=given.peers)
        report = Report(rows, bench.lines, stage, machine, {"rounds": given.rounds, "size": given.size})
        report.calibrated(before)
        for number in range(given.rounds):
            say(f"round {number + 1} of {given.rounds}, others use {others(look / 2):.0f} % of a core")
            if not bench.round(number, begun + given.minutes * 60):
                break
        report.calibrated(calibrate(stage.folder, look / 2))
        report.took(time.monotonic() - begun)
        out = given.out or (None if given.only else Path(__file__).parent)
        text = report.text()
        if out:
            out.mkdir(parents=True, exist_ok=True)
            report.write(out)
            say(f"\nwritten: {out / 'RESULTS.md'}, {out / 'results.json'}")
        say("\n" + text)
    return 1 if any(not bench.lines[row.name][0].samples for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
