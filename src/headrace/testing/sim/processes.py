"""The simulated processes of one machine: control over its store, the agent over its disk. Each can die and start again.

Everything that runs in them is the product's own code; here it is only wired, as the ``app`` files do for real ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import apsw
import msgspec

from headrace.agent.attempts import Attempts
from headrace.agent.bell import BellKeeper
from headrace.agent.blobs import FileBlobs
from headrace.agent.calls import Calls, NoPackages
from headrace.agent.disk import RealDisk
from headrace.agent.journal import Journal
from headrace.agent.spool import Spool
from headrace.control.links import Links
from headrace.control.node import Node
from headrace.link.port import AgentCalls, Doorbell
from headrace.link.records import Hello
from headrace.link.session import AgentLink
from headrace.model.errors import HeadraceError, LinkError
from headrace.model.ports import Fault
from headrace.store.sqlite.connection import SqliteOptions
from headrace.store.sqlite.store import open_sqlite
from headrace.testing.sim.disk import Disk, DiskFiles
from headrace.testing.sim.executor import START, Ground, SimExecutor, SimPlaces
from headrace.testing.sim.loop import Process, VirtualLoop
from headrace.testing.sim.network import Network, SimCalls

SECRET = b"0123456789abcdef0123456789abcdef"

Reach = Callable[[str], tuple[Process, AgentCalls] | None]
"""What answers at an address: the life that is up there, if one is."""


class SimClock:
    """Wall time that may jump, monotonic time that does not."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.offset = 0

    def now(self) -> int:
        return START + round(self._loop.time() * 1_000_000) + self.offset

    def monotonic(self) -> float:
        return self._loop.time()


class Control:
    """Control, life after life, on one store."""

    def __init__(self, name: str, folder: Path, *, loop: VirtualLoop, network: Network, clock: SimClock) -> None:
        self.name = name
        self.loop = loop
        self.network = network
        self.clock = clock
        self.process: Process | None = None
        self.node: Node | None = None
        self.links: Links | None = None
        self.lives = 0
        self.honest_disk = True
        self.failure: BaseException | None = None
        self._folder = folder
        self._disk: Disk | None = None
        self._kept: list[Any] = []

    @property
    def folder(self) -> Path:
        """Where this life's store is."""
        return self._folder / f"life-{self.lives}"

    @property
    def alive(self) -> bool:
        """Whether it runs and has finished its start."""
        return self.process is not None and self.process.alive and self.links is not None

    async def start(self, dice: Random, fault: Fault, reach: Reach) -> None:
        """A new life on what the last one left. Returns when it takes links."""
        before = self.folder if self.lives else None
        self.lives += 1
        _carry_over(before, self.folder)
        self._disk = Disk(f"{self.name}-{id(self)}-{self.lives}", honest=self.honest_disk)
        self.process = Process(f"{self.name}-{self.lives}")
        self.links = None
        self.loop.spawn(self.process, self._main(dice, fault, reach))
        while self.links is None and self.process.alive:
            await asyncio.sleep(0.01)

    async def _main(self, dice: Random, fault: Fault, reach: Reach) -> None:
        disk, process = self._disk, self.process
        assert disk is not None
        assert process is not None
        try:
            options = SqliteOptions(vfs=disk.vfs(), alone=True, autocheckpoint=dice.choice((50, 500)))
            store = await open_sqlite(
                str(self.folder), clock=self.clock, options=options, files=DiskFiles(disk), inline=True, fault=fault
            )
            self._kept.append(store)
            node = self.node = Node(store, clock=self.clock, dice=dice, fault=fault, alone=True)
            self.links = await node.start(
                secret=SECRET, url="sim", connect=lambda hello: SimCalls(self.network, partial(reach, hello.address))
            )
            self.failure = await node.failure()
        finally:
            # As the app does: whatever fails here ends the process, and the supervisor starts another.
            process.kill()

    def kill(self) -> None:
        """Kill -9: the page cache stays."""
        if self.process is not None and self.process.alive:
            self.process.kill()
        if self.process is not None:
            self.network.died(self.process)
        if self._disk is not None:
            self._disk.dead = True
        self.links = None
        if self.node is not None:
            self._kept.append(self.node)
        self.node = None

    def power_cut(self, dice: Random) -> int:
        """The power goes: what was not synced is gone, as far as the dice say."""
        self.kill()
        return self._disk.power_cut(dice) if self._disk is not None else 0

    def close(self) -> None:
        """The simulation is over: free what all lives had open."""
        for kept in self._kept:
            writer = getattr(kept, "_writer", None)
            if writer is not None:
                # The last connection folds its WAL in; a dead process's disk refuses that, as it should.
                with contextlib.suppress(HeadraceError, apsw.Error):
                    writer.close()
        if self._disk is not None:
            self._disk.close()
        self._kept.clear()


def _carry_over(before: Path | None, folder: Path) -> None:
    """A new life opens copies: the dead one's connections still hold locks on its own files."""
    folder.mkdir(parents=True)
    if before is None:
        return
    for name in ("headrace.db", "headrace.db-wal"):
        if (before / name).exists():
            shutil.copy2(before / name, folder / name)
    if (before / "blobs").is_dir():
        shutil.copytree(before / "blobs", folder / "blobs")


class Machine:
    """The agent and its guard, life after life, on one disk. ``address``: two machines may run the agent of one name."""

    def __init__(
        self,
        name: str,
        folder: Path,
        slots: int,
        *,
        loop: VirtualLoop,
        network: Network,
        clock: SimClock,
        ground: Ground,
        address: str = "",
    ) -> None:
        self.name = name
        self.address = address or name
        self.slots = slots
        self.loop = loop
        self.network = network
        self.clock = clock
        self.ground = ground
        self.process: Process | None = None
        self.calls: Calls | None = None
        self.lives = 0
        self._folder = folder
        self._kept: list[object] = []

    def reach(self) -> tuple[Process, AgentCalls] | None:
        """The agent's side of the calls, while it is up."""
        if self.process is None or not self.process.alive or self.calls is None:
            return None
        return self.process, self.calls

    def start(self, dice: Random, fault: Fault, control: Control) -> None:
        """A new boot."""
        self.lives += 1
        self.process = Process(f"{self.address}-{self.lives}")
        self.calls = None
        self.loop.spawn(self.process, self._main(self.process, dice, fault, control))

    async def _main(self, process: Process, dice: Random, fault: Fault, control: Control) -> None:
        disk = RealDisk(str(self._folder))
        blobs = FileBlobs(str(self._folder / "blobs"))
        boot = f"{self.address}-boot-{self.lives}"
        link = AgentLink(Hello(self.name, boot, self.slots, address=self.address))
        keeper = BellKeeper(link, lambda: self._dial(process, control), clock=self.clock, dice=dice)
        executor = SimExecutor(self.loop, process, self.ground)
        journal = Journal(disk, rotate_at=64 * 1024)
        attempts = Attempts(
            boot,
            self.slots,
            {"command": executor, "script": executor},
            journal=journal,
            spool=Spool(disk),
            places=SimPlaces(),
            aside=blobs,
            clock=self.clock,
            fault=fault,
            bell=keeper.ring,
        )
        self._kept.append((attempts, journal))
        attempts.recover(journal.recover())
        self.calls = Calls(attempts, link, blobs, NoPackages())
        await keeper.run(attempts)

    async def _dial(self, process: Process, control: Control) -> Doorbell:
        await asyncio.sleep(self.network.delay())
        links = control.links
        if links is None or control.process is None or not control.process.alive or self.network.split:
            raise LinkError("connection refused")
        near, far = self.network.bells(process, control.process)
        self.loop.spawn(control.process, links.serve(far))
        return near

    def kill(self) -> None:
        """Kill -9 of the agent: its guard kills every attempt before the next boot."""
        if self.process is not None:
            self.process.kill()
            self.network.died(self.process)
            self.ground.died(self.process)
        self.calls = None

    def power_cut(self, dice: Random) -> None:
        """The journal was never synced: any tail of it may be gone."""
        self.kill()
        journal = self._folder / "journal"
        if journal.exists():
            data = journal.read_bytes()
            journal.write_bytes(data[: dice.randint(0, len(data))])


def encode_body(run: int) -> bytes:
    """The kept answer of a submit."""
    return msgspec.json.encode({"id": run})
