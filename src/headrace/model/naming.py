"""How problems name places and things: ``tasks[2].retries.max``, the nearest known name, a value shown short.

Pure. One spelling for every room, so that a problem's path from ``core`` finds its line in ``codec``'s positions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

_PLAIN = re.compile(r"[^\W\d][\w-]*")
_LAST = re.compile(r'(?:^|\.)[^\W\d][\w-]*\Z|\[(?:\d+|"(?:[^"\\]|\\.)*")\]\Z')


def path_text(path: Iterable[str | int]) -> str:
    """Keys and indices as one path: ``tasks[2].env["a b"]``; the whole document is the empty text."""
    out: list[str] = []
    for step in path:
        if isinstance(step, int):
            out.append(f"[{step}]")
        elif _PLAIN.fullmatch(step):
            out.append(f".{step}" if out else step)
        else:
            out.append(f"[{json.dumps(step, ensure_ascii=False)}]")
    return "".join(out)


def parent_path(path: str) -> str:
    """The path of what holds this path's thing; the empty text for the outermost."""
    found = _LAST.search(path)
    return path[: found.start()] if found else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was most likely meant, or None. Costs time per known name: bound how often you ask."""
    if len(name) > 200:
        return None
    from difflib import get_close_matches  # only a mistake needs it: 0.2 MB

    found = get_close_matches(name, known, n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` or the empty text, to be put behind a message."""
    near = nearest(name, known)
    return f" (did you mean {near!r}?)" if near is not None else ""


def shown(value: object, limit: int = 40) -> str:
    """A value's ``repr``, cut to ``limit`` characters: for messages."""
    text = repr(value[: limit + 1]) if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
