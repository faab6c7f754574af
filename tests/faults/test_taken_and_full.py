"""What is taken and what is full: a second server on a folder or a port, and disks without space. Nothing is harmed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import HeadraceError, Load, Server, inspect, serving, until
from headrace.client import flow
from headrace.client.sync import Client

REFUSED = 3
MIB = 1024 * 1024


def refused(server: Server) -> str:
    """Start it, see it refused; gives what it said."""
    done = subprocess.run(server.command, env=server.environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == REFUSED, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def running(server: Server, folder: Path) -> tuple[int, Path]:
    """A run that goes on until the gate is there."""
    gate = folder / "gate"
    waits = ["sh", "-c", f"while test ! -e {gate}; do sleep 0.02; done; echo over"]
    run = server.submit({"command": waits}, "waits")
    until(lambda: server.state(run) == "running")
    return run, gate


def test_a_second_up_on_the_folder_is_refused_and_the_first_one_is_unharmed(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as first:
        run, gate = running(first, tmp_path)
        before = (first.control(), first.agent(), first.guard())
        text = refused(Server(tmp_path / "data"))
        assert f"another control process uses the data folder {tmp_path / 'data'}" in text
        assert (first.control(), first.agent(), first.guard()) == before
        gate.touch()
        ended = first.wait(run)
        assert (ended.state, ended.tasks["sh"].attempt) == ("succeeded", 1)


def test_a_port_that_is_taken_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as first:
        url = json.loads((tmp_path / "data" / "server.json").read_text())["url"]
        second = Server(tmp_path / "other", port=int(url.rpartition(":")[2]))
        assert (
            f"cannot listen on {url.removeprefix('http://')}: Address already in use; another one: --port N, any free one: --port 0"
            in refused(second)
        )
        second.gone()
        assert first.wait(first.submit({"command": ["true"]}, "one")).state == "succeeded"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """The folder is a disk of its own, with little on it."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m,mode=700", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Take all the space there is."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as out:
        for piece in (64 * 1024, 512):
            with contextlib.suppress(OSError):
                while True:
                    out.write(b"x" * piece)
    return filler


needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")


@needs_mount
def test_a_disk_that_was_full_before_the_first_start_is_told_and_nothing_is_tried_for_ever(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data"):
        fill(tmp_path / "data")
        text = refused(Server(tmp_path / "data"))
        assert text.count("starting it again") < 3
        assert "disk is full" in text or "No space left" in text or "disk I/O error" in text


@needs_mount
def test_a_full_data_folder_refuses_loses_nothing_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data"):
        with serving(tmp_path / "data") as server:
            load = Load(server, tmp_path, mixed=1).submit().finish()
            run, gate = running(server, tmp_path)
            load.acknowledged["waits"], load.expected[run] = run, "succeeded"
            filler = fill(tmp_path / "data")
            until(
                lambda: "database or disk is full" in server.words() or not _takes(server), what="the disk to be full"
            )
            gate.touch()
            filler.unlink()
            for n in range(3):
                run = server.submit({"command": ["true"]}, f"full-{n}")
                load.acknowledged[f"full-{n}"], load.expected[run] = run, "succeeded"
            load.finish()
            assert server.end() == 0, server.words()
        broken = inspect(tmp_path / "data", "", lambda store: load.broken(store, lost=False))
    assert not broken


def _takes(server: Server) -> bool:
    """Whether a run is taken; each of these is asked for again under the same key when there is space."""
    with contextlib.suppress(HeadraceError, AssertionError), contextlib.closing(Client(data=server.data)) as client:
        for n in range(3):
            client.submit({"command": ["true"]}, None, key=f"full-{n}")
        return True
    return False


@needs_mount
def test_an_agent_without_space_cuts_logs_starts_nothing_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data" / "agent"), serving(tmp_path / "data") as server:
        gate = tmp_path / "gate"
        prints = f"while test ! -e {gate}; do sleep 0.02; done; seq 1 400000; echo over"
        run = server.submit({"command": ["sh", "-c", prints]}, "prints")
        until(lambda: server.state(run) == "running")
        filler = fill(tmp_path / "data" / "agent")
        gate.touch()
        ended = server.wait(run)
        assert (ended.state, ended.tasks["sh"].attempt) == ("succeeded", 1)
        until(lambda: b"the log is cut here: disk: No space left on device" in _log(server, run), what="the cut")
        later = [server.submit({"command": ["sh", "-c", "seq 1 50000"]}, f"later-{n}") for n in range(3)]
        until(lambda: any("No space left" in (_reason(server, r) or "") for r in later), what="a start to be refused")
        filler.unlink()
        for r in later:
            done = server.wait(r)
            assert (done.state, done.tasks["sh"].attempt) == ("succeeded", 1)
        assert server.end() == 0, server.words()


def _reason(server: Server, run: int) -> str | None:
    return server.run(run).tasks["sh"].reason


def _log(server: Server, run: int) -> bytes:
    text: bytes = server.ask(lambda c: c.do(flow.log_text(run)))
    return text
