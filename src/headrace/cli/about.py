"""``headrace version | config | schema``: what this is and how it is set."""

from __future__ import annotations

import argparse
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from headrace.cli.runs import connect
from headrace.cli.terminal import Terminal, formatted
from headrace.client.config import DEFAULT_PORT, Setting, data_folder, local_server, settings
from headrace.model.errors import Invalid

TOKEN_NAME = "admin-token"  # noqa: S105 -- the name of a file


def add(commands: Any) -> None:
    """The words of these commands."""
    which = commands.add_parser("version", help="which Headrace this is")
    which.add_argument("--server", action="store_true", help="which one the server is, and on what store")
    which.set_defaults(do=show_version)
    commands.add_parser("config", help="every setting, its value and where it comes from").set_defaults(do=show_config)
    schema = commands.add_parser("schema", help="the JSON Schema of a document")
    schema.add_argument("what", choices=("job", "schedule", "calendar", "subscription", "config"))
    schema.add_argument(
        "--install", choices=("vscode",), help="into .vscode of this folder, for its completion and checks"
    )
    schema.set_defaults(do=show_schema)


def show_version(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace version``."""
    if args.server:
        with connect(args) as client:
            told = client.version()
        if not terminal.data(told):
            terminal.line(f"headrace {told.version} at {client.url}, Python {told.python}, on {told.store}")
        return 0
    if not terminal.data({"version": version("headrace")}):
        terminal.line(f"headrace {version('headrace')}")
    return 0


def show_config(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace config``."""
    flags = {"url": args.url, "token": args.token, "data": args.data}
    found = settings(flags, os.environ, Path.cwd())
    folder = data_folder(found, os.environ, Path.cwd())
    rows = {s.name: {"value": _shown(s, folder), "origin": s.origin} for s in found.values()}
    rows["data"] = {"value": str(folder), "origin": found["data"].origin}
    if not terminal.data(rows):
        terminal.table(
            ("setting", "value", "origin"),
            [
                (name, "(not set)" if row["value"] is None else str(row["value"]), str(row["origin"]))
                for name, row in rows.items()
            ],
        )
    return 0


def _shown(setting: Setting, folder: Path) -> Any:
    """The value, or what happens where nothing is set. A token is never shown."""
    if setting.value is not None:
        return "(set)" if setting.name == "token" else setting.value
    local = local_server(folder)
    defaults: dict[str, Any] = {
        "url": f"{local[0]} (the server on the data folder)" if local else "(the server on the data folder; none runs)",
        "token": f"(the data folder's {TOKEN_NAME})",
        "store": f"SQLite: {folder / 'headrace.db'}",
        "host": "127.0.0.1",
        "port": DEFAULT_PORT,
        "labels": "(os, arch and host of the machine)",
        "pass_env": "(PATH, HOME, LANG, LC_ALL and TZ)",
        "workers": f"{os.cpu_count() or 1} (one per processor)",
    }
    return defaults.get(setting.name)


def show_schema(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace schema job|schedule|calendar|subscription|config``."""
    from headrace.codec.schema import schemas

    schema = schemas()[args.what]
    if args.install:
        return _install(args.what, schema, terminal)
    if not terminal.data(schema):
        terminal.out.write(formatted(schema, "json") + "\n")
    return 0


def _install(what: str, schema: Any, terminal: Terminal) -> int:
    """The schema beside the editor's settings, and settings that name it for files called ``*.<what>.json|yaml``."""
    folder = Path(".vscode")
    file, path = folder / f"headrace-{what}.schema.json", folder / "settings.json"
    try:
        known = msgspec.json.decode(path.read_bytes(), type=dict[str, Any]) if path.exists() else {}
    except msgspec.MsgspecError as error:
        raise Invalid(f"{path} is not plain JSON: add the schema by hand, from: headrace schema {what}") from error
    files = [f"*.{what}.{suffix}" for suffix in ("json", "yaml", "yml")]
    if what == "job":
        files += ["jobs/*.json", "jobs/*.yaml", "jobs/*.yml"]
    others = [one for one in known.get("json.schemas", []) if one.get("url") != f"./{file}"]
    known["json.schemas"] = [*others, {"fileMatch": [f for f in files if f.endswith("json")], "url": f"./{file}"}]
    known["yaml.schemas"] = {**known.get("yaml.schemas", {}), f"./{file}": [f for f in files if f.endswith("ml")]}
    folder.mkdir(exist_ok=True)
    file.write_text(formatted(schema, "json") + "\n")
    path.write_text(formatted(known, "json") + "\n")
    if not terminal.data({"files": [str(file), str(path)]}):
        terminal.line(f"wrote {file}; {path} names it for {', '.join(files)}")
    return 0
