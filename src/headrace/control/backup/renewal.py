"""The first start of a restored store: what agents had at the backup is lost, because nobody knows what became of it.

Every attempt that was given out is told lost with that reason (``on_lost`` says what follows), and every agent's life is
over: one that still runs begins a new one. Done once per restore, before any agent is heard. Called by ``control.app``.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct, structs

from headrace.control.changes.agents import AGENT, read_agent
from headrace.control.changes.named import Decided, Rows
from headrace.control.ledger import Ledger
from headrace.model.changes import Lose, Origin
from headrace.model.ids import TaskKey
from headrace.store.port import Reader
from headrace.store.restored import Mark, read_mark
from headrace.store.rows import Entity, EntityKey

RESTORE = "restore"
UNKNOWN = "a backup was restored: what became of it since is unknown"
ORIGIN = Origin("system", "control", "a backup was restored")
PAGE = 500

_encode = msgspec.msgpack.Encoder().encode


class Renewed(Struct, frozen=True):
    """The first start is over: no agent's life of before goes on."""

    mark: Mark
    agents: tuple[str, ...]

    def names(self) -> tuple[EntityKey, ...]:
        """The restore's own row, and the agents'."""
        return (key_of(self.mark), *((AGENT, name) for name in self.agents))

    def digests(self) -> tuple[bytes, ...]:
        """No document."""
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Once per restore."""
        key = key_of(self.mark)
        if key in rows.entities:
            return Decided()
        written = [Entity(*key, 1, now, now, _encode(self.mark), facts=b"restored")]
        for name in self.agents:
            old = rows.entities.get((AGENT, name))
            if old is not None:
                over = structs.replace(read_agent(old.image), boot_id=f"restored-{self.mark.restored_at}")
                image, version = _encode(over), old.version + 1
                written.append(structs.replace(old, version=version, updated_at=now, image=image, facts=b"restored"))
        return Decided(entities=tuple(written))


def key_of(mark: Mark) -> EntityKey:
    """The row that says that this restore's first start is over."""
    return RESTORE, str(mark.restored_at)


async def renew(reader: Reader, ledger: Ledger) -> int:
    """Do it if a restore asks for it and it is not done; gives how many attempts were told lost."""
    found = await reader.statement("restored", {})
    if not found:
        return 0
    mark = read_mark(found[0][0])
    if await reader.entity(key_of(mark)) is not None:
        return 0
    lost, names, after = 0, [], ""
    while rows := await reader.entities(AGENT, after=after, limit=PAGE, deleted=True):
        for row in rows:
            lost += await _lose(reader, ledger, read_agent(row.image).number)
        names += [row.name for row in rows]
        after = rows[-1].name
    await ledger.change(Renewed(mark, tuple(names)), ORIGIN)
    return lost


async def _lose(reader: Reader, ledger: Ledger, agent: int) -> int:
    lost = 0
    after: TaskKey | None = None
    while rows := await reader.leased(agent, after, PAGE):
        await ledger.ask_many([Lose(r.run, r.no, r.index, r.epoch, UNKNOWN) for r in rows], ORIGIN)
        lost += len(rows)
        after = (rows[-1].run, rows[-1].no, rows[-1].index)
    return lost
