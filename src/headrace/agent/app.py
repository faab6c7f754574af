"""The agent, wired: settings in, a process that serves its Unix socket until it is told to end.

The only file that names the real disk, executors, sockets and clock. Called by the CLI and ``agent.guard``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import hashlib
import os
import random
import signal
import socket
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.agent.api import AgentApi
from headrace.agent.attempts import Attempts
from headrace.agent.bell import BellKeeper
from headrace.agent.blobs import FileBlobs
from headrace.agent.calls import Calls, NoPackages, Packages
from headrace.agent.disk import RealDisk
from headrace.agent.executors.command import CommandExecutor
from headrace.agent.executors.environment import MARK, base_environment
from headrace.agent.executors.port import Executor
from headrace.agent.executors.python import AHEAD, PythonExecutor
from headrace.agent.journal import Journal
from headrace.agent.packages import FilePackages
from headrace.agent.places import FilePlaces
from headrace.agent.processes import Family, Leaves, become_subreaper, end_with_parent, kill_marked
from headrace.agent.spool import Spool
from headrace.link.doorbell import dial_unix
from headrace.link.port import Doorbell
from headrace.link.records import Hello
from headrace.link.server import HttpServer
from headrace.link.session import AgentLink
from headrace.link.wire import PACKAGE_MAX
from headrace.model.errors import Busy
from headrace.model.ports import Fault, no_fault


class AgentSettings(msgspec.Struct, frozen=True):
    """How one agent is set up. ``data`` is its own folder; ``control`` the path of control's socket, empty for none.

    ``pass_env`` names variables of the agent's environment that attempts may see. ``slots`` 0 means one per CPU.
    """

    data: str
    control: str = ""
    name: str = ""
    slots: int = 0
    labels: dict[str, str] = {}
    pass_env: tuple[str, ...] = ()
    version: str = ""
    python: bool = True
    cgroups: bool = True

    @property
    def socket(self) -> str:
        """The path of the agent's own socket."""
        return os.path.join(self.data, "agent.sock")


HOLD_S = 10.0
"""How long an agent waits for the one before it to be gone."""


class RealClock:
    """``Clock`` of the machine."""

    def now(self) -> int:
        """See ``Clock``."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """See ``Clock``."""
        return time.monotonic()


class Agent:
    """One life of the agent. Make it inside a running loop; ``serve`` runs it."""

    def __init__(self, settings: AgentSettings, *, fault: Fault = no_fault) -> None:
        self.settings = settings
        self.boot = os.urandom(8).hex()
        self.slots = settings.slots or os.cpu_count() or 1
        self._clock = RealClock()
        self._family = Family()
        data = os.path.realpath(settings.data)
        disk = RealDisk(data)
        self._blobs = FileBlobs(os.path.join(data, "blobs"))
        self._places = FilePlaces(os.path.join(data, "attempts"), self._blobs)
        self.packages: Packages = NoPackages()
        self._whose = hashlib.sha256(data.encode()).hexdigest()[:16]
        kill_marked(MARK + self._whose.encode() + b".")
        base = base_environment(dict(os.environ), settings.pass_env)
        commands = self._make_commands(base)
        self._executors: dict[str, Executor] = {"command": commands, "script": commands}
        self._depth: dict[str, int] = {}
        self._python = self._make_python(data, base) if settings.python else None
        self.link = AgentLink(self._hello())
        self._bell = BellKeeper(self.link, self._dial, clock=self._clock, dice=random.Random())  # noqa: S311 # jitter
        journal = Journal(disk)
        self.attempts = Attempts(
            self.boot,
            self.slots,
            self._executors,
            journal=journal,
            spool=Spool(disk),
            places=self._places,
            aside=self._blobs,
            clock=self._clock,
            fault=fault,
            depth=self._depth,
            bell=self._bell.ring,
        )
        self.attempts.recover(journal.recover())
        self.calls = Calls(self.attempts, self.link, self._blobs, self.packages, alone=not settings.control)

    async def serve(self, until: asyncio.Event) -> None:
        """Answer on the socket, keep the doorbell open, until the event is set; then end everything."""
        api = AgentApi(self.calls, self.spec, self.drain)
        server = HttpServer(api, body_max=PACKAGE_MAX)
        await server.start(_listen(self.settings.socket))
        if self._python is not None:
            self._python.warm()
        ringing = asyncio.ensure_future(self._ring_control())
        try:
            await until.wait()
        finally:
            ringing.cancel()
            self.attempts.end()  # an executor that closes has no place to start anything in
            for executor in dict.fromkeys(self._executors.values()):
                await executor.close()
            await self.attempts.close()
            await server.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.settings.socket)

    def spec(self) -> Mapping[str, Any]:
        """What this agent is, for ``GET /spec``."""
        return {
            "agent": self.settings.name or socket.gethostname(),
            "boot": self.boot,
            "slots": self.slots,
            "labels": self.settings.labels,
            "version": self.settings.version,
            "kinds": sorted(self._executors),
            "running": self.attempts.running,
            "queued": self.attempts.queued,
            "waiting": self.attempts.outbox.waiting,
            "draining": self.attempts.draining,
        }

    def drain(self) -> None:
        """Accept nothing more; what is here goes on. Control hears of it with the next pulse, which is sent now."""
        self.attempts.draining = True
        self._bell.ring()

    async def _ring_control(self) -> None:
        if self.settings.control:
            await self._bell.run(self.attempts)

    async def _dial(self) -> Doorbell:
        return await dial_unix(self.settings.control)

    def _hello(self) -> Hello:
        s = self.settings
        name = s.name or socket.gethostname()
        address = "unix:" + os.path.realpath(s.socket)
        return Hello(name, self.boot, self.slots, s.labels, s.version, tuple(sorted(self._executors)), address)

    def _make_commands(self, base: dict[str, str]) -> CommandExecutor:
        leaves = Leaves(self._whose if self.settings.cgroups else "")
        key = f"{self._whose}.{self.boot}"
        return CommandExecutor(key, base, family=self._family, leaves=leaves, clock=self._clock)

    def _make_python(self, data: str, base: dict[str, str]) -> PythonExecutor:
        packages = FilePackages(os.path.join(data, "packages"))
        env = {**base, "HEADRACE_ATTEMPT_KEY": f"{self._whose}.{self.boot}.runner"}
        made = PythonExecutor(
            packages,
            os.path.join(data, "runners"),
            env,
            slots=self.slots,
            clock=self._clock,
            owned=self._family.owned,
        )
        self.packages = packages
        self._executors["python"] = made
        self._depth["python"] = AHEAD
        return made


def _listen(path: str) -> socket.socket:
    """A Unix socket that only this user can connect to."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listening.bind(path)
    finally:
        os.umask(mask)
    listening.setblocking(False)
    return listening


async def serve(settings: AgentSettings, *, fault: Fault = no_fault) -> None:
    """Run one agent until SIGTERM or SIGINT. Makes this process a subreaper."""
    become_subreaper()
    end_with_parent()
    os.umask(0o077)
    until = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, until.set)
    if await hold(settings.data, until):
        await Agent(settings, fault=fault).serve(until)


async def hold(folder: str, until: asyncio.Event, patience: float = HOLD_S) -> bool:
    """Hold the agent's folder for as long as this process lives. Before that nothing in it is touched and nothing is
    killed: both would be another agent's. One that is dying is waited for. False when told to end meanwhile; raises
    Busy when the other one stays.
    """
    lock = os.open(os.path.join(folder, "agent.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while not until.is_set():
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            if loop.time() >= deadline:
                os.close(lock)
                raise Busy(f"another agent uses the folder {folder}") from e
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), 0.05)
            continue
        return True
    os.close(lock)
    return False


def run_agent(settings: AgentSettings, *, fault: Fault = no_fault) -> None:
    """Run one agent in this process until it is told to end."""
    import uvloop  # the simulator imports this file and runs on a loop of its own

    # What an attempt is made of holds no cycles: it need not be looked through 700 objects after 700.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, fault=fault))
