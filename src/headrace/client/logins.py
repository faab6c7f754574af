"""Sessions that ``headrace login`` began, by server: one file of the user's own, 0600. Read by ``client.find``, written by the CLI.

Holds nothing but the text of sessions, which end by themselves. A file that cannot be read counts as none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec


class Login(msgspec.Struct, frozen=True):
    """A session on a server."""

    name: str
    token: str


def place(environ: Mapping[str, str]) -> Path:
    """Where the file is."""
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "headrace" / "logins.json"


def read(environ: Mapping[str, str]) -> dict[str, Login]:
    """The sessions by the server's URL."""
    try:
        return msgspec.json.decode(place(environ).read_bytes(), type=dict[str, Login])
    except (OSError, msgspec.MsgspecError):
        return {}


def keep(environ: Mapping[str, str], url: str, login: Login | None) -> None:
    """Keep the session of this server, or (None) forget it. The file is the user's alone from its first moment."""
    logins = read(environ)
    if login is not None:
        logins[url] = login
    elif logins.pop(url, None) is None:
        return
    path = place(environ)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(logins), indent=2))
    fresh.replace(path)
