"""The API of control: one route table, served by one small ASGI application.

``build_api(services)`` gives the application. Everything a caller can reach is in ``control.api.routes``.
"""

from __future__ import annotations

from headrace.control.api.dispatch import ASGIApp, Dispatch
from headrace.control.api.routes import all_routes
from headrace.control.api.services import Services

__all__ = ["Services", "build_api"]


def build_api(services: Services) -> ASGIApp:
    """The ASGI application of the whole API. Refuses a table with two routes at one place."""
    return Dispatch(services, all_routes())
