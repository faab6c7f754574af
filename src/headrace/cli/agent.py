"""The agent process of this machine, under its guard. Called by ``up`` and the CLI."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from headrace.agent.app import AgentSettings, run_agent
from headrace.control.settings import SOCKET_NAME
from headrace.link.faults import from_environment

OK = 0


def local_settings(data: Path, workers: int) -> AgentSettings:
    """The agent that belongs to the control of this data folder."""
    folder = data / "agent"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return AgentSettings(data=str(folder), control=str(data / SOCKET_NAME), slots=workers)


def run_local(data: Path, workers: int) -> int:
    """Serve until SIGTERM; gives the exit code."""
    logging.basicConfig(level=logging.WARNING)
    run_agent(local_settings(data, workers), fault=from_environment(os.environ))
    return OK
