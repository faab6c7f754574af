"""What ``AsyncClient`` has of each noun: the same as ``client.nouns`` says, awaited; lists are asynchronous iterators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from headrace.client import flow, keeping, people
from headrace.client.ahandle import AsyncAsks, AsyncRun
from headrace.client.flow import Flow, Page
from headrace.model import views
from headrace.model.errors import NotFound
from headrace.model.people import TokenView, UserView


async def pages(client: AsyncAsks, page_of: Callable[[str | None], Flow[Any]]) -> AsyncIterator[Any]:
    """The items of a list, page by page."""
    cursor: str | None = None
    while True:
        page = await client.do(page_of(cursor))
        for item in page.items:
            yield item
        cursor = page.next_cursor
        if cursor is None:
            return


class Noun:
    """Base: remembers whom to ask."""

    def __init__(self, client: AsyncAsks) -> None:
        self._client = client


class AsyncJobs(Noun):
    """Saved jobs."""

    async def get(self, name: str, version: int | None = None) -> dict[str, Any]:
        """The definition with version and instants."""
        return await self._client.do(flow.job(name, version))

    async def put(
        self, definition: Mapping[str, Any], *, allow_missing: bool = False, reason: str | None = None
    ) -> dict[str, Any]:
        """Save it; unchanged content makes no new version."""
        more: dict[str, Any] = {"allow_missing": "true" if allow_missing else None, "reason": reason}
        return await self._client.do(flow.put_job(str(definition.get("name", "")), definition, **more))

    async def patch(self, name: str, changes: Mapping[str, Any], *, reason: str | None = None) -> dict[str, Any]:
        """Change parts of it: a JSON merge patch; None takes a field away."""
        return await self._client.do(keeping.patch_job(name, changes, reason))

    async def delete(self, name: str, *, reason: str | None = None) -> None:
        """Delete it softly: its versions stay, its runs go on."""
        await self._client.do(keeping.delete_job(name, reason))

    async def restore(self, name: str, version: int | None = None, *, reason: str | None = None) -> dict[str, Any]:
        """Bring a deleted job back, or make an older version the newest again."""
        return await self._client.do(keeping.restore_job(name, version, reason))

    def versions(self, name: str) -> AsyncIterator[views.JobVersionView]:
        """Every version, newest first, page by page."""
        return pages(self._client, lambda cursor: keeping.job_versions(name, cursor))

    def list(self, **where: Any) -> AsyncIterator[dict[str, Any]]:
        """All saved jobs, page by page."""
        return pages(self._client, lambda cursor: flow.jobs(cursor=cursor, **where))


class AsyncRuns(Noun):
    """Runs."""

    async def get(self, number: int) -> AsyncRun:
        """One run. Raises NotFound."""
        return AsyncRun(self._client, await self._client.do(flow.run(number)))

    def list(self, **where: Any) -> AsyncIterator[views.RunView]:
        """Runs, newest first, page by page."""
        return pages(self._client, lambda cursor: flow.runs(cursor=cursor, **where))


class AsyncPackages(Noun):
    """Registered code."""

    async def put(self, name: str, data: bytes) -> views.PackageView:
        """Register a zip under a name."""
        return await self._client.do(flow.put_package(name, data))

    async def get(self, name: str) -> views.PackageView:
        """What is registered under the name. Raises NotFound."""
        return await self._client.do(flow.one(views.PackageView, "packages", name))

    def list(self) -> AsyncIterator[views.PackageView]:
        """All of them, by name, page by page."""
        return pages(self._client, lambda cursor: flow.page(Page[views.PackageView], "packages", cursor=cursor))

    def versions(self, name: str) -> AsyncIterator[views.PackageView]:
        """Every version, newest first, page by page."""
        kind = Page[views.PackageView]
        return pages(self._client, lambda cursor: flow.page(kind, "packages", name, "versions", cursor=cursor))

    async def rollback(self, name: str, to: str | None = None, *, reason: str | None = None) -> views.PackageView:
        """Let the name mean an earlier version again: a number, a digest, or the one before."""
        return await self._client.do(keeping.rollback_package(name, to, reason))

    async def delete(self, name: str, digest: str | None = None, *, reason: str | None = None) -> None:
        """Take it back, or one version of it. Raises Conflict, naming the users, while it is used."""
        await self._client.do(keeping.delete_package(name, digest, reason))


class AsyncAgents(Noun):
    """The machines that do the work."""

    async def get(self, which: str | int) -> views.AgentView:
        """An agent by name or number. Raises NotFound."""
        async for agent in self.list():
            if which in (agent.name, agent.id):
                return agent
        raise NotFound(f"there is no agent {which!r}")

    def list(self) -> AsyncIterator[views.AgentView]:
        """All that ever said hello, by name, page by page."""
        return pages(self._client, lambda cursor: flow.page(Page[views.AgentView], "agents", cursor=cursor))


class AsyncLimits(Noun):
    """Named limits: how much of something may be used at once, or how often."""

    async def get(self, name: str) -> views.LimitView:
        """A limit, what of it is in use, and by whom. Raises NotFound."""
        return await self._client.do(flow.limit(name))

    def list(self) -> AsyncIterator[views.LimitView]:
        """All of them, by name, page by page."""
        return pages(self._client, lambda cursor: flow.page(Page[views.LimitView], "limits", cursor=cursor))

    async def put(self, name: str, **limit: Any) -> views.LimitView:
        """Make or replace it: ``slots=8``, or ``rate="10/1s"`` with ``burst``; ``key``, ``description``."""
        return await self._client.do(flow.put_limit(name, limit))

    async def patch(self, name: str, **changes: Any) -> views.LimitView:
        """Change some fields; None takes one away."""
        return await self._client.do(flow.patch_limit(name, changes))

    async def pause(self, name: str, *, reason: str | None = None) -> views.LimitView:
        """Let nothing that takes from it begin; what runs goes on."""
        return await self._client.do(flow.limit_verb(name, "pause", reason))

    async def resume(self, name: str) -> views.LimitView:
        """Let work that takes from it begin again."""
        return await self._client.do(flow.limit_verb(name, "resume", None))

    async def delete(self, name: str) -> None:
        """Delete it; work that names it waits."""
        await self._client.do(flow.delete_limit(name))


class AsyncUsers(Noun):
    """Who may log in, and as what."""

    async def get(self, name: str) -> UserView:
        """One user. Raises NotFound."""
        return await self._client.do(people.user(name))

    def list(self) -> AsyncIterator[UserView]:
        """All of them, by name, page by page."""
        return pages(self._client, people.users)

    async def put(self, name: str, **user: Any) -> UserView:
        """Make or replace a user: role, password, description, disabled. A password that is left out stays."""
        return await self._client.do(people.put_user(name, **user))

    async def patch(self, name: str, **changes: Any) -> UserView:
        """Change some fields: role, password (None takes it away), description, disabled."""
        return await self._client.do(people.change_user(name, **changes))

    async def delete(self, name: str) -> None:
        """Delete a user, with their sessions and tokens."""
        await self._client.do(people.delete_user(name))


class AsyncTokens(Noun):
    """Access tokens of programs."""

    async def get(self, name: str) -> TokenView:
        """One token, without its text. Raises NotFound."""
        return await self._client.do(people.token(name))

    def list(self) -> AsyncIterator[TokenView]:
        """One's own, or all for who may see them, by name, page by page."""
        return pages(self._client, people.tokens)

    async def create(self, name: str, **token: Any) -> TokenView:
        """Make one: role, scopes, expires, description, user. Its text is in this answer and never again."""
        return await self._client.do(people.add_token(name=name, **token))

    async def delete(self, name: str) -> None:
        """Revoke it."""
        await self._client.do(people.delete_token(name))
