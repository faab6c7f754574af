"""Take a defence out of the product, and the simulator must go red, naming the promise that is broken.

Each case edits a copy of the product, never the checker: ``testing`` is the same in all of them. A text that is to be
edited and is not there fails the case, so that a defence cannot move away from its sabotage unseen.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from msgspec import Struct

SOURCE = Path(__file__).parents[2] / "src" / "headrace"
SECONDS = 200
FILE_MOST = 64 * 1024 * 1024


class Edit(Struct, frozen=True):
    """One text of one file, and what stands there afterwards."""

    path: str
    text: str
    instead: str


class Sabotage(Struct, frozen=True):
    """A defence that is taken out; the invariant that breaks; seeds that show it."""

    name: str
    edits: tuple[Edit, ...]
    broken: str
    seeds: int = 16


SABOTAGES = (
    Sabotage(
        "epoch check off",
        (
            Edit("core/settling.py", "if change.epoch < cell.epoch:", "if change.epoch < 0:"),
            Edit("core/settling.py", "if change.epoch > cell.epoch:", "if change.epoch < 0:"),
            Edit("core/single.py", "or change.epoch != task.epoch", "or False"),
            Edit("core/plain.py", "or change.epoch != task.epoch", "or False"),
        ),
        "I3",
    ),
    Sabotage(
        "unique key off",
        (
            Edit("control/group.py", "if kept is None or kept.at <", "if True or kept.at <"),
            Edit("store/sqlite/queries/write.sql", "INSERT INTO answer (", "INSERT OR REPLACE INTO answer ("),
        ),
        "I1",
    ),
    Sabotage(
        "compare off",
        (Edit("core/settling.py", "return cell if cell.state in TASK_LEASED else None", "return cell"),),
        "I",
    ),
    Sabotage(
        "pause off",
        (Edit("core/eligible.py", "if state <= RunState.running:", "if state <= RunState.paused:"),),
        "I16",
        48,
    ),
    Sabotage(
        "taking over off",
        (Edit("core/restarting.py", "elif node.each is not None and old.nodes[no].each is not None", "elif False"),),
        "I16",
        64,
    ),
    Sabotage(
        "limits not counted",
        (Edit("core/limits.py", "max(0, limit.slots - used) // units", "max(0, limit.slots) // units"),),
        "I18",
    ),
    Sabotage(
        "pause of a limit off",
        (
            Edit(
                "core/limits.py",
                "if limit.paused:\n        return 0",
                "if False:\n        return 0",
            ),
        ),
        "I18",
    ),
    Sabotage(
        "rates off",
        (Edit("core/limits.py", "max(0, limit.burst * apart - ahead(tick, now))", "limit.burst * apart"),),
        "I18",
    ),
    Sabotage(
        "concurrency of jobs off",
        (
            Edit("core/eligible.py", "return len(gate.holders) < rule.max and not gate.waiting", "return True"),
            Edit("core/gates.py", "elif len(gate.holders) < rule.max:", "elif rule.max:"),
        ),
        "I18",
    ),
    Sabotage(
        "units given back in words only",
        (Edit("store/uses.py", "            found.over.add(row)", "            continue"),),
        "I18",
    ),
    Sabotage(
        "fsync off",
        (
            Edit(
                "store/sqlite/connection.py",
                '_set(conn, "synchronous", "full", 2)',
                '_set(conn, "synchronous", "off", 0)',
            ),
        ),
        "I1",
    ),
    Sabotage(
        "sealing off",
        (Edit("agent/attempts.py", "seal = self._forget(work)", "self._forget(work); seal = Seal()"),),
        "I12",
    ),
    Sabotage(
        "messages gone before they are heard",
        (
            Edit(
                "control/loops/outbox.py",
                'self._fault("outbox.before_ask")',
                "await self._ledger.change(Told(tuple(seq for seq, _ in told)), FAMILY)",
            ),
            Edit(
                "control/group.py",
                "if unit.seqs is not None and unit.seq() not in self._untold:",
                "if unit.seqs is not None and unit.seq() < 0:",
            ),
        ),
        "I6",
        seeds=40,
    ),
    Sabotage(
        "parents that do not wait for their child",
        (Edit("core/inner.py", "if intent == StopIntent.abandon:", "if intent:"),),
        "I17",
    ),
)


def sabotaged(case: Sabotage, folder: Path) -> Path:
    """A copy of the product with the edits in it; gives what goes on PYTHONPATH."""
    shutil.copytree(SOURCE, folder / "headrace")
    for edit in case.edits:
        assert not edit.path.startswith("testing"), "a sabotage never edits the checker"
        path = folder / "headrace" / edit.path
        text = path.read_text()
        assert edit.text in text, f"{edit.path} has no {edit.text!r}: the sabotage missed its defence"
        path.write_text(text.replace(edit.text, edit.instead))
    return folder


def simulate(path: Path, seeds: int, broken: str = "I") -> subprocess.CompletedProcess[str]:
    """The simulator on the product that lies there. A product that runs away is ended, and what it wrote goes."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    command = [sys.executable, "-m", "headrace.testing.sim", "--seeds", str(seeds), "--workers", "1"]
    command += ["--until-broken", broken]
    with tempfile.TemporaryDirectory(prefix="headrace-sabotage-", dir=memory) as scratch:
        environ = {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": scratch}
        return subprocess.run(
            command, env=environ, capture_output=True, text=True, check=False, timeout=SECONDS, preexec_fn=small_files
        )


def small_files() -> None:
    """No file of the child grows beyond this: writing more is an error to it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_MOST, FILE_MOST))


@pytest.mark.parametrize("case", SABOTAGES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_product_without_its_defence_is_caught(case: Sabotage, tmp_path: Path) -> None:
    done = simulate(sabotaged(case, tmp_path), case.seeds, case.broken)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"'{case.broken}" in done.stdout or f'"{case.broken}' in done.stdout, done.stdout + done.stderr


def test_the_copy_is_what_runs(tmp_path: Path) -> None:
    path = sabotaged(Sabotage("none", (), ""), tmp_path)
    (path / "headrace" / "testing" / "sim" / "__main__.py").write_text("print(__file__)")
    assert str(path) in simulate(path, 1).stdout
