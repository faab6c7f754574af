"""The agent's end of the doorbell: dial, greet, pulse, ring; for ever.

Knows the ``Doorbell`` protocol only; how to dial comes in. Losing the doorbell loses nothing, so every error here ends
in dialing again. Called by ``agent.app`` and the simulator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from headrace.agent.attempts import Attempts
from headrace.link.port import Bell, Doorbell
from headrace.link.records import Welcome
from headrace.link.session import PULSE_S, AgentLink
from headrace.model.errors import LinkError
from headrace.model.ports import Clock, Dice

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 2.0


class BellKeeper:
    """Keeps one doorbell to control open."""

    def __init__(self, link: AgentLink, dial: Callable[[], Awaitable[Doorbell]], *, clock: Clock, dice: Dice) -> None:
        self._link = link
        self._dial = dial
        self._clock = clock
        self._dice = dice
        self._ring = asyncio.Event()

    def ring(self) -> None:
        """Pulse now: outcomes wait and nobody holds a GET open, or there is other news."""
        self._ring.set()

    async def run(self, attempts: Attempts) -> None:
        """Until canceled."""
        pause = BACKOFF_FIRST_S
        while True:
            try:
                bell = await self._dial()
            except LinkError:
                await asyncio.sleep(pause * (0.75 + 0.5 * self._dice.random()))
                pause = min(2 * pause, BACKOFF_MAX_S)
                continue
            try:
                await self._keep(bell, attempts)
            except LinkError:
                pause = BACKOFF_FIRST_S
            finally:
                self._link.cut()
                await bell.close()
            await asyncio.sleep(pause * (0.75 + 0.5 * self._dice.random()))

    async def _keep(self, bell: Doorbell, attempts: Attempts) -> None:
        await bell.send(self._link.dialed(attempts.outbox.last, draining=attempts.draining))
        try:
            async with asyncio.timeout(10 * PULSE_S):
                self._hear(await bell.recv(), attempts)
        except TimeoutError as e:
            raise LinkError("control did not answer the hello") from e
        pulsing = asyncio.ensure_future(self._pulse(bell, attempts))
        hearing: asyncio.Future[Bell] | None = None
        try:
            while True:
                hearing = asyncio.ensure_future(bell.recv())
                await asyncio.wait((hearing, pulsing), return_when=asyncio.FIRST_COMPLETED)
                if pulsing.done():
                    hearing.cancel()
                    pulsing.result()
                self._hear(hearing.result(), attempts)
        finally:
            pulsing.cancel()
            if hearing is not None:
                hearing.cancel()

    def _hear(self, record: object, attempts: Attempts) -> None:
        self._link.heard(record, self._clock.monotonic())
        if isinstance(record, Welcome):
            attempts.renote()

    async def _pulse(self, bell: Doorbell, attempts: Attempts) -> None:
        loop = asyncio.get_running_loop()
        while True:
            rings = self._ring.is_set()
            self._ring.clear()
            load = min(1.0, attempts.running / attempts.slots) if attempts.slots else 0.0
            pulse = self._link.pulse(
                self._clock.monotonic(),
                load=load,
                running=attempts.running,
                queued=attempts.queued,
                bell=rings,
                draining=attempts.draining,
            )
            await bell.send(pulse)
            due = loop.time() + PULSE_S
            try:
                async with asyncio.timeout_at(due):
                    await self._ring.wait()
            except TimeoutError:
                continue
