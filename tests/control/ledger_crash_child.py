"""A life of a ledger that ends by SIGKILL at a named fault point: run by test_ledger_crash as a process of its own.

Prints each acknowledged run as soon as it is acknowledged, and the blobs it was given.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from ledger_world import ALICE, settle, world


async def live(folder: Path, point: str, nth: int) -> None:
    count = 0

    def fault(name: str, /) -> None:
        nonlocal count
        if name == point:
            count += 1
            if count == nth:
                os.kill(os.getpid(), signal.SIGKILL)

    async with world(folder, fault=fault, inline=False) as w:
        graph = await w.one_task()

        async def asker() -> None:
            while True:
                change = await w.submit(graph)
                await w.ledger.ask(change, ALICE)
                sys.stdout.write(f"run {change.run}\n")
                sys.stdout.flush()
                for d in w.dispatches(change.run):
                    await w.ledger.ask_many([settle(d, result=b'"%020d' % change.run + b"r" * 300_000 + b'"')], ALICE)
                    sys.stdout.write(f"end {change.run}\n")
                    sys.stdout.flush()

        await asyncio.gather(*(asker() for _ in range(4)))


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
