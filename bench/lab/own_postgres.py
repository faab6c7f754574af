"""A PostgreSQL for the programs that measure a part alone: the one that is named, else one of our own, on disk."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

Told = TypeVar("Told")


@contextlib.contextmanager
def database(dsn: str | None) -> Iterator[str]:
    """The connection string; a server of our own ends with the block."""
    if dsn is not None:
        yield dsn
        return
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from conformance.postgres_server import running_server

    with running_server(on_disk=True) as server:
        yield server.fresh()


def apart(work: Callable[..., Told], parts: list[tuple[object, ...]]) -> list[Told]:
    """Each part in a new process of its own, all at the same time."""
    with multiprocessing.get_context("spawn").Pool(len(parts)) as pool:
        return pool.starmap(work, parts)


def arguments(text: str | None) -> argparse.ArgumentParser:
    """The command line that they share."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--dsn")
    return parser
