"""The settings, as one record: what may stand in ``headrace.toml``, in ``HEADRACE_*`` and in flags. No rules.

Read by ``client.config``; its schema is served and printed.
"""

from __future__ import annotations

import msgspec

DEFAULT_PORT = 8420


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting that the client and the CLI know; one name in flags, environment and files."""

    url: str | None = None
    """The server to speak to."""
    token: str | None = None
    """The credential. Better in the environment than on a command line."""
    data: str | None = None
    """The data folder."""
    store: str | None = None
    """``postgresql://…`` instead of SQLite in the data folder."""
    host: str | None = None
    """Where ``up`` listens; 127.0.0.1 otherwise."""
    port: int | None = None
    """On which port; 0 takes any free one."""
    hosts: str | None = None
    """Further names of the server, with commas; a request for any other ``Host`` is refused."""
    tls_cert: str | None = None
    """Certificate (PEM) of ``up``; needed to listen beyond this machine."""
    tls_key: str | None = None
    """Its key (PEM)."""
    workers: int | None = None
    """Attempts at once; one per processor otherwise."""
    labels: str | None = None
    """Labels of the agent of ``up`` beside its own (os, arch, host): ``gpu=yes,room=3``. Tasks ask for them."""
    pass_env: str | None = None
    """Variables of the agent's environment that attempts may see, with commas; else PATH, HOME, LANG, LC_ALL, TZ alone."""
