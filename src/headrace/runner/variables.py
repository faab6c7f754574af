"""A run's parameters as environment variables: ``HEADRACE_PARAM_<NAME>``. Pure; the same for every kind of task.

Called by ``runner.place`` and ``agent.executors.environment``.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

ONE_MAX = 128 * 1024 - 1
"""Bytes of one variable, name and all: the kernel starts no program that is given a longer one."""
ALL_MAX = 512 * 1024
"""Bytes of all of them: arguments, environment and what else is given share 2 MiB, often."""

_ODD = re.compile(r"[^A-Za-z0-9]")


def parameters(params: bytes) -> dict[str, str]:
    """One variable per parameter: a text as it is, anything else as its JSON text. ``params`` is a JSON object.

    What is too large for an environment is left out: with it nothing could be started. The file of parameters has it.
    """
    decoded: Any = msgspec.json.decode(params) if len(params) > 2 else None
    if not isinstance(decoded, dict):
        return {}
    found = {"HEADRACE_PARAM_" + _ODD.sub("_", str(n)).upper(): _text(v) for n, v in decoded.items()}
    return found if len(params) < ONE_MAX // 4 else _bounded(found)


def _bounded(found: dict[str, str]) -> dict[str, str]:
    """Those that an environment can hold, in order."""
    kept: dict[str, str] = {}
    left = ALL_MAX
    for name, text in found.items():
        size = len(name) + len(text.encode("utf-8", "surrogateescape")) + 2
        if size <= ONE_MAX + 1 and size <= left:
            kept[name] = text
            left -= size
    return kept


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text.replace("\0", "")
