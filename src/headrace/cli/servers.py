"""``headrace up | control | agent``: the words that start servers. The servers are imported inside the functions only."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from headrace.cli.terminal import Terminal
from headrace.client.config import DEFAULT_PORT, data_folder, settings
from headrace.model.errors import Invalid


def add(commands: Any) -> None:
    """The words of these commands."""
    up = commands.add_parser("up", help="control and agent in one process tree")
    up.add_argument("--host", help="the address to listen on; default 127.0.0.1")
    up.add_argument("--port", type=int, help=f"default {DEFAULT_PORT}; 0: any free one")
    up.add_argument("--workers", type=int, help="attempts at once; default: one per processor")
    up.add_argument("--labels", metavar="NAME=VALUE,…", help="labels of the agent beside os, arch and host")
    up.add_argument("--pass-env", metavar="NAMES", help="variables that attempts may see, with commas")
    up.add_argument("--store", help="postgresql://… instead of SQLite in the data folder")
    up.add_argument(
        "--hosts", metavar="NAMES", help="further names of this server, with commas: others in Host are refused"
    )
    up.add_argument("--tls-cert", metavar="FILE", help="certificate (PEM); needed to listen beyond this machine")
    up.add_argument("--tls-key", metavar="FILE", help="its key (PEM)")
    up.add_argument("--quiet", action="store_true", help=argparse.SUPPRESS)
    up.set_defaults(do=run_up)


def run_up(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace up``."""
    from headrace.cli.up import UpSettings, run

    names = ("data", "host", "port", "workers", "labels", "pass_env", "store", "hosts", "tls_cert", "tls_key")
    flags = {name: getattr(args, name) for name in names}
    found = settings(flags, os.environ, Path.cwd())
    _within("workers", found["workers"].value, 0, 100_000)
    chosen = UpSettings(
        data=data_folder(found, os.environ, Path.cwd()),
        host=found["host"].value or "127.0.0.1",
        port=DEFAULT_PORT if found["port"].value is None else found["port"].value,
        store=found["store"].value or "",
        workers=found["workers"].value or 0,
        quiet=args.quiet,
        hosts=_names(found["hosts"].value),
        tls_cert=_file(found["tls_cert"].value),
        tls_key=_file(found["tls_key"].value),
        labels=_labels(found["labels"].value),
        pass_env=_names(found["pass_env"].value),
    )
    return run(chosen)


def _within(name: str, value: int | None, least: int, most: int) -> None:
    """Raises Invalid for a number that cannot be meant."""
    if value is not None and not least <= value <= most:
        raise Invalid(f"--{name} {value}: a whole number from {least} to {most} is expected")


def _names(text: str | None) -> tuple[str, ...]:
    """Names that stand with commas."""
    return tuple(name for name in (text or "").replace(" ", "").split(",") if name)


def _labels(text: str | None) -> dict[str, str]:
    """Labels that stand as ``name=value`` with commas. Raises Invalid."""
    found = {}
    for pair in (part.strip() for part in (text or "").split(",")):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if pair and not (name and equals):
            raise Invalid(f"labels are written name=value,name=value; {pair!r} is none")
        if pair:
            found[name] = value
    return found


def _file(name: str | None) -> str:
    """The file as control, which runs elsewhere, finds it."""
    return str(Path(name).expanduser().absolute()) if name else ""
