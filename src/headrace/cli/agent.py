"""The agent of this machine, as a process under its guard. Started by the guard.

The guard starts this file with one argument, the settings as JSON, and starts it again when it dies. The heavy imports
happen in that process only.
"""

from __future__ import annotations

import os
import sys

from headrace.cli.lean import import_lean

OK = 0
REFUSED = 3


def main(text: str) -> int:
    """One life of the agent; gives the exit code."""
    import_lean()
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
