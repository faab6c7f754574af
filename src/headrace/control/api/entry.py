"""Letting a caller in: the guard, the route, the credential, the permission. The one way to a handler, HTTP or WebSocket.

A bearer token or, from our own pages, the cookie of a session. Whoever comes by cookie must prove on every unsafe method
and every socket that the page is ours. Called by ``control.api.dispatch``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from headrace.control.api.call import Call
from headrace.control.api.guard import Guard, from_own_page
from headrace.control.api.later import later, refuse_later
from headrace.control.api.problems import document
from headrace.control.api.router import UNSAFE, Endpoint, Router
from headrace.control.api.services import Services
from headrace.control.api.table import Route
from headrace.control.auth import NOBODY, Caller, Permission
from headrace.control.changes.people import SessionSeen
from headrace.control.credentials import SESSION_PREFIX
from headrace.model.changes import Origin
from headrace.model.errors import Forbidden, HeadraceError, Unauthorized
from headrace.model.views import ProblemView

SEEN_US = 60 * 1_000_000
"""The use of a session is written down at most once in this time."""
_log = logging.getLogger("headrace.control.api")


class Answered(Exception):
    """A problem document that no error record stands for."""

    def __init__(self, view: ProblemView, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(view.detail)
        self.view = view
        self.headers = headers


class Entry:
    """Stands in front of every route."""

    def __init__(self, services: Services, router: Router) -> None:
        self._services = services
        self._router = router
        self._later = later()
        self._auth = services.auth
        self._clock = services.clock
        self._guard = Guard(services.hosts)
        self._writing: set[asyncio.Task[None]] = set()

    async def enter(self, scope: MutableMapping[str, Any], headers: Mapping[bytes, bytes]) -> tuple[Endpoint, Call]:
        """The endpoint and the call, whose caller may make it. Raises what refuses it, or Answered."""
        path: str = scope["path"]
        method: str = scope.get("method", "GET")
        unsafe = method in UNSAFE
        self._guard.check(scope, headers)
        found = self._router.find(path)
        endpoint = found[0].get("GET" if method == "HEAD" else method) if found else None
        scope["headrace.route"] = "" if endpoint is None else endpoint.route.path
        cookie = False
        if endpoint is not None and endpoint.route.permission is Permission.public:
            caller = NOBODY
        else:
            credential = headers.get(b"authorization")
            if credential is None and b"cookie" in headers:
                credential = _from_cookie(headers, secure=scope.get("scheme") == "https")
                cookie = credential is not None
            known = self._auth.cached(credential, self._clock.now())
            caller = known if known is not None else await self._caller(credential)
        if endpoint is None:
            refuse_later(self._later, method, path)
        if found is None:
            raise Answered(document(404, f"there is no {path[:200]}", path))
        if endpoint is None:
            allow = ", ".join(sorted(found[0]))
            raise Answered(document(405, f"{path[:200]} knows {allow}", path), ((b"allow", allow.encode()),))
        if unsafe or endpoint.route.socket:
            from_own_page(headers, secure=scope.get("scheme") == "https", surely=cookie)
        call = Call(
            self._services, method, path, dict(zip(endpoint.names, found[1], strict=True)), scope["query_string"]
        )
        call.caller = caller
        call.cookie = cookie
        call.scope = scope
        _permit(endpoint.route, call)
        return endpoint, call

    async def _caller(self, credential: bytes | None) -> Caller:
        caller = await self._auth.caller(credential)
        if caller.seen_at and caller.seen_at + SEEN_US < self._clock.now():
            task = asyncio.ensure_future(self._seen(caller))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)
        return caller

    async def _seen(self, caller: Caller) -> None:
        """A session that is used lives on. Nobody waits for it, and if it fails the next use writes it."""
        assert caller.row is not None
        try:
            await self._services.ledger.change(
                SessionSeen(caller.row[1], bytes.fromhex(caller.hash)), Origin(caller.name, "api")
            )
        except HeadraceError as error:
            _log.info("the use of a session was not written: %s", error)


def cookie_name(host: bytes, *, secure: bool) -> bytes:
    """The cookie of a session on this host. Ports share cookies, so that of a plain port has its own name."""
    if secure:
        return b"__Host-headrace"
    port = host.rpartition(b":")[2]
    return b"headrace-" + port if port.isdigit() else b"headrace"


def session_cookie(call: Call, text: str) -> tuple[bytes, bytes]:
    """The header that gives a browser this session, or with an empty text takes it away. Host-only, out of reach of scripts."""
    secure = call.scope.get("scheme") == "https"
    host = next((value for name, value in call.scope["headers"] if name == b"host"), b"")
    parts = [b"%b=%b" % (cookie_name(host, secure=secure), text.encode()), b"Path=/", b"HttpOnly", b"SameSite=Strict"]
    if secure:
        parts.append(b"Secure")
    if not text:
        parts.append(b"Max-Age=0")
    return b"set-cookie", b"; ".join(parts)


def _from_cookie(headers: Mapping[bytes, bytes], *, secure: bool) -> bytes | None:
    """The session in the cookie, as an Authorization header; other tokens never travel so."""
    wanted = cookie_name(headers.get(b"host", b""), secure=secure)
    for pair in headers[b"cookie"].split(b";"):
        name, _, value = pair.strip().partition(b"=")
        if name == wanted:
            if not value.startswith(SESSION_PREFIX.encode()):
                raise Unauthorized("the cookie holds no session")
            return b"Bearer " + value
    return None


def _permit(route: Route, call: Call) -> None:
    caller = call.caller
    if caller.claim is not None:
        if not route.run_token and route.permission is not Permission.public:
            raise Forbidden("a run's own token does not open this")
        if route.run_token and call.values.get("id") != str(caller.claim.run):
            raise Forbidden("a run's own token opens that run only")
        if route.run_token and call.method in UNSAFE:
            return  # what more it takes, the handler asks
    caller.require(route.permission)
