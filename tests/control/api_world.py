"""A control with its API in memory for tests: real SQLite store, real ledger, the whole ASGI application; no socket.

``World.call`` makes one request and gives status, headers and body. Used by the tests of this folder.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import msgspec

from headrace.control.api import Services, build_api
from headrace.control.auth import Auth, Role
from headrace.control.changes.people import SetUser
from headrace.control.clock import SystemClock
from headrace.control.connect import connect
from headrace.control.credentials import mint_token, put_token
from headrace.control.node import Node
from headrace.control.saved import SavedJobs
from headrace.model.changes import SYSTEM, Claim, OutcomeKind, Settle
from headrace.model.ports import Clock
from headrace.store.port import Store
from headrace.store.sqlite.store import open_sqlite

SECRET = b"s" * 32
PASSWORD = "correct horse battery"
HELLO = {"name": "hello", "tasks": [{"name": "say", "command": ["echo", "hello"]}]}


class Answered:
    """What came back."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = {k.decode(): v.decode() for k, v in headers}
        self.body = body

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def paths(self) -> set[str]:
        return {p["path"] for p in self.json["problems"]}


def run_async(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A test that is a coroutine, in a loop of its own."""

    @wraps(test)
    def inner(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 60))

    return inner


@cache
def _kept() -> str:
    """PASSWORD as it is kept, worked out once for all tests."""
    from argon2.low_level import Type, hash_secret  # not every test needs it

    return hash_secret(PASSWORD.encode(), b"0123456789abcdef", 2, 19_456, 1, 32, Type.ID).decode()


class World:
    """One control with one token per role."""

    def __init__(self, data: Path, dsn: str = "", clock: Clock | None = None) -> None:
        self.data = data
        self.clock = clock or SystemClock()
        self.dsn = dsn
        self.tokens: dict[Role, str] = {}
        self.scheme = "http"
        self.client: tuple[str, int] | None = None
        self.node: Node
        self.services: Services

    async def __aenter__(self) -> Self:
        clock = self.clock
        store = await self._open(clock)
        self.node = Node(store, clock=clock, dice=random.Random(1), fault=lambda _: None)
        await self.node.start(secret=SECRET, url="http://test", connect=connect)
        self.serve()
        for role in (Role.admin, Role.operator, Role.watcher):
            text, hashed = mint_token()
            await self.node.ledger.change(put_token(hashed, role), SYSTEM)
            self.tokens[role] = text
        return self

    async def _open(self, clock: Clock) -> Store:
        if not self.dsn:
            return await open_sqlite(str(self.data), clock=clock)
        from headrace.store.postgres.store import open_store  # not every test needs it

        return await open_store(self.dsn)

    def serve(self, **more: Any) -> None:
        node = self.node
        more.setdefault("clock", node.clock)
        self.services = Services(
            ledger=node.ledger,
            reader=node.store.reader,
            blobs=node.store.blobs,
            auth=Auth(node.store.reader, node.clock, run_secret=SECRET),
            ids=node.ids,
            graphs=node.graphs,
            jobs=SavedJobs(node.store.reader, alone=not self.dsn),
            values=node.values,
            waiters=node.waiters,
            tail=node.tail,
            offers=node.placement.offers,
            waiting=lambda: node.placement.waiting,
            **more,
        )
        self.app = build_api(self.services)

    async def __aexit__(self, *_: object) -> None:
        await self.node.close()

    async def user(self, name: str, role: Role = Role.watcher, password: str | None = None) -> None:
        """A user; without a password of their own they have PASSWORD, hashed once for all tests."""
        kept = await asyncio.to_thread(_kept) if password is None else await self.services.passwords.keep(password)
        await self.node.ledger.change(SetUser(name, role.value, kept), SYSTEM)

    async def login(self, name: str, password: str | None = None, **more: Any) -> Answered:
        body = {"name": name, "password": PASSWORD if password is None else password, "token": True, **more}
        return await self.post("/login", body, role=None)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: Role | None = Role.admin,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answered:
        """One request. ``body``: bytes as they are, anything else as JSON."""
        path, _, query = path.partition("?")
        raw = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        sent = {"host": "localhost:8420", **(headers or {})}
        text = token if token is not None else None if role is None else self.tokens[role]
        if text is not None:
            sent.setdefault("authorization", f"Bearer {text}")
        if body is not None and not isinstance(body, bytes):
            sent.setdefault("content-type", "application/json")
        good = {k: v for k, v in sent.items() if v is not None}
        return await asgi(self.app, method, path, query, raw, good, scheme=self.scheme, client=self.client)

    async def get(self, path: str, **more: Any) -> Answered:
        return await self.call("GET", "/api/v1" + path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> Answered:
        return await self.call("POST", "/api/v1" + path, body, **more)

    async def put(self, path: str, body: Any = None, **more: Any) -> Answered:
        return await self.call("PUT", "/api/v1" + path, body, **more)

    async def agent(self, slots: int = 4) -> None:
        """An agent that takes everything and tells nothing: attempts are settled by ``settle``."""
        from headrace.control.placement import Linked

        linked = Linked(agent=1, name="fake", boot=1, boot_id="b", link_epoch=1, slots=slots)
        self.node.placement.link(linked)

    async def settle(self, run: int, no: int = 0, index: int = -1, **said: Any) -> None:
        """Claim what is ready and end its attempt so."""
        cell = await self.node.store.reader.task((run, no, index))
        assert cell is not None
        if cell.state.name != "dispatched":
            await self.node.ledger.ask_many([Claim(run, no, index)], SYSTEM)
            cell = await self.node.store.reader.task((run, no, index))
            assert cell is not None
        now = self.node.clock.now()
        kind = said.pop("kind", OutcomeKind.succeeded)
        change = Settle(run, no, index, cell.epoch, kind, now, now, digest=b"%d" % cell.epoch, **said)
        found = await self.node.ledger.ask_many([change], SYSTEM)
        assert not isinstance(found[0], Exception), found
        while not self.node.ledger.idle:
            # On a busy machine what follows of it (skips, the end of the run) comes in a group of its own.
            await asyncio.sleep(0)


async def asgi(
    app: Any, method: str, path: str, query: str, body: bytes, headers: dict[str, str], chunk: int = 0, **more: Any
) -> Answered:
    """One request to an ASGI application."""
    pieces = [body[i : i + chunk] for i in range(0, len(body), chunk)] if chunk else [body]
    messages = [{"type": "http.request", "body": p, "more_body": i < len(pieces) - 1} for i, p in enumerate(pieces)]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": query.encode(),
        **more,
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
    }
    await app(scope, receive, send)
    start = sent[0]
    return Answered(start["status"], start["headers"], b"".join(m.get("body", b"") for m in sent[1:]))
