"""What ``Client`` has of each noun: ``get list put delete`` and what else the server can do with it.

Lists are lazy: page by page, as far as somebody looks. ``client.anouns`` says the same for asyncio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from headrace.client import flow, keeping, people
from headrace.client.flow import Flow, Page
from headrace.client.handle import Asks, Run
from headrace.model import views
from headrace.model.errors import NotFound
from headrace.model.people import TokenView, UserView


def pages(client: Asks, page_of: Callable[[str | None], Flow[Any]]) -> Iterator[Any]:
    """The items of a list, page by page."""
    cursor: str | None = None
    while True:
        page = client.do(page_of(cursor))
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


class Jobs:
    """Saved jobs."""

    def __init__(self, client: Asks) -> None:
        self._client = client

    def get(self, name: str, version: int | None = None) -> dict[str, Any]:
        """The definition with version and instants."""
        return self._client.do(flow.job(name, version))

    def put(
        self, definition: Mapping[str, Any], *, allow_missing: bool = False, reason: str | None = None
    ) -> dict[str, Any]:
        """Save it; unchanged content makes no new version. ``allow_missing``: its Python tasks may be registered later."""
        more: dict[str, Any] = {"allow_missing": "true" if allow_missing else None, "reason": reason}
        return self._client.do(flow.put_job(str(definition.get("name", "")), definition, **more))

    def patch(self, name: str, changes: Mapping[str, Any], *, reason: str | None = None) -> dict[str, Any]:
        """Change parts of it: a JSON merge patch; None takes a field away."""
        return self._client.do(keeping.patch_job(name, changes, reason))

    def delete(self, name: str, *, reason: str | None = None) -> None:
        """Delete it softly: its versions stay, its runs go on."""
        self._client.do(keeping.delete_job(name, reason))

    def restore(self, name: str, version: int | None = None, *, reason: str | None = None) -> dict[str, Any]:
        """Bring a deleted job back, or make an older version the newest again."""
        return self._client.do(keeping.restore_job(name, version, reason))

    def versions(self, name: str) -> Iterator[views.JobVersionView]:
        """Every version, newest first, page by page."""
        return pages(self._client, lambda cursor: keeping.job_versions(name, cursor))

    def list(self, **where: Any) -> Iterator[dict[str, Any]]:
        """All saved jobs, page by page."""
        return pages(self._client, lambda cursor: flow.jobs(cursor=cursor, **where))


class Runs:
    """Runs."""

    def __init__(self, client: Asks) -> None:
        self._client = client

    def get(self, number: int) -> Run:
        """One run. Raises NotFound."""
        return Run(self._client, self._client.do(flow.run(number)))

    def list(self, **where: Any) -> Iterator[views.RunView]:
        """Runs, newest first, page by page."""
        return pages(self._client, lambda cursor: flow.runs(cursor=cursor, **where))


class Packages:
    """Registered code."""

    def __init__(self, client: Asks) -> None:
        self._client = client

    def put(self, name: str, data: bytes) -> views.PackageView:
        """Register a zip under a name."""
        return self._client.do(flow.put_package(name, data))

    def get(self, name: str) -> views.PackageView:
        """What is registered under the name. Raises NotFound."""
        return self._client.do(flow.one(views.PackageView, "packages", name))

    def list(self) -> Iterator[views.PackageView]:
        """All of them, by name, page by page."""
        return pages(self._client, lambda cursor: flow.page(Page[views.PackageView], "packages", cursor=cursor))

    def versions(self, name: str) -> Iterator[views.PackageView]:
        """Every version, newest first, page by page."""
        kind = Page[views.PackageView]
        return pages(self._client, lambda cursor: flow.page(kind, "packages", name, "versions", cursor=cursor))

    def rollback(self, name: str, to: str | None = None, *, reason: str | None = None) -> views.PackageView:
        """Let the name mean an earlier version again: a number, a digest, or the one before."""
        return self._client.do(keeping.rollback_package(name, to, reason))

    def delete(self, name: str, digest: str | None = None, *, reason: str | None = None) -> None:
        """Take it back, or one version of it. Raises Conflict, naming the users, while it is used."""
        self._client.do(keeping.delete_package(name, digest, reason))


class Agents:
    """The machines that do the work."""

    def __init__(self, client: Asks) -> None:
        self._client = client

    def get(self, which: str | int) -> views.AgentView:
        """An agent by name or number. Raises NotFound."""
        return found(self.list(), which)

    def list(self) -> Iterator[views.AgentView]:
        """All that ever said hello, by name, page by page."""
        return pages(self._client, lambda cursor: flow.page(Page[views.AgentView], "agents", cursor=cursor))


def found(agents: Iterator[views.AgentView], which: str | int) -> views.AgentView:
    """The agent of this name or number. Raises NotFound."""
    for agent in agents:
        if which in (agent.name, agent.id):
            return agent
    raise NotFound(f"there is no agent {which!r}")


class Limits:
    """Named limits: how much of something may be used at once, or how often."""

    def __init__(self, client: Asks) -> None:
        self._client = client

    def get(self, name: str) -> views.LimitView:
        """A limit, what of it is in use, and by whom. Raises NotFound."""
        return self._client.do(flow.limit(name))

    def list(self) -> Iterator[views.LimitView]:
        """All of them, by name, page by page."""
        return pages(self._client, lambda cursor: flow.page(Page[views.LimitView], "limits", cursor=cursor))

    def put(self, name: str, **limit: Any) -> views.LimitView:
        """Make or replace it: ``slots=8``, or ``rate="10/1s"`` with ``burst``; ``key``, ``description``."""
        return self._client.do(flow.put_limit(name, limit))

    def patch(self, name: str, **changes: Any) -> views.LimitView:
        """Change some fields; None takes one away."""
        return self._client.do(flow.patch_limit(name, changes))

    def pause(self, name: str, *, reason: str | None = None) -> views.LimitView:
        """Let nothing that takes from it begin; what runs goes on."""
        return self._client.do(flow.limit_verb(name, "pause", reason))

    def resume(self, name: str) -> views.LimitView:
        """Let work that takes from it begin again."""
        return self._client.do(flow.limit_verb(name, "resume", None))

    def delete(self, name: str) -> None:
        """Delete it; work that names it waits."""
        self._client.do(flow.delete_limit(name))


class Users:
    """Who may log in, and as what."""

    def __init__(self, client: Asks) -> None:
        self._client = client

    def get(self, name: str) -> UserView:
        """One user. Raises NotFound."""
        return self._client.do(people.user(name))

    def list(self) -> Iterator[UserView]:
        """All of them, by name, page by page."""
        return pages(self._client, people.users)

    def put(self, name: str, **user: Any) -> UserView:
        """Make or replace a user: role, password, description, disabled. A password that is left out stays."""
        return self._client.do(people.put_user(name, **user))

    def patch(self, name: str, **changes: Any) -> UserView:
        """Change some fields: role, password (None takes it away), description, disabled."""
        return self._client.do(people.change_user(name, **changes))

    def delete(self, name: str) -> None:
        """Delete a user, with their sessions and tokens."""
        self._client.do(people.delete_user(name))


class Tokens:
    """Access tokens of programs."""

    def __init__(self, client: Asks) -> None:
        self._client = client

    def get(self, name: str) -> TokenView:
        """One token, without its text. Raises NotFound."""
        return self._client.do(people.token(name))

    def list(self) -> Iterator[TokenView]:
        """One's own, or all for who may see them, by name, page by page."""
        return pages(self._client, people.tokens)

    def create(self, name: str, **token: Any) -> TokenView:
        """Make one: role, scopes, expires, description, user. Its text is in this answer and never again."""
        return self._client.do(people.add_token(name=name, **token))

    def delete(self, name: str) -> None:
        """Revoke it."""
        self._client.do(people.delete_token(name))
