"""kill -9 of the ledger's process at each of its fault points: nothing acknowledged is lost, nothing is half there."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_world import HandClock, world

from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.model.states import RunState, TaskState
from headrace.store.port import Store
from headrace.store.sqlite import open_sqlite

POINTS = [
    "ledger.before_load", "ledger.after_decide", "ledger.before_commit", "ledger.after_commit", "ledger.before_answer",
    "ledger.before_blob", "store.before_write", "store.after_write", "store.before_commit", "store.after_commit",
    "blobs.before_fsync", "blobs.after_fsync", "blobs.before_rename", "blobs.after_rename", "blobs.after_keep",
    "store.before_migration", "store.after_migration",
]  # fmt: skip
SOURCE = Path(__file__).resolve().parents[2] / "src" / "headrace"


def test_every_fault_point_of_ledger_and_sqlite_is_killed_at() -> None:
    """A point that is added to the source must be added to the list above."""
    files = [
        SOURCE / "control" / "ledger.py",
        SOURCE / "control" / "group.py",
        *(SOURCE / "store" / "sqlite").glob("*.py"),
    ]
    found = {name for file in files for name in re.findall(r'fault\("([a-z_.]+)"\)', file.read_text())}
    assert found == set(POINTS)


@pytest.mark.parametrize("point", POINTS)
def test_nothing_acknowledged_is_lost_and_nothing_is_half_there(tmp_path: Path, point: str) -> None:
    acked: set[int] = set()
    ended: set[int] = set()
    for nth in (1,) if "migration" in point else (4, 9):
        child = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("ledger_crash_child.py")), str(tmp_path), point, str(nth)],
            stdout=subprocess.PIPE, check=False, timeout=30,
        )  # fmt: skip
        assert child.returncode == -signal.SIGKILL
        for line in child.stdout.decode().splitlines():
            kind, run = line.split()
            (acked if kind == "run" else ended).add(int(run))

        async def look() -> None:
            store = await open_sqlite(str(tmp_path), clock=HandClock(), inline=True)
            try:
                await _check(store, acked, ended)
            finally:
                await store.close()

        asyncio.run(look())
    assert acked or "migration" in point


async def _check(store: Store, acked: set[int], ended: set[int]) -> None:
    runs = {row[0]: row[1] for row in await store.reader.statement("every_run", {})}
    assert acked <= runs.keys()
    for run, state in runs.items():
        task = await store.reader.task((run, 0, WHOLE))
        history = await store.reader.history(run, no=RUN_ITSELF)
        assert task is not None
        assert [h.version for h in history] == list(range(1, len(history) + 1))
        last = history[-1].run_image
        assert last is not None
        assert last.state == state
        assert (state == RunState.succeeded) == (task.state == TaskState.succeeded)
        if run in ended:
            assert state == RunState.succeeded
        if state == RunState.succeeded:
            value = await store.reader.value(task.key)
            assert value is not None
            assert value.data is not None
            assert len(value.data) == 300_022


def test_a_life_after_a_crash_goes_on(tmp_path: Path) -> None:
    script = str(Path(__file__).with_name("ledger_crash_child.py"))
    subprocess.run(
        [sys.executable, script, str(tmp_path), "ledger.before_commit", "9"], capture_output=True, check=False
    )

    async def main() -> None:
        async with world(tmp_path) as w:
            before = {row[0] for row in await w.store.reader.statement("every_run", {})}
            d = await w.submitted(await w.one_task())
            assert d.key[0] not in before

    asyncio.run(main())
