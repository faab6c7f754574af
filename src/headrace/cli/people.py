"""``headrace user | token | login | logout | me``: who may do what.

A password is typed without echo or read from standard input, never a word of the command line: those are everybody's to
read. Called by ``cli.main``.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from headrace.cli.runs import connect
from headrace.cli.terminal import Terminal, clean
from headrace.client import find, logins, people
from headrace.client.flow import Flow
from headrace.client.sync import Client
from headrace.model.errors import Invalid, Unauthorized
from headrace.model.people import TokenView, UserView

T = TypeVar("T")
ROLES = ("admin", "operator", "watcher")


def add(commands: Any) -> None:
    """The words of these commands."""
    _user(
        commands.add_parser(
            "user", help="who may log in, and as what: ls, add, show, passwd, role, disable, enable, rm"
        )
    )
    _token(commands.add_parser("token", help="access tokens for programs: ls, create, show, rm"))
    enter = commands.add_parser("login", help="begin a session on a server; later commands use it")
    enter.add_argument("name", metavar="NAME")
    _stdin(enter)
    enter.set_defaults(do=log_in)
    commands.add_parser("logout", help="end the session").set_defaults(do=log_out)
    commands.add_parser("me", help="who the server takes you for, and what you may").set_defaults(do=show_me)


def _user(user: argparse.ArgumentParser) -> None:
    verbs = user.add_subparsers(required=True, metavar="VERB (ls add show passwd role disable enable rm)")
    verbs.add_parser("ls", help="list users").set_defaults(do=list_users)
    new = verbs.add_parser("add", help="make a user; asks for their password")
    new.add_argument("name", metavar="NAME")
    new.add_argument("--role", choices=ROLES, default="watcher", help="default: watcher")
    new.add_argument("--description", default="", help="who this is")
    _stdin(new)
    new.set_defaults(do=add_user)
    passwd = verbs.add_parser("passwd", help="change a password: one's own, or with NAME another user's")
    passwd.add_argument("name", metavar="NAME", nargs="?")
    _stdin(passwd)
    passwd.set_defaults(do=change_password)
    role = verbs.add_parser("role", help="give a user another role; ends their sessions")
    role.add_argument("name", metavar="NAME")
    role.add_argument("role", choices=ROLES)
    role.set_defaults(do=change_role)
    for verb, told in (("disable", "let a user in no more, nor their tokens"), ("enable", "let a user in again")):
        shut = verbs.add_parser(verb, help=told)
        shut.add_argument("name", metavar="NAME")
        shut.set_defaults(do=disable_user, disabled=verb == "disable")
    show = verbs.add_parser("show", help="one user")
    show.add_argument("name", metavar="NAME")
    show.set_defaults(do=show_user)
    remove = verbs.add_parser("rm", help="delete a user, with their sessions and tokens")
    remove.add_argument("name", metavar="NAME")
    remove.set_defaults(do=remove_user)


def _token(token: argparse.ArgumentParser) -> None:
    verbs = token.add_subparsers(required=True, metavar="VERB (ls create show rm)")
    verbs.add_parser("ls", help="list tokens, without their texts").set_defaults(do=list_tokens)
    new = verbs.add_parser("create", help="make a token; its text is printed now and never again")
    new.add_argument("name", metavar="NAME")
    new.add_argument("--role", choices=ROLES, help="default: your own")
    new.add_argument("--user", metavar="NAME", help="whose it is to be; for those who may see all tokens")
    new.add_argument(
        "--scope", action="append", default=[], metavar="PERMISSION", help="only this permission; may be repeated"
    )
    new.add_argument("--expires", default="90d", metavar="SPAN", help="default 90d")
    new.add_argument("--description", default="", help="what it is for")
    new.set_defaults(do=add_token)
    show = verbs.add_parser("show", help="one token, without its text")
    show.add_argument("name", metavar="NAME")
    show.set_defaults(do=show_token)
    remove = verbs.add_parser("rm", help="revoke a token")
    remove.add_argument("name", metavar="NAME")
    remove.set_defaults(do=remove_token)


def _stdin(words: argparse.ArgumentParser) -> None:
    words.add_argument("--password-stdin", action="store_true", help="read the password from standard input")


def _password(args: argparse.Namespace, *prompts: str) -> list[str]:
    """The passwords that the prompts ask for, one line each."""
    if args.password_stdin:
        lines = [sys.stdin.readline().rstrip("\r\n") for _ in prompts]
    elif not sys.stdin.isatty():
        raise Invalid("there is no terminal to ask for the password: use --password-stdin")
    else:
        lines = [getpass.getpass(prompt) for prompt in prompts]
    if not all(lines):
        raise Invalid("no password was given")
    return lines


def _new_password(args: argparse.Namespace, whose: str) -> str:
    """A new password, asked for twice on a terminal."""
    password = _password(args, f"New password of {whose}: ")[0]
    if not args.password_stdin and _password(args, "Again: ")[0] != password:
        raise Invalid("the two were not the same: nothing was changed")
    return password


def list_users(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace user ls``."""
    with connect(args) as client:
        found = _all(client, people.users)
    if terminal.data(found):
        return 0
    if not found:
        terminal.line("no users; the token of the data folder opens everything: headrace user add NAME")
        return 0
    rows = [(u.name, u.role, _said(u), terminal.when(u.created_at), u.description) for u in found]
    terminal.table(("name", "role", "may log in", "since", "description"), rows)
    return 0


def _said(user: UserView) -> str:
    return "no, disabled" if user.disabled else "yes" if user.password else "no password"


def add_user(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace user add``."""
    password = _new_password(args, args.name)
    with connect(args) as client:
        made = client.do(
            people.add_user(name=args.name, role=args.role, password=password, description=args.description)
        )
    if not terminal.data(made):
        terminal.line(f"user {made.name} is {made.role}")
    return 0


def change_password(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace user passwd``."""
    with connect(args) as client:
        if args.name:
            client.do(people.change_user(args.name, password=_new_password(args, args.name)))
        else:
            old = _password(args, "Old password: ")[0]
            client.do(people.change_password(old, _new_password(args, "yours")))
            logins.keep(os.environ, client.url, None)
    terminal.data({"changed": True})
    terminal.line("the password is changed; sessions there were are over: headrace login NAME")
    return 0


def change_role(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace user role``."""
    with connect(args) as client:
        changed = client.do(people.change_user(args.name, role=args.role))
    if not terminal.data(changed):
        terminal.line(f"user {changed.name} is {changed.role}")
    return 0


def disable_user(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace user disable`` and ``enable``."""
    with connect(args) as client:
        changed = client.do(people.change_user(args.name, disabled=args.disabled))
    if not terminal.data(changed):
        told = "may not log in, and their tokens open nothing" if changed.disabled else "may log in"
        terminal.line(f"user {changed.name} {told}")
    return 0


def show_user(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace user show``."""
    with connect(args) as client:
        user = client.do(people.user(args.name))
    if not terminal.data(user):
        terminal.line(f"user {terminal.style(user.name, 'bold')}, {user.role}")
        terminal.line(f"  may log in  {_said(user)}")
        terminal.line(f"  since       {terminal.when(user.created_at)}")
        if user.description:
            terminal.line(f"  who         {clean(user.description)}")
    return 0


def show_token(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace token show``."""
    with connect(args) as client:
        token = client.do(people.token(args.name))
    if not terminal.data(token):
        of = f", of {token.user}" if token.user else ""
        terminal.line(f"token {terminal.style(token.name, 'bold')}, {token.role}{of}")
        terminal.line(f"  may    {', '.join(token.scopes) or 'all that the role may'}")
        terminal.line(f"  until  {_until(token, terminal)}")
        if token.description:
            terminal.line(f"  for    {clean(token.description)}")
    return 0


def remove_user(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace user rm``."""
    with connect(args) as client:
        client.do(people.delete_user(args.name))
    if not terminal.data({"deleted": args.name}):
        terminal.line(f"user {args.name} is gone, with their sessions and tokens")
    return 0


def list_tokens(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace token ls``."""
    with connect(args) as client:
        found = _all(client, people.tokens)
    if not terminal.data(found):
        rows = [
            (t.name, t.role, ", ".join(t.scopes) or "all", t.user or "", _until(t, terminal), t.description)
            for t in found
        ]
        terminal.table(("name", "role", "scopes", "of", "until", "description"), rows)
    return 0


def _until(token: TokenView, terminal: Terminal) -> str:
    return "expired" if token.expired else terminal.when(token.expires_at) or "no end"


def add_token(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace token create``: the text goes to standard output alone, so that a program can take it."""
    with connect(args) as client:
        asked = {"name": args.name, "role": args.role, "scopes": args.scope, "expires": args.expires}
        asked |= {"description": args.description} | ({"user": args.user} if args.user else {})
        made = client.do(people.add_token(**asked))
    if not terminal.data(made):
        print(f"This is shown once; good until {terminal.when(made.expires_at)}:", file=sys.stderr)
        terminal.line(made.token or "")
    return 0


def remove_token(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace token rm``."""
    with connect(args) as client:
        client.do(people.delete_token(args.name))
    if not terminal.data({"revoked": args.name}):
        terminal.line(f"token {args.name} is revoked")
    return 0


def log_in(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace login``."""
    url, _ = find.server(args.url, None, args.data)
    password = _password(args, f"Password of {args.name}: ")[0]
    with Client(url, token="", data=args.data) as client:
        begun = client.do(people.login(args.name, password))
    logins.keep(os.environ, url, logins.Login(begun.name, begun.token or ""))
    told = {"name": begun.name, "role": begun.role, "url": url, "expires_at": begun.expires_at}
    if not terminal.data(told):
        terminal.line(
            f"logged in at {url} as {begun.name} ({begun.role}) until {terminal.when(begun.expires_at)}, "
            f"or {begun.idle_minutes} minutes without use"
        )
    return 0


def log_out(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace logout``: over here in any case, over there if it still was a session."""
    url, _ = find.server(args.url, None, args.data)
    login = logins.read(os.environ).get(url)
    if login is None:
        raise Invalid(f"nobody is logged in at {url}")
    logins.keep(os.environ, url, None)
    with Client(url, token=login.token) as client, contextlib.suppress(Unauthorized):
        client.do(people.logout())
    if not terminal.data({"name": login.name, "url": url}):
        terminal.line(f"{clean(login.name)} is logged out at {url}")
    return 0


def show_me(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace me``."""
    with connect(args) as client:
        me = client.do(people.me())
    if terminal.data(me):
        return 0
    terminal.line(
        f"{me.kind} {terminal.style(me.name, 'bold')}, {me.role}"
        + (f", of {me.user}" if me.kind == "token" and me.user else "")
    )
    terminal.line(f"  may    {', '.join(p for p in me.permissions if p not in ('public', 'me'))}")
    if me.expires_at:
        terminal.line(f"  until  {terminal.when(me.expires_at)}")
    return 0


def _all(client: Client, page_of: Callable[[str | None], Flow[Any]]) -> list[Any]:
    found: list[Any] = []
    cursor: str | None = None
    while True:
        page = client.do(page_of(cursor))
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found
