"""Large input files are copied beside the loop: other work begins and ends meanwhile, and a cancel is heard."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit import Life, job, run
from msgspec import structs

from headrace.agent import blobs as blobs_of
from headrace.agent.blobs import FileBlobs
from headrace.agent.places import LARGE, FilePlaces
from headrace.link.records import Assignment, InputFile, Outcome, Start, StopOrder
from headrace.model.changes import OutcomeKind
from headrace.model.errors import NotFound

DATA = os.urandom(LARGE) + b"end"
DIGEST = hashlib.sha256(DATA).hexdigest()
PATIENCE_S = 30


class Gate(FileBlobs):
    """Bytes whose copies wait until the test lets them."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.begun, self.go = threading.Event(), threading.Event()
        self.stopped: list[bool] = []

    def copy_to(self, digest: str, path: str, *, left: Callable[[], bool] = lambda: False) -> None:
        self.begun.set()
        assert threading.current_thread() is not threading.main_thread()
        assert self.go.wait(PATIENCE_S)
        self.stopped.append(left())
        super().copy_to(digest, path, left=left)


class Bench:
    """An agent with one attempt whose large input is being copied."""

    def __init__(self, folder: Path) -> None:
        self.blobs = Gate(str(folder / "blobs"))
        self.blobs.take(DIGEST, DATA)
        self.life = Life(slots=2)
        self.attempts: Any = self.life.attempts
        self.attempts._places = FilePlaces(str(folder / "places"), self.blobs)
        self.large = with_input(job(1))

    async def begin(self) -> None:
        assert (await self.life.calls.start(Start(1, [self.large]))).refused == []
        await asyncio.to_thread(self.blobs.begun.wait, PATIENCE_S)

    async def copied(self) -> None:
        await asyncio.wait(list(self.attempts._bringing._works.values()))

    async def told(self) -> list[Outcome]:
        self.blobs.go.set()
        return (await self.life.calls.outcomes(0, 5_000, 1)).outcomes


def with_input(a: Assignment, digest: str = DIGEST) -> Assignment:
    return structs.replace(a, inputs=(InputFile("a/data", digest, len(DATA)),))


def test_others_begin_and_end_while_a_large_file_is_copied(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        await bench.begin()
        await bench.life.calls.start(Start(1, [job(2)]))
        assert bench.life.hands.begun == [2], "the loop goes on, the one that waits for its file has not begun"
        bench.life.hands.end(2)
        assert bench.attempts.running == 2 - 1
        place = next(iter(bench.attempts._works.values())).place
        bench.blobs.go.set()
        await bench.copied()
        assert bench.life.hands.begun == [2, 1]
        place.make()
        assert (Path(place.inputs) / "a" / "data").read_bytes() == DATA

    run(main())


def test_what_is_canceled_while_its_file_is_copied_never_begins(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        await bench.begin()
        for _ in range(2):
            await bench.life.calls.stop(StopOrder(1, [(bench.large.name, 0)], reason="enough"))
        (told,) = await bench.told()
        assert (told.kind, told.reason) == (OutcomeKind.canceled, "enough")
        assert bench.blobs.stopped == [True]
        assert (bench.life.hands.begun, bench.attempts.running) == ([], 0)
        assert not list((tmp_path / "places").glob("*[0-9]/inputs/*")), "nobody writes there any more"

    run(main())


def test_what_is_fenced_while_its_file_is_copied_says_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        await bench.begin()
        await bench.life.calls.stop(StopOrder(1, [(bench.large.name, 0)], fence=True))
        await bench.life.calls.start(Start(1, [job(2)]))
        bench.blobs.go.set()
        await bench.copied()
        assert bench.attempts.running == 1
        bench.life.hands.end(2)
        assert [o.run for o in await bench.told()] == [2]
        assert bench.life.hands.begun == [2]

    run(main())


def test_an_agent_that_ends_gives_back_what_waits_for_its_file(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        await bench.begin()
        bench.attempts.end()
        (told,) = await bench.told()
        assert (told.kind, told.reason) == (OutcomeKind.refused, "the agent ended before it began")
        assert bench.life.hands.begun == []

    run(main())


def test_closing_waits_for_what_is_being_copied(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        await bench.begin()
        bench.attempts.end()
        closing = asyncio.ensure_future(bench.attempts.close())
        await asyncio.sleep(0)
        assert not closing.done()
        bench.blobs.go.set()
        await closing
        assert bench.blobs.stopped == [True]
        assert bench.attempts.held().attempts == []

    run(main())


def test_whoever_makes_a_place_is_told_what_could_not_be_copied(tmp_path: Path) -> None:
    async def main() -> None:
        places = FilePlaces(str(tmp_path / "places"), FileBlobs(str(tmp_path / "blobs")))
        place = places.of(with_input(job(1), "0" * 64))
        bringing = place.bring()
        assert bringing is not None
        await bringing
        with pytest.raises(NotFound):
            place.make()
        small = places.of(structs.replace(job(2), inputs=(InputFile("x", "0" * 64, 5),)))
        assert small.bring() is None

    run(main())


@pytest.mark.parametrize("number", [None, errno.EXDEV, errno.EPERM, errno.ENOSPC])
def test_a_copy_is_whole_whether_the_kernel_makes_it_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    blobs, real, calls = FileBlobs(str(tmp_path / "blobs")), os.copy_file_range, 0

    def copy_file_range(*args: int) -> int:
        nonlocal calls
        calls += 1
        if number is not None and calls > 1:
            raise OSError(number, os.strerror(number))
        return real(*args)

    monkeypatch.setattr(os, "copy_file_range", copy_file_range)
    monkeypatch.setattr(blobs_of, "PIECE", 1000)
    blobs.take(DIGEST, DATA)
    if number == errno.ENOSPC:
        with pytest.raises(OSError, match="space"):
            blobs.copy_to(DIGEST, str(tmp_path / "copy"))
    else:
        blobs.copy_to(DIGEST, str(tmp_path / "copy"))
        assert (tmp_path / "copy").read_bytes() == DATA
        (tmp_path / "copy").write_bytes(b"changed")
    assert blobs.read(DIGEST, 0, len(DATA)) == DATA
