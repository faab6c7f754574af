"""An agent says hello: its number, how many lives it has had, the link epoch, and how far its outcomes are applied.

Pure. Everything an older link or an older life still says is outdated by the numbers raised here. Called by the ledger.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct, structs

from headrace.control.changes.named import Decided, Rows
from headrace.model.errors import Conflict
from headrace.store.rows import Entity, EntityKey

AGENT = "agent"

_encode = msgspec.msgpack.Encoder().encode


class AgentRecord(Struct, frozen=True, array_like=True):
    """The image of an agent. ``node`` is the life of a control that it is, or was, linked to; ``boot`` counts its own lives; ``after`` is the last outcome of this life that is applied."""

    number: int
    boot: int
    boot_id: str
    link_epoch: int
    node: int = 0
    after: int = 0
    slots: int = 0
    labels: dict[str, str] = {}
    version: str = ""
    address: str = ""


class AgentLinked(Struct, frozen=True):
    """What ``AgentHello`` gives."""

    number: int
    boot: int
    link_epoch: int
    after: int


read_agent = msgspec.msgpack.Decoder(AgentRecord).decode


class AgentHello(Struct, frozen=True):
    """An agent opened its doorbell to ``node``. ``number`` is a reserved one, used when the agent is new."""

    name: str
    boot_id: str
    number: int
    node: int = 0
    slots: int = 0
    labels: dict[str, str] = {}
    version: str = ""
    address: str = ""

    def names(self) -> tuple[EntityKey, ...]:
        return ((AGENT, self.name),)

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Raise the link epoch; a new boot id begins a new life with a cursor of 0."""
        old = rows.entities.get((AGENT, self.name))
        before = None if old is None else read_agent(old.image)
        reborn = before is None or before.boot_id != self.boot_id
        number = self.number if before is None else before.number
        boot = (0 if before is None else before.boot) + reborn
        epoch = (0 if before is None else before.link_epoch) + 1
        after = 0 if before is None or reborn else before.after
        record = AgentRecord(
            number, boot, self.boot_id, epoch, self.node, after, self.slots, self.labels, self.version, self.address
        )
        entity = Entity(
            AGENT,
            self.name,
            1 if old is None else old.version + 1,
            now if old is None else old.created_at,
            now,
            _encode(record),
            facts=b"born" if reborn else b"linked",
        )
        return Decided(AgentLinked(number, boot, epoch, after), entities=(entity,))


def advanced(entity: Entity, boot_id: str, after: int) -> Entity:
    """The agent's row with its cursor at ``after``: no history, the version stays. Another life is a conflict."""
    record = read_agent(entity.image)
    if record.boot_id != boot_id:
        raise Conflict(f"agent {entity.name} lives as {record.boot_id}; {boot_id} is an older life of it")
    moved = structs.replace(record, after=max(record.after, after))
    return structs.replace(entity, image=_encode(moved), facts=b"")
