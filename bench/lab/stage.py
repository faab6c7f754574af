"""Where rows are measured: folders on a real disk, a PostgreSQL of our own, a Redis for the peers. Gone at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from lab.machine import refuse_memory
from lab.up import Broken, Up, environment

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(os.environ.get("HEADRACE_BENCH_PEERS") or ROOT / ".venv-peers" / "bin" / "python")


class Stage:
    """Use it in a ``with``. Servers are started when they are first asked for."""

    def __init__(self, folder: Path | None = None) -> None:
        self._stack = contextlib.ExitStack()
        base = folder or ROOT / "var"
        base.mkdir(parents=True, exist_ok=True)
        refuse_memory(base)
        # A short path: what lies below must fit into the 107 bytes of a Unix socket's name.
        self.folder = Path(tempfile.mkdtemp(prefix="b-", dir=base))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._postgres: Any = None
        self._redis = 0
        self._count = 0
        self.settings: dict[str, dict[str, str]] = {}
        """What each store's own connection told of itself."""
        self.versions: dict[str, str] = {}
        self.notes: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def room(self) -> Path:
        """A new empty folder."""
        self._count += 1
        room = self.folder / str(self._count)
        room.mkdir()
        return room

    @contextlib.contextmanager
    def up(self, *, postgres: bool = False, room: Path | None = None, workers: int = 2) -> Iterator[Up]:
        """A fresh ``headrace up`` with the benchmark's code registered."""
        server = self.postgres() if postgres else None
        dsn = server.empty() if server else ""
        room = room or self.room()
        try:
            with Up(room, store=url(dsn), workers=workers) as up:
                up.package()
                self.settings["PostgreSQL" if postgres else "SQLite"] = up.settings()
                yield up
        finally:
            if server:
                server.drop(dsn)
            shutil.rmtree(room, ignore_errors=True)

    @staticmethod
    def url(dsn: str) -> str:
        """A connection string as ``headrace up --store`` takes it."""
        return url(dsn)

    def postgres(self) -> Any:
        """The server: on disk, fsync and synchronous_commit on."""
        if self._postgres is None:
            sys.path.insert(0, str(ROOT / "tests"))
            from conformance.postgres_server import running_server

            server = self._stack.enter_context(running_server(on_disk=True))
            refuse_memory(server.folder)
            durable = dict(
                server.admin("select name, setting from pg_settings where name in ('fsync','synchronous_commit')")
            )
            if set(durable.values()) != {"on"}:
                raise Broken(f"PostgreSQL is not durable: {durable}")
            names = "'fsync','synchronous_commit','full_page_writes','wal_sync_method','shared_buffers'"
            told = server.admin(f"select name, setting from pg_settings where name in ({names}) order by name")
            self.settings["PostgreSQL for the peers"] = dict(told)
            (self.versions["PostgreSQL"],) = (row[0] for row in server.admin("show server_version"))
            self._postgres = server
        return self._postgres

    def redis(self) -> int:
        """The port of a Redis without persistence, as the reference table has it."""
        if not self._redis:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder)
            self._stack.callback(process.wait, 20)
            self._stack.callback(process.terminate)
            deadline = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    if time.monotonic() > deadline or process.poll() is not None:
                        raise Broken("Redis did not start") from None
                    time.sleep(0.02)
            self._ask_redis(port)
            self._redis = port
        return self._redis

    def _ask_redis(self, port: int) -> None:
        """What it says of its own durability."""
        with socket.create_connection(("127.0.0.1", port)) as line, line.makefile("rb") as answer:

            def ask(*words: str) -> list[str]:
                line.sendall(
                    f"*{len(words)}\r\n".encode() + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words)
                )
                head = answer.readline()
                if head[:1] == b"$":
                    return answer.read(int(head[1:]) + 2).decode().split("\r\n")
                return [answer.read(int(answer.readline()[1:]) + 2).decode().strip() for _ in range(int(head[1:]))]

            found = [ask("CONFIG", "GET", name) for name in ("save", "appendonly", "maxmemory")]
            self.settings["Redis"] = {name: value or '""' for name, value in found}
            version = next(w for w in ask("INFO", "server") if w.startswith("redis_version:"))
            self.versions["Redis"] = version.partition(":")[2]

    # Peers

    def why_not(self, peer: str) -> str:
        """Why this peer cannot be measured here; empty when it can."""
        if not PEERS.exists():
            return "not installed: make bench-peers"
        if peer in {"huey", "dramatiq", "celery"} and shutil.which("redis-server") is None:
            return "no redis-server: make bench-peers"
        return ""

    def peer(self, name: str, word: str, count: int) -> dict[str, Any]:
        """One sample of a peer, as its program prints it."""
        kept = environment()
        room = self.room()
        dsn = ""
        if name in {"pgqueuer", "procrastinate", "dbos"}:
            dsn = self.postgres().empty()
            kept["BENCH_POSTGRES"] = url(dsn)
            kept["BENCH_POSTGRES_FOLDER"] = str(self.postgres().folder)
        else:
            kept["BENCH_REDIS"] = f"redis://127.0.0.1:{self.redis()}/0"
        program = ROOT / "bench" / "peers" / f"peer_{name}.py"
        try:
            done = subprocess.run(
                [PEERS, program, word, str(count)], cwd=room, env=kept, capture_output=True, text=True, timeout=180
            )
        except subprocess.TimeoutExpired:
            raise Broken(f"{name} {word} {count} took longer than 180 s") from None
        finally:
            if dsn:
                self.postgres().drop(dsn)
            shutil.rmtree(room, ignore_errors=True)
        if done.returncode:
            raise Broken(f"{name} {word} {count}: {done.stderr[-1500:]}")
        import json

        told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return told


def url(dsn: str) -> str:
    """``host=… user=… dbname=…`` as a URL."""
    if not dsn:
        return ""
    words = dict(word.split("=", 1) for word in dsn.split())
    return f"postgresql://{words['user']}@/{words['dbname']}?host={words['host']}"
