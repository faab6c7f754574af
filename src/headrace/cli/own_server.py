"""A server for the length of one command, on the same data folder. Called by ``headrace run`` when none is running."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from headrace.cli.terminal import Terminal
from headrace.client.config import data_folder, local_server, settings
from headrace.client.sync import Client
from headrace.model.errors import Unreachable

READY_SECONDS = 20.0
END_SECONDS = 20.0


@contextlib.contextmanager
def own_server(args: argparse.Namespace, terminal: Terminal) -> Iterator[Client]:
    """Start ``headrace up`` on a free port, wait until it answers, end it afterwards. Raises Unreachable with its words."""
    found = settings({"data": args.data}, os.environ, Path.cwd())
    folder = data_folder(found, os.environ, Path.cwd())
    folder.mkdir(parents=True, exist_ok=True)
    terminal.line(terminal.style(f"no server is running: starting one on {folder} for the length of this run", "dim"))
    command = [sys.executable, "-m", "headrace.cli.main", "up", "--data", str(folder), "--port", "0", "--quiet"]
    if found["store"].value:
        command += ["--store", str(found["store"].value)]
    log = (folder / "own-server.log").open("wb")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        with _client(process, folder) as client:
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _client(process: subprocess.Popen[bytes], folder: Path) -> Client:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        server = local_server(folder)
        if server is not None:
            with contextlib.suppress(Unreachable):
                client = Client(server[0], token=server[1], data=folder)
                client.version()
                return client
        time.sleep(0.02)
    words = (folder / "own-server.log").read_text(errors="replace")[-2000:].strip()
    raise Unreachable(f"a server could not be started on {folder}:\n{words}")
