"""``headrace limit ls|put|patch|show|pause|resume|rm``: how much of something may be used at once, or how often."""

from __future__ import annotations

import argparse
from typing import Any

from headrace.cli.runs import connect
from headrace.cli.shapes import Page
from headrace.cli.terminal import Terminal
from headrace.client import flow
from headrace.model.errors import Invalid
from headrace.model.views import LimitView

FIELDS = {"slots": "N", "rate": "N/TIME", "burst": "N", "key": "TEXT", "description": "TEXT"}


def add(commands: Any) -> None:
    """The words of these commands."""
    verbs = commands.add_parser("limit", help="named limits: ls, put, patch, show, pause, resume, rm").add_subparsers(
        required=True, metavar="VERB (ls put patch show pause resume rm)"
    )
    verbs.add_parser("ls", help="list limits").set_defaults(do=list_limits)
    put = verbs.add_parser("put", help="make a limit, or replace it")
    put.add_argument("name")
    put.add_argument("--slots", type=int, metavar="N", help="so many units at once")
    put.add_argument("--rate", metavar="N/TIME", help="so many starts in a time, as 10/1s")
    put.add_argument("--burst", type=int, metavar="N", help="so many of them may come together; default 1")
    put.add_argument("--key", metavar="TEXT", help='count apart for each value of this text, as "${params.customer}"')
    put.add_argument("--description", metavar="TEXT", help="for people")
    put.set_defaults(do=put_limit)
    patch = verbs.add_parser("patch", help="change some fields of a limit; `none` takes one away")
    patch.add_argument("name")
    for field, value in FIELDS.items():
        patch.add_argument(f"--{field}", metavar=value)
    patch.set_defaults(do=patch_limit)
    for verb, told in (
        ("show", "one limit and who holds it"),
        ("pause", "let nothing that takes from it begin; what runs goes on"),
        ("resume", "let work that takes from it begin again"),
        ("rm", "delete it; work that names it waits"),
    ):
        one = verbs.add_parser(verb, help=told)
        one.add_argument("name")
        if verb == "pause":
            one.add_argument("--reason", help="why; shown to those who wait")
        one.set_defaults(do=globals()[f"{verb}_limit"])


def list_limits(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace limit ls``."""
    with connect(args) as client:
        listed = client.do(flow.listed("limits"))
    if terminal.data(listed, lambda: Page[LimitView]):
        return 0
    rows = [
        (
            str(one["name"]),
            bound(one),
            str(one.get("in_use", 0)),
            "paused" if one.get("paused") else "",
            str(one.get("key") or ""),
        )
        for one in listed["items"]
    ]
    if rows:
        terminal.table(("name", "limit", "in use", "", "key"), rows)
    else:
        terminal.line("no limits: headrace limit put NAME --slots N")
    return 0


def bound(limit: dict[str, Any]) -> str:
    """What it lets through, in words."""
    slots = [] if limit.get("slots") is None else [f"{limit['slots']} at once"]
    burst = limit.get("burst") or 1
    rate = [limit["rate"] + (f", burst {burst}" if burst > 1 else "")] if limit.get("rate") else []
    return "; ".join(slots + rate)


def put_limit(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace limit put``."""
    given = {name: value for name in FIELDS if (value := getattr(args, name)) is not None}
    if not given:
        raise Invalid("say what the limit is: --slots N, or --rate N/TIME")
    with connect(args) as client:
        return _told(client.do(flow.put_limit(args.name, given)), terminal)


def patch_limit(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace limit patch``."""
    given = {name: _field(name, text) for name in FIELDS if (text := getattr(args, name)) is not None}
    if not given:
        raise Invalid(f"say what is to be changed: {', '.join(f'--{name}' for name in FIELDS)}")
    with connect(args) as client:
        return _told(client.do(flow.patch_limit(args.name, given)), terminal)


def _field(name: str, text: str) -> Any:
    if text == "none":
        return None
    if FIELDS[name] != "N":
        return text
    if not text.isascii() or not text.isdigit():
        raise Invalid(f"--{name} must be a whole number, or none: not {text!r}")
    return int(text)


def show_limit(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace limit show``."""
    with connect(args) as client:
        limit = client.do(flow.limit(args.name))
    if terminal.data(limit):
        return 0
    _told(limit, terminal)
    for holder in limit.holders:
        at = "" if holder.index is None else f"[{holder.index}]"
        key = f" for {holder.key}" if holder.key else ""
        terminal.line(f"  {holder.units} held by run {holder.run} {holder.task}{at}{key}")
    return 0


def pause_limit(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace limit pause``."""
    with connect(args) as client:
        return _told(client.do(flow.limit_verb(args.name, "pause", args.reason)), terminal)


def resume_limit(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace limit resume``."""
    with connect(args) as client:
        return _told(client.do(flow.limit_verb(args.name, "resume", None)), terminal)


def rm_limit(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace limit rm``."""
    with connect(args) as client:
        client.do(flow.delete_limit(args.name))
    if not terminal.data({"deleted": args.name}):
        terminal.line(f"limit {args.name} is deleted")
    return 0


def _told(limit: LimitView, terminal: Terminal) -> int:
    if not terminal.data(limit):
        told = bound({"slots": limit.slots, "rate": limit.rate, "burst": limit.burst})
        key = f", apart for each {limit.key}" if limit.key else ""
        paused = f"; paused{': ' + limit.reason if limit.reason else ''}" if limit.paused else ""
        terminal.line(f"limit {limit.name}: {told}{key}{paused}; {limit.in_use} in use")
    return 0
