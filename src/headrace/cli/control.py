"""The control process: an event loop, signals and an exit code around ``control.app``. Called by ``up`` and the CLI."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys

import uvloop

from headrace.control.app import Control, open_control
from headrace.control.settings import ControlSettings
from headrace.link.faults import from_environment
from headrace.model.errors import HeadraceError
from headrace.model.ports import Fault

OK, FAILED, REFUSED = 0, 1, 3
SWITCH_S = 0.0005
"""How long the loop's thread may keep the interpreter from a thread that waits for it (measured in hot-path.md, A2)."""


def run(settings: ControlSettings, *, ready_fd: int = -1, quiet: bool = False) -> int:
    """Serve until SIGTERM. ``ready_fd`` is told the URL when requests are answered. Gives the exit code."""
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(50_000, 25, 50)
    try:
        fault = from_environment(os.environ)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, fault, ready_fd))
    except HeadraceError as e:
        print(f"headrace control: {e}", file=sys.stderr, flush=True)
        return REFUSED if e.status in (409, 422, 503, 400) else FAILED
    return OK


async def _serve(settings: ControlSettings, fault: Fault, ready_fd: int) -> None:
    loop = asyncio.get_running_loop()
    until = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, until.set)
    control: Control = await open_control(settings, fault=fault)
    try:
        gc.freeze()
        if ready_fd >= 0:
            os.write(ready_fd, f"{control.url}\n".encode())
        await control.run(until)
    finally:
        await control.close()
