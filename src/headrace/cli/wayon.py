"""What a person can do after the server refused who they are, or what they may: said on stderr behind the error.

Reads settings and sessions, never asks a server, never prints a token. Called by ``cli.main``.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from headrace.client import find, logins
from headrace.client.config import data_folder, settings
from headrace.model.errors import Forbidden, HeadraceError, Unauthorized


def lines(error: HeadraceError, args: argparse.Namespace) -> list[str]:
    """The lines behind this error; none where there is nothing to add."""
    try:
        if isinstance(error, Unauthorized):
            return _unknown(args)
        if isinstance(error, Forbidden) and "permission" in error.message:
            return _refused(args)
    except HeadraceError:
        pass
    return []


def _unknown(args: argparse.Namespace) -> list[str]:
    """Which credential was used, and how to get a good one."""
    url, token = find.server(args.url, args.token, args.data)
    login = logins.read(os.environ).get(url)
    if login is not None and login.token == token:
        return [f"  the session of {login.name} was used: headrace login {login.name}, or headrace logout"]
    origin = settings({"token": args.token}, os.environ, Path.cwd())["token"].origin
    known = {"flag": "--token", "environment": "HEADRACE_TOKEN", "default": "admin-token of the data folder"}
    if token is None:
        used = f"  no token was found for {url}"
    else:
        used = f"  the token came from {known.get(origin, origin)}, and was shown to {url}"
    return [
        used,
        "  a user logs in:      headrace login NAME",
        "  an admin makes one:  headrace token create NAME --role operator, given to you as HEADRACE_TOKEN",
        f"  on the server's own machine, with none given, the one in {_folder(args)} is used (another folder: --data DIR)",
    ]


def _refused(args: argparse.Namespace) -> list[str]:
    """How to see what one may, and who can give more."""
    url, token = find.server(args.url, args.token, args.data)
    login = logins.read(os.environ).get(url)
    more = "headrace token create NAME --role operator"
    if login is not None and login.token == token:
        more = f"headrace user role {login.name} operator"
    return [
        "  what you may:        headrace me",
        f"  an admin gives more: {more}  (operator starts and stops, admin defines)",
    ]


def _folder(args: argparse.Namespace) -> Path:
    return data_folder(settings({"data": args.data}, os.environ, Path.cwd()), os.environ, Path.cwd())
