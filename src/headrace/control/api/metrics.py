"""``GET /metrics`` for Prometheus and ``GET /stats`` for people: what this control has done and what there is to do."""

from __future__ import annotations

import headrace
from headrace.control.api.call import Call, Reply
from headrace.control.api.table import BASE, TEXT, Route
from headrace.control.auth import Permission
from headrace.control.metrics import Exposition, process
from headrace.core.eligible import places_free
from headrace.model.states import RunState
from headrace.model.views import StatsView


async def get_metrics(call: Call) -> Reply:
    """``GET /metrics``: Prometheus's text format."""
    out = Exposition()
    out.values(
        "headrace_info", "gauge", "Which Headrace this is.",
        [({"version": headrace.__version__, "store": call.services.store_name}, 1)],
    )  # fmt: skip
    await _work(call, out)
    _ledger(call, out)
    _watching(call, out)
    _requests(call, out)
    process(out)
    return Reply(body=out.text(), media=TEXT, headers=())


async def get_stats(call: Call) -> Reply:
    """``GET /stats``: the same in short."""
    services = call.services
    reader, counters = services.reader, services.ledger.counters
    counts = await reader.counts()
    open_runs = await reader.open_by_state()
    offers = services.offers()
    return Reply(
        StatsView(
            runs={RunState(state).name: count for state, count in sorted(open_runs.items())},
            tasks={"ready": counts["ready"], "leased": counts["leased"], "due": counts["due"]},
            submitted=counters.submitted,
            settled=counters.settled,
            commits=counters.groups,
            agents=len({offer.agent for offer in offers}),
            slots_free=places_free(offers),
            watchers=services.tail.watchers,
        )
    )


async def _work(call: Call, out: Exposition) -> None:
    reader = call.services.reader
    counts = await reader.counts()
    by_state = await reader.open_by_state()
    states = [state for state in RunState if state < RunState.succeeded]
    out.values(
        "headrace_runs_open", "gauge", "Runs that have not ended, by state.",
        [({"state": state.name}, by_state.get(int(state), 0)) for state in states],
    )  # fmt: skip
    out.values(
        "headrace_tasks_live", "gauge", "Tasks that wait for room (ready), are with an agent (leased), wait for a time (due).",
        [({"state": name}, counts[name]) for name in ("ready", "leased", "due")],
    )  # fmt: skip
    offers = call.services.offers()
    linked = len({offer.agent for offer in offers})
    out.value("headrace_agents_linked", "gauge", "Agents linked to this control.", linked)
    out.value("headrace_slots", "gauge", "Slots of these agents.", sum(offer.slots for offer in offers))
    out.value("headrace_slots_free", "gauge", "Slots that are free.", places_free(offers))


def _ledger(call: Call, out: Exposition) -> None:
    ledger = call.services.ledger
    counters = ledger.counters
    for name, text, value in (
        ("runs_submitted", "Runs made by this control.", counters.submitted),
        ("outcomes_settled", "Outcomes of attempts that agents told this control.", counters.settled),
        ("ledger_groups", "Groups of changes committed.", counters.groups),
        ("ledger_changes", "Changes decided.", counters.changes),
        ("ledger_refused", "Changes refused.", counters.refused),
        (
            "ledger_stale",
            "Outcomes refused by their epoch: of attempts that were not the newest any more.",
            counters.stale,
        ),
        ("ledger_deferred", "Changes put off because another control held their rows.", counters.deferred),
        ("ledger_unknown", "Groups of which nobody could say whether they were committed.", counters.unknown),
        ("ledger_away", "Tries to commit while the store was away.", counters.away),
    ):
        out.value(f"headrace_{name}_total", "counter", text, value)
    if (limbo := call.services.limbo) is not None:
        out.value(
            "headrace_limbo_looked_total", "counter", "Looks whether something will happen to a run.", limbo.looked
        )
        out.value("headrace_limbo_found_total", "counter", "Runs to which nothing was going to happen.", limbo.found)
    out.histogram("headrace_ledger_group_size", "Changes of a group.", counters.sizes)
    out.histogram("headrace_ledger_group_seconds", "From a group's first load until it is durable.", counters.seconds)
    out.value("headrace_ledger_stuck_seconds", "gauge", "Since the last commit, while changes wait.", ledger.stuck_for)


def _watching(call: Call, out: Exposition) -> None:
    tail = call.services.tail
    out.value("headrace_watchers", "gauge", "Open streams of events.", tail.watchers)
    out.histogram(
        "headrace_event_lag_seconds", "From the commit of an event until it can be sent to watchers.", tail.lag
    )


def _requests(call: Call, out: Exposition) -> None:
    requests = call.services.requests
    out.values(
        "headrace_http_requests_total", "counter", "Requests answered, by method, route and status.",
        [
            ({"method": method, "route": route, "status": str(status)}, count)
            for (method, route, status), count in sorted(requests.counts.items())
        ],
    )  # fmt: skip
    out.histogram(
        "headrace_http_request_seconds", "From a request's head until its answer is written.", requests.seconds
    )


ROUTES = (
    *(
        Route(
            method="GET",
            path=prefix + "/metrics",
            permission=Permission.system_read,
            handler=get_metrics,
            summary="This control's numbers in Prometheus's text format",
            media=(TEXT,),
        )
        for prefix in (BASE, "")
    ),
    Route(
        method="GET",
        path=BASE + "/stats",
        permission=Permission.system_read,
        handler=get_stats,
        summary="What there is to do and what this control has done since it began",
        response=StatsView,
    ),
)
