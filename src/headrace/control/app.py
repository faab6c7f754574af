"""Control, wired: settings in; a store, a ledger, the loops and two doors out.

It opens a concrete store; besides it only ``control.backup.process`` names one. It contains no rule; the order of start
and end is all it decides. Called by ``cli.control`` and tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from functools import partial
from time import thread_time

from headrace.control.api import build_api
from headrace.control.api.services import Services as ApiServices
from headrace.control.auth import Auth
from headrace.control.backup.renewal import renew
from headrace.control.backup.service import ASKED, Backups
from headrace.control.changes.admin import AdminToken, RunSecret
from headrace.control.clock import SystemClock
from headrace.control.connect import connect
from headrace.control.credentials import mint_token
from headrace.control.folder import DataFolder
from headrace.control.node import Node
from headrace.control.progress import Progress
from headrace.control.server import Doors, bind
from headrace.control.settings import ControlSettings
from headrace.control.tls import check_doors, context_of, names_of, url_of
from headrace.model.changes import SYSTEM
from headrace.model.errors import Busy, HeadraceError, Invalid, StoreError
from headrace.model.ports import Clock, Fault, no_fault
from headrace.store.port import Store

log = logging.getLogger("headrace.control")
ANSWER_S = 0.3
"""So long an answer may take to leave before control ends."""
RESTORE_ENDS_S = 5.0
LOOK_AGAIN_S = 0.05


class Control:
    """One control process with its doors open. Made by ``open_control``."""

    def __init__(self, node: Node, doors: Doors, folder: DataFolder, url: str) -> None:
        self.node = node
        self.url = url
        self._doors = doors
        self._folder = folder

    async def run(self, until: asyncio.Event) -> None:
        """Serve until the event is set. Raises StoreError, chained from what failed, when a loop could not go on."""
        waiting = [asyncio.ensure_future(until.wait()), asyncio.ensure_future(self.node.failure())]
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        error = done.pop().result()
        if isinstance(error, BaseException):
            raise StoreError(f"control cannot go on: {error}") from error

    async def close(self) -> None:
        """Close the doors, end the loops, close the store."""
        self._folder.withdraw()
        self.node.waiters.end()
        await self._doors.close()
        await self.node.close()


async def open_control(settings: ControlSettings, *, fault: Fault = no_fault) -> Control:
    """Take the data folder, open the store, start the loops, open the doors. Raises Busy or StoreError."""
    check_doors(settings)
    tls = context_of(settings)
    folder = DataFolder(settings.data)
    await _take(folder)
    tcp = _bind(settings, folder)
    port = tcp.getsockname()[1]
    url = url_of(settings, port)
    clock = SystemClock()
    backups = Backups(settings.data, settings.store, clock)
    await _restore(backups, folder.lock)
    store = await _open_store(settings, clock, fault)
    alone = not settings.store
    dice = random.Random()  # noqa: S311 -- jitter only
    node = Node(store, clock=clock, dice=dice, fault=fault, worked=thread_time, alone=alone)
    links = await node.start(secret=folder.secret(), url=url, connect=connect)
    node.trust((await node.ledger.change(RunSecret(node.secret), SYSTEM)).value)
    if lost := await renew(node.store.reader, node.ledger):
        log.warning("a backup was restored: what became of %d attempts since is unknown; they count as lost", lost)
    token, _ = mint_token()
    await node.ledger.change(AdminToken(folder.admin_token(token)), SYSTEM)
    services = ApiServices(
        ledger=node.ledger,
        reader=node.store.reader,
        blobs=node.store.blobs,
        auth=Auth(node.store.reader, clock, run_secret=node.secret),
        clock=clock,
        ids=node.ids,
        graphs=node.graphs,
        jobs=node.jobs,
        values=node.values,
        waiters=node.waiters,
        tail=node.tail,
        agents=links.calls,
        offers=node.placement.offers,
        waiting=lambda: node.placement.waiting,
        ready=node.problems,
        progress=Progress(lambda: node.placement.given_out),
        limbo=node.check_limbo(),
        hosts=names_of(settings, url),
        alone=alone,
        store_name="postgres" if settings.store else "sqlite",
        store_settings=node.store.identity.settings,
        backups=backups,
        begin_anew=partial(_begin_anew, node),
    )
    doors = Doors(build_api(services), links.serve)
    await doors.open(tcp, settings.socket, tls)
    folder.announce(url)
    return Control(node, doors, folder, url)


async def _take(folder: DataFolder) -> None:
    """Hold the folder. A restore that an earlier life began holds it too: it ends with that life, but not in no time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + RESTORE_ENDS_S
    while True:
        try:
            return folder.take()
        except Busy:
            if not (folder.path / ASKED).exists() or loop.time() > deadline:
                raise
        await asyncio.sleep(LOOK_AGAIN_S)


async def _restore(backups: Backups, lock: int) -> None:
    """Restore what was asked for before this start. A restore that is refused leaves everything as it was."""
    try:
        done = await backups.restore_if_asked(lock)
    except HeadraceError as error:
        log.error("the backup was not restored, nothing was changed: %s", error)
        return
    if done is not None and done.restored is not None:
        log.warning(
            "a backup was restored: incarnation %d; before: %s", done.restored.incarnation, done.restored.set_aside
        )


def _begin_anew(node: Node, why: str) -> None:
    """End this life when the answer that is being written is out."""
    asyncio.get_running_loop().call_later(ANSWER_S, node.failed, StoreError(why))


def _bind(settings: ControlSettings, folder: DataFolder) -> socket.socket:
    """The address asked for. Any free port: the last life's again where it can be had, for attempts that know it."""
    last = folder.last_port() if settings.port == 0 else 0
    if last:
        with contextlib.suppress(Busy):
            return bind(settings.host, last)
    return bind(settings.host, settings.port)


async def _open_store(settings: ControlSettings, clock: Clock, fault: Fault) -> Store:
    if not settings.store:
        from headrace.store.sqlite.store import open_sqlite  # each store brings its driver along

        return await open_sqlite(str(settings.data), clock=clock, fault=fault)
    if settings.store.startswith(("postgresql://", "postgres://")):
        from headrace.store.postgres.store import open_store  # an optional extra

        return await open_store(settings.store, fault=fault)
    raise Invalid(f"no store is called {settings.store!r}: leave it empty for SQLite, or give a postgresql:// URL")
