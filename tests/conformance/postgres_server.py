"""A real PostgreSQL of the tests' own: one server per session on a Unix socket, a fresh database per test.

Never skips: without a server the tests that need one fail and say why, unless HEADRACE_TEST_NO_POSTGRES=1 says that
this machine has none on purpose. The server runs under a small guard that stops it when the test process is gone, however
that ended. ``tests/conftest.py`` gives the fixtures to every folder: ask for them by name, never import this file.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

USER = "headrace"

MEMORY_MIN = 2**30
"""Bytes that must be free in memory for the server to be put there."""

_GUARD = """
import os, select, shutil, signal, subprocess, sys
# Ends with its parent: the pipe on stdin is closed when the test process dies, by whatever signal. Who stops us on
# purpose writes a byte first and cares for the folder. Signals to the whole group must not end the guard before the server.
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
who = int(sys.argv[1])
become = {"user": who, "group": int(sys.argv[2]), "extra_groups": [], "cwd": "/"} if who else {}
server = subprocess.Popen(sys.argv[3:], stdin=subprocess.DEVNULL, start_new_session=True, **become)
while server.poll() is None and not select.select([0], [], [], 0.5)[0]:
    pass
if server.poll() is None:
    server.send_signal(signal.SIGINT)
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.send_signal(signal.SIGQUIT)
        server.wait()
if not os.read(0, 1):
    shutil.rmtree(os.path.dirname(sys.argv[-1]), ignore_errors=True)
"""


def _children(head: int) -> list[int]:
    """The processes whose parent this is; a machine need not have ``ps``."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == head:
                found.append(int(entry.name))
    return found


class PostgresServer:
    """A running server. ``dsn(name)`` names one of its databases; ``fresh()`` makes a new one from the template."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        self.folder = folder
        self._bin = bin_folder
        self._guard: subprocess.Popen[bytes] | None = None
        self._names = (f"t{os.getpid()}_{number}" for number in itertools.count())
        self._template = ""

    def dsn(self, database: str = "postgres") -> str:
        return f"host={self.folder} user={USER} dbname={database}"

    def initialise(self) -> None:
        """Make the cluster: fast where a crash of this machine would not matter to a test, honest where it would."""
        data = self.folder / "data"
        self._run(self._bin / "initdb", "-D", data, "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync")
        settings = {
            "listen_addresses": "''",
            "unix_socket_directories": f"'{self.folder}'",
            "max_connections": "200",
            "shared_buffers": "'64MB'",
            "max_wal_size": "'512MB'",
            "autovacuum_naptime": "'10s'",
            "log_min_messages": "warning",
        }
        with (data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def start(self) -> None:
        """Start it under the guard and wait until it answers."""
        import psycopg

        with (self.folder / "server.log").open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-c", _GUARD, *_ids(), self._bin / "postgres", "-D", self.folder / "data"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.dsn(), connect_timeout=5).close()
            except psycopg.OperationalError:
                if self._guard.poll() is not None or time.monotonic() > until:
                    pytest.fail(f"PostgreSQL did not start:\n{(self.folder / 'server.log').read_text()}", pytrace=False)
                time.sleep(0.05)  # a poll: nothing tells of it
            else:
                return

    def stop(self) -> None:
        """Fast shutdown; the guard waits for it."""
        if self._guard is not None:
            self._guard.communicate(b"k")
            self._guard = None

    def crash(self) -> None:
        """SIGQUIT: the server ends at once without a checkpoint, as after a crash; ``start`` recovers it."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        self.stop()

    def kill(self) -> None:
        """SIGKILL of every process of it: nothing is said to anybody, nothing is flushed; ``start`` recovers it."""
        head = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        for pid in [head, *_children(head)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.stop()

    def fresh(self) -> str:
        """The connection string of a new database with the schema in it."""
        if not self._template:
            self._template = self._make_template()
        name = next(self._names)
        self.admin(f"create database {name} template {self._template} strategy wal_log")
        return self.dsn(name)

    def empty(self) -> str:
        """The connection string of a new database with nothing in it."""
        name = next(self._names)
        self.admin(f"create database {name}")
        return self.dsn(name)

    def drop(self, dsn: str) -> None:
        """Remove a database, whoever is connected to it."""
        name = re.search(r"dbname=(\w+)", dsn)
        assert name is not None
        self.admin(f"drop database if exists {name[1]} with (force)")

    def admin(self, statement: str) -> list[tuple[object, ...]]:
        """One statement on the server's own database, as its superuser."""
        import psycopg

        with psycopg.connect(self.dsn(), autocommit=True) as conn:
            cursor = conn.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _make_template(self) -> str:
        from headrace.store.postgres.store import open_store

        async def migrate() -> None:
            await (await open_store(self.dsn("template_headrace"))).close()

        self.admin("create database template_headrace")
        with asyncio.Runner() as runner:
            runner.run(migrate())
        return "template_headrace"

    def _run(self, *command: Path | str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, **_unprivileged())
        if done.returncode:
            pytest.fail(f"{command[0]} failed:\n{done.stdout}{done.stderr}", pytrace=False)


def _unprivileged() -> dict[str, object]:
    """PostgreSQL refuses to run as root: become somebody else then."""
    if os.geteuid() != 0:
        return {}
    who = _somebody()
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": [], "cwd": "/"}


def _ids() -> tuple[str, str]:
    become = _unprivileged()
    return str(become.get("user", 0)), str(become.get("group", 0))


def _somebody() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.fail("root needs a user 'postgres' or 'nobody' to run PostgreSQL as", pytrace=False)


def find_bin() -> Path:
    """The folder of the newest server's programs; fails the test when there is none."""
    found = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")),
        key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0),
    )
    on_path = shutil.which("postgres")
    if found:
        return found[-1]
    if on_path:
        return Path(on_path).resolve().parent
    pytest.fail(
        "no PostgreSQL server here (looked in /usr/lib/postgresql/*/bin and PATH). Install it (Debian: apt-get install "
        "postgresql), or set HEADRACE_TEST_NO_POSTGRES=1 to leave its tests out on purpose.",
        pytrace=False,
    )


def _memory() -> Path | None:
    """A folder in memory with room for a test server, if there is one: there fsync costs nothing."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > MEMORY_MIN
    return shared if roomy and os.access(shared, os.W_OK) else None


@contextmanager
def running_server(*, on_disk: bool = False) -> Iterator[PostgresServer]:
    """A server in a temporary folder, gone at the end of the block; in memory unless ``on_disk`` (for measuring)."""
    bin_folder = find_bin()
    # A Unix socket's path has room for 107 bytes: pytest's own folders may be deeper than that.
    folder = Path(tempfile.mkdtemp(prefix="hr-pg-", dir=None if on_disk else _memory()))
    try:
        if os.geteuid() == 0:
            os.chown(folder, _somebody().pw_uid, _somebody().pw_gid)
        server = PostgresServer(folder, bin_folder)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The session's server."""
    if os.environ.get("HEADRACE_TEST_NO_POSTGRES") == "1":
        pytest.skip("HEADRACE_TEST_NO_POSTGRES=1")
    with running_server() as server:
        yield server


@pytest.fixture
def postgres_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database with the schema in it, dropped after the test."""
    dsn = postgres_server.fresh()
    yield dsn
    postgres_server.drop(dsn)


@pytest.fixture
def empty_postgres_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """A database with nothing in it, dropped after the test."""
    dsn = postgres_server.empty()
    yield dsn
    postgres_server.drop(dsn)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server of this test's own, to crash and restart."""
    if os.environ.get("HEADRACE_TEST_NO_POSTGRES") == "1":
        pytest.skip("HEADRACE_TEST_NO_POSTGRES=1")
    with running_server() as server:
        yield server
