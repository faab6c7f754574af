"""Stand-ins for the agent's ports: a disk in memory that tears, an executor that does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from headrace.agent.attempts import Attempts
from headrace.agent.calls import Calls, NoPackages
from headrace.agent.executors.port import Ending, Place, Report
from headrace.agent.journal import Journal
from headrace.agent.spool import Spool
from headrace.link.records import Artifact, Assignment, AttemptName, Hello, Welcome
from headrace.link.session import AgentLink
from headrace.model.changes import OutcomeKind
from headrace.model.errors import NotFound


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def job(run: int, epoch: int = 1, **more: Any) -> Assignment:
    return Assignment(run, 0, -1, epoch, 1, 7, more.pop("kind", "command"), "t", **more)


class MemoryFile:
    def __init__(self, disk: MemoryDisk, data: bytearray) -> None:
        self._disk = disk
        self.data = data

    @property
    def size(self) -> int:
        return len(self.data)

    def append(self, data: bytes) -> None:
        if self._disk.full:
            raise OSError(28, "No space left on device")
        self.data += data

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])

    def close(self) -> None:
        pass


class MemoryDisk:
    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.full = False

    def append_to(self, name: str) -> Any:
        return MemoryFile(self, self.files.setdefault(name, bytearray()))

    def read(self, name: str) -> bytes | None:
        data = self.files.get(name)
        return None if data is None else bytes(data)

    def replace(self, name: str, by: str) -> None:
        self.files[name] = self.files.pop(by)

    def remove(self, name: str) -> None:
        self.files.pop(name, None)

    def names(self, folder: str) -> list[str]:
        return sorted(n.removeprefix(folder + "/") for n in self.files if n.startswith(folder + "/"))


class MemoryBlobs:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.needed: list[str] = []

    def need(self, digests: Any) -> None:
        self.needed += digests

    def spare(self, digests: Any) -> None:
        for digest in digests:
            self.needed.remove(digest)

    def put(self, data: bytes) -> str:
        digest = f"d{len(data)}"
        self.kept[digest] = data
        return digest

    def release(self, digests: Any) -> None:
        for digest in digests:
            self.kept.pop(digest, None)

    def keep_only(self, digests: Any) -> None:
        keep = set(digests)
        self.kept = {d: b for d, b in self.kept.items() if d in keep}

    def take(self, digest: str, data: bytes) -> None:
        self.kept[digest] = data

    def has(self, digest: str) -> bool:
        return digest in self.kept

    def read(self, digest: str, offset: int, size: int) -> bytes:
        if digest not in self.kept:
            raise NotFound(digest)
        return self.kept[digest][offset : offset + size]


class NoPlaces:
    def __init__(self) -> None:
        self.cleared = 0

    def of(self, a: Assignment) -> Any:
        return self

    def clear(self, place: Any) -> None:
        self.cleared += 1

    def bring(self) -> asyncio.Future[None] | None:
        return None

    def leave(self) -> None:
        pass

    def harvest(self, globs: Sequence[str] = ()) -> tuple[Artifact, ...]:
        return ()


class Clock:
    def __init__(self) -> None:
        self.at = 1_000_000

    def now(self) -> int:
        self.at += 1
        return self.at

    def monotonic(self) -> float:
        return self.at / 1e6


class Hands:
    """An executor whose attempts end when the test says so."""

    def __init__(self) -> None:
        self.works: dict[AttemptName, Report] = {}
        self.begun: list[int] = []
        self.asked: list[tuple[int, str]] = []
        self.killed: list[int] = []
        self.obedient = False

    def start(self, a: Assignment, report: Report, place: Place) -> None:
        self.begun.append(a.run)
        self.works[a.name] = report
        report.started(5)

    def start_many(self, batch: Sequence[tuple[Assignment, Report, Place]]) -> None:
        for a, report, place in batch:
            self.start(a, report, place)

    def ask(self, name: AttemptName, reason: str) -> None:
        self.asked.append((name.run, reason))
        if self.obedient:
            self.end(name.run, OutcomeKind.failed)

    def kill(self, name: AttemptName) -> None:
        self.killed.append(name.run)
        self.end(name.run, OutcomeKind.failed, signal=9)

    async def close(self) -> None:
        pass

    def end(self, run: int, kind: OutcomeKind = OutcomeKind.succeeded, **more: Any) -> None:
        name = next(n for n in self.works if n.run == run)
        self.works.pop(name).ended(Ending(kind, 5, 9, **more))


class Life:
    """One boot of an agent's logic on a disk that outlives it."""

    def __init__(
        self,
        disk: MemoryDisk | None = None,
        *,
        slots: int = 2,
        boot: str = "b1",
        fault: Any = None,
        greeted: bool = True,
    ) -> None:
        self.disk = disk or MemoryDisk()
        self.hands = Hands()
        self.blobs = MemoryBlobs()
        self.places = NoPlaces()
        self.rings = 0
        self.journal = Journal(self.disk)
        self.spool = Spool(self.disk)
        self.attempts = Attempts(
            boot, slots, {"command": self.hands, "python": self.hands}, journal=self.journal, spool=self.spool,
            places=self.places, aside=self.blobs, clock=Clock(), fault=fault or (lambda name: None),
            depth={"python": 4}, bell=self._ring,
        )  # fmt: skip
        self.attempts.recover(self.journal.recover())
        self.link = AgentLink(Hello("a", boot, slots))
        if greeted:
            self.link.dialed(0)
            self.link.heard(Welcome(1, 1), 0.0)
            self.link.cut()
        self.calls = Calls(self.attempts, self.link, self.blobs, NoPackages())

    def _ring(self) -> None:
        self.rings += 1
