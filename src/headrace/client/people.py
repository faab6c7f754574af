"""Flows about people: login, who one is, users, tokens. As those of ``client.flow``; driven by the same clients."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.client.flow import BASE, Flow, Request, address, check, expect, one, page
from headrace.model.people import MeView, SessionView, TokenPage, TokenView, UserPage, UserView


def login(name: str, password: str) -> Flow[SessionView]:
    """Begin a session; its text is in the answer."""
    body = msgspec.json.encode({"name": name, "password": password, "token": True})
    return expect((yield Request("POST", f"{BASE}/login", body)), SessionView)


def logout() -> Flow[None]:
    """End the session that calls."""
    check((yield Request("POST", f"{BASE}/logout")))


def me() -> Flow[MeView]:
    """Who calls."""
    return expect((yield Request("GET", f"{BASE}/me")), MeView)


def change_password(old: str, new: str) -> Flow[None]:
    """Change one's own password; one's sessions end."""
    check((yield Request("POST", f"{BASE}/me/password", msgspec.json.encode({"old": old, "new": new}))))


def users(cursor: str | None = None) -> Flow[UserPage]:
    """A page of users."""
    return page(UserPage, "users", cursor=cursor)


def user(name: str) -> Flow[UserView]:
    """One user."""
    return one(UserView, "users", name)


def put_user(name: str, **fields: Any) -> Flow[UserView]:
    """Make or replace a user: role, password, description, disabled."""
    return expect((yield Request("PUT", address("users", name), msgspec.json.encode(fields))), UserView)


def add_user(**fields: Any) -> Flow[UserView]:
    """Make a user: name, role, password, description."""
    return expect((yield Request("POST", f"{BASE}/users", msgspec.json.encode(fields))), UserView)


def change_user(name: str, **fields: Any) -> Flow[UserView]:
    """Change fields of a user."""
    return expect((yield Request("PATCH", address("users", name), msgspec.json.encode(fields))), UserView)


def delete_user(name: str) -> Flow[None]:
    """Delete a user, with their sessions and tokens."""
    check((yield Request("DELETE", address("users", name))))


def tokens(cursor: str | None = None) -> Flow[TokenPage]:
    """A page of tokens."""
    return page(TokenPage, "tokens", cursor=cursor)


def token(name: str) -> Flow[TokenView]:
    """One token, without its text."""
    return one(TokenView, "tokens", name)


def add_token(**fields: Any) -> Flow[TokenView]:
    """Make a token; its text is in the answer only."""
    return expect((yield Request("POST", f"{BASE}/tokens", msgspec.json.encode(fields))), TokenView)


def delete_token(name: str) -> Flow[None]:
    """Revoke a token."""
    check((yield Request("DELETE", address("tokens", name))))
