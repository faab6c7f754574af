"""Errors become problem documents (RFC 9457) here and nowhere else.

One table: the error's own ``status``. What nobody foresaw becomes a 500 that names the place in our own log, never the
text of a driver's error. Called by ``control.api.dispatch``.
"""

from __future__ import annotations

import errno
import logging
from http import HTTPStatus

from headrace.model.errors import Busy, HeadraceError, StoreAway, StoreError, Unauthorized
from headrace.model.views import ProblemView

_log = logging.getLogger("headrace.control.api")
TYPE_BASE = "urn:headrace:problem:"
PROBLEMS_MAX = 1000
FULL = "the disk of the server is full: nothing of this was written; make room there, then ask again"
FULL_RETRY_S = 10


def problem_of(error: BaseException, instance: str) -> tuple[ProblemView, tuple[tuple[bytes, bytes], ...]]:
    """The document, and the headers that belong to it."""
    if isinstance(error, StoreAway):
        _log.warning("a request failed: %s: %s", instance, error)
        return _known(Busy("the database cannot be reached now; nothing was written: try again"), instance)
    if isinstance(error, HeadraceError) and not isinstance(error, StoreError):
        return _known(error, instance)
    if is_full(error):
        _log.error("a request failed: %s: %s", instance, error)
        return _known(Busy(FULL, retry_after=FULL_RETRY_S), instance)
    _log.error("a request failed: %s", instance, exc_info=error)
    text = (
        "the store failed; the server's log says why" if isinstance(error, StoreError) else "the server's log says why"
    )
    return ProblemView(status=500, title="Internal Server Error", detail=text, instance=instance), ()


def is_full(error: BaseException | None) -> bool:
    """Whether this, or what caused it, is a disk without space: SQLite's words, or the system's."""
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "disk is full" in str(error):
            return True
        error = error.__cause__
    return False


def document(status: int, detail: str, instance: str) -> ProblemView:
    """A problem that no error record stands for (no such route, method not allowed)."""
    return ProblemView(status=status, title=HTTPStatus(status).phrase, detail=detail, instance=instance)


def _known(error: HeadraceError, instance: str) -> tuple[ProblemView, tuple[tuple[bytes, bytes], ...]]:
    status = error.status
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if isinstance(error, Busy):
        headers = ((b"retry-after", str(error.retry_after).encode()),)
    elif isinstance(error, Unauthorized):
        headers = ((b"www-authenticate", b'Bearer realm="headrace"'),)
    problems = list(error.problems[:PROBLEMS_MAX])
    view = ProblemView(
        status=status,
        title=HTTPStatus(status).phrase,
        detail=error.message or HTTPStatus(status).description,
        type=TYPE_BASE + _kebab(type(error).__name__),
        instance=instance,
        problems=problems,
    )
    return view, headers


def _kebab(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
