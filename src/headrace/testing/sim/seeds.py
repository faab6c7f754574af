"""One seed, one world: it lives, heals, comes to rest and is checked. Called by the command and by tests."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headrace.model.definition import JobDefinition
from headrace.model.errors import HeadraceError
from headrace.testing.sim.acted import OwnJobs
from headrace.testing.sim.checker import check, held, mend, resume, transitions, unfinished
from headrace.testing.sim.loop import Stuck
from headrace.testing.sim.world import HEALED_S, Outcome, Plan, World


def simulate(
    seed: int,
    plan: Plan | None = None,
    *,
    jobs: Sequence[JobDefinition | Mapping[str, Any]] = (),
    params: Mapping[str, Mapping[str, Any]] | None = None,
) -> Outcome:
    """Run the world of this seed and check it. Never raises for a broken invariant: they are in ``Outcome.broken``.

    ``jobs``: definitions that are submitted instead of made ones, their tasks' work played by dice; ``params`` are their
    parameters, by the job's name. Raises Invalid when those do not fit the schema.
    """
    own = OwnJobs(jobs, params or {})
    own.check()
    hook, collecting = sys.unraisablehook, gc.isenabled()
    # What dead processes leave (coroutines, open files) is collected at the end and without a word, not amidst a world.
    gc.disable()
    gc.freeze()
    try:
        outcome = _simulate(seed, plan, own)
        sys.unraisablehook = lambda _: None
        gc.collect()
    finally:
        sys.unraisablehook = hook
        gc.unfreeze()
        if collecting:
            gc.enable()
    return outcome


def _simulate(seed: int, plan: Plan | None, own: OwnJobs) -> Outcome:
    folder = Path(tempfile.mkdtemp(prefix="headrace-sim-", dir=_memory()))
    world = World(seed, folder, plan, own)
    asyncio.set_event_loop(world.loop)
    try:
        world.loop.run_until_complete(_whole(world))
    except Stuck as error:
        world.outcome.broken.append(f"I6 {error}")
    except HeadraceError as error:
        world.outcome.broken.append(f"the world itself failed: {error!r}")
    finally:
        world.outcome.callbacks = world.loop.callbacks
        _end(world, folder)
    return world.outcome


def _memory() -> str | None:
    """A folder in memory where there is one: the simulated disk decides what is durable, not the real one."""
    return "/dev/shm" if "TMPDIR" not in os.environ and Path("/dev/shm").is_dir() else None


def _end(world: World, folder: Path) -> None:
    """Free what the world had open."""
    for process in (world.control.process, world.machine.process):
        if process is not None:
            process.kill()
    for task in asyncio.all_tasks(world.loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001  they died on purpose
        # Unwound here one by one: the collector, which would do it, has crashed over coroutines that wait for each other.
        with contextlib.suppress(BaseException):
            task.get_coro().close()
    world.control.close()
    world.loop.end()
    asyncio.set_event_loop(None)
    shutil.rmtree(folder, ignore_errors=True)


async def _come_to_rest(world: World) -> None:
    deadline = world.loop.time() + HEALED_S
    while world.loop.time() < deadline:
        await asyncio.sleep(1.0)
        if not world.control.alive:
            continue
        left = await unfinished(world)
        if not left and not world.ground.alive:
            break
        await resume(world, left)
        await mend(world)
        for run in await held(world, left):
            await world.cancel(run)


async def _whole(world: World) -> None:
    supervisor = await world.live()
    await _come_to_rest(world)
    while not world.outcome.broken and await transitions(world) < world.plan.transitions:
        await world.go_on()
        await _come_to_rest(world)
    await check(world)
    supervisor.cancel()
    world.outcome.virtual_s = world.loop.time()
