"""The agent of this machine, as a process under its guard. Called by ``up`` and the CLI.

The guard starts this file with one argument, the settings as JSON, and starts it again when it dies.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import msgspec

from headrace.agent.app import AgentSettings, run_agent
from headrace.agent.guard import guard_command
from headrace.link.faults import from_environment

OK = 0


def run(settings: AgentSettings) -> None:
    """Become the guard of an agent with these settings. Never returns."""
    text = msgspec.json.encode(settings).decode()
    command = guard_command([sys.executable, "-m", "headrace.cli.agent", text])
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted: this process becomes the guard


def run_local(data: Path, socket: Path, workers: int) -> None:
    """Become the guard of the agent that belongs to the control of this data folder."""
    folder = data / "agent"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    run(AgentSettings(data=str(folder), control=str(socket), slots=workers))


def main(text: str) -> int:
    """One life of the agent; gives the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run_agent(msgspec.json.decode(text, type=AgentSettings), fault=from_environment(os.environ))
    return OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
