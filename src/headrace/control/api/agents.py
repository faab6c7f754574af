"""Agents as control knows them: a list. Reads only."""

from __future__ import annotations

from headrace.control.api.call import Call, Reply
from headrace.control.api.table import BASE, PAGE, Route
from headrace.control.auth import Permission
from headrace.control.changes.agents import AGENT, read_agent
from headrace.model.views import AgentPage, AgentView


async def list_agents(call: Call) -> Reply:
    """``GET /agents``: every agent that ever said hello, by name."""
    limit = call.limit()
    rows = await call.services.reader.entities(AGENT, after=call.text("cursor") or "", limit=limit)
    linked = {offer.agent: offer for offer in call.services.offers()}
    items = []
    for row in rows:
        record = read_agent(row.image)
        offer = linked.get(record.number)
        items.append(
            AgentView(
                id=record.number,
                name=row.name,
                state="away" if offer is None else "draining" if offer.draining else "linked",
                boot=record.boot_id,
                slots=record.slots,
                labels=record.labels,
                running=0 if offer is None else max(0, offer.slots - offer.free),
            )
        )
    return Reply(AgentPage(items=items, next_cursor=rows[-1].name if len(rows) == limit else None))


ROUTES = (
    Route(
        method="GET",
        path=BASE + "/agents",
        as_of=True,
        permission=Permission.agents_read,
        handler=list_agents,
        summary="The machines that do the work",
        response=AgentPage,
        query=PAGE,
    ),
)
