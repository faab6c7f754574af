"""A run's parameters as environment variables: ``HEADRACE_PARAM_<NAME>``. Pure; the same for every kind of task.

Called by ``runner.place`` and ``agent.executors.environment``.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

_ODD = re.compile(r"[^A-Za-z0-9]")


def parameters(params: bytes) -> dict[str, str]:
    """One variable per parameter: a text as it is, anything else as its JSON text. ``params`` is a JSON object."""
    decoded: Any = msgspec.json.decode(params) if len(params) > 2 else None
    if not isinstance(decoded, dict):
        return {}
    return {"HEADRACE_PARAM_" + _ODD.sub("_", str(n)).upper(): _text(v) for n, v in decoded.items()}


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text.replace("\0", "")
