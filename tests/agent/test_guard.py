"""The guard: nothing is left running, whoever is killed, and a new life begins only on clean ground."""
# what is awaited are processes, and they set no events

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import run
from whole import command, marked, sh

from headrace.agent.guard import guard_command
from headrace.link.records import Start
from headrace.link.unix import UnixAgent
from headrace.model.changes import OutcomeKind
from headrace.model.errors import HeadraceError

AGENT = "import sys; from headrace.agent.app import *; run_agent(AgentSettings(data=sys.argv[1], slots=4, python=False, cgroups=sys.argv[2] == '1'))"
PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:])
print(child.pid, flush=True)
child.wait()
"""


class Tree:
    """A parent, its guard, its agent; each may be killed."""

    def __init__(self, folder: Path, *, cgroups: bool) -> None:
        self.folder = folder
        agent = [sys.executable, "-c", AGENT, str(folder), "1" if cgroups else "0"]
        argv = [sys.executable, "-S", "-c", PARENT, *guard_command(agent)]
        self.parent = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self.parent.stdout is not None
        self.guard = int(self.parent.stdout.readline())

    def agent(self) -> int:
        while True:
            for pid in Path(f"/proc/{self.guard}/task/{self.guard}/children").read_text().split():
                if b"run_agent" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
            time.sleep(0.01)  # a poll: nothing tells of it

    async def calls(self) -> UnixAgent:
        while True:
            calls = UnixAgent(str(self.folder / "agent.sock"))
            try:
                await calls.held()
            except HeadraceError:
                await calls.close()
                await asyncio.sleep(0.02)  # a poll: nothing tells of it
            else:
                return calls

    def end(self) -> None:
        self.parent.kill()
        self.parent.wait()
        if self.parent.stdout is not None:
            self.parent.stdout.close()
        while marked(str(self.folder)):
            time.sleep(0.01)  # a poll: nothing tells of it


@pytest.fixture(params=[True, False], ids=["cgroup", "subreaper"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tree]:
    made = Tree(tmp_path, cgroups=request.param)
    yield made
    made.end()


def gone(mark: str) -> None:
    while marked(mark):
        time.sleep(0.01)  # a poll: nothing tells of it


HARD = 'trap "" TERM; (setsid sh -c "trap \\"\\" TERM; sleep 600; true" &) ; sleep 600; true'


def test_kill_9_of_the_agent_leaves_no_process_and_the_next_life_reports_them_lost(tree: Tree) -> None:
    mark = f"guarded-{os.getpid()}-{tree.guard}"

    async def main() -> None:
        calls = await tree.calls()
        first = (await calls.held()).boot
        assert (await calls.start(Start(1, [sh(n, HARD, env={"WHO": mark}) for n in range(1, 5)]))).refused == []
        assert (await calls.start(Start(1, [command(9, "true")]))).refused == []
        while len(marked(mark)) < 16:
            await asyncio.sleep(0.02)  # a poll: nothing tells of it
        os.kill(tree.agent(), signal.SIGKILL)
        await calls.close()
        again = await tree.calls()
        assert marked(mark) == [], "a new boot id is offered, yet an attempt of the old one lives"
        feed = await again.outcomes(0, 1000, 1)
        assert feed.boot != first
        assert {(o.run, o.kind) for o in feed.outcomes} == {(n, OutcomeKind.lost) for n in (1, 2, 3, 4, 9)}
        await again.close()

    run(main())


@pytest.mark.parametrize("victim", ["parent", "guard"])
def test_kill_9_of_what_is_above_the_agent_ends_everything(tree: Tree, victim: str) -> None:
    mark = f"orphaned-{os.getpid()}-{tree.guard}"

    async def main() -> None:
        calls = await tree.calls()
        await calls.start(Start(1, [sh(n, HARD, env={"WHO": mark}) for n in range(1, 4)]))
        while len(marked(mark)) < 12:
            await asyncio.sleep(0.02)  # a poll: nothing tells of it
        await calls.close()
        agent = tree.agent()
        os.kill(tree.parent.pid if victim == "parent" else tree.guard, signal.SIGKILL)
        await asyncio.to_thread(gone, mark)
        while Path(f"/proc/{agent}").exists() and b"run_agent" in Path(f"/proc/{agent}/cmdline").read_bytes():
            await asyncio.sleep(0.01)  # a poll: nothing tells of it

    run(main())


def test_a_guard_told_to_end_ends_the_agent_in_order(tree: Tree) -> None:
    async def main() -> None:
        calls = await tree.calls()
        await calls.close()
        agent = tree.agent()
        os.kill(tree.guard, signal.SIGTERM)
        while Path(f"/proc/{agent}").exists():
            await asyncio.sleep(0.01)  # a poll: nothing tells of it
        assert not (tree.folder / "agent.sock").exists(), "the agent cleaned up: it was asked, not killed"

    run(main())
