"""How an exception is told: type, message, traceback, frames (which of them are the user's), cause, class names.

Pure formatting; never raises, whatever the exception's own methods do. Called by ``runner.calls`` and in-process runs.
"""

from __future__ import annotations

import linecache
import os
import site
import sysconfig
import traceback
from types import TracebackType
from typing import Any

import msgspec

CAUSES_MAX = 5
FRAMES_MAX = 100
TEXT_MAX = 65_536
OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def describe(error: BaseException, roots: tuple[str, ...]) -> bytes:
    """The JSON text of ``{type, message, traceback, frames, cause}``. ``roots`` are where the user's code lies."""
    return msgspec.json.encode(_described(error, roots, 0))


def sendable(text: str) -> str:
    """The text with what no UTF-8 can carry (half a surrogate pair, say from a file's name) written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def text_of(error: BaseException, roots: tuple[str, ...]) -> str:
    """The traceback as text, without Headrace's own frames, with paths below the package."""
    try:
        lines = traceback.format_exception(type(error), error, _outside(error.__traceback__))
        text = "".join(lines)
    except BaseException as e:  # reason: a user's __str__ may raise anything
        text = f"{type(error).__name__} (its text could not be made: {type(e).__name__})\n"
    for root in sorted(roots, key=len, reverse=True):
        text = text.replace(root + os.sep, "")
    text = sendable(text)
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX // 2] + "\n…\n" + text[-TEXT_MAX // 2 :]


def _described(error: BaseException, roots: tuple[str, ...], depth: int) -> dict[str, Any]:
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return {
        "type": type(error).__name__,
        "message": _message(error),
        "traceback": text_of(error, roots) if depth == 0 else "",
        "frames": frames_of(error.__traceback__, roots),
        "cause": _described(cause, roots, depth + 1) if cause is not None and depth < CAUSES_MAX else None,
    }


def _message(error: BaseException) -> str:
    try:
        return sendable(str(error)[:TEXT_MAX])
    except BaseException as e:  # reason: a user's __str__ may raise anything
        return f"(no text: {type(e).__name__})"


def _outside(tb: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame that is not ours; all of it when every frame is."""
    at = tb
    while at is not None and at.tb_frame.f_code.co_filename.startswith(OWN):
        at = at.tb_next
    return at


def frames_of(tb: TracebackType | None, roots: tuple[str, ...]) -> list[dict[str, Any]]:
    """The frames outside Headrace, the outermost and the innermost of very many: ``yours`` marks those of the user's package or script."""
    stack: list[TracebackType] = []
    at = _outside(tb)
    while at is not None:
        stack.append(at)
        at = at.tb_next
    half = FRAMES_MAX // 2
    kept = stack if len(stack) <= FRAMES_MAX else stack[:half] + stack[-half:]
    return [_frame(one, roots) for one in kept]


def _frame(at: TracebackType, roots: tuple[str, ...]) -> dict[str, Any]:
    code = at.tb_frame.f_code
    return {
        "file": shorter(code.co_filename, roots),
        "line": at.tb_lineno,
        "function": code.co_name,
        "code": linecache.getline(code.co_filename, at.tb_lineno, at.tb_frame.f_globals).strip(),
        "yours": is_yours(code.co_filename, roots),
    }


def is_yours(file: str, roots: tuple[str, ...]) -> bool:
    """Whether a source file belongs to the user, not to the interpreter or an installed library."""
    if any(file.startswith(root + os.sep) for root in roots):
        return True
    libraries = (*site.getsitepackages(), sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), OWN)
    return not file.startswith("<") and not file.startswith(tuple(libraries))


def shorter(file: str, roots: tuple[str, ...]) -> str:
    """The path below the package's folder, where it lies there."""
    for root in sorted(roots, key=len, reverse=True):
        if file.startswith(root + os.sep):
            return file[len(root) + 1 :]
    return file
