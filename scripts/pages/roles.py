"""docs/reference/roles.md, from the table of roles and the route table."""

from __future__ import annotations

from headrace.control.api.routes import all_routes
from headrace.control.api.table import BASE, Route
from headrace.control.auth import ROLES, Permission, Role
from pages.words import GENERATED, anchor, table

INTRO = """# Roles and permissions

Every call asks for one permission: a noun and a verb. A user has a role; a session holds all permissions of its user's
role; an access token those of its role, or of them only its scopes, and never more than its user may. A run's own token
(`HEADRACE_TOKEN` in an attempt) reads its own run and opens nothing else. Without a credential every call but the public
ones is refused with 401, with one that may not with 403.

* **admin**: everything.
* **operator**: sees everything but people; starts and stops what others have defined; brings no code and no commands.
* **watcher**: sees everything but people; changes nothing.
"""
PEOPLE = (Role.admin, Role.operator, Role.watcher)


def page() -> str:
    """The whole page."""
    routes = all_routes()
    return "\n".join(
        [
            GENERATED,
            INTRO,
            "## Permissions\n",
            table(("permission", *(r.value for r in PEOPLE), "opens"), [_permission(p, routes) for p in Permission]),
            "## Calls\n",
            table(("call", "permission", *(r.value for r in PEOPLE), "a run's own token"), [_call(r) for r in routes]),
        ]
    )


def _permission(permission: Permission, routes: tuple[Route, ...]) -> tuple[str, ...]:
    opened = sum(r.permission is permission for r in routes)
    held = ("yes" if permission in ROLES[role] else "" for role in PEOPLE)
    return f"`{permission.value}`", *held, f"{opened} call{'s' * (opened != 1)}"


def _call(route: Route) -> tuple[str, ...]:
    name = f"{route.method} {route.path.removeprefix(BASE)}"
    link = f"[`{name}`](rest.md#{anchor(f'{route.method} {route.path}')})"
    if route.permission is Permission.public:
        return link, "none", *("anybody",) * len(PEOPLE), "anybody"
    held = ("yes" if route.permission in ROLES[role] else "" for role in PEOPLE)
    return link, f"`{route.permission.value}`", *held, "its own run" if route.run_token else ""
