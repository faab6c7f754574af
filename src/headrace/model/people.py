"""Users, tokens and sessions as the API shows them. Never a password, never a digest; a token's text once, when it is made.

Encoded by control, decoded by the client.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from headrace.model.views import View


class UserView(View, kw_only=True, frozen=True):
    """A user. ``password`` says whether there is one: without it nobody can log in by that name."""

    edn_namespace: ClassVar[str] = "user"

    name: str
    role: str
    description: str = ""
    disabled: bool = False
    password: bool = False
    version: int
    created_at: datetime
    updated_at: datetime


class UserPage(View, kw_only=True, frozen=True):
    """A page of users, by name."""

    items: list[UserView]
    next_cursor: str | None = None


class TokenView(View, kw_only=True, frozen=True):
    """An access token. ``token`` is its text, in the answer that made it and never again; ``token_omitted`` says why it does
    not stand in an answer that would hold it.

    ``scopes``: the permissions of the role that it holds; all when empty. ``user``: whose it is; it can do no more than
    they can and ends with them. ``expired``: it opens nothing any more, because its time is over or its user is gone or
    disabled. A token made without a name is shown by the beginning of its hash.
    """

    edn_namespace: ClassVar[str] = "token"

    name: str
    role: str
    scopes: list[str] = []
    user: str | None = None
    description: str = ""
    created_at: datetime
    expires_at: datetime | None = None
    expired: bool = False
    token: str | None = None
    token_omitted: str | None = None


class TokenPage(View, kw_only=True, frozen=True):
    """A page of tokens, by name."""

    items: list[TokenView]
    next_cursor: str | None = None


class MeView(View, kw_only=True, frozen=True):
    """Who calls: ``kind`` is user (a session), token or run. ``expires_at``: when the credential ends as things stand."""

    edn_namespace: ClassVar[str] = "user"

    name: str
    kind: str
    user: str | None = None
    role: str
    permissions: list[str]
    expires_at: datetime | None = None


class SessionView(View, kw_only=True, frozen=True):
    """A session that began. ``token`` is its text where it was asked for; otherwise it is in the cookie only.

    It ends when it was not used for ``idle_minutes``, and at ``expires_at`` in any case.
    """

    edn_namespace: ClassVar[str] = "session"

    name: str
    role: str
    permissions: list[str]
    expires_at: datetime
    idle_minutes: int
    token: str | None = None
