"""PostgreSQL that dies, restarts, and cuts lines under load: nothing acknowledged is lost and no process of ours ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from harness import Load, Server, as_url, inspect, until

if TYPE_CHECKING:
    from conformance.postgres_server import PostgresServer


@contextmanager
def again_and_again(strike: Callable[[], None], pause: float) -> Iterator[list[int]]:
    """Strike, pause, strike … in a thread for the length of the block; an error of it fails the test."""
    over, errors, strikes = threading.Event(), [], []

    def work() -> None:
        try:
            while not over.wait(pause):
                strike()
                strikes.append(1)
        except BaseException as error:  # told to the test below, whatever it is
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield strikes
    finally:
        over.set()
        thread.join()
    assert not errors, errors


def under_load(dsn: str, folder: Path, strike: Callable[[], None], *, pause: float, strikes: int) -> None:
    """A whole server that works while ``strike`` happens; control must be the same process at the end."""
    server = Server(folder / "data", store=as_url(dsn))
    try:
        control = server.start().control()
        with again_and_again(strike, pause) as done:
            load = Load(server, folder).submit()
            while len(done) < strikes:
                load.more()
            load.finish()
        assert server.control() == control, server.words()
        load.more()
        load.finish()
        family = server.family()
        assert server.end() == 0, server.words()
        server.gone(family)
    finally:
        server.kill_all()
    assert not inspect(folder / "data", dsn, lambda opened: load.broken(opened, lost=False))


def test_a_database_killed_again_and_again_under_load_loses_nothing(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    def strike() -> None:
        own_postgres.kill()
        own_postgres.start()

    under_load(own_postgres.fresh(), tmp_path, strike, pause=1.5, strikes=4)


def test_lines_cut_again_and_again_under_load_lose_nothing(own_postgres: PostgresServer, tmp_path: Path) -> None:
    dsn = own_postgres.fresh()

    def strike() -> None:
        own_postgres.admin("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'headrace'")

    under_load(dsn, tmp_path, strike, pause=0.2, strikes=20)


def away(own_postgres: PostgresServer, folder: Path, seconds: float) -> None:
    """The server is stopped while runs are under way, and comes back after ``seconds``."""
    dsn = own_postgres.fresh()
    server = Server(folder / "data", store=as_url(dsn))
    try:
        control = server.start().control()
        load = Load(server, folder).submit()
        own_postgres.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(own_postgres.dsn())
        back = threading.Timer(seconds, own_postgres.start)
        back.start()
        load.more(seconds=seconds + 60)
        back.join()
        load.finish()
        assert server.control() == control, server.words()
        until(lambda: listening(own_postgres), what="control to listen again")
        assert server.end() == 0
    finally:
        server.kill_all()
    assert not inspect(folder / "data", dsn, lambda opened: load.broken(opened, lost=False))


def listening(server: PostgresServer) -> bool:
    return bool(server.admin("select 1 from pg_stat_activity where query = 'listen headrace'"))


def test_a_database_away_for_15_seconds_ends_no_process_of_ours(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """Longer than the ledger waits for the verdict on a COMMIT."""
    away(own_postgres, tmp_path, 15)


@pytest.mark.tail
def test_a_database_away_for_a_minute_ends_no_process_of_ours(own_postgres: PostgresServer, tmp_path: Path) -> None:
    away(own_postgres, tmp_path, 60)
