"""The agent of this machine, as a process under its guard. Called by ``up`` and the CLI.

The guard starts this file with one argument, the settings as JSON, and starts it again when it dies. The heavy imports
happen in that process only.
"""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from pathlib import Path
from socket import gethostname
from typing import Any

from headrace.agent.guard import guard_command

OK = 0
REFUSED = 3


def agent_command(settings: dict[str, Any]) -> list[str]:
    """The argument list of a guard with an agent of these settings (``agent.app.AgentSettings`` as a dictionary)."""
    import json  # only the starting process needs it

    return guard_command([sys.executable, "-m", "headrace.cli.agent", json.dumps(settings)])


def machine_labels() -> dict[str, str]:
    """The labels that every agent has: what its machine is, as ``{os: linux, arch: x86_64, host: mill}``."""
    machine = os.uname()
    return {"os": machine.sysname.lower(), "arch": machine.machine, "host": gethostname()}


def local_command(data: Path, socket: Path, given: dict[str, Any], *, shared: bool = False) -> list[str]:
    """The guard and agent that belong to the control of this data folder, with these settings beside what belongs to the
    folder. ``shared``: others use its store too.
    """
    folder = data / "agent"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = {"name": name_on(gethostname(), folder)} if shared else {}
    return agent_command({"data": str(folder), "control": str(socket), **given, **name})


def name_on(host: str, folder: Path) -> str:
    """An agent's name among those of a shared store: one machine may have several, each on a folder of its own."""
    return f"{host}-{sha256(bytes(folder.resolve())).hexdigest()[:4]}"


def main(text: str) -> int:
    """One life of the agent; gives the exit code."""
    from headrace.cli.lean import import_loop_without_tls

    import_loop_without_tls()
    import logging

    import msgspec

    from headrace.agent.app import AgentSettings, run_agent
    from headrace.link.faults import from_environment
    from headrace.model.errors import Busy

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        run_agent(msgspec.json.decode(text, type=AgentSettings), fault=from_environment(os.environ))
    except Busy as e:
        print(f"headrace agent: {e}", file=sys.stderr)
        return REFUSED
    return OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
