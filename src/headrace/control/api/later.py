"""Calls that the contract names and a later version builds: whoever may call us gets "not available yet: …" (501).

They are no routes: nothing serves, describes or permits them. Taken out of this table on the day they work. Asked by
``control.api.entry``, after the credential, for what the route table does not know.
"""

from __future__ import annotations

from headrace.control.api.call import Call, Reply
from headrace.control.api.router import Router
from headrace.control.api.table import BASE, Route
from headrace.control.auth import Permission
from headrace.model.errors import NotAvailable

_SET = {"": "GET POST", "/{name}": "GET PUT PATCH DELETE", "/{name}/restore": "POST"}
"""What a full set of named things can do, by the end of the path."""
_PATHS: dict[str, dict[str, str]] = {
    "schedules": {
        **{f"/schedules{end}": methods for end, methods in _SET.items()},
        "/schedules/{name}/pause": "POST",
        "/schedules/{name}/resume": "POST",
        "/schedules/{name}/skip": "POST",
        "/schedules/{name}/fire": "POST",
        "/schedules/{name}/preview": "GET",
        "/schedules/simulate": "POST",
    },
    "calendars": {
        **{f"/calendars{end}": methods for end, methods in _SET.items()},
        "/calendars/{name}/days": "GET",
    },
    "secrets": {f"/secrets{end}": methods for end, methods in _SET.items()},
    "subscriptions": {f"/subscriptions{end}": methods for end, methods in _SET.items()},
    "deliveries": {
        "/deliveries": "GET",
        "/deliveries/{id}": "GET DELETE",
        "/deliveries/{id}/resend": "POST",
    },
    "approvals": {
        "/approvals": "GET",
        "/approvals/{id}": "GET",
        "/runs/{id}/tasks/{task}/approve": "POST",
        "/runs/{id}/tasks/{task}/reject": "POST",
    },
    "agents one by one": {
        "/agents/{id}": "GET DELETE",
        "/agents/{id}/accept": "POST",
        "/agents/{id}/drain": "POST",
        "/agents/{id}/resume": "POST",
        "/agents/{id}/metrics": "GET",
    },
    "agent tokens": {"/agent-tokens": "GET POST", "/agent-tokens/{name}": "DELETE", "/agents/{id}/tokens": "POST"},
}


async def _never(call: Call) -> Reply:
    raise NotAvailable("not available yet")


LATER: tuple[Route, ...] = tuple(
    Route(method=method, path=BASE + path, permission=Permission.me, handler=_never, summary=noun)
    for noun, paths in _PATHS.items()
    for path, methods in paths.items()
    for method in methods.split()
)
"""Every call of a later version; the summary is the noun."""


def later() -> Router:
    """Finds them."""
    return Router(LATER)


def refuse_later(router: Router, method: str, path: str) -> None:
    """Raise NotAvailable, naming what a later version brings, where this call is one of that."""
    found = router.find(path)
    endpoint = found[0].get("GET" if method == "HEAD" else method) if found else None
    if endpoint is not None:
        raise NotAvailable(f"not available yet: {endpoint.route.summary}")
