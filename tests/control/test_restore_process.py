"""The process that restores: it holds the folder as long as it lives, and does not outlive whoever asked for it.

It is caught in the act by a backup that is a pipe: it waits there for bytes that never come.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.control.backup.service import ASKED, REFUSED, Backups
from headrace.control.clock import SystemClock
from headrace.control.folder import DataFolder
from headrace.model.errors import Busy, Invalid

CONTROL = """
import asyncio, sys
from pathlib import Path
from headrace.control.backup.service import Backups
from headrace.control.clock import SystemClock
from headrace.control.folder import DataFolder
folder = DataFolder(Path(sys.argv[1]))
folder.take()
asyncio.run(Backups(folder.path, "", SystemClock()).restore_if_asked(*{lock}))
"""
SECONDS = 30.0


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """A data folder whose next start is to restore from a pipe."""
    (tmp_path / "backups").mkdir()
    os.mkfifo(tmp_path / "backups" / "pipe.hrb")
    (tmp_path / ASKED).write_bytes(b'{"name":"pipe.hrb"}')
    return tmp_path


def _reader_of(data: Path) -> int:
    """The pipe's other end, when the restoring process has begun to read it."""
    return os.open(data / "backups" / "pipe.hrb", os.O_WRONLY)


def _has_ended(pipe: int) -> bool:
    """Wait until nobody reads the pipe any more."""
    poll = select.poll()
    poll.register(pipe, 0)
    return bool(poll.poll(SECONDS * 1000))


def test_a_restore_ends_with_the_control_that_was_killed(asked: Path) -> None:
    control = subprocess.Popen([sys.executable, "-c", CONTROL.format(lock="[folder.lock]"), str(asked)])
    pipe = -1
    try:
        pipe = _reader_of(asked)
        control.send_signal(signal.SIGKILL)
        control.wait()
        assert _has_ended(pipe)
        with (asked / "control.lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        control.kill()
        control.wait()
        os.close(pipe)


def test_nobody_takes_the_folder_while_a_restore_lives(asked: Path) -> None:
    async def main() -> None:
        folder = DataFolder(asked)
        folder.take()
        restoring = asyncio.ensure_future(Backups(asked, "", SystemClock()).restore_if_asked(folder.lock))
        pipe = await asyncio.to_thread(_reader_of, asked)
        try:
            folder.leave()
            with pytest.raises(Busy):
                DataFolder(asked).take()
        finally:
            os.close(pipe)
        with pytest.raises(Invalid):
            await restoring

    asyncio.run(asyncio.wait_for(main(), SECONDS))


def test_a_restore_that_is_not_wanted_any_more_has_ended_when_its_asker_goes_on(asked: Path) -> None:
    async def main() -> None:
        restoring = asyncio.ensure_future(Backups(asked, "", SystemClock()).restore_if_asked())
        pipe = await asyncio.to_thread(_reader_of, asked)
        try:
            restoring.cancel()
            await asyncio.wait([restoring])
            poll = select.poll()
            poll.register(pipe, 0)
            assert poll.poll(0)
            assert (asked / ASKED).exists()
        finally:
            os.close(pipe)

    asyncio.run(asyncio.wait_for(main(), SECONDS))


@pytest.mark.parametrize("text", [b"", b'{"name": "a.h', b'{"name": "../../etc/passwd"}'])
def test_a_restore_that_cannot_be_understood_is_refused_once(tmp_path: Path, text: bytes) -> None:
    (tmp_path / ASKED).write_bytes(text)
    backups = Backups(tmp_path, "", SystemClock())
    with pytest.raises(Invalid):
        asyncio.run(backups.restore_if_asked())
    assert (tmp_path / REFUSED).exists()
    assert asyncio.run(backups.restore_if_asked()) is None
