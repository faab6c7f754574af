"""The argument lists of the processes that a server is made of. Called by ``up`` and the CLI, which start them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from headrace.agent.guard import guard_command
from headrace.control.settings import ControlSettings


def control_command(settings: ControlSettings) -> list[str]:
    """The argument list of a control process with these settings."""
    return [sys.executable, "-m", "headrace.cli.control", msgspec.json.encode(settings, enc_hook=str).decode()]


def agent_command(settings: dict[str, Any]) -> list[str]:
    """The argument list of a guard with an agent of these settings (``agent.app.AgentSettings`` as a dictionary)."""
    return guard_command([sys.executable, "-m", "headrace.cli.agent", json.dumps(settings)])


def machine_labels() -> dict[str, str]:
    """The labels that every agent has: what its machine is, as ``{os: linux, arch: x86_64, host: mill}``."""
    machine = os.uname()
    return {"os": machine.sysname.lower(), "arch": machine.machine, "host": machine.nodename}


def local_command(data: Path, socket: Path, given: dict[str, Any], *, shared: bool = False) -> list[str]:
    """The guard and agent that belong to the control of this data folder, with these settings beside what belongs to the
    folder. ``shared``: others use its store too.
    """
    folder = data / "agent"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = {"name": name_on(os.uname().nodename, folder)} if shared else {}
    return agent_command({"data": str(folder), "control": str(socket), **given, **name})


def name_on(host: str, folder: Path) -> str:
    """An agent's name among those of a shared store: one machine may have several, each on a folder of its own."""
    from hashlib import sha256  # OpenSSL: 8 ms of a start that has no shared store

    return f"{host}-{sha256(bytes(folder.resolve())).hexdigest()[:4]}"
