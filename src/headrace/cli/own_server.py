"""A server for the length of one command, on the same data folder. Called by ``headrace run`` when none is running."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from headrace.cli.folders import writable
from headrace.cli.terminal import Terminal
from headrace.client.config import data_folder, local_server, settings
from headrace.client.sync import Client
from headrace.model.errors import Unreachable

LOCK = "control.lock"
READY_SECONDS = 20.0
END_SECONDS = 20.0
LEAST_FREE = 1024 * 1024
"""Bytes of a disk with fewer of which nothing works."""


@contextlib.contextmanager
def own_server(args: argparse.Namespace, terminal: Terminal) -> Iterator[Client]:
    """Start ``headrace up`` on a free port, wait until it answers, end it afterwards. Raises Unreachable with its words."""
    found = settings({"data": args.data}, os.environ, Path.cwd())
    folder = data_folder(found, os.environ, Path.cwd())
    writable(folder)
    if _held(folder):
        terminal.line(terminal.style(f"a server is starting on {folder}: waiting for it", "dim"))
        with _waited(lambda: _held(folder), folder, "the server on this folder does not answer") as client:
            yield client
        return
    terminal.line(terminal.style(f"no server is running: starting one on {folder} for the length of this run", "dim"))
    command = [sys.executable, "-m", "headrace.cli.main", "up", "--data", str(folder), "--port", "0", "--quiet"]
    if found["store"].value:
        command += ["--store", str(found["store"].value)]
    words = folder / "own-server.log"
    with words.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            with _started(process, folder, words) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _started(process: subprocess.Popen[bytes], folder: Path, words: Path) -> Client:
    """The client of our own server, or of one that somebody else started on the folder at the same moment."""
    try:
        return _waited(lambda: process.poll() is None or _held(folder), folder, "it does not answer")
    except Unreachable as e:
        said = words.read_text(errors="replace")[-2000:].strip()
        said = "\n".join(line for line in (said, _full(folder)) if line)
        raise Unreachable(f"a server could not be started on {folder}:\n{said or e.message}") from e


def _waited(going: Callable[[], bool], folder: Path, otherwise: str) -> Client:
    """A client as soon as a server answers there, looked for while ``going``. Raises Unreachable."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and going():
        server = local_server(folder)
        if server is not None:
            with contextlib.suppress(Unreachable):
                client = Client(server[0], token=server[1], data=folder)
                client.version()
                return client
        time.sleep(0.02)
    raise Unreachable(otherwise)


def _full(folder: Path) -> str:
    """A sentence, when it is a full disk that keeps a server from starting."""
    free = shutil.disk_usage(folder).free
    return f"only {free // 1024} KiB are free on the disk of that folder" if free < LEAST_FREE else ""


def _held(folder: Path) -> bool:
    """Whether a control process has the folder. Only looks: to try the lock would be in its way."""
    try:
        inode = f":{(folder / LOCK).stat().st_ino} "
        return inode in Path("/proc/locks").read_text()
    except OSError:
        return False
