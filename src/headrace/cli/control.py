"""The control process: an event loop, signals and an exit code around ``control.app``. Started by the supervisor.

``main`` takes the settings as JSON, and from the supervisor the descriptor to say "ready" on and the process that it
must not outlive. The heavy imports happen in that process only.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from headrace.cli.lean import import_lean
from headrace.codec.lean import import_records

if TYPE_CHECKING:
    from headrace.control.settings import ControlSettings

OK, FAILED, REFUSED = 0, 1, 3
SWITCH_S = 0.0005
"""How long the loop's thread may keep the interpreter from a thread that waits for it (measured in hot-path.md, A2)."""


def run(settings: ControlSettings, *, ready_fd: int = -1) -> int:
    """Serve until SIGTERM. ``ready_fd`` is told the URL when requests are answered. Gives the exit code."""
    os.umask(0o077)
    import_lean(tls=bool(settings.tls_cert))
    import asyncio
    import gc
    import logging

    import uvloop

    from headrace.cli.serving import serve
    from headrace.link.faults import from_environment
    from headrace.model.errors import Busy, HeadraceError, Invalid

    logging.basicConfig(
        level=logging.WARNING if settings.quiet else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(50_000, 25, 50)
    try:
        fault = from_environment(os.environ)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, fault, ready_fd))
    except HeadraceError as e:
        print(f"headrace control: {e}", file=sys.stderr, flush=True)
        return REFUSED if isinstance(e, Busy | Invalid) else FAILED
    except OSError as e:  # a disk that is full, a folder that went away
        where = f"{e.filename}: " if e.filename else ""
        print(f"headrace control: {where}{e.strerror}", file=sys.stderr, flush=True)
        return FAILED
    return OK


def main(words: list[str]) -> int:
    """What the supervisor starts; gives the exit code."""
    from headrace.cli.children import die_with_parent

    if len(words) > 2:
        die_with_parent(int(words[2]))
    import_records()
    import msgspec

    from headrace.control.settings import ControlSettings

    settings = msgspec.json.decode(words[0], type=ControlSettings, dec_hook=lambda kind, value: kind(value))
    return run(settings, ready_fd=int(words[1]) if len(words) > 1 else -1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
