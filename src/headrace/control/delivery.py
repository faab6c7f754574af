"""What a link's feed brings to the ledger. A record; made by ``control.loops.outcomes``, worked off by ``control.group``."""

from __future__ import annotations

from msgspec import Struct

from headrace.control.placement import Name
from headrace.model.changes import Settle, Started
from headrace.store.rows import ArtifactRow


class Delivery(Struct, frozen=True):
    """What one reading of a feed asks of the ledger: one commit, or several of which the last moves the cursor (agent,
    boot, ``after``). ``artifacts`` are the files of each outcome, by attempt: kept in the commit that accepts it.
    """

    agent: int
    name: str
    boot: int
    boot_id: str
    after: int
    settles: list[Settle]
    started: list[Started]
    artifacts: dict[Name, list[ArtifactRow]]
