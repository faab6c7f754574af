"""Where settings come from: flag > HEADRACE_* > headrace.toml > ~/.config/headrace/config.toml > default.

Finds the data folder and, through ``server.json`` and ``admin-token`` in it, the local server. Called by the client and
the CLI. Reads files; writes none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from headrace.codec.shape import problems_of
from headrace.model.config import DEFAULT_PORT, Config
from headrace.model.errors import Invalid, NotAvailable, Problem

__all__ = [
    "DEFAULT_PORT",
    "LATER",
    "PROJECT_FILE",
    "Config",
    "Setting",
    "data_folder",
    "local_server",
    "project_file",
    "settings",
    "upwards",
]

PROJECT_FILE = "headrace.toml"
LATER = "not available yet: [[logs]] rules"


class ServerFile(msgspec.Struct, frozen=True):
    """``server.json`` in the data folder of a running server."""

    url: str
    pid: int = 0


class Setting(msgspec.Struct, frozen=True):
    """A value and where it came from."""

    name: str
    value: Any
    origin: str


def upwards(start: Path, name: str) -> Path | None:
    """The nearest file of that name in ``start`` or a folder above it."""
    for folder in (start, *start.parents):
        if (folder / name).is_file():
            return folder / name
    return None


def project_file(start: Path) -> tuple[Path, Any] | None:
    """The nearest ``headrace.toml``, or the nearest ``pyproject.toml`` with a table ``[tool.headrace]``, and what is in it."""
    for folder in (start, *start.parents):
        own = folder / PROJECT_FILE
        if own.is_file():
            return own, _toml(own)
        project = folder / "pyproject.toml"
        if project.is_file():
            table = _toml(project).get("tool", {}).get("headrace")
            if table is not None:
                return project, table
    return None


def _toml(path: Path) -> dict[str, Any]:
    import tomllib  # 3 ms that a person without such a file need not wait for

    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} is not TOML: {error}") from error


def settings(flags: Mapping[str, Any], environ: Mapping[str, str], start: Path) -> dict[str, Setting]:
    """Every setting with its value and origin. Raises Invalid for unknown keys and wrong types, all at once."""
    found = {name: Setting(name, None, "default") for name in Config.__struct_fields__}
    layers: list[tuple[str, Mapping[str, Any]]] = []
    personal = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "headrace" / "config.toml"
    if personal.is_file():
        layers.append((str(personal), _checked(personal, _toml(personal))))
    if (project := project_file(start)) is not None:
        layers.append((str(project[0]), _checked(*project)))
    named = {k: environ[f"HEADRACE_{k.upper()}"] for k in found if environ.get(f"HEADRACE_{k.upper()}")}
    layers += [("environment", named), ("flag", {k: v for k, v in flags.items() if v is not None})]
    for origin, table in layers:
        for name, value in table.items():
            if name in found:
                found[name] = Setting(name, _typed(name, value, origin), origin)
    return found


def _checked(path: Path, table: Any) -> dict[str, Any]:
    """The settings in a file. Raises Invalid for all that is none, each with its line; NotAvailable for what comes later."""
    text, within = path.read_text(), "" if path.name != "pyproject.toml" else "tool.headrace"
    problems = [_problem(problem, table, text, within) for problem in problems_of(table, Config)]
    problems.sort(key=lambda problem: problem.line or 0)
    if problems and all(problem.message == LATER for problem in problems):
        raise NotAvailable(f"{LATER} ({path}, line {problems[0].line})")
    if problems:
        where = f"{path} [{within}]" if within else str(path)
        raise Invalid(f"{where} has settings that are wrong", problems=tuple(problems))
    checked: dict[str, Any] = table
    return checked


def _problem(problem: Problem, table: Any, text: str, within: str) -> Problem:
    """The problem with its line, and what to do instead."""
    value = table.get(problem.path) if isinstance(table, dict) else None
    message = problem.message
    if problem.path == "logs":
        message = LATER
    elif isinstance(value, dict):
        message = f"{message}; settings stand at the top of {f'[{within}]' if within else 'the file'}, without a table"
    elif isinstance(value, list) and problem.path in Config.__struct_fields__:
        message = f"{message}; several are one text, with commas"
    return Problem(problem.path, message, line=_line_of(text, problem.path, within))


def _line_of(text: str, key: str, within: str) -> int | None:
    """Where a key of the table ``within`` (empty: the file) stands, as far as a look at the beginnings of lines tells."""
    inside, full = not within, f"{within}.{key}" if within else key
    plain = re.compile(rf"""\s*(["']?){re.escape(key)}\1\s*[=.]""")
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[?([^\]]+)\]", line):
            name = re.sub(r"[\s\"']", "", header[1])
            if f"{name}.".startswith(f"{full}."):
                return number
            inside = name == within
        elif inside and plain.match(line):
            return number
    return None


def _typed(name: str, value: Any, origin: str) -> Any:
    if name in ("port", "workers") and isinstance(value, str):
        if not value.isdigit():
            raise Invalid(f"{name} from the {origin} must be a whole number, not {value!r}")
        return int(value)
    return value


def data_folder(found: Mapping[str, Setting], environ: Mapping[str, str], start: Path) -> Path:
    """``--data``, else ``.headrace`` beside the project's ``headrace.toml``, else the XDG data folder."""
    if found["data"].value:
        return Path(found["data"].value).expanduser().absolute()
    own = upwards(start, PROJECT_FILE)
    if own is not None:
        return own.parent / ".headrace"
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "headrace"


def local_server(data: Path) -> tuple[str, str | None] | None:
    """(url, token) of the server that runs on this data folder, or None. A stale file of a dead server counts as none."""
    try:
        server = msgspec.json.decode((data / "server.json").read_bytes(), type=ServerFile)
    except (OSError, msgspec.MsgspecError):
        return None
    if server.pid and not _alive(server.pid):
        return None
    try:
        token = (data / "admin-token").read_text().strip()
    except OSError:
        token = None
    return server.url, token


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
