"""One control inside a running event loop: signals in, ``control.app`` around. Called by ``cli.control``."""

from __future__ import annotations

import asyncio
import gc
import os
import signal

from headrace.control.app import open_control
from headrace.control.settings import ControlSettings
from headrace.model.ports import Fault


async def serve(settings: ControlSettings, fault: Fault, ready_fd: int) -> None:
    """Until SIGTERM or SIGINT. Raises what kept control from starting or going on."""
    until = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, until.set)
    control = await open_control(settings, fault=fault)
    try:
        gc.freeze()
        if ready_fd >= 0:
            os.write(ready_fd, f"{control.url}\n".encode())
        await control.run(until)
    finally:
        await control.close()
