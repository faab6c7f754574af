"""What the peers' programs share: words, workers as processes, waiting, latencies, idle cost. Standard library only.

Each program runs in ``.venv-peers`` as ``python peer_NAME.py WORD COUNT``, in a folder of its own, with BENCH_REDIS or
BENCH_POSTGRES in its environment; it starts its workers itself and prints one JSON line. Values are named as in our rows.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.machine import memory, tree  # reason: the path is set just above
from lab.rows import quantile  # reason: likewise

PATIENCE_S = 170.0
BIN = Path(sys.executable).parent
HERE = Path(__file__).resolve().parent
Word = Callable[[int], dict[str, float]]


def run(package: str, words: dict[str, Word], note: str) -> None:
    """The program: one word, one line."""
    word, count = sys.argv[1], int(sys.argv[2])
    values = words[word](count)
    print(
        json.dumps(
            {"peer": package, "version": version(package), "word": word, "count": count, "values": values, "note": note}
        )
    )
    sys.stdout.flush()
    _end_all()
    os._exit(0)  # some of them keep threads that wait for ever


_STARTED: list[subprocess.Popen[bytes]] = []


def start(*words: object) -> subprocess.Popen[bytes]:
    """A worker; ended with us, with all below it."""
    environ = {**os.environ, "PYTHONPATH": str(HERE)}
    with Path("worker.log").open("ab") as log:
        process = subprocess.Popen(
            [str(w) for w in words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environ,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509  no thread yet holds anything that it needs
        )
    _STARTED.append(process)
    if len(_STARTED) == 1:
        atexit.register(_end_all)
    return process


def _end_with_parent() -> None:
    """In the worker: SIGTERM when this program is killed, so that nothing of it works beside the next row."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)


def _end_all() -> None:
    family = [p.pid for started in _STARTED for p in tree(started.pid)]
    for started in _STARTED:
        started.terminate()
    for started in _STARTED:
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(3)
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _STARTED.clear()


def until(holds: Callable[[], object], pause: float = 0.01) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline or any(p.poll() is not None for p in _STARTED):
            log = Path("worker.log")
            raise SystemExit(f"not done in time, or a worker ended:\n{log.read_text()[-3000:] if log.exists() else ''}")
        time.sleep(pause)


def rate(count: int, begun: float) -> dict[str, float]:
    """So many since then."""
    return {"rate": count / (time.perf_counter() - begun)}


def check(pids: set[int], count: int, expected: int) -> None:
    """The work was done, by processes that were not this one."""
    if count != expected or os.getpid() in pids:
        raise SystemExit(f"{expected} results expected, {count} are there; worked by {pids}")


def latencies(count: int, once: Callable[[], int]) -> dict[str, float]:
    """``once`` submits and gives the monotonic clock of the start. The first 20 warm it up."""
    times = []
    for at in range(count + 20):
        begun = time.monotonic_ns()
        started = once()
        if at >= 20:
            times.append((started - begun) / 1e6)
        time.sleep(0.005)
    return {"p50": quantile(times, 0.5), "p99": quantile(times, 0.99)}


def idle(seconds: int, *servers: int) -> dict[str, float]:
    """All worker processes, and the servers beneath (their PIDs), while nothing happens."""
    time.sleep(2)
    roots = [p.pid for p in _STARTED]
    used = sum(p.cpu for p in tree(*roots, *servers))
    begun = time.monotonic()
    time.sleep(seconds)
    family = tree(*roots, *servers)
    spent = sum(p.cpu for p in family) - used
    sizes = [memory(p.pid) for p in family]
    return {
        "rss": sum(s[0] for s in sizes),
        "pss": sum(s[1] for s in sizes),
        "cpu": spent / (time.monotonic() - begun) * 100,
        "processes": float(len(family)),
    }


class Ear:
    """A socket in this folder on which a task in another process tells when it began."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("ear")
        self._socket.settimeout(PATIENCE_S)

    def hear(self) -> int:
        """The next instant."""
        return int(self._socket.recv(100))


def tell() -> None:
    """To the ear: this instant."""
    now = time.monotonic_ns()
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as mouth:
        mouth.sendto(b"%d" % now, "ear")


def true() -> None:
    """/bin/true with both streams read."""
    subprocess.run(["/bin/true"], capture_output=True, check=True)


def chunks(count: int, size: int) -> Iterator[int]:
    """``count`` in pieces of at most ``size``."""
    for at in range(0, count, size):
        yield min(size, count - at)
