"""Which server a client speaks to: what was given, else environment and files, else the one on the local data folder.

And with which credential: what was given, else the session of ``headrace login``, else the token of the data folder.
"""

from __future__ import annotations

import os
from pathlib import Path

from headrace.client import logins
from headrace.client.config import DEFAULT_PORT, data_folder, local_server, settings
from headrace.model.errors import Unreachable


def server(url: str | None = None, token: str | None = None, data: str | Path | None = None) -> tuple[str, str | None]:
    """(url, token). Raises Unreachable, saying where it looked, when there is no server to be found."""
    start = Path.cwd()
    flags = {"url": url, "token": token, "data": str(data) if data is not None else None}
    found = settings(flags, os.environ, start)
    chosen, secret = found["url"].value, found["token"].value
    folder = data_folder(found, os.environ, start)
    local = local_server(folder)
    if chosen:
        return chosen, secret or _session(chosen) or (local[1] if local and local[0] == chosen else None)
    if local is None:
        raise Unreachable(
            f"no server runs on the data folder {folder}; start one with: headrace up "
            f"(or name another with --url, HEADRACE_URL=http://host:{DEFAULT_PORT})"
        )
    return local[0], secret or _session(local[0]) or local[1]


def _session(url: str) -> str | None:
    login = logins.read(os.environ).get(url)
    return None if login is None else login.token
